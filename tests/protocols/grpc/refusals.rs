//! The layer's own answers, as tonic reads them.

use super::*;
use crate::support::eventually;

/// Code, the crate's code, message.
#[track_caller]
fn refused<T>(answer: Result<Response<T>, Status>) -> (Code, String, String) {
    let status = answer.map(drop).unwrap_err();
    let code = status.metadata().get("idempotency-error");
    let code = code.expect("it is the layer's").to_str().unwrap();
    assert!(!is_replay(status.metadata()));
    (status.code(), code.to_owned(), status.message().to_owned())
}

#[tokio::test]
async fn a_mismatch_is_an_invalid_argument_also_while_the_first_call_runs() {
    let (handler, layer) = (Handler::default(), layer());
    let shop = Shop::at(serve(&layer, Charges::held(&handler))).await;
    let calling = shop.clone();
    let first = tokio::spawn(async move { calling.create("k", 42).await });
    eventually("the method runs", || handler.executions() == 1).await;

    let while_it_runs = refused(shop.create("k", 43).await);
    handler.open();
    first.await.unwrap().unwrap();
    let afterwards = refused(shop.create("k", 43).await);

    let text = "Idempotency key has already been used with different parameters.";
    let mismatch = (
        Code::InvalidArgument,
        "idempotency_mismatch".into(),
        text.into(),
    );
    assert_eq!(while_it_runs, mismatch);
    assert_eq!(afterwards, mismatch);
}

#[tokio::test]
async fn a_call_in_progress_is_aborted_and_tells_when_to_come_back() {
    let handler = Handler::default();
    let layer = layer().retry_after(Duration::from_secs(3));
    let shop = Shop::at(serve(&layer, Charges::held(&handler))).await;
    let calling = shop.clone();
    let first = tokio::spawn(async move { calling.create("k", 42).await });
    eventually("the method runs", || handler.executions() == 1).await;

    let busy = shop.create("k", 42).await.unwrap_err();
    handler.open();
    first.await.unwrap().unwrap();

    let of = |name: &str| {
        busy.metadata()
            .get(name)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(busy.code(), Code::Aborted);
    assert_eq!(
        busy.message(),
        "A request with this idempotency key is still in progress."
    );
    assert_eq!(of("idempotency-error"), "idempotency_in_progress");
    assert_eq!(of("retry-after"), "3");
    assert_eq!(of("grpc-retry-pushback-ms"), "3000");
    assert!(is_replay(shop.create("k", 42).await.unwrap().metadata()));
}

#[tokio::test]
async fn a_wrong_key_and_a_message_that_is_too_large_are_invalid_arguments() {
    let handler = Handler::default();
    let layer = layer().require_key(true).max_request_bytes(8);
    let shop = Shop::at(serve(&layer, Charges::new(&handler))).await;

    for (key, cents, code) in [
        ("", 1, "idempotency_key_missing"),
        ("two keys,", 1, "idempotency_key_invalid"),
        ("k", i64::MAX, "request_too_large"),
    ] {
        let (status, told, _) = refused(shop.create(key, cents).await);
        assert_eq!((status, told.as_str()), (Code::InvalidArgument, code));
    }
    assert_eq!(handler.executions(), 0);
    assert_eq!(shop.create("k", 1).await.unwrap().get_ref().number, 1);
}

#[tokio::test]
async fn credentials_that_cannot_be_told_are_a_failed_precondition() {
    let handler = Handler::default();
    let shop = Shop::at(serve(&layer(), Charges::new(&handler))).await;
    let mut signed = shop.request("k", Charge { cents: 42 });
    let signature = "Signature of-this-very-request".parse().unwrap();
    signed.metadata_mut().insert("authorization", signature);

    let (status, code, _) = refused(shop.unary(signed).await);

    assert_eq!(status, Code::FailedPrecondition);
    assert_eq!(code, "idempotency_scope_unresolved");
    assert_eq!(handler.executions(), 0);
}

#[tokio::test]
async fn a_store_without_room_is_unavailable() {
    let handler = Handler::default();
    let store = MemoryStore::new().max_records(1);
    let layer = IdempotencyLayer::new(store).errors(ErrorForm::grpc());
    let shop = Shop::at(serve(&layer, Charges::new(&handler))).await;
    shop.create("k", 42).await.unwrap();

    let full = shop.create("other", 42).await.unwrap_err();

    assert_eq!(full.metadata().get("retry-after").unwrap(), "1");
    let (status, code, _) = refused(Err::<Response<()>, _>(full));
    assert_eq!(
        (status, code.as_str()),
        (Code::Unavailable, "idempotency_store_full")
    );
    assert!(is_replay(shop.create("k", 42).await.unwrap().metadata()));
}

#[tokio::test]
async fn a_panic_of_the_method_leaves_an_attempt_behind() {
    let handler = Handler::default();
    let charges = Charges::creating(&handler, |number, request| async move {
        assert!(number > 1, "the first one panics");
        receipt(number, &request)
    });
    let address = serve(&layer(), charges);

    // tonic has nothing around its services: the connection is lost.
    let first = Shop::at(address).await.create("k", 42).await.unwrap_err();
    let shop = Shop::at(address).await;
    let second = shop.create("k", 42).await.unwrap();

    assert!(first.metadata().get("idempotency-error").is_none());
    assert_eq!((second.get_ref().number, handler.last_attempt()), (2, 2));
    assert!(is_replay(shop.create("k", 42).await.unwrap().metadata()));
}
