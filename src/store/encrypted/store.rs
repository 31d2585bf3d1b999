//! The store in public.

use std::fmt;
use std::time::Duration;

use chacha20poly1305::XNonce;
use chacha20poly1305::aead::Generate;

use super::keyring::Keyring;
use super::sealed;
use crate::key::{Fence, RecordKey};
use crate::store::claim::{
    Claim, ClaimRequest, Completed, Forgotten, Owner, Record, Settled, State,
};
use crate::store::error::{BoxError, StoreError, StoreErrorKind};
use crate::store::statement::Statement;
use crate::store::traits::Store;

/// Encrypts what any other store keeps of responses: who reads that store, its backups or its traffic, reads none of
/// them (feature `encryption`).
///
/// ```
/// # #[cfg(feature = "memory")] {
/// use tower_idempotency::{Encrypted, EncryptionKey, IdempotencyLayer, Keyring, MemoryStore};
///
/// # fn read(_: &str) -> &'static str { "4f2a1c9be07d5836a1b2c3d4e5f60718293a4b5c6d7e8f901122334455667788" }
/// // Made once by `openssl rand -hex 32`, and kept where the service's other secrets are.
/// let key = EncryptionKey::from_hex(1, read("IDEMPOTENCY_KEY_1"))?;
/// let store = Encrypted::new(MemoryStore::new(), Keyring::new(key));
/// let layer = IdempotencyLayer::new(store);
/// # let _ = layer;
/// # }
/// # Ok::<_, tower_idempotency::InvalidEncryptionKey>(())
/// ```
///
/// # What is protected
///
/// Status, headers, body and trailers of a recorded response, and the `Location` of one that was too large to keep: by
/// XChaCha20-Poly1305, with a random nonce for each, and bound to the record key. One that was changed, cut off or copied
/// from another record is [`Unreadable`](StoreErrorKind::Unreadable).
///
/// In the clear remain: that there is a record, its state and times, how long its response is, and digests of the key and of
/// the request. The digests have no secret in them: who guesses a whole request can check the guess. Who may also write
/// to the store can drop a record, change what is in the clear, and bring back an older response of the same key.
///
/// # Unreadable records
///
/// Retries of an unreadable record are answered with 503 `idempotency_record_unreadable` until it expires; its handler is not
/// run again. So it is
///
/// * where the keyring does not have the key that wrote it: see [`Keyring`] for how to change keys;
/// * where it was completed before the store was encrypted, or by a process that does not encrypt yet, and the other way
///   round. Nothing that is in flight is concerned. To keep that time short, switch all processes at once, and set a short
///   [`retention`](crate::IdempotencyLayer::retention) beforehand. An empty store instead makes every key new, so that
///   retries run again.
///
/// [`forget`](Store::forget) and [`erase_scope`](Store::erase_scope) work without the key.
///
/// # Sizes
///
/// A response takes 49 bytes more in the wrapped store, whose limits count them; sealing and opening one of 1 MiB takes
/// about a millisecond each.
///
/// # In front of a cache, or behind it
///
/// `Cached::new(Encrypted::new(remote, keyring))` has responses in the clear in the memory of this process, and opens each of
/// them once. `Encrypted::new(Cached::new(remote), keyring)` has them encrypted there too, and opens them for each replay.
pub struct Encrypted<St> {
    store: St,
    keyring: Keyring,
    compress: bool,
    pub(super) nonce: fn() -> Result<XNonce, BoxError>,
}

impl<St> Encrypted<St> {
    /// Encrypts what this store keeps, with the keys of this keyring.
    #[must_use]
    pub const fn new(store: St, keyring: Keyring) -> Self {
        Self {
            store,
            keyring,
            compress: false,
            nonce: random,
        }
    }

    /// Sets whether responses are compressed before they are encrypted, where that makes them smaller; not by default.
    ///
    /// The length of what was compressed tells something of it. Where a response has both a secret and a text that somebody
    /// else may choose, who chooses often enough and sees the lengths finds out the secret (as in the attacks CRIME and
    /// BREACH). Leave it off for such responses.
    ///
    /// Compressed or not, responses are read whatever this is set to. Of those above 64 MiB none is compressed.
    ///
    /// ```
    /// # #[cfg(feature = "memory")] {
    /// use tower_idempotency::{Encrypted, EncryptionKey, Keyring, MemoryStore};
    ///
    /// # let secret = [7; 32];
    /// let keyring = Keyring::new(EncryptionKey::new(1, secret));
    /// let store = Encrypted::new(MemoryStore::new(), keyring).compress(true);
    /// # let _ = store;
    /// # }
    /// ```
    #[must_use]
    pub fn compress(mut self, compress: bool) -> Self {
        self.compress = compress;
        self
    }

    /// The wrapped store.
    ///
    /// ```
    /// # #[cfg(feature = "memory")] {
    /// use tower_idempotency::{Encrypted, EncryptionKey, Keyring, MemoryStore};
    ///
    /// # let secret = [7; 32];
    /// let keyring = Keyring::new(EncryptionKey::new(1, secret));
    /// let store = Encrypted::new(MemoryStore::new(), keyring);
    /// assert_eq!(store.get_ref().len(), 0);
    /// # }
    /// ```
    #[must_use]
    pub const fn get_ref(&self) -> &St {
        &self.store
    }

    fn seal(&self, key: &RecordKey, completed: &Completed) -> Result<Completed, StoreError> {
        let seal = |payload: &[u8]| {
            let nonce = (self.nonce)()
                .map_err(|error| StoreError::new(StoreErrorKind::NotApplied, error))?;
            sealed::seal(self.keyring.writes(), nonce, key, payload, self.compress)
        };
        let (payload, tombstone) = (seal(completed.payload())?, seal(completed.tombstone())?);
        Ok(Completed::new(payload, tombstone, completed.retention()))
    }

    fn open(&self, key: &RecordKey, record: Record) -> Result<Record, StoreError> {
        let State::Completed { payload } = record.state() else {
            return Ok(record);
        };
        let payload = sealed::open(&self.keyring, key, payload)?;
        Ok(record.with_state(State::Completed { payload }))
    }
}

fn random() -> Result<XNonce, BoxError> {
    Ok(XNonce::try_generate()?)
}

impl<St> fmt::Debug for Encrypted<St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encrypted")
            .field("keyring", &self.keyring)
            .field("compress", &self.compress)
            .finish_non_exhaustive()
    }
}

/// Where the system has no randomness to give, completing fails and nothing was written.
impl<St: Store> Store for Encrypted<St> {
    async fn claim(&self, request: &ClaimRequest) -> Result<Claim, StoreError> {
        match self.store.claim(request).await? {
            Claim::Existing(record) => Ok(Claim::Existing(self.open(request.key(), record)?)),
            claim => Ok(claim),
        }
    }

    async fn renew(
        &self,
        owner: &Owner,
        lease: Duration,
        committed: bool,
    ) -> Result<Settled, StoreError> {
        self.store.renew(owner, lease, committed).await
    }

    async fn complete(&self, owner: &Owner, completed: &Completed) -> Result<Settled, StoreError> {
        let sealed = self.seal(owner.key(), completed)?;
        self.store.complete(owner, &sealed).await
    }

    async fn abandon(&self, owner: &Owner) -> Result<Settled, StoreError> {
        self.store.abandon(owner).await
    }

    async fn release(&self, owner: &Owner) -> Result<Settled, StoreError> {
        self.store.release(owner).await
    }

    async fn inspect(&self, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        let record = self.store.inspect(key).await?;
        record.map(|record| self.open(key, record)).transpose()
    }

    async fn forget(&self, key: &RecordKey, force: bool) -> Result<Forgotten, StoreError> {
        self.store.forget(key, force).await
    }

    async fn erase_scope(&self, scope: &[u8; 16]) -> Result<u64, StoreError> {
        self.store.erase_scope(scope).await
    }

    async fn settled(&self, key: &RecordKey, fence: Fence, at_most: Duration) {
        self.store.settled(key, fence, at_most).await;
    }

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
        let sealed = self.seal(owner.key(), completed)?;
        self.store.completion(owner, &sealed)
    }
}
