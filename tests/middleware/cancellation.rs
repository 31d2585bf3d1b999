//! Clients that hang up, handlers that panic, runtimes that end.

mod modes;

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use tower::util::service_fn;
use tower::{Layer, Service, ServiceExt};
use tower_idempotency::{
    IdempotencyLayer, InFlight, MemoryStore, Record, RequestBody, Store, StoreErrorKind,
};

use crate::scripted::{Fault, Scripted, Verb};
use crate::support::{Body, Handler, PATH, created, keyed, poll_once, read, send, settle};

const LONG: Duration = Duration::from_secs(60);

/// A body that yields before every byte.
#[derive(Debug)]
struct Slow {
    bytes: Bytes,
    yielded: bool,
}

impl Slow {
    fn new(bytes: impl Into<Bytes>) -> Self {
        Self {
            bytes: bytes.into(),
            yielded: false,
        }
    }
}

impl http_body::Body for Slow {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.bytes.is_empty() {
            return Poll::Ready(None);
        }
        self.yielded = !self.yielded;
        if self.yielded {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(Frame::data(self.bytes.split_to(1)))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::new()
    }
}

fn slow(key: &str, body: &'static str) -> Request<Slow> {
    keyed(key, body).map(|_| Slow::new(body))
}

#[tokio::test(start_paused = true)]
async fn a_handler_whose_client_hangs_up_runs_on_and_is_replayed() {
    let (layer, handler) = (IdempotencyLayer::default(), Handler::default());
    let service = handler.held(&layer);
    let mut request = Box::pin(service.clone().oneshot(keyed("k", "a")));
    assert!(poll_once(&mut request).is_pending());
    assert_eq!(handler.executions(), 1);

    drop(request);
    settle().await;
    assert_eq!(
        send(&service, keyed("k", "a")).await.code(),
        "idempotency_in_progress"
    );
    handler.open();
    assert_eq!(layer.drain(LONG).await.left, 0);

    let retry = send(&service, keyed("k", "a")).await;
    assert!(retry.is_replay());
    assert_eq!(
        (retry.text(), handler.executions(), handler.finished()),
        ("execution 1", 1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_held_of_a_response_is_recorded_when_the_client_hangs_up() {
    let layer = IdempotencyLayer::default();
    let service = layer.layer(service_fn(async |_: Request<RequestBody<Body>>| {
        Ok::<_, std::convert::Infallible>(created("").map(|_| Slow::new("slowly")))
    }));
    let mut request = Box::pin(service.clone().oneshot(keyed("k", "a")));
    assert!(poll_once(&mut request).is_pending());

    drop(request);
    assert_eq!(layer.drain(LONG).await.left, 0);

    let retry = send(&service, keyed("k", "a")).await;
    assert!(retry.is_replay());
    assert_eq!(retry.text(), "slowly");
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_its_deadline_and_says_what_is_left() {
    let (layer, handler) = (IdempotencyLayer::default(), Handler::default());
    let service = handler.held(&layer);
    for key in ["k", "l", "m"] {
        let mut request = Box::pin(service.clone().oneshot(keyed(key, "a")));
        assert!(poll_once(&mut request).is_pending());
    }
    settle().await;

    assert_eq!(layer.clone().drain(Duration::from_secs(1)).await.left, 3);
    handler.open();
    settle().await;
    assert_eq!(layer.drain(Duration::from_secs(1)).await.left, 2);
    handler.open();
    settle().await;
    handler.open();
    assert_eq!(layer.drain(LONG).await.left, 0);
}

#[tokio::test(start_paused = true)]
async fn a_panic_unwinds_with_its_payload_and_leaves_the_record_abandoned() {
    let (layer, handler) = (IdempotencyLayer::default(), Handler::default());
    let service = handler.answering(&layer, {
        let handler = handler.clone();
        move |_| {
            let first = handler.executions() == 1;
            async move {
                tokio::task::yield_now().await;
                if first {
                    std::panic::panic_any(Payload(42));
                }
                created("second")
            }
        }
    });

    let panic = AssertUnwindSafe(service.clone().oneshot(keyed("k", "a")))
        .catch_unwind()
        .await;

    assert_eq!(panic.unwrap_err().downcast_ref(), Some(&Payload(42)));
    let record = record(&layer, "k").await.unwrap();
    assert!(!record.is_live() && record.attempt() == 1);
    assert_eq!(
        send(&service, keyed("k", "b")).await.code(),
        "idempotency_mismatch"
    );
    let retry = send(&service, keyed("k", "a")).await;
    assert_eq!((retry.text(), handler.last_attempt()), ("second", 2));
    assert!(!retry.is_replay());
    assert_eq!(layer.drain(LONG).await.left, 0);
}

#[derive(Debug, PartialEq)]
struct Payload(u32);

#[tokio::test(start_paused = true)]
async fn a_panic_in_call_is_like_one_in_the_future() {
    let (layer, handler) = (IdempotencyLayer::default(), Handler::default());
    let service = handler.answering(&layer, |_| -> std::future::Ready<Response<Body>> {
        std::panic::panic_any(Payload(7))
    });

    let panic = AssertUnwindSafe(service.oneshot(keyed("k", "a")))
        .catch_unwind()
        .await;

    assert_eq!(panic.unwrap_err().downcast_ref(), Some(&Payload(7)));
    assert!(!record(&layer, "k").await.unwrap().is_live());
}

#[tokio::test(start_paused = true)]
async fn a_panic_behind_a_hang_up_leaves_the_record_abandoned_too() {
    let (layer, handler) = (IdempotencyLayer::default(), Handler::default());
    let service = handler.answering(&layer, |_| async {
        tokio::task::yield_now().await;
        panic!("nobody listens")
    });
    let mut request = Box::pin(service.oneshot(keyed("k", "a")));
    assert!(poll_once(&mut request).is_pending());

    drop(request);

    assert_eq!(layer.drain(LONG).await.left, 0);
    assert!(!record(&layer, "k").await.unwrap().is_live());
}

#[test]
fn a_runtime_of_either_flavour_can_be_dropped_with_requests_inside() {
    for mut runtime in [
        tokio::runtime::Builder::new_current_thread(),
        tokio::runtime::Builder::new_multi_thread(),
    ] {
        let store = Arc::new(MemoryStore::new());
        let (layer, handler) = (
            IdempotencyLayer::new(Arc::clone(&store)),
            Handler::default(),
        );
        let service = handler.held(&layer);
        let runtime = runtime.enable_all().build().unwrap();
        runtime.block_on(async {
            for number in 0..100 {
                let mut request =
                    Box::pin(service.clone().oneshot(keyed(&format!("k{number}"), "a")));
                if number % 2 == 0 {
                    // Hung up: already a task of its own.
                    assert!(poll_once(&mut request).is_pending());
                } else {
                    tokio::spawn(request);
                }
            }
            settle().await;
        });
        while handler.executions() < 100 {
            std::thread::yield_now();
        }

        drop(runtime);

        // What could be settled without waiting was: the records are abandoned, not in flight.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            for number in 0..100 {
                let record = record(&layer, &format!("k{number}")).await.unwrap();
                assert!(!record.is_live(), "{number}");
            }
            handler.open();
            assert_eq!(send(&service, keyed("k7", "a")).await.status, 201);
            assert_eq!(handler.last_attempt(), 2);
        });
    }
}

#[test]
fn outside_a_runtime_requests_run_replay_and_can_be_dropped() {
    let (layer, handler) = (IdempotencyLayer::default(), Handler::default());
    let service = handler.at_once(&layer);
    let mut first = Box::pin(service.clone().oneshot(keyed("k", "a")));
    let mut retry = Box::pin(service.oneshot(keyed("k", "a")));

    assert!(matches!(poll_once(&mut first), Poll::Ready(Ok(response)) if response.status() == 201));
    assert!(matches!(poll_once(&mut retry), Poll::Ready(Ok(response))
        if response.headers().contains_key("idempotent-replayed")));

    let held = Handler::default();
    let service = held.held(&layer);
    let mut request = Box::pin(service.oneshot(keyed("l", "a")));
    assert!(poll_once(&mut request).is_pending());
    drop(request);
    let record = record(&layer, "l").now_or_never().unwrap().unwrap();
    assert!(!record.is_live());
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_client_went_before_the_handler_started_is_given_back() {
    let store = Scripted::new();
    let (layer, handler) = (
        IdempotencyLayer::new(Arc::clone(&store)),
        Handler::default(),
    );
    let service = handler.at_once(&layer);
    for slow in [
        Fault::SlowBefore(Duration::from_secs(1)),
        Fault::SlowAfter(Duration::from_secs(1)),
    ] {
        store.next(Verb::Claim, slow);
        let mut request = Box::pin(service.clone().oneshot(keyed("k", "a")));
        assert!(poll_once(&mut request).is_pending());

        drop(request);

        assert_eq!(layer.drain(LONG).await.left, 0);
        assert_eq!(handler.executions(), 0);
        assert!(record(&layer, "k").await.is_none(), "{slow:?}");
    }
    assert_eq!(store.calls(Verb::Release), 2);
}

#[tokio::test(start_paused = true)]
async fn a_second_attempt_that_is_given_back_keeps_fingerprint_and_count() {
    let store = Scripted::new();
    let (layer, handler) = (
        IdempotencyLayer::new(Arc::clone(&store)),
        Handler::default(),
    );
    let panicking = handler.answering(&layer, |_| async { panic!("the first attempt") });
    let _ = AssertUnwindSafe(panicking.oneshot(keyed("k", "a")))
        .catch_unwind()
        .await;
    let service = handler.at_once(&layer);
    store.next(Verb::Claim, Fault::SlowAfter(Duration::from_secs(1)));
    let mut request = Box::pin(service.clone().oneshot(keyed("k", "a")));
    assert!(poll_once(&mut request).is_pending());

    drop(request);

    assert_eq!(layer.drain(LONG).await.left, 0);
    assert_eq!(handler.executions(), 1);
    assert_eq!(record(&layer, "k").await.unwrap().attempt(), 2);
    assert_eq!(
        send(&service, keyed("k", "b")).await.code(),
        "idempotency_mismatch"
    );
    assert_eq!(send(&service, keyed("k", "a")).await.status, 201);
    assert_eq!(handler.last_attempt(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_request_dropped_while_its_body_arrives_claims_nothing() {
    let store = Scripted::new();
    let (layer, handler) = (
        IdempotencyLayer::new(Arc::clone(&store)),
        Handler::default(),
    );
    let service = layer.layer(service_fn({
        let handler = handler.clone();
        move |_: Request<RequestBody<Slow>>| {
            handler.start();
            async { Ok::<_, std::convert::Infallible>(created("")) }
        }
    }));
    let mut request = Box::pin(service.oneshot(slow("k", "a body")));
    assert!(poll_once(&mut request).is_pending());

    drop(request);
    settle().await;

    assert_eq!((store.calls(Verb::Claim), handler.executions()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn beyond_the_bound_of_detached_executions_new_claims_are_refused() {
    let layer = IdempotencyLayer::default().max_detached(2);
    let handler = Handler::default();
    let service = handler.held(&layer);
    for key in ["k", "l"] {
        let mut request = Box::pin(service.clone().oneshot(keyed(key, "a")));
        assert!(poll_once(&mut request).is_pending());
    }

    let refused = send(&service, keyed("m", "a")).await;

    assert_eq!(
        (refused.status.as_u16(), refused.code().as_str()),
        (503, "idempotency_overloaded")
    );
    assert_eq!(refused.header("retry-after"), Some("1"));
    settle().await;
    handler.open();
    settle().await;
    handler.open();
    assert_eq!(layer.drain(LONG).await.left, 0);
    handler.open();
    assert_eq!(send(&service, keyed("m", "a")).await.status, 201);
    assert_eq!(handler.executions(), 3);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_hang_ups_leave_nothing_behind() {
    let layer = IdempotencyLayer::default().max_detached(20_000);
    let handler = Handler::default();
    let service = handler.answering(&layer, |_| async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut refused = created("");
        *refused.status_mut() = http::StatusCode::CONFLICT;
        refused
    });
    for number in 0..10_000 {
        let mut service = service.clone();
        let request = keyed(&format!("k{number}"), "a");
        let mut request = service.ready().await.unwrap().call(request);
        assert!(poll_once(&mut Pin::new(&mut request)).is_pending());
    }

    assert_eq!(layer.drain(LONG).await.left, 0);

    assert_eq!((handler.executions(), handler.finished()), (10_000, 10_000));
    assert!(layer.store().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_drop_while_settling_goes_on_until_it_is_settled() {
    let store = Scripted::new();
    let (layer, handler) = (
        IdempotencyLayer::new(Arc::clone(&store)),
        Handler::default(),
    );
    let service = handler.at_once(&layer);
    store.next(Verb::Complete, Fault::Before(StoreErrorKind::NotApplied));
    store.next(Verb::Complete, Fault::SlowBefore(Duration::from_secs(1)));
    let mut request = Box::pin(service.clone().oneshot(keyed("k", "a")));
    let _ = poll_once(&mut request);

    drop(request);

    assert_eq!(layer.drain(LONG).await.left, 0);
    assert!(send(&service, keyed("k", "a")).await.is_replay());
    assert_eq!(handler.executions(), 1);
}

async fn record<St: Store>(layer: &IdempotencyLayer<St>, key: &str) -> Option<Record> {
    let key = layer.record_key(b"", &http::Method::POST, PATH, key);
    layer.store().inspect(&key).await.unwrap()
}
