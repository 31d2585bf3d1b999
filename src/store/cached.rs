//! Completed records of a remote store, kept in this process too.

use std::fmt;
use std::time::Duration;

use crate::key::{Fence, RecordKey};
use crate::store::claim::{Claim, ClaimRequest, Completed, Forgotten, Owner, Record, Settled};
use crate::store::error::StoreError;
use crate::store::statement::Statement;
use crate::store::traits::Store;

use kept::{Deleted, Kept};

mod kept;

/// A store behind a network, and in front of it the completed records that this process has read lately.
///
/// Retries come in bursts: of a client that does not back off, of a provider that delivers its events again. The first
/// replay in a process reads the record from the store; those that follow within
/// [`max_staleness`](Self::max_staleness) cost no round trip, and go on while the store cannot be reached. First requests
/// cost what they did.
///
/// Kept are completed records alone: none that is in flight, and never that there is none. So what is kept decides where
/// a recorded response comes from, and never lets a handler run.
///
/// | bound | default |
/// |---|---|
/// | [`max_bytes`](Self::max_bytes) | 64 MiB |
/// | [`max_staleness`](Self::max_staleness) | 30 seconds |
///
/// # How stale a replay may be
///
/// A completed record does not change; it ends.
///
/// | how it ends | until when this process may replay it |
/// |---|---|
/// | its retention is over | until then, counted from before it was read |
/// | [`forget`](Store::forget) or [`erase_scope`](Store::erase_scope) through this `Cached` | until the call returns |
/// | … that fails, or whose future is dropped | until then; where the store applies it later still, as in the next row |
/// | … through another process, or past this crate; the store has lost it, or its clock has jumped ahead | for `max_staleness` from before it was read |
///
/// In the last case another process may have run the key again meanwhile, and its client has another response than this
/// process replays. Where nobody may see a deleted response any more, wait for `max_staleness` after the deletion; it may
/// stay in memory, unseen, until other records take its place.
///
/// Time is tokio's, so that `tokio::time::pause` stops it; a machine that is suspended may count none.
/// [`inspect`](Store::inspect) always asks the store, so that operators see what is there; it does not change what is
/// kept.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "memory")] {
/// # use tower_idempotency::MemoryStore as RemoteStore;
/// use std::time::Duration;
/// use tower_idempotency::{Cached, IdempotencyLayer};
///
/// let store = Cached::new(RemoteStore::new()).max_staleness(Duration::from_secs(5));
/// let layer = IdempotencyLayer::new(store);
/// # let _ = layer;
/// # }
/// ```
pub struct Cached<St> {
    store: St,
    kept: Kept,
}

impl<St> Cached<St> {
    /// Wraps a store, with the default bounds.
    ///
    /// Around a store that encrypts, what is kept is in the clear.
    ///
    /// ```
    /// # #[cfg(feature = "memory")] {
    /// use tower_idempotency::{Cached, MemoryStore};
    ///
    /// let store = Cached::new(MemoryStore::new());
    /// assert!(store.is_empty());
    /// # }
    /// ```
    #[must_use]
    pub fn new(store: St) -> Self {
        let kept = Kept::new(64 << 20, Duration::from_secs(30));
        Self { store, kept }
    }

    /// Sets how many bytes all that is kept may take, everything counted; 64 MiB by default.
    ///
    /// A record takes about 400 bytes and its response. One that would take more than a 32nd of all is not kept. What is
    /// kept already goes.
    ///
    /// ```
    /// # #[cfg(feature = "memory")] {
    /// # use tower_idempotency::{Cached, MemoryStore};
    /// let store = Cached::new(MemoryStore::new()).max_bytes(256 << 20);
    /// # let _ = store;
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// If `bytes` is zero.
    #[must_use]
    #[track_caller]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        assert!(
            bytes > 0,
            "Cached::max_bytes is zero: give at least some kilobytes, or leave out the Cached"
        );
        self.kept = Kept::new(bytes, self.kept.max_staleness);
        self
    }

    /// Sets for how long a record may be replayed after it was read from the store; 30 seconds by default.
    ///
    /// So long may what another process has deleted be replayed here; see the [type](Self).
    ///
    /// ```
    /// # #[cfg(feature = "memory")] {
    /// # use std::time::Duration;
    /// # use tower_idempotency::{Cached, MemoryStore};
    /// let store = Cached::new(MemoryStore::new()).max_staleness(Duration::from_secs(5));
    /// # let _ = store;
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// If `time` is zero.
    #[must_use]
    #[track_caller]
    pub fn max_staleness(mut self, time: Duration) -> Self {
        assert!(
            !time.is_zero(),
            "Cached::max_staleness is zero: give at least a second, or leave out the Cached"
        );
        self.kept.max_staleness = time;
        self
    }

    /// The wrapped store.
    ///
    /// What is deleted through it is seen here after [`max_staleness`](Self::max_staleness) at the latest.
    #[must_use]
    pub fn store(&self) -> &St {
        &self.store
    }

    /// How many records are kept in this process, with those that are too old to be replayed and whose place nobody has
    /// taken yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether no records are kept in this process.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes of memory those take, everything counted: an estimate a little above the truth.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.kept.bytes()
    }
}

impl<St> fmt::Debug for Cached<St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached")
            .field("records", &self.len())
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

/// Every verb is that of the wrapped store, but a claim of a record that is kept.
///
/// Owners never meet what is kept: whoever owns a record has claimed it, and a claim that is not answered with a completed
/// record drops what is kept of the key.
impl<St: Store> Store for Cached<St> {
    async fn claim(&self, request: &ClaimRequest) -> Result<Claim, StoreError> {
        if let Some(record) = self.kept.get(request.key()) {
            return Ok(Claim::Existing(record));
        }
        let asked = self.kept.ask();
        let claim = self.store.claim(request).await?;
        self.kept.learn(request.key(), asked, &claim);
        Ok(claim)
    }

    async fn renew(
        &self,
        owner: &Owner,
        lease: Duration,
        committed: bool,
    ) -> Result<Settled, StoreError> {
        self.store.renew(owner, lease, committed).await
    }

    /// Keeps nothing: when the record expires is known to the store alone.
    async fn complete(&self, owner: &Owner, completed: &Completed) -> Result<Settled, StoreError> {
        self.store.complete(owner, completed).await
    }

    async fn abandon(&self, owner: &Owner) -> Result<Settled, StoreError> {
        self.store.abandon(owner).await
    }

    async fn release(&self, owner: &Owner) -> Result<Settled, StoreError> {
        self.store.release(owner).await
    }

    async fn inspect(&self, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        self.store.inspect(key).await
    }

    async fn forget(&self, key: &RecordKey, force: bool) -> Result<Forgotten, StoreError> {
        let _deletion = self.kept.deletion(Deleted::Record(key));
        self.store.forget(key, force).await
    }

    async fn erase_scope(&self, scope: &[u8; 16]) -> Result<u64, StoreError> {
        let _deletion = self.kept.deletion(Deleted::Scope(scope));
        self.store.erase_scope(scope).await
    }

    async fn settled(&self, key: &RecordKey, fence: Fence, at_most: Duration) {
        self.store.settled(key, fence, at_most).await;
    }

    /// Of the wrapped store.
    fn fullness(&self) -> Option<u8> {
        self.store.fullness()
    }

    fn advice(&self) -> Vec<&'static str> {
        self.store.advice()
    }

    fn completion(
        &self,
        owner: &Owner,
        completed: &Completed,
    ) -> Result<Option<Statement>, StoreError> {
        self.store.completion(owner, completed)
    }
}
