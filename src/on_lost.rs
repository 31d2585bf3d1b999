//! What becomes of a key whose owner was lost.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};

use crate::key::{ChildKey, IdempotencyKey, RecordKey};
use crate::policy::positive;
use crate::store::error::BoxError;

/// What happens to a key whose owner was lost: it panicked, its service failed, its response broke off, or
/// its lease lapsed.
///
/// Where the owner had passed its [point of no return](crate::Idempotency::point_of_no_return), `Rerun` acts as
/// `Refuse`.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum OnLost {
    /// The next equal request runs the handler, which sees `attempt` 2. The default.
    #[default]
    Rerun,
    /// Nobody runs it again: 409 `idempotency_outcome_unknown` until an operator forgets the key or it expires.
    ///
    /// A claim that the store applied, but whose answer was lost in an outage longer than its lease, counts as lost too.
    Refuse,
    /// The application finds out whether it happened, and the next equal request is answered by that; see
    /// [`OnLost::reconcile`].
    Reconcile(Reconcile),
}

impl OnLost {
    /// Asks `hook` whether the lost attempt did what it was to do, a payment provider for instance, by the derived key
    /// that the handler gave it.
    ///
    /// The next equal request takes the record over, committed or not, and asks, its lease renewed meanwhile: of
    /// many retries at once one asks, and the others meet an execution in progress.
    ///
    /// * [`Reconciled::Done`]: the response is recorded, whatever [`Keep`](crate::Keep) says, and replayed, now and later.
    /// * [`Reconciled::NotDone`]: the handler runs, as the attempt that asked. Should its outcome not be kept, the record
    ///   is abandoned instead of freed: the next request asks again.
    /// * An error, a panic, or no answer in time ([`Reconcile::at_most`], 10 seconds): 503
    ///   `idempotency_reconcile_failed`. The record is as lost as it was, only the attempt has counted; the next request
    ///   asks again, each that has waited among them.
    ///
    /// The lost attempt may still be at work, a process that was stopped and comes back: what it records is
    /// fenced out, but a call on its way to a provider is not. Let the answer "not done" mean that it will not
    /// be done either, by the same derived key in every attempt. In [`Mode::Shadow`](crate::Mode::Shadow) nobody is asked, as
    /// with `Refuse`.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use tower_idempotency::{BoxError, IdempotencyLayer, Lost, OnLost, Reconciled};
    ///
    /// # async fn find_charge(_: &str) -> Result<Option<String>, BoxError> { Ok(None) }
    /// let on_lost = OnLost::reconcile(async |lost: Lost| {
    ///     let charge = find_charge(lost.child("charge").as_str()).await?;
    ///     Ok::<_, BoxError>(match charge {
    ///         Some(receipt) => Reconciled::Done(http::Response::new(Bytes::from(receipt))),
    ///         None => Reconciled::NotDone,
    ///     })
    /// });
    /// let layer = IdempotencyLayer::default().on_lost(on_lost);
    /// # let _ = layer;
    /// ```
    pub fn reconcile<F, Fut>(hook: F) -> Self
    where
        F: Fn(Lost) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Reconciled, BoxError>> + Send + 'static,
    {
        Self::Reconcile(Reconcile::new(hook))
    }
}

/// The hook of [`OnLost::reconcile`], and how long it may take.
#[derive(Clone)]
#[must_use = "a hook is asked only where it is given to a layer, in `OnLost::Reconcile`"]
pub struct Reconcile {
    hook: Arc<dyn Fn(Lost) -> Answer + Send + Sync>,
    pub(crate) at_most: Duration,
}

type Answer = Pin<Box<dyn Future<Output = Result<Reconciled, BoxError>> + Send>>;

impl Reconcile {
    /// See [`OnLost::reconcile`].
    pub fn new<F, Fut>(hook: F) -> Self
    where
        F: Fn(Lost) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Reconciled, BoxError>> + Send + 'static,
    {
        Self {
            hook: Arc::new(move |lost| Box::pin(hook(lost))),
            at_most: Duration::from_secs(10),
        }
    }

    /// How long the hook may take. Default: 10 seconds.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tower_idempotency::{OnLost, Reconcile, Reconciled};
    /// let hook = Reconcile::new(async |_| Ok(Reconciled::NotDone)).at_most(Duration::from_secs(3));
    /// let on_lost = OnLost::Reconcile(hook);
    /// # let _ = on_lost;
    /// ```
    ///
    /// # Panics
    ///
    /// For zero.
    #[track_caller]
    pub fn at_most(mut self, limit: Duration) -> Self {
        self.at_most = positive("at_most", limit);
        self
    }

    pub(crate) async fn ask(&self, lost: Lost) -> Result<Reconciled, BoxError> {
        (self.hook)(lost).await
    }
}

impl fmt::Debug for Reconcile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconcile")
            .field("at_most", &self.at_most)
            .finish_non_exhaustive()
    }
}

/// What a [reconcile hook](OnLost::reconcile) is told of an operation whose attempt was lost.
pub struct Lost {
    pub(crate) key: IdempotencyKey,
    pub(crate) record: RecordKey,
    pub(crate) attempt: u32,
    pub(crate) request: Request<Bytes>,
}

impl Lost {
    /// The key, as [`Idempotency::key`](crate::Idempotency::key).
    #[must_use]
    pub fn key(&self) -> &IdempotencyKey {
        &self.key
    }

    /// The derived key that every attempt of this operation has under this name, as
    /// [`Idempotency::child`](crate::Idempotency::child).
    #[must_use]
    pub fn child(&self, name: &str) -> ChildKey {
        self.record.child(name)
    }

    /// The attempt that asks, and that the handler will see if it runs: 2 or more.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The request that asks, which has the fingerprint of the lost one, with its whole body and the extensions of
    /// outer layers. Its trailers are not there.
    #[must_use]
    pub fn request(&self) -> &Request<Bytes> {
        &self.request
    }
}

impl fmt::Debug for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lost")
            .field("record", &self.record)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

/// What a [reconcile hook](OnLost::reconcile) has found out.
#[derive(Debug)]
#[expect(
    clippy::exhaustive_enums,
    reason = "it happened, or it did not; all else is an error"
)]
pub enum Reconciled {
    /// It happened, and this is its response. A `Content-Length` is left out of it: the server tells that of the body; an
    /// informational status (1xx) is an error of the hook.
    ///
    /// Of gRPC, by the content type: a message, its five bytes of framing included, is followed by `grpc-status: 0`; an
    /// error has no body, as `tonic::Status::into_http` makes it.
    Done(Response<Bytes>),
    /// It did not happen, and will not.
    NotDone,
}
