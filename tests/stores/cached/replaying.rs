//! Which claims are answered without the store, with what, and for how long.

use std::time::Duration;

use bytes::Bytes;
use tower_idempotency::{
    Cached, Claim, ClaimRequest, Completed, Fence, Record, Settled, State, Store, StoreErrorKind,
    TakeOver,
};

use crate::support::{
    LEASE, MOMENT, RETENTION, SECOND, abandon, claim, claim_id, complete, completed, find,
    fingerprint, inspect, key, other_request, own, pass, payload, release, renew, request,
};

use super::gated::{Gated, Verb};
use super::{STALENESS, done, gated, is_kept, kept, send};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[tokio::test(start_paused = true)]
async fn the_second_replay_costs_no_round_trip() {
    let cached = gated();
    done(&cached, key(1), "done").await;
    assert_eq!(cached.store().asked(), [Verb::Claim, Verb::Complete]);

    let first = find(&cached, &request(key(1))).await;
    assert_eq!(cached.store().asked(), [Verb::Claim]);
    for _ in 0..100 {
        let again = find(&cached, &request(key(1))).await;
        assert_eq!(payload(&again), payload(&first));
    }

    assert_eq!(cached.store().asked(), []);
}

#[tokio::test(start_paused = true)]
async fn a_record_is_shown_as_the_store_would_show_it() {
    let cached = gated();
    let (_, lost) = own(&cached, &request(key(1))).await;
    abandon(&cached, &lost).await;
    pass(SECOND).await;
    let (_, owner) = own(&cached, &request(key(1))).await;
    cached.renew(&owner, LEASE, true).await.unwrap();
    complete(&cached, &owner, &completed("done")).await;
    pass(SECOND * 3).await;
    find(&cached, &request(key(1))).await;
    pass(SECOND * 5).await;
    cached.store().asked();

    let shown = find(&cached, &request(key(1))).await;
    assert_eq!(cached.store().asked(), []);
    let truth = inspect(&cached, key(1)).await.unwrap();

    assert!(shown.fingerprint().matches(truth.fingerprint()));
    assert_eq!(shown.fence(), truth.fence());
    assert_eq!((shown.attempt(), truth.attempt()), (2, 2));
    assert!(shown.is_committed() && truth.is_committed());
    assert_eq!(shown.since_first_request(), SECOND * 9);
    assert_eq!(truth.since_first_request(), SECOND * 9);
    assert_eq!(shown.remaining(), RETENTION - SECOND * 9);
    assert_eq!(truth.remaining(), RETENTION - SECOND * 9);
    assert_eq!(payload(&shown), payload(&truth));
}

#[tokio::test(start_paused = true)]
async fn whoever_claims_a_completed_record_finds_it() {
    let cached = gated();
    let first = request(key(1));
    let (_, owner) = own(&cached, &first).await;
    complete(&cached, &owner, &completed("done")).await;
    find(&cached, &first).await;
    cached.store().asked();

    for rule in [TakeOver::Never, TakeOver::Uncommitted, TakeOver::Always] {
        for request in [request(key(1)), other_request(key(1)), first.clone()] {
            let record = find(&cached, &request.with_take_over(rule)).await;
            assert!(record.fingerprint().matches(&fingerprint(1)));
            assert_eq!(payload(&record).unwrap(), "done");
        }
    }

    assert_eq!(cached.store().asked(), []);
}

#[tokio::test(start_paused = true)]
async fn a_record_in_flight_is_always_that_of_the_store() {
    let cached = gated();
    let (_, owner) = own(&cached, &request(key(1))).await;
    for _ in 0..3 {
        cached.store().asked();
        pass(SECOND).await;
        let record = find(&cached, &request(key(1))).await;
        assert_eq!(cached.store().asked(), [Verb::Claim]);
        assert!(record.is_live());
    }
    assert!(cached.is_empty());

    // Its end is seen at once.
    complete(&cached, &owner, &completed("done")).await;
    let record = find(&cached, &request(key(1))).await;
    assert_eq!(payload(&record).unwrap(), "done");
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_record_is_always_that_of_the_store() {
    let cached = gated();
    let (_, owner) = own(&cached, &request(key(1))).await;
    abandon(&cached, &owner).await;
    for _ in 0..3 {
        let record = find(&cached, &other_request(key(1))).await;
        assert!(!record.is_live());
    }
    assert!(cached.is_empty());

    // Whoever may take over does.
    assert_eq!(own(&cached, &request(key(1))).await.0.attempt(), 2);
}

#[tokio::test(start_paused = true)]
async fn that_there_is_no_record_is_never_kept() {
    let cached = gated();
    for attempt in 0..3 {
        let (owned, owner) = own(&cached, &request(key(1))).await;
        assert_eq!(owned.attempt(), 1, "{attempt}");
        release(&cached, &owner).await;
        assert!(inspect(&cached, key(1)).await.is_none());
    }
    // Another process runs it.
    let elsewhere = &cached.store().memory;
    let (_, owner) = own(elsewhere, &request(key(1))).await;
    complete(elsewhere, &owner, &completed("elsewhere")).await;

    let record = find(&cached, &request(key(1))).await;

    assert_eq!(payload(&record).unwrap(), "elsewhere");
}

#[tokio::test(start_paused = true)]
async fn a_record_is_replayed_until_it_expires_and_no_later() {
    let cached = gated().max_staleness(DAY);
    kept(&cached, key(1), "done").await;

    pass(RETENTION - MOMENT).await;
    assert!(is_kept(&cached, key(1)).await);
    let record = find(&cached, &request(key(1))).await;
    assert_eq!(record.remaining(), MOMENT);
    assert_eq!(record.since_first_request(), RETENTION - MOMENT);

    pass(MOMENT).await;
    assert_eq!(own(&cached, &request(key(1))).await.0.attempt(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_retention_that_counts_is_that_of_the_response() {
    let cached = gated().max_staleness(DAY);
    let (_, owner) = own(&cached, &request(key(1))).await;
    let short = Completed::new(Bytes::new(), Bytes::new(), SECOND * 10);
    complete(&cached, &owner, &short).await;
    pass(SECOND * 4).await;
    find(&cached, &request(key(1))).await;
    cached.store().asked();

    pass(SECOND * 6 - MOMENT).await;
    assert!(is_kept(&cached, key(1)).await);
    pass(MOMENT).await;
    assert_eq!(own(&cached, &request(key(1))).await.0.attempt(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_record_is_read_again_when_it_is_as_stale_as_it_may_be() {
    for staleness in [STALENESS, SECOND * 7] {
        let cached = gated();
        let cached = match staleness {
            STALENESS => cached,
            _ => cached.max_staleness(staleness),
        };
        kept(&cached, key(1), "done").await;
        // Replays do not make it fresh.
        for _ in 0..2 {
            pass(staleness - MOMENT).await;
            assert!(is_kept(&cached, key(1)).await, "{staleness:?}");
            pass(MOMENT).await;
            assert!(!is_kept(&cached, key(1)).await, "{staleness:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn expiry_and_staleness_count_from_before_the_store_was_asked() {
    // The first claim hangs for 8 seconds, its answer is as of their beginning.
    for (staleness, left) in [(DAY, SECOND * 20), (SECOND * 15, SECOND * 15)] {
        let cached = gated().max_staleness(staleness);
        let (_, owner) = own(&cached, &request(key(1))).await;
        let short = Completed::new(Bytes::new(), Bytes::new(), SECOND * 20);
        complete(&cached, &owner, &short).await;
        let gate = cached.store().holds_the_answer(Verb::Claim);
        let (slow, next) = (request(key(1)), request(key(1)));
        let replay = send(cached.claim(&slow));
        pass(SECOND * 8).await;
        gate.open();
        replay.await.unwrap();
        cached.store().asked();

        pass(left - SECOND * 8 - MOMENT).await;
        assert!(is_kept(&cached, key(1)).await);
        pass(MOMENT).await;
        claim(&cached, &next).await;
        assert_eq!(cached.store().asked(), [Verb::Claim]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_of_which_it_is_not_known_when_it_expires_is_not_kept() {
    let cached = gated();
    let payload = Bytes::from_static(b"done");
    let state = State::Completed { payload };
    let record = Record::new(fingerprint(1), Fence::new(1), 1, state);
    cached.store().answers(Claim::Existing(record));

    find(&cached, &request(key(1))).await;

    assert!(cached.is_empty());
    own(&cached, &request(key(1))).await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_never_kept() {
    let cached = gated();
    done(&cached, key(1), "done").await;
    let kinds = [
        StoreErrorKind::NotApplied,
        StoreErrorKind::Ambiguous,
        StoreErrorKind::Fatal,
        StoreErrorKind::Unreadable,
    ];
    for kind in kinds {
        cached.store().fails_after(Verb::Claim, kind);
        let error = cached.claim(&request(key(1))).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert!(cached.is_empty());
    }

    assert_eq!(
        payload(&find(&cached, &request(key(1))).await).unwrap(),
        "done"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_is_replayed_while_the_store_cannot_be_reached() {
    let cached = gated();
    kept(&cached, key(1), "done").await;
    let down = StoreErrorKind::NotApplied;
    for _ in 0..2 {
        cached.store().fails_before(Verb::Claim, down);
    }

    pass(STALENESS - MOMENT).await;
    assert!(is_kept(&cached, key(1)).await);
    assert!(cached.claim(&request(key(2))).await.is_err());
    pass(MOMENT).await;
    assert!(cached.claim(&request(key(1))).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_claim_keeps_nothing() {
    let cached = gated();
    done(&cached, key(1), "done").await;
    let _gate = cached.store().holds_the_answer(Verb::Claim);
    let request = request(key(1));

    drop(send(cached.claim(&request)));

    assert!(cached.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_inspection_asks_the_store_and_changes_nothing() {
    let cached = gated();
    done(&cached, key(1), "done").await;
    cached.store().asked();

    for _ in 0..2 {
        assert!(inspect(&cached, key(1)).await.is_some());
        assert_eq!(cached.store().asked(), [Verb::Inspect]);
        assert!(cached.is_empty());
    }
    find(&cached, &request(key(1))).await;
    cached.store().asked();
    cached.store().memory.forget(&key(1), false).await.unwrap();

    // Operators see what is there, also where this process may still replay.
    assert!(inspect(&cached, key(1)).await.is_none());
    assert_eq!(cached.store().asked(), [Verb::Inspect]);
    assert!(is_kept(&cached, key(1)).await);
}

#[tokio::test(start_paused = true)]
async fn everything_else_is_asked_of_the_store() {
    let cached = gated();
    let record = kept(&cached, key(1), "done").await;
    let (_, owner) = own(&cached, &request(key(2))).await;
    cached.store().asked();

    assert_eq!(renew(&cached, &owner).await, Settled::Applied);
    assert_eq!(abandon(&cached, &owner).await, Settled::Applied);
    cached
        .settled(owner.key(), owner.fence(), Duration::ZERO)
        .await;
    assert_eq!(release(&cached, &owner).await, Settled::Applied);
    assert_eq!(
        complete(&cached, &owner, &completed("late")).await,
        Settled::Missing
    );
    // Of a record that is kept, too: its owner has completed it, and whoever comes late is told so.
    let zombie = tower_idempotency::Owner::new(key(1), record.fence(), claim_id());
    assert_eq!(renew(&cached, &zombie).await, Settled::FencedOut);
    cached
        .settled(&key(1), record.fence(), Duration::from_secs(60))
        .await;

    let expected = [
        Verb::Renew,
        Verb::Abandon,
        Verb::Settled,
        Verb::Release,
        Verb::Complete,
        Verb::Renew,
        Verb::Settled,
    ];
    assert_eq!(cached.store().asked(), expected);
    assert_eq!(cached.fullness(), Some(71));
    assert!(is_kept(&cached, key(1)).await);
}

#[tokio::test(start_paused = true)]
async fn a_layer_s_claim_of_another_retention_changes_nothing_of_what_is_kept() {
    let cached = gated();
    kept(&cached, key(1), "done").await;
    let longer = ClaimRequest::new(key(1), claim_id(), fingerprint(1), LEASE, DAY);

    let record = find(&cached, &longer).await;

    assert_eq!(record.remaining(), RETENTION);
}

/// A cache is a store like any other: for several layers, behind another one, and without a runtime.
#[test]
fn a_cache_is_a_store_like_any_other() {
    fn is_store<St: Store + std::fmt::Debug + Unpin>(_: &St) {}
    let cached = std::sync::Arc::new(Cached::new(Cached::new(Gated::default())));

    is_store(&cached);
    let request = request(key(1));
    let claimed = futures_util::FutureExt::now_or_never(cached.claim(&request));

    assert!(matches!(claimed, Some(Ok(Claim::Owned(_)))));
}
