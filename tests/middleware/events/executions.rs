//! Requests whose handlers never start are no executions, whatever was claimed for them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use futures_util::task::AtomicWaker;
use tokio::task::JoinHandle;
use tower::Service;

use super::*;

#[derive(Clone, Copy, Default, PartialEq)]
enum Readiness {
    #[default]
    Ready,
    Never,
    Breaks,
    Panics,
}

/// A service as ready as it is told to be, whose executions are held and free their keys.
#[derive(Clone, Default)]
struct Fickle {
    readiness: Arc<Mutex<Readiness>>,
    waiting: Arc<AtomicWaker>,
    calls: Arc<AtomicU32>,
    handler: Handler,
}

impl Fickle {
    fn becomes(&self, readiness: Readiness) {
        *self.readiness.lock().unwrap() = readiness;
        self.waiting.wake();
    }
}

impl Service<Request<RequestBody<Body>>> for Fickle {
    type Response = Response<Body>;
    type Error = &'static str;
    type Future = BoxFuture<'static, Result<Response<Body>, &'static str>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        self.waiting.register(cx.waker());
        let readiness = *self.readiness.lock().unwrap();
        match readiness {
            Readiness::Ready => Poll::Ready(Ok(())),
            Readiness::Never => Poll::Pending,
            Readiness::Breaks => Poll::Ready(Err("broken")),
            Readiness::Panics => panic!("not ready to be asked"),
        }
    }

    fn call(&mut self, _: Request<RequestBody<Body>>) -> Self::Future {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let handler = self.handler.clone();
        Box::pin(async move {
            handler.opened().await;
            let mut freed = created("");
            *freed.status_mut() = StatusCode::BAD_GATEWAY;
            Ok(freed)
        })
    }
}

type Answered = JoinHandle<Result<Response<ResponseBody<Body>>, &'static str>>;

/// A request that gets the key of another one when its service has become this.
async fn inherits<St: Store>(
    layer: &IdempotencyLayer<St>,
    fickle: &Fickle,
    readiness: Readiness,
) -> Answered {
    let layer = layer.clone().in_flight(InFlight::wait(HOUR));
    let service = layer.layer(fickle.clone());
    let owner = tokio::spawn(service.clone().oneshot(plain("k", "x")));
    settle().await;
    let heir = tokio::spawn(service.oneshot(plain("k", "x")));
    settle().await;
    fickle.becomes(readiness);
    fickle.handler.open();
    assert_eq!(owner.await.unwrap().unwrap().status(), 502);
    settle().await;
    heir
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_service_does_not_get_ready_is_no_execution() {
    for readiness in [Readiness::Breaks, Readiness::Panics] {
        let (layer, _, heard) = overheard();
        let fickle = Fickle::default();

        let heir = inherits(&layer, &fickle, readiness).await.await;

        match readiness {
            Readiness::Breaks => assert_eq!(heir.unwrap().unwrap_err(), "broken"),
            _ => assert!(heir.unwrap_err().is_panic()),
        }
        assert_eq!(fickle.calls.load(Ordering::SeqCst), 1);
        assert_eq!(heard.told(), ["executed_unrecorded"], "of the owner");
        assert_eq!(layer.drain(HOUR).await.left, 0);
        assert!(layer.store().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_client_leaves_before_its_service_is_ready_is_not_told_of() {
    let (layer, _, heard) = overheard();
    let fickle = Fickle::default();
    let heir = inherits(&layer, &fickle, Readiness::Never).await;
    assert_eq!(heard.told(), ["executed_unrecorded"], "of the owner");

    heir.abort();

    assert_eq!(layer.drain(HOUR).await.left, 0);
    assert_eq!(heard.told(), [""; 0]);
    assert_eq!(fickle.calls.load(Ordering::SeqCst), 1);
    assert!(layer.store().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_loses_its_lease_before_its_service_is_ready_is_refused() {
    let (store, heard, fickle) = (Scripted::new(), Heard::default(), Fickle::default());
    let layer = heard.of(IdempotencyLayer::new(store.clone()));
    let heir = inherits(&layer, &fickle, Readiness::Never).await;
    heard.take();
    store.always(Verb::Renew, Fault::Before(StoreErrorKind::NotApplied));
    tokio::time::sleep(60 * SECOND).await;

    fickle.becomes(Readiness::Ready);

    let answer = read(heir.await.unwrap().unwrap()).await;
    assert_eq!(answer.code(), "idempotency_in_progress");
    let told = heard.told();
    let lost = "warning: an execution has lost its lease";
    assert_eq!(told.iter().filter(|told| *told == lost).count(), 1);
    assert_eq!(told.last().unwrap(), "in_progress idempotency_in_progress");
    assert_eq!(fickle.calls.load(Ordering::SeqCst), 1);
    store.heal();
    assert_eq!(layer.drain(HOUR).await.left, 0);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_is_given_back_because_its_client_left_is_not_told_of() {
    for mode in [Mode::Enforce, Mode::Shadow] {
        let (store, handler, heard) = (Scripted::new(), Handler::default(), Heard::default());
        let layer = heard.of(IdempotencyLayer::new(store.clone())).mode(mode);
        store.next(Verb::Claim, Fault::SlowAfter(SECOND));
        let leaving = tokio::spawn(handler.at_once(&layer).oneshot(plain("k", "x")));
        settle().await;

        leaving.abort();
        assert_eq!(layer.drain(HOUR).await.left, 0);

        assert_eq!(handler.executions(), 0);
        assert_eq!(heard.told(), [""; 0]);
        assert!(store.memory.is_empty());
    }
}
