//! What [`MemoryStore`] does beside the obligations of every store.

use bytes::Bytes;
use tower_idempotency::{Completed, MemoryStore, Settled, Store};

use crate::support::{
    RETENTION, SECOND, abandon, complete, completed, find, inspect, key, other_request, own, pass,
    payload, release, renew, request, request_for,
};

use bounds::completed_with;

mod bounds;
mod waiting;

#[tokio::test(start_paused = true)]
async fn a_record_that_has_expired_is_absent_before_it_is_dropped() {
    let store = MemoryStore::new();
    let (_, flying) = own(&store, &request_for(key(1), SECOND, SECOND)).await;
    let (_, done) = own(&store, &request_for(key(2), SECOND, SECOND)).await;
    let short = Completed::new(Bytes::new(), Bytes::new(), SECOND);
    complete(&store, &done, &short).await;
    pass(SECOND * 5).await;

    for owner in [flying, done] {
        assert_eq!(renew(&store, &owner).await, Settled::Missing);
        assert_eq!(abandon(&store, &owner).await, Settled::Missing);
        let late = complete(&store, &owner, &completed("late")).await;
        assert_eq!(late, Settled::Missing);
        assert_eq!(release(&store, &owner).await, Settled::Missing);
        assert!(inspect(&store, *owner.key()).await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn replays_share_one_buffer() {
    let store = MemoryStore::new();
    let (_, owner) = own(&store, &request(key(1))).await;
    complete(&store, &owner, &completed_with(100_000)).await;

    let first = payload(&find(&store, &request(key(1))).await).unwrap();
    let second = payload(&find(&store, &request(key(1))).await).unwrap();
    store.forget(&key(1), false).await.unwrap();

    assert_eq!(first.as_ptr(), second.as_ptr());
    assert_eq!(first, completed_with(100_000).payload());
}

#[tokio::test(start_paused = true)]
async fn a_payload_is_copied_out_of_a_larger_buffer() {
    let store = MemoryStore::new();
    let (_, owner) = own(&store, &request(key(1))).await;
    let large = Bytes::from(vec![7; 100_000]);
    let part = Completed::new(large.slice(..10), Bytes::new(), RETENTION);

    complete(&store, &owner, &part).await;
    drop(part);

    assert!(large.is_unique(), "a small record keeps a large buffer");
}

#[tokio::test]
async fn debug_shows_numbers_only() {
    let store = MemoryStore::new();
    let (_, owner) = own(&store, &request(key(1))).await;
    complete(&store, &owner, &completed("canary")).await;
    own(&store, &other_request(key(2))).await;

    assert_eq!(
        format!("{store:?}"),
        "MemoryStore { records: 2, bytes: 966, .. }"
    );
}

#[test]
fn a_new_store_is_empty() {
    for store in [MemoryStore::new(), MemoryStore::default()] {
        assert!(store.is_empty());
        assert_eq!((store.len(), store.bytes()), (0, 0));
    }
}
