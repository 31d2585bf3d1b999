//! Connections that become something else.

use http::HeaderValue;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use super::*;

/// A server that switches to a protocol in which each line is answered in upper case, until the client has no more.
async fn shouting(layer: &IdempotencyLayer, handler: &Handler) -> SocketAddr {
    let handler = handler.clone();
    let switching = service_fn(move |mut request: Request<RequestBody<Incoming>>| {
        handler.start();
        let (handler, upgrade) = (handler.clone(), hyper::upgrade::on(&mut request));
        tokio::spawn(async move {
            let mut lines = BufReader::new(TokioIo::new(upgrade.await.unwrap()));
            let mut line = String::new();
            while lines.read_line(&mut line).await.unwrap() > 0 {
                let answer = line.to_uppercase();
                lines.write_all(answer.as_bytes()).await.unwrap();
                line.clear();
            }
            handler.end();
        });
        let response = Response::builder()
            .status(101)
            .header("connection", "upgrade")
            .header("upgrade", "shout")
            .header("location", "/rooms/7")
            .body(Empty::<Bytes>::new());
        async { response }
    });
    serve(layer.layer(switching)).await
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: shout\r\n";

#[tokio::test]
async fn a_connection_that_is_upgraded_with_a_key_goes_on_both_ways_and_its_retry_is_told_where() {
    let (handler, layer) = (Handler::default(), IdempotencyLayer::default());
    let address = shouting(&layer, &handler).await;
    let mut client = Http1::to(address).await;

    client.send(&raw("k", UPGRADE, "a")).await;
    let head = client.head().await;
    client.send("hello\n").await;
    let first = client.take(6).await;
    let meanwhile = exchange(address, &raw("k", UPGRADE, "a")).await;
    client.send("and bye\n").await;
    let second = client.take(8).await;
    client.shut().await;
    eventually("the other protocol ends", || handler.finished() == 1).await;
    let afterwards = exchange(address, &raw("k", UPGRADE, "a")).await;

    assert!(
        head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"),
        "{head}"
    );
    assert!(head.contains("upgrade: shout\r\n"), "{head}");
    assert_eq!((&*first, &*second), ("HELLO\n", "AND BYE\n"));
    for retry in [meanwhile, afterwards] {
        assert_eq!(retry.status(), "409", "{retry:?}");
        assert!(retry.body.contains("idempotency_response_unavailable"));
        assert_eq!(retry.header("location"), Some("/rooms/7"));
        assert_eq!(retry.header("upgrade"), None);
    }
    assert_eq!(handler.executions(), 1);
    assert_eq!(layer.drain(Duration::ZERO).await.left, 0);
}

#[tokio::test]
async fn an_upgrade_by_get_passes_with_a_key_too() {
    let handler = Handler::default();
    let address = shouting(&IdempotencyLayer::default(), &handler).await;
    let get = raw("k", UPGRADE, "").replace("POST", "GET");

    for executions in 1..=2 {
        let mut client = Http1::to(address).await;
        client.send(&get).await;
        assert!(client.head().await.starts_with("HTTP/1.1 101 "));
        client.send("hello\n").await;
        assert_eq!(client.take(6).await, "HELLO\n");
        assert_eq!(handler.executions(), executions);
    }
}

#[tokio::test]
async fn an_upgrade_that_the_handler_declines_is_replayed_like_any_answer() {
    let handler = Handler::default();
    let address = serve_at_once(&IdempotencyLayer::default(), &handler).await;
    let mut client = Http1::to(address).await;

    let first = client.exchange(&raw("k", UPGRADE, "a")).await;
    let retry = client.exchange(&raw("k", UPGRADE, "a")).await;

    assert_eq!((first.status(), first.is_replay()), ("201", false));
    assert!(retry.is_replay() && retry.body == first.body);
    assert_eq!(handler.executions(), 1);
}

#[tokio::test]
async fn a_switch_that_nobody_waits_for_leaves_a_tombstone_too() {
    let (handler, layer) = (Handler::default(), IdempotencyLayer::default());
    let (gate, watch) = (handler.clone(), Watch::default());
    let switching = service_fn(move |_: Request<RequestBody<Incoming>>| {
        let gate = gate.clone();
        gate.start();
        async move {
            gate.opened().await;
            let mut response = Response::new(Empty::<Bytes>::new());
            *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
            let location = HeaderValue::from_static("/rooms/7");
            response.headers_mut().insert("location", location);
            Ok::<_, Infallible>(response)
        }
    });
    let address = serve(watch.layer(layer.layer(switching))).await;
    let mut client = Http1::to(address).await;
    client.send(&raw("k", UPGRADE, "a")).await;
    eventually("the handler runs", || handler.executions() == 1).await;

    drop(client);
    eventually("the server gives up", || watch.given_up() == 1).await;
    handler.open();
    assert_eq!(layer.drain(PATIENCE).await.left, 0);

    let retry = exchange(address, &raw("k", UPGRADE, "a")).await;
    assert_eq!(retry.status(), "409", "{retry:?}");
    assert_eq!(retry.header("location"), Some("/rooms/7"));
    assert_eq!(handler.executions(), 1);
}
