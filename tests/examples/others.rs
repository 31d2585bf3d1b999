//! The smaller examples.

use tokio::net::TcpStream;

use crate::support::{Server, eventually, exchange};

#[tokio::test]
async fn hyper_needs_no_framework() {
    the_smallest_api("hyper").await;
}

#[tokio::test]
async fn a_store_of_ones_own_keeps_the_promise_too() {
    the_smallest_api("custom_store").await;
}

#[tokio::test]
async fn a_grpc_method_is_replayed_and_its_refusals_are_a_status() {
    let server = Server::start("grpc", &[]).await;
    let create = |cents: u8| {
        let call = server.post("/shop.v1.Charges/Create").http2(&server);
        let call = call.header("content-type", "application/grpc");
        let call = call.header("te", "trailers").key("order-1");
        call.body(vec![0, 0, 0, 0, 2, 8, cents])
    };

    let first = create(42).send().await;
    let retry = create(42).send().await;
    let mismatch = create(43).send().await;

    assert_eq!(first.is_first(200).body, &[0, 0, 0, 0, 2, 8, 1][..]);
    retry.replays(&first, "order-1");
    assert_eq!(mismatch.is_first(200).header("grpc-status"), Some("3"));
    let code = mismatch.header("idempotency-error");
    assert_eq!(code, Some("idempotency_mismatch"));
}

async fn the_smallest_api(example: &str) {
    let server = Server::start(example, &[]).await;
    let charge = |key: &str, body: &'static str| server.post("/charges").key(key).body(body);

    let first = charge("one", "42 EUR").send().await;
    let retry = charge("one", "42 EUR").send().await;
    let http2 = charge("one", "42 EUR").http2(&server).send().await;
    let mismatch = charge("one", "43 EUR").send().await;
    let second = charge("two", "42 EUR").send().await;

    assert_eq!(first.is_first(201).body, "charge 1\n");
    retry.replays(&first, "one");
    http2.replays(&first, "one");
    mismatch.refuses(422, "idempotency_mismatch");
    assert_eq!(second.is_first(201).body, "charge 2\n");
}

#[tokio::test]
async fn a_signal_ends_an_example_once_it_has_answered() {
    for example in ["hyper", "custom_store", "cors"] {
        let server = Server::start(example, &[]).await;
        let mut connection = server.connect().await;
        let head = format!(
            "POST /charges HTTP/1.1\r\nhost: {}\r\nidempotency-key: k\r\ncontent-length: 6\r\n\
             expect: 100-continue\r\n\r\n",
            server.address
        );
        exchange(&mut connection, head.as_bytes(), "100 Continue\r\n\r\n").await;

        server.terminate();
        let refused = async || TcpStream::connect(server.address).await.err();
        eventually("nobody is let in any more", refused).await;

        let answer = exchange(&mut connection, b"42 EUR", "charge 1\n").await;
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
        let ended = server.ended().await;
        assert_eq!(ended.status.code(), Some(0), "{example} {ended:?}");
    }
}

#[tokio::test]
async fn a_signal_ends_the_grpc_example() {
    let server = Server::start("grpc", &[]).await;

    server.terminate();

    assert_eq!(server.ended().await.status.code(), Some(0));
}
