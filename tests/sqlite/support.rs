//! Files, claims, and looks at what stands in the file.

#[path = "../support/scratch.rs"]
mod scratch;

use std::error::Error;
use std::iter;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use rusqlite::Connection;
use tower_idempotency::{
    Claim, ClaimId, ClaimRequest, Completed, Fingerprint, Owner, RecordKey, SqliteStore, State,
    Store, StoreError,
};

pub(crate) use scratch::Scratch;

pub(crate) const MINUTE: Duration = Duration::from_secs(60);

pub(crate) fn key(number: u64) -> RecordKey {
    let mut key = [9; 32];
    key[..8].copy_from_slice(&number.to_be_bytes());
    RecordKey::from_parts([8; 16], key)
}

/// A claim of this key by this claimant.
pub(crate) fn request(number: u64, claimant: u64) -> ClaimRequest {
    let mut id = [7; 16];
    id[..8].copy_from_slice(&claimant.to_be_bytes());
    let fingerprint = Fingerprint::from_parts(1, [3; 32]);
    let (lease, retention) = (MINUTE, 24 * 60 * MINUTE);
    ClaimRequest::new(
        key(number),
        ClaimId::from_bytes(id),
        fingerprint,
        lease,
        retention,
    )
}

/// Claims a key that is free.
pub(crate) async fn own(store: &impl Store, request: &ClaimRequest) -> Owner {
    match store.claim(request).await.unwrap() {
        Claim::Owned(owned) => Owner::new(*request.key(), owned.fence(), request.claim_id()),
        claim => panic!("not owned, but {claim:?}"),
    }
}

pub(crate) fn completed(payload: &'static [u8]) -> Completed {
    let payload = Bytes::from_static(payload);
    Completed::new(payload, Bytes::from_static(b"tombstone"), 24 * 60 * MINUTE)
}

/// What a claim by somebody else finds recorded.
pub(crate) async fn replay(store: &impl Store, number: u64) -> Option<Bytes> {
    match store.claim(&request(number, u64::MAX)).await.unwrap() {
        Claim::Existing(record) => match record.state() {
            State::Completed { payload } => Some(payload.clone()),
            _ => None,
        },
        claim => panic!("there is a record, it was {claim:?}"),
    }
}

/// A connection as a handler or an operator would have it.
pub(crate) fn connect(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(MINUTE).unwrap();
    connection
}

/// Runs a statement that changes one record; says how many it has changed.
pub(crate) fn change(store: &SqliteStore, path: &Path, key: &RecordKey, set: &str) -> usize {
    let key = store.sql_key(key);
    let update = format!("UPDATE idempotency_record SET {set} WHERE key = {key}");
    connect(path).execute(&update, []).unwrap()
}

/// All that is behind an error.
pub(crate) fn why(error: &StoreError) -> String {
    let behind = iter::successors(error.source(), |&error| error.source());
    behind
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
