//! A store that waits for more than timers: for threads, files or a server.
//!
//! Time is paused here, and jumps to the next timer while a task waits. So each verb runs on a runtime of other threads,
//! and this thread stands still until it is answered. Waiting is left to the trait, which waits for timers only.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, OnceLock, mpsc};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tower_idempotency::{
    ChaosClock, Claim, ClaimRequest, Completed, Forgotten, Owner, Record, RecordKey, Settled,
    Store, StoreError,
};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let threads = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    threads.unwrap()
});

/// Longer than any verb takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs this on other threads, and stands still until it is done.
pub(crate) fn run<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let (done, answer) = mpsc::sync_channel(1);
    RUNTIME.spawn(async move { done.send(work.await) });
    answer.recv_timeout(PATIENCE).expect("the store answers")
}

/// The time at which the last verb was sent: the clock of a history is read by the thread of that history only.
#[derive(Clone, Default)]
pub(crate) struct Sent(Arc<AtomicU64>, Arc<OnceLock<Tell>>);

/// Tells a server what time it is.
pub(crate) type Tell = Box<dyn Fn(Duration) + Send + Sync>;

impl Sent {
    pub(crate) fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::SeqCst))
    }

    /// From now on the time is told before each verb is sent.
    pub(crate) fn tell(&self, tell: Tell) {
        assert!(self.1.set(tell).is_ok(), "one is told");
    }

    fn is(&self, now: Duration) {
        let nanoseconds = u64::try_from(now.as_nanos()).unwrap();
        self.0.store(nanoseconds, Ordering::SeqCst);
        if let Some(tell) = self.1.get() {
            tell(now);
        }
    }
}

/// See the module.
pub(crate) struct Elsewhere<St> {
    store: Arc<St>,
    clock: ChaosClock,
    sent: Sent,
}

impl<St: Store> Elsewhere<St> {
    /// Makes a store whose clock is [`Sent`].
    pub(crate) fn new<F>(clock: &ChaosClock, make: impl FnOnce(Sent) -> F) -> Self
    where
        F: Future<Output = St> + Send + 'static,
    {
        let (clock, sent) = (clock.clone(), Sent::default());
        sent.is(clock.now());
        let store = Arc::new(run(make(sent.clone())));
        Self { store, clock, sent }
    }

    /// The store itself.
    pub(crate) fn store(&self) -> Arc<St> {
        Arc::clone(&self.store)
    }

    fn send<T, F>(&self, verb: impl FnOnce(Arc<St>) -> F) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        self.sent.is(self.clock.now());
        run(verb(self.store()))
    }
}

impl<St: Store> Store for Elsewhere<St> {
    async fn claim(&self, request: &ClaimRequest) -> Result<Claim, StoreError> {
        let request = request.clone();
        self.send(|store| async move { store.claim(&request).await })
    }

    async fn renew(
        &self,
        owner: &Owner,
        lease: Duration,
        committed: bool,
    ) -> Result<Settled, StoreError> {
        let owner = *owner;
        self.send(move |store| async move { store.renew(&owner, lease, committed).await })
    }

    async fn complete(&self, owner: &Owner, completed: &Completed) -> Result<Settled, StoreError> {
        let (owner, completed) = (*owner, completed.clone());
        self.send(|store| async move { store.complete(&owner, &completed).await })
    }

    async fn abandon(&self, owner: &Owner) -> Result<Settled, StoreError> {
        let owner = *owner;
        self.send(move |store| async move { store.abandon(&owner).await })
    }

    async fn release(&self, owner: &Owner) -> Result<Settled, StoreError> {
        let owner = *owner;
        self.send(move |store| async move { store.release(&owner).await })
    }

    async fn inspect(&self, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        let key = *key;
        self.send(move |store| async move { store.inspect(&key).await })
    }

    async fn forget(&self, key: &RecordKey, force: bool) -> Result<Forgotten, StoreError> {
        let key = *key;
        self.send(move |store| async move { store.forget(&key, force).await })
    }

    async fn erase_scope(&self, scope: &[u8; 16]) -> Result<u64, StoreError> {
        let scope = *scope;
        self.send(move |store| async move { store.erase_scope(&scope).await })
    }
}
