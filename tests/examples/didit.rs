//! What the Didit documents promise, over the wire.

mod refused;

use futures_util::future::join_all;
use hyper::Method;
use serde_json::{Value, json};

use crate::support::{Call, Reply, Server};

const CREATE: &str = "POST /v3/session/";
const REPLACE: &str = "PUT /v3/session/{uuid}/";
const CHANGE: &str = "PATCH /v3/session/{uuid}/";

const KEY: &str = "550e8400-e29b-41d4-a716-446655440000";
const SESSION: &str = r#"{"workflow_id": "wkf_kyc_full", "vendor_data": "user_12345"}"#;

async fn didit() -> Server {
    Server::start("didit", &[]).await
}

/// A call by the customer of the documents.
fn call<'a>(server: &'a Server, method: Method, path: &str) -> Call<'a> {
    let call = server.call(method, path);
    call.header("x-api-key", "your_key_here")
}

fn create<'a>(server: &'a Server, key: &str, body: impl Into<String>) -> Call<'a> {
    let call = call(server, Method::POST, "/v3/session/");
    call.key(key).json(body.into())
}

/// A session with what the sandbox is to do.
fn simulating(simulate: &Value) -> String {
    json!({ "workflow_id": "wkf", "simulate": simulate }).to_string()
}

/// One UUID for each number.
fn key(number: u32) -> String {
    format!("{number:08x}-0000-4000-8000-000000000000")
}

fn path_of(session: &Reply) -> String {
    let uuid = session.is_first(201).json()["uuid"].clone();
    format!("/v3/session/{}/", uuid.as_str().unwrap())
}

fn is_uuid(value: &Value) -> bool {
    let groups = value.as_str().unwrap().split('-');
    let is_hexadecimal = |group: &str| group.bytes().all(|byte| byte.is_ascii_hexdigit());
    let lengths = groups.map(|group| is_hexadecimal(group).then_some(group.len()));
    lengths.eq([8, 4, 4, 4, 12].map(Some))
}

async fn the_documented_request(protocol: &str, path: &str, credential: &str, body: &str) {
    let server = didit().await;
    let key = format!("Idempotency-Key: {KEY}");
    let headers = ["Content-Type: application/json", credential, &key];

    let (first_head, first) = server.curl(protocol, path, &headers, body).await;
    let (retry_head, retry) = server.curl(protocol, path, &headers, body).await;

    for head in [&first_head, &retry_head] {
        let status_line = head.lines().next().unwrap();
        assert!(status_line.contains(" 201"), "{head}");
    }
    assert!(!first_head.contains("idempotent-replayed"), "{first_head}");
    assert!(is_uuid(&first["uuid"]), "{first}");
    assert!(first["status"].is_string(), "{first}");
    assert_eq!(first["workflow_id"], "wkf_kyc_full");
    assert_eq!(first["vendor_data"], "user_12345");
    assert!(retry_head.contains("\r\nidempotent-replayed: true"));
    assert!(retry_head.contains(&format!("\r\nidempotency-key: {KEY}")));
    assert_eq!(retry, first);
    assert_eq!(server.executions(&format!("POST {path}")).await, 1);
}

#[tokio::test]
async fn a_session_is_safe_to_create_over_http1() {
    let callback = r#"{"workflow_id": "wkf_kyc_full", "vendor_data": "user_12345", "callback": "https://example.org/"}"#;
    let credential = "x-api-key: your_key_here";
    the_documented_request("--http1.1", "/v3/session/", credential, callback).await;
}

#[tokio::test]
async fn a_session_is_safe_to_create_over_http2() {
    let credential = "x-api-key: your_key_here";
    let protocol = "--http2-prior-knowledge";
    the_documented_request(protocol, "/v3/session/", credential, SESSION).await;
}

#[tokio::test]
async fn a_verification_is_safe_to_begin() {
    let body = r#"{"user_id": "user_12345", "workflow_id": "wkf_kyc_full"}"#;
    let credential = "Authorization: Bearer your_key_here";
    let path = "/v1/verification/sessions";
    the_documented_request("--http1.1", path, credential, body).await;
}

#[tokio::test]
async fn an_api_key_is_the_same_in_either_header() {
    let server = didit().await;
    let by = |name: &str, value: &str| {
        let call = server.post("/v3/session/").header(name, value);
        call.key(KEY).json(SESSION)
    };

    let first = by("x-api-key", "one").send().await;

    for retry in [
        by("authorization", "Bearer one"),
        by("authorization", "bearer one"),
        by("authorization", "Bearer one").header("x-api-key", "one"),
        by("authorization", "Basic b25l").header("x-api-key", "one"),
        by("authorization", "Bearer one").header("x-api-key", ""),
    ] {
        retry.send().await.replays(first.is_first(201), KEY);
    }
    let patch = server.call(Method::PATCH, &path_of(&first)).json("{}");
    let patch = patch.header("authorization", "Bearer one").send().await;
    assert_eq!(patch.is_first(200).json(), first.json());
    assert_eq!(server.executions(CREATE).await, 1);
}

#[tokio::test]
async fn two_customers_do_not_see_each_other() {
    let server = didit().await;
    let of = |customer: &str| {
        let call = server.post("/v3/session/").header("x-api-key", customer);
        call.key(KEY).json(SESSION).send()
    };

    let (one, other) = (of("one").await, of("other").await);

    assert_ne!(path_of(&one), path_of(&other));
    of("one").await.replays(&one, KEY);
    of("other").await.replays(&other, KEY);
    for method in [Method::PUT, Method::PATCH] {
        let call = server.call(method, &path_of(&one)).json(SESSION);
        let theirs = call.header("x-api-key", "other").send().await;
        theirs.refuses(404, "not_found");
    }
}

#[tokio::test]
async fn a_session_is_replaced_once() {
    let server = didit().await;
    let session = create(&server, &key(0), SESSION).send().await;
    let path = path_of(&session);
    let replace = |number: u32, body: &'static str| {
        let call = call(&server, Method::PUT, &path).key(key(number));
        call.json(body).send()
    };

    let first = replace(1, r#"{"workflow_id": "wkf_1"}"#).await;
    let second = replace(2, r#"{"workflow_id": "wkf_2"}"#).await;
    let late = replace(1, r#"{"workflow_id": "wkf_1"}"#).await;
    let other = replace(1, r#"{"workflow_id": "wkf_2"}"#).await;

    // All of it is replaced: what the new one does not say is gone.
    assert_eq!(first.is_first(200).json()["workflow_id"], "wkf_1");
    assert_eq!(first.json()["vendor_data"], Value::Null);
    assert_eq!(first.json()["uuid"], session.json()["uuid"]);
    assert_eq!(second.is_first(200).json()["workflow_id"], "wkf_2");
    late.replays(&first, &key(1));
    other.refuses(422, "idempotency_mismatch");
    // The late retry has undone nothing.
    let present = call(&server, Method::PATCH, &path).json("{}").send().await;
    assert_eq!(present.json(), second.json());
    assert_eq!(server.executions(REPLACE).await, 2);
}

#[tokio::test]
async fn a_session_is_changed_once() {
    let server = didit().await;
    let session = create(&server, &key(0), SESSION).send().await;
    let path = path_of(&session);
    let change = |number: u32, body: &'static str| {
        let call = call(&server, Method::PATCH, &path).key(key(number));
        call.json(body).send()
    };

    let first = change(1, r#"{"workflow_id": "wkf_1"}"#).await;
    let second = change(2, r#"{"workflow_id": "wkf_2", "vendor_data": null}"#).await;
    let late = change(1, r#"{"workflow_id": "wkf_1"}"#).await;
    let other = change(1, r#"{"workflow_id": "wkf_2"}"#).await;
    let invalid = change(3, r#"{"workflow_id": null}"#).await;

    // What is not mentioned stays.
    assert_eq!(first.is_first(200).json()["workflow_id"], "wkf_1");
    assert_eq!(first.json()["vendor_data"], "user_12345");
    assert_eq!(first.json()["uuid"], session.json()["uuid"]);
    assert_eq!(second.is_first(200).json()["workflow_id"], "wkf_2");
    assert_eq!(second.json()["vendor_data"], Value::Null);
    late.replays(&first, &key(1));
    other.refuses(422, "idempotency_mismatch");
    invalid.refuses(400, "validation_error");
    assert_eq!(change(4, "{}").await.json(), second.json());
    assert_eq!(server.executions(CHANGE).await, 4);
}

#[tokio::test]
async fn one_key_serves_every_method_and_path() {
    let server = didit().await;
    let session = create(&server, KEY, SESSION).send().await;
    let path = path_of(&session);
    let send = |method, path: &str, body: &'static str| {
        let call = call(&server, method, path);
        call.key(KEY).json(body).send()
    };
    let another = create(&server, &key(0), SESSION).send().await;

    let answers = [
        send(Method::PUT, &path, SESSION).await,
        send(Method::PATCH, &path, SESSION).await,
        send(Method::PUT, &path_of(&another), SESSION).await,
    ];
    let user = r#"{"user_id": "user_12345", "workflow_id": "wkf_kyc_full"}"#;
    let verification = send(Method::POST, "/v1/verification/sessions", user).await;

    for answer in answers {
        answer.is_first(200);
    }
    verification.is_first(201);
    create(&server, KEY, SESSION)
        .send()
        .await
        .replays(&session, KEY);
}

#[tokio::test]
async fn without_a_key_every_request_runs() {
    let server = didit().await;
    let keyless = || call(&server, Method::POST, "/v3/session/").json(SESSION);

    let (one, two) = (keyless().send().await, keyless().send().await);

    assert_ne!(path_of(&one), path_of(&two));
}

#[tokio::test]
async fn after_a_failure_the_same_key_runs_again_from_scratch() {
    let server = didit().await;
    let failing = simulating(&json!({ "outcome": "error", "times": 1 }));

    let failed = create(&server, KEY, &*failing).send().await;
    let again = create(&server, KEY, &*failing).send().await;
    let retry = create(&server, KEY, &*failing).send().await;

    failed.refuses(500, "internal_error");
    retry.replays(again.is_first(201), KEY);
    let ledger = server.get("/_ledger").send().await.json();
    assert_eq!(ledger["executions"][CREATE], 2);
    assert_eq!(ledger["attempts"][CREATE], 1);

    // From scratch: not even the parameters are those of the failure.
    let failing = simulating(&json!({ "outcome": "error" }));
    for failure in [&*failing, "{}", "{"] {
        let failed = create(&server, &key(1), failure).send().await;
        assert!(failed.status.is_client_error() || failed.status.is_server_error());
    }
    let mended = create(&server, &key(1), SESSION).send().await;
    mended.is_first(201);
}

#[tokio::test]
async fn a_panic_is_answered_and_keeps_its_parameters() {
    let server = didit().await;
    let panicking = simulating(&json!({ "outcome": "panic", "times": 1 }));

    let lost = create(&server, KEY, &*panicking).send().await;
    let other = create(&server, KEY, SESSION).send().await;
    let second = create(&server, KEY, &*panicking).send().await;
    let retry = create(&server, KEY, &*panicking).send().await;

    lost.refuses(500, "internal_error");
    other.refuses(422, "idempotency_mismatch");
    retry.replays(second.is_first(201), KEY);
    let ledger = server.get("/_ledger").send().await.json();
    assert_eq!(ledger["attempts"][CREATE], 2);
}

#[tokio::test]
async fn simultaneous_requests_create_one_session() {
    let server = Server::start("didit", &[("IN_FLIGHT", "wait:20")]).await;
    let slow = simulating(&json!({ "delay_ms": 500 }));

    let replies = join_all((0..10).map(|_| create(&server, KEY, &*slow).send())).await;

    let (replays, first): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.is_replay());
    assert_eq!((first.len(), replays.len()), (1, 9));
    for replay in replays {
        replay.replays(first[0].is_first(201), KEY);
    }
    assert_eq!(server.executions(CREATE).await, 1);
}
