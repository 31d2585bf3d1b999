//! A store that fails when it is told to.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::key::RecordKey;
use crate::store::claim::{Claim, ClaimRequest, Completed, Forgotten, Owner, Record, Settled};
use crate::store::error::{StoreError, StoreErrorKind};
use crate::store::memory::MemoryStore;
use crate::store::traits::Store;

/// Which calls fail.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Verb {
    Claim,
    Renew,
    /// Complete, abandon, release.
    Settle,
}

/// How a call fails.
#[derive(Clone, Copy)]
pub(super) enum Fault {
    /// Not applied.
    Before(StoreErrorKind),
    /// Applied all the same.
    After(StoreErrorKind),
    /// Applied so much later.
    Slow(Duration),
}

/// The faults to come: of one verb or of all, once or until another is set.
#[derive(Clone, Copy)]
pub(super) struct Faults {
    pub(super) of: Option<Verb>,
    pub(super) fault: Fault,
    pub(super) is_lasting: bool,
}

pub(super) struct Faulty {
    pub(super) memory: MemoryStore,
    faults: Mutex<Option<Faults>>,
}

impl Faulty {
    pub(super) fn new(memory: MemoryStore) -> Arc<Self> {
        let faults = Mutex::default();
        Arc::new(Self { memory, faults })
    }

    pub(super) fn set(&self, faults: Option<Faults>) {
        *self.faults.lock().unwrap_or_else(PoisonError::into_inner) = faults;
    }

    fn fault(&self, verb: Verb) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let found = faults.filter(|faults| faults.of.is_none_or(|of| of == verb))?;
        if !found.is_lasting {
            *faults = None;
        }
        Some(found.fault)
    }

    async fn call<T>(
        &self,
        verb: Verb,
        apply: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let fault = self.fault(verb);
        tokio::task::yield_now().await;
        match fault {
            Some(Fault::Before(kind)) => return Err(StoreError::new(kind, "not applied")),
            Some(Fault::Slow(pause)) => tokio::time::sleep(pause).await,
            _ => {}
        }
        let answer = apply.await;
        tokio::task::yield_now().await;
        match fault {
            Some(Fault::After(kind)) => Err(StoreError::new(kind, "applied")),
            _ => answer,
        }
    }
}

impl Store for Faulty {
    async fn claim(&self, request: &ClaimRequest) -> Result<Claim, StoreError> {
        self.call(Verb::Claim, self.memory.claim(request)).await
    }

    async fn renew(
        &self,
        owner: &Owner,
        lease: Duration,
        committed: bool,
    ) -> Result<Settled, StoreError> {
        self.call(Verb::Renew, self.memory.renew(owner, lease, committed))
            .await
    }

    async fn complete(&self, owner: &Owner, completed: &Completed) -> Result<Settled, StoreError> {
        self.call(Verb::Settle, self.memory.complete(owner, completed))
            .await
    }

    async fn abandon(&self, owner: &Owner) -> Result<Settled, StoreError> {
        self.call(Verb::Settle, self.memory.abandon(owner)).await
    }

    async fn release(&self, owner: &Owner) -> Result<Settled, StoreError> {
        self.call(Verb::Settle, self.memory.release(owner)).await
    }

    async fn inspect(&self, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        self.memory.inspect(key).await
    }

    async fn forget(&self, key: &RecordKey, force: bool) -> Result<Forgotten, StoreError> {
        self.memory.forget(key, force).await
    }

    async fn erase_scope(&self, scope: &[u8; 16]) -> Result<u64, StoreError> {
        self.memory.erase_scope(scope).await
    }
}
