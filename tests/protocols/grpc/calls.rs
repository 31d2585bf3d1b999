//! Unary calls: what is replayed, and to whom.

use super::*;
use crate::support::eventually;

#[tokio::test]
async fn a_call_is_replayed_with_its_message_and_its_metadata_and_says_so() {
    let handler = Handler::default();
    let shop = Shop::at(serve(&layer(), Charges::new(&handler))).await;

    let first = shop.create("k", 42).await.unwrap();
    let retry = shop.create("k", 42).await.unwrap();
    let other = shop.create("other", 42).await.unwrap();

    let number = 1;
    assert_eq!(first.get_ref(), &Receipt { number, cents: 42 });
    assert_eq!(retry.get_ref(), first.get_ref());
    assert_eq!(retry.metadata().get("x-receipt").unwrap(), "receipt-1");
    assert_eq!(lasting(retry.metadata()), lasting(first.metadata()));
    assert!(!is_replay(first.metadata()) && is_replay(retry.metadata()));
    assert_eq!(retry.metadata().get("idempotency-key").unwrap(), "k");
    assert_eq!(other.get_ref().number, 2);
    assert_eq!(handler.executions(), 2);
}

#[tokio::test]
async fn the_handler_sees_its_key_and_passes_its_point_of_no_return() {
    let handler = Handler::default();
    let charges = Charges::creating(&handler, |_, request| async move {
        let idempotency: Idempotency = request.extensions().get().cloned().unwrap();
        assert_eq!(
            (idempotency.key().as_str(), idempotency.attempt()),
            ("k", 1)
        );
        idempotency.point_of_no_return().await.unwrap();
        Err(Status::unavailable("the provider did not answer"))
    });
    let shop = Shop::at(serve(&layer(), charges)).await;

    let first = shop.create("k", 42).await.unwrap_err();
    let retry = shop.create("k", 42).await.unwrap_err();

    assert_eq!(first.code(), Code::Unavailable);
    assert_eq!(retry.code(), Code::FailedPrecondition);
    let code = retry.metadata().get("idempotency-error").unwrap();
    assert_eq!(code, "idempotency_outcome_unknown");
    assert_eq!(handler.executions(), 1);
}

#[tokio::test]
async fn a_call_that_was_unavailable_is_not_kept_and_frees_its_key() {
    for keep in [Keep::Success, Keep::Final] {
        let handler = Handler::default();
        let charges = Charges::creating(&handler, |number, request| async move {
            match number {
                1 => Err(Status::unavailable("not now")),
                _ => receipt(number, &request),
            }
        });
        let shop = Shop::at(serve(&layer().keep(keep), charges)).await;

        let first = shop.create("k", 42).await.unwrap_err();
        let second = shop.create("k", 42).await.unwrap();
        let third = shop.create("k", 42).await.unwrap();

        assert_eq!(
            (first.code(), first.message()),
            (Code::Unavailable, "not now")
        );
        assert_eq!((second.get_ref().number, handler.last_attempt()), (2, 1));
        assert!(!is_replay(second.metadata()) && is_replay(third.metadata()));
        assert_eq!(handler.executions(), 2);
    }
}

#[tokio::test]
async fn an_error_that_is_final_is_replayed_with_message_details_and_metadata_where_the_rule_says_so()
 {
    for (keep, executions) in [(Keep::Final, 1), (Keep::Success, 2)] {
        let handler = Handler::default();
        let charges = Charges::creating(&handler, |number, _| async move {
            let mut metadata = MetadataMap::new();
            metadata.insert("x-field", "cents".parse().unwrap());
            metadata.insert("x-number", number.into());
            let (code, details) = (Code::InvalidArgument, Bytes::from_static(b"\x00\xff"));
            let text = "100 % zu groß";
            Err(Status::with_details_and_metadata(
                code, text, details, metadata,
            ))
        });
        let shop = Shop::at(serve(&layer().keep(keep), charges)).await;

        let first = shop.create("k", -1).await.unwrap_err();
        let retry = shop.create("k", -1).await.unwrap_err();

        assert_eq!(handler.executions(), executions);
        let is_kept = executions == 1;
        assert_eq!(is_replay(retry.metadata()), is_kept);
        for status in [&first, &retry] {
            assert_eq!(status.code(), Code::InvalidArgument);
            assert_eq!(status.message(), "100 % zu groß");
            assert_eq!(status.details(), b"\x00\xff");
        }
        assert_eq!(
            lasting(retry.metadata()) == lasting(first.metadata()),
            is_kept
        );
    }
}

#[tokio::test]
async fn clients_with_different_credentials_share_nothing() {
    let handler = Handler::default();
    let address = serve(&layer(), Charges::new(&handler));
    let alice = Shop::at(address).await;
    let (bob, alice_again) = (alice.clone().with_token("bob"), Shop::at(address).await);

    let to_alice = alice.create("k", 42).await.unwrap();
    let to_bob = bob.create("k", 42).await.unwrap();
    let other_of_bob = bob.create("other", 1).await.unwrap();
    let again = alice_again.create("k", 42).await.unwrap();

    assert_eq!(to_alice.get_ref().number, 1);
    assert_eq!(to_bob.get_ref().number, 2);
    assert_eq!(other_of_bob.get_ref().number, 3);
    assert_eq!(
        (again.get_ref().number, is_replay(again.metadata())),
        (1, true)
    );
    assert!(!is_replay(to_bob.metadata()));
}

#[tokio::test]
async fn a_call_without_a_key_passes() {
    let handler = Handler::default();
    let shop = Shop::at(serve(&layer(), Charges::new(&handler))).await;

    let first = shop.create("", 42).await.unwrap();
    let second = shop.create("", 42).await.unwrap();

    assert_eq!((first.get_ref().number, second.get_ref().number), (1, 2));
    assert_eq!(handler.last_attempt(), 0);
}

#[tokio::test]
async fn a_client_that_cancels_finds_its_answer_later() {
    let (handler, layer) = (Handler::default(), layer());
    let (address, watch) = serve_watched(&layer, Charges::held(&handler));
    let shop = Shop::at(address).await;
    let calling = shop.clone();

    let call = tokio::spawn(async move { calling.create("k", 42).await });
    eventually("the method runs", || handler.executions() == 1).await;
    call.abort();
    eventually("the server gives up", || watch.given_up() == 1).await;
    assert_eq!(handler.finished(), 0);
    handler.open();
    assert_eq!(layer.drain(PATIENCE).await.left, 0);

    let retry = shop.create("k", 42).await.unwrap();
    assert!(is_replay(retry.metadata()));
    assert_eq!(retry.get_ref().number, 1);
    assert_eq!((handler.executions(), handler.finished()), (1, 1));
}

#[tokio::test]
async fn a_deadline_that_passes_ends_the_wait_and_not_the_work() {
    let (handler, layer) = (Handler::default(), layer());
    let (address, watch) = serve_watched(&layer, Charges::held(&handler));
    let shop = Shop::at(address).await;
    // Which it tells the server by `grpc-timeout`. The method is to begin before it: on a busy machine that may take more.
    let mut patience = Duration::from_millis(100);
    let late = loop {
        let mut hasty = shop.request("k", Charge { cents: 42 });
        hasty.set_timeout(patience);
        let late = shop.unary(hasty).await.unwrap_err();
        if handler.executions() == 1 {
            break late;
        }
        patience *= 2;
    };
    eventually("the server gives up", || watch.given_up() == watch.begun()).await;
    assert_eq!((handler.executions(), handler.finished()), (1, 0));
    handler.open();
    assert_eq!(layer.drain(PATIENCE).await.left, 0);

    let is_late = matches!(late.code(), Code::Cancelled | Code::DeadlineExceeded);
    assert!(is_late, "{late:?}");
    let retry = shop.create("k", 42).await.unwrap();
    assert!(is_replay(retry.metadata()));
    assert_eq!((handler.executions(), handler.finished()), (1, 1));
}
