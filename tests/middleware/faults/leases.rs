//! Leases of which little or nothing is left: answers of the store that come late.

use std::sync::Mutex;

use http::Response;
use tower::Layer;
use tower::util::service_fn;
use tower_idempotency::InFlight;

use super::*;
use crate::support::Guarded;

const LEASE: Duration = Duration::from_secs(1);

/// What a handler saw when it started.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Start {
    attempt: u32,
    is_lease_lost: bool,
    renewals: usize,
    beside: u32,
}

/// A handler that takes so long, and what its executions saw.
fn watched(
    layer: &IdempotencyLayer<Arc<Scripted>>,
    handler: &Handler,
    takes: Duration,
) -> (Guarded, Arc<Mutex<Vec<Start>>>) {
    let starts = Arc::new(Mutex::new(Vec::new()));
    let service = handler.answering(layer, {
        let (layer, handler, starts) = (layer.clone(), handler.clone(), Arc::clone(&starts));
        move |request: Request<RequestBody<Body>>| {
            let context = request.extensions().get::<Idempotency>().unwrap();
            starts.lock().unwrap().push(Start {
                attempt: context.attempt(),
                is_lease_lost: context.is_lease_lost(),
                renewals: layer.store().calls(Verb::Renew),
                beside: handler.executions() - handler.finished() - 1,
            });
            async move {
                tokio::time::sleep(takes).await;
                created("done")
            }
        }
    });
    (service, starts)
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_was_answered_late_is_renewed_before_the_handler_starts() {
    for late in [667, 900, 999] {
        let (store, layer, handler) = world();
        let (service, starts) = watched(&layer.lease(LEASE), &handler, LEASE * 3);
        store.next(Verb::Claim, Fault::SlowAfter(Duration::from_millis(late)));

        let answer = send(&service, keyed("k", "a")).await;

        assert_eq!(answer.outcome, Outcome::Executed { recorded: true });
        let start = Start {
            attempt: 1,
            is_lease_lost: false,
            renewals: 1,
            beside: 0,
        };
        assert_eq!(*starts.lock().unwrap(), [start], "{late} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_was_answered_in_time_starts_at_once_and_is_renewed_in_time() {
    let (store, layer, handler) = world();
    let (service, starts) = watched(&layer.clone().lease(LEASE), &handler, LEASE * 3);
    store.next(Verb::Claim, Fault::SlowAfter(Duration::from_millis(600)));
    let owner = tokio::spawn(service.oneshot(keyed("k", "a")));
    tokio::time::sleep(Duration::from_millis(600)).await;
    settle().await;

    assert_eq!(starts.lock().unwrap()[0].renewals, 0);
    while handler.finished() == 0 {
        assert!(record(&layer).await.unwrap().is_live());
        tokio::time::sleep(LEASE / 7).await;
    }
    let answer = read(owner.await.unwrap().unwrap()).await;
    assert_eq!(answer.outcome, Outcome::Executed { recorded: true });
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_was_answered_when_its_lease_was_over_starts_no_handler() {
    let (store, layer, handler) = world();
    let layer = layer.lease(LEASE);
    let (service, starts) = watched(&layer, &handler, LEASE * 3);
    store.next(Verb::Claim, Fault::SlowAfter(LEASE * 3 / 2));

    let answer = send(&service, keyed("k", "a")).await;

    assert_eq!(answer.code(), "idempotency_store_unavailable");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(layer.drain(LONG).await.left, 0);
    assert_eq!(*starts.lock().unwrap(), []);
    assert!(record(&layer).await.is_none(), "given back");
    let retry = send(&service, keyed("k", "a")).await;
    assert_eq!(retry.outcome, Outcome::Executed { recorded: true });
    assert_eq!(handler.last_attempt(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_was_answered_when_the_lease_was_over_starts_no_handler_either() {
    let (store, layer, handler) = world();
    let layer = layer.lease(LEASE);
    let (service, starts) = watched(&layer, &handler, LEASE * 3);
    store.next(Verb::Claim, Fault::SlowAfter(Duration::from_millis(800)));
    store.next(Verb::Renew, Fault::SlowAfter(Duration::from_millis(1_500)));

    let answer = send(&service, keyed("k", "a")).await;

    assert_eq!(answer.code(), "idempotency_store_unavailable");
    assert_eq!(layer.drain(LONG).await.left, 0);
    assert_eq!(*starts.lock().unwrap(), []);
    assert!(record(&layer).await.is_none(), "given back");
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_hears_late_of_its_claim_never_runs_beside_the_one_that_took_over() {
    for in_flight in [InFlight::reject(), InFlight::wait(Duration::from_secs(9))] {
        for late in [1_250, 1_500, 1_999] {
            let (store, layer, handler) = world();
            let layer = layer.lease(LEASE).in_flight(in_flight);
            let (service, starts) = watched(&layer, &handler, LEASE * 3);
            store.next(Verb::Claim, Fault::SlowAfter(Duration::from_millis(late)));

            let first = tokio::spawn(service.clone().oneshot(keyed("k", "a")));
            tokio::time::sleep(LEASE * 6 / 5).await;
            let second = send(&service, keyed("k", "a")).await;

            assert_eq!(second.outcome, Outcome::Executed { recorded: true });
            assert_eq!(handler.last_attempt(), 2);
            let first = read(first.await.unwrap().unwrap()).await;
            assert_eq!(first.outcome, Outcome::InProgress, "{late} ms");
            let starts = starts.lock().unwrap();
            assert!(starts.len() == 1 && starts[0].beside == 0, "{starts:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_completion_keeps_its_lease() {
    for fault in [
        Fault::SlowBefore(LEASE * 19 / 10),
        Fault::SlowAfter(LEASE * 19 / 10),
    ] {
        let (store, layer, handler) = world();
        let layer = layer.lease(LEASE);
        let service = handler.at_once(&layer);
        store.next(Verb::Complete, fault);
        let owner = tokio::spawn(service.clone().oneshot(keyed("k", "a")));

        for _ in 0..18 {
            tokio::time::sleep(LEASE / 10).await;
            let meanwhile = send(&service, keyed("k", "a")).await;
            assert!(
                matches!(meanwhile.outcome, Outcome::InProgress | Outcome::Replayed),
                "{meanwhile:?}"
            );
        }

        let answer = read(owner.await.unwrap().unwrap()).await;
        assert_eq!(answer.outcome, Outcome::Executed { recorded: true });
        assert!(send(&service, keyed("k", "a")).await.is_replay());
        assert_eq!((handler.executions(), handler.last_attempt()), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_release_keeps_its_lease() {
    let (store, layer, handler) = world();
    let layer = layer.lease(LEASE);
    let service = handler.statuses(&layer, &[500, 201]);
    store.next(Verb::Release, Fault::SlowBefore(LEASE * 19 / 10));
    let owner = tokio::spawn(service.clone().oneshot(keyed("k", "a")));

    tokio::time::sleep(LEASE * 3 / 2).await;
    let meanwhile = send(&service, keyed("k", "a")).await;

    assert_eq!(meanwhile.outcome, Outcome::InProgress);
    assert_eq!(owner.await.unwrap().unwrap().status(), 500);
    assert_eq!(send(&service, keyed("k", "a")).await.status, 201);
    assert_eq!((handler.executions(), handler.last_attempt()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn the_signal_of_a_lost_lease_counts_from_before_the_claim_was_sent() {
    for (left, rises_at) in [(None, 30), (Some(12), 12)] {
        let (store, layer, handler) = world();
        store.next(Verb::Claim, Fault::SlowAfter(Duration::from_millis(1_500)));
        if let Some(left) = left {
            store.next(Verb::Claim, Fault::LeaseLeft(Duration::from_secs(left)));
        }
        store.always(Verb::Renew, Fault::Before(StoreErrorKind::NotApplied));
        let sent_at = Instant::now();
        let service = handler.answering(&layer, move |request: Request<RequestBody<Body>>| {
            let context = request.extensions().get::<Idempotency>().cloned().unwrap();
            async move {
                assert_eq!(sent_at.elapsed(), Duration::from_millis(1_500));
                assert!(!context.is_lease_lost());
                context.lease_lost().await;
                created(&sent_at.elapsed().as_millis().to_string())
            }
        });

        let answer = send(&service, keyed("k", "a")).await;

        assert_eq!(answer.text(), (rises_at * 1_000).to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn what_fails_when_its_lease_is_due_for_renewal_is_free_at_once() {
    let store = Scripted::yielding(1);
    let layer = IdempotencyLayer::new(Arc::clone(&store)).lease(LEASE);
    let gate = Arc::new(tokio::sync::Notify::new());
    let failing = layer.layer(service_fn({
        let gate = Arc::clone(&gate);
        move |_: Request<RequestBody<Body>>| {
            let gate = Arc::clone(&gate);
            async move {
                gate.notified().await;
                Err::<Response<Body>, _>("lost")
            }
        }
    }));
    let mut request = Box::pin(failing.oneshot(keyed("k", "a")));
    for _ in 0..5 {
        assert!(poll_once(&mut request).is_pending());
    }

    // Nobody polls it when it is time to renew.
    tokio::time::advance(LEASE / 2).await;
    gate.notify_one();
    assert!(request.await.is_err());

    assert!(!record(&layer).await.unwrap().is_live());
}
