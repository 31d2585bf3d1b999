//! What a handler does with its context: the point of no return, and derived keys.

use super::*;
use crate::scripted::{Fault, Scripted, Verb};

/// A service that passes its point of no return and then answers like this.
fn committing<St: Store>(
    layer: &IdempotencyLayer<St>,
    status: u16,
    keep: Option<Keep>,
) -> (Handler, crate::support::Guarded) {
    let handler = Handler::default();
    let service = handler.answering(layer, move |request| {
        let keep = keep.clone();
        async move {
            let key = request.extensions().get::<Idempotency>().unwrap();
            key.point_of_no_return().await.unwrap();
            let mut response = created("committed");
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            if let Some(keep) = keep {
                response.extensions_mut().insert(keep);
            }
            response
        }
    });
    (handler, service)
}

#[tokio::test(start_paused = true)]
async fn a_mark_is_in_the_store_before_it_returns() {
    let spy = Spy::new();
    let layer = IdempotencyLayer::new(spy.clone());
    let handler = Handler::default();
    let asked = (spy.clone(), layer.record_key(b"", &Method::POST, PATH, "k"));
    let service = handler.answering(&layer, move |request| {
        let (spy, record) = asked.clone();
        async move {
            let key = request.extensions().get::<Idempotency>().unwrap();
            assert!(!spy.inspect(&record).await.unwrap().unwrap().is_committed());
            key.point_of_no_return().await.unwrap();
            assert!(spy.inspect(&record).await.unwrap().unwrap().is_committed());
            created("committed")
        }
    });

    let answer = send(&service, keyed("k", "x")).await;

    assert_eq!(answer.outcome, Outcome::Executed { recorded: true });
    assert!(send(&service, keyed("k", "x")).await.is_replay());
    assert_eq!(spy.verbs(), ["claim", "commit", "complete", "claim"]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_behind_the_mark_is_never_run_again_whatever_the_rules() {
    for (rule, extension) in [
        (Keep::Success, None),
        (Keep::Final, None),
        (Keep::Discard, None),
        (Keep::All, Some(Keep::Discard)),
        (Keep::when(|_| false), None),
    ] {
        let spy = Spy::new();
        let layer = IdempotencyLayer::new(spy.clone())
            .keep(rule)
            .on_lost(OnLost::Rerun);
        let (handler, service) = committing(&layer, 502, extension);

        let first = send(&service, keyed("k", "x")).await;

        assert_eq!(first.status, 502);
        assert_eq!(first.outcome, Outcome::Executed { recorded: false });
        assert_eq!(spy.verbs(), ["claim", "commit", "abandon"]);
        for _ in 0..3 {
            let retry = send(&service, keyed("k", "x")).await;
            assert_eq!(retry.code(), "idempotency_outcome_unknown");
            assert_eq!(retry.status, 409);
            tokio::time::advance(DAY / 4).await;
        }
        assert_eq!(
            send(&service, keyed("k", "y")).await.outcome,
            Outcome::Mismatch
        );
        assert_eq!(handler.executions(), 1);
        forget(&layer).await;
        send(&service, keyed("k", "x")).await;
        assert_eq!((handler.executions(), handler.last_attempt()), (2, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_success_behind_the_mark_that_is_not_kept_is_unknown_too() {
    let (handler, service) = committing(&IdempotencyLayer::default(), 201, Some(Keep::Discard));
    send(&service, keyed("k", "x")).await;

    let retry = send(&service, keyed("k", "x")).await;

    assert_eq!(retry.code(), "idempotency_outcome_unknown");
    assert_eq!(handler.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_behind_the_mark_that_is_kept_is_replayed() {
    let (_, service) = committing(&IdempotencyLayer::default(), 502, Some(Keep::Store));
    send(&service, keyed("k", "x")).await;

    let retry = send(&service, keyed("k", "x")).await;

    assert!(retry.is_replay());
    assert_eq!(retry.status, 502);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_lost_behind_the_mark_is_never_run_again() {
    for lost in LOST {
        let layer = IdempotencyLayer::default();
        let (service, executions) = losing(&layer, lost, true);
        lose(&service, lost).await;

        for _ in 0..3 {
            assert_eq!(
                again(&service).await.code(),
                "idempotency_outcome_unknown",
                "{lost:?}"
            );
            tokio::time::advance(Duration::from_secs(60)).await;
        }

        assert_eq!(executions.count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_was_fenced_out_cannot_pass_its_point_of_no_return() {
    let layer = IdempotencyLayer::default();
    let handler = Handler::default();
    let record = layer.record_key(b"", &Method::POST, PATH, "k");
    let store = layer.clone();
    let service = handler.answering(&layer, move |request| {
        let store = store.clone();
        async move {
            let key = request.extensions().get::<Idempotency>().unwrap();
            assert!(!key.is_lease_lost());
            store.store().forget(&record, true).await.unwrap();
            let lost = key.point_of_no_return().await.unwrap_err();
            assert_eq!(
                lost.to_string(),
                "another attempt may own this operation by now"
            );
            assert!(key.is_lease_lost());
            key.lease_lost().await;
            assert!(key.point_of_no_return().await.is_err());
            created("stopped")
        }
    });

    let answer = send(&service, keyed("k", "x")).await;

    assert_eq!(answer.text(), "stopped");
    assert_eq!(answer.outcome, Outcome::Executed { recorded: false });
    assert!(layer.store().inspect(&record).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_outcome_behind_a_mark_that_the_store_did_not_take_is_recorded_in_the_end() {
    let spy = Spy::new();
    let layer = IdempotencyLayer::new(spy.clone());
    let handler = Handler::default();
    let down = spy.clone();
    let service = handler.answering(&layer, move |request| {
        let down = down.clone();
        async move {
            let key = request.extensions().get::<Idempotency>().unwrap();
            down.goes_down(StoreErrorKind::Ambiguous);
            let lost = key.point_of_no_return().await.unwrap_err();
            assert_eq!(
                lost.to_string(),
                "the store did not confirm the mark in time"
            );
            created("stopped")
        }
    });

    let first = send(&service, keyed("k", "x")).await;
    spy.comes_back();
    tokio::time::sleep(60 * SECOND).await;

    assert_eq!(first.outcome, Outcome::Executed { recorded: false });
    assert!(send(&service, keyed("k", "x")).await.is_replay());
    assert_eq!(layer.drain(SECOND).await.left, 0);
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_the_store_did_not_take_blocks_a_second_run() {
    let spy = Spy::new();
    let layer = IdempotencyLayer::new(spy.clone()).keep(Keep::Discard);
    let handler = Handler::default();
    let down = spy.clone();
    let service = handler.answering(&layer, move |request| {
        let down = down.clone();
        async move {
            let key = request.extensions().get::<Idempotency>().unwrap();
            down.goes_down(StoreErrorKind::Ambiguous);
            assert!(key.point_of_no_return().await.is_err());
            created("stopped")
        }
    });
    send(&service, keyed("k", "x")).await;
    spy.comes_back();
    tokio::time::sleep(60 * SECOND).await;

    let retry = send(&service, keyed("k", "x")).await;

    assert_eq!(retry.code(), "idempotency_outcome_unknown");
    assert_eq!(handler.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_an_execution_leaves_behind_cannot_mark_a_record_that_is_given_up() {
    for (status, ends) in [(500, "freed"), (500, "abandoned"), (200, "kept")] {
        let (seen, left) = tokio::sync::oneshot::channel();
        let seen = Arc::new(Mutex::new(Some(seen)));
        let layer = IdempotencyLayer::default();
        let service = Handler::default().answering(&layer, move |request| {
            let key = request.extensions().get::<Idempotency>().unwrap().clone();
            let first = key.attempt() == 1;
            if let Some(seen) = seen.lock().unwrap().take() {
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    let lost = key.is_lease_lost();
                    seen.send((lost, key.point_of_no_return().await.is_ok()))
                        .unwrap();
                });
            }
            assert!(!(first && ends == "abandoned"), "on purpose");
            let mut response = created("done");
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            std::future::ready(response)
        });
        let request = AssertUnwindSafe(service.clone().oneshot(keyed("k", "x")));
        let _ = request.catch_unwind().await;

        let (lost, marked) = left.await.unwrap();

        assert_eq!(lost, ends != "kept", "{ends}");
        assert!(!marked, "{ends}");
        let again = send(&service, keyed("k", "x")).await;
        assert_eq!(again.is_replay(), ends == "kept");
        assert_ne!(again.status, 409, "{ends}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_comes_while_the_key_is_freed_is_not_made_and_the_key_is_free() {
    for slow in [
        Fault::SlowBefore(SECOND),
        Fault::Before(StoreErrorKind::NotApplied),
    ] {
        let store = Scripted::new();
        store.next(Verb::Release, slow);
        let layer = IdempotencyLayer::new(Arc::clone(&store));
        let (handler, marking) = (Handler::default(), Arc::new(Mutex::new(None)));
        let marks = Arc::clone(&marking);
        let service = handler.answering(&layer, move |request| {
            // What a handler leaves behind outlives its response.
            let key = request.extensions().get::<Idempotency>().cloned().unwrap();
            let late = tokio::spawn(async move {
                tokio::time::sleep(SECOND / 50).await;
                key.point_of_no_return().await
            });
            marks.lock().unwrap().get_or_insert(late);
            let mut response = created("failed");
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            std::future::ready(response)
        });
        assert_eq!(send(&service, keyed("k", "x")).await.status, 500);
        let marking = marking.lock().unwrap().take().unwrap();
        let marked = marking.await.unwrap();
        tokio::time::sleep(2 * SECOND).await;

        send(&service, keyed("k", "x")).await;

        assert!(marked.is_err(), "{slow:?}");
        assert_eq!((handler.executions(), handler.last_attempt()), (2, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn derived_keys_are_the_same_in_every_attempt_and_no_other_request_has_them() {
    let derived = Arc::new(Mutex::new(Vec::new()));
    let layer = IdempotencyLayer::default();
    let noted = Arc::clone(&derived);
    let (service, _) = streaming(&layer, move |number, request| {
        let key = request.extensions().get::<Idempotency>().unwrap();
        let children = ["charge", "refund", ""].map(|name| key.child(name).as_str().to_owned());
        noted
            .lock()
            .unwrap()
            .push((key.attempt(), key.fence(), children));
        let body = match number {
            1 => Frames::new([Step::Break("lost")]),
            _ => Frames::data(["made"]),
        };
        std::future::ready(Response::new(body))
    });
    for key in ["k", "k", "other"] {
        drop(service.clone().oneshot(upload(key, Frames::empty())).await);
    }

    let derived = derived.lock().unwrap();
    let [(1, one, first), (2, two, second), (1, _, other)] = &derived[..] else {
        panic!("{derived:?}");
    };

    assert!(one < two);
    assert_eq!(first, second);
    let distinct: std::collections::HashSet<_> = first.iter().chain(other).collect();
    assert_eq!(distinct.len(), 6);
    for child in distinct {
        let groups: Vec<_> = child.split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12]);
        assert!(
            child
                .chars()
                .all(|char| char == '-' || char.is_ascii_hexdigit())
        );
        assert_eq!(&child[14..15], "8");
    }
}
