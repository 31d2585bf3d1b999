//! What the compiler is asked for, and what it is not: bounds, error types, the code of users.

mod user_code;

use std::cell::Cell;
use std::convert::Infallible;
use std::fmt::Debug;
use std::future::Future;
use std::marker::{PhantomData, PhantomPinned};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::{Body as HttpBody, Frame};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_idempotency::{
    Anonymous, BoxStore, Cached, ChildKey, Claim, ClaimId, ClaimRequest, Completed, Drained,
    Encrypted, EncryptionKey, Endpoint, ErrorForm, Event, Fence, Fingerprint, FingerprintPolicy,
    Forgotten, Idempotency, IdempotencyKey, IdempotencyLayer, IdempotencyRejection,
    IdempotencyService, InFlight, InvalidEncryptionKey, InvalidEndpoint, Keep, KeyFrom, KeyPolicy,
    Keyring, LeaseLost, MemoryStore, Mode, OnLost, OnStoreError, Outcome, Owned, Owner, Problem,
    Record, RecordKey, Refusal, RefusalCode, Reply, RequestBody, ResponseBody, ResponseFuture,
    Retention, Scope, Settled, State, Store, StoreError, StoreErrorKind, TakeOver, Warning,
};

use super::support::{Body, Handler, keyed, post, read, send};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn is_send<T: Send>() {}
fn is_sync<T: Sync>() {}
fn is_unpin<T: Unpin>() {}
fn is_value<T: Clone + Debug + Send + Sync + 'static>() {}
fn is_error<T: std::error::Error + Send + Sync + 'static>() {}
fn is_plain<T: Debug + Send + Sync + Unpin + 'static>() {}

/// A body that can do as little as is allowed: neither `Sync` nor `Unpin`, an error of its own.
struct Awkward {
    left: Cell<Option<Result<Bytes, AwkwardError>>>,
    _pinned: PhantomPinned,
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("awkward")]
struct AwkwardError(Cell<u8>);

impl Awkward {
    fn body(text: &'static str) -> Self {
        Self {
            left: Cell::new(Some(Ok(Bytes::from(text)))),
            _pinned: PhantomPinned,
        }
    }

    fn broken(number: u8) -> Self {
        let error = AwkwardError(Cell::new(number));
        Self {
            left: Cell::new(Some(Err(error))),
            _pinned: PhantomPinned,
        }
    }
}

impl HttpBody for Awkward {
    type Data = Bytes;
    type Error = AwkwardError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AwkwardError>>> {
        Poll::Ready(self.left.take().map(|it| it.map(Frame::data)))
    }
}

#[derive(Clone)]
struct AwkwardService {
    calls: Cell<u8>,
    _pinned: PhantomPinned,
}

impl Service<Request<RequestBody<Awkward>>> for AwkwardService {
    type Response = Response<Awkward>;
    type Error = AwkwardError;
    type Future = AwkwardFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), AwkwardError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody<Awkward>>) -> AwkwardFuture {
        self.calls.set(self.calls.get() + 1);
        Box::pin(async move {
            let across_an_await = Cell::new(0_u8);
            let body = request.into_body().collect().await?.to_bytes();
            across_an_await.set(7);
            match &body[..] {
                b"fail" => Err(AwkwardError(across_an_await)),
                b"break" => Ok(Response::new(Awkward::broken(across_an_await.get()))),
                _ => Ok(Response::new(Awkward::body("done"))),
            }
        })
    }
}

type AwkwardFuture = Pin<Box<dyn Future<Output = Result<Response<Awkward>, AwkwardError>> + Send>>;

/// A store that cannot be cloned, of which nothing is known but that it is a store.
struct Theirs(MemoryStore);

impl Store for Theirs {
    async fn claim(&self, request: &ClaimRequest) -> Result<Claim, StoreError> {
        self.0.claim(request).await
    }

    async fn renew(
        &self,
        owner: &Owner,
        lease: Duration,
        committed: bool,
    ) -> Result<Settled, StoreError> {
        self.0.renew(owner, lease, committed).await
    }

    async fn complete(&self, owner: &Owner, completed: &Completed) -> Result<Settled, StoreError> {
        self.0.complete(owner, completed).await
    }

    async fn abandon(&self, owner: &Owner) -> Result<Settled, StoreError> {
        self.0.abandon(owner).await
    }

    async fn release(&self, owner: &Owner) -> Result<Settled, StoreError> {
        self.0.release(owner).await
    }

    async fn inspect(&self, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        self.0.inspect(key).await
    }

    async fn forget(&self, key: &RecordKey, force: bool) -> Result<Forgotten, StoreError> {
        self.0.forget(key, force).await
    }

    async fn erase_scope(&self, scope: &[u8; 16]) -> Result<u64, StoreError> {
        self.0.erase_scope(scope).await
    }
}

fn awkwardly(text: &'static str) -> Request<Awkward> {
    keyed("k", "").map(|_| Awkward::body(text))
}

#[test]
fn layer_and_service_go_everywhere() {
    is_value::<IdempotencyLayer>();
    is_value::<IdempotencyLayer<BoxStore>>();
    is_unpin::<IdempotencyLayer>();
    // No more is asked of a store than to be one, and nothing of a service before it is called.
    fn of_any<St: Store, S>() {
        is_value::<IdempotencyLayer<St>>();
        is_value::<IdempotencyService<u8, St>>();
        let _: fn(&IdempotencyLayer<St>, S) -> IdempotencyService<S, St> = Layer::layer;
    }
    of_any::<Theirs, PhantomData<*const u8>>();
    is_send::<IdempotencyService<Cell<u8>, Theirs>>();
    is_sync::<IdempotencyService<u8, Theirs>>();
}

#[test]
fn the_future_is_send_and_the_bodies_are_what_their_originals_are() {
    is_send::<ResponseFuture<AwkwardFuture, Awkward, AwkwardError>>();
    is_send::<ResponseFuture<AwkwardFuture, Full<Bytes>, Infallible>>();
    is_unpin::<ResponseFuture<AwkwardFuture, Awkward, AwkwardError>>();

    is_send::<RequestBody<Awkward>>();
    is_send::<ResponseBody<Awkward>>();
    is_plain::<RequestBody<Full<Bytes>>>();
    is_plain::<ResponseBody<Full<Bytes>>>();
    is_plain::<RequestBody<Incoming>>();
    is_plain::<ResponseBody<Incoming>>();
    is_send::<ResponseBody<axum::body::Body>>();
    is_unpin::<ResponseBody<axum::body::Body>>();
}

#[test]
fn values_can_be_kept_in_configurations_and_extensions() {
    is_value::<Anonymous>();
    is_value::<BoxStore>();
    is_value::<ChildKey>();
    is_value::<ClaimId>();
    is_value::<ClaimRequest>();
    is_value::<Completed>();
    is_value::<Drained>();
    is_value::<Endpoint>();
    is_value::<ErrorForm>();
    is_value::<Event>();
    is_value::<Fence>();
    is_value::<Fingerprint>();
    is_value::<FingerprintPolicy>();
    is_value::<Forgotten>();
    is_value::<Idempotency>();
    is_value::<InFlight>();
    is_value::<Keep>();
    is_value::<KeyFrom>();
    is_value::<KeyPolicy>();
    is_value::<Mode>();
    is_value::<OnLost>();
    is_value::<OnStoreError>();
    is_value::<Outcome>();
    is_value::<Owner>();
    is_value::<Problem>();
    is_value::<RecordKey>();
    is_value::<Refusal>();
    is_value::<RefusalCode>();
    is_value::<Reply<'static>>();
    is_value::<Retention>();
    is_value::<Scope>();
    is_value::<Settled>();
    is_value::<StoreErrorKind>();
    is_value::<TakeOver>();
    is_value::<Warning>();
    is_plain::<Cached<MemoryStore>>();
    is_plain::<Claim>();
    is_plain::<Encrypted<MemoryStore>>();
    is_plain::<Encrypted<BoxStore>>();
    is_plain::<EncryptionKey>();
    is_plain::<IdempotencyKey>();
    is_plain::<Keyring>();
    is_plain::<MemoryStore>();
    is_plain::<Owned>();
    is_plain::<Record>();
    is_plain::<State>();

    is_error::<IdempotencyRejection>();
    is_error::<InvalidEncryptionKey>();
    is_error::<InvalidEndpoint>();
    is_error::<LeaseLost>();
    is_error::<StoreError>();
}

#[test]
fn error_types_are_kept() {
    type Guarded<S> = IdempotencyService<S, MemoryStore>;
    fn error_of<S: Service<Request<B>>, B>(_: &S) -> PhantomData<S::Error> {
        PhantomData
    }
    fn is<E>(_: PhantomData<E>) {}
    let layer = IdempotencyLayer::default();

    let infallible = layer.layer(Handler::default().bare());
    is::<Infallible>(error_of::<_, Body>(&infallible));
    let boxed: Guarded<_> = layer.layer(service_fn(async |_: Request<RequestBody<Body>>| {
        Err::<Response<Body>, BoxError>("no".into())
    }));
    is::<BoxError>(error_of::<_, Body>(&boxed));
    let awkward = layer.layer(AwkwardService {
        calls: Cell::new(0),
        _pinned: PhantomPinned,
    });
    is::<AwkwardError>(error_of::<_, Awkward>(&awkward));

    fn is_error_of<B: HttpBody<Error = E>, E>() {}
    is_error_of::<RequestBody<Awkward>, AwkwardError>();
    is_error_of::<ResponseBody<Awkward>, AwkwardError>();
    is_error_of::<RequestBody<Full<Bytes>>, Infallible>();
    is_error_of::<ResponseBody<axum::body::Body>, axum::Error>();
}

#[tokio::test(start_paused = true)]
async fn services_and_bodies_need_neither_sync_nor_unpin_and_stores_no_clone() {
    let layer = IdempotencyLayer::new(Theirs(MemoryStore::default()));
    let service = layer.layer(AwkwardService {
        calls: Cell::new(0),
        _pinned: PhantomPinned,
    });

    for replayed in [false, true] {
        // On the runtime, as a server would: the future is `Send`.
        let response = tokio::spawn(service.clone().oneshot(awkwardly("a")))
            .await
            .unwrap();
        let answer = read(response.unwrap()).await;
        assert_eq!((answer.text(), answer.is_replay()), ("done", replayed));
    }
    let key = layer.record_key(b"", &Method::POST, "/charges", "k");
    assert!(layer.store().inspect(&key).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_service_comes_out_as_it_is() {
    let layer = IdempotencyLayer::default();
    let service = layer.layer(AwkwardService {
        calls: Cell::new(0),
        _pinned: PhantomPinned,
    });
    let mut without_key = awkwardly("fail");
    without_key.headers_mut().clear();

    for request in [awkwardly("fail"), without_key] {
        let error = service.clone().oneshot(request).await.unwrap_err();

        assert_eq!(error, AwkwardError(Cell::new(7)));
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_response_body_comes_out_as_it_is() {
    let layer = IdempotencyLayer::default();
    let service = layer.layer(AwkwardService {
        calls: Cell::new(0),
        _pinned: PhantomPinned,
    });
    let mut without_key = awkwardly("break");
    without_key.headers_mut().clear();

    for request in [awkwardly("break"), without_key] {
        let response = service.clone().oneshot(request).await.unwrap();
        let error = response.into_body().collect().await.unwrap_err();

        assert_eq!(error, AwkwardError(Cell::new(7)));
    }
}

#[tokio::test(start_paused = true)]
async fn services_made_by_one_layer_share_its_store() {
    let (handler, layer) = (Handler::default(), IdempotencyLayer::default());
    let one = layer.layer(handler.bare());
    let other = layer.clone().retention(DAY).layer(handler.bare());
    let erased = layer.clone().boxed().layer(handler.bare());

    let first = send(&one, keyed("k", "a")).await;
    let from_other = send(&other, keyed("k", "a")).await;
    let from_erased = send(&erased, keyed("k", "a")).await;

    assert!(!first.is_replay() && from_other.is_replay() && from_erased.is_replay());
    assert_eq!(handler.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn routes_behind_one_layer_share_its_store() {
    let (handler, layer) = (Handler::default(), IdempotencyLayer::default());
    let route = || axum::routing::post_service(handler.bare());
    let app = Router::new()
        .route("/a", route())
        .route("/b", route())
        .layer(layer.clone());
    let key = |path| layer.record_key(b"", &Method::POST, path, "k");

    for path in ["/a", "/b"] {
        send(&app, post(path, &[("idempotency-key", "k")], "")).await;
    }

    assert!(layer.store().inspect(&key("/a")).await.unwrap().is_some());
    assert!(layer.store().inspect(&key("/b")).await.unwrap().is_some());
    assert_eq!(
        layer.store().erase_scope(key("/a").scope()).await.unwrap(),
        2
    );
}
