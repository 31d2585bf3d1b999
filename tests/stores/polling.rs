//! A store that leaves waiting to the trait, and that sleeps.

use std::time::Duration;

use tokio::time::Instant;
use tower_idempotency::{
    Claim, ClaimRequest, Completed, Forgotten, MemoryStore, Owner, Record, RecordKey, Settled,
    Store, StoreError,
};

use crate::support::{key, own, request_for};

/// Has no `settled` of its own. Each verb takes a millisecond, by the clock of leases.
#[derive(Default)]
pub(crate) struct Polling(MemoryStore);

const MILLISECOND: Duration = Duration::from_millis(1);

impl Store for Polling {
    async fn claim(&self, request: &ClaimRequest) -> Result<Claim, StoreError> {
        tokio::time::sleep(MILLISECOND).await;
        self.0.claim(request).await
    }

    async fn renew(
        &self,
        owner: &Owner,
        lease: Duration,
        committed: bool,
    ) -> Result<Settled, StoreError> {
        tokio::time::sleep(MILLISECOND).await;
        self.0.renew(owner, lease, committed).await
    }

    async fn complete(&self, owner: &Owner, completed: &Completed) -> Result<Settled, StoreError> {
        tokio::time::sleep(MILLISECOND).await;
        self.0.complete(owner, completed).await
    }

    async fn abandon(&self, owner: &Owner) -> Result<Settled, StoreError> {
        tokio::time::sleep(MILLISECOND).await;
        self.0.abandon(owner).await
    }

    async fn release(&self, owner: &Owner) -> Result<Settled, StoreError> {
        tokio::time::sleep(MILLISECOND).await;
        self.0.release(owner).await
    }

    async fn inspect(&self, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        tokio::time::sleep(MILLISECOND).await;
        self.0.inspect(key).await
    }

    async fn forget(&self, key: &RecordKey, force: bool) -> Result<Forgotten, StoreError> {
        tokio::time::sleep(MILLISECOND).await;
        self.0.forget(key, force).await
    }

    async fn erase_scope(&self, scope: &[u8; 16]) -> Result<u64, StoreError> {
        tokio::time::sleep(MILLISECOND).await;
        self.0.erase_scope(scope).await
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_trait_brings_along_waits_for_the_end_and_knows_no_fullness() {
    let store = Polling::default();
    let lease = Duration::from_secs(5);
    let (_, owner) = own(&store, &request_for(key(1), lease, lease * 10)).await;
    let begin = Instant::now();

    store.settled(owner.key(), owner.fence(), lease / 5).await;
    assert!(begin.elapsed() >= lease / 5, "{:?}", begin.elapsed());
    store.settled(owner.key(), owner.fence(), lease * 10).await;
    assert!((lease..lease + Duration::from_secs(1)).contains(&begin.elapsed()));

    assert_eq!(store.fullness(), None);
}
