//! The store in public: its settings, and its verbs at the time of its clock.

use std::fmt;
use std::time::Duration;

use super::clock::Clock;
use super::quota::Quota;
use super::records::Records;
use crate::clock;
use crate::key::{Fence, RecordKey};
use crate::store::claim::{Claim, ClaimRequest, Completed, Forgotten, Owner, Record, Settled};
use crate::store::error::StoreError;
use crate::store::traits::Store;

/// Records in the memory of this process, the default of
/// [`IdempotencyLayer`](crate::IdempotencyLayer).
///
/// For one process; its records go with it. Share it between layers as an `Arc<MemoryStore>`.
///
/// | bound | default |
/// |---|---|
/// | [`max_bytes`](Self::max_bytes) | 512 MiB |
/// | [`max_records`](Self::max_records) | 1,000,000 |
/// | [`max_records_per_scope`](Self::max_records_per_scope) | none |
///
/// A full store refuses new keys and never drops a record that has not expired: with a retention of
/// 24 hours and responses of half a kilobyte, one new key per second takes about 65 MB. Expired
/// records go as new ones come, two for one, and as many as it takes when there is no room; no task
/// sweeps.
///
/// Time is tokio's, so that `tokio::time::pause` stops it; see [`with_clock`](Self::with_clock) for
/// another.
///
/// ```
/// use tower_idempotency::{IdempotencyLayer, MemoryStore};
///
/// let store = MemoryStore::new().max_bytes(64 << 20).max_records_per_scope(10_000);
/// let layer = IdempotencyLayer::new(store);
/// # let _ = layer;
/// ```
pub struct MemoryStore {
    records: Records,
    clock: Clock,
}

impl MemoryStore {
    /// An empty store with the default bounds.
    ///
    /// ```
    /// let store = tower_idempotency::MemoryStore::new();
    /// assert!(store.is_empty());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::with(Clock::tokio())
    }

    /// An empty store with another clock: the time since any moment, which never goes back.
    ///
    /// ```
    /// use std::time::Instant;
    /// use tower_idempotency::MemoryStore;
    ///
    /// let start = Instant::now();
    /// let store = MemoryStore::with_clock(move || start.elapsed());
    /// # let _ = store;
    /// ```
    #[must_use]
    pub fn with_clock(now: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self::with(Clock::custom(now))
    }

    fn with(clock: Clock) -> Self {
        Self {
            records: Records::new(1_000_000, 512 << 20),
            clock,
        }
    }

    /// Sets how many bytes all records together may take, everything counted; 512 MiB by default.
    ///
    /// A new key that finds no room is refused; a response that finds none leaves a tombstone. A
    /// record takes about 220 bytes and its response, a running request 736.
    ///
    /// ```
    /// let store = tower_idempotency::MemoryStore::new().max_bytes(2 << 30);
    /// # let _ = store;
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
            "MemoryStore::max_bytes is zero: give at least some kilobytes"
        );
        self.records.ledger.max_bytes = bytes;
        self
    }

    /// Sets how many records there may be; 1,000,000 by default.
    ///
    /// ```
    /// let store = tower_idempotency::MemoryStore::new().max_records(10_000_000);
    /// # let _ = store;
    /// ```
    ///
    /// # Panics
    ///
    /// If `records` is zero.
    #[must_use]
    #[track_caller]
    pub fn max_records(mut self, records: usize) -> Self {
        assert!(
            records > 0,
            "MemoryStore::max_records is zero: give at least 1"
        );
        self.records.ledger.max_records = records;
        self
    }

    /// Sets how many live keys one scope (a principal, for most) may have; not limited by default.
    ///
    /// One more is answered with 429, and other scopes do not notice.
    ///
    /// ```
    /// let store = tower_idempotency::MemoryStore::new().max_records_per_scope(10_000);
    /// # let _ = store;
    /// ```
    ///
    /// # Panics
    ///
    /// If `records` is zero, or if the store has records already.
    #[must_use]
    #[track_caller]
    pub fn max_records_per_scope(mut self, records: usize) -> Self {
        assert!(
            records > 0,
            "MemoryStore::max_records_per_scope is zero: give at least 1, or leave it out",
        );
        assert!(
            self.is_empty(),
            "MemoryStore::max_records_per_scope came after a claim: set it on the new store",
        );
        self.records.ledger.quota = Some(Quota::new(records));
        self
    }

    /// How many records there are, with those that have expired and whose memory is not freed yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.ledger.records()
    }

    /// Whether there are no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes of memory the records take, everything counted: an estimate a little above
    /// the truth.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.records.ledger.bytes()
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("records", &self.len())
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

/// Every verb is done at its first poll, but [`settled`](Store::settled).
impl Store for MemoryStore {
    async fn claim(&self, request: &ClaimRequest) -> Result<Claim, StoreError> {
        Ok(self.records.claim(request, self.clock.now()))
    }

    async fn renew(
        &self,
        owner: &Owner,
        lease: Duration,
        committed: bool,
    ) -> Result<Settled, StoreError> {
        Ok(self
            .records
            .renew(owner, lease, committed, self.clock.now()))
    }

    async fn complete(&self, owner: &Owner, completed: &Completed) -> Result<Settled, StoreError> {
        Ok(self.records.complete(owner, completed, self.clock.now()))
    }

    async fn abandon(&self, owner: &Owner) -> Result<Settled, StoreError> {
        Ok(self.records.abandon(owner, self.clock.now()))
    }

    async fn release(&self, owner: &Owner) -> Result<Settled, StoreError> {
        Ok(self.records.release(owner, self.clock.now()))
    }

    async fn inspect(&self, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        Ok(self.records.inspect(key, self.clock.now()))
    }

    async fn forget(&self, key: &RecordKey, force: bool) -> Result<Forgotten, StoreError> {
        Ok(self.records.forget(key, force, self.clock.now()))
    }

    async fn erase_scope(&self, scope: &[u8; 16]) -> Result<u64, StoreError> {
        Ok(self.records.erase_scope(scope, self.clock.now()))
    }

    async fn settled(&self, key: &RecordKey, fence: Fence, at_most: Duration) {
        if !clock::has_timers() {
            return;
        }
        self.records.settled(key, fence, &self.clock, at_most).await;
    }

    /// Of its bytes or its records, whichever is fuller.
    fn fullness(&self) -> Option<u8> {
        Some(self.records.ledger.fullness())
    }
}
