//! Readiness belongs to the instance that was polled: it goes with the request, is given up while
//! the request waits, and is asked for again before the service is called.

mod limits;
mod panics;

use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{Request, Response};
use tower::limit::ConcurrencyLimit;
use tower::{Layer, Service, ServiceExt};
use tower_idempotency::{
    IdempotencyLayer, InFlight, OnStoreError, Outcome, Record, RecordKey, RequestBody, State,
    Store, StoreErrorKind,
};
use tower_test::mock::{Handle, SendResponse, Spawn, spawn_layer};

use super::scripted::{Fault, Scripted, Verb};
use super::support::{Body, Handler, PATH, created, keyed, poll_once, post, read, settle};

type Inner = Request<RequestBody<Body>>;
type MockHandle = Handle<Inner, Response<Body>>;

const WAIT: Duration = Duration::from_secs(20);

fn waiting() -> IdempotencyLayer {
    IdempotencyLayer::default().in_flight(InFlight::wait(WAIT))
}

fn record_key<St: Store>(layer: &IdempotencyLayer<St>) -> RecordKey {
    layer.record_key(b"", &http::Method::POST, PATH, "k")
}

fn is_abandoned(record: &Record) -> bool {
    matches!(record.state(), State::InFlight { lease_left } if lease_left.is_zero())
}

/// Whether this very instance is ready.
fn is_ready<S: Service<Request<Body>>>(service: &mut S) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    matches!(service.poll_ready(&mut cx), Poll::Ready(Ok(())))
}

/// The next call of the mock, which must come.
async fn called(inner: &mut MockHandle) -> SendResponse<Response<Body>> {
    let call = tokio::time::timeout(Duration::from_secs(60 * 60), inner.next_request());
    call.await.expect("the service is called").unwrap().1
}

/// Takes only what it was polled ready for, and counts its clones.
#[derive(Default)]
struct Strict {
    ready: bool,
    clones: Arc<AtomicU32>,
    polls: Arc<AtomicU32>,
    broken: Arc<AtomicBool>,
    handler: Handler,
}

impl Strict {
    fn clones(&self) -> u32 {
        self.clones.load(Ordering::SeqCst)
    }
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        self.clones.fetch_add(1, Ordering::SeqCst);
        Self {
            ready: false,
            clones: Arc::clone(&self.clones),
            polls: Arc::clone(&self.polls),
            broken: Arc::clone(&self.broken),
            handler: self.handler.clone(),
        }
    }
}

impl Service<Inner> for Strict {
    type Response = Response<Body>;
    type Error = &'static str;
    type Future = Ready<Result<Response<Body>, &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        self.polls.fetch_add(1, Ordering::SeqCst);
        if self.broken.load(Ordering::SeqCst) {
            return Poll::Ready(Err("broken"));
        }
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Inner) -> Self::Future {
        assert!(
            std::mem::take(&mut self.ready),
            "called without having been polled ready"
        );
        let number = self.handler.begin(request.extensions());
        ready(Ok(created(&format!("execution {number}"))))
    }
}

#[test]
fn readiness_is_that_of_the_service() {
    let (mut service, mut inner): (Spawn<_>, MockHandle) = spawn_layer(waiting());

    inner.allow(0);
    assert!(service.poll_ready::<Request<Body>>().is_pending());
    assert!(service.poll_ready::<Request<Body>>().is_pending());
    assert!(!service.is_woken());
    inner.allow(1);

    assert!(service.is_woken());
    assert!(matches!(
        service.poll_ready::<Request<Body>>(),
        Poll::Ready(Ok(()))
    ));
}

#[test]
fn asking_for_readiness_asks_the_service_once_and_does_nothing_else() {
    let strict = Strict::default();
    let layer = IdempotencyLayer::default();
    let mut service = layer.layer(strict.clone());
    let before = strict.clones();

    for polls in 1..=3 {
        assert!(is_ready(&mut service));
        assert_eq!(strict.polls.load(Ordering::SeqCst), polls);
    }
    assert_eq!(strict.clones(), before);
}

#[test]
fn an_error_of_readiness_is_that_of_the_service() {
    let (mut service, mut inner): (Spawn<_>, MockHandle) = spawn_layer(waiting());

    inner.send_error("out of order");

    let Poll::Ready(Err(error)) = service.poll_ready::<Request<Body>>() else {
        panic!("no error");
    };
    assert_eq!(error.to_string(), "out of order");
}

#[tokio::test(start_paused = true)]
async fn the_instance_that_was_ready_is_called_and_the_one_that_stays_is_not_ready() {
    for request in [keyed("k", "a"), post(PATH, &[], "a")] {
        let (mut service, mut inner): (Spawn<_>, MockHandle) = spawn_layer(waiting());
        inner.allow(1);
        assert!(service.poll_ready::<Request<Body>>().is_ready());

        // The mock panics when an instance is called that was not ready.
        let answer = tokio::spawn(service.call(request));
        let response = called(&mut inner).await;

        assert!(service.poll_ready::<Request<Body>>().is_pending());
        response.send_response(created("done"));
        assert_eq!(read(answer.await.unwrap().unwrap()).await.text(), "done");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_passes_clones_nothing_and_a_guarded_one_clones_once() {
    let (strict, layer) = (Strict::default(), IdempotencyLayer::default());
    let mut get = keyed("k", "a");
    *get.method_mut() = http::Method::GET;

    for (name, request, clones) in [
        ("without a key", post(PATH, &[], "a"), 0),
        ("of another method", get, 0),
        ("guarded", keyed("k", "a"), 1),
        ("replayed", keyed("k", "a"), 1),
    ] {
        let mut service = layer.layer(strict.clone());
        let before = strict.clones();

        let response = service.ready().await.unwrap().call(request).await.unwrap();

        assert_eq!(response.status(), 201, "{name}");
        assert_eq!(strict.clones() - before, clones, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_instance_serves_request_after_request() {
    let mut service = IdempotencyLayer::default().layer(Strict::default());

    for (request, text) in [
        (keyed("k1", "a"), "execution 1"),
        (post(PATH, &[], "a"), "execution 2"),
        (keyed("k2", "a"), "execution 3"),
        (keyed("k1", "a"), "execution 1"),
        (keyed("k3", "a"), "execution 4"),
    ] {
        let response = service.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(read(response).await.text(), text);
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_takes_over_becomes_ready_again_before_it_calls() {
    let layer = waiting();
    let (mut service, mut inner): (Spawn<_>, MockHandle) = spawn_layer(layer.clone());
    inner.allow(2);
    assert!(service.poll_ready::<Request<Body>>().is_ready());
    let owner = tokio::spawn(service.call(keyed("k", "a")));
    let response = called(&mut inner).await;
    assert!(service.poll_ready::<Request<Body>>().is_ready());
    let waiter = tokio::spawn(service.call(keyed("k", "a")));
    settle().await;

    // Not ready for anyone, and the owner frees its key.
    inner.allow(0);
    let mut failed = created("");
    *failed.status_mut() = http::StatusCode::BAD_GATEWAY;
    response.send_response(failed);
    assert_eq!(owner.await.unwrap().unwrap().status(), 502);
    tokio::time::sleep(Duration::from_secs(100)).await;

    // It owns the key, keeps its lease alive, and has not called.
    assert!(inner.poll_request().is_pending());
    let record = layer
        .store()
        .inspect(&record_key(&layer))
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(record.state(), State::InFlight { lease_left } if !lease_left.is_zero()));
    assert_eq!(record.attempt(), 1);

    inner.allow(1);
    let response = called(&mut inner).await;
    response.send_response(created("done"));
    assert_eq!(read(waiter.await.unwrap().unwrap()).await.text(), "done");
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_runs_unprotected_becomes_ready_again_before_it_calls() {
    let store = Scripted::new();
    let layer = IdempotencyLayer::new(Arc::clone(&store))
        .in_flight(InFlight::wait(WAIT))
        .on_store_error(OnStoreError::RunUnprotected);
    let (mut service, mut inner): (Spawn<_>, MockHandle) = spawn_layer(layer);
    inner.allow(2);
    assert!(service.poll_ready::<Request<Body>>().is_ready());
    let owner = tokio::spawn(service.call(keyed("k", "a")));
    let response = called(&mut inner).await;
    assert!(service.poll_ready::<Request<Body>>().is_ready());
    let waiter = tokio::spawn(service.call(keyed("k", "a")));
    settle().await;

    // The store fails when the waiter comes back.
    store.always(Verb::Claim, Fault::Before(StoreErrorKind::Fatal));
    inner.allow(0);
    response.send_response(created("first"));
    assert_eq!(owner.await.unwrap().unwrap().status(), 201);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(inner.poll_request().is_pending() && !waiter.is_finished());

    inner.allow(1);
    called(&mut inner).await.send_response(created("second"));
    let answer = read(waiter.await.unwrap().unwrap()).await;
    assert_eq!(
        (answer.text(), answer.outcome),
        ("second", Outcome::Unprotected)
    );
}

#[tokio::test(start_paused = true)]
async fn a_waiter_whose_client_leaves_before_the_service_is_ready_gives_the_claim_back() {
    let layer = waiting();
    let (mut service, mut inner): (Spawn<_>, MockHandle) = spawn_layer(layer.clone());
    inner.allow(2);
    assert!(service.poll_ready::<Request<Body>>().is_ready());
    let owner = tokio::spawn(service.call(keyed("k", "a")));
    let response = called(&mut inner).await;
    assert!(service.poll_ready::<Request<Body>>().is_ready());
    let waiter = tokio::spawn(service.call(keyed("k", "a")));
    settle().await;
    inner.allow(0);
    let mut failed = created("");
    *failed.status_mut() = http::StatusCode::BAD_GATEWAY;
    response.send_response(failed);
    assert_eq!(owner.await.unwrap().unwrap().status(), 502);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(
        layer
            .store()
            .inspect(&record_key(&layer))
            .await
            .unwrap()
            .is_some()
    );

    waiter.abort();
    assert_eq!(layer.drain(Duration::from_secs(1)).await.left, 0);

    assert!(
        layer
            .store()
            .inspect(&record_key(&layer))
            .await
            .unwrap()
            .is_none()
    );
    inner.allow(1);
    settle().await;
    assert!(
        inner.poll_request().is_pending(),
        "the handler never starts"
    );
}

#[tokio::test(start_paused = true)]
async fn a_waiter_whose_service_breaks_gives_the_claim_back_and_returns_the_error() {
    // How the owner ended, and what is left of the record afterwards: its attempt.
    for (owner_answers, attempt) in [(true, None), (false, Some(2))] {
        let layer = waiting();
        let strict = Strict::default();
        let (handler, held) = (strict.handler.clone(), strict.clone());
        // Ready as `Strict` is; held, and failing in the end.
        let inner = tower::util::MapFuture::new(held, move |future: Ready<_>| {
            let handler = handler.clone();
            async move {
                let _: Result<Response<Body>, &'static str> = future.await;
                handler.opened().await;
                let mut failed = created("");
                *failed.status_mut() = http::StatusCode::BAD_GATEWAY;
                if owner_answers {
                    Ok(failed)
                } else {
                    Err("failed")
                }
            }
        });
        let service = layer.layer(inner);
        let owner = tokio::spawn(service.clone().oneshot(keyed("k", "a")));
        settle().await;
        let waiter = tokio::spawn(service.clone().oneshot(keyed("k", "a")));
        settle().await;

        strict.broken.store(true, Ordering::SeqCst);
        strict.handler.open();

        assert_eq!(owner.await.unwrap().is_ok(), owner_answers);
        assert_eq!(waiter.await.unwrap().unwrap_err(), "broken");
        assert_eq!(strict.handler.executions(), 1);
        let record = layer.store().inspect(&record_key(&layer)).await.unwrap();
        assert_eq!(record.as_ref().map(Record::attempt), attempt);
        if let Some(record) = record {
            assert!(is_abandoned(&record), "{record:?}");
        }
        assert_eq!(layer.drain(Duration::ZERO).await.left, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_breaks_before_the_first_request_leaves_nothing() {
    let (strict, layer) = (Strict::default(), IdempotencyLayer::default());
    let service = layer.layer(strict.clone());
    strict.broken.store(true, Ordering::SeqCst);

    let error = service.oneshot(keyed("k", "a")).await.unwrap_err();

    assert_eq!(error, "broken");
    assert!(
        layer
            .store()
            .inspect(&record_key(&layer))
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_before_its_first_poll_gives_its_permit_back() {
    let (handler, layer) = (Handler::default(), IdempotencyLayer::default());
    let mut service = layer.layer(ConcurrencyLimit::new(handler.bare(), 1));

    drop(service.ready().await.unwrap().call(keyed("k", "a")));

    assert!(is_ready(&mut service));
    assert!(
        layer
            .store()
            .inspect(&record_key(&layer))
            .await
            .unwrap()
            .is_none()
    );
    let mut future = Box::pin(service.call(keyed("k", "a")));
    assert!(poll_once(&mut future).is_ready());
    assert_eq!(handler.executions(), 1);
}
