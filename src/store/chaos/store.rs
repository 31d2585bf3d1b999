//! The store in public, and its verbs with what happens to them.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::clock::ChaosClock;
use super::fault::{Fate, Fault, Jump, Odds, Wakeup};
use super::log::{Entry, What};
use super::random::Random;
use crate::clock;
use crate::drive;
use crate::key::{Fence, RecordKey};
use crate::store::claim::{Claim, ClaimRequest, Completed, Forgotten, Owner, Record, Settled};
use crate::store::error::{StoreError, StoreErrorKind};
use crate::store::statement::Statement;
use crate::store::traits::Store;

/// A store that fails by seed, around any other: for tests of services, and of stores.
///
/// Each call draws what happens to it from the seed and its number. On a current-thread runtime with paused time, a
/// service that does the same twice meets the same faults twice: print the seed of a test that fails, and the store,
/// whose `Display` lists what it did.
///
/// | knob | what happens | default |
/// |---|---|---|
/// | [`delays`](Self::delays) | a call is applied, or answered, later; half of them are applied also if the caller has gone meanwhile | 20 %, up to 3 s |
/// | [`failures`](Self::failures) | a call fails before it is applied (`NotApplied`, `Ambiguous`, `Fatal`), or after (`Ambiguous`) | 10 % |
/// | [`duplicates`](Self::duplicates) | a call is applied twice, at once or much later, as by a network | 5 % |
/// | [`lost_leases`](Self::lost_leases) | the lease of a claim or renewal ends early | 2 % |
/// | [`panics`](Self::panics) | a call panics, before or after it was applied | 1 % |
/// | [`wrong_wakeups`](Self::wrong_wakeups) | [`settled`](Store::settled) returns early or late | 20 % |
/// | [`clock_jumps`](Self::clock_jumps) | the clock of the store jumps, mostly forward | none |
///
/// A lost lease and a jump of the clock break what a store promises its owners: two attempts may then run at a time, and
/// the later one wins. Everything else a store may do.
///
/// # Examples
///
/// Whatever the store does, a service that refuses to run a lost attempt again charges at most once:
///
/// ```
/// use std::convert::Infallible;
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use std::time::Duration;
///
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower::{Layer, ServiceExt, service_fn};
/// use tower_idempotency::{ChaosStore, IdempotencyLayer, MemoryStore, OnLost};
///
/// static CHARGES: AtomicU32 = AtomicU32::new(0);
///
/// async fn charge<B>(_: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
///     CHARGES.fetch_add(1, Ordering::SeqCst);
///     Ok(Response::new("charged".into()))
/// }
///
/// for seed in 0..50 {
///     // In a test: `#[tokio::test(start_paused = true)]`.
///     let runtime = tokio::runtime::Builder::new_current_thread()
///         .enable_time()
///         .start_paused(true)
///         .build()
///         .unwrap();
///     runtime.block_on(async {
///         CHARGES.store(0, Ordering::SeqCst);
///         let layer = IdempotencyLayer::new(ChaosStore::new(MemoryStore::new(), seed)).on_lost(OnLost::Refuse);
///         let service = layer.layer(service_fn(charge));
///
///         for _ in 0..10 {
///             let request = Request::post("/charges").header("idempotency-key", "order-7");
///             let request = request.body(Full::<Bytes>::from("100 EUR")).unwrap();
///             let Ok(response) = service.clone().oneshot(request).await;
///             if response.status().is_success() {
///                 break;
///             }
///             tokio::time::sleep(Duration::from_secs(10)).await;
///         }
///
///         layer.store().calm();
///         assert_eq!(layer.drain(Duration::from_secs(600)).await.left, 0);
///         assert!(CHARGES.load(Ordering::SeqCst) <= 1, "SEED={seed}\n{}", layer.store());
///     });
/// }
/// ```
pub struct ChaosStore<St> {
    store: Arc<St>,
    seed: u64,
    pub(super) odds: Odds,
    pub(super) clock: Option<ChaosClock>,
    calls: AtomicU64,
    is_calm: Arc<AtomicBool>,
    log: Mutex<Vec<Entry>>,
}

impl<St: Store> ChaosStore<St> {
    /// Wraps a store, with all knobs at their defaults.
    ///
    /// ```
    /// use tower_idempotency::{ChaosStore, IdempotencyLayer, MemoryStore};
    ///
    /// let layer = IdempotencyLayer::new(ChaosStore::new(MemoryStore::new(), 7));
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn new(store: St, seed: u64) -> Self {
        Self {
            store: Arc::new(store),
            seed,
            odds: Odds::default(),
            clock: None,
            calls: AtomicU64::new(0),
            is_calm: Arc::default(),
            log: Mutex::default(),
        }
    }

    /// From now on every call is passed on as it is, so that a test can look at what is left.
    ///
    /// What is on its way and whose caller waits for it still comes at its time; what nobody waits for any more, late
    /// duplicates too, is lost.
    pub fn calm(&self) {
        self.is_calm.store(true, Ordering::SeqCst);
    }

    /// The wrapped store.
    #[must_use]
    pub fn get_ref(&self) -> &St {
        &self.store
    }

    /// The number of a call, from 1, and its numbers; `None` in calm.
    fn numbered(&self) -> Option<(u64, Random)> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let calm = self.is_calm.load(Ordering::SeqCst);
        (!calm).then(|| (number, Random::of_call(self.seed, number)))
    }

    fn note(&self, call: u64, verb: &'static str, key: Option<RecordKey>, what: What) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.push(Entry {
            call,
            verb,
            key,
            what,
        });
    }

    /// Lets happen to a call what its number says. `owner` is whose lease a call has counted anew.
    async fn call<T, F>(
        &self,
        verb: &'static str,
        key: Option<RecordKey>,
        apply: impl Fn(Arc<St>) -> F + Send,
        owner: impl Fn(&T) -> Option<Owner> + Send,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let apply = || apply(Arc::clone(&self.store));
        let Some((number, random)) = self.numbered() else {
            return apply().await;
        };
        let fate = Fate::draw(&self.odds, random);
        if fate != Fate::default() {
            self.note(number, verb, key, What::Fate(fate));
        }
        match (&self.clock, fate.jump) {
            (Some(clock), Some(Jump::Forward(by))) => clock.jump(by),
            (Some(clock), Some(Jump::Back(by))) => clock.jump_back(by),
            _ => {}
        }

        let is_applied = !matches!(fate.fault, Some(Fault::Fails(_) | Fault::Panics));
        let mut answer = if fate.sent && is_applied {
            self.send(fate.before, apply()).await
        } else {
            pause(fate.before).await;
            match fate.fault {
                Some(Fault::Fails(kind)) => Err(StoreError::new(kind, "chaos: not applied")),
                Some(Fault::Panics) => panic!("chaos: call {number}"),
                _ => apply().await,
            }
        };
        match fate.fault {
            Some(Fault::Unanswered) => {
                let lost = |_| {
                    Err(StoreError::new(
                        StoreErrorKind::Ambiguous,
                        "chaos: no answer",
                    ))
                };
                answer = answer.and_then(lost);
            }
            Some(Fault::Twice) => answer = apply().await,
            Some(Fault::Again(later)) => self.later(later, apply()),
            Some(Fault::LosesLease(later)) => {
                if let Some(owner) = answer.as_ref().ok().and_then(owner) {
                    let store = Arc::clone(&self.store);
                    self.later(later, async move { store.abandon(&owner).await });
                }
            }
            Some(Fault::PanicsAfter) => panic!("chaos: call {number}, applied"),
            Some(Fault::Fails(_) | Fault::Panics) | None => {}
        }
        pause(fate.after).await;
        answer
    }

    /// Applies a call also if its caller has gone meanwhile.
    async fn send<T: Send + 'static>(
        &self,
        after: Duration,
        call: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let is_calm = Arc::clone(&self.is_calm);
        let (answer, answered) = oneshot::channel();
        spawn(async move {
            pause(after).await;
            if !is_calm.load(Ordering::SeqCst) || !answer.is_closed() {
                let _ = answer.send(call.await);
            }
        });
        let lost = |_| StoreError::new(StoreErrorKind::Ambiguous, "chaos: no answer");
        answered.await.map_err(lost)?
    }

    /// Applies a call of which nobody hears.
    fn later<T>(
        &self,
        after: Duration,
        call: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) {
        let is_calm = Arc::clone(&self.is_calm);
        spawn(async move {
            pause(after).await;
            if !is_calm.load(Ordering::SeqCst) {
                let _ = call.await;
            }
        });
    }
}

impl<St: Store> Store for ChaosStore<St> {
    async fn claim(&self, request: &ClaimRequest) -> Result<Claim, StoreError> {
        let (key, id) = (*request.key(), request.claim_id());
        let apply = |store: Arc<St>| {
            let request = request.clone();
            async move { store.claim(&request).await }
        };
        let owner = |claim: &Claim| match claim {
            Claim::Owned(owned) => Some(Owner::new(key, owned.fence(), id)),
            _ => None,
        };
        self.call("claim", Some(key), apply, owner).await
    }

    async fn renew(
        &self,
        owner: &Owner,
        lease: Duration,
        committed: bool,
    ) -> Result<Settled, StoreError> {
        let owner = *owner;
        let apply = |store: Arc<St>| async move { store.renew(&owner, lease, committed).await };
        let verb = if committed {
            "renew, committed"
        } else {
            "renew"
        };
        self.call(verb, Some(*owner.key()), apply, |_| Some(owner))
            .await
    }

    async fn complete(&self, owner: &Owner, completed: &Completed) -> Result<Settled, StoreError> {
        let owner = *owner;
        let apply = |store: Arc<St>| {
            let completed = completed.clone();
            async move { store.complete(&owner, &completed).await }
        };
        self.call("complete", Some(*owner.key()), apply, nobody)
            .await
    }

    async fn abandon(&self, owner: &Owner) -> Result<Settled, StoreError> {
        let owner = *owner;
        let apply = |store: Arc<St>| async move { store.abandon(&owner).await };
        self.call("abandon", Some(*owner.key()), apply, nobody)
            .await
    }

    async fn release(&self, owner: &Owner) -> Result<Settled, StoreError> {
        let owner = *owner;
        let apply = |store: Arc<St>| async move { store.release(&owner).await };
        self.call("release", Some(*owner.key()), apply, nobody)
            .await
    }

    async fn inspect(&self, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        let key = *key;
        let apply = |store: Arc<St>| async move { store.inspect(&key).await };
        self.call("inspect", Some(key), apply, nobody).await
    }

    async fn forget(&self, key: &RecordKey, force: bool) -> Result<Forgotten, StoreError> {
        let key = *key;
        let apply = |store: Arc<St>| async move { store.forget(&key, force).await };
        self.call("forget", Some(key), apply, nobody).await
    }

    async fn erase_scope(&self, scope: &[u8; 16]) -> Result<u64, StoreError> {
        let scope = *scope;
        let apply = |store: Arc<St>| async move { store.erase_scope(&scope).await };
        self.call("erase_scope", None, apply, nobody).await
    }

    async fn settled(&self, key: &RecordKey, fence: Fence, at_most: Duration) {
        let wakeup = match self.numbered() {
            Some((number, random)) => {
                let wakeup = Wakeup::draw(&self.odds, random);
                if wakeup != Wakeup::Right {
                    self.note(number, "settled", Some(*key), What::Wakeup(wakeup));
                }
                wakeup
            }
            None => Wakeup::Right,
        };
        let settled = self.store.settled(key, fence, at_most);
        match wakeup {
            Wakeup::Right => settled.await,
            Wakeup::Early(after) => {
                drive::within(after.min(at_most), settled).await;
            }
            Wakeup::Late(by) => {
                settled.await;
                pause(by).await;
            }
        }
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
        self.store.completion(owner, completed)
    }
}

/// The seed, and every call to which something happened, one line each.
impl<St> fmt::Display for ChaosStore<St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = self.calls.load(Ordering::SeqCst);
        writeln!(f, "chaos of seed {}, {calls} calls:", self.seed)?;
        log.iter().try_for_each(|entry| writeln!(f, "{entry}"))
    }
}

impl<St> fmt::Debug for ChaosStore<St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChaosStore")
            .field("seed", &self.seed)
            .field("odds", &self.odds)
            .field("calls", &self.calls)
            .field("is_calm", &self.is_calm)
            .finish_non_exhaustive()
    }
}

/// Of a call that counts no lease anew.
fn nobody<T>(_: &T) -> Option<Owner> {
    None
}

async fn pause(time: Duration) {
    if !time.is_zero() {
        clock::sleep_until(clock::later(Instant::now(), time)).await;
    }
}

/// Outside a runtime, what is on its way is lost.
fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(future);
    }
}
