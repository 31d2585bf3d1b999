//! Claims that are given back: those that were answered too late, and those of which too little is left.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::bounds::Share;
use crate::claiming::{Core, Unclaimed};
use crate::clock;
use crate::drive::until;
use crate::future::Progress;
use crate::guard::Ownership;
use crate::key::IdempotencyKey;
use crate::pause::Pause;
use crate::policy::{Mode, OnStoreError};
use crate::refusal::{Refusal, RefusalCode};
use crate::store::claim::{Claim, ClaimRequest, Settled, TakeOver};
use crate::store::error::StoreErrorKind;
use crate::store::traits::Store;

impl<St: Store> Core<St> {
    /// What a claim that failed is answered with. If the store may have applied it, it is given back as
    /// soon as the store answers, at the latest when its lease is over.
    pub(crate) fn refuse_unclaimed(
        self: &Arc<Self>,
        failure: &Unclaimed,
        request: &ClaimRequest,
        sent_at: Instant,
        progress: &Arc<Progress>,
    ) -> Refusal {
        if failure.may_be_applied {
            self.give_back(request, sent_at, progress);
        }
        let code = match failure.kind {
            StoreErrorKind::Unreadable => RefusalCode::RecordUnreadable,
            _ => RefusalCode::StoreUnavailable,
        };
        let reason = Arc::clone(&failure.reason);
        self.config.refusal(code).because(reason)
    }

    /// Gives a claim back as soon as the store answers it, within bounds.
    pub(crate) fn give_back(
        self: &Arc<Self>,
        request: &ClaimRequest,
        sent_at: Instant,
        progress: &Arc<Progress>,
    ) {
        // Where requests run all the same, give-backs take half of the bound at the most: a store that hangs must
        // not close the door that was left open. What is not given back is free at the end of its lease.
        let most = match (self.config.on_store_error, self.config.mode) {
            (OnStoreError::Refuse, Mode::Enforce) => usize::MAX,
            (OnStoreError::RunUnprotected, _) | (_, Mode::Shadow) => self.config.max_detached / 2,
        };
        if let Some(detached) = self.bounds.take_within(|bounds| &bounds.detached, 1, most) {
            let running = self.bounds.take(|bounds| &bounds.executions, 1);
            let request = request.clone().with_take_over(TakeOver::Never);
            let (core, claimed) = (Arc::clone(self), Arc::clone(progress));
            progress.spawn(async move {
                let _detached = detached;
                core.give_back_when_answered(request, sent_at, claimed, running)
                    .await;
            });
        }
    }

    async fn give_back_when_answered(
        self: Arc<Self>,
        request: ClaimRequest,
        sent_at: Instant,
        progress: Arc<Progress>,
        running: Share,
    ) {
        // A short lease may be over by now: the store is asked once more all the same.
        let once_more = clock::later(Instant::now(), self.config.store_timeout);
        let over = clock::later(sent_at, request.lease()).max(once_more);
        let mut pause = Pause::default();
        while Instant::now() < over {
            // Counted anew, the lease must not outlive the claim that is given back.
            let left = over.saturating_duration_since(Instant::now());
            let lease = left.max(Duration::from_millis(1));
            let again = request.clone().with_lease(lease);
            match until(over, self.ask(&again)).await {
                Some(Ok(Claim::Owned(owned))) => {
                    // No handler sees the key.
                    let key = IdempotencyKey::new("");
                    let claim =
                        Ownership::new(self, progress, key, &request, owned, sent_at, running);
                    claim.give_up().await;
                    return;
                }
                // Somebody else's, or no room: nothing of ours is there.
                Some(Ok(_)) => return,
                Some(Err(_)) => pause.next().await,
                None => {}
            }
        }
    }
}

/// An ownership whose lease has been short, renewed; given up where that fails.
pub(crate) async fn lengthened<St: Store>(
    ownership: Ownership<St>,
) -> Result<Ownership<St>, Refusal> {
    let renewed = ownership.renew().await;
    let config = &ownership.core().config;
    let refusal = match renewed {
        Ok(Settled::FencedOut | Settled::Missing) => config.refusal(RefusalCode::InProgress),
        Ok(_) if !ownership.is_short() => return Ok(ownership),
        Ok(_) => config.refusal(RefusalCode::StoreUnavailable),
        Err(reason) => config
            .refusal(RefusalCode::StoreUnavailable)
            .because(reason),
    };
    ownership.give_up().await;
    Err(refusal)
}
