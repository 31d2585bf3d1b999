//! Who owns a key.

use std::sync::Arc;

use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tower_idempotency::{
    Claim, ClaimRequest, Fence, Fingerprint, RecordKey, Settled, Store, TakeOver,
};

use super::{
    LEASE, RETENTION, SECOND, abandon, claim, claim_id, commit, complete, completed, facts, find,
    fingerprint, inspect, key, key_of, other_request, own, pass, payload, refuses, release, renew,
    request,
};

const EVERY_RULE: [TakeOver; 3] = [TakeOver::Never, TakeOver::Uncommitted, TakeOver::Always];

pub(crate) async fn of_many_claims_at_once_one_is_owned(store: impl Store) {
    const MANY: usize = 100;
    let store = Arc::new(store);
    let barrier = Arc::new(Barrier::new(MANY));
    let mut claims = JoinSet::new();

    for _ in 0..MANY {
        let (store, barrier) = (Arc::clone(&store), Arc::clone(&barrier));
        claims.spawn(async move {
            barrier.wait().await;
            claim(&store, &request(key(1))).await
        });
    }

    let (mut owned, mut found) = (Vec::new(), Vec::new());
    for claim in claims.join_all().await {
        match claim {
            Claim::Owned(claim) => owned.push(claim.fence()),
            Claim::Existing(record) if record.is_live() => found.push(record.fence()),
            claim => panic!("neither owned nor in flight: {claim:?}"),
        }
    }
    assert_eq!(owned.len(), 1);
    assert_eq!(found, vec![owned[0]; MANY - 1]);
}

pub(crate) async fn a_new_record_is_the_first_attempt_with_its_whole_lease(store: impl Store) {
    let (owned, owner) = own(&store, &request(key(1))).await;

    assert_eq!((owned.attempt(), owned.lease_left()), (1, LEASE));
    let record = inspect(&store, key(1)).await.unwrap();
    assert!(record.fingerprint().matches(&fingerprint(1)));
    assert_eq!((record.fence(), record.attempt()), (owner.fence(), 1));
    assert!(record.is_live() && !record.is_committed());
    assert_eq!(record.state().lease_left(), LEASE);
    assert_eq!(record.since_first_request(), std::time::Duration::ZERO);
    assert_eq!(record.remaining(), RETENTION);
}

pub(crate) async fn a_record_key_is_scope_and_key_together(store: impl Store) {
    let mut last_byte = *key(1).key();
    last_byte[31] ^= 0x80;
    let others = [
        key(2),
        key_of(2, 1),
        RecordKey::from_parts(*key(1).scope(), last_byte),
        RecordKey::from_parts([9; 16], *key(1).key()),
    ];
    own(&store, &request(key(1))).await;

    for other in others {
        assert!(inspect(&store, other).await.is_none());
        assert_eq!(own(&store, &request(other)).await.0.attempt(), 1);
    }
}

pub(crate) async fn a_live_record_is_returned_as_it_is(store: impl Store) {
    let (_, owner) = own(&store, &request(key(1))).await;
    pass(LEASE - SECOND).await;
    let before = inspect(&store, key(1)).await.unwrap();

    for rule in EVERY_RULE {
        let record = find(&store, &request(key(1)).with_take_over(rule)).await;

        assert_eq!(facts(&record), facts(&before), "{rule:?}");
        assert_eq!(record.state().lease_left(), SECOND);
    }
    assert_eq!(renew(&store, &owner).await, Settled::Applied);
}

pub(crate) async fn another_fingerprint_never_owns(store: impl Store) {
    let versions = Fingerprint::from_parts(2, *fingerprint(1).digest());
    let other_version = ClaimRequest::new(key(1), claim_id(), versions, LEASE, RETENTION);
    let (_, owner) = own(&store, &request(key(1))).await;
    abandon(&store, &owner).await;

    for other in [other_request(key(1)), other_version] {
        for rule in EVERY_RULE {
            let record = find(&store, &other.clone().with_take_over(rule)).await;

            assert!(record.fingerprint().matches(&fingerprint(1)), "{rule:?}");
            assert_eq!(record.fence(), owner.fence(), "{rule:?}");
        }
    }
    assert_eq!(renew(&store, &owner).await, Settled::Applied);
}

pub(crate) async fn a_lapsed_record_is_taken_over_where_that_is_allowed(store: impl Store) {
    let cases = [
        (TakeOver::Never, false, false),
        (TakeOver::Never, true, false),
        (TakeOver::Uncommitted, false, true),
        (TakeOver::Uncommitted, true, false),
        (TakeOver::Always, false, true),
        (TakeOver::Always, true, true),
    ];
    for (number, (rule, committed, taken)) in (0..).zip(cases) {
        let (_, owner) = own(&store, &request(key(number))).await;
        store.renew(&owner, LEASE, committed).await.unwrap();
        pass(LEASE).await;

        let claim = claim(&store, &request(key(number)).with_take_over(rule)).await;

        match claim {
            Claim::Owned(owned) => {
                assert!(taken, "{rule:?}, committed: {committed}");
                assert_eq!((owned.attempt(), owned.lease_left()), (2, LEASE));
            }
            Claim::Existing(record) => {
                assert!(!taken, "{rule:?}, committed: {committed}");
                assert_eq!(record.fence(), owner.fence());
                assert!(!record.is_live());
            }
            claim => panic!("{claim:?}"),
        }
    }
}

pub(crate) async fn taking_over_counts_the_attempt_and_keeps_the_rest(store: impl Store) {
    let (_, first) = own(&store, &request(key(1))).await;
    commit(&store, &first).await;
    let mut fence = first.fence();

    for attempt in 2..=5 {
        pass(LEASE).await;

        let always = request(key(1)).with_take_over(TakeOver::Always);
        let (owned, owner) = own(&store, &always).await;

        assert_eq!(owned.attempt(), attempt);
        assert!(owner.fence() > fence);
        fence = owner.fence();
        let record = inspect(&store, key(1)).await.unwrap();
        let passed = LEASE * (attempt - 1);
        assert_eq!((record.fence(), record.attempt()), (fence, attempt));
        assert!(record.is_committed() && record.is_live());
        assert!(record.fingerprint().matches(&fingerprint(1)));
        assert_eq!(record.since_first_request(), passed);
        assert_eq!(record.remaining(), RETENTION - passed);
    }
}

pub(crate) async fn a_repeated_claim_is_ones_own_and_counts_the_lease_anew(store: impl Store) {
    let request = request(key(1));
    let (first, owner) = own(&store, &request).await;
    commit(&store, &owner).await;
    pass(LEASE / 2).await;

    let (again, _) = own(&store, &request).await;

    assert_eq!((again.fence(), again.attempt()), (first.fence(), 1));
    assert_eq!(again.lease_left(), LEASE);
    let record = inspect(&store, key(1)).await.unwrap();
    assert_eq!(record.state().lease_left(), LEASE);
    assert_eq!(record.remaining(), RETENTION - LEASE / 2);
    assert!(record.is_committed());
    assert_eq!(renew(&store, &owner).await, Settled::Applied);
}

pub(crate) async fn a_repeated_claim_is_ones_own_after_the_lease_too(store: impl Store) {
    let request = request(key(1)).with_take_over(TakeOver::Never);
    let (first, owner) = own(&store, &request).await;
    commit(&store, &owner).await;
    pass(LEASE * 2).await;

    let (again, _) = own(&store, &request).await;

    assert_eq!((again.fence(), again.attempt()), (first.fence(), 1));
    assert_eq!(again.lease_left(), LEASE);
    assert!(inspect(&store, key(1)).await.unwrap().is_live());
}

pub(crate) async fn a_repeated_claim_does_not_win_back_what_was_taken_over(store: impl Store) {
    let first = request(key(1));
    own(&store, &first).await;
    pass(LEASE).await;
    let (_, second) = own(&store, &request(key(1))).await;

    let record = find(&store, &first).await;

    assert_eq!((record.fence(), record.attempt()), (second.fence(), 2));
    assert_eq!(renew(&store, &second).await, Settled::Applied);
}

pub(crate) async fn a_repeated_claim_of_a_completed_record_is_answered_with_it(store: impl Store) {
    let request = request(key(1));
    let (_, owner) = own(&store, &request).await;
    complete(&store, &owner, &completed("done")).await;

    for rule in EVERY_RULE {
        let record = find(&store, &request.clone().with_take_over(rule)).await;

        assert_eq!(payload(&record).unwrap(), "done");
    }
}

pub(crate) async fn fences_increase_whatever_becomes_of_the_record(store: impl Store) {
    let mut last = Fence::new(0);
    let mut increased = |fence| assert!(std::mem::replace(&mut last, fence) < fence);

    for _ in 0..3 {
        let (_, released) = own(&store, &request(key(1))).await;
        increased(released.fence());
        release(&store, &released).await;

        let (_, forgotten) = own(&store, &request(key(1))).await;
        increased(forgotten.fence());
        store.forget(&key(1), true).await.unwrap();

        let (_, erased) = own(&store, &request(key(1))).await;
        increased(erased.fence());
        store.erase_scope(key(1).scope()).await.unwrap();

        let (_, lapsed) = own(&store, &request(key(1))).await;
        increased(lapsed.fence());
        pass(LEASE).await;

        let (_, expired) = own(&store, &request(key(1))).await;
        increased(expired.fence());
        complete(&store, &expired, &completed("done")).await;
        pass(RETENTION).await;

        // A claim id makes no two claims one.
        let same = request(key(1));
        let (_, first) = own(&store, &same).await;
        increased(first.fence());
        release(&store, &first).await;
        let (_, second) = own(&store, &same).await;
        increased(second.fence());
        refuses(&store, &first, Settled::FencedOut).await;
        release(&store, &second).await;
    }
}
