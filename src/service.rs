//! The service that [`IdempotencyLayer`](crate::IdempotencyLayer) makes.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower::Service;

use crate::body::{RequestBody, ResponseBody};
use crate::claiming::Core;
use crate::context::Idempotency;
use crate::drive::boxed;
use crate::endpoint::{Endpoints, original_uri};
use crate::error::InvalidEndpoint;
use crate::event::{Event, Outcome, Warning};
use crate::exchange::exchange;
use crate::future::{Progress, ResponseFuture};
use crate::store::traits::Store;

/// What a layer covers, each endpoint with its own configuration.
pub(crate) struct Coverage<St> {
    /// For everything, where no endpoints are listed.
    pub(crate) core: Arc<Core<St>>,
    endpoints: Option<Endpoints<Arc<Core<St>>>>,
    may_require_key: bool,
    told_of_clamps: AtomicBool,
}

impl<St> Coverage<St> {
    pub(crate) fn new(core: Core<St>) -> Result<Self, InvalidEndpoint> {
        let listed = core.config.endpoints.as_deref();
        let rules = listed
            .unwrap_or_default()
            .iter()
            .map(|listed| &listed.rules);
        let may_require_key =
            core.config.require_key || rules.clone().any(|rules| rules.require_key == Some(true));
        let endpoints = listed
            .map(|listed| Endpoints::new(listed, |endpoint| Arc::new(core.at(endpoint))))
            .transpose()?;
        Ok(Self {
            core: Arc::new(core),
            endpoints,
            may_require_key,
            told_of_clamps: AtomicBool::new(false),
        })
    }

    /// Who guards this request, if anybody does.
    fn guard<B>(&self, request: &Request<B>) -> Option<&Arc<Core<St>>> {
        let config = &self.core.config;
        let may_be_named = config.key_from.may_be_named(request.headers());
        if !(may_be_named || self.may_require_key || config.observer.is_some())
            || !config.is_enabled()
        {
            return None;
        }
        let core = match &self.endpoints {
            Some(endpoints) => {
                let uri = original_uri(request.uri(), request.extensions());
                endpoints.find(request.method(), uri.path())?
            }
            None if config.methods.contains(request.method()) => &self.core,
            None => return None,
        };
        let claimed_further_out = request
            .extensions()
            .get()
            .is_some_and(Idempotency::is_enforced);
        if claimed_further_out {
            return None;
        }
        if may_be_named || core.config.require_key {
            return Some(core);
        }
        core.config.report(|| Event::of(Outcome::Bypassed, None));
        None
    }

    /// Tells, once, of leases that are longer than their records live.
    pub(crate) fn tell_of_clamps(&self) {
        if self.told_of_clamps.swap(true, Ordering::Relaxed) {
            return;
        }
        let config = &self.core.config;
        let used = match config.endpoints.as_deref() {
            Some(listed) => listed.iter().map(|listed| config.at(listed)).collect(),
            None => vec![config.clone()],
        };
        for config in used {
            let (lease, retention) = (config.lease, config.retention);
            if lease > retention {
                config.warn(Warning::LeaseClamped { lease, retention }, None);
            }
        }
    }
}

/// A service whose covered requests run at most once per key.
///
/// Its response body is [`ResponseBody`], its error that of the wrapped service. See the
/// [crate documentation](crate).
pub struct IdempotencyService<S, St> {
    inner: S,
    coverage: Arc<Coverage<St>>,
}

impl<S, St> IdempotencyService<S, St> {
    pub(crate) fn new(inner: S, coverage: Arc<Coverage<St>>) -> Self {
        Self { inner, coverage }
    }

    /// The wrapped service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The wrapped service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Unwraps the service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, St, B, R> Service<Request<B>> for IdempotencyService<S, St>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    St: Store,
    B: Body<Data = Bytes> + Send + 'static,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Send,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, R, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Some(core) = self.coverage.guard(&request) else {
            return ResponseFuture::passed(self.inner.call(request.map(RequestBody::original)));
        };
        // The instance that is ready goes with the request, a clone takes its place: readiness, a permit
        // perhaps, belongs to the instance that was polled.
        let clone = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, clone);
        let progress = Arc::new(Progress::new(Arc::clone(core)));
        let work = boxed(|| exchange(Arc::clone(&progress), ready, request));
        ResponseFuture::guarded(work, progress)
    }
}

impl<S: Clone, St> Clone for IdempotencyService<S, St> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            coverage: Arc::clone(&self.coverage),
        }
    }
}

impl<S: fmt::Debug, St> fmt::Debug for IdempotencyService<S, St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdempotencyService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
