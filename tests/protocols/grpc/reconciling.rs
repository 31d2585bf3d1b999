//! A lost call whose outcome the application finds out.

use prost::Message;
use tower_idempotency::{BoxError, Lost, OnLost, Reconciled};

use super::*;

/// What the calls after one that panicked get, where a hook answers like this.
async fn retries(
    done: impl Fn(&Lost) -> http::Response<Bytes> + Clone + Send + Sync + 'static,
) -> [Unary; 2] {
    let handler = Handler::default();
    let charges = Charges::creating(&handler, |_, _| async { panic!("a method that panics") });
    let hook = OnLost::reconcile(move |lost| {
        let done = done(&lost);
        async { Ok::<_, BoxError>(Reconciled::Done(done)) }
    });
    let address = serve(&layer().on_lost(hook), charges);

    drop(Shop::at(address).await.create("k", 42).await.unwrap_err());
    let shop = Shop::at(address).await;
    let retries = [shop.create("k", 42).await, shop.create("k", 42).await];

    assert_eq!(handler.executions(), 1);
    retries
}

#[tokio::test]
async fn what_was_done_is_a_message_with_the_status_that_a_message_has() {
    let retries = retries(|lost| {
        let charge = Charge::decode(&lost.request().body()[5..]).unwrap();
        let (number, cents) = (7, charge.cents);
        let response = http::Response::builder().header("content-type", "application/grpc");
        response.body(framed(&Receipt { number, cents })).unwrap()
    });

    for retry in retries.await {
        let retry = retry.unwrap();
        let (number, cents) = (7, 42);
        assert_eq!(retry.get_ref(), &Receipt { number, cents });
        assert!(is_replay(retry.metadata()));
    }
}

#[tokio::test]
async fn what_has_failed_is_a_status() {
    let retries = retries(|_| {
        let failed = Status::not_found("the card is gone").into_http::<TonicBody>();
        failed.map(|_| Bytes::new())
    });

    for retry in retries.await {
        let status = retry.unwrap_err();
        assert_eq!(
            (status.code(), status.message()),
            (Code::NotFound, "the card is gone")
        );
        assert!(is_replay(status.metadata()));
    }
}
