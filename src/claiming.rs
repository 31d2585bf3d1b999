//! What the clones of a layer have in common, and how they claim.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use crate::bounds::Bounds;
use crate::clock;
use crate::config::Config;
use crate::drive::{caught, until, within};
use crate::endpoint::Endpoint;
use crate::event::Warning;
use crate::keeper::Keeper;
use crate::shield::shielded;
use crate::store::boxed::BoxStore;
use crate::store::claim::{Claim, ClaimRequest, Settled};
use crate::store::error::{Reason, StoreError, StoreErrorKind, late};
use crate::store::traits::Store;
use crate::waiting::WaitingRoom;

/// What the clones of a layer and its services have in common.
pub(crate) struct Core<St> {
    pub(crate) store: Arc<St>,
    pub(crate) config: Config,
    pub(crate) bounds: Arc<Bounds>,
    pub(crate) waiting: Arc<WaitingRoom>,
    pub(crate) keeper: Arc<Keeper>,
}

impl<St> Core<St> {
    /// The same, as this endpoint has it.
    pub(crate) fn at(&self, endpoint: &Endpoint) -> Self {
        Self {
            config: self.config.at(endpoint),
            ..self.clone()
        }
    }
}

impl<St> Clone for Core<St> {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            config: self.config.clone(),
            bounds: Arc::clone(&self.bounds),
            waiting: Arc::clone(&self.waiting),
            keeper: Arc::clone(&self.keeper),
        }
    }
}

/// A [`Core`] whose store may be any.
pub(crate) trait AnyCore: Send + Sync {
    fn config(&self) -> &Config;
    fn bounds(&self) -> &Arc<Bounds>;
    fn store(&self) -> BoxStore;
    fn boxed(&self) -> Core<BoxStore>;
}

impl<St: Store> AnyCore for Arc<Core<St>> {
    fn config(&self) -> &Config {
        &self.config
    }

    fn bounds(&self) -> &Arc<Bounds> {
        &self.bounds
    }

    fn store(&self) -> BoxStore {
        BoxStore::shared(Arc::clone(&self.store))
    }

    fn boxed(&self) -> Core<BoxStore> {
        Core {
            store: Arc::new(self.store()),
            config: self.config.clone(),
            bounds: Arc::clone(&self.bounds),
            waiting: Arc::clone(&self.waiting),
            keeper: Arc::clone(&self.keeper),
        }
    }
}

/// A claim that got no answer, or none that can be used.
pub(crate) struct Unclaimed {
    pub(crate) kind: StoreErrorKind,
    pub(crate) may_be_applied: bool,
    pub(crate) reason: Reason,
}

impl Unclaimed {
    /// Whether the handler may run without a record. A record that cannot be read is no reason to.
    pub(crate) fn is_outage(&self) -> bool {
        self.kind != StoreErrorKind::Unreadable
    }
}

impl<St: Store> Core<St> {
    /// Whether another claim would stay within the bounds of what runs detached.
    pub(crate) fn has_room(&self) -> bool {
        let Bounds {
            detached,
            unsettled,
            unsettled_bytes,
            ..
        } = &*self.bounds;
        detached.load(Ordering::Relaxed) < self.config.max_detached
            && unsettled.load(Ordering::Relaxed) < self.config.max_unsettled
            && unsettled_bytes.load(Ordering::Relaxed) < self.config.max_unsettled_bytes
    }

    /// Claims, and repeats it once: the claim id makes that one claim.
    pub(crate) async fn claim(
        &self,
        request: &ClaimRequest,
        sent_at: Instant,
    ) -> Result<Claim, Unclaimed> {
        let mut may_be_applied = false;
        let claiming = async {
            match self.ask(request).await {
                Err(error) if error.kind() == StoreErrorKind::NotApplied => {}
                Err(error) if error.kind() == StoreErrorKind::Ambiguous => may_be_applied = true,
                answer => return answer,
            }
            // Boxed: few claims are repeated.
            Box::pin(self.ask(request)).await
        };
        let deadline = clock::later(sent_at, self.config.store_timeout);
        match until(deadline, claiming).await {
            Some(Ok(claim)) => {
                self.look_at_store();
                Ok(claim)
            }
            Some(Err(error)) => {
                let kind = error.kind();
                may_be_applied |= kind == StoreErrorKind::Ambiguous;
                Err(Unclaimed {
                    kind,
                    may_be_applied,
                    reason: error.reason(),
                })
            }
            None => Err(Unclaimed {
                kind: StoreErrorKind::Ambiguous,
                may_be_applied: true,
                reason: late(),
            }),
        }
    }

    /// What the store answers in time, or why it does not. One that panics has failed, and must not take the handler or
    /// its answer with it.
    pub(crate) async fn answered(
        &self,
        call: impl Future<Output = Result<Settled, StoreError>>,
    ) -> Result<Settled, Reason> {
        match within(self.config.store_timeout, caught(call)).await {
            Some(Ok(answer)) => answer.map_err(|error| error.reason()),
            Some(Err(_)) => Err(panicked().reason()),
            None => Err(late()),
        }
    }

    /// Tells, once, what the store advises. Warns of one that is nearly full: once, until there was room again.
    fn look_at_store(&self) {
        if self.config.observer.is_none() {
            return;
        }
        if !self.bounds.has_advised.swap(true, Ordering::Relaxed) {
            for advice in shielded(|| self.store.advice()).unwrap_or_default() {
                self.config.warn(Warning::StoreSetting { advice }, None);
            }
        }
        let Some(percent) = shielded(|| self.store.fullness()).flatten() else {
            return;
        };
        let nearly_full = &self.bounds.nearly_full;
        if percent >= 80 && !nearly_full.swap(true, Ordering::Relaxed) {
            self.config.warn(Warning::NearlyFull { percent }, None);
        } else if percent < 70 {
            nearly_full.store(false, Ordering::Relaxed);
        }
    }

    /// Claims once. A store that panics may have applied the claim.
    pub(crate) async fn ask(&self, request: &ClaimRequest) -> Result<Claim, StoreError> {
        let claim = async { self.store.claim(request).await };
        caught(claim).await.unwrap_or_else(|_| Err(panicked()))
    }
}

/// A call whose store panicked may have been applied.
pub(crate) fn panicked() -> StoreError {
    StoreError::new(StoreErrorKind::Ambiguous, "the store panicked")
}
