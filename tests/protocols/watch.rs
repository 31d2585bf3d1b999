//! Which requests a server gives up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tower::{Layer, Service};

/// Around a service: counts the requests that the server drops before they are answered.
#[derive(Clone, Default)]
pub(crate) struct Watch(Arc<AtomicU32>);

impl Watch {
    pub(crate) fn given_up(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

impl<S> Layer<S> for Watch {
    type Service = Watched<S>;

    fn layer(&self, inner: S) -> Watched<S> {
        let watch = self.clone();
        Watched { inner, watch }
    }
}

#[derive(Clone)]
pub(crate) struct Watched<S> {
    inner: S,
    watch: Watch,
}

impl<Q, S> Service<Q> for Watched<S>
where
    S: Service<Q, Future: Send + 'static>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Q) -> Self::Future {
        let future = self.inner.call(request);
        let mut unanswered = Unanswered(Some(self.watch.clone()));
        Box::pin(async move {
            let answer = future.await;
            unanswered.answered();
            answer
        })
    }
}

struct Unanswered(Option<Watch>);

impl Unanswered {
    fn answered(&mut self) {
        self.0 = None;
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(watch) = &self.0 {
            watch.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}
