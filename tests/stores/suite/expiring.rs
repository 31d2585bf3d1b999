//! When records are absent again.

use std::time::Duration;

use bytes::Bytes;
use tower_idempotency::{Completed, Forgotten, Settled, Store};

use super::{
    LEASE, MOMENT, RETENTION, SECOND, abandon, complete, completed, find, inspect, key, key_of,
    other_request, own, pass, payload, renew, request, request_for,
};

fn completed_for(retention: Duration) -> Completed {
    Completed::new(
        Bytes::from_static(b"done"),
        Bytes::from_static(b"gone"),
        retention,
    )
}

/// Expects that the record is there until this much time has passed, and absent then.
async fn expires_in(store: &impl Store, number: u64, left: Duration) {
    let record = inspect(store, key(number)).await.unwrap();
    assert_eq!(record.remaining(), left);
    pass(left - MOMENT).await;
    assert!(
        inspect(store, key(number)).await.is_some(),
        "a moment before"
    );
    pass(MOMENT).await;
    assert!(inspect(store, key(number)).await.is_none(), "at its time");
}

pub(crate) async fn retention_counts_from_the_first_request(store: impl Store) {
    own(&store, &request(key(1))).await;
    pass(LEASE * 4).await;
    let (_, owner) = own(&store, &request(key(1))).await;
    pass(SECOND * 20).await;
    complete(&store, &owner, &completed("done")).await;

    expires_in(&store, 1, RETENTION - LEASE * 4 - SECOND * 20).await;
}

pub(crate) async fn the_retention_of_the_completion_counts(store: impl Store) {
    for (number, retention) in [(1, SECOND * 40), (2, RETENTION * 24)] {
        let (_, owner) = own(&store, &request(key(number))).await;
        pass(SECOND * 10).await;

        complete(&store, &owner, &completed_for(retention)).await;

        expires_in(&store, number, retention - SECOND * 10).await;
    }
}

pub(crate) async fn a_retention_that_has_passed_ends_with_the_lease(store: impl Store) {
    let (_, owner) = own(&store, &request(key(1))).await;
    pass(SECOND * 10).await;

    let settled = complete(&store, &owner, &completed_for(SECOND * 10)).await;

    assert_eq!(settled, Settled::Applied);
    assert_eq!(
        payload(&find(&store, &request(key(1))).await).unwrap(),
        "done"
    );
    expires_in(&store, 1, LEASE - SECOND * 10).await;
}

pub(crate) async fn a_retention_and_a_lease_that_have_passed_leave_nothing(store: impl Store) {
    let (_, owner) = own(&store, &request(key(1))).await;
    pass(LEASE).await;

    let settled = complete(&store, &owner, &completed_for(SECOND)).await;

    assert_eq!(settled, Settled::Applied);
    assert!(inspect(&store, key(1)).await.is_none());
    assert_eq!(own(&store, &other_request(key(1))).await.0.attempt(), 1);
}

pub(crate) async fn a_live_claim_never_expires(store: impl Store) {
    let (_, owner) = own(&store, &request_for(key(1), LEASE, SECOND)).await;
    for _ in 0..5 {
        pass(LEASE - SECOND).await;
        assert!(find(&store, &request(key(1))).await.is_live());
        assert_eq!(renew(&store, &owner).await, Settled::Applied);
    }

    expires_in(&store, 1, LEASE).await;
    let (owned, _) = own(&store, &other_request(key(1))).await;
    assert_eq!(owned.attempt(), 1);
}

pub(crate) async fn an_abandoned_record_is_kept_for_its_retention(store: impl Store) {
    let (_, owner) = own(&store, &request(key(1))).await;
    pass(SECOND).await;
    abandon(&store, &owner).await;
    own(&store, &request(key(2))).await;
    pass(LEASE).await;
    assert!(!inspect(&store, key(2)).await.unwrap().is_live());

    expires_in(&store, 1, RETENTION - SECOND - LEASE).await;
    expires_in(&store, 2, SECOND).await;
}

pub(crate) async fn an_expired_record_is_an_absent_one(store: impl Store) {
    let (_, first) = own(&store, &request(key(1))).await;
    complete(&store, &first, &completed("done")).await;
    own(&store, &request(key(2))).await;
    let erased = own(&store, &request(key_of(2, 3))).await.1;
    complete(&store, &erased, &completed("done")).await;
    pass(RETENTION).await;

    assert!(inspect(&store, key(1)).await.is_none());
    assert_eq!(
        store.forget(&key(1), false).await.unwrap(),
        Forgotten::Unknown
    );
    assert_eq!(
        store.forget(&key(2), true).await.unwrap(),
        Forgotten::Unknown
    );
    assert_eq!(store.erase_scope(key_of(2, 3).scope()).await.unwrap(), 0);
    for key in [key(1), key(2), key_of(2, 3)] {
        let (owned, _) = own(&store, &other_request(key)).await;
        assert_eq!(owned.attempt(), 1);
        let record = inspect(&store, key).await.unwrap();
        assert_eq!(
            (record.since_first_request(), record.remaining()),
            (Duration::ZERO, RETENTION)
        );
        assert!(!record.is_committed());
    }
}

pub(crate) async fn every_record_expires_at_its_own_time(store: impl Store) {
    const RECORDS: u64 = 211;
    // Neither in the order of the claims nor all different.
    let seconds = |number: u64| 1 + number * 89 % RECORDS / 2;
    for number in 0..RECORDS {
        let retention = SECOND * seconds(number) as u32;
        let (_, owner) = own(&store, &request_for(key(number), SECOND, retention)).await;
        if number % 3 == 0 {
            complete(&store, &owner, &completed_for(retention)).await;
        }
    }

    for second in 0..RECORDS {
        for number in 0..RECORDS {
            let there = inspect(&store, key(number)).await.is_some();
            assert_eq!(there, second < seconds(number), "{number} after {second} s");
        }
        // Dropping what is due takes nothing else along.
        own(&store, &request(key_of(2, second))).await;
        pass(SECOND).await;
    }
}

pub(crate) async fn the_longest_durations_do_not_overflow(store: impl Store) {
    // The second is a multiple of 2^64 nanoseconds.
    for (scope, longest) in [(1, Duration::MAX), (2, Duration::from_secs(1 << 55))] {
        let key = |number| key_of(scope, number);
        let claim = request_for(key(1), longest, longest);
        let (_, renewed) = own(&store, &claim).await;
        let (_, done) = own(&store, &request_for(key(2), LEASE, longest)).await;
        let (_, abandoned) = own(&store, &request_for(key(3), longest, SECOND)).await;
        pass(SECOND).await;

        let settled = store.renew(&renewed, longest, true).await.unwrap();
        assert_eq!(settled, Settled::Applied);
        let settled = complete(&store, &done, &completed_for(longest)).await;
        assert_eq!(settled, Settled::Applied);
        assert!(inspect(&store, key(3)).await.unwrap().is_live());
        assert_eq!(abandon(&store, &abandoned).await, Settled::Applied);

        own(&store, &claim).await;
        pass(RETENTION * 24 * 365).await;
        assert!(inspect(&store, key(1)).await.unwrap().is_live());
        let record = find(&store, &request(key(2))).await;
        assert_eq!(payload(&record).unwrap(), "done");
        assert!(inspect(&store, key(3)).await.is_none());
    }
}
