//! A store that leaves waiting to the trait.

use std::time::Duration;

use tower_idempotency::{
    Claim, ClaimRequest, Completed, Forgotten, MemoryStore, Owner, Record, RecordKey, Settled,
    Store, StoreError,
};

/// Has no `settled` of its own.
#[derive(Default)]
pub(crate) struct Polling(MemoryStore);

impl Store for Polling {
    async fn claim(&self, request: &ClaimRequest) -> Result<Claim, StoreError> {
        self.0.claim(request).await
    }

    async fn renew(
        &self,
        owner: &Owner,
        lease: Duration,
        committed: bool,
    ) -> Result<Settled, StoreError> {
        self.0.renew(owner, lease, committed).await
    }

    async fn complete(&self, owner: &Owner, completed: &Completed) -> Result<Settled, StoreError> {
        self.0.complete(owner, completed).await
    }

    async fn abandon(&self, owner: &Owner) -> Result<Settled, StoreError> {
        self.0.abandon(owner).await
    }

    async fn release(&self, owner: &Owner) -> Result<Settled, StoreError> {
        self.0.release(owner).await
    }

    async fn inspect(&self, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        self.0.inspect(key).await
    }

    async fn forget(&self, key: &RecordKey, force: bool) -> Result<Forgotten, StoreError> {
        self.0.forget(key, force).await
    }

    async fn erase_scope(&self, scope: &[u8; 16]) -> Result<u64, StoreError> {
        self.0.erase_scope(scope).await
    }
}
