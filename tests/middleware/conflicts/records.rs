//! What a record says to a request that comes second.

use super::*;

#[tokio::test(start_paused = true)]
async fn another_request_under_a_key_is_refused_whatever_became_of_the_first() {
    let handler = Handler::default();
    let layer = IdempotencyLayer::default();
    let held = handler.held(&layer);
    let running = tokio::spawn(held.clone().oneshot(keyed("in-flight", "x")));
    settle().await;
    let (abandoning, _) = responding(&layer, |_| {
        Response::new(Frames::new([Step::Break("reset")]))
    });
    drop(
        abandoning
            .oneshot(upload("abandoned", Frames::data(["x"])))
            .await,
    );
    let (streaming, _) = responding(&layer, |_| {
        let mut response = Response::new(Frames::data(["event"]));
        response.extensions_mut().insert(Keep::Stream);
        response
    });
    drop(
        streaming
            .oneshot(upload("tombstone", Frames::data(["x"])))
            .await,
    );
    let service = handler.at_once(&layer);
    send(&service, keyed("completed", "x")).await;
    let before = handler.executions();

    for key in ["in-flight", "abandoned", "tombstone", "completed"] {
        let answer = send(&service, keyed(key, "another body")).await;
        refuses(&answer, MISMATCH);
        assert_eq!(answer.outcome, Outcome::Mismatch, "{key}");
        assert_eq!(answer.header("retry-after"), None);
        assert_eq!(answer.header("location"), None);
    }
    assert_eq!(handler.executions(), before);
    handler.open();
    assert_eq!(running.await.unwrap().unwrap().status(), 201);
}

#[tokio::test(start_paused = true)]
async fn an_equal_request_while_the_first_runs_is_told_to_come_back() {
    let handler = Handler::default();
    let layer = IdempotencyLayer::default().retry_after(Duration::from_millis(2_500));
    let service = handler.held(&layer);
    let running = tokio::spawn(service.clone().oneshot(keyed("k", "x")));
    settle().await;

    let answer = send(&service, keyed("k", "x")).await;

    refuses(&answer, IN_PROGRESS);
    assert_eq!(answer.header("retry-after"), Some("3"));
    assert_eq!(answer.outcome, Outcome::InProgress);
    handler.open();
    running.await.unwrap().unwrap();
    assert_eq!(handler.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn coming_back_is_asked_for_no_later_than_the_lease_ends_and_never_at_once() {
    for (after, lease, told) in [(60, 5, "5"), (0, 30, "1"), (7, 30, "7")] {
        let handler = Handler::default();
        let layer = IdempotencyLayer::default()
            .retry_after(Duration::from_secs(after))
            .lease(Duration::from_secs(lease));
        let service = handler.held(&layer);
        let running = tokio::spawn(service.clone().oneshot(keyed("k", "x")));
        settle().await;

        let answer = send(&service, keyed("k", "x")).await;

        assert_eq!(answer.header("retry-after"), Some(told));
        handler.open();
        running.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_that_was_not_kept_is_said_to_be_so() {
    let layer = IdempotencyLayer::default();
    let (service, _) = responding(&layer, |_| {
        let mut response = Response::new(Frames::data(["event"]));
        response.extensions_mut().insert(Keep::Stream);
        response
    });
    let ask = || service.clone().oneshot(upload("k", Frames::empty()));
    drop(ask().await);

    let answer = read(ask().await.unwrap()).await;

    refuses(&answer, RESPONSE_UNAVAILABLE);
    assert_eq!(answer.header("location"), None);
}

#[tokio::test(start_paused = true)]
async fn a_lost_request_that_may_not_run_again_is_said_to_be_so() {
    let layer = IdempotencyLayer::default().on_lost(OnLost::Refuse);
    let (service, executions) = responding(&layer, |_| {
        Response::new(Frames::new([Step::Break("reset")]))
    });
    let ask = || service.clone().oneshot(upload("k", Frames::empty()));
    drop(ask().await);

    for _ in 0..2 {
        let answer = read(ask().await.unwrap()).await;
        refuses(&answer, OUTCOME_UNKNOWN);
        assert_eq!(answer.header("retry-after"), None);
        assert_eq!(answer.outcome, Outcome::Refused);
    }
    assert_eq!(executions.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_conflict_of_the_handlers_own_is_told_from_the_layers() {
    let handler = Handler::default();
    let layer = IdempotencyLayer::default().keep(Keep::All);
    let service = handler.statuses(&layer, &[409, 422]);

    let first = send(&service, keyed("a", "x")).await;
    let replayed = send(&service, keyed("a", "x")).await;
    let invalid = send(&service, keyed("b", "x")).await;

    assert_eq!(first.outcome, Outcome::Executed { recorded: true });
    assert_eq!(
        (replayed.status, replayed.outcome),
        (first.status, Outcome::Replayed)
    );
    assert!(replayed.is_replay());
    assert_eq!(invalid.status, 422);
    assert_eq!(invalid.outcome, Outcome::Executed { recorded: true });
    for answer in [first, replayed, invalid] {
        assert_eq!(answer.code(), "");
    }
}

#[tokio::test(start_paused = true)]
async fn another_request_under_a_key_does_not_wait_for_the_first() {
    let handler = Handler::default();
    let layer = IdempotencyLayer::default().in_flight(InFlight::wait(Duration::from_secs(60)));
    let service = handler.held(&layer);
    let running = tokio::spawn(service.clone().oneshot(keyed("k", "x")));
    settle().await;
    let start = tokio::time::Instant::now();

    let answer = send(&service, keyed("k", "y")).await;

    refuses(&answer, MISMATCH);
    assert_eq!(start.elapsed(), Duration::ZERO);
    handler.open();
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_record_with_a_fingerprint_of_an_unknown_version_cannot_be_read() {
    let second = Duration::from_secs(1);
    for on_store_error in [OnStoreError::Refuse, OnStoreError::RunUnprotected] {
        let handler = Handler::default();
        let layer = IdempotencyLayer::default()
            .on_store_error(on_store_error)
            .in_flight(InFlight::wait(60 * second));
        let service = handler.at_once(&layer);
        let store = layer.store();
        let claim = async |key| {
            let key = layer.record_key(b"", &Method::POST, PATH, key);
            let id = ClaimId::from_bytes([7; 16]);
            let newer = Fingerprint::from_parts(2, [7; 32]);
            let claim = ClaimRequest::new(key, id, newer, 30 * second, 600 * second);
            let Ok(Claim::Owned(owned)) = store.claim(&claim).await else {
                panic!("not owned");
            };
            Owner::new(key, owned.fence(), id)
        };
        claim("in-flight").await;
        store.abandon(&claim("abandoned").await).await.unwrap();
        let outcome = Completed::new("payload".into(), "tombstone".into(), 600 * second);
        let completed = claim("completed").await;
        store.complete(&completed, &outcome).await.unwrap();
        let start = tokio::time::Instant::now();

        for key in ["in-flight", "abandoned", "completed"] {
            for body in ["x", "y"] {
                let answer = send(&service, keyed(key, body)).await;
                refuses(&answer, RECORD_UNREADABLE);
                assert_eq!(answer.header("retry-after"), None);
                assert_eq!(answer.outcome, Outcome::Refused, "{key}");
            }
        }
        assert_eq!((start.elapsed(), handler.executions()), (Duration::ZERO, 0));
        assert_eq!(send(&service, keyed("another", "x")).await.status, 201);
    }
}
