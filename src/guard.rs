//! Ownership of a record: kept alive while the handler runs, settled once, given up when dropped.

use std::future::Future;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use bytes::Bytes;
use tokio::time::Instant;

use crate::bounds::{Bounds, Share};
use crate::claiming::Core;
use crate::clock;
use crate::context::{Claimed, Idempotency};
use crate::drive::{caught, within};
use crate::entrusted::Trust;
use crate::event::{Event, Warning};
use crate::future::Progress;
use crate::key::{IdempotencyKey, RecordKey};
use crate::lease::Lease;
use crate::on_lost::OnLost;
use crate::pause::Pause;
use crate::renewals::Renewals;
use crate::store::claim::{ClaimRequest, Completed, Owned, Owner, Settled, State, TakeOver};
use crate::store::error::{Reason, StoreError};
use crate::store::traits::Store;

/// What becomes of a record in the end.
#[derive(Clone)]
pub(crate) enum Settlement {
    Complete(Completed),
    Abandon,
    Release,
}

impl Settlement {
    fn bytes(&self) -> usize {
        match self {
            Self::Complete(completed) => completed.payload().len() + completed.tombstone().len(),
            Self::Abandon | Self::Release => 0,
        }
    }
}

/// How a record was ended.
pub(crate) enum Ended {
    /// As it was to be, or the store refused that.
    As(Settled),
    /// By a transaction of the handler's, with this payload.
    ByHandler(Bytes),
    /// The store failed: settling goes on beside the request.
    Later,
}

impl Ended {
    /// Whether what was to be written is written.
    pub(crate) fn is_applied(&self) -> bool {
        matches!(self, Self::As(Settled::Applied | Settled::Tombstoned))
    }
}

/// The ownership of one record, from the claim to its settlement.
///
/// Dropped before it was settled, it settles beside whatever goes on; where no runtime does, the lease does the rest.
/// Until then it is one of the executions.
pub(crate) struct Ownership<St: Store> {
    renewals: Renewals<St>,
    started: AtomicBool,
    decided: Option<Settlement>,
    ended: bool,
}

impl<St: Store> Ownership<St> {
    pub(crate) fn new(
        core: Arc<Core<St>>,
        progress: Arc<Progress>,
        key: IdempotencyKey,
        request: &ClaimRequest,
        owned: Owned,
        sent_at: Instant,
        running: Share<impl Deref<Target = Bounds>>,
    ) -> Self {
        running.hand_over();
        let claim = Arc::new(Claimed {
            key,
            progress,
            owner: Owner::new(*request.key(), owned.fence(), request.claim_id()),
            fingerprint: *request.fingerprint(),
            attempt: owned.attempt(),
            lease: Lease::new(request.lease(), sent_at, owned.lease_left()),
            steps: Mutex::default(),
        });
        Self {
            renewals: Renewals { core, claim },
            started: AtomicBool::new(false),
            decided: None,
            ended: false,
        }
    }

    pub(crate) fn core(&self) -> &Arc<Core<St>> {
        &self.renewals.core
    }

    fn claim(&self) -> &Claimed {
        &self.renewals.claim
    }

    pub(crate) fn attempt(&self) -> u32 {
        self.claim().attempt
    }

    pub(crate) fn key(&self) -> &IdempotencyKey {
        &self.claim().key
    }

    pub(crate) fn record_key(&self) -> &RecordKey {
        self.claim().owner.key()
    }

    /// Whether the key is freed: no handler has committed itself, as far as that is known, and from here on none does.
    pub(crate) fn frees(&self) -> bool {
        let asked = self.core().config.take_over() == TakeOver::Always && self.attempt() > 1;
        !asked && self.claim().lease.free()
    }

    /// Whether anybody waits for the answer.
    pub(crate) fn is_client_gone(&self) -> bool {
        self.claim().progress.is_client_gone()
    }

    /// Whether another attempt may own the record by now.
    pub(crate) fn is_lost(&self) -> bool {
        self.claim().lease.is_lost()
    }

    /// Returns when another attempt may own the record.
    pub(crate) async fn lost(&self) {
        self.claim().lease.lost().await;
    }

    /// Whether something is to be done before the handler begins.
    pub(crate) fn is_doubtful(&self) -> bool {
        let asks = matches!(self.core().config.on_lost, OnLost::Reconcile(_));
        self.is_short() || asks && self.attempt() > 1
    }

    /// Whether too little is left of the lease to begin with.
    pub(crate) fn is_short(&self) -> bool {
        self.claim().lease.is_short()
    }

    /// The handler's view of this ownership.
    pub(crate) fn context(&self) -> Idempotency {
        Idempotency::protected(Arc::clone(&self.renewals.claim))
    }

    pub(crate) fn has_started(&self) -> bool {
        self.started.load(Ordering::Acquire)
    }

    /// From here on the handler may have done something.
    pub(crate) fn start(&self) {
        self.started.store(true, Ordering::Release);
    }

    /// Drives an execution, its lease renewed as long as it may take.
    pub(crate) fn executing<F: Future>(&self, work: F) -> impl Future<Output = F::Output> {
        self.renewals.executing(work)
    }

    /// Renews once; `Err` where the store failed.
    pub(crate) async fn renew(&self) -> Result<Settled, Reason> {
        self.renewals.renew().await
    }

    /// Settles, unless a transaction of the handler's has done so.
    pub(crate) fn settle(mut self, settlement: Settlement) -> impl Future<Output = Ended> {
        self.decided = Some(settlement);
        async move {
            if let Some(payload) = self.by_handler().await {
                self.ends(Settled::Applied);
                return Ended::ByHandler(payload);
            }
            if self.has_started() {
                // Who blocked its thread hears of it only now.
                self.renewals.tell_of_loss();
            }
            let first_try = self.core().answered(apply(&self.renewals, self.decided()));
            let ends_lease = matches!(self.decided(), Settlement::Abandon);
            let first_try = self.renewals.settling(ends_lease, first_try).await;
            let reason = match first_try {
                Ok(settled) => {
                    // A COMMIT may have been under way until this came.
                    if let Some(payload) = self.by_handler().await {
                        self.ends(Settled::Applied);
                        return Ended::ByHandler(payload);
                    }
                    self.ends(settled);
                    return Ended::As(settled);
                }
                Err(reason) => reason,
            };
            self.warn(Warning::NotRecorded, Some(reason));
            let bounds = &self.core().bounds;
            let unsettled = (
                bounds.take(|bounds| &bounds.unsettled, 1),
                bounds.take(|bounds| &bounds.unsettled_bytes, self.decided().bytes()),
            );
            let progress = Arc::clone(&self.claim().progress);
            progress.spawn(async move {
                let _unsettled = unsettled;
                self.settle_in_the_end().await;
            });
            Ended::Later
        }
    }

    /// What a transaction of the handler's has recorded.
    async fn by_handler(&self) -> Option<Bytes> {
        match self.claim().lease.entrusted.get() {
            Trust::Nothing => None,
            Trust::Committed(payload) => Some(payload),
            // Boxed: it would be a large part of every exchange, and happens to few.
            Trust::Unknown(_) => Box::pin(self.look_for_completion()).await,
        }
    }

    /// Asks the store whether the handler has completed the record.
    ///
    /// Fences do not repeat where transactions are: a completed record with the fence of this claim was completed by it.
    async fn look_for_completion(&self) -> Option<Bytes> {
        let (core, owner) = (self.core(), &self.claim().owner);
        let look = caught(core.store.inspect(owner.key()));
        let Some(Ok(Ok(Some(record)))) = within(core.config.store_timeout, look).await else {
            return None;
        };
        let State::Completed { payload } = record.state() else {
            return None;
        };
        if record.fence() != owner.fence() {
            return None;
        }
        self.claim().lease.entrusted.commit(payload.clone());
        Some(payload.clone())
    }

    /// Gives up without an outcome.
    pub(crate) fn give_up(self) -> impl Future<Output = Ended> {
        let settlement = self.without_outcome();
        self.settle(settlement)
    }

    /// Past the lease too: the fence makes that safe.
    async fn settle_in_the_end(mut self) {
        let over = clock::later(Instant::now(), self.core().config.settle_for);
        let settling = async {
            let (mut pause, mut failed) = (Pause::default(), None);
            while Instant::now() < over {
                pause.next().await;
                match self
                    .core()
                    .answered(apply(&self.renewals, self.decided()))
                    .await
                {
                    Ok(settled) => return Ok(settled),
                    Err(reason) => failed = Some(reason),
                }
            }
            Err(failed)
        };
        let ends_lease = matches!(self.decided(), Settlement::Abandon);
        match self.renewals.settling(ends_lease, settling).await {
            // It may have been the first try that removed it.
            Ok(Settled::Missing) if matches!(self.decided(), Settlement::Release) => {
                self.ended = true;
            }
            Ok(_) if self.by_handler().await.is_some() => self.ends(Settled::Applied),
            Ok(settled) => self.ends(settled),
            Err(reason) => {
                self.ended = true;
                self.warn(Warning::GivenUp, reason);
            }
        }
    }

    fn ends(&mut self, settled: Settled) {
        self.ended = true;
        match settled {
            Settled::Applied | Settled::Tombstoned => {
                let (core, owner) = (self.core(), &self.claim().owner);
                if core.bounds.waiters.load(Ordering::Relaxed) > 0 {
                    core.waiting.ended(owner.key(), owner.fence());
                }
            }
            Settled::FencedOut | Settled::Missing if self.has_started() => {
                self.warn(Warning::FencedOut, None);
            }
            Settled::FencedOut | Settled::Missing => {}
        }
    }

    /// What it is settled with.
    fn decided(&self) -> &Settlement {
        self.decided.as_ref().unwrap_or(&Settlement::Abandon)
    }

    fn warn(&self, warning: Warning, reason: Option<Reason>) {
        let event = || Event::warning_of(warning, Some(*self.record_key())).because(reason);
        self.core().config.report(event);
    }

    /// A handler that started may have done something: abandoned. A claim whose handler never started is
    /// forgotten, unless there was an attempt before: then its fingerprint and count stay.
    fn without_outcome(&self) -> Settlement {
        if self.attempt() == 1 && !self.has_started() {
            Settlement::Release
        } else {
            Settlement::Abandon
        }
    }

    /// Settles what has not been settled, without waiting for it.
    fn settle_beside(&self, decided: Option<Settlement>) {
        if self.ended || self.claim().lease.entrusted.is_committed() {
            return;
        }
        let settlement = decided.unwrap_or_else(|| self.without_outcome());
        let renewals = self.renewals.clone();
        // Never a panic: this may run while another one unwinds.
        let slow = catch_unwind(AssertUnwindSafe(|| {
            let mut settling = Box::pin(async move { apply(&renewals, &settlement).await });
            let mut cx = Context::from_waker(Waker::noop());
            settling
                .as_mut()
                .poll(&mut cx)
                .is_pending()
                .then_some(settling)
        }));
        // What takes longer goes on without this guard, which would spawn again where its runtime ends.
        if let Ok(Some(settling)) = slow {
            let core = Arc::clone(self.core());
            let unsettled = core.bounds.take(|bounds| &bounds.unsettled, 1);
            self.claim().progress.spawn(async move {
                let _unsettled = unsettled;
                let _ = core.answered(settling).await;
            });
        }
    }
}

async fn apply<St: Store>(
    renewals: &Renewals<St>,
    settlement: &Settlement,
) -> Result<Settled, StoreError> {
    let Renewals { core, claim } = renewals;
    let (store, Claimed { owner, lease, .. }) = (&*core.store, &**claim);
    // What a handler has left behind is to know that another attempt may begin.
    if !matches!(settlement, Settlement::Complete(_)) {
        lease.lose();
    }
    match settlement {
        Settlement::Complete(completed) => store.complete(owner, completed).await,
        Settlement::Release => store.release(owner).await,
        Settlement::Abandon => {
            if lease.is_unconfirmed() {
                store.renew(owner, lease.length(), true).await?;
            }
            store.abandon(owner).await
        }
    }
}

impl<St: Store> Drop for Ownership<St> {
    fn drop(&mut self) {
        let decided = self.decided.take();
        let bounds = &self.core().bounds;
        let _running = bounds.handed_over(|bounds| &bounds.executions, 1);
        self.settle_beside(decided);
    }
}
