//! One run of the service: until it is ready, through its call, to a response that is held or flows.

use std::future::{Future, poll_fn, ready};
use std::task::Poll;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::Either;
use http::{Method, Request, Response, StatusCode, response};
use http_body::Body;
use tower::Service;

use crate::body::{Buffered, RequestBody, ResponseBody};
use crate::capture::{Captured, capture, content_length, flows};
use crate::config::Config;
use crate::drive::{Panic, caught};
use crate::future::Progress;
use crate::guard::Ownership;
use crate::policy::Keep;
use crate::store::traits::Store;

/// The service, which is ready until the request has to wait.
pub(crate) enum Readiness<S> {
    Ready(S),
    Unready(S),
}

impl<S: Clone> Readiness<S> {
    /// Leaves an unready clone: a permit that the service holds must not wait with the request.
    pub(crate) fn give_up(&mut self) {
        if let Self::Ready(service) = self {
            *self = Self::Unready(service.clone());
        }
    }

    /// The service, ready; `None` when the client has gone meanwhile.
    pub(crate) async fn ready<Q>(self, progress: &Progress) -> Option<Result<S, S::Error>>
    where
        S: Service<Q>,
    {
        let mut service = match self {
            _ if progress.is_client_gone() => return None,
            Self::Ready(service) => return Some(Ok(service)),
            Self::Unready(service) => service,
        };
        let ready = poll_fn(|cx| {
            if progress.is_client_gone() {
                return Poll::Ready(None);
            }
            service.poll_ready(cx).map(Some)
        });
        Some(ready.await?.map(|()| service))
    }

    /// Calls the service, whatever it makes of the request.
    pub(crate) async fn call<B, R>(
        self,
        request: Request<RequestBody<B>>,
    ) -> Result<Response<ResponseBody<R>>, S::Error>
    where
        S: Service<Request<RequestBody<B>>, Response = Response<R>>,
        R: Body,
    {
        let mut service = match self {
            Self::Ready(service) => service,
            Self::Unready(mut service) => {
                poll_fn(|cx| service.poll_ready(cx)).await?;
                service
            }
        };
        let response = service.call(request).await?;
        Ok(response.map(ResponseBody::original))
    }
}

/// How a run of the service ended.
pub(crate) enum Run<R: Body, E> {
    Responded(response::Parts, Captured<R>),
    /// By the handler, or by a service that did not get ready for it.
    Failed(E),
    Panicked(Panic),
    /// The handler did not start: nobody is there to be answered, or the lease was lost before the service was ready.
    NotStarted,
}

/// Futures one behind the other, and not an async function: the request is in the first, its answer in the second, and
/// neither is held twice.
pub(crate) fn run<S, St, B, R>(
    config: &Config,
    progress: &Progress,
    ownership: &Ownership<St>,
    service: Readiness<S>,
    request: Request<RequestBody<B>>,
) -> impl Future<Output = Run<R, S::Error>>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>> + Clone,
    St: Store,
    R: Body<Data = Bytes>,
{
    let is_head = request.method() == Method::HEAD;
    // Who neither waited nor asked what became of the last attempt has looked at the lease just now.
    let may_be_late = matches!(service, Readiness::Unready(_)) || ownership.attempt() > 1;
    let handler = caught(async move {
        match service.ready(progress).await {
            Some(Ok(_)) if may_be_late && ownership.is_lost() => Err(Run::NotStarted),
            Some(Ok(mut service)) => {
                ownership.start();
                service.call(request).await.map_err(Run::Failed)
            }
            Some(Err(error)) => Err(Run::Failed(error)),
            None => Err(Run::NotStarted),
        }
    });
    handler.then(move |handled| {
        let (head, body) = match handled {
            Ok(Ok(response)) => response.into_parts(),
            Ok(Err(run)) => return Either::Left(ready(run)),
            Err(panic) => return Either::Left(ready(Run::Panicked(panic))),
        };
        let keep = head.extensions.get().unwrap_or(&config.keep);
        if matches!(keep, Keep::Stream) || flows(head.status, &head.headers) {
            let rest = Captured::Flowing(Buffered::default(), Box::pin(body));
            return Either::Left(ready(Run::Responded(head, rest)));
        }
        // RFC 9110, section 8.6: an answer to HEAD and a 304 tell the length of a body that they do not have.
        let told = match head.status {
            StatusCode::NOT_MODIFIED => None,
            _ if is_head => None,
            _ => content_length(&head.headers),
        };
        let capture = capture(body, told, config.max_kept_response, config.hold_for);
        Either::Right(caught(capture).map(|captured| match captured {
            Ok(captured) => Run::Responded(head, captured),
            Err(panic) => Run::Panicked(panic),
        }))
    })
}
