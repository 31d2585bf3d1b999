//! Recovery points: parts of an operation whose values outlive the attempt that has made them.

use std::any::TypeId;
use std::convert::Infallible;
use std::future::Future;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::claiming::Core;
use crate::clock;
use crate::context::{Claimed, Idempotency};
use crate::drive::caught;
use crate::future::Progress;
use crate::giving_back::lengthened;
use crate::guard::{Ended, Ownership, Settlement};
use crate::key::{ClaimId, Fence, RecordKey};
use crate::refusal::RefusalCode;
use crate::store::boxed::BoxStore;
use crate::store::claim::{Claim, ClaimRequest, Completed, Record, Settled, State};
use crate::store::error::BoxError;
use crate::store::traits::Store;

mod value;

impl Idempotency {
    /// A recovery point: runs `work` and records its value under this name. A later attempt of the operation, or a later
    /// request with the same key after this one was freed, does not run it again and gets the value.
    ///
    /// A step is a claim of its own, on a record that is derived from the operation's: with the lease of the operation,
    /// renewed while it runs, kept for its retention from the step's begin. What it costs are two round trips to the
    /// store, one where the value is there. While another attempt is at the same step, this one waits for it. Two never
    /// run it at the same time: work whose lease is lost is dropped, before it is polled again.
    ///
    /// **Not promised:** that a step whose process was killed in its midst runs once. It is run again, as nobody knows how
    /// far it came: what it calls should recognise a second call, by [`child`](Self::child). A value that is an error is
    /// a value: see [`try_step`](Self::try_step).
    ///
    /// The value is kept as JSON, of at most `max_kept_response` bytes; some stores keep less. What is returned was read
    /// from that, in the first attempt too. A step within a step needs a name of its own: it would wait for itself.
    ///
    /// ```
    /// # use tower_idempotency::{Idempotency, StepError};
    /// # async fn charge_card(_key: &str) -> String { String::new() }
    /// async fn order(key: Idempotency) -> Result<String, StepError> {
    ///     let child = key.child("charge");
    ///     let receipt = key.step("charge", async || charge_card(child.as_str()).await).await?;
    ///     // A crash from here on: the next attempt has the receipt, and charges nothing.
    ///     Ok(receipt)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`StepError`]; but for [`TooLarge`](StepError::TooLarge) and [`NotRecorded`](StepError::NotRecorded) the work was
    /// not run, or is not known to have come to its end.
    ///
    /// # Panics
    ///
    /// As `work` does. The step is run again then.
    pub async fn step<T, F, Fut>(&self, name: &str, work: F) -> Result<T, StepError>
    where
        T: Serialize + DeserializeOwned + 'static,
        F: FnOnce() -> Fut,
        Fut: Future<Output = T>,
    {
        self.try_step(name, async || Ok(work().await)).await
    }

    /// The same for work that may fail: an `Err` is not recorded, and the step runs again in the next attempt.
    ///
    /// ```
    /// # use tower_idempotency::{Idempotency, StepError};
    /// # async fn reserve() -> Result<u32, std::io::Error> { Ok(7) }
    /// async fn order(key: Idempotency) -> Result<u32, StepError<std::io::Error>> {
    ///     key.try_step("reserve", reserve).await
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`StepError`]; that of the work as [`Failed`](StepError::Failed).
    pub async fn try_step<T, E, F, Fut>(&self, name: &str, work: F) -> Result<T, StepError<E>>
    where
        T: Serialize + DeserializeOwned + 'static,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let claim = self.claimed().ok_or(StepError::Unprotected)?;
        let key = self.record_key().step(name);
        if !claim.is_step_of(&key, TypeId::of::<T>()) {
            return Err(StepError::OtherType);
        }
        let core = Arc::new(claim.core().boxed());
        let ownership = match claim_step(claim, &core, key).await? {
            Step::Mine(ownership) => ownership,
            Step::Done(payload) => return value::read(&payload),
        };

        ownership.start();
        let ended = ownership.executing(unless_lost(&ownership, caught(work())));
        let value = match ended.await {
            Some(Ok(Ok(value))) => value,
            Some(Ok(Err(error))) => {
                ownership.give_up().await;
                return Err(StepError::Failed(error));
            }
            Some(Err(panic)) => {
                ownership.give_up().await;
                resume_unwind(panic);
            }
            None => {
                ownership.give_up().await;
                return Err(StepError::LeaseLost);
            }
        };

        let tombstone = value::too_large();
        let payload = value::write(&value, core.config.max_kept_response);
        let (payload, value) = match payload {
            Ok(Some((payload, value))) => (payload, Some(value)),
            Ok(None) => (tombstone.clone(), None),
            // What cannot be kept now cannot be kept later: the step is done, and its value is lost to others.
            Err(error) => {
                let none = Completed::new(tombstone.clone(), tombstone, core.config.retention);
                ownership.settle(Settlement::Complete(none)).await;
                return Err(StepError::Value(error));
            }
        };
        let completed = Completed::new(payload, tombstone, core.config.retention);
        match ownership.settle(Settlement::Complete(completed)).await {
            Ended::As(Settled::Applied) => value.ok_or(StepError::TooLarge),
            Ended::As(Settled::Tombstoned) => Err(StepError::TooLarge),
            Ended::As(Settled::FencedOut | Settled::Missing) => Err(StepError::LeaseLost),
            Ended::ByHandler(_) | Ended::Later => Err(StepError::NotRecorded),
        }
    }
}

/// Whose a step is.
enum Step {
    Mine(Box<Ownership<BoxStore>>),
    /// It has a value.
    Done(Bytes),
}

/// Claims a step, as soon as no other attempt is at it.
async fn claim_step<E>(
    claim: &Claimed,
    core: &Arc<Core<BoxStore>>,
    key: RecordKey,
) -> Result<Step, StepError<E>> {
    let mut fingerprint = claim.fingerprint;
    loop {
        if claim.lease.is_lost() {
            return Err(StepError::LeaseLost);
        }
        let config = &core.config;
        let id = ClaimId::unique();
        let request = ClaimRequest::new(key, id, fingerprint, config.lease(), config.retention);
        let sent_at = Instant::now();
        let running = core.bounds.take(|bounds| &bounds.executions, 1);
        let mut sent = Sent {
            core,
            progress: &claim.progress,
            request: &request,
            sent_at,
            is_answered: false,
        };
        let answer = core.claim(&request, sent_at).await;
        sent.is_answered = true;
        let record = match answer {
            Ok(Claim::Owned(owned)) => {
                let key = claim.key.clone();
                let (core, progress) = (Arc::clone(core), Arc::clone(&claim.progress));
                let ownership =
                    Ownership::new(core, progress, key, &request, owned, sent_at, running);
                if !ownership.is_short() {
                    return Ok(Step::Mine(Box::new(ownership)));
                }
                return match lengthened(ownership).await {
                    Ok(ownership) => Ok(Step::Mine(Box::new(ownership))),
                    Err(refusal) if refusal.code() == RefusalCode::InProgress => continue,
                    Err(_) => Err(StepError::Store("the step's lease was not renewed".into())),
                };
            }
            Ok(Claim::Existing(record)) => record,
            Ok(Claim::Full | Claim::OverQuota) => return Err(StepError::Full),
            Err(failure) => {
                core.refuse_unclaimed(&failure, &request, sent_at, &claim.progress);
                return Err(StepError::Store(failure.reason.to_string().into()));
            }
        };
        drop(running);

        match (is_of(claim, &record), record.state()) {
            (false, _) => return Err(StepError::OtherRequest),
            (true, State::Completed { payload }) => return Ok(Step::Done(payload.clone())),
            (true, State::InFlight { .. }) => {
                // What another release has begun is taken over in its terms.
                fingerprint = *record.fingerprint();
                wait(claim, core, &key, record.fence()).await;
            }
        }
    }
}

/// The claim of a step on its way. The store may apply it although the step was dropped: then it is given back.
struct Sent<'a> {
    core: &'a Arc<Core<BoxStore>>,
    progress: &'a Arc<Progress>,
    request: &'a ClaimRequest,
    sent_at: Instant,
    is_answered: bool,
}

impl Drop for Sent<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            let Self { core, progress, .. } = self;
            core.give_back(self.request, self.sent_at, progress);
        }
    }
}

/// Drives the work of a step, as long as the step is this attempt's: its successor must not run beside it. A process that
/// has stood still looks at its lease before it goes on.
async fn unless_lost<F: Future>(ownership: &Ownership<BoxStore>, work: F) -> Option<F::Output> {
    tokio::select! {
        biased;
        () = ownership.lost() => None,
        output = work => Some(output),
    }
}

/// Whether a step was recorded for the same request. A fingerprint of another version says nothing.
fn is_of(claim: &Claimed, record: &Record) -> bool {
    let (ours, theirs) = (&claim.fingerprint, record.fingerprint());
    ours.version() != theirs.version() || ours.matches(theirs)
}

/// Waits until the step may be free, or the lease of the operation is lost.
async fn wait(claim: &Claimed, core: &Core<BoxStore>, key: &RecordKey, fence: Fence) {
    // Stores may come back early: never at once.
    let soon = clock::later(Instant::now(), Duration::from_millis(20));
    let at_most = core.config.lease().max(Duration::from_secs(1));
    let settled = async {
        let _ = caught(core.store.settled(key, fence, at_most)).await;
        clock::sleep_until(soon).await;
    };
    tokio::select! {
        biased;
        () = claim.lease.lost() => {}
        () = settled => {}
    }
}

/// Why there is no value of a step. `E` is the error of its work, where there is one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepError<E = Infallible> {
    /// The work failed. The step runs again in the next attempt.
    #[error("the step failed")]
    Failed(E),
    /// The request runs without a record ([`OnStoreError::RunUnprotected`](crate::OnStoreError::RunUnprotected)). The work
    /// was not run.
    #[error(
        "the request runs without protection, because the store failed: a step could not be recorded"
    )]
    Unprotected,
    /// Another attempt may own the operation, or the step, by now: stop.
    #[error("another attempt may own this operation by now")]
    LeaseLost,
    /// The step was recorded by a request with the same key and other parameters, whose key was freed. The work was not
    /// run: the client needs another key.
    #[error("a request with the same key and other parameters has run this step: use another key")]
    OtherRequest,
    /// The recorded value is of another type, or the name was used for another type in this very attempt. The work was
    /// not run: give each step its own name, and another one when its type changes.
    #[error("this step has recorded a value of another type: give each step a name of its own")]
    OtherType,
    /// The work was run, by this attempt or by an earlier one, and its value is too large to be kept. It is not run
    /// again: keep large values elsewhere, and give the step the reference.
    #[error(
        "the value of this step is too large to be recorded: keep it elsewhere, and return where it is"
    )]
    TooLarge,
    /// The work was run, and its value cannot be written as JSON, or not be read from what was written. It is not run
    /// again.
    #[error("the value of this step cannot be kept as JSON")]
    Value(#[source] BoxError),
    /// The store has no room for another record, or this scope has too many. The work was not run.
    #[error("the store has no room for the record of this step")]
    Full,
    /// The store failed. The work was not run.
    #[error("the store failed before the step was begun")]
    Store(#[source] BoxError),
    /// The work was run, and the store did not confirm its value in time; recording it goes on. Stop here: a later attempt
    /// finds the value, or runs the step again.
    #[error("the store did not confirm the value of this step in time")]
    NotRecorded,
}

#[cfg(feature = "axum")]
impl<E: axum::response::IntoResponse> axum::response::IntoResponse for StepError<E> {
    /// That of the work's error; 409 for a lease that is lost, 422 for another request's step, 503 where the store failed,
    /// 500 for what is wrong in the service.
    fn into_response(self) -> axum::response::Response {
        use http::StatusCode;

        let text = self.to_string();
        let status = match self {
            Self::Failed(error) => return error.into_response(),
            Self::LeaseLost => StatusCode::CONFLICT,
            Self::OtherRequest => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Full | Self::Store(_) | Self::NotRecorded => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unprotected | Self::OtherType | Self::TooLarge | Self::Value(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        (status, text).into_response()
    }
}
