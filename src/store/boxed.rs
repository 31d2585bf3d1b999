//! A store whose type does not matter.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::key::{Fence, RecordKey};
use crate::store::claim::{Claim, ClaimRequest, Completed, Forgotten, Owner, Record, Settled};
use crate::store::error::StoreError;
use crate::store::statement::Statement;
use crate::store::traits::{ErasedStore, Store};

/// Any store, its type erased: for a layer whose store is chosen at run time.
///
/// Cheap to clone; clones are one store.
///
/// ```
/// # #[cfg(feature = "memory")] {
/// use tower_idempotency::{BoxStore, IdempotencyLayer, MemoryStore};
///
/// let layer: IdempotencyLayer<BoxStore> = IdempotencyLayer::new(BoxStore::new(MemoryStore::new()));
/// let the_same: IdempotencyLayer<BoxStore> = IdempotencyLayer::default().boxed();
/// # let _ = (layer, the_same);
/// # }
/// ```
#[derive(Clone)]
pub struct BoxStore(Arc<dyn ErasedStore>);

impl BoxStore {
    /// Erases the type of `store`.
    #[must_use]
    pub fn new(store: impl Store) -> Self {
        Self::shared(Arc::new(store))
    }

    pub(crate) fn shared(store: Arc<impl Store>) -> Self {
        Self(store)
    }
}

impl fmt::Debug for BoxStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoxStore(..)")
    }
}

impl Store for BoxStore {
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

    async fn settled(&self, key: &RecordKey, fence: Fence, at_most: Duration) {
        self.0.settled(key, fence, at_most).await;
    }

    fn fullness(&self) -> Option<u8> {
        self.0.fullness()
    }

    fn advice(&self) -> Vec<&'static str> {
        self.0.advice()
    }

    fn completion(
        &self,
        owner: &Owner,
        completed: &Completed,
    ) -> Result<Option<Statement>, StoreError> {
        self.0.completion(owner, completed)
    }
}
