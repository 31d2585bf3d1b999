//! The layer behind real sockets: hyper's server with both protocols on one port, `axum::serve`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::response::IntoResponse;
use axum::routing::post as on_post;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;
use tower::{BoxError, Layer, ServiceExt, service_fn};
use tower_idempotency::{IdempotencyLayer, RequestBody};

use super::wire::{Http1, Http2, PATIENCE, bounded, listen, raw, serve, serve_at_once};
use crate::support::{Handler, created, eventually};

#[tokio::test]
async fn over_http_1_a_replay_tells_its_length_and_is_not_chunked() {
    let in_frames = service_fn(|_: Request<RequestBody<Incoming>>| async {
        let frames = ["first, ", "second, ", "third"];
        let frames = frames.map(|it| Ok::<_, BoxError>(Frame::data(Bytes::from(it))));
        Ok::<_, BoxError>(Response::new(StreamBody::new(stream::iter(frames))))
    });
    let address = serve(IdempotencyLayer::default().layer(in_frames)).await;
    let mut client = Http1::to(address).await;

    let passed = client.exchange("POST /charges HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(passed.await.head.contains("transfer-encoding: chunked\r\n"));
    let mut client = Http1::to(address).await;
    let first = client.exchange(&raw("k", "", "a")).await;
    let replay = client.exchange(&raw("k", "", "a")).await;

    for answer in [&first, &replay] {
        assert!(answer.head.starts_with("HTTP/1.1 200 OK\r\n"), "{answer:?}");
        assert!(answer.head.contains("content-length: 20\r\n"), "{answer:?}");
        assert!(!answer.head.contains("transfer-encoding"), "{answer:?}");
        assert_eq!(answer.body, "first, second, third");
    }
    assert_eq!(first.header("idempotent-replayed"), None);
    assert_eq!(
        replay.head.matches("idempotent-replayed: true\r\n").count(),
        1
    );
    assert_eq!(replay.head.matches("idempotency-key: k\r\n").count(), 1);
    assert_eq!(replay.head.matches("date: ").count(), 1);
}

#[tokio::test]
async fn over_http_1_an_empty_answer_leaves_the_connection_in_step() {
    for (status, length) in [(201, Some("0")), (204, None), (303, Some("0"))] {
        let empty = service_fn(move |_: Request<RequestBody<Incoming>>| async move {
            let response = Response::builder()
                .status(status)
                .header("location", "/charges/1");
            response.body(Empty::<Bytes>::new())
        });
        let address = serve(IdempotencyLayer::default().layer(empty)).await;
        let mut client = Http1::to(address).await;

        for replayed in [false, true, true] {
            let answer = client.exchange(&raw("k", "", "a")).await;

            assert_eq!(answer.status(), status.to_string());
            assert_eq!(answer.header("content-length"), length, "{answer:?}");
            assert_eq!(answer.header("location"), Some("/charges/1"));
            assert_eq!(answer.is_replay(), replayed);
        }
    }
}

#[tokio::test]
async fn over_http_2_trailers_come_with_the_first_answer_and_with_its_replay() {
    let handler = Handler::default();
    let counting = handler.clone();
    let with_trailers = service_fn(move |request: Request<RequestBody<Incoming>>| {
        counting.begin(request.extensions());
        async {
            let mut trailers = HeaderMap::new();
            trailers.append("grpc-status", "0".parse().unwrap());
            trailers.append("x-part", "1".parse().unwrap());
            trailers.append("x-part", "2".parse().unwrap());
            let body = created("done").into_body();
            Ok::<_, BoxError>(Response::new(
                body.with_trailers(async { Some(Ok(trailers)) }),
            ))
        }
    });
    let address = serve(IdempotencyLayer::default().layer(with_trailers)).await;
    let mut client = Http2::to(address).await;

    let first = client.exchange("k", "a").await;
    let replay = client.exchange("k", "a").await;

    assert_eq!(first.text(), "done");
    assert_eq!(
        first
            .trailers
            .as_ref()
            .unwrap()
            .get_all("x-part")
            .iter()
            .count(),
        2
    );
    assert!(!first.is_replay() && replay.is_replay());
    assert_eq!(
        (&replay.body, &replay.trailers),
        (&first.body, &first.trailers)
    );
    assert_eq!(handler.executions(), 1);
}

#[tokio::test]
async fn a_retry_over_the_other_protocol_is_a_replay() {
    let handler = Handler::default();
    let address = serve_at_once(&IdempotencyLayer::default(), &handler).await;
    let (mut http1, mut http2) = (Http1::to(address).await, Http2::to(address).await);

    let first = http1.exchange(&raw("h1-first", "", "a")).await;
    let retry = http2.exchange("h1-first", "a").await;
    assert_eq!(first.status(), "201");
    assert!(retry.is_replay() && retry.text() == first.body, "{retry:?}");

    let first = http2.exchange("h2-first", "a").await;
    let retry = http1.exchange(&raw("h2-first", "", "a")).await;
    let absolute = raw("h2-first", "", "a").replace("/charges", "http://localhost/charges");
    let in_absolute_form = http1.exchange(&absolute).await;
    assert_eq!(first.status, 201);
    assert!(retry.is_replay() && retry.body == first.text(), "{retry:?}");
    assert!(in_absolute_form.is_replay(), "{in_absolute_form:?}");

    assert_eq!(handler.executions(), 2);
}

#[tokio::test]
async fn a_client_that_hangs_up_over_http_1_finds_its_answer_later() {
    let (handler, layer) = (Handler::default(), IdempotencyLayer::default());
    let (address, given_up) = serve_watched(&layer, &handler).await;
    let mut client = Http1::to(address).await;

    client.send(&raw("k", "", "a")).await;
    eventually("the handler runs", || handler.executions() == 1).await;
    drop(client);
    eventually("the server gives up", || {
        given_up.load(Ordering::SeqCst) == 1
    })
    .await;
    assert_eq!(handler.finished(), 0);
    handler.open();
    assert_eq!(layer.drain(PATIENCE).await.left, 0);

    let retry = Http1::to(address).await.exchange(&raw("k", "", "a")).await;
    assert!(
        retry.is_replay() && retry.body == "execution 1",
        "{retry:?}"
    );
    assert_eq!((handler.executions(), handler.finished()), (1, 1));
}

#[tokio::test]
async fn a_client_that_cancels_over_http_2_finds_its_answer_later() {
    let (handler, layer) = (Handler::default(), IdempotencyLayer::default());
    let (address, given_up) = serve_watched(&layer, &handler).await;
    let mut client = Http2::to(address).await;

    let request = tokio::spawn(client.send("k", "a"));
    eventually("the handler runs", || handler.executions() == 1).await;
    request.abort();
    eventually("the server gives up", || {
        given_up.load(Ordering::SeqCst) == 1
    })
    .await;
    assert_eq!(handler.finished(), 0);
    handler.open();
    assert_eq!(layer.drain(PATIENCE).await.left, 0);

    let retry = client.exchange("k", "a").await;
    assert!(
        retry.is_replay() && retry.text() == "execution 1",
        "{retry:?}"
    );
    assert_eq!((handler.executions(), handler.finished()), (1, 1));
}

/// A handler that is held, and how many of its futures hyper has dropped or seen end.
async fn serve_watched(
    layer: &IdempotencyLayer,
    handler: &Handler,
) -> (SocketAddr, Arc<AtomicU32>) {
    struct Watch(Arc<AtomicU32>);
    impl Drop for Watch {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let over = Arc::new(AtomicU32::new(0));
    let watch = Arc::clone(&over);
    let guarded = layer.layer(handler.bare_held());
    let watched = ServiceExt::<Request<Incoming>>::map_future(guarded, move |future| {
        let watch = Watch(Arc::clone(&watch));
        async move {
            let _watch = watch;
            future.await
        }
    });
    (serve(watched).await, over)
}

#[tokio::test]
async fn a_connection_stays_usable_after_each_refusal() {
    let handler = Handler::default();
    let layer = IdempotencyLayer::default().max_request_bytes(16);
    let address = serve(layer.layer(handler.bare_held())).await;
    let mut owner = Http1::to(address).await;
    let mut client = Http1::to(address).await;
    owner.send(&raw("k", "", "a")).await;
    eventually("the handler runs", || handler.executions() == 1).await;

    let too_large = "12345678901234567";
    let chunked = raw("k", "Transfer-Encoding: chunked\r\n", "")
        .replace("Content-Length: 0\r\n", "")
        + "11\r\n12345678901234567\r\n0\r\n\r\n";
    for (request, status) in [
        (raw("k", "", "a"), "409"),
        (raw("k", "", "b"), "422"),
        (raw("k", "", too_large), "413"),
        (chunked, "413"),
        (raw("\"", "", "a"), "400"),
        (raw("k", "Idempotency-Key: k\r\n", "a"), "400"),
        (raw("k", "Cookie: a=b\r\n", "a"), "500"),
    ] {
        let answer = client.exchange(&request).await;
        assert_eq!(answer.status(), status, "{answer:?}");
        assert_eq!(answer.header("connection"), None, "{answer:?}");
    }
    handler.open();

    assert_eq!(owner.answer().await.body, "execution 1");
    let replay = client.exchange(&raw("k", "", "a")).await;
    assert!(
        replay.is_replay() && replay.body == "execution 1",
        "{replay:?}"
    );
    assert_eq!(handler.executions(), 1);
}

#[tokio::test]
async fn what_was_not_read_of_a_body_is_never_taken_for_a_request() {
    let handler = Handler::default();
    let layer = IdempotencyLayer::default().max_request_bytes(16);
    let address = serve_at_once(&layer, &handler).await;
    let mut client = Http1::to(address).await;
    let smuggled = raw("smuggled", "", "a");

    client
        .send(&raw("k", "", &smuggled.repeat(1_000)).replace(&smuggled, ""))
        .await;
    let refused = client.answer().await;
    let rest = client.rest_after(&smuggled).await;

    assert_eq!(refused.status(), "413");
    assert_eq!((rest.as_str(), handler.executions()), ("", 0));
    let fresh = Http1::to(address).await.exchange(&raw("k", "", "a")).await;
    assert_eq!(fresh.status(), "201");
}

#[tokio::test]
async fn an_upgrade_header_changes_nothing() {
    let handler = Handler::default();
    let address = serve_at_once(&IdempotencyLayer::default(), &handler).await;
    let mut client = Http1::to(address).await;
    let h2c = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
               HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n";

    let first = client.exchange(&raw("k", h2c, "a")).await;
    let replay = client.exchange(&raw("k", h2c, "a")).await;
    let without = client.exchange(&raw("k", "", "a")).await;
    let mismatch = client.exchange(&raw("k", h2c, "b")).await;

    assert_eq!((first.status(), first.is_replay()), ("201", false));
    assert!(replay.is_replay() && without.is_replay());
    assert_eq!(mismatch.status(), "422");
    assert_eq!(handler.executions(), 1);
}

#[tokio::test]
async fn a_response_of_101_switches_and_leaves_a_tombstone() {
    let layer = IdempotencyLayer::default();
    let switching = service_fn(|mut request: Request<RequestBody<Incoming>>| async move {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut upgraded = TokioIo::new(upgrade.await.unwrap());
            upgraded.write_all(b"switched\n").await.unwrap();
        });
        let response = Response::builder().status(101).header("upgrade", "mine");
        response
            .header("connection", "upgrade")
            .body(Empty::<Bytes>::new())
    });
    let address = serve(layer.layer(switching)).await;
    let mut client = Http1::to(address).await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: mine\r\n";

    client.send(&raw("k", upgrade, "")).await;
    let head = client.head().await;
    assert!(
        head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"),
        "{head}"
    );
    assert_eq!(client.rest_after("").await, "switched\n");

    let retry = Http1::to(address)
        .await
        .exchange(&raw("k", upgrade, ""))
        .await;
    assert_eq!(retry.status(), "409");
    assert!(
        retry.body.contains("idempotency_response_unavailable"),
        "{retry:?}"
    );
}

#[tokio::test]
async fn a_client_that_expects_100_is_told_to_continue_or_refused() {
    let handler = Handler::default();
    let layer = IdempotencyLayer::default().max_request_bytes(16);
    let address = serve_at_once(&layer, &handler).await;
    let expecting = raw("k", "Expect: 100-continue\r\n", "a");
    let (head, body) = expecting.split_at(expecting.len() - 1);

    for replayed in [false, true] {
        let mut client = Http1::to(address).await;
        client.send(head).await;
        assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
        let answer = client.exchange(body).await;

        assert_eq!((answer.status(), answer.is_replay()), ("201", replayed));
    }
    let mut client = Http1::to(address).await;
    client
        .send(&head.replace("Content-Length: 1\r\n", "Content-Length: 17\r\n"))
        .await;
    let refused = client.answer().await;

    assert_eq!(refused.status(), "413");
    assert_eq!(handler.executions(), 1);
}

#[tokio::test]
async fn axum_serves_a_layered_router_and_a_drain_ends_what_its_clients_left() {
    let (handler, idempotency) = (Handler::default(), IdempotencyLayer::default());
    let charge = axum::routing::post_service(handler.bare_held());
    let app = Router::new()
        .route("/charges", charge)
        .layer(idempotency.clone());
    let (listener, address) = listen().await;
    let (stop, stopped) = oneshot::channel::<()>();
    let server = axum::serve(listener, app).with_graceful_shutdown(async {
        stopped.await.unwrap();
    });
    let server = tokio::spawn(server.into_future());
    let mut client = Http1::to(address).await;
    client.send(&raw("k", "", "a")).await;
    eventually("the handler runs", || handler.executions() == 1).await;

    drop(client);
    stop.send(()).unwrap();
    bounded("the server stops", server).await.unwrap().unwrap();
    assert_eq!(idempotency.drain(Duration::from_millis(10)).await.left, 1);
    handler.open();

    assert_eq!(idempotency.drain(PATIENCE).await.left, 0);
    assert_eq!(handler.finished(), 1);
}

#[tokio::test]
async fn axum_serves_a_layer_around_the_whole_router_and_tells_it_who_calls() {
    async fn charge(ConnectInfo(peer): ConnectInfo<SocketAddr>) -> String {
        peer.ip().to_string()
    }
    let layer = IdempotencyLayer::default();
    let routes = Router::new().nest("/charges", Router::new().route("/", on_post(charge)));
    let inside = routes.clone().layer(layer.clone());
    let inside = inside.into_make_service_with_connect_info::<SocketAddr>();
    let around = ServiceExt::<axum::extract::Request>::map_response(
        layer.layer(routes),
        IntoResponse::into_response,
    );
    let around = axum::ServiceExt::<axum::extract::Request>::into_make_service_with_connect_info::<
        SocketAddr,
    >(around);
    let (of_inside, inside_address) = listen().await;
    let (of_around, around_address) = listen().await;
    tokio::spawn(axum::serve(of_inside, inside).into_future());
    tokio::spawn(axum::serve(of_around, around).into_future());

    let first = Http1::to(inside_address)
        .await
        .exchange(&raw("k", "", "a"))
        .await;
    let replay = Http1::to(around_address)
        .await
        .exchange(&raw("k", "", "a"))
        .await;
    let other = Http1::to(around_address)
        .await
        .exchange(&raw("other", "", "a"))
        .await;

    for answer in [&first, &replay, &other] {
        assert_eq!(
            (answer.status(), answer.body.as_str()),
            ("200", "127.0.0.1")
        );
    }
    assert!(!first.is_replay() && replay.is_replay() && !other.is_replay());
}
