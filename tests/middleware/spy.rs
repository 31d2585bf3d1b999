//! A store that remembers what it was asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tower_idempotency::{
    Claim, ClaimRequest, Completed, Forgotten, MemoryStore, Owner, Record, RecordKey, Settled,
    Store, StoreError, StoreErrorKind,
};

/// A `MemoryStore` with a memory for calls. Put behind a layer as `Arc<Spy>`.
pub(crate) struct Spy {
    memory: MemoryStore,
    asked: Mutex<Vec<Asked>>,
    down: Mutex<Option<StoreErrorKind>>,
}

/// A call that may change the store.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    Abandon,
    Claim(ClaimRequest),
    Complete(Completed),
    Release,
    Renew { committed: bool },
}

impl Spy {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            memory: MemoryStore::new(),
            asked: Mutex::default(),
            down: Mutex::default(),
        })
    }

    /// Fails every call from now on.
    pub(crate) fn goes_down(&self, kind: StoreErrorKind) {
        *self.down.lock().unwrap() = Some(kind);
    }

    /// Answers again.
    pub(crate) fn comes_back(&self) {
        *self.down.lock().unwrap() = None;
    }

    /// The names of all calls, in order.
    pub(crate) fn verbs(&self) -> Vec<&'static str> {
        let name = |asked: &Asked| match asked {
            Asked::Abandon => "abandon",
            Asked::Claim(_) => "claim",
            Asked::Complete(_) => "complete",
            Asked::Release => "release",
            Asked::Renew { committed: true } => "commit",
            Asked::Renew { committed: false } => "renew",
        };
        self.asked.lock().unwrap().iter().map(name).collect()
    }

    pub(crate) fn claims(&self) -> Vec<ClaimRequest> {
        let asked = self.asked.lock().unwrap();
        let claims = asked.iter().filter_map(|asked| match asked {
            Asked::Claim(claim) => Some(claim.clone()),
            _ => None,
        });
        claims.collect()
    }

    pub(crate) fn completed(&self) -> Vec<Completed> {
        let asked = self.asked.lock().unwrap();
        let completed = asked.iter().filter_map(|asked| match asked {
            Asked::Complete(completed) => Some(completed.clone()),
            _ => None,
        });
        completed.collect()
    }

    fn hear(&self, asked: Asked) -> Result<(), StoreError> {
        self.asked.lock().unwrap().push(asked);
        self.check()
    }

    fn check(&self) -> Result<(), StoreError> {
        match *self.down.lock().unwrap() {
            Some(kind) => Err(StoreError::new(kind, "the store is down")),
            None => Ok(()),
        }
    }
}

impl Store for Spy {
    async fn claim(&self, request: &ClaimRequest) -> Result<Claim, StoreError> {
        self.hear(Asked::Claim(request.clone()))?;
        self.memory.claim(request).await
    }

    async fn renew(
        &self,
        owner: &Owner,
        lease: Duration,
        committed: bool,
    ) -> Result<Settled, StoreError> {
        self.hear(Asked::Renew { committed })?;
        self.memory.renew(owner, lease, committed).await
    }

    async fn complete(&self, owner: &Owner, completed: &Completed) -> Result<Settled, StoreError> {
        self.hear(Asked::Complete(completed.clone()))?;
        self.memory.complete(owner, completed).await
    }

    async fn abandon(&self, owner: &Owner) -> Result<Settled, StoreError> {
        self.hear(Asked::Abandon)?;
        self.memory.abandon(owner).await
    }

    async fn release(&self, owner: &Owner) -> Result<Settled, StoreError> {
        self.hear(Asked::Release)?;
        self.memory.release(owner).await
    }

    async fn inspect(&self, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        self.check()?;
        self.memory.inspect(key).await
    }

    async fn forget(&self, key: &RecordKey, force: bool) -> Result<Forgotten, StoreError> {
        self.check()?;
        self.memory.forget(key, force).await
    }

    async fn erase_scope(&self, scope: &[u8; 16]) -> Result<u64, StoreError> {
        self.check()?;
        self.memory.erase_scope(scope).await
    }
}
