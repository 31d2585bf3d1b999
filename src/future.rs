//! The response future: inline where the layer does not apply, one box where it does.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::runtime::Handle;

use crate::body::ResponseBody;
use crate::claiming::AnyCore;

pin_project! {
    /// The future of [`IdempotencyService`](crate::IdempotencyService).
    ///
    /// Dropping it before its claim was sent ends the request; afterwards the work goes on detached, on the
    /// runtime that polled it, until its outcome is recorded.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, R, E>
    where
        R: Body,
        R: 'static,
        E: 'static,
    {
        #[pin]
        inner: Inner<F, R, E>,
    }
}

pin_project! {
    #[project = InnerProj]
    enum Inner<F, R, E>
    where
        R: Body,
        R: 'static,
        E: 'static,
    {
        Passed { #[pin] future: F },
        Guarded { guarded: Guarded<R, E> },
    }
}

/// A guarded request, ready to be polled or to be moved to the runtime.
pub(crate) type Work<R, E> =
    Pin<Box<dyn Future<Output = Result<Response<ResponseBody<R>>, E>> + Send>>;

struct Guarded<R: Body + 'static, E: 'static> {
    work: Option<Work<R, E>>,
    progress: Arc<Progress>,
}

impl<F, R: Body + 'static, E: 'static> ResponseFuture<F, R, E> {
    pub(crate) fn passed(future: F) -> Self {
        Self {
            inner: Inner::Passed { future },
        }
    }

    pub(crate) fn guarded(work: Work<R, E>, progress: Arc<Progress>) -> Self {
        Self {
            inner: Inner::Guarded {
                guarded: Guarded {
                    work: Some(work),
                    progress,
                },
            },
        }
    }
}

impl<F, R, E> Future for ResponseFuture<F, R, E>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Body + 'static,
    E: 'static,
{
    type Output = Result<Response<ResponseBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().inner.project() {
            InnerProj::Passed { future } => {
                let response = ready!(future.poll(cx))?;
                Poll::Ready(Ok(response.map(ResponseBody::original)))
            }
            InnerProj::Guarded { guarded } => guarded.poll(cx),
        }
    }
}

impl<R: Body + 'static, E: 'static> Guarded<R, E> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<ResponseBody<R>>, E>> {
        // Taken out, so that work whose poll panics is never polled again by a task of `drop`.
        let mut work = self
            .work
            .take()
            .expect("ResponseFuture polled after completion");
        let poll = work.as_mut().poll(cx);
        if poll.is_pending() {
            self.progress.stay();
            self.work = Some(work);
        }
        poll
    }
}

impl<R: Body + 'static, E: 'static> Drop for Guarded<R, E> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            self.progress.detach(work);
        }
    }
}

impl<F, R: Body + 'static, E: 'static> fmt::Debug for ResponseFuture<F, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseFuture(..)")
    }
}

/// How far a guarded request has come, as far as its end of the connection is concerned.
pub(crate) struct Progress<C: ?Sized = dyn AnyCore> {
    held: AtomicBool,
    client_gone: AtomicBool,
    runtime: OnceLock<Handle>,
    /// The layer that guards it. Once for all that is at this request: every thread counts the references to a layer.
    pub(crate) core: C,
}

impl<C: AnyCore> Progress<C> {
    pub(crate) fn new(core: C) -> Self {
        let (held, client_gone) = (AtomicBool::new(false), AtomicBool::new(false));
        Self {
            held,
            client_gone,
            runtime: OnceLock::new(),
            core,
        }
    }
}

impl<C: AnyCore + ?Sized> Progress<C> {
    /// From here on the work outlives its connection.
    pub(crate) fn hold(&self) {
        self.held.store(true, Ordering::Release);
    }

    /// The work is not done at once: remembers where it is polled.
    fn stay(&self) {
        if self.runtime.get().is_none()
            && let Ok(runtime) = Handle::try_current()
        {
            let _ = self.runtime.set(runtime);
        }
    }

    /// From here on the work ends with its connection.
    pub(crate) fn let_go(&self) {
        self.held.store(false, Ordering::Release);
    }

    /// Whether nobody waits for the answer any more.
    pub(crate) fn is_client_gone(&self) -> bool {
        self.client_gone.load(Ordering::Acquire)
    }

    /// Runs something beside the request, where there is a runtime.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = self.runtime.get() {
            runtime.spawn(future);
        } else if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(future);
        }
    }

    /// Hands the work to the runtime if it is held. The naked box: something that would spawn again when a
    /// runtime drops it would do so for ever.
    fn detach<T: 'static>(&self, work: Pin<Box<dyn Future<Output = T> + Send>>) {
        if !self.held.load(Ordering::Acquire) {
            return;
        }
        self.client_gone.store(true, Ordering::Release);
        let detached = self.core.bounds().take(|bounds| &bounds.detached, 1);
        self.spawn(async move {
            let _detached = detached;
            work.await;
        });
    }
}
