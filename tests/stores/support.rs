//! What the tests of single stores share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tower_idempotency::{
    Claim, ClaimId, ClaimRequest, Completed, Fingerprint, Owned, Owner, Record, RecordKey, Settled,
    State, Store,
};

pub(crate) const LEASE: Duration = Duration::from_secs(30);
pub(crate) const RETENTION: Duration = Duration::from_secs(60 * 60);

pub(crate) const SECOND: Duration = Duration::from_secs(1);
/// Less than any store may be late by.
pub(crate) const MOMENT: Duration = Duration::from_millis(1);

pub(crate) async fn pass(time: Duration) {
    tokio::time::advance(time).await;
}

/// A record key of the first scope.
pub(crate) fn key(number: u64) -> RecordKey {
    key_of(1, number)
}

pub(crate) fn key_of(scope: u8, number: u64) -> RecordKey {
    let mut key = [scope; 32];
    key[24..].copy_from_slice(&number.to_be_bytes());
    RecordKey::from_parts([scope; 16], key)
}

pub(crate) fn fingerprint(digest: u8) -> Fingerprint {
    Fingerprint::from_parts(1, [digest; 32])
}

/// A claim id that no other claim has.
pub(crate) fn claim_id() -> ClaimId {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = u128::from(NEXT.fetch_add(1, Ordering::Relaxed));
    ClaimId::from_bytes(number.to_be_bytes())
}

/// What the same request sends when it is tried again.
pub(crate) fn request(key: RecordKey) -> ClaimRequest {
    request_for(key, LEASE, RETENTION)
}

pub(crate) fn request_for(key: RecordKey, lease: Duration, retention: Duration) -> ClaimRequest {
    ClaimRequest::new(key, claim_id(), fingerprint(1), lease, retention)
}

/// What another request sends with the same key.
pub(crate) fn other_request(key: RecordKey) -> ClaimRequest {
    ClaimRequest::new(key, claim_id(), fingerprint(2), LEASE, RETENTION)
}

pub(crate) fn completed(payload: &'static str) -> Completed {
    Completed::new(
        Bytes::from_static(payload.as_bytes()),
        Bytes::from_static(b"gone"),
        RETENTION,
    )
}

pub(crate) async fn claim(store: &impl Store, request: &ClaimRequest) -> Claim {
    store.claim(request).await.unwrap()
}

/// Claims and expects to own.
pub(crate) async fn own(store: &impl Store, request: &ClaimRequest) -> (Owned, Owner) {
    match claim(store, request).await {
        Claim::Owned(owned) => (
            owned,
            Owner::new(*request.key(), owned.fence(), request.claim_id()),
        ),
        claim => panic!("not owned: {claim:?}"),
    }
}

/// Claims and expects to find a record.
pub(crate) async fn find(store: &impl Store, request: &ClaimRequest) -> Record {
    match claim(store, request).await {
        Claim::Existing(record) => record,
        claim => panic!("no record was found: {claim:?}"),
    }
}

pub(crate) async fn inspect(store: &impl Store, key: RecordKey) -> Option<Record> {
    store.inspect(&key).await.unwrap()
}

pub(crate) async fn renew(store: &impl Store, owner: &Owner) -> Settled {
    store.renew(owner, LEASE, false).await.unwrap()
}

pub(crate) async fn abandon(store: &impl Store, owner: &Owner) -> Settled {
    store.abandon(owner).await.unwrap()
}

pub(crate) async fn release(store: &impl Store, owner: &Owner) -> Settled {
    store.release(owner).await.unwrap()
}

pub(crate) async fn complete(store: &impl Store, owner: &Owner, completed: &Completed) -> Settled {
    store.complete(owner, completed).await.unwrap()
}

/// The payload of a completed record.
pub(crate) fn payload(record: &Record) -> Option<Bytes> {
    match record.state() {
        State::Completed { payload } => Some(payload.clone()),
        _ => None,
    }
}
