//! The store where servers take over from each other.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tower_idempotency::{
    Claim, ClaimId, ClaimRequest, Completed, Fence, Fingerprint, Owner, Record, RecordKey,
    RedisStore, Settled, State, Store, StoreError, StoreErrorKind,
};

use crate::servers::{Cluster, Sentinel, Server, eventually, within};

mod cluster;
mod loads;
mod sentinel;

const SECOND: Duration = Duration::from_secs(1);
const LEASE: Duration = Duration::from_secs(60);
/// What a call may take in all, with some patience for a busy machine.
const DEADLINE: Duration = Duration::from_secs(10);

/// The name of a record, as the documentation has it.
fn name(key: &RecordKey) -> Vec<u8> {
    [b"idem:1:", &key.scope()[..], key.key()].concat()
}

fn key(number: u32) -> RecordKey {
    let mut digest = [7; 32];
    digest[..4].copy_from_slice(&number.to_be_bytes());
    RecordKey::from_parts([5; 16], digest)
}

fn request(number: u32, lease: Duration) -> ClaimRequest {
    static CLAIMS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    let id = CLAIMS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let mut claim_id = [0; 16];
    claim_id[..8].copy_from_slice(&id.to_be_bytes());
    let fingerprint = Fingerprint::from_parts(1, [1; 32]);
    ClaimRequest::new(
        key(number),
        ClaimId::from_bytes(claim_id),
        fingerprint,
        lease,
        600 * SECOND,
    )
}

/// What came of a claim.
#[derive(Debug, PartialEq)]
enum Came {
    /// Owned, as this attempt.
    Owned(Owner, u32),
    InFlight(Fence),
    Completed(Bytes),
}

fn came(request: &ClaimRequest, claim: Claim) -> Came {
    match claim {
        Claim::Owned(owned) => {
            let owner = Owner::new(*request.key(), owned.fence(), request.claim_id());
            Came::Owned(owner, owned.attempt())
        }
        Claim::Existing(record) => seen(&record),
        other => panic!("{other:?}"),
    }
}

fn seen(record: &Record) -> Came {
    match record.state() {
        State::Completed { payload } => Came::Completed(payload.clone()),
        _ => Came::InFlight(record.fence()),
    }
}

async fn claim(store: &RedisStore, number: u32) -> Result<Came, StoreError> {
    let request = request(number, LEASE);
    Ok(came(&request, within(store.claim(&request)).await?))
}

/// Claims as often as it takes.
async fn claimed(store: &RedisStore, number: u32) -> Came {
    eventually("a claim is answered", async || {
        claim(store, number).await.ok()
    })
    .await
}

async fn own(store: &RedisStore, number: u32) -> Owner {
    match claimed(store, number).await {
        Came::Owned(owner, _) => owner,
        other => panic!("{number} is {other:?}"),
    }
}

fn done(payload: &'static str) -> Completed {
    Completed::new(payload.into(), Bytes::from_static(b"gone"), 600 * SECOND)
}

/// Completes as often as it takes.
async fn complete(store: &RedisStore, owner: &Owner) -> Settled {
    let completed = done("done");
    eventually("a completion is answered", async || {
        within(store.complete(owner, &completed)).await.ok()
    })
    .await
}

fn kind<T>(answer: &Result<T, StoreError>) -> Option<StoreErrorKind> {
    answer.as_ref().err().map(StoreError::kind)
}
