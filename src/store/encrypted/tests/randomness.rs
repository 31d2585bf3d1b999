//! Nonces.

use std::time::Duration;

use super::*;
use crate::fingerprint::Fingerprint;
use crate::key::ClaimId;
use crate::store::claim::{Claim, ClaimRequest, Completed, Owner, Settled, State};
use crate::store::memory::MemoryStore;
use crate::store::traits::Store;

const HOUR: Duration = Duration::from_secs(60 * 60);

async fn owner(store: &impl Store, key: RecordKey) -> Owner {
    let claim_id = ClaimId::from_bytes([1; 16]);
    let fingerprint = Fingerprint::from_parts(1, [1; 32]);
    let request = ClaimRequest::new(key, claim_id, fingerprint, HOUR, HOUR);
    match store.claim(&request).await.unwrap() {
        Claim::Owned(owned) => Owner::new(key, owned.fence(), claim_id),
        claim => panic!("not owned: {claim:?}"),
    }
}

fn done() -> Completed {
    Completed::new("done".into(), "gone".into(), HOUR)
}

#[tokio::test]
async fn without_randomness_nothing_is_written_and_nothing_panics() {
    let mut store = Encrypted::new(MemoryStore::new(), keyring(1, 7));
    let owner = owner(&store, record(1, 1)).await;
    let random = store.nonce;
    store.nonce = || Err("no randomness".into());

    let failed = store.complete(&owner, &done()).await;

    assert_eq!(
        failed.map_err(|error| error.kind()),
        Err(StoreErrorKind::NotApplied)
    );
    let left = store.inspect(owner.key()).await.unwrap().unwrap();
    assert!(matches!(left.state(), State::InFlight { .. }));
    store.nonce = random;
    assert_eq!(
        store.complete(&owner, &done()).await.unwrap(),
        Settled::Applied
    );
}

#[tokio::test]
async fn a_tombstone_does_not_fail_over_its_nonce_either() {
    static LEFT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
    let mut store = Encrypted::new(MemoryStore::new(), keyring(1, 7));
    let owner = owner(&store, record(1, 1)).await;
    store.nonce = || match LEFT.fetch_sub(1, std::sync::atomic::Ordering::SeqCst) {
        1 => Ok([9; 24].into()),
        _ => Err("no more randomness".into()),
    };

    let failed = store.complete(&owner, &done()).await;

    assert_eq!(
        failed.map_err(|error| error.kind()),
        Err(StoreErrorKind::NotApplied)
    );
}
