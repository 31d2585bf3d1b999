//! The smaller examples.

use crate::support::Server;

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
