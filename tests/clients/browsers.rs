//! What a browser asks and is told on behalf of a script of another origin.

use hyper::Method;

use crate::support::{Call, Reply, Server};

const SHOP: &str = "https://shop.example";
const ADMIN: &str = "https://admin.example";
const STRANGER: &str = "https://stranger.example";

fn charge<'a>(server: &'a Server, origin: &str, body: &'static str) -> Call<'a> {
    let call = server.post("/charges").header("origin", origin);
    call.header("content-type", "text/plain")
        .key("order-1")
        .body(body)
}

/// What is in a header that is a list, in lower case.
fn listed(reply: &Reply, name: &str) -> Vec<String> {
    let list = reply.header(name).unwrap_or_default();
    list.split(',')
        .map(|name| name.trim().to_ascii_lowercase())
        .collect()
}

#[tokio::test]
async fn a_preflight_allows_the_key() {
    let server = Server::start("cors", &[]).await;
    let preflight = |origin: &str| {
        let call = server
            .call(Method::OPTIONS, "/charges")
            .header("origin", origin);
        let call = call.header("access-control-request-method", "POST");
        call.header(
            "access-control-request-headers",
            "content-type,idempotency-key",
        )
        .send()
    };

    let (known, unknown) = (preflight(SHOP).await, preflight(STRANGER).await);

    assert_eq!(
        known.is_first(200).header("access-control-allow-origin"),
        Some(SHOP)
    );
    assert_eq!(listed(&known, "access-control-allow-methods"), ["post"]);
    assert!(listed(&known, "access-control-allow-headers").contains(&"idempotency-key".into()));
    assert_eq!(unknown.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn a_replay_has_the_headers_of_the_origin_that_asks() {
    let server = Server::start("cors", &[]).await;

    let first = charge(&server, SHOP, "42 EUR").send().await;
    let replay = charge(&server, ADMIN, "42 EUR").send().await;
    let other = charge(&server, ADMIN, "43 EUR").send().await;
    let stranger = charge(&server, STRANGER, "42 EUR").send().await;

    assert_eq!(
        first.is_first(201).header("access-control-allow-origin"),
        Some(SHOP)
    );
    replay.replays(&first, "order-1");
    other.refuses(422, "idempotency_mismatch");
    for reply in [&replay, &other] {
        assert_eq!(reply.header("access-control-allow-origin"), Some(ADMIN));
        let exposed = listed(reply, "access-control-expose-headers");
        for name in [
            "idempotent-replayed",
            "idempotency-key",
            "retry-after",
            "location",
        ] {
            assert!(exposed.contains(&name.into()), "{name}: {exposed:?}");
        }
    }
    // Its browser keeps from a stranger what the server does not.
    assert_eq!(
        stranger
            .replays(&first, "order-1")
            .header("access-control-allow-origin"),
        None
    );
}
