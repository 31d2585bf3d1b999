//! Which requests a server gives up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tower::{Layer, Service};

/// Around a service: counts the requests that the server begins, that are answered, and that it drops before they are.
#[derive(Clone, Default)]
pub(crate) struct Watch(Arc<Counts>);

#[derive(Default)]
struct Counts {
    begun: AtomicU32,
    answered: AtomicU32,
    given_up: AtomicU32,
}

impl Watch {
    pub(crate) fn begun(&self) -> u32 {
        self.0.begun.load(Ordering::SeqCst)
    }

    pub(crate) fn answered(&self) -> u32 {
        self.0.answered.load(Ordering::SeqCst)
    }

    pub(crate) fn given_up(&self) -> u32 {
        self.0.given_up.load(Ordering::SeqCst)
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
        self.watch.0.begun.fetch_add(1, Ordering::SeqCst);
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
        if let Some(watch) = self.0.take() {
            watch.0.answered.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(watch) = &self.0 {
            watch.0.given_up.fetch_add(1, Ordering::SeqCst);
        }
    }
}
