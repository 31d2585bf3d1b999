//! `Expect: 100-continue`: whoever refuses without the body says so instead of asking for it.

use super::*;

const EXPECT: &str = "Expect: 100-continue\r\n";

/// Head and body of a request that expects, by a key and a header more.
fn expecting(key: &str, more: &str, body: &str) -> (String, String) {
    let request = raw(key, &format!("{EXPECT}{more}"), body);
    let (head, body) = request.split_at(request.len() - body.len());
    (head.to_owned(), body.to_owned())
}

#[tokio::test]
async fn a_refusal_that_needs_no_body_comes_instead_of_the_100() {
    let handler = Handler::default();
    let address = serve_at_once(&layer().require_key(true), &handler).await;
    let without_key = expecting("k", "", "a")
        .0
        .replace("Idempotency-Key: k\r\n", "");

    for (head, status) in [
        (expecting("\"", "", "a").0, "400"),
        (expecting("k", "Idempotency-Key: k\r\n", "a").0, "400"),
        (expecting("k", "Cookie: a=b\r\n", "a").0, "500"),
        (expecting("k", "", &"x".repeat(17)).0, "413"),
        (without_key, "400"),
    ] {
        let mut client = Http1::to(address).await;
        client.send(&head).await;

        // What comes first is the answer.
        let refused = client.answer().await;
        assert_eq!(refused.status(), status, "{head}");

        // Nobody knows whether the body comes: nothing that comes is taken for a request.
        let rest = client.rest_after(&raw("next", "", "a")).await;
        assert_eq!((&*rest, handler.executions()), ("", 0), "{head}");
    }
}

#[tokio::test]
async fn a_refusal_that_needs_the_body_asks_for_it_and_leaves_the_connection_in_step() {
    let handler = Handler::default();
    let address = serve(layer().layer(handler.bare_held())).await;
    let mut owner = Http1::to(address).await;
    owner.send(&raw("k", "", "a")).await;
    eventually("the handler runs", || handler.executions() == 1).await;
    let mut client = Http1::to(address).await;

    for (body, status) in [("a", "409"), ("b", "422")] {
        let (head, body) = expecting("k", "", body);
        client.send(&head).await;
        assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
        let answer = client.exchange(&body).await;
        assert_eq!(answer.status(), status, "{answer:?}");
    }
    handler.open();
    assert_eq!(owner.answer().await.status(), "201");
    assert!(client.exchange(&raw("k", "", "a")).await.is_replay());
}

#[tokio::test]
async fn a_client_that_does_not_wait_for_the_100_is_answered_all_the_same() {
    let handler = Handler::default();
    let address = serve_at_once(&layer(), &handler).await;
    let mut client = Http1::to(address).await;

    for replayed in [false, true] {
        let (head, body) = expecting("k", "", "a");
        client.send(&(head + &body)).await;
        let mut answer = client.head().await;
        if answer == "HTTP/1.1 100 Continue\r\n\r\n" {
            answer = client.head().await;
        }
        assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
        assert_eq!(answer.contains("idempotent-replayed: true\r\n"), replayed);
        assert_eq!(client.take(11).await, "execution 1");
    }
    assert_eq!(handler.executions(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_instead_of_going_on_has_claimed_nothing() {
    let (handler, layer, watch) = (Handler::default(), layer(), Watch::default());
    let address = serve(watch.layer(layer.layer(handler.bare()))).await;
    let mut client = Http1::to(address).await;
    client.send(&expecting("k", "", "a").0).await;
    assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n");

    drop(client);

    // By a refusal that nobody reads.
    eventually("it is over", || watch.answered() == 1).await;
    let record = layer.record_key(b"", &Method::POST, "/charges", "k");
    assert!(
        tower_idempotency::Store::inspect(layer.store(), &record)
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(handler.executions(), 0);
}
