//! What a store must do.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::key::{Fence, RecordKey};
use crate::store::claim::{Claim, ClaimRequest, Completed, Forgotten, Owner, Record, Settled};
use crate::store::error::StoreError;
use crate::store::statement::Statement;

/// Where records live.
///
/// A store keeps at most one [`Record`] per [`RecordKey`]. Its verbs are atomic, each one round trip; what
/// a record means (mismatch, replay, wait, refuse) is decided by the layer. Implementors write
/// `async fn`; see `examples/custom_store.rs`.
///
/// # The life of a record
///
/// * A record is *in flight* from the claim on, until it is completed or released. Its lease ends by time or by
///   `abandon`; then it is *abandoned*: still there, with its fingerprint, attempt and `committed`, and its owner may still
///   renew or complete it until somebody takes over.
/// * A record expires at `first claim + retention`, but never while its lease lives. An expired record is an absent
///   one; a late write of its owner may still be `Applied` while the store has not dropped it, or find it `Missing`.
/// * A write of an owner applies only if fence AND claim id equal the record's, and the record is in flight. A
///   repeated `complete` of the same owner changes nothing and is `Applied`, also where the first was `Tombstoned`.
/// * Fences strictly increase per record key, across release, [`forget`](Store::forget) and expiry.
/// * Deadlines and expiry are on the store's clock. Durations may be as long as `Duration::MAX`: that is for ever, and no
///   overflow.
///
/// # Errors
///
/// Every verb fails with a [`StoreError`] whose kind says whether it may have been applied. A record that cannot be read
/// is [`Unreadable`](crate::StoreErrorKind::Unreadable), never absent.
///
/// # Cancellation
///
/// The layer may drop the future of a verb and repeat the verb with the same ids.
///
/// # Tests
///
/// With the feature `test-util` one line makes a test of everything that is said here: see the module `conformance`.
///
/// ```
/// # #[cfg(all(feature = "memory", feature = "test-util"))] mod tests {
/// # use tower_idempotency::MemoryStore as MyStore;
/// tower_idempotency::store_conformance!(|| MyStore::new());
/// # }
/// ```
pub trait Store: Send + Sync + 'static {
    /// Makes the request the owner of its record key, if nobody is.
    ///
    /// * Absent or expired: a new record, attempt 1, with a new fence.
    /// * In flight with the same claim id: one's own claim repeated; owned with the same fence and attempt, the
    ///   lease counted anew.
    /// * In flight, its lease ended, with an equal fingerprint, and [`ClaimRequest::take_over`] allows it: taken over with a new
    ///   fence, one attempt more, the expiry of the first, `committed` as it was.
    /// * Otherwise the record as it is.
    ///
    /// `Full` and `OverQuota` where there is no room; unexpired records are never dropped for it. A claim that comes again
    /// after its owner has released it may be refused as [`NotApplied`](crate::StoreErrorKind::NotApplied): nobody
    /// waits for it.
    fn claim(
        &self,
        request: &ClaimRequest,
    ) -> impl Future<Output = Result<Claim, StoreError>> + Send;

    /// Counts the owner's lease anew from now. `committed` is or-ed into the record.
    fn renew(
        &self,
        owner: &Owner,
        lease: Duration,
        committed: bool,
    ) -> impl Future<Output = Result<Settled, StoreError>> + Send;

    /// Ends the record with its payload, or with the tombstone where the payload does not fit (then
    /// `Tombstoned`). Never fails for lack of room.
    ///
    /// The record expires at `first claim + completed.retention()`; where that has passed already, at the end of
    /// its lease.
    fn complete(
        &self,
        owner: &Owner,
        completed: &Completed,
    ) -> impl Future<Output = Result<Settled, StoreError>> + Send;

    /// Ends the owner's lease now. Fingerprint, attempt and `committed` stay.
    fn abandon(&self, owner: &Owner) -> impl Future<Output = Result<Settled, StoreError>> + Send;

    /// Forgets the owner's record: the next claim is attempt 1.
    fn release(&self, owner: &Owner) -> impl Future<Output = Result<Settled, StoreError>> + Send;

    /// The record of this key, if it has not expired.
    fn inspect(
        &self,
        key: &RecordKey,
    ) -> impl Future<Output = Result<Option<Record>, StoreError>> + Send;

    /// Drops a record. One that is in flight with a live lease only with `force`; its owner is then fenced out.
    fn forget(
        &self,
        key: &RecordKey,
        force: bool,
    ) -> impl Future<Output = Result<Forgotten, StoreError>> + Send;

    /// Drops all records of a scope, those in flight too; says how many.
    fn erase_scope(&self, scope: &[u8; 16])
    -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Returns when this fence is no longer in flight with a live lease, or after `at_most`, or early: a hint to
    /// claim again.
    ///
    /// The default looks with [`inspect`](Store::inspect) after 20 ms, then in growing steps of at most 500 ms.
    fn settled(
        &self,
        key: &RecordKey,
        fence: Fence,
        at_most: Duration,
    ) -> impl Future<Output = ()> + Send {
        async move {
            let (mut left, mut step) = (at_most, Duration::from_millis(20));
            while !left.is_zero() {
                let in_flight = match self.inspect(key).await {
                    Ok(Some(record)) if record.fence() == fence && record.is_live() => {
                        record.state().lease_left()
                    }
                    // A store that fails is asked again: the waiter's own deadline ends it.
                    Err(_) => step,
                    Ok(_) => return,
                };
                let pause = step.min(in_flight).min(left);
                tokio::time::sleep(pause).await;
                left -= pause;
                step = (step * 2).min(Duration::from_millis(500));
            }
        }
    }

    /// How full the store is, of 100, where it has a bound and knows without asking: the layer
    /// [warns](crate::Warning::NearlyFull) from 80 on. The default knows nothing.
    fn fullness(&self) -> Option<u8> {
        None
    }

    /// What an operator should change about the store, as far as it knows without asking: the layer
    /// [tells](crate::Warning::StoreSetting) of each when a first claim is answered. The default knows nothing.
    fn advice(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// What [`complete`](Store::complete) would do, as a statement for a transaction of the handler's. The default is
    /// `None`: this store is not in a database that a handler could write to as well.
    ///
    /// # Errors
    ///
    /// Where the payload cannot be written at all. Nothing was sent.
    fn completion(
        &self,
        owner: &Owner,
        completed: &Completed,
    ) -> Result<Option<Statement>, StoreError> {
        let _ = (owner, completed);
        Ok(None)
    }
}

/// One store behind several layers.
impl<St: Store> Store for Arc<St> {
    async fn claim(&self, request: &ClaimRequest) -> Result<Claim, StoreError> {
        Store::claim(&**self, request).await
    }

    async fn renew(
        &self,
        owner: &Owner,
        lease: Duration,
        committed: bool,
    ) -> Result<Settled, StoreError> {
        Store::renew(&**self, owner, lease, committed).await
    }

    async fn complete(&self, owner: &Owner, completed: &Completed) -> Result<Settled, StoreError> {
        Store::complete(&**self, owner, completed).await
    }

    async fn abandon(&self, owner: &Owner) -> Result<Settled, StoreError> {
        Store::abandon(&**self, owner).await
    }

    async fn release(&self, owner: &Owner) -> Result<Settled, StoreError> {
        Store::release(&**self, owner).await
    }

    async fn inspect(&self, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        Store::inspect(&**self, key).await
    }

    async fn forget(&self, key: &RecordKey, force: bool) -> Result<Forgotten, StoreError> {
        Store::forget(&**self, key, force).await
    }

    async fn erase_scope(&self, scope: &[u8; 16]) -> Result<u64, StoreError> {
        Store::erase_scope(&**self, scope).await
    }

    async fn settled(&self, key: &RecordKey, fence: Fence, at_most: Duration) {
        Store::settled(&**self, key, fence, at_most).await;
    }

    fn fullness(&self) -> Option<u8> {
        Store::fullness(&**self)
    }

    fn advice(&self) -> Vec<&'static str> {
        Store::advice(&**self)
    }

    fn completion(
        &self,
        owner: &Owner,
        completed: &Completed,
    ) -> Result<Option<Statement>, StoreError> {
        Store::completion(&**self, owner, completed)
    }
}

pub(crate) type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
pub(crate) type BoxedResult<'a, T> = Boxed<'a, Result<T, StoreError>>;

/// [`Store`] with boxed futures, so that its type can be erased.
pub(crate) trait ErasedStore: Send + Sync + 'static {
    fn claim<'a>(&'a self, request: &'a ClaimRequest) -> BoxedResult<'a, Claim>;
    fn renew<'a>(
        &'a self,
        owner: &'a Owner,
        lease: Duration,
        committed: bool,
    ) -> BoxedResult<'a, Settled>;
    fn complete<'a>(
        &'a self,
        owner: &'a Owner,
        completed: &'a Completed,
    ) -> BoxedResult<'a, Settled>;
    fn abandon<'a>(&'a self, owner: &'a Owner) -> BoxedResult<'a, Settled>;
    fn release<'a>(&'a self, owner: &'a Owner) -> BoxedResult<'a, Settled>;
    fn inspect<'a>(&'a self, key: &'a RecordKey) -> BoxedResult<'a, Option<Record>>;
    fn forget<'a>(&'a self, key: &'a RecordKey, force: bool) -> BoxedResult<'a, Forgotten>;
    fn erase_scope<'a>(&'a self, scope: &'a [u8; 16]) -> BoxedResult<'a, u64>;
    fn settled<'a>(&'a self, key: &'a RecordKey, fence: Fence, at_most: Duration) -> Boxed<'a, ()>;
    fn fullness(&self) -> Option<u8>;
    fn advice(&self) -> Vec<&'static str>;
    fn completion(
        &self,
        owner: &Owner,
        completed: &Completed,
    ) -> Result<Option<Statement>, StoreError>;
}

impl<St: Store> ErasedStore for St {
    fn claim<'a>(&'a self, request: &'a ClaimRequest) -> BoxedResult<'a, Claim> {
        Box::pin(Store::claim(self, request))
    }

    fn renew<'a>(
        &'a self,
        owner: &'a Owner,
        lease: Duration,
        committed: bool,
    ) -> BoxedResult<'a, Settled> {
        Box::pin(Store::renew(self, owner, lease, committed))
    }

    fn complete<'a>(
        &'a self,
        owner: &'a Owner,
        completed: &'a Completed,
    ) -> BoxedResult<'a, Settled> {
        Box::pin(Store::complete(self, owner, completed))
    }

    fn abandon<'a>(&'a self, owner: &'a Owner) -> BoxedResult<'a, Settled> {
        Box::pin(Store::abandon(self, owner))
    }

    fn release<'a>(&'a self, owner: &'a Owner) -> BoxedResult<'a, Settled> {
        Box::pin(Store::release(self, owner))
    }

    fn inspect<'a>(&'a self, key: &'a RecordKey) -> BoxedResult<'a, Option<Record>> {
        Box::pin(Store::inspect(self, key))
    }

    fn forget<'a>(&'a self, key: &'a RecordKey, force: bool) -> BoxedResult<'a, Forgotten> {
        Box::pin(Store::forget(self, key, force))
    }

    fn erase_scope<'a>(&'a self, scope: &'a [u8; 16]) -> BoxedResult<'a, u64> {
        Box::pin(Store::erase_scope(self, scope))
    }

    fn settled<'a>(&'a self, key: &'a RecordKey, fence: Fence, at_most: Duration) -> Boxed<'a, ()> {
        Box::pin(Store::settled(self, key, fence, at_most))
    }

    fn fullness(&self) -> Option<u8> {
        Store::fullness(self)
    }

    fn advice(&self) -> Vec<&'static str> {
        Store::advice(self)
    }

    fn completion(
        &self,
        owner: &Owner,
        completed: &Completed,
    ) -> Result<Option<Statement>, StoreError> {
        Store::completion(self, owner, completed)
    }
}
