//! What a handler sees of the layer.

use std::any::TypeId;
use std::fmt;
use std::sync::{Arc, Mutex};

use tokio::time::Instant;

use crate::bounds::Bounds;
use crate::claiming::AnyCore;
use crate::drive::{caught, within};
use crate::error::LeaseLost;
use crate::fingerprint::Fingerprint;
use crate::future::Progress;
use crate::key::{ChildKey, Fence, IdempotencyKey, RecordKey};
use crate::lease::Lease;
use crate::lock::Lock;
use crate::policy::Mode;
use crate::store::claim::{Owner, Settled};
use crate::store::traits::Store;

/// The handler's view of its request's key: an extension of every guarded request, and with feature `axum` an
/// extractor (`Idempotency`, or `Option<Idempotency>` where requests without a key are welcome).
///
/// ```
/// # #[cfg(feature = "axum")] {
/// use axum::{Router, routing::post};
/// use tower_idempotency::{Idempotency, IdempotencyLayer, LeaseLost};
///
/// async fn charge(key: Idempotency) -> Result<String, axum::http::StatusCode> {
///     // Durable before it returns: from here on a crash is answered `idempotency_outcome_unknown`.
///     key.point_of_no_return().await.map_err(|_: LeaseLost| axum::http::StatusCode::CONFLICT)?;
///     // The provider recognises a second attempt by the same derived key.
///     Ok(format!("charged with {}", key.child("charge").as_str()))
/// }
///
/// let app: Router = Router::new().route("/charges", post(charge)).layer(IdempotencyLayer::default());
/// # let _ = app;
/// # }
/// ```
#[derive(Clone)]
pub struct Idempotency(Context);

#[derive(Clone)]
enum Context {
    Protected(Arc<Claimed>),
    Unprotected(Arc<(IdempotencyKey, RecordKey)>),
}

/// What there is only under protection, for the owner of a record and its handler.
pub(crate) struct Claimed {
    pub(crate) key: IdempotencyKey,
    pub(crate) progress: Arc<Progress>,
    pub(crate) owner: Owner,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) attempt: u32,
    pub(crate) lease: Lease,
    /// The steps of this attempt, and the types of their values.
    pub(crate) steps: Mutex<Vec<(RecordKey, TypeId)>>,
}

impl Claimed {
    /// The layer that has claimed.
    pub(crate) fn core(&self) -> &dyn AnyCore {
        &self.progress.core
    }

    /// Whether the values of this step are of that type, as far as this attempt has seen.
    pub(crate) fn is_step_of(&self, step: &RecordKey, type_id: TypeId) -> bool {
        self.steps.with(|steps| {
            let known = steps.iter().find(|(known, _)| known == step);
            let is_known = known.is_some();
            let is_same = known.is_none_or(|(_, known)| *known == type_id);
            if !is_known {
                steps.push((*step, type_id));
            }
            is_same
        })
    }
}

impl Idempotency {
    pub(crate) fn protected(claim: Arc<Claimed>) -> Self {
        Self(Context::Protected(claim))
    }

    pub(crate) fn unprotected(key: &str, record: RecordKey) -> Self {
        let key = IdempotencyKey::new(key);
        Self(Context::Unprotected(Arc::new((key, record))))
    }

    /// The key as the [policy](crate::KeyPolicy) accepts it: unquoted, a UUID in lower case, several values joined (see
    /// [`KeyFrom::json`](crate::KeyFrom::json)).
    #[must_use]
    pub fn key(&self) -> &IdempotencyKey {
        match &self.0 {
            Context::Protected(claim) => &claim.key,
            Context::Unprotected(request) => &request.0,
        }
    }

    /// 1 the first time; one more each time an earlier attempt was lost, so that the handler may look what
    /// that one has done.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.claimed().map_or(1, |claim| claim.attempt)
    }

    /// The number of this claim; 0 for a request that runs unprotected.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.claimed()
            .map_or(Fence::new(0), |claim| claim.owner.fence())
    }

    /// `false` where the store failed at the claim and
    /// [`OnStoreError::RunUnprotected`](crate::OnStoreError::RunUnprotected) let the request run all the same.
    #[must_use]
    pub fn is_protected(&self) -> bool {
        self.claimed().is_some()
    }

    /// What there is only under protection.
    pub(crate) fn claimed(&self) -> Option<&Arc<Claimed>> {
        match &self.0 {
            Context::Protected(claim) => Some(claim),
            Context::Unprotected(_) => None,
        }
    }

    pub(crate) fn record_key(&self) -> &RecordKey {
        match &self.0 {
            Context::Protected(claim) => claim.owner.key(),
            Context::Unprotected(request) => &request.1,
        }
    }

    /// Whether a layer that acts has claimed the request.
    pub(crate) fn is_enforced(&self) -> bool {
        self.claimed()
            .is_some_and(|claim| claim.core().config().mode == Mode::Enforce)
    }

    /// Whether this is a claim of that record, by the layer with these bounds or a clone of it.
    pub(crate) fn is_claim_of(&self, record: &RecordKey, bounds: &Arc<Bounds>) -> bool {
        let is_by_it = |claim: &Arc<Claimed>| Arc::ptr_eq(claim.core().bounds(), bounds);
        self.claimed().is_some_and(is_by_it) && self.record_key() == record
    }

    /// Returns when another attempt may own this operation: stop, if that is still possible. Never returns
    /// without protection.
    pub async fn lease_lost(&self) {
        match self.claimed() {
            Some(claim) => claim.lease.lost().await,
            None => std::future::pending().await,
        }
    }

    /// Whether another attempt may own this operation by now.
    #[must_use]
    pub fn is_lease_lost(&self) -> bool {
        self.claimed().is_some_and(|claim| claim.lease.is_lost())
    }

    /// Marks the record: from here on the operation is never run again, whatever happens to this attempt. The
    /// mark is in the store before this returns.
    ///
    /// An attempt that ends behind its mark without a kept outcome (a crash, a panic, an error response) leaves a
    /// record that answers 409 `idempotency_outcome_unknown`.
    ///
    /// # Errors
    ///
    /// Where the mark is not known to be in the store: do not go on. The record counts as marked all the same, unless
    /// its key is being freed because the response is not kept: whatever a handler leaves behind comes too late then.
    /// Also for a request that runs unprotected, which has no record.
    pub async fn point_of_no_return(&self) -> Result<(), LeaseLost> {
        let claim = self.claimed().ok_or(LeaseLost::UNPROTECTED)?;
        let (core, Claimed { owner, lease, .. }) = (claim.core(), &**claim);
        // What a handler has left behind may come when its key is being freed.
        if lease.is_lost() || !lease.commit() {
            return Err(LeaseLost::FENCED_OUT);
        }
        let sent_at = Instant::now();
        // A store that panics has failed, and must not take the handler with it.
        let store = core.store();
        let renewal = || caught(Store::renew(&store, owner, lease.length(), true));
        let mark = async {
            match renewal().await {
                Ok(Ok(settled)) => Ok(Ok(settled)),
                // Once more with the same ids: renewing twice is renewing.
                Ok(Err(_)) | Err(_) => renewal().await,
            }
        };
        match within(core.config().store_timeout, mark).await {
            Some(Ok(Ok(Settled::Applied | Settled::Tombstoned))) => {
                lease.renewed(sent_at, true);
                Ok(())
            }
            Some(Ok(Ok(Settled::FencedOut | Settled::Missing))) => {
                lease.lose();
                Err(LeaseLost::FENCED_OUT)
            }
            Some(Ok(Err(_)) | Err(_)) | None => Err(LeaseLost::NOT_WRITTEN),
        }
    }

    /// A key for a call to another service, derived from this record and `name`: the same in every attempt, another
    /// for every record and name. A UUID (version 8) in form.
    ///
    /// Once the record has expired and the client uses its key again, the derived key is the same again too.
    #[must_use]
    pub fn child(&self, name: &str) -> ChildKey {
        self.record_key().child(name)
    }
}

impl fmt::Debug for Idempotency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idempotency")
            .field("record", self.record_key())
            .field("attempt", &self.attempt())
            .field("fence", &self.fence())
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "axum")]
mod extract {
    use std::convert::Infallible;

    use axum::extract::{FromRequestParts, OptionalFromRequestParts};
    use axum::http::StatusCode;
    use axum::http::request::Parts;
    use axum::response::{IntoResponse, IntoResponseParts, Response, ResponseParts};

    use super::Idempotency;
    use crate::policy::{Keep, Retention};

    /// The rejection of the [`Idempotency`] extractor: 500, because it is the service that forgot something.
    #[derive(Clone, Copy, Debug, thiserror::Error)]
    #[error(
        "no idempotency context: put an IdempotencyLayer around this route, with a method and endpoint that \
         it covers, and either `.require_key(true)` or an `Option<Idempotency>` in the handler"
    )]
    #[non_exhaustive]
    pub struct IdempotencyRejection;

    impl IntoResponse for IdempotencyRejection {
        fn into_response(self) -> Response {
            (StatusCode::INTERNAL_SERVER_ERROR, self.to_string()).into_response()
        }
    }

    impl<S: Send + Sync> FromRequestParts<S> for Idempotency {
        type Rejection = IdempotencyRejection;

        async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
            parts.extensions.get().cloned().ok_or(IdempotencyRejection)
        }
    }

    impl<S: Send + Sync> OptionalFromRequestParts<S> for Idempotency {
        type Rejection = Infallible;

        async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
            Ok(parts.extensions.get().cloned())
        }
    }

    impl IntoResponseParts for Keep {
        type Error = Infallible;

        fn into_response_parts(
            self,
            mut response: ResponseParts,
        ) -> Result<ResponseParts, Infallible> {
            response.extensions_mut().insert(self);
            Ok(response)
        }
    }

    impl IntoResponseParts for Retention {
        type Error = Infallible;

        fn into_response_parts(
            self,
            mut response: ResponseParts,
        ) -> Result<ResponseParts, Infallible> {
            response.extensions_mut().insert(self);
            Ok(response)
        }
    }
}

#[cfg(feature = "axum")]
pub use extract::IdempotencyRejection;
