//! The service that [`IdempotencyLayer`](crate::IdempotencyLayer) makes.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower::Service;

use crate::body::{RequestBody, ResponseBody};
use crate::config::KEY_HEADER;
use crate::context::Idempotency;
use crate::exchange::exchange;
use crate::future::{Progress, ResponseFuture};
use crate::guard::Core;
use crate::store::traits::Store;

/// A service whose covered requests run at most once per key.
///
/// Its response body is [`ResponseBody`], its error that of the wrapped service. See the
/// [crate documentation](crate).
pub struct IdempotencyService<S, St> {
    inner: S,
    core: Arc<Core<St>>,
}

impl<S, St> IdempotencyService<S, St> {
    pub(crate) fn new(inner: S, core: Arc<Core<St>>) -> Self {
        Self { inner, core }
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

    /// Whether the request is covered, names a key or has to, and was not claimed by a layer further out.
    fn guards<B>(&self, request: &Request<B>) -> bool {
        let config = &self.core.config;
        let has_key = config.require_key || request.headers().contains_key(&KEY_HEADER);
        has_key
            && config.covers(request.method(), request.uri(), request.extensions())
            && !request
                .extensions()
                .get()
                .is_some_and(Idempotency::is_protected)
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
        if !self.guards(&request) {
            return ResponseFuture::passed(self.inner.call(request.map(RequestBody::original)));
        }
        // The instance that is ready goes with the request, a clone takes its place: readiness, a permit
        // perhaps, belongs to the instance that was polled.
        let clone = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, clone);
        let progress = Arc::new(Progress::new(Arc::clone(&self.core.bounds)));
        let work = exchange(
            Arc::clone(&self.core),
            Arc::clone(&progress),
            ready,
            request,
        );
        ResponseFuture::guarded(Box::pin(work), progress)
    }
}

impl<S: Clone, St> Clone for IdempotencyService<S, St> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            core: Arc::clone(&self.core),
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
