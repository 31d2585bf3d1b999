//! What is refused.

use futures_util::future::join_all;
use hyper::Method;
use serde_json::json;

use super::{CHANGE, CREATE, KEY, REPLACE, SESSION, call, create, didit, path_of};
use crate::support::Call;

#[tokio::test]
async fn keys_are_uuids_in_either_case() {
    let server = didit().await;
    let first = create(&server, KEY, SESSION).send().await;
    let upper = KEY.to_uppercase();

    for key in [&*upper, "550E8400-e29b-41d4-A716-446655440000"] {
        let retry = create(&server, key, SESSION).send().await;
        retry.replays(first.is_first(201), key);
    }
    for key in [
        "",
        "req_abc123_attempt_1",
        "550e8400e29b41d4a716446655440000",
        "{550e8400-e29b-41d4-a716-446655440000}",
        "urn:uuid:550e8400-e29b-41d4-a716-446655440000",
        "550e8400-e29b-41d4-a716-44665544000",
        "550e8400-e29b-41d4-a716-4466554400000",
        "550e8400-e29b-41d4-a716-44665544000g",
        "550e840-0e29b-41d4-a716-4466554400000",
        "550e8400_e29b_41d4_a716_446655440000",
    ] {
        let refused = create(&server, key, SESSION).send().await;
        refused.refuses(400, "idempotency_key_invalid");
    }
    assert_eq!(server.executions(CREATE).await, 1);
}

#[tokio::test]
async fn a_session_that_is_not_there_is_looked_for_each_time() {
    let server = didit().await;

    for (method, operation) in [(Method::PUT, REPLACE), (Method::PATCH, CHANGE)] {
        for path in [
            "/v3/session/00000000-0000-4000-8000-000000000000/",
            "/v3/session/no-uuid/",
        ] {
            for _ in 0..2 {
                let call = call(&server, method.clone(), path).key(KEY).json(SESSION);
                call.send().await.refuses(404, "not_found");
            }
        }
        assert_eq!(server.executions(operation).await, 4);
    }
}

#[tokio::test]
async fn who_is_unknown_never_reaches_the_store() {
    let server = didit().await;
    let anonymous = || server.post("/v3/session/").key(KEY).json(SESSION);

    let unknown = [
        anonymous(),
        anonymous().header("x-api-key", ""),
        anonymous().header("authorization", ""),
        anonymous().header("authorization", "Bearer "),
        anonymous().header("authorization", "Basic dXNlcjpwYXNz"),
        anonymous().header("authorization", "your_key_here"),
        // Not even a key that would be refused, or a path that is not there.
        server.post("/v3/session/").key("no-uuid"),
        server.get("/nowhere"),
    ];
    for reply in join_all(unknown.map(Call::send)).await {
        reply.refuses(401, "unauthorized");
    }

    let ledger = server.get("/_ledger").send().await.json();
    assert_eq!(ledger["executions"], json!({}));
    create(&server, KEY, SESSION).send().await.is_first(201);
}

#[tokio::test]
async fn every_error_is_flat() {
    let server = didit().await;
    let session = create(&server, KEY, SESSION).send().await;
    let path = path_of(&session);
    let send = |method, path: &str, body: &str| {
        let call = call(&server, method, path).json(body.to_owned());
        call.send()
    };

    for path in [
        "/nowhere",
        "/v3/session",
        path.trim_end_matches('/'),
        "/v1/verification/sessions/",
    ] {
        let nowhere = send(Method::POST, path, SESSION).await;
        nowhere.refuses(404, "not_found");
    }
    for (method, path) in [
        (Method::GET, "/v3/session/"),
        (Method::DELETE, &path),
        (Method::GET, "/v1/verification/sessions"),
        (Method::POST, "/_ledger"),
    ] {
        let wrong = send(method, path, "").await;
        wrong.refuses(405, "method_not_allowed");
    }
    for (method, path) in [
        (Method::POST, "/v3/session/"),
        (Method::PUT, &path),
        (Method::PATCH, &path),
        (Method::POST, "/v1/verification/sessions"),
    ] {
        for body in [
            "",
            "{",
            "null",
            "[]",
            r#"{"workflow_id": 5, "user_id": "user_1"}"#,
            r#"{"workflow_id": "wkf", "user_id": 5, "vendor_data": 5}"#,
            r#"{"workflow_id": "wkf", "user_id": "user_1", "simulate": []}"#,
        ] {
            let invalid = send(method.clone(), path, body).await;
            invalid.refuses(400, "validation_error");
        }
    }
    for path in ["/v3/session/", "/v1/verification/sessions"] {
        let nothing = send(Method::POST, path, "{}").await;
        nothing.refuses(400, "validation_error");
    }
    let headers = [
        "x-api-key: your_key_here",
        &*format!("idempotency-key: {KEY}"),
    ];
    let large = server.upload("/v3/session/", &headers).await;
    assert!(large.starts_with("HTTP/1.1 413 "), "{large}");
    assert!(large.contains(r#"{"error":"request_too_large","#));
}
