//! What the tests of the layer have in common.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::sync::Notify;
use tower::util::{BoxCloneService, service_fn};
use tower::{Layer, Service, ServiceExt};
use tower_idempotency::{Idempotency, IdempotencyLayer, Outcome, RequestBody, ResponseBody, Store};

pub(crate) type Body = Full<Bytes>;
pub(crate) type Guarded = BoxCloneService<Request<Body>, Response<ResponseBody<Body>>, Infallible>;

pub(crate) const PATH: &str = "/charges";

/// A keyed POST, with a canary in the value of the key header and one in the body: neither may ever be logged.
pub(crate) fn keyed(key: &str, body: &'static str) -> Request<Body> {
    logs::watch();
    let mut request = plain(key, body);
    if key.bytes().all(|byte| byte.is_ascii_alphanumeric()) && !key.is_empty() {
        // A parameter of the structured field is no part of the key.
        let value = format!("\"{key}\";canary=\"{}\"", logs::KEY);
        request
            .headers_mut()
            .insert("idempotency-key", value.parse().unwrap());
    }
    *request.body_mut() = format!("{body} {}", logs::BODY).into();
    request
}

/// A keyed POST of exactly this key and body.
pub(crate) fn plain(key: &str, body: &'static str) -> Request<Body> {
    Request::post(PATH)
        .header("idempotency-key", key)
        .header("content-type", "text/plain")
        .body(body.into())
        .unwrap()
}

/// Watches over what is logged, at every level, by whatever test.
pub(crate) mod logs {
    use std::io;
    use std::sync::Once;
    use std::sync::atomic::{AtomicBool, Ordering};

    pub(crate) const KEY: &str = "canary-key-5b1f0c77";
    pub(crate) const BODY: &str = "canary-body-2e6a91d4";

    static LEAKED: AtomicBool = AtomicBool::new(false);

    /// Begins to watch, or fails if a secret has been logged meanwhile.
    #[track_caller]
    pub(crate) fn watch() {
        static BEGIN: Once = Once::new();

        BEGIN.call_once(|| {
            let subscriber = tracing_subscriber::fmt()
                .with_max_level(tracing::Level::TRACE)
                .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
                .with_writer(|| Watch);
            tracing::subscriber::set_global_default(subscriber.finish()).unwrap();
        });
        assert!(!LEAKED.load(Ordering::SeqCst), "a secret was logged");
    }

    /// Fails the test that logs a secret, and every one that begins afterwards.
    fn look_at(line: &[u8]) {
        if shows_a_secret(line) {
            LEAKED.store(true, Ordering::SeqCst);
            panic!("a secret was logged: {}", String::from_utf8_lossy(line));
        }
    }

    fn shows_a_secret(line: &[u8]) -> bool {
        let text = String::from_utf8_lossy(line);
        text.contains(KEY) || text.contains(BODY)
    }

    #[test]
    fn a_secret_is_noticed_wherever_it_stands_in_a_line() {
        let request = super::keyed("k", "a");

        assert!(shows_a_secret(
            format!("TRACE {:?}", request.headers()).as_bytes()
        ));
        assert!(shows_a_secret(
            format!("TRACE {:?}", request.body()).as_bytes()
        ));
        assert!(!shows_a_secret(b"TRACE read 12 bytes"));
    }

    struct Watch;

    impl io::Write for Watch {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            look_at(line);
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}

/// A whole response, easy to compare.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) outcome: Outcome,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The code of a flat error body.
    pub(crate) fn code(&self) -> String {
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["error"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn is_replay(&self) -> bool {
        self.header("idempotent-replayed") == Some("true")
    }
}

pub(crate) async fn read<R>(response: Response<R>) -> Answer
where
    R: http_body::Body<Data = Bytes>,
    R::Error: std::fmt::Debug,
{
    let (head, body) = response.into_parts();
    let collected = body.collect().await.unwrap();
    let trailers = collected.trailers().cloned();
    Answer {
        status: head.status,
        headers: head.headers,
        body: collected.to_bytes(),
        trailers,
        outcome: Outcome::of(&head.extensions),
    }
}

/// Sends one request through a clone of the service, readiness included, and reads the whole answer.
pub(crate) fn send<S, R>(
    service: &S,
    request: Request<Body>,
) -> impl Future<Output = Answer> + use<S, R>
where
    S: Service<Request<Body>, Response = Response<R>> + Clone,
    S::Error: std::fmt::Debug,
    R: http_body::Body<Data = Bytes>,
    R::Error: std::fmt::Debug,
{
    let service = service.clone();
    async move { read(service.oneshot(request).await.unwrap()).await }
}

/// A handler that counts itself, remembers what it saw, and can be held.
#[derive(Clone, Default)]
pub(crate) struct Handler(Arc<Inner>);

#[derive(Default)]
struct Inner {
    started: AtomicU32,
    finished: AtomicU32,
    last_attempt: AtomicU32,
    gate: Notify,
}

impl Handler {
    /// How often it has started.
    pub(crate) fn executions(&self) -> u32 {
        self.0.started.load(Ordering::SeqCst)
    }

    /// How often it has come to its end.
    pub(crate) fn finished(&self) -> u32 {
        self.0.finished.load(Ordering::SeqCst)
    }

    /// The attempt that the last execution saw; 0 without a context.
    pub(crate) fn last_attempt(&self) -> u32 {
        self.0.last_attempt.load(Ordering::SeqCst)
    }

    /// Counts an execution; gives its number.
    pub(crate) fn start(&self) -> u32 {
        self.0.started.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Lets one held execution go on.
    pub(crate) fn open(&self) {
        self.0.gate.notify_one();
    }

    /// Returns when this execution may go on.
    pub(crate) async fn opened(&self) {
        self.0.gate.notified().await;
    }

    /// A service that answers each execution by `answer`.
    pub(crate) fn answering<St, F, Fut>(&self, layer: &IdempotencyLayer<St>, answer: F) -> Guarded
    where
        St: Store,
        F: Fn(Request<RequestBody<Body>>) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = Response<Body>> + Send + 'static,
    {
        let handler = self.clone();
        layer
            .layer(service_fn(move |request: Request<RequestBody<Body>>| {
                handler.0.started.fetch_add(1, Ordering::SeqCst);
                let attempt = request.extensions().get().map_or(0, Idempotency::attempt);
                handler.0.last_attempt.store(attempt, Ordering::SeqCst);
                let (handler, answer) = (handler.clone(), answer(request));
                async move {
                    let response = answer.await;
                    handler.0.finished.fetch_add(1, Ordering::SeqCst);
                    Ok(response)
                }
            }))
            .boxed_clone()
    }

    /// A service that answers at once: 201, the number of the execution in the body.
    pub(crate) fn at_once<St: Store>(&self, layer: &IdempotencyLayer<St>) -> Guarded {
        let handler = self.clone();
        self.answering(layer, move |_| {
            std::future::ready(created(&format!("execution {}", handler.executions())))
        })
    }

    /// The same, after the gate was opened for it.
    pub(crate) fn held<St: Store>(&self, layer: &IdempotencyLayer<St>) -> Guarded {
        let handler = self.clone();
        self.answering(layer, move |_| {
            let (handler, number) = (handler.clone(), handler.executions());
            async move {
                handler.0.gate.notified().await;
                created(&format!("execution {number}"))
            }
        })
    }

    /// A service that answers with these statuses, one per execution, the last one for all that follow.
    pub(crate) fn statuses<St: Store>(
        &self,
        layer: &IdempotencyLayer<St>,
        statuses: &'static [u16],
    ) -> Guarded {
        let handler = self.clone();
        self.answering(layer, move |_| {
            let number = handler.executions() as usize;
            let status = statuses[(number - 1).min(statuses.len() - 1)];
            let mut response = created(&format!("execution {number}"));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            std::future::ready(response)
        })
    }
}

pub(crate) fn created(body: &str) -> Response<Body> {
    Response::builder()
        .status(201)
        .header("content-type", "text/plain")
        .header("location", "/charges/1")
        .body(Bytes::copy_from_slice(body.as_bytes()).into())
        .unwrap()
}

/// Polls a future once, with a waker that does nothing.
pub(crate) fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Lets everything that is ready run. Time must be paused.
pub(crate) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// A POST with this head and body.
pub(crate) fn post(path: &str, headers: &[(&str, &str)], body: &'static str) -> Request<Body> {
    let mut request = Request::builder().method(Method::POST).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.into()).unwrap()
}

/// For services of other types than [`Guarded`].
impl Handler {
    /// Counts an execution and notes its attempt; gives its number.
    pub(crate) fn begin(&self, extensions: &http::Extensions) -> u32 {
        let attempt = extensions.get().map_or(0, Idempotency::attempt);
        self.0.last_attempt.store(attempt, Ordering::SeqCst);
        self.start()
    }

    /// Counts an execution that has come to its end.
    pub(crate) fn end(&self) {
        self.0.finished.fetch_add(1, Ordering::SeqCst);
    }

    /// [`at_once`](Self::at_once) without a layer, for any request body.
    pub(crate) fn bare<B: Send + 'static>(&self) -> impl BareService<B> + use<B> {
        let handler = self.clone();
        service_fn(move |request: Request<B>| {
            let number = handler.begin(request.extensions());
            handler.end();
            std::future::ready(Ok(created(&format!("execution {number}"))))
        })
    }

    /// [`held`](Self::held) without a layer, for any request body.
    pub(crate) fn bare_held<B: Send + 'static>(&self) -> impl BareService<B> + use<B> {
        let handler = self.clone();
        service_fn(move |request: Request<B>| {
            let (handler, number) = (handler.clone(), handler.begin(request.extensions()));
            async move {
                handler.opened().await;
                handler.end();
                Ok(created(&format!("execution {number}")))
            }
        })
    }
}

/// What [`Handler::bare`] gives.
pub(crate) trait BareService<B>:
    Service<Request<B>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S, B> BareService<B> for S where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// Waits, with a bound, for what happens on another task or behind a socket. For tests in real time.
pub(crate) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("after ten seconds: {what}");
}
