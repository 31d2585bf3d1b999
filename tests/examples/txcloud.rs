//! What the TXCloud document promises, over the wire.

use futures_util::future::join_all;
use hyper::Method;
use serde_json::{Value, json};

use crate::support::{Call, Reply, Server};

const VERIFY: &str = "POST /v1/identity/verify";
const SESSIONS: &str = "POST /v1/identity/sessions";
const READ: &str = "GET /v1/identity/sessions/{id}";
const DELETE: &str = "DELETE /v1/identity/sessions/{id}";
const OPERATIONS: [&str; 6] = [
    VERIFY,
    SESSIONS,
    "POST /v1/transactions/score",
    "POST /v1/lending/assess",
    "POST /v1/kyb/verify",
    "POST /v1/watchlist/screen",
];

const AUTHORIZATION: &str = "Bearer tx_live_your_key_here";
const KEY: &str = "user_123_verification_attempt_1";
const DOCUMENT: &str = r#"{"document_front": "...", "country": "MA"}"#;

async fn txcloud() -> Server {
    Server::start("txcloud", &[]).await
}

/// A call by the customer of the document.
fn call<'a>(server: &'a Server, operation: &str) -> Call<'a> {
    let (method, path) = operation.split_once(' ').unwrap();
    let call = server.call(method.parse().unwrap(), path);
    call.header("authorization", AUTHORIZATION)
}

fn verify<'a>(server: &'a Server, key: &str, body: impl Into<String>) -> Call<'a> {
    call(server, VERIFY).key(key).json(body.into())
}

/// The document of a user, with what the sandbox is to do.
fn simulating(simulate: &Value) -> String {
    json!({ "country": "MA", "simulate": simulate }).to_string()
}

fn request_id(reply: &Reply) -> &str {
    let id = reply.header("x-request-id").unwrap();
    assert!(id.starts_with("req_"), "{reply:?}");
    id
}

async fn the_documented_request(protocol: &str, status_line: &str) {
    let server = txcloud().await;
    let authorization = format!("Authorization: {AUTHORIZATION}");
    let key = format!("Idempotency-Key: {KEY}");
    let headers = [&*authorization, &*key, "Content-Type: application/json"];
    let verify = || server.curl(protocol, "/v1/identity/verify", &headers, DOCUMENT);

    let (first_head, first) = verify().await;
    let (retry_head, retry) = verify().await;

    let line = |head: &str, name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        let line = lines.find(|(found, _)| *found == name);
        line.map(|(_, value)| value.to_owned())
    };
    assert!(first_head.starts_with(status_line), "{first_head}");
    assert!(first["id"].is_string(), "{first}");
    assert_eq!(line(&first_head, "idempotent-replayed"), None);
    let request_id = line(&first_head, "x-request-id").unwrap();
    assert!(request_id.starts_with("req_"), "{first_head}");
    assert!(retry_head.starts_with(status_line), "{retry_head}");
    assert_eq!(line(&retry_head, "idempotent-replayed").unwrap(), "true");
    assert_eq!(line(&retry_head, "idempotency-key").unwrap(), KEY);
    assert_eq!(line(&retry_head, "x-request-id").unwrap(), request_id);
    assert_eq!(retry, first);
    assert_eq!(server.executions(VERIFY).await, 1);
}

#[tokio::test]
async fn the_documented_request_is_safe_to_retry_over_http1() {
    the_documented_request("--http1.1", "http/1.1 200 ok\r\n").await;
}

#[tokio::test]
async fn the_documented_request_is_safe_to_retry_over_http2() {
    the_documented_request("--http2-prior-knowledge", "http/2 200").await;
}

#[tokio::test]
async fn the_documented_retry_loop_runs_until_it_succeeds() {
    let server = txcloud().await;
    let body = simulating(&json!({ "outcome": "error", "times": 2 }));

    let mut replies = Vec::new();
    for _ in 0..4 {
        replies.push(verify(&server, KEY, &*body).send().await);
    }

    replies[0].refuses_nested(500, "internal_error");
    replies[1].refuses_nested(500, "internal_error");
    replies[3].replays(replies[2].is_first(200), KEY);
    assert_eq!(server.executions(VERIFY).await, 3);
}

#[tokio::test]
async fn six_operations_are_safe_to_retry() {
    let server = txcloud().await;

    for operation in OPERATIONS {
        let send = || call(&server, operation).key(KEY).json(DOCUMENT).send();
        let (first, retry) = (send().await, send().await);

        assert!(first.is_first(200).json()["id"].is_string(), "{first:?}");
        retry.replays(&first, KEY);
        assert_eq!(request_id(&retry), request_id(&first));
        assert_eq!(server.executions(operation).await, 1);
    }
}

#[tokio::test]
async fn an_order_is_scored_once() {
    let server = txcloud().await;
    let score = || {
        let order = json!({
            "transaction_id": "order_456",
            "amount": 1000,
            "currency": "MAD",
            "sender": { "user_id": "user_123" },
        });
        let call = call(&server, "POST /v1/transactions/score");
        call.key("payment_order_456").json(order.to_string()).send()
    };

    let (first, again) = (score().await, score().await);

    assert_eq!(first.is_first(200).json()["transaction_id"], "order_456");
    assert!(first.json()["score"].is_number(), "{first:?}");
    again.replays(&first, "payment_order_456");
}

#[tokio::test]
async fn every_execution_has_a_request_id_of_its_own() {
    let server = txcloud().await;
    let keyless = || call(&server, VERIFY).json(DOCUMENT).send();

    let executions = [
        keyless().await,
        keyless().await,
        verify(&server, "a_key_of_its_own", DOCUMENT).send().await,
        verify(&server, "a_key_that_fails", "{").send().await,
        verify(&server, "a_key_that_fails", "{").send().await,
    ];

    let ids = executions.iter().map(request_id);
    let distinct = ids.collect::<std::collections::HashSet<_>>();
    assert_eq!(distinct.len(), executions.len(), "{executions:?}");
}

#[tokio::test]
async fn other_parameters_conflict_in_the_documented_words() {
    let server = txcloud().await;
    let first = verify(&server, KEY, DOCUMENT).send().await;

    let other = r#"{"document_front": "...", "country": "FR"}"#;
    let conflict = verify(&server, KEY, other).send().await;

    let documented = json!({
        "error": {
            "code": "idempotency_key_conflict",
            "message": "Idempotency key already used with different request parameters",
            "type": "invalid_request_error",
        },
    });
    assert_eq!(conflict.json(), documented);
    conflict.refuses_nested(422, "idempotency_key_conflict");
    verify(&server, KEY, DOCUMENT)
        .send()
        .await
        .replays(first.is_first(200), KEY);
    assert_eq!(server.executions(VERIFY).await, 1);
}

#[tokio::test]
async fn keys_are_of_10_to_255_documented_characters() {
    let server = txcloud().await;
    let longest = "k".repeat(255);
    for key in [
        "user_123_verify_2025-01-15T10:30:00Z",
        "order_456_payment_attempt_1",
        "550e8400-e29b-41d4-a716-446655440000",
        "0123456789",
        "----------",
        &longest,
    ] {
        let first = verify(&server, key, DOCUMENT).send().await;
        let retry = verify(&server, key, DOCUMENT).send().await;
        retry.replays(first.is_first(200), key);
    }
    let before = server.executions(VERIFY).await;

    let too_long = "k".repeat(256);
    for key in [
        "",
        "abc123",
        "012345678",
        "\"012345678\"",
        &too_long,
        "user.123.verify",
        "user@example.org",
        "user/123/verify",
        "user 123 verify",
        "user+123+verify",
        "user_123_verify;",
        "user_123_vérifié",
        "\"user_123_\\\"verify\\\"\"",
    ] {
        let refused = verify(&server, key, DOCUMENT).send().await;
        refused.refuses_nested(400, "idempotency_key_invalid");
    }
    let twice = verify(&server, KEY, DOCUMENT).key(KEY).send().await;
    twice.refuses_nested(400, "idempotency_key_invalid");
    assert_eq!(server.executions(VERIFY).await, before);
}

#[tokio::test]
async fn keys_belong_to_an_api_key_and_an_endpoint() {
    let server = txcloud().await;
    let by = |authorization: &str| {
        let call = server.post("/v1/identity/verify").key(KEY).json(DOCUMENT);
        call.header("authorization", authorization)
    };

    let first = by("Bearer one").send().await;
    let other = by("Bearer other").send().await;
    let elsewhere = server.post("/v1/kyb/verify").key(KEY).json(DOCUMENT);
    let elsewhere = elsewhere.header("authorization", "Bearer one").send().await;

    other.is_first(200);
    elsewhere.is_first(200);
    by("Bearer one")
        .send()
        .await
        .replays(first.is_first(200), KEY);
    by("bearer  one").send().await.replays(&first, KEY);
    // This API takes its keys as Bearer tokens; what else a client sends is no part of it.
    let beside = by("Bearer one").header("x-api-key", "another");
    beside.send().await.replays(&first, KEY);
    let beside = by("Bearer one").header("cookie", "a=b");
    beside.send().await.replays(&first, KEY);
    by("Bearer other").send().await.replays(&other, KEY);
    assert_eq!(server.executions(VERIFY).await, 2);
}

#[tokio::test]
async fn sessions_are_read_and_deleted_beside_the_keys() {
    let server = txcloud().await;
    let body = json!({ "user_id": "user_123", "country": "MA" }).to_string();
    let create = || call(&server, SESSIONS).key(KEY).json(body.clone()).send();
    let session = create().await;
    let id = session.is_first(200).json()["id"].clone();
    let path = format!("/v1/identity/sessions/{}", id.as_str().unwrap());
    let on_it = |method: Method| call(&server, &format!("{method} {path}")).key(KEY).send();

    let of_another = server.get(&path).header("authorization", "Bearer another");
    let of_another = of_another.send().await;
    let read = [on_it(Method::GET).await, on_it(Method::GET).await];
    let deleted = on_it(Method::DELETE).await;
    let gone = [on_it(Method::DELETE).await, on_it(Method::GET).await];

    of_another.refuses_nested(404, "not_found");
    for read in read {
        assert_eq!(read.is_first(200).json(), session.json());
    }
    deleted.is_first(204);
    for gone in gone {
        gone.refuses_nested(404, "not_found");
    }
    // What is recorded is the answer, not the session.
    create().await.replays(&session, KEY);
    assert_eq!(server.executions(SESSIONS).await, 1);
    assert_eq!(server.executions(READ).await, 4);
    assert_eq!(server.executions(DELETE).await, 2);
}

#[tokio::test]
async fn who_is_unknown_never_reaches_the_store() {
    let server = txcloud().await;
    let anonymous = || server.post("/v1/identity/verify").key(KEY).json(DOCUMENT);

    let unknown = [
        anonymous(),
        anonymous().header("authorization", ""),
        anonymous().header("authorization", "Bearer"),
        anonymous().header("authorization", "Bearer "),
        anonymous().header("authorization", "Bearertx_live_your_key_here"),
        anonymous().header("authorization", "Basic dXNlcjpwYXNz"),
        anonymous().header("x-api-key", "tx_live_your_key_here"),
        // Not even a key that would be refused, or a path that is not there.
        server.post("/v1/identity/verify").key("short"),
        server.get("/nowhere"),
    ];
    for reply in join_all(unknown.map(Call::send)).await {
        reply.refuses_nested(401, "unauthorized");
    }

    let ledger = server.get("/_ledger").send().await.json();
    assert_eq!(ledger["executions"], json!({}));
    verify(&server, KEY, DOCUMENT).send().await.is_first(200);
}

#[tokio::test]
async fn every_error_is_nested() {
    let server = txcloud().await;
    let call = |operation: &str| call(&server, operation);

    let nowhere = call("GET /nowhere").send().await;
    nowhere.refuses_nested(404, "not_found");
    let get = call("GET /v1/identity/verify").send().await;
    get.refuses_nested(405, "method_not_allowed");
    let post = call("POST /_ledger").send().await;
    post.refuses_nested(405, "method_not_allowed");
    let path = call("GET /v1/identity/sessions/%ff").send().await;
    path.refuses_nested(400, "validation_error");

    let large = format!(r#"{{"document_front": "{}"}}"#, "x".repeat(2 << 20));
    let keyless = call(VERIFY).json(large).send().await;
    keyless.refuses_nested(413, "request_too_large");
    let headers = [
        &*format!("authorization: {AUTHORIZATION}"),
        &*format!("idempotency-key: {KEY}"),
    ];
    let keyed = server.upload("/v1/identity/verify", &headers).await;
    assert!(keyed.starts_with("HTTP/1.1 413 "), "{keyed}");
    assert!(keyed.contains(r#"{"error":{"code":"request_too_large","#));

    for operation in OPERATIONS {
        for body in [
            "",
            "{",
            "null",
            "[]",
            r#"{"simulate": 5}"#,
            r#"{"simulate": {"outcome": "nothing"}}"#,
        ] {
            let reply = call(operation).key(KEY).json(body).send().await;
            reply.refuses_nested(400, "validation_error");
        }
    }
    let country = verify(&server, KEY, r#"{"country": 5}"#).send().await;
    country.refuses_nested(400, "validation_error");
    let amount = call("POST /v1/transactions/score").json(r#"{"amount": "1"}"#);
    amount.send().await.refuses_nested(400, "validation_error");
}

#[tokio::test]
async fn the_layers_other_refusals_are_nested_too() {
    let server = Server::start("txcloud", &[("ON_LOST", "refuse")]).await;

    let slow = simulating(&json!({ "delay_ms": 2_000 }));
    let first = verify(&server, KEY, &*slow).send();
    let too_soon = async {
        server.started(VERIFY, 1).await;
        verify(&server, KEY, &*slow).send().await
    };
    let (first, too_soon) = tokio::join!(first, too_soon);
    first.is_first(200);
    too_soon.refuses_nested(409, "idempotency_in_progress");
    assert_eq!(too_soon.header("retry-after"), Some("1"));

    let panicking = simulating(&json!({ "outcome": "panic" }));
    let lost = verify(&server, "a_lost_request", &*panicking).send().await;
    lost.refuses_nested(500, "internal_error");
    let unknown = verify(&server, "a_lost_request", panicking).send().await;
    unknown.refuses_nested(409, "idempotency_outcome_unknown");

    let large = simulating(&json!({ "response_bytes": 3 << 20 }));
    let whole = verify(&server, "a_large_answer", &*large).send().await;
    whole.is_first(200);
    let gone = verify(&server, "a_large_answer", large).send().await;
    gone.refuses_nested(409, "idempotency_response_unavailable");
}
