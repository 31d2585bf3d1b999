//! A store whose every call can be made slow, to fail before or after it was applied, or to lie.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tower_idempotency::{
    Claim, ClaimRequest, Completed, Dialect, Fence, Forgotten, MemoryStore, Owned, Owner,
    Parameter, Record, RecordKey, Settled, Statement, Store, StoreError, StoreErrorKind,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Claim,
    Renew,
    Complete,
    Abandon,
    Release,
    Settled,
    Completion,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// Fails without having been applied.
    Before(StoreErrorKind),
    /// Is applied, and fails all the same.
    After(StoreErrorKind),
    /// Is applied so much later.
    SlowBefore(Duration),
    /// Is applied, and answers so much later.
    SlowAfter(Duration),
    /// Is answered with so little left of its lease.
    LeaseLeft(Duration),
    /// Returns at once without reason (`settled`).
    Early,
    /// Is applied once another task has run, as where a connection has a task of its own.
    Elsewhere,
    /// Panics without having been applied.
    Panic,
    /// Is applied, and panics all the same.
    PanicAfter,
}

/// A `MemoryStore` with a script of faults, and a count of calls.
#[derive(Default)]
pub(crate) struct Scripted {
    pub(crate) memory: MemoryStore,
    script: Mutex<VecDeque<(Verb, Fault)>>,
    for_ever: Mutex<Vec<(Verb, Fault)>>,
    calls: Mutex<[usize; 7]>,
    completed_bytes: AtomicUsize,
    yields: usize,
    pub(crate) advice: Mutex<Vec<&'static str>>,
    entrusted: Mutex<Option<(Owner, Completed)>>,
}

impl Scripted {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// What COMMIT does to the completion that was made last.
    pub(crate) async fn commit(&self) {
        let entrusted = self.entrusted.lock().unwrap().take();
        let (owner, completed) = entrusted.expect("a completion was made");
        let settled = self.memory.complete(&owner, &completed).await.unwrap();
        assert_eq!(settled, Settled::Applied);
    }

    /// Every call yields so often before and after it is applied.
    pub(crate) fn yielding(yields: usize) -> Arc<Self> {
        Self::over(MemoryStore::new(), yields)
    }

    /// The same, over this store.
    pub(crate) fn over(memory: MemoryStore, yields: usize) -> Arc<Self> {
        Arc::new(Self {
            memory,
            yields,
            ..Self::default()
        })
    }

    /// The next call of this verb has this fault.
    pub(crate) fn next(&self, verb: Verb, fault: Fault) {
        self.script.lock().unwrap().push_back((verb, fault));
    }

    /// Every call of this verb has this fault, until [`heal`](Self::heal).
    pub(crate) fn always(&self, verb: Verb, fault: Fault) {
        self.for_ever.lock().unwrap().push((verb, fault));
    }

    pub(crate) fn heal(&self) {
        self.for_ever.lock().unwrap().clear();
        self.script.lock().unwrap().clear();
    }

    /// How often this verb was called.
    pub(crate) fn calls(&self, verb: Verb) -> usize {
        self.calls.lock().unwrap()[verb as usize]
    }

    /// How many bytes the last outcome had: its payload and its tombstone.
    pub(crate) fn completed_bytes(&self) -> usize {
        self.completed_bytes.load(Ordering::Relaxed)
    }

    fn fault(&self, verb: Verb) -> Option<Fault> {
        self.calls.lock().unwrap()[verb as usize] += 1;
        let mut script = self.script.lock().unwrap();
        if let Some(at) = script.iter().position(|(of, _)| *of == verb) {
            return script.remove(at).map(|(_, fault)| fault);
        }
        self.for_ever
            .lock()
            .unwrap()
            .iter()
            .find(|(of, _)| *of == verb)
            .map(|(_, fault)| *fault)
    }

    async fn pause(&self) {
        for _ in 0..self.yields {
            tokio::task::yield_now().await;
        }
    }

    async fn call<T>(
        &self,
        verb: Verb,
        apply: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let fault = self.fault(verb);
        self.pause().await;
        match fault {
            Some(Fault::Before(kind)) => return Err(StoreError::new(kind, "scripted")),
            Some(Fault::SlowBefore(pause)) => tokio::time::sleep(pause).await,
            Some(Fault::Elsewhere) => {
                let (run, has_run) = oneshot::channel();
                tokio::spawn(async { run.send(()) });
                has_run.await.unwrap();
            }
            Some(Fault::Panic) => quiet_panic(),
            _ => {}
        }
        let answer = apply.await;
        self.pause().await;
        match fault {
            Some(Fault::After(kind)) => return Err(StoreError::new(kind, "scripted")),
            Some(Fault::SlowAfter(pause)) => tokio::time::sleep(pause).await,
            Some(Fault::PanicAfter) => quiet_panic(),
            _ => {}
        }
        answer
    }
}

impl Store for Scripted {
    async fn claim(&self, request: &ClaimRequest) -> Result<Claim, StoreError> {
        let short = self
            .script
            .lock()
            .unwrap()
            .iter()
            .find_map(|(verb, fault)| match (verb, fault) {
                (Verb::Claim, Fault::LeaseLeft(left)) => Some(*left),
                _ => None,
            });
        let claim = self.call(Verb::Claim, self.memory.claim(request)).await?;
        Ok(match (claim, short) {
            (Claim::Owned(owned), Some(left)) => {
                Claim::Owned(Owned::new(owned.fence(), owned.attempt(), left))
            }
            (claim, _) => claim,
        })
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
        let bytes = completed.payload().len() + completed.tombstone().len();
        self.completed_bytes.store(bytes, Ordering::Relaxed);
        self.call(Verb::Complete, self.memory.complete(owner, completed))
            .await
    }

    async fn abandon(&self, owner: &Owner) -> Result<Settled, StoreError> {
        self.call(Verb::Abandon, self.memory.abandon(owner)).await
    }

    async fn release(&self, owner: &Owner) -> Result<Settled, StoreError> {
        self.call(Verb::Release, self.memory.release(owner)).await
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

    async fn settled(&self, key: &RecordKey, fence: Fence, at_most: Duration) {
        match self.fault(Verb::Settled) {
            Some(Fault::Early) => return,
            Some(Fault::Panic) => quiet_panic(),
            Some(Fault::SlowBefore(pause)) => tokio::time::sleep(pause).await,
            _ => {}
        }
        self.memory.settled(key, fence, at_most).await;
    }

    fn advice(&self) -> Vec<&'static str> {
        self.advice.lock().unwrap().clone()
    }

    /// As of a database, whose transactions are committed by [`commit`](Self::commit).
    fn completion(
        &self,
        owner: &Owner,
        completed: &Completed,
    ) -> Result<Option<Statement>, StoreError> {
        if let Some(Fault::Panic) = self.fault(Verb::Completion) {
            quiet_panic();
        }
        *self.entrusted.lock().unwrap() = Some((*owner, completed.clone()));
        let key = Parameter::Bytes(Bytes::copy_from_slice(owner.key().key()));
        let parameters = [key.clone(), Parameter::Integer(1), key];
        let statement = Statement::new(Dialect::Postgres, "complete", "confirm", parameters);
        Ok(Some(statement))
    }
}

/// A panic that is no surprise: without the report on stderr that `panic!` makes.
fn quiet_panic() -> ! {
    std::panic::resume_unwind(Box::new("scripted"))
}
