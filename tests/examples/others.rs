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
