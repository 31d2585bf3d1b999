//! Stores that fail at the claim.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_refuses_the_request() {
    for (kind, tries) in [(StoreErrorKind::Fatal, 1), (StoreErrorKind::NotApplied, 2)] {
        let (spy, handler) = (Spy::new(), Handler::default());
        let service = handler.at_once(&IdempotencyLayer::new(spy.clone()));
        spy.goes_down(kind);

        let answer = send(&service, keyed("k", "x")).await;

        assert_eq!(
            answer.text(),
            r#"{"error":"idempotency_store_unavailable","detail":"Idempotency records are unavailable; the request was not processed.","status_code":503}"#
        );
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.outcome, Outcome::Refused);
        assert_eq!(spy.verbs(), vec!["claim"; tries]);
        assert_eq!(handler.executions(), 0);
        spy.comes_back();
        assert_eq!(send(&service, keyed("k", "x")).await.status, 201);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_may_run_unprotected_and_knows_it() {
    let (spy, handler) = (Spy::new(), Handler::default());
    let layer = IdempotencyLayer::new(spy.clone()).on_store_error(OnStoreError::RunUnprotected);
    let service = handler.answering(&layer, |request| async move {
        let key = request.extensions().get::<Idempotency>().unwrap();
        let child = key.child("charge");
        let mut response = created(child.as_str());
        response
            .headers_mut()
            .insert("idempotent-replayed", HeaderValue::from_static("true"));
        if key.is_protected() {
            return response;
        }
        assert_eq!(
            (key.key().as_str(), key.attempt(), key.fence().get()),
            ("k", 1, 0)
        );
        assert!(!key.is_lease_lost());
        assert!(poll_once(&mut Box::pin(key.lease_lost())).is_pending());
        let refused = key.point_of_no_return().await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the request runs without protection, because the store failed"
        );
        response
    });
    spy.goes_down(StoreErrorKind::Fatal);

    let first = send(&service, keyed("k", "x")).await;
    let second = send(&service, keyed("k", "x")).await;
    spy.comes_back();
    let third = send(&service, keyed("k", "x")).await;

    for answer in [&first, &second] {
        assert_eq!(answer.status, 201);
        assert_eq!(answer.outcome, Outcome::Unprotected);
        assert_eq!(answer.header("idempotent-replayed"), None);
    }
    assert_eq!(third.outcome, Outcome::Executed { recorded: true });
    assert_eq!(first.body, third.body);
    assert_eq!(handler.executions(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_read_is_never_run_unprotected() {
    let (spy, handler) = (Spy::new(), Handler::default());
    let layer = IdempotencyLayer::new(spy.clone()).on_store_error(OnStoreError::RunUnprotected);
    let service = handler.at_once(&layer);
    spy.goes_down(StoreErrorKind::Unreadable);

    let answer = send(&service, keyed("k", "x")).await;

    assert_eq!(
        answer.text(),
        r#"{"error":"idempotency_record_unreadable","detail":"The record of this idempotency key cannot be read.","status_code":503}"#
    );
    assert_eq!(answer.status, 503);
    assert_eq!(handler.executions(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_inner_layer_protects_what_an_outer_one_runs_unprotected() {
    let outer_store = Spy::new();
    outer_store.goes_down(StoreErrorKind::Fatal);
    let outer = IdempotencyLayer::new(outer_store).on_store_error(OnStoreError::RunUnprotected);
    let inner = IdempotencyLayer::default();
    let executions = Executions::default();
    let counted = executions.clone();
    let innermost = service_fn(move |_: Request<RequestBody<RequestBody<Body>>>| {
        counted.begin();
        std::future::ready(Ok::<_, std::convert::Infallible>(created("made")))
    });
    let service = outer.layer(inner.layer(innermost));

    let first = send(&service, keyed("k", "x")).await;
    let second = send(&service, keyed("k", "x")).await;

    assert_eq!(first.body, second.body);
    assert_eq!(executions.count(), 1);
}
