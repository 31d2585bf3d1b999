//! The requests, the handler and the cases that the benchmarks have in common: a 256 B JSON request, a 512 B JSON
//! response, a 36 byte key, unless a case says otherwise.
//!
//! Everything is ready at its first poll, so that no executor is measured.

#![allow(
    dead_code,
    reason = "every benchmark includes this file and uses a part of it"
)]

use std::convert::Infallible;
use std::future::{Future, pending};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tokio::runtime::{Builder, Runtime};
use tower::layer::util::Identity;
use tower::util::service_fn;
use tower::{Layer, Service};
use tower_idempotency::{IdempotencyLayer, Keep, MemoryStore, RequestBody};

pub(crate) const REQUEST_BYTES: usize = 256;
pub(crate) const RESPONSE: [u8; 512] = [b'b'; 512];
const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(crate) const PATH: &str = "/v1/charges";

/// So many records are made before the next store takes over, so that no store grows large or has to evict.
pub(crate) const RECORDS_PER_STORE: u64 = 50_000;

/// The key of every request that is not to be new.
const KEY: u64 = u64::MAX;

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// Without a layer, without a key.
    Bare,
    /// Without a layer.
    BareWithKey,
    /// At an endpoint that is not listed.
    NotCovered,
    NoKey,
    First,
    Replay,
    Mismatch,
    InProgress,
    /// A replay of a response that was not kept.
    Tombstone,
}

impl Case {
    pub(crate) const ALL: [Self; 9] = [
        Self::Bare,
        Self::BareWithKey,
        Self::NotCovered,
        Self::NoKey,
        Self::First,
        Self::Replay,
        Self::Mismatch,
        Self::InProgress,
        Self::Tombstone,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::BareWithKey => "bare with key",
            Self::NotCovered => "not covered",
            Self::NoKey => "no key",
            Self::First => "first",
            Self::Replay => "replay",
            Self::Mismatch => "mismatch",
            Self::InProgress => "in progress",
            Self::Tombstone => "tombstone",
        }
    }

    /// The same request without a layer.
    pub(crate) fn bare(self) -> Self {
        match self {
            Self::Bare | Self::NoKey => Self::Bare,
            _ => Self::BareWithKey,
        }
    }

    /// The status of the answer.
    fn status(self) -> u16 {
        match self {
            Self::Mismatch => 422,
            Self::InProgress | Self::Tombstone => 409,
            _ => 201,
        }
    }
}

/// Where the layer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Around {
    /// Around a `service_fn`.
    Function,
    /// Around an axum `Router` with one route.
    Router,
    /// Inside one, by `Router::layer`; its bare call has a layer that does nothing.
    InsideRouter,
}

impl Around {
    pub(crate) const ALL: [Self; 3] = [Self::Function, Self::Router, Self::InsideRouter];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Function => "service_fn",
            Self::Router => "Router",
            Self::InsideRouter => "Router::layer",
        }
    }
}

/// One call after the other; the number makes the key of a first request.
pub(crate) type Calls = Box<dyn FnMut(u64)>;

/// A case, ready to be called: what comes before the first call has been done, on a store of its own.
pub(crate) fn prepared(case: Case, around: Around, body: &Bytes) -> Calls {
    let layer = layer(case);
    let is_bare = matches!(case, Case::Bare | Case::BareWithKey);
    match around {
        Around::Function if is_bare => calls(case, function(), body),
        Around::Router if is_bare => calls(case, router(), body),
        Around::InsideRouter if is_bare => calls(case, router().layer(Identity::new()), body),
        Around::Function => guarded(case, &layer, layer.layer(function()), body),
        Around::Router => guarded(case, &layer, layer.layer(router()), body),
        Around::InsideRouter => guarded(case, &layer, router().layer(layer.clone()), body),
    }
}

fn layer(case: Case) -> IdempotencyLayer {
    let layer = IdempotencyLayer::new(MemoryStore::new());
    match case {
        Case::NotCovered => layer.endpoints(["POST /v1/refunds"]),
        Case::Tombstone => layer.keep(Keep::Stream),
        _ => layer,
    }
}

/// The calls of a layered service, after the request that came first.
fn guarded(case: Case, layer: &IdempotencyLayer, mut service: impl Serves, body: &Bytes) -> Calls {
    match case {
        Case::Replay | Case::Mismatch | Case::Tombstone => {
            service.serve(request(Some(KEY), body.clone()));
            calls(case, service, body)
        }
        Case::InProgress => {
            let hanging = service_fn(|_: Request<RequestBody<Full<Bytes>>>| {
                pending::<Result<Response<Full<Bytes>>, Infallible>>()
            });
            let first = request(Some(KEY), body.clone());
            let mut first = Box::pin(layer.layer(hanging).call(first));
            let mut cx = Context::from_waker(Waker::noop());
            assert!(first.as_mut().poll(&mut cx).is_pending());
            let mut calls = calls(case, service, body);
            Box::new(move |number| {
                let _in_flight = &first;
                calls(number);
            })
        }
        _ => calls(case, service, body),
    }
}

fn calls(case: Case, mut service: impl Serves, body: &Bytes) -> Calls {
    let body = match case {
        Case::Mismatch => Bytes::from(vec![b'c'; body.len()]),
        _ => body.clone(),
    };
    Box::new(move |number| {
        let key = match case {
            Case::Bare | Case::NoKey => None,
            Case::BareWithKey | Case::NotCovered | Case::First => Some(number),
            Case::Replay | Case::Mismatch | Case::InProgress | Case::Tombstone => Some(KEY),
        };
        let (status, answer) = service.serve(request(key, body.clone()));
        assert_eq!(status, case.status());
        black_box(answer);
    })
}

/// What every service here is.
pub(crate) trait Serves: 'static {
    /// The status and the body of the answer, which is there at once.
    fn serve(&mut self, request: Request<Full<Bytes>>) -> (u16, Bytes);
}

impl<S, R> Serves for S
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error = Infallible> + 'static,
    R: Body<Data = Bytes>,
{
    fn serve(&mut self, request: Request<Full<Bytes>>) -> (u16, Bytes) {
        now(async {
            let Ok(response) = self.call(request).await;
            let status = response.status().as_u16();
            (status, collected(response.into_body()).await)
        })
    }
}

/// The context in which requests are served: one thread, with timers.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

pub(crate) fn request_body(bytes: usize) -> Bytes {
    vec![b'a'; bytes].into()
}

pub(crate) fn request(key: Option<u64>, body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::from(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from_static(PATH);
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, JSON);
    if let Some(key) = key {
        headers.insert(HeaderName::from_static("idempotency-key"), uuid(key));
    }
    request
}

/// 36 characters, as a UUID has them.
fn uuid(key: u64) -> HeaderValue {
    let mut text = [b'0'; 36];
    let mut left = key;
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (left % 10) as u8;
        left /= 10;
    }
    HeaderValue::from_bytes(&text).unwrap()
}

/// A service without a framework.
pub(crate) fn function<B>()
-> impl Service<Request<B>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static
where
    B: Body<Data = Bytes> + Send + 'static,
{
    service_fn(|request: Request<B>| async move {
        black_box(collected(request.into_body()).await);
        let mut response = Response::new(Full::from(Bytes::from_static(&RESPONSE)));
        *response.status_mut() = StatusCode::CREATED;
        response.headers_mut().insert(CONTENT_TYPE, JSON);
        Ok(response)
    })
}

/// An axum router with one route, which answers the same.
pub(crate) fn router() -> Router {
    let headers = [(CONTENT_TYPE, JSON)];
    let charge = async move |body: Bytes| {
        black_box(body);
        (
            StatusCode::CREATED,
            headers.clone(),
            Bytes::from_static(&RESPONSE),
        )
    };
    Router::new().route(PATH, post(charge))
}

pub(crate) async fn collected<B: Body<Data = Bytes>>(body: B) -> Bytes {
    let Ok(collected) = body.collect().await else {
        unreachable!("these bodies do not break")
    };
    collected.to_bytes()
}

/// The output of a future that is ready at its first poll, as everything is here.
pub(crate) fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("nothing waits in these benchmarks"),
    }
}
