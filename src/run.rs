//! One run of the service: until it is ready, through its call, to a response that is held or flows.

use std::future::{Future, poll_fn};
use std::task::Poll;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, response};
use http_body::Body;
use tower::Service;

use crate::body::{Buffered, RequestBody, ResponseBody};
use crate::capture::{Captured, capture, content_length, flows};
use crate::config::Config;
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
    /// The handler did not start: nobody is there to be answered, or the lease was lost before the service was ready.
    NotStarted,
}

/// Not an async function, which would hold the request twice.
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
    async move {
        let (head, body) = {
            let handled = match service.ready(progress).await {
                Some(Ok(_)) if may_be_late && ownership.is_lost() => return Run::NotStarted,
                Some(Ok(mut service)) => {
                    ownership.start();
                    service.call(request).await
                }
                Some(Err(error)) => Err(error),
                None => return Run::NotStarted,
            };
            match handled {
                Ok(response) => response.into_parts(),
                Err(error) => return Run::Failed(error),
            }
        };
        let keep = head.extensions.get().unwrap_or(&config.keep);
        if matches!(keep, Keep::Stream) || flows(head.status, &head.headers) {
            let rest = Captured::Flowing(Buffered::default(), Box::pin(body));
            return Run::Responded(head, rest);
        }
        // RFC 9110, section 8.6: an answer to HEAD and a 304 tell the length of a body that they do not have.
        let told = match head.status {
            StatusCode::NOT_MODIFIED => None,
            _ if is_head => None,
            _ => content_length(&head.headers),
        };
        let captured = capture(body, told, config.max_kept_response, config.hold_for).await;
        Run::Responded(head, captured)
    }
}
