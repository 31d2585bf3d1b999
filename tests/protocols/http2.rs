//! HTTP/2: many streams on one connection, each of which ends for itself.

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tower::{Layer, service_fn};
use tower_idempotency::{IdempotencyLayer, InFlight, RequestBody, Store};

use crate::support::{Body, Handler, eventually, post};
use crate::watch::Watch;
use crate::wire::{Http2, PATIENCE, bounded, serve, serve_at_once};

/// A held handler behind a layer, watched.
async fn held(layer: &IdempotencyLayer, handler: &Handler) -> (SocketAddr, Watch) {
    let watch = Watch::default();
    let address = serve(watch.layer(layer.layer(handler.bare_held()))).await;
    (address, watch)
}

#[tokio::test]
async fn a_connection_that_is_lost_loses_none_of_its_streams() {
    let (handler, layer) = (Handler::default(), IdempotencyLayer::default());
    let (address, watch) = held(&layer, &handler).await;
    let mut client = Http2::to(address).await;
    let keys = ["a", "b", "c", "d"];

    let requests = join_all(keys.map(|key| client.send(key, "x")));
    let requests = tokio::spawn(requests);
    eventually("all of them run", || handler.executions() == 4).await;
    requests.abort();
    drop(client);
    eventually("the server gives up", || watch.given_up() == 4).await;
    assert_eq!(handler.finished(), 0);
    for finished in 1..=4 {
        handler.open();
        eventually("one of them ends", || handler.finished() == finished).await;
    }
    assert_eq!(layer.drain(PATIENCE).await.left, 0);

    let mut client = Http2::to(address).await;
    for key in keys {
        assert!(client.exchange(key, "x").await.is_replay(), "{key}");
    }
    assert_eq!(handler.executions(), 4);
}

#[tokio::test]
async fn a_stream_that_is_reset_leaves_the_others_of_its_connection_alone() {
    let (handler, layer) = (Handler::default(), IdempotencyLayer::default());
    let (address, watch) = held(&layer, &handler).await;
    let mut client = Http2::to(address).await;
    let stays = tokio::spawn(client.send("stays", "x"));
    eventually("the first runs", || handler.executions() == 1).await;
    let leaves = tokio::spawn(client.send("leaves", "x"));
    eventually("the second runs", || handler.executions() == 2).await;

    leaves.abort();
    eventually("the server gives up", || watch.given_up() == 1).await;
    handler.open();
    let stayed = bounded("an answer", stays).await.unwrap().unwrap();
    handler.open();
    assert_eq!(layer.drain(PATIENCE).await.left, 0);

    assert_eq!(stayed.status(), 201);
    for key in ["stays", "leaves"] {
        assert!(client.exchange(key, "x").await.is_replay(), "{key}");
    }
    assert_eq!((handler.executions(), watch.given_up()), (2, 1));
}

#[tokio::test]
async fn a_stream_that_is_reset_while_it_waits_leaves_its_owner_and_the_other_waiters_alone() {
    let handler = Handler::default();
    let layer = IdempotencyLayer::default().in_flight(InFlight::wait(PATIENCE));
    let (address, watch) = held(&layer, &handler).await;
    let mut client = Http2::to(address).await;
    let owner = tokio::spawn(client.send("k", "x"));
    eventually("it runs", || handler.executions() == 1).await;
    let waiters: Vec<_> = (0..4)
        .map(|_| tokio::spawn(client.send("k", "x")))
        .collect();
    eventually("the others have come", || watch.begun() == 5).await;

    waiters[0].abort();
    waiters[2].abort();
    eventually("the server gives up", || watch.given_up() == 2).await;
    handler.open();

    let owner = bounded("an answer", owner).await.unwrap().unwrap();
    assert!(!owner.headers().contains_key("idempotent-replayed"));
    for waiter in waiters {
        if let Ok(answer) = bounded("an answer", waiter).await {
            assert_eq!(answer.unwrap().headers()["idempotent-replayed"], "true");
        }
    }
    assert_eq!((handler.executions(), watch.given_up()), (1, 2));
}

type Upload = StreamBody<
    futures_util::stream::BoxStream<'static, Result<Frame<Bytes>, std::convert::Infallible>>,
>;

/// A connection whose request bodies are fed by the test.
async fn uploading(address: SocketAddr) -> http2::SendRequest<Upload> {
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let executor = TokioExecutor::new();
    let (sender, connection) = http2::handshake(executor, stream).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// A keyed POST, and what feeds its body.
fn upload(address: SocketAddr, key: &str) -> (UnboundedSender<Bytes>, Request<Upload>) {
    let (feed, mut pieces) = unbounded_channel();
    let pieces = futures_util::stream::poll_fn(move |cx| {
        let frame = |piece| Ok(Frame::data(piece));
        pieces.poll_recv(cx).map(|piece| piece.map(frame))
    });
    let head = post(
        &format!("http://{address}/charges"),
        &[("idempotency-key", key)],
        "",
    );
    (feed, head.map(|_| StreamBody::new(Box::pin(pieces) as _)))
}

#[tokio::test]
async fn a_stream_that_is_reset_while_it_uploads_has_claimed_nothing() {
    let (handler, layer) = (Handler::default(), IdempotencyLayer::default());
    let (address, watch) = held(&layer, &handler).await;
    let mut client = uploading(address).await;
    let (feed, request) = upload(address, "k");
    let request = tokio::spawn(client.send_request(request));
    feed.send("half".into()).unwrap();
    eventually("it has come", || watch.begun() == 1).await;

    request.abort();

    // By a refusal that nobody reads.
    eventually("it is over", || watch.answered() == 1).await;
    let record = layer.record_key(b"", &Method::POST, "/charges", "k");
    assert!(layer.store().inspect(&record).await.unwrap().is_none());
    assert_eq!(handler.executions(), 0);
    assert_eq!(layer.drain(PATIENCE).await.left, 0);
}

#[tokio::test]
async fn a_refusal_before_the_body_has_come_ends_its_stream_and_not_the_connection() {
    let handler = Handler::default();
    let layer = IdempotencyLayer::default().max_request_bytes(16);
    let address = serve_at_once(&layer, &handler).await;
    let mut client = uploading(address).await;

    // Refused by its key without a look at the body, and by its body half-way.
    for (key, status) in [("\"", 400), ("k", 413)] {
        let (feed, request) = upload(address, key);
        let sent = client.send_request(request);
        feed.send("more than 16 bytes".into()).unwrap();
        let refused = bounded("an answer", sent).await.unwrap();
        assert_eq!(refused.status(), status);
        bounded("its body", refused.into_body().collect())
            .await
            .unwrap();
        // The upload is called off.
        bounded("the end of the upload", feed.closed()).await;

        let (feed, request) = upload(address, &format!("next{status}"));
        let next = client.send_request(request);
        feed.send("a".into()).unwrap();
        drop(feed);
        assert_eq!(bounded("an answer", next).await.unwrap().status(), 201);
    }
    assert_eq!(handler.executions(), 2);
}

#[tokio::test]
async fn whatever_answers_a_covered_head_has_no_body() {
    let handler = Handler::default();
    let counted = handler.clone();
    let telling = service_fn(move |_: Request<RequestBody<Incoming>>| {
        counted.start();
        let response = Response::builder()
            .status(201)
            .header("content-length", "11");
        let response = response.body(Body::default());
        async { response }
    });
    let layer = IdempotencyLayer::default().methods([Method::POST, Method::HEAD]);
    let address = serve(layer.layer(telling)).await;
    let mut client = Http2::to(address).await;

    for (path, status, replayed) in [
        ("/charges", 201, false),
        ("/charges", 201, true),
        ("/charges?x=y", 422, false),
    ] {
        let mut head = post(
            &format!("http://{address}{path}"),
            &[("idempotency-key", "k")],
            "",
        );
        *head.method_mut() = Method::HEAD;
        let answer = bounded("an answer", client.request(head)).await.unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(
            answer.headers().contains_key("idempotent-replayed"),
            replayed
        );
        let length = if status == 201 { "11" } else { "126" };
        assert_eq!(answer.headers()["content-length"], length);
        let body = bounded("its end", answer.into_body().collect())
            .await
            .unwrap();
        assert_eq!(body.to_bytes(), "");
    }
    assert_eq!(handler.executions(), 1);
}
