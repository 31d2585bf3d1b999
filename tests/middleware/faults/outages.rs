//! Stores that are gone for a while: what goes on meanwhile is bounded, and over when it should be.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use futures_util::future::join_all;
use tower_idempotency::{Mode, OnLost};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Sends so many requests at once, each with a key of its own.
async fn burst(service: &crate::support::Guarded, round: &str, count: usize) -> Vec<String> {
    let requests = (0..count).map(|number| send(service, keyed(&format!("{round}{number}"), "a")));
    let answers = join_all(requests).await;
    assert!(answers.iter().all(|answer| answer.status == 503));
    answers.iter().map(|answer| answer.code()).collect()
}

#[tokio::test(start_paused = true)]
async fn claims_that_a_hanging_store_does_not_answer_are_bounded_and_end_with_their_leases() {
    let (store, layer, handler) = world();
    let layer = layer.max_detached(10);
    let service = handler.at_once(&layer);
    store.always(Verb::Claim, Fault::SlowBefore(LONG));
    let start = Instant::now();

    let first = burst(&service, "first", 10).await;
    let claims = store.calls(Verb::Claim);
    let mut others = Vec::new();
    for round in 0..5 {
        others.extend(burst(&service, &format!("other{round}-"), 100).await);
    }

    assert!(
        first
            .iter()
            .all(|code| code == "idempotency_store_unavailable")
    );
    assert_eq!(
        start.elapsed(),
        2 * SECOND,
        "the others are refused at once"
    );
    assert!(others.iter().all(|code| code == "idempotency_overloaded"));
    settle().await;
    assert!(
        store.calls(Verb::Claim) <= claims + 10,
        "one each, to give it back"
    );
    assert_eq!(layer.drain(SECOND).await.left, 10);
    assert_eq!(layer.drain(LONG).await.left, 0);
    assert_eq!(start.elapsed(), 30 * SECOND, "the lease");
    store.heal();
    assert_eq!(send(&service, keyed("k", "a")).await.status, 201);
    assert_eq!(handler.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_is_asked_for_again_and_again_is_over_with_its_first_lease() {
    let applied = Fault::After(StoreErrorKind::Ambiguous);
    let applied_late = Fault::SlowAfter(LONG);
    for fault in [applied, Fault::PanicAfter, applied_late] {
        let (store, layer, handler) = world();
        let service = handler.at_once(&layer);
        store.always(Verb::Claim, fault);
        let start = Instant::now();

        let refused = send(&service, keyed("k", "a")).await;
        assert_eq!(refused.code(), "idempotency_store_unavailable");
        assert_eq!(layer.drain(LONG).await.left, 0);

        assert!(store.calls(Verb::Claim) >= 2);
        assert!(start.elapsed() < 36 * SECOND, "a lease and a pause");
        assert!(!record(&layer).await.unwrap().is_live(), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_requests_that_follow_each_other_a_store_that_hangs_holds_no_more_than_the_bound() {
    let (store, layer, handler) = world();
    let layer = layer.max_detached(10);
    let service = handler.at_once(&layer);
    store.always(Verb::Claim, Fault::SlowBefore(LONG));

    let mut codes = Vec::new();
    for number in 0..20 {
        codes.extend(burst(&service, &number.to_string(), 1).await);
    }

    assert!(
        codes[..10]
            .iter()
            .all(|code| code == "idempotency_store_unavailable")
    );
    assert!(
        codes[10..]
            .iter()
            .all(|code| code == "idempotency_overloaded")
    );
    assert_eq!(layer.drain(LONG).await.left, 0);
    // The bound is open again, and again it is one.
    codes = burst(&service, "again", 10).await;
    assert!(
        codes
            .iter()
            .all(|code| code == "idempotency_store_unavailable")
    );
    codes = burst(&service, "once-more", 1).await;
    assert_eq!(codes, ["idempotency_overloaded"]);
}

#[tokio::test(start_paused = true)]
async fn claims_whose_answers_were_lost_are_bounded_and_given_back_when_the_store_heals() {
    let (store, layer, handler) = world();
    let layer = layer.max_detached(10);
    let service = handler.at_once(&layer);
    store.always(Verb::Claim, Fault::After(StoreErrorKind::Ambiguous));
    let start = Instant::now();

    let first = burst(&service, "first", 10).await;
    let other = burst(&service, "other", 100).await;

    assert!(
        first
            .iter()
            .all(|code| code == "idempotency_store_unavailable")
    );
    assert!(other.iter().all(|code| code == "idempotency_overloaded"));
    assert_eq!(store.memory.len(), 10, "they were applied");
    tokio::time::sleep(3 * SECOND).await;
    store.heal();
    assert_eq!(layer.drain(LONG).await.left, 0);
    assert!(start.elapsed() < 10 * SECOND, "{:?}", start.elapsed());
    assert!(store.memory.is_empty());
    for number in 0..10 {
        let request = keyed(&format!("first{number}"), "a");
        assert_eq!(send(&service, request).await.status, 201);
        assert_eq!(handler.last_attempt(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn clients_that_leave_a_hanging_store_are_bounded_like_those_that_stay() {
    let (store, layer, handler) = world();
    let layer = layer.max_detached(10);
    let service = handler.at_once(&layer);
    store.always(Verb::Claim, Fault::SlowBefore(LONG));
    for number in 0..10 {
        let mut request = Box::pin(
            service
                .clone()
                .oneshot(keyed(&format!("left{number}"), "a")),
        );
        assert!(poll_once(&mut request).is_pending());
    }

    for pause in [Duration::ZERO, SECOND, SECOND, SECOND, 20 * SECOND] {
        tokio::time::sleep(pause).await;
        assert_eq!(
            burst(&service, "stays", 1).await,
            ["idempotency_overloaded"]
        );
    }

    assert_eq!(layer.drain(LONG).await.left, 0);
    store.heal();
    assert_eq!(send(&service, keyed("k", "a")).await.status, 201);
    assert_eq!(handler.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_drain_counts_an_unsettled_outcome_once() {
    let (store, layer, handler) = world();
    let service = handler.at_once(&layer);
    store.always(Verb::Complete, Fault::Before(StoreErrorKind::NotApplied));

    for (number, key) in ["k", "l", "m"].into_iter().enumerate() {
        assert_eq!(send(&service, keyed(key, "a")).await.status, 201);
        assert_eq!(layer.drain(SECOND / 100).await.left, number + 1);
    }

    store.heal();
    assert_eq!(layer.drain(LONG).await.left, 0);
    assert!(send(&service, keyed("k", "a")).await.is_replay());
}

#[tokio::test(start_paused = true)]
async fn a_claim_with_a_short_lease_is_given_back_although_its_lease_is_over() {
    let hanging = Fault::SlowAfter(SECOND * 5 / 2);
    let lost = Fault::After(StoreErrorKind::Ambiguous);
    for (fault, outage) in [(hanging, 0), (lost, 500), (lost, 1_500)] {
        for on_lost in [OnLost::Refuse, OnLost::Rerun] {
            let (store, layer, handler) = world();
            let layer = layer.lease(SECOND).on_lost(on_lost);
            let service = handler.at_once(&layer);
            store.always(Verb::Claim, fault);

            let answer = send(&service, keyed("k", "a")).await;
            let claimed = record(&layer).await;
            tokio::time::sleep(Duration::from_millis(outage)).await;
            store.heal();

            assert_eq!(answer.code(), "idempotency_store_unavailable");
            assert!(claimed.is_some(), "it was applied");
            assert_eq!(layer.drain(LONG).await.left, 0);
            assert!(record(&layer).await.is_none(), "{fault:?}");
            let retry = send(&service, keyed("k", "a")).await;
            assert_eq!(retry.outcome, Outcome::Executed { recorded: true });
            assert_eq!((handler.executions(), handler.last_attempt()), (1, 1));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn giving_back_a_claim_that_never_arrived_takes_nothing_over() {
    let (store, layer, handler) = world();
    let panicking = handler.answering(&layer, |_| async { panic!("the first attempt") });
    let lost = AssertUnwindSafe(send(&panicking, keyed("k", "a"))).catch_unwind();
    assert!(lost.await.is_err());
    let service = handler.at_once(&layer);
    for _ in 0..2 {
        store.next(Verb::Claim, Fault::Before(StoreErrorKind::Ambiguous));
    }

    let refused = send(&service, keyed("k", "a")).await;
    assert_eq!(refused.code(), "idempotency_store_unavailable");
    assert_eq!(layer.drain(LONG).await.left, 0);

    assert_eq!(
        record(&layer).await.unwrap().attempt(),
        1,
        "as if it had never been sent"
    );
    assert_eq!(send(&service, keyed("k", "a")).await.status, 201);
    assert_eq!(handler.last_attempt(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_settling_is_renewed_beyond_the_longest_execution() {
    let (store, layer, handler) = world();
    let layer = layer.max_execution(40 * SECOND);
    let service = handler.at_once(&layer);
    store.always(Verb::Complete, Fault::Before(StoreErrorKind::NotApplied));
    assert_eq!(send(&service, keyed("k", "a")).await.status, 201);

    for _ in 0..40 {
        tokio::time::sleep(5 * SECOND).await;
        let retry = send(&service, keyed("k", "a")).await;
        assert_eq!(retry.code(), "idempotency_in_progress");
    }

    store.heal();
    assert_eq!(layer.drain(LONG).await.left, 0);
    assert!(send(&service, keyed("k", "a")).await.is_replay());
    assert_eq!(handler.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_store_does_not_close_the_door_that_was_left_open() {
    let (store, layer, handler) = world();
    let layer = layer
        .max_detached(4)
        .on_store_error(OnStoreError::RunUnprotected);
    let service = handler.at_once(&layer);
    store.always(Verb::Claim, Fault::SlowBefore(LONG));

    for number in 0..20 {
        let answer = send(&service, keyed(&format!("k{number}"), "a")).await;
        assert_eq!(answer.outcome, Outcome::Unprotected, "{number}");
    }

    assert_eq!(layer.drain(LONG).await.left, 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_layer_that_only_looks_has_to_give_back_does_not_close_the_door_of_one_that_acts() {
    let (store, layer, handler) = world();
    let layer = layer.max_detached(4);
    let looking = handler.at_once(&layer.clone().mode(Mode::Shadow));
    let acting = handler.at_once(&layer);
    store.always(Verb::Claim, Fault::SlowBefore(LONG));
    for number in 0..20 {
        let answer = send(&looking, keyed(&format!("k{number}"), "a")).await;
        assert_eq!(
            (answer.status.as_u16(), answer.outcome),
            (201, Outcome::Bypassed)
        );
    }
    store.heal();

    let answer = send(&acting, keyed("fresh", "a")).await;

    assert_eq!(answer.outcome, Outcome::Executed { recorded: true });
    assert_eq!(layer.drain(LONG).await.left, 0);
}
