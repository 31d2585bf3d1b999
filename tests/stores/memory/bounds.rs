//! How much there may be, and what goes when there is more.

use std::time::Duration;

use bytes::Bytes;
use tower_idempotency::{Claim, Completed, Forgotten, MemoryStore, Settled, Store};

use crate::support::{
    LEASE, MOMENT, RETENTION, SECOND, abandon, claim, complete, completed, find, inspect, key,
    key_of, own, pass, payload, release, renew, request, request_for,
};

/// What the documentation of `max_bytes` says of a record without its response.
const RECORD: usize = 224;

/// And of one in flight.
const CLAIMED: usize = 736;

async fn is_full(store: &impl Store, number: u64) -> bool {
    matches!(claim(store, &request(key(number))).await, Claim::Full)
}

pub(super) fn completed_with(payload: usize) -> Completed {
    let payload = Bytes::from(vec![7; payload]);
    Completed::new(payload, Bytes::from_static(b"gone"), RETENTION)
}

#[tokio::test(start_paused = true)]
async fn a_full_store_refuses_new_keys_and_serves_the_others() {
    let store = MemoryStore::new().max_records(3);
    let (_, live) = own(&store, &request(key(1))).await;
    let (_, done) = own(&store, &request(key(2))).await;
    complete(&store, &done, &completed("done")).await;
    let (_, abandoned) = own(&store, &request(key(3))).await;
    abandon(&store, &abandoned).await;

    for number in 4..8 {
        assert!(is_full(&store, number).await);
    }

    assert_eq!(store.len(), 3);
    assert!(find(&store, &request(key(1))).await.is_live());
    assert_eq!(
        payload(&find(&store, &request(key(2))).await).unwrap(),
        "done"
    );
    assert_eq!(own(&store, &request(key(3))).await.0.attempt(), 2);
    assert_eq!(release(&store, &live).await, Settled::Applied);
    assert!(!is_full(&store, 4).await);
    assert!(is_full(&store, 5).await);
}

#[tokio::test(start_paused = true)]
async fn a_store_without_bytes_left_refuses_new_keys() {
    let store = MemoryStore::new().max_bytes(4 * CLAIMED - 1);
    let mut owners = Vec::new();
    for number in 0..3 {
        owners.push(own(&store, &request(key(number))).await.1);
    }
    assert_eq!(store.bytes(), 3 * CLAIMED);
    assert!(is_full(&store, 3).await);

    complete(&store, &owners[0], &completed_with(511)).await;

    assert_eq!(store.bytes(), 3 * CLAIMED - 1);
    assert!(!is_full(&store, 3).await);
    assert_eq!(store.bytes(), 4 * CLAIMED - 1);
    assert!(is_full(&store, 4).await);
}

#[tokio::test(start_paused = true)]
async fn a_full_store_drops_what_is_due_and_no_more() {
    let store = MemoryStore::new().max_records(1_000);
    for number in 0..1_000 {
        let retention = if number < 500 { SECOND } else { RETENTION };
        own(&store, &request_for(key(number), SECOND, retention)).await;
    }
    assert!(is_full(&store, 1_000).await);
    pass(SECOND).await;

    own(&store, &request(key(1_000))).await;

    // One for the room, and up to two as every new record does.
    assert!((998..=1_000).contains(&store.len()), "{}", store.len());
    for number in 1_001..1_500 {
        own(&store, &request(key(number))).await;
    }
    assert!(is_full(&store, 1_500).await);
    assert_eq!(store.len(), 1_000);
    for number in 500..1_500 {
        assert!(inspect(&store, key(number)).await.is_some(), "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_finds_no_room_leaves_its_tombstone() {
    let store = MemoryStore::new().max_bytes(2 * CLAIMED + 99);
    let (_, first) = own(&store, &request(key(1))).await;
    let (_, second) = own(&store, &request(key(2))).await;

    assert_eq!(
        complete(&store, &first, &completed_with(512 + 100)).await,
        Settled::Tombstoned
    );
    assert_eq!(
        complete(&store, &first, &completed_with(512 + 100)).await,
        Settled::Applied
    );

    assert_eq!(
        payload(&find(&store, &request(key(1))).await).unwrap(),
        "gone"
    );
    assert_eq!(store.bytes(), CLAIMED + RECORD + "gone".len());
    let room = 2 * CLAIMED + 99 - store.bytes();
    assert_eq!(
        complete(&store, &second, &completed_with(512 + room)).await,
        Settled::Applied
    );
    assert_eq!(store.bytes(), 2 * CLAIMED + 99);
    assert_eq!(
        payload(&find(&store, &request(key(2))).await)
            .unwrap()
            .len(),
        512 + room
    );
}

#[tokio::test(start_paused = true)]
async fn a_payload_makes_room_by_what_is_due_before_it_leaves_a_tombstone() {
    let store = MemoryStore::new().max_bytes(2 * CLAIMED);
    let (_, due) = own(&store, &request_for(key(1), SECOND, SECOND)).await;
    let (_, owner) = own(&store, &request(key(2))).await;
    pass(SECOND - MOMENT).await;
    let other = Completed::new(
        Bytes::from(vec![7; 2 * CLAIMED - RECORD]),
        Bytes::new(),
        RETENTION,
    );
    assert_eq!(renew(&store, &owner).await, Settled::Applied);
    pass(MOMENT).await;

    assert_eq!(complete(&store, &owner, &other).await, Settled::Applied);

    assert_eq!((store.len(), store.bytes()), (1, 2 * CLAIMED));
    assert_eq!(renew(&store, &due).await, Settled::Missing);
}

#[tokio::test(start_paused = true)]
async fn a_tombstone_is_written_even_beyond_the_bounds() {
    let store = MemoryStore::new().max_bytes(CLAIMED);
    let (_, owner) = own(&store, &request(key(1))).await;
    let large = Completed::new(
        Bytes::from(vec![7; 10_000]),
        Bytes::from(vec![8; 5_000]),
        RETENTION,
    );

    assert_eq!(complete(&store, &owner, &large).await, Settled::Tombstoned);

    assert_eq!(
        payload(&find(&store, &request(key(1))).await)
            .unwrap()
            .len(),
        5_000
    );
    assert_eq!(store.bytes(), RECORD + 5_000);
    assert!(is_full(&store, 2).await);
    store.forget(&key(1), false).await.unwrap();
    assert_eq!(store.bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_reserved_is_there_even_beyond_the_bounds() {
    let store = MemoryStore::new().max_bytes(2 * CLAIMED);
    let (_, large) = own(&store, &request(key(1))).await;
    let (_, small) = own(&store, &request(key(2))).await;
    let tombstone = Bytes::from(vec![8; 5_000]);
    let completed = Completed::new(tombstone.clone(), tombstone, RETENTION);
    assert_eq!(
        complete(&store, &large, &completed).await,
        Settled::Tombstoned
    );
    assert!(store.bytes() > 2 * CLAIMED);

    assert_eq!(
        complete(&store, &small, &completed_with(512)).await,
        Settled::Applied
    );
}

#[tokio::test(start_paused = true)]
async fn a_refused_completion_takes_no_room() {
    let store = MemoryStore::new().max_bytes(CLAIMED + 10_000);
    let (_, owner) = own(&store, &request(key(1))).await;
    let (_, zombie) = own(&store, &request(key(2))).await;
    release(&store, &zombie).await;

    for _ in 0..10 {
        assert_eq!(
            complete(&store, &zombie, &completed_with(9_000)).await,
            Settled::Missing
        );
    }
    assert_eq!(store.bytes(), CLAIMED);
    for _ in 0..10 {
        assert_eq!(
            complete(&store, &owner, &completed_with(5_000)).await,
            Settled::Applied
        );
    }

    assert_eq!(store.bytes(), RECORD + 5_000);
}

#[tokio::test(start_paused = true)]
async fn a_scope_at_its_quota_is_refused_and_no_other() {
    let store = MemoryStore::new().max_records_per_scope(2);
    let (_, first) = own(&store, &request(key_of(1, 1))).await;
    let (_, second) = own(&store, &request(key_of(1, 2))).await;
    complete(&store, &second, &completed("done")).await;

    for _ in 0..3 {
        assert!(matches!(
            claim(&store, &request(key_of(1, 3))).await,
            Claim::OverQuota
        ));
    }

    assert_eq!(store.len(), 2);
    assert!(find(&store, &request(key_of(1, 1))).await.is_live());
    assert_eq!(
        payload(&find(&store, &request(key_of(1, 2))).await).unwrap(),
        "done"
    );
    own(&store, &request(key_of(2, 1))).await;
    abandon(&store, &first).await;
    let (_, first) = own(&store, &request(key_of(1, 1))).await;
    assert_eq!(release(&store, &first).await, Settled::Applied);
    own(&store, &request(key_of(1, 3))).await;
    assert!(matches!(
        claim(&store, &request(key_of(1, 4))).await,
        Claim::OverQuota
    ));
}

#[tokio::test(start_paused = true)]
async fn expired_keys_do_not_count_for_the_quota() {
    let store = MemoryStore::new().max_records_per_scope(100);
    let lives = Duration::from_millis(2_300);
    for number in 0..100 {
        let retention = if number < 50 { lives } else { RETENTION };
        own(&store, &request_for(key_of(1, number), SECOND, retention)).await;
        own(&store, &request_for(key_of(2, number), SECOND, lives)).await;
    }
    pass(lives - MOMENT).await;
    assert!(matches!(
        claim(&store, &request(key_of(1, 100))).await,
        Claim::OverQuota
    ));
    pass(MOMENT).await;

    own(&store, &request(key_of(1, 100))).await;

    // Only as many as it took, and only of this scope.
    assert_eq!(store.len(), 200);
    for number in 101..150 {
        own(&store, &request(key_of(1, number))).await;
    }
    assert!(matches!(
        claim(&store, &request(key_of(1, 150))).await,
        Claim::OverQuota
    ));
    assert_eq!(store.len(), 200);
    for number in 50..150 {
        assert!(
            inspect(&store, key_of(1, number)).await.is_some(),
            "{number}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_quota_leaves_nothing_behind() {
    let store = MemoryStore::new().max_records_per_scope(3);

    for number in 0..1_000 {
        let scope = (number % 7) as u8;
        let (_, owner) = own(&store, &request(key_of(scope, number))).await;
        let (_, done) = own(&store, &request(key_of(scope, number + 1))).await;
        complete(&store, &done, &completed_with(10_000)).await;
        assert!(store.bytes() > 10_000 + RECORD + CLAIMED);
        release(&store, &owner).await;
        store.forget(done.key(), false).await.unwrap();
        assert_eq!((store.len(), store.bytes()), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_million_freed_keys_leave_nothing_behind() {
    let store = MemoryStore::new();
    let (_, stays) = own(&store, &request(key(0))).await;
    let (records, bytes) = (store.len(), store.bytes());

    for number in 1..=1_000_000 {
        let (_, owner) = own(&store, &request(key(number))).await;
        match number % 4 {
            0 => {
                complete(&store, &owner, &completed("done")).await;
                assert_eq!(
                    store.forget(owner.key(), false).await.unwrap(),
                    Forgotten::Forgotten
                );
            }
            1 => {
                abandon(&store, &owner).await;
                assert_eq!(
                    store.forget(owner.key(), false).await.unwrap(),
                    Forgotten::Forgotten
                );
            }
            _ => assert_eq!(release(&store, &owner).await, Settled::Applied),
        }
        if number % 1_000 == 0 {
            assert_eq!((store.len(), store.bytes()), (records, bytes));
        }
    }

    assert!(inspect(&store, *stays.key()).await.unwrap().is_live());
}

#[tokio::test(start_paused = true)]
async fn expired_records_go_as_new_ones_come() {
    const MANY: u64 = 10_000;
    let store = MemoryStore::new();
    for number in 0..MANY {
        let retention = SECOND * (10 + number % 50) as u32;
        let (_, owner) = own(&store, &request_for(key(number), SECOND, retention)).await;
        if number % 2 == 0 {
            let completed = Completed::new(Bytes::from_static(b"done"), Bytes::new(), retention);
            complete(&store, &owner, &completed).await;
        }
    }
    pass(SECOND * 60).await;
    assert_eq!(store.len(), MANY as usize);

    let mut before = store.len();
    for number in MANY..MANY + MANY * 3 / 2 {
        own(&store, &request_for(key(number), SECOND, RETENTION)).await;
        // Never many at once.
        assert!(store.len() + 1 >= before);
        before = store.len();
    }

    assert_eq!(store.len() as u64, MANY * 3 / 2);
    assert_eq!(store.bytes(), store.len() * CLAIMED);
}

#[tokio::test(start_paused = true)]
async fn a_renewed_record_is_not_dropped_at_its_first_expiry() {
    let store = MemoryStore::new().max_records(2);
    let (_, renewed) = own(&store, &request_for(key(1), SECOND, SECOND)).await;
    let (_, done) = own(&store, &request_for(key(2), SECOND, SECOND)).await;
    renew(&store, &renewed).await;
    complete(&store, &done, &completed("done")).await;
    pass(SECOND * 10).await;
    assert!(is_full(&store, 3).await);
    pass(LEASE - SECOND * 10).await;

    own(&store, &request(key(3))).await;

    assert!(is_full(&store, 4).await);
    assert!(inspect(&store, key(2)).await.is_some());
}

#[test]
#[should_panic(expected = "MemoryStore::max_bytes is zero: give at least")]
fn no_bytes_are_refused() {
    drop(MemoryStore::new().max_bytes(0));
}

#[test]
#[should_panic(expected = "MemoryStore::max_records is zero: give at least")]
fn no_records_are_refused() {
    drop(MemoryStore::new().max_records(0));
}

#[test]
#[should_panic(expected = "MemoryStore::max_records_per_scope is zero: give at least")]
fn no_records_per_scope_are_refused() {
    drop(MemoryStore::new().max_records_per_scope(0));
}

#[tokio::test]
#[should_panic(expected = "MemoryStore::max_records_per_scope came after a claim")]
async fn a_quota_after_the_first_claim_is_refused() {
    let store = MemoryStore::new();
    own(&store, &request(key(1))).await;

    drop(store.max_records_per_scope(1));
}
