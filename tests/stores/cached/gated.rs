//! A store far away: it remembers what it was asked, and its answers come when a test lets them.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::oneshot;
use tower_idempotency::{
    Claim, ClaimRequest, Completed, Fence, Forgotten, MemoryStore, Owner, Record, RecordKey,
    Settled, Store, StoreError, StoreErrorKind,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Claim,
    Renew,
    Complete,
    Abandon,
    Release,
    Inspect,
    Forget,
    Erase,
    Settled,
}

/// A `MemoryStore` behind a network.
#[derive(Default)]
pub(super) struct Gated {
    pub(super) memory: MemoryStore,
    asked: Mutex<Vec<Verb>>,
    script: Mutex<VecDeque<(Verb, Script)>>,
}

/// What becomes of one call.
enum Script {
    /// It is applied when the gate opens.
    Before(oneshot::Receiver<()>),
    /// It is applied, and answered when the gate opens.
    After(oneshot::Receiver<()>),
    FailBefore(StoreErrorKind),
    FailAfter(StoreErrorKind),
    Answer(Claim),
}

/// Opens, once.
pub(super) struct Gate(oneshot::Sender<()>);

impl Gate {
    pub(super) fn open(self) {
        self.0.send(()).unwrap();
    }
}

impl Gated {
    /// What it was asked since it was looked at last.
    pub(super) fn asked(&self) -> Vec<Verb> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    /// The next call of this verb is applied when the gate opens.
    pub(super) fn holds(&self, verb: Verb) -> Gate {
        let (opens, opened) = oneshot::channel();
        self.next(verb, Script::Before(opened));
        Gate(opens)
    }

    /// The next call of this verb is applied, and its answer comes when the gate opens.
    pub(super) fn holds_the_answer(&self, verb: Verb) -> Gate {
        let (opens, opened) = oneshot::channel();
        self.next(verb, Script::After(opened));
        Gate(opens)
    }

    /// The next call of this verb fails, and is not applied.
    pub(super) fn fails_before(&self, verb: Verb, kind: StoreErrorKind) {
        self.next(verb, Script::FailBefore(kind));
    }

    /// The next call of this verb is applied, and fails.
    pub(super) fn fails_after(&self, verb: Verb, kind: StoreErrorKind) {
        self.next(verb, Script::FailAfter(kind));
    }

    /// The next claim is answered so.
    pub(super) fn answers(&self, claim: Claim) {
        self.next(Verb::Claim, Script::Answer(claim));
    }

    fn next(&self, verb: Verb, script: Script) {
        self.script.lock().unwrap().push_back((verb, script));
    }

    fn hears(&self, verb: Verb) -> Option<Script> {
        self.asked.lock().unwrap().push(verb);
        let mut script = self.script.lock().unwrap();
        let at = script.iter().position(|(of, _)| *of == verb)?;
        script.remove(at).map(|(_, script)| script)
    }

    async fn call<T>(
        &self,
        script: Option<Script>,
        apply: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match script {
            Some(Script::Before(opened)) => {
                opened.await.unwrap();
                apply.await
            }
            Some(Script::After(opened)) => {
                let answer = apply.await;
                opened.await.unwrap();
                answer
            }
            Some(Script::FailBefore(kind)) => Err(StoreError::new(kind, "scripted")),
            Some(Script::FailAfter(kind)) => {
                apply.await?;
                Err(StoreError::new(kind, "scripted"))
            }
            Some(Script::Answer(_)) => unreachable!("only claims are answered so"),
            None => apply.await,
        }
    }
}

impl Store for Gated {
    async fn claim(&self, request: &ClaimRequest) -> Result<Claim, StoreError> {
        match self.hears(Verb::Claim) {
            Some(Script::Answer(claim)) => Ok(claim),
            script => self.call(script, self.memory.claim(request)).await,
        }
    }

    async fn renew(
        &self,
        owner: &Owner,
        lease: Duration,
        committed: bool,
    ) -> Result<Settled, StoreError> {
        let script = self.hears(Verb::Renew);
        self.call(script, self.memory.renew(owner, lease, committed))
            .await
    }

    async fn complete(&self, owner: &Owner, completed: &Completed) -> Result<Settled, StoreError> {
        let script = self.hears(Verb::Complete);
        self.call(script, self.memory.complete(owner, completed))
            .await
    }

    async fn abandon(&self, owner: &Owner) -> Result<Settled, StoreError> {
        let script = self.hears(Verb::Abandon);
        self.call(script, self.memory.abandon(owner)).await
    }

    async fn release(&self, owner: &Owner) -> Result<Settled, StoreError> {
        let script = self.hears(Verb::Release);
        self.call(script, self.memory.release(owner)).await
    }

    async fn inspect(&self, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        let script = self.hears(Verb::Inspect);
        self.call(script, self.memory.inspect(key)).await
    }

    async fn forget(&self, key: &RecordKey, force: bool) -> Result<Forgotten, StoreError> {
        let script = self.hears(Verb::Forget);
        self.call(script, self.memory.forget(key, force)).await
    }

    async fn erase_scope(&self, scope: &[u8; 16]) -> Result<u64, StoreError> {
        let script = self.hears(Verb::Erase);
        self.call(script, self.memory.erase_scope(scope)).await
    }

    async fn settled(&self, key: &RecordKey, fence: Fence, at_most: Duration) {
        self.hears(Verb::Settled);
        self.memory.settled(key, fence, at_most).await;
    }

    fn fullness(&self) -> Option<u8> {
        Some(71)
    }
}
