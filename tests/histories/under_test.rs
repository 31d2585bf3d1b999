//! The stores that histories are run over.

pub(crate) use crate::over_postgres::postgres;
pub(crate) use crate::over_redis::{cluster as redis_cluster, one_node as redis};
pub(crate) use crate::sqlite::mount as sqlite;

use std::sync::Arc;
use std::time::Duration;

use tower_idempotency::{
    BoxStore, ChaosClock, Claim, ClaimRequest, Completed, Encrypted, EncryptionKey, Forgotten,
    Keyring, MemoryStore, Owner, Record, RecordKey, Settled, Store, StoreError,
};

use crate::elsewhere::Elsewhere;

/// Makes an empty store by this clock.
pub(crate) type Mount = dyn Fn(&ChaosClock) -> Mounted + Sync;

/// A store, and how many records it holds.
pub(crate) struct Mounted {
    pub(crate) store: BoxStore,
    pub(crate) size: Box<dyn Fn() -> usize>,
}

fn by(clock: &ChaosClock) -> Arc<MemoryStore> {
    let clock = clock.clone();
    Arc::new(MemoryStore::with_clock(move || clock.now()))
}

pub(crate) fn memory(clock: &ChaosClock) -> Mounted {
    let memory = by(clock);
    Mounted {
        store: BoxStore::new(Arc::clone(&memory)),
        size: Box::new(move || memory.len()),
    }
}

pub(crate) fn polling(clock: &ChaosClock) -> Mounted {
    let memory = by(clock);
    Mounted {
        store: BoxStore::new(Polling(Arc::clone(&memory))),
        size: Box::new(move || memory.len()),
    }
}

pub(crate) fn encrypted(clock: &ChaosClock) -> Mounted {
    let memory = by(clock);
    let keyring = Keyring::new(EncryptionKey::new(1, [7; 32]));
    let encrypted = Encrypted::new(Arc::clone(&memory), keyring).compress(true);
    Mounted {
        store: BoxStore::new(encrypted),
        size: Box::new(move || memory.len()),
    }
}

/// As a store that waits for threads of its own.
pub(crate) fn elsewhere(clock: &ChaosClock) -> Mounted {
    let elsewhere = Elsewhere::new(clock, |sent| async move {
        MemoryStore::with_clock(move || sent.now())
    });
    let memory = elsewhere.store();
    Mounted {
        store: BoxStore::new(elsewhere),
        size: Box::new(move || memory.len()),
    }
}

/// Leaves waiting to the trait.
struct Polling(Arc<MemoryStore>);

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
