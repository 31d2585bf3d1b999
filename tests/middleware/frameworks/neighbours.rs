//! The layer beside other layers: catch-panic, timeouts, limits, mapped bodies.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::routing::post as on_post;
use http::{Method, Request};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_idempotency::{Idempotency, IdempotencyLayer, Outcome, RequestBody, State, Store};

use crate::support::{Body, Handler, created, plain, send, settle};

#[tokio::test(start_paused = true)]
async fn a_panic_is_answered_by_the_layer_outside_and_the_retry_is_attempt_2() {
    async fn charge(idempotency: Idempotency) -> String {
        assert!(idempotency.attempt() > 1, "the first attempt panics");
        format!("attempt {}", idempotency.attempt())
    }
    let layer = IdempotencyLayer::default();
    let app = Router::new()
        .route("/charges", on_post(charge))
        .layer(layer.clone())
        .layer(CatchPanicLayer::new());

    let panicked = send(&app, plain("k", "a")).await;
    let mismatch = send(&app, plain("k", "b")).await;
    let retry = send(&app, plain("k", "a")).await;
    let replay = send(&app, plain("k", "a")).await;

    assert_eq!(panicked.status, 500);
    assert_eq!(panicked.outcome, Outcome::Bypassed);
    assert_eq!(mismatch.code(), "idempotency_mismatch");
    assert_eq!(retry.text(), "attempt 2");
    assert!(replay.is_replay() && replay.body == retry.body);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_outside_ends_the_wait_and_not_the_work() {
    let (handler, layer) = (Handler::default(), IdempotencyLayer::default());
    let guarded = handler.held(&layer);
    let hurried = ServiceBuilder::new()
        .timeout(Duration::from_secs(1))
        .service(guarded.clone());

    let elapsed = hurried.clone().oneshot(plain("k", "a")).await.unwrap_err();
    assert!(elapsed.is::<tower::timeout::error::Elapsed>());
    let early = send(&hurried, plain("k", "a")).await;
    handler.open();
    settle().await;
    let retry = send(&hurried, plain("k", "a")).await;

    assert_eq!(early.code(), "idempotency_in_progress");
    assert!(retry.is_replay() && retry.text() == "execution 1");
    assert_eq!((handler.executions(), handler.finished()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_timeout_inside_abandons_the_attempt() {
    let (handler, layer) = (Handler::default(), IdempotencyLayer::default());
    let inner = ServiceBuilder::new()
        .timeout(Duration::from_secs(1))
        .service(handler.bare_held::<RequestBody<Body>>());
    let app = layer.layer(inner);

    let elapsed = app.clone().oneshot(plain("k", "a")).await.unwrap_err();
    assert!(elapsed.is::<tower::timeout::error::Elapsed>());
    let record_key = layer.record_key(b"", &Method::POST, "/charges", "k");
    let record = layer.store().inspect(&record_key).await.unwrap().unwrap();
    let mismatch = send(&app, plain("k", "b")).await;
    handler.open();
    let retry = send(&app, plain("k", "a")).await;

    let State::InFlight { lease_left } = record.state() else {
        panic!("{record:?}");
    };
    assert_eq!((record.attempt(), *lease_left), (1, Duration::ZERO));
    assert_eq!(mismatch.code(), "idempotency_mismatch");
    assert_eq!(retry.status, 201);
    assert_eq!((handler.last_attempt(), handler.finished()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_body_limit_stands_on_either_side() {
    let (handler, layer) = (Handler::default(), IdempotencyLayer::default());
    let limit = RequestBodyLimitLayer::new(4);
    let outside = limit.layer(layer.layer(handler.bare()));
    let inside = layer.layer(limit.layer(handler.bare()));
    let declared = |key| {
        let mut request = plain(key, "12345");
        request
            .headers_mut()
            .insert("content-length", "5".parse().unwrap());
        request
    };
    let record_key = |key| layer.record_key(b"", &Method::POST, "/charges", key);

    assert_eq!(send(&outside, declared("out")).await.status, 413);
    assert_eq!(
        send(&outside, plain("out", "12345")).await.code(),
        "request_body_unreadable"
    );
    assert!(
        layer
            .store()
            .inspect(&record_key("out"))
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(send(&outside, plain("out", "1234")).await.status, 201);
    assert!(send(&outside, plain("out", "1234")).await.is_replay());

    assert_eq!(send(&inside, declared("in")).await.status, 413);
    assert!(
        layer
            .store()
            .inspect(&record_key("in"))
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(send(&inside, plain("in", "1234")).await.status, 201);
    assert!(send(&inside, plain("in", "1234")).await.is_replay());
    assert_eq!(handler.executions(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_body_limit_stands_on_either_side_in_a_router() {
    let layer = IdempotencyLayer::default();
    let routes = Router::new().route("/charges", on_post(async |body: String| body));
    let limit = RequestBodyLimitLayer::new(4);
    let outside = routes.clone().layer(layer.clone()).layer(limit);
    let inside = routes.layer(limit).layer(layer);

    for (app, status) in [(outside, 400), (inside, 413)] {
        let key = status.to_string();
        assert_eq!(send(&app, plain(&key, "12345")).await.status, status);
        assert_eq!(send(&app, plain(&key, "1234")).await.text(), "1234");
        assert!(send(&app, plain(&key, "1234")).await.is_replay());
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_with_a_fixed_body_type_goes_behind_map_request() {
    let handler = Handler::default();
    let counting = handler.clone();
    let fixed = service_fn(move |request: Request<axum::body::Body>| {
        counting.begin(request.extensions());
        async {
            let body = axum::body::to_bytes(request.into_body(), 100)
                .await
                .unwrap();
            Ok::<_, Infallible>(created(std::str::from_utf8(&body).unwrap()))
        }
    });
    let boxed = |request: Request<RequestBody<Body>>| request.map(axum::body::Body::new);
    let app = ServiceBuilder::new()
        .layer(IdempotencyLayer::default())
        .map_request(boxed)
        .service(fixed);

    let first = send(&app, plain("k", "a")).await;
    let replay = send(&app, plain("k", "a")).await;

    assert_eq!(first.text(), "a");
    assert!(replay.is_replay() && replay.text() == "a");
    assert_eq!(handler.executions(), 1);
}
