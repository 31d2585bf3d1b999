//! Stores that fail, are slow or lie, and leases that lapse.

mod background;
mod leases;
mod outages;
mod panics;
mod renewals;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, StatusCode};
use tokio::time::Instant;
use tower::ServiceExt;
use tower_idempotency::{
    Idempotency, IdempotencyLayer, OnStoreError, Outcome, Record, RequestBody, Store,
    StoreErrorKind,
};

use crate::scripted::{Fault, Scripted, Verb};
use crate::support::{Body, Handler, PATH, created, keyed, poll_once, read, send, settle};

const LONG: Duration = Duration::from_secs(600);

fn world() -> (Arc<Scripted>, IdempotencyLayer<Arc<Scripted>>, Handler) {
    let store = Scripted::new();
    (
        Arc::clone(&store),
        IdempotencyLayer::new(store),
        Handler::default(),
    )
}

async fn record<St: Store>(layer: &IdempotencyLayer<St>) -> Option<Record> {
    let key = layer.record_key(b"", &http::Method::POST, PATH, "k");
    layer.store().inspect(&key).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_failed_once_is_repeated_as_the_same_claim() {
    for fault in [
        Fault::Before(StoreErrorKind::NotApplied),
        Fault::Before(StoreErrorKind::Ambiguous),
        Fault::After(StoreErrorKind::Ambiguous),
    ] {
        let (store, layer, handler) = world();
        let service = handler.at_once(&layer);
        store.next(Verb::Claim, fault);

        let answer = send(&service, keyed("k", "a")).await;

        assert_eq!(
            answer.outcome,
            Outcome::Executed { recorded: true },
            "{fault:?}"
        );
        assert_eq!(
            (store.calls(Verb::Claim), handler.last_attempt()),
            (2, 1),
            "{fault:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_at_the_claim_refuses_the_request() {
    for (kind, code, calls) in [
        (
            StoreErrorKind::NotApplied,
            "idempotency_store_unavailable",
            2,
        ),
        (StoreErrorKind::Fatal, "idempotency_store_unavailable", 1),
        (
            StoreErrorKind::Unreadable,
            "idempotency_record_unreadable",
            1,
        ),
    ] {
        let (store, layer, handler) = world();
        let service = handler.at_once(&layer);
        store.always(Verb::Claim, Fault::Before(kind));

        let answer = send(&service, keyed("k", "a")).await;

        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (503, code)
        );
        let is_outage = kind != StoreErrorKind::Unreadable;
        assert_eq!(
            answer.header("retry-after").is_some(),
            is_outage,
            "{kind:?}"
        );
        assert_eq!((handler.executions(), store.calls(Verb::Claim)), (0, calls));
        store.heal();
        assert_eq!(send(&service, keyed("k", "a")).await.status, 201);
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_answers_were_lost_is_given_back() {
    let (store, layer, handler) = world();
    let service = handler.at_once(&layer);
    for _ in 0..4 {
        store.next(Verb::Claim, Fault::After(StoreErrorKind::Ambiguous));
    }

    let answer = send(&service, keyed("k", "a")).await;

    assert_eq!(answer.code(), "idempotency_store_unavailable");
    assert!(record(&layer).await.unwrap().is_live(), "it was applied");
    assert_eq!(layer.drain(LONG).await.left, 0);
    assert!(record(&layer).await.is_none());
    assert_eq!(handler.executions(), 0);
    assert_eq!(send(&service, keyed("k", "a")).await.status, 201);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_may_have_been_applied_at_either_try_is_given_back() {
    let not_applied = Fault::Before(StoreErrorKind::NotApplied);
    let ambiguous = Fault::After(StoreErrorKind::Ambiguous);
    for faults in [[not_applied, ambiguous], [ambiguous, not_applied]] {
        let (store, layer, handler) = world();
        let service = handler.at_once(&layer);
        for fault in faults {
            store.next(Verb::Claim, fault);
        }

        let answer = send(&service, keyed("k", "a")).await;

        assert_eq!(answer.code(), "idempotency_store_unavailable");
        assert!(record(&layer).await.unwrap().is_live(), "it was applied");
        assert_eq!(layer.drain(LONG).await.left, 0);
        assert!(record(&layer).await.is_none(), "{faults:?}");
        assert_eq!(handler.executions(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_was_not_applied_at_either_try_is_not_asked_for_again() {
    let (store, layer, handler) = world();
    let service = handler.at_once(&layer);
    store.always(Verb::Claim, Fault::Before(StoreErrorKind::NotApplied));

    send(&service, keyed("k", "a")).await;

    assert_eq!(layer.drain(LONG).await.left, 0);
    assert_eq!(store.calls(Verb::Claim), 2);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_at_the_claim_is_waited_for_no_longer_than_its_time_out() {
    for fault in [
        Fault::SlowBefore(Duration::from_secs(9)),
        Fault::SlowAfter(Duration::from_secs(9)),
    ] {
        let (store, layer, handler) = world();
        let service = handler.at_once(&layer);
        store.next(Verb::Claim, fault);
        store.next(Verb::Claim, fault);
        let start = Instant::now();

        let answer = send(&service, keyed("k", "a")).await;

        assert_eq!(answer.code(), "idempotency_store_unavailable");
        assert_eq!(
            start.elapsed(),
            Duration::from_secs(2),
            "the default store time-out"
        );
        assert_eq!(layer.drain(LONG).await.left, 0);
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "at the latest when the lease is over"
        );
        assert!(record(&layer).await.is_none(), "{fault:?}");
        assert_eq!(handler.executions(), 0);
        store.heal();
        assert_eq!(send(&service, keyed("k", "a")).await.status, 201);
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_is_never_answered_is_given_up_with_its_lease() {
    let (store, layer, handler) = world();
    let service = handler.at_once(&layer);
    store.always(Verb::Claim, Fault::SlowBefore(LONG));
    let start = Instant::now();

    assert_eq!(send(&service, keyed("k", "a")).await.status, 503);
    assert_eq!(layer.drain(LONG).await.left, 0);

    assert_eq!(start.elapsed(), Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn open_to_failure_the_handler_runs_unprotected_and_the_answer_says_so() {
    let (store, layer, handler) = world();
    let layer = layer.on_store_error(OnStoreError::RunUnprotected);
    let marks = Arc::new(AtomicUsize::new(0));
    let service = handler.answering(&layer, {
        let marks = Arc::clone(&marks);
        move |request: Request<RequestBody<Body>>| {
            let (context, marks) = (
                request.extensions().get::<Idempotency>().cloned(),
                marks.clone(),
            );
            async move {
                let context = context.unwrap();
                assert!(!context.is_protected() && !context.is_lease_lost());
                assert_eq!((context.key().as_str(), context.attempt()), ("k", 1));
                if context.point_of_no_return().await.is_err() {
                    marks.fetch_add(1, Ordering::SeqCst);
                }
                created("unprotected")
            }
        }
    });
    store.always(Verb::Claim, Fault::Before(StoreErrorKind::NotApplied));

    let answer = send(&service, keyed("k", "a")).await;

    assert_eq!(
        (answer.text(), answer.outcome),
        ("unprotected", Outcome::Unprotected)
    );
    assert_eq!(marks.load(Ordering::SeqCst), 1);
    store.heal();
    store.always(Verb::Claim, Fault::Before(StoreErrorKind::Unreadable));
    assert_eq!(
        send(&service, keyed("k", "a")).await.code(),
        "idempotency_record_unreadable"
    );
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_at_settling_costs_the_record_and_never_the_answer() {
    for fault in [
        Fault::Before(StoreErrorKind::NotApplied),
        Fault::After(StoreErrorKind::Ambiguous),
        Fault::Before(StoreErrorKind::Fatal),
    ] {
        let (store, layer, handler) = world();
        let service = handler.at_once(&layer);
        for _ in 0..3 {
            store.next(Verb::Complete, fault);
        }

        let answer = send(&service, keyed("k", "a")).await;

        assert_eq!(
            (answer.status.as_u16(), answer.text()),
            (201, "execution 1")
        );
        assert_eq!(answer.outcome, Outcome::Executed { recorded: false });
        assert_eq!(store.calls(Verb::Complete), 1);
        assert_eq!(layer.drain(LONG).await.left, 0);
        assert_eq!(store.calls(Verb::Complete), 4);
        assert!(send(&service, keyed("k", "a")).await.is_replay());
        assert_eq!(handler.executions(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_at_settling_is_waited_for_no_longer_than_its_time_out() {
    let (store, layer, handler) = world();
    let service = handler.at_once(&layer);
    store.next(Verb::Complete, Fault::SlowBefore(LONG));
    let start = Instant::now();

    let answer = send(&service, keyed("k", "a")).await;

    assert_eq!(
        (answer.status.as_u16(), start.elapsed()),
        (201, Duration::from_secs(2))
    );
    assert_eq!(layer.drain(LONG).await.left, 0);
    assert!(send(&service, keyed("k", "a")).await.is_replay());
}

#[tokio::test(start_paused = true)]
async fn settling_goes_on_past_the_lease_and_then_ends() {
    let (store, layer, handler) = world();
    let service = handler.at_once(&layer);
    store.always(Verb::Complete, Fault::Before(StoreErrorKind::NotApplied));
    let start = Instant::now();
    assert_eq!(send(&service, keyed("k", "a")).await.status, 201);

    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(
        send(&service, keyed("k", "a")).await.code(),
        "idempotency_in_progress",
        "renewed"
    );
    assert_eq!(layer.drain(LONG).await.left, 0);

    assert!(
        (300..306).contains(&start.elapsed().as_secs()),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(handler.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn settling_that_succeeds_past_the_lease_still_counts() {
    let (store, layer, handler) = world();
    let service = handler.at_once(&layer);
    store.always(Verb::Complete, Fault::Before(StoreErrorKind::NotApplied));
    store.always(Verb::Renew, Fault::Before(StoreErrorKind::NotApplied));
    assert_eq!(send(&service, keyed("k", "a")).await.status, 201);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!record(&layer).await.unwrap().is_live());

    store.heal();

    assert_eq!(layer.drain(LONG).await.left, 0);
    assert!(send(&service, keyed("k", "a")).await.is_replay());
    assert_eq!(handler.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn too_many_unsettled_outcomes_refuse_new_claims() {
    let (store, layer, handler) = world();
    let layer = layer.max_unsettled(2);
    let service = handler.at_once(&layer);
    store.always(Verb::Complete, Fault::Before(StoreErrorKind::NotApplied));
    for key in ["k", "l"] {
        assert_eq!(send(&service, keyed(key, "a")).await.status, 201);
    }

    assert_eq!(
        send(&service, keyed("m", "a")).await.code(),
        "idempotency_overloaded"
    );

    store.heal();
    assert_eq!(layer.drain(LONG).await.left, 0);
    assert_eq!(send(&service, keyed("m", "a")).await.status, 201);
}

#[tokio::test(start_paused = true)]
async fn too_many_bytes_of_unsettled_outcomes_refuse_new_claims() {
    let (store, layer, handler) = world();
    let service = handler.at_once(&layer.clone().max_unsettled_bytes(1));
    store.always(Verb::Complete, Fault::Before(StoreErrorKind::NotApplied));
    send(&service, keyed("k", "a")).await;

    let answer = send(&service, keyed("another", "a")).await;

    assert_eq!(answer.code(), "idempotency_overloaded");
    store.heal();
    assert_eq!(layer.drain(LONG).await.left, 0);
    assert_eq!(send(&service, keyed("another", "a")).await.status, 201);
}

#[tokio::test(start_paused = true)]
async fn what_an_unsettled_outcome_counts_is_its_payload_and_its_tombstone() {
    let (store, layer, handler) = world();
    send(&handler.at_once(&layer), keyed("k", "a")).await;
    let bytes = store.completed_bytes();

    for (most, status) in [(bytes, 503), (bytes + 1, 201)] {
        let (store, layer, handler) = world();
        let service = handler.at_once(&layer.max_unsettled_bytes(most));
        store.always(Verb::Complete, Fault::Before(StoreErrorKind::NotApplied));
        assert_eq!(send(&service, keyed("k", "a")).await.status, 201);

        let beside_it = send(&service, keyed("another", "a")).await;

        assert_eq!(beside_it.status, status, "{bytes} of {most} bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_while_the_handler_runs() {
    let (store, layer, handler) = world();
    let service = handler.held(&layer);
    let owner = tokio::spawn(service.clone().oneshot(keyed("k", "a")));
    settle().await;

    tokio::time::sleep(Duration::from_secs(95)).await;

    assert_eq!(store.calls(Verb::Renew), 9, "every third of 30 seconds");
    assert!(record(&layer).await.unwrap().is_live());
    handler.open();
    assert_eq!(
        read(owner.await.unwrap().unwrap()).await.outcome,
        Outcome::Executed { recorded: true }
    );
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_ends_at_once_needs_no_renewal() {
    let (store, layer, handler) = world();
    let service = handler.at_once(&layer);

    send(&service, keyed("k", "a")).await;

    assert_eq!(
        (store.calls(Verb::Renew), store.calls(Verb::Complete)),
        (0, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn renewals_that_fail_are_repeated_before_the_lease_is_lost() {
    let (store, layer, handler) = world();
    let service = handler.held(&layer);
    for _ in 0..4 {
        store.next(Verb::Renew, Fault::Before(StoreErrorKind::NotApplied));
    }
    let owner = tokio::spawn(service.clone().oneshot(keyed("k", "a")));

    tokio::time::sleep(Duration::from_secs(40)).await;

    assert!(record(&layer).await.unwrap().is_live());
    handler.open();
    assert_eq!(
        read(owner.await.unwrap().unwrap()).await.outcome,
        Outcome::Executed { recorded: true }
    );
}

#[tokio::test(start_paused = true)]
async fn the_handler_hears_that_its_lease_is_lost_before_the_store_lets_it_go() {
    let (store, layer, _) = world();
    store.always(Verb::Renew, Fault::SlowBefore(LONG));
    let lost_after = Arc::new(std::sync::Mutex::new(None));
    let handler = Handler::default();
    let service = handler.answering(&layer, {
        let lost_after = Arc::clone(&lost_after);
        move |request: Request<RequestBody<Body>>| {
            let context = request.extensions().get::<Idempotency>().cloned().unwrap();
            let lost_after = Arc::clone(&lost_after);
            async move {
                let start = Instant::now();
                assert!(!context.is_lease_lost());
                context.lease_lost().await;
                assert!(context.is_lease_lost());
                assert!(context.point_of_no_return().await.is_err());
                *lost_after.lock().unwrap() = Some(start.elapsed());
                created("too late")
            }
        }
    });
    let mut pending = Box::pin(service.clone().oneshot(keyed("k", "a")));
    assert!(poll_once(&mut pending).is_pending());
    tokio::time::sleep(Duration::from_millis(29_999)).await;
    assert!(record(&layer).await.unwrap().is_live());

    let answer = read(pending.await.unwrap()).await;

    assert_eq!(answer.text(), "too late");
    assert_eq!(*lost_after.lock().unwrap(), Some(Duration::from_secs(30)));
}

#[tokio::test(start_paused = true)]
async fn beyond_the_longest_execution_the_lease_is_let_go() {
    let (_, layer, handler) = world();
    let layer = layer.max_execution(Duration::from_secs(45));
    let service = handler.held(&layer);
    let first = tokio::spawn(service.clone().oneshot(keyed("k", "a")));
    settle().await;

    tokio::time::sleep(Duration::from_secs(44)).await;
    assert_eq!(
        send(&service, keyed("k", "a")).await.code(),
        "idempotency_in_progress"
    );
    tokio::time::sleep(Duration::from_secs(27)).await;
    let second = tokio::spawn(service.clone().oneshot(keyed("k", "a")));
    settle().await;

    assert_eq!((handler.executions(), handler.last_attempt()), (2, 2));
    handler.open();
    assert_eq!(
        read(first.await.unwrap().unwrap()).await.outcome,
        Outcome::Executed { recorded: false }
    );
    handler.open();
    assert_eq!(
        read(second.await.unwrap().unwrap()).await.outcome,
        Outcome::Executed { recorded: true }
    );
}

#[tokio::test(start_paused = true)]
async fn a_claim_with_little_of_its_lease_left_is_renewed_before_the_handler_starts() {
    let (store, layer, handler) = world();
    let service = handler.at_once(&layer);
    store.next(Verb::Claim, Fault::LeaseLeft(Duration::from_secs(9)));

    assert_eq!(send(&service, keyed("k", "a")).await.status, 201);

    assert_eq!(store.calls(Verb::Renew), 1);
    store.next(Verb::Claim, Fault::LeaseLeft(Duration::from_secs(9)));
    store.next(Verb::Renew, Fault::Before(StoreErrorKind::NotApplied));
    assert_eq!(
        send(&service, keyed("l", "a")).await.code(),
        "idempotency_store_unavailable"
    );
    assert_eq!(handler.executions(), 1);
    assert_eq!(layer.drain(LONG).await.left, 0);
    assert_eq!(send(&service, keyed("l", "a")).await.status, 201);
}

#[tokio::test(start_paused = true)]
async fn a_mark_whose_store_call_failed_counts_as_made() {
    let (store, layer, handler) = world();
    let service = handler.answering(&layer, move |request: Request<RequestBody<Body>>| {
        let context = request.extensions().get::<Idempotency>().cloned().unwrap();
        async move {
            let mut response = created("");
            if context.point_of_no_return().await.is_err() {
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            }
            response
        }
    });
    for _ in 0..2 {
        store.next(Verb::Renew, Fault::Before(StoreErrorKind::NotApplied));
    }

    assert_eq!(send(&service, keyed("k", "a")).await.status, 500);

    assert!(record(&layer).await.unwrap().is_committed());
    assert_eq!(
        send(&service, keyed("k", "a")).await.code(),
        "idempotency_outcome_unknown"
    );
    assert_eq!(handler.executions(), 1);
}
