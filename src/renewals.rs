//! The renewals of one claim: beside its handler, or in the background.

use std::future::{Future, pending};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::claiming::Core;
use crate::clock;
use crate::context::Claimed;
use crate::drive::beside;
use crate::event::{Event, Warning};
use crate::store::claim::Settled;
use crate::store::error::Reason;
use crate::store::traits::Store;

/// What keeps one claim alive.
pub(crate) struct Renewals<St> {
    pub(crate) core: Arc<Core<St>>,
    pub(crate) claim: Arc<Claimed>,
}

impl<St> Clone for Renewals<St> {
    fn clone(&self) -> Self {
        Self {
            core: Arc::clone(&self.core),
            claim: Arc::clone(&self.claim),
        }
    }
}

impl<St: Store> Renewals<St> {
    /// Drives an execution, its lease renewed as long as it may take.
    pub(crate) fn executing<F: Future>(&self, work: F) -> impl Future<Output = F::Output> {
        // At once, not at the first poll: the work is polled before, and may block.
        let in_background = (self.core.config.renew_in_background)
            .then(|| {
                let renewals = self.clone();
                self.core.keeper.keep(self.first(), self.soon(), move || {
                    let renewals = renewals.clone();
                    Box::pin(async move { renewals.turn().await })
                })
            })
            .flatten();
        beside(work, move || async move {
            match in_background {
                Some(_keeping) => pending().await,
                None => self.while_executing().await,
            }
        })
    }

    /// Drives the settlement of what is decided, the lease renewed for as long as that takes, unless it is to end: a
    /// renewal that crosses with an abandonment would undo it.
    pub(crate) fn settling<F: Future>(
        &self,
        ends_lease: bool,
        work: F,
    ) -> impl Future<Output = F::Output> {
        beside(work, move || async move {
            if ends_lease {
                return pending().await;
            }
            let mut renew_at = self.claim.lease.renew_at();
            while !matches!(
                self.renew_at(renew_at).await,
                Ok(Settled::FencedOut | Settled::Missing)
            ) {
                renew_at = self.next();
            }
            pending::<()>().await;
        })
    }

    /// Renews once; `Err` where the store failed.
    pub(crate) async fn renew(&self) -> Result<Settled, Reason> {
        let (lease, committed) = (&self.claim.lease, self.claim.lease.is_committed());
        let sent_at = Instant::now();
        let renewal = async {
            let store = &*self.core.store;
            store
                .renew(&self.claim.owner, lease.length(), committed)
                .await
        };
        match self.core.answered(renewal).await {
            Ok(settled @ (Settled::Applied | Settled::Tombstoned)) => {
                lease.renewed(sent_at, committed);
                Ok(settled)
            }
            Ok(settled) => {
                // A transaction of the handler's may have completed the record. If not, the lease ends by itself.
                if !lease.entrusted.is_something() {
                    lease.lose();
                }
                Ok(settled)
            }
            failed => failed,
        }
    }

    async fn while_executing(&self) {
        let mut next = Some(self.first());
        while let Some(moment) = next {
            clock::sleep_until(moment).await;
            next = self.turn().await;
        }
        pending().await
    }

    /// When the first turn is due.
    fn first(&self) -> Instant {
        let renew_at = self.claim.lease.renew_at();
        self.stop().map_or(renew_at, |stop| stop.min(renew_at))
    }

    /// Does what is due; says when the next turn is, if there is one.
    async fn turn(&self) -> Option<Instant> {
        let stop = self.stop();
        if self.claim.lease.entrusted.is_committed() {
            return None;
        }
        let is_over = stop.is_some_and(|stop| Instant::now() >= stop);
        let goes_on = !is_over
            && match self.renew().await {
                Ok(Settled::FencedOut | Settled::Missing) => false,
                Ok(_) => true,
                Err(reason) => {
                    self.warn(Warning::NotRenewed, Some(reason));
                    true
                }
            };
        if is_over {
            self.claim.lease.lose();
        }
        self.tell_of_loss();
        let next = self.next();
        goes_on.then(|| stop.map_or(next, |stop| stop.min(next)))
    }

    /// Warns where the lease is lost, once.
    pub(crate) fn tell_of_loss(&self) {
        let is_heard = self.core.config.observer.is_some();
        if is_heard && self.claim.lease.is_lost() && self.claim.lease.is_first_to_tell() {
            self.warn(Warning::LeaseLost, None);
        }
    }

    /// When an execution is over its time.
    fn stop(&self) -> Option<Instant> {
        let limit = self.core.config.max_execution;
        limit.map(|limit| clock::later(self.claim.lease.claimed_at(), limit))
    }

    async fn renew_at(&self, moment: Instant) -> Result<Settled, Reason> {
        clock::sleep_until(moment).await;
        self.renew().await
    }

    /// When to renew after this: never at once again, whatever the lease says. A lost one is not extended, one that was
    /// not renewed is tried soon.
    fn next(&self) -> Instant {
        let soon = clock::later(Instant::now(), self.soon());
        self.claim.lease.renew_at().max(soon)
    }

    /// A moment, as leases go.
    fn soon(&self) -> Duration {
        (self.claim.lease.length() / 12).max(Duration::from_millis(1))
    }

    fn warn(&self, warning: Warning, reason: Option<Reason>) {
        let event = || Event::warning_of(warning, Some(*self.claim.owner.key())).because(reason);
        self.core.config.report(event);
    }
}
