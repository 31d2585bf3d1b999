//! Bugs of a layer, played around the real one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderValue;
use tower_idempotency::{
    Claim, ClaimRequest, Completed, Fence, FingerprintPolicy, Forgotten, IdempotencyLayer, Outcome,
    Owned, Owner, Record, RecordKey, Scope, Settled, Store, StoreError, StoreErrorKind,
};

use crate::book::Heard;
use crate::handler::Calm;
use crate::stores::Port;

/// What the layer seems to do wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Bug {
    #[default]
    None,
    /// Answers before its outcome is written.
    AnswersFirst,
    /// Drops handlers that take long.
    Cancels,
    ChangesAnswers,
    ChangesReplays,
    /// Refuses a key for ever, in the end.
    ClosesKeys,
    /// Believes that its lease is longer than it is.
    CountsLeasesLong,
    /// Releases a key soon after its claim.
    FreesEarly,
    IgnoresBodies,
    IgnoresPrincipals,
    LeavesTasks,
    RefusesAtRandom,
    RenewsNothing,
    RunsTwice,
    RunsUnclaimed,
    WritesNothing,
}

impl Bug {
    /// The layer with what of the bug is a matter of its knobs.
    pub(crate) fn configure<St: Store>(self, layer: IdempotencyLayer<St>) -> IdempotencyLayer<St> {
        match self {
            Self::IgnoresBodies => layer.fingerprint(FingerprintPolicy::with(|_, _| Ok(vec![7]))),
            Self::IgnoresPrincipals => layer.scope(Scope::with(|_| Ok(b"a".to_vec()))),
            _ => layer,
        }
    }

    /// What the client hears.
    pub(crate) fn distort(self, heard: &mut Heard) {
        let changes = match heard.outcome {
            Outcome::Replayed => self == Self::ChangesReplays,
            Outcome::Executed { .. } => self == Self::ChangesAnswers,
            _ => false,
        };
        if changes {
            heard
                .headers
                .insert("x-changed", HeaderValue::from_static("yes"));
        }
    }
}

/// The way to the store, as a layer with this bug goes it.
pub(crate) struct Buggy {
    pub(crate) bug: Bug,
    pub(crate) port: Arc<Port>,
    pub(crate) calm: Arc<Calm>,
    pub(crate) claims: AtomicU64,
}

impl Store for Buggy {
    async fn claim(&self, request: &ClaimRequest) -> Result<Claim, StoreError> {
        let refused = || Err(StoreError::new(StoreErrorKind::Fatal, "a bug"));
        let number = self.claims.fetch_add(1, Ordering::SeqCst);
        match self.bug {
            Bug::ClosesKeys if self.calm.is_here() => refused(),
            Bug::RefusesAtRandom if number % 5 == 4 => refused(),
            Bug::CountsLeasesLong => {
                let (key, id) = (*request.key(), request.claim_id());
                let (lease, retention) = (request.lease() / 2, request.retention());
                let half = ClaimRequest::new(key, id, *request.fingerprint(), lease, retention);
                let half = half.with_take_over(request.take_over());
                Ok(match self.port.claim(&half).await? {
                    Claim::Owned(owned) => {
                        let (fence, attempt) = (owned.fence(), owned.attempt());
                        Claim::Owned(Owned::new(fence, attempt, owned.lease_left() * 2))
                    }
                    other => other,
                })
            }
            Bug::FreesEarly => {
                let claim = self.port.claim(request).await;
                if let Ok(Claim::Owned(owned)) = &claim {
                    let owner = Owner::new(*request.key(), owned.fence(), request.claim_id());
                    let port = Arc::clone(&self.port);
                    tokio::spawn(async move {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                        port.release(&owner).await
                    });
                }
                claim
            }
            Bug::LeavesTasks => {
                tokio::spawn(std::future::pending::<()>());
                self.port.claim(request).await
            }
            _ => self.port.claim(request).await,
        }
    }

    async fn renew(
        &self,
        owner: &Owner,
        lease: Duration,
        committed: bool,
    ) -> Result<Settled, StoreError> {
        match self.bug {
            Bug::CountsLeasesLong => self.port.renew(owner, lease / 2, committed).await,
            Bug::RenewsNothing if !committed => Ok(Settled::Applied),
            _ => self.port.renew(owner, lease, committed).await,
        }
    }

    async fn complete(&self, owner: &Owner, completed: &Completed) -> Result<Settled, StoreError> {
        match self.bug {
            Bug::AnswersFirst => {
                let (port, owner, completed) = (Arc::clone(&self.port), *owner, completed.clone());
                tokio::spawn(async move { port.complete(&owner, &completed).await });
                Ok(Settled::Applied)
            }
            Bug::WritesNothing => Ok(Settled::FencedOut),
            _ => self.port.complete(owner, completed).await,
        }
    }

    async fn abandon(&self, owner: &Owner) -> Result<Settled, StoreError> {
        self.port.abandon(owner).await
    }

    async fn release(&self, owner: &Owner) -> Result<Settled, StoreError> {
        self.port.release(owner).await
    }

    async fn inspect(&self, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        self.port.inspect(key).await
    }

    async fn forget(&self, key: &RecordKey, force: bool) -> Result<Forgotten, StoreError> {
        self.port.forget(key, force).await
    }

    async fn erase_scope(&self, scope: &[u8; 16]) -> Result<u64, StoreError> {
        self.port.erase_scope(scope).await
    }

    async fn settled(&self, key: &RecordKey, fence: Fence, at_most: Duration) {
        self.port.settled(key, fence, at_most).await;
    }
}
