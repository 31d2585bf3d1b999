//! What the documents print.

use serde_json::{Value, json};

use super::{CREATE, LIST, REDACT, RESUME, SESSION, TEST, create, post, raw_create, verifa};
use crate::support::{Reply, Server, exchange};

/// The request of the document, by the program that the document uses.
async fn documented(server: &Server, protocol: &str) -> (String, Value) {
    let body = "{\n  \"external_ref\": \"user_abc123\",\n  \"country\": \"US\"\n}";
    let headers = [
        "X-API-Key: vk_live_your_key_here",
        "Idempotency-Key: req_abc123_attempt_1",
        "Content-Type: application/json",
    ];
    server
        .curl(protocol, "/api/v1/sessions", &headers, body)
        .await
}

async fn the_documented_request(protocol: &str, status_line: &str) {
    let server = verifa(&[]).await;

    let (first_head, first) = documented(&server, protocol).await;
    let (retry_head, retry) = documented(&server, protocol).await;

    assert!(first_head.starts_with(status_line), "{first_head}");
    assert!(!first_head.contains("idempotent-replayed"), "{first_head}");
    assert!(first["id"].as_str().unwrap().starts_with("ses_"), "{first}");
    assert_eq!(first["external_ref"], "user_abc123");
    assert_eq!(first["country"], "US");
    assert!(
        first["status"].is_string() && first["created_at"].is_string(),
        "{first}"
    );
    assert!(retry_head.starts_with(status_line), "{retry_head}");
    assert!(
        retry_head.contains("\r\nidempotent-replayed: true"),
        "{retry_head}"
    );
    assert!(
        retry_head.contains("\r\nidempotency-key: req_abc123_attempt_1"),
        "{retry_head}"
    );
    assert_eq!(retry, first);
    assert_eq!(server.executions(CREATE).await, 1);
}

#[tokio::test]
async fn the_documented_request_is_safe_to_retry_over_http1() {
    the_documented_request("--http1.1", "http/1.1 201 created\r\n").await;
}

#[tokio::test]
async fn the_documented_request_is_safe_to_retry_over_http2() {
    the_documented_request("--http2-prior-knowledge", "http/2 201").await;
}

#[tokio::test]
async fn a_retry_has_the_same_bytes_on_either_protocol() {
    let server = verifa(&[]).await;

    let first = create(&server, "retry", SESSION).send().await;
    let http1 = create(&server, "retry", SESSION).send().await;
    let http2 = create(&server, "retry", SESSION)
        .http2(&server)
        .send()
        .await;

    first.is_first(201);
    http1.replays(&first, "retry");
    http2.replays(&first, "retry");
    assert_eq!(
        http1.header("content-length"),
        first.header("content-length")
    );
    assert_eq!(http1.header("transfer-encoding"), None);
    assert_eq!(server.executions(CREATE).await, 1);
}

#[tokio::test]
async fn other_parameters_are_a_mismatch_in_the_documented_words() {
    let server = verifa(&[]).await;
    let first = create(&server, "mismatch", SESSION).send().await;
    first.is_first(201);

    for other in [
        r#"{"external_ref": "user_abc124", "country": "US"}"#,
        // White space is part of the bytes.
        r#"{"external_ref":"user_abc123","country":"US"}"#,
        "",
    ] {
        let reply = create(&server, "mismatch", other).send().await;

        assert_eq!(
            std::str::from_utf8(&reply.body).unwrap(),
            r#"{"error":"idempotency_mismatch","detail":"Idempotency key has already been used with different parameters.","status_code":422}"#
        );
        reply.refuses(422, "idempotency_mismatch");
    }
    create(&server, "mismatch", SESSION)
        .send()
        .await
        .replays(&first, "mismatch");
    assert_eq!(server.executions(CREATE).await, 1);
}

#[tokio::test]
async fn a_request_is_its_parameters_and_nothing_else() {
    let server = verifa(&[]).await;
    let first = create(&server, "clothes", SESSION).send().await;
    let call = |path: &str| post(&server, path).key("clothes").body(SESSION);

    // Java's client asks for an upgrade on every cleartext request.
    let upgrade = create(&server, "clothes", SESSION).header("upgrade", "h2c");
    let upgrade = upgrade.header("connection", "upgrade, http2-settings");
    let upgrade = upgrade
        .header("http2-settings", "AAMAAABkAAQAAP__")
        .send()
        .await;
    let accept = create(&server, "clothes", SESSION)
        .header("accept", "text/html")
        .send()
        .await;
    let cookie = create(&server, "clothes", SESSION)
        .header("cookie", "a=b")
        .send()
        .await;
    let query = call("/api/v1/sessions?a=b").header("content-type", "application/json");
    let charset =
        call("/api/v1/sessions").header("content-type", "application/json; charset=utf-8");
    let encoding = create(&server, "clothes", SESSION).header("content-encoding", "identity");

    for replay in [upgrade, accept, cookie] {
        replay.replays(first.is_first(201), "clothes");
    }
    for other in [query, charset, encoding] {
        other.send().await.refuses(422, "idempotency_mismatch");
    }
    assert_eq!(server.executions(CREATE).await, 1);
}

#[tokio::test]
async fn a_chunked_body_is_the_same_body() {
    let server = verifa(&[]).await;
    let first = create(&server, "chunked", SESSION).send().await;
    let length = format!("content-length: {}", SESSION.len());
    let head = raw_create(server.address, "chunked", SESSION);
    let (head, _) = head.split_once("\r\n\r\n").unwrap();
    let head = head.replace(&length, "transfer-encoding: chunked");
    let (one, two) = SESSION.split_at(7);
    let chunks = format!(
        "{:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n",
        one.len(),
        two.len()
    );

    let mut connection = server.connect().await;
    let body = std::str::from_utf8(&first.is_first(201).body).unwrap();
    let request = format!("{head}\r\n\r\n{chunks}");
    let answer = exchange(&mut connection, request.as_bytes(), body).await;

    let (head, replayed) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 201 "), "{head}");
    assert!(head.contains("\r\nidempotent-replayed: true"), "{head}");
    assert_eq!(replayed, body);
}

#[tokio::test]
async fn keys_are_kept_apart_by_endpoint() {
    let server = verifa(&[]).await;
    let test = |id: &str| post(&server, &format!("/api/v1/webhooks/endpoints/{id}/test")).key("k");

    let session = create(&server, "k", SESSION).send().await;
    let redaction = post(&server, "/api/v1/sessions/bulk-redact").key("k");
    let redaction = redaction
        .json(json!({ "session_ids": [] }).to_string())
        .send()
        .await;
    let (first, second) = (test("we_1").send().await, test("we_2").send().await);

    session.is_first(201);
    redaction.is_first(200);
    first.is_first(200);
    second.is_first(200);
    assert_eq!(first.json()["endpoint_id"], "we_1");
    assert_eq!(first.json()["delivered"], true);
    assert_eq!(second.json()["endpoint_id"], "we_2");
    assert_ne!(first.json()["delivery_id"], second.json()["delivery_id"]);
    test("we_1").send().await.replays(&first, "k");
    test("we_2").send().await.replays(&second, "k");
    assert_eq!(server.executions(TEST).await, 2);
}

#[tokio::test]
async fn two_customers_do_not_see_each_other() {
    let server = verifa(&[]).await;
    let create = |customer: &str| {
        let call = server
            .post("/api/v1/sessions")
            .header("x-api-key", customer);
        call.key("the-same").json(SESSION).send()
    };

    let (one, other) = (create("vk_one").await, create("vk_other").await);

    one.is_first(201);
    other.is_first(201);
    assert_ne!(one.json()["id"], other.json()["id"]);
    create("vk_one").await.replays(&one, "the-same");
    create("vk_other").await.replays(&other, "the-same");
    let list = server
        .get("/api/v1/sessions")
        .header("x-api-key", "vk_one")
        .send()
        .await;
    assert_eq!(list.json()["data"], json!([one.json()]));
}

#[tokio::test]
async fn redacting_twice_counts_once() {
    let server = verifa(&[]).await;
    let session = create(&server, "session", SESSION).send().await.json();
    let body = json!({ "session_ids": [session["id"], session["id"], "ses_none"] }).to_string();
    let redact = |key: &str| {
        let call = post(&server, "/api/v1/sessions/bulk-redact").key(key);
        call.json(body.clone()).send()
    };

    let first = redact("first").await;
    let retry = redact("first").await;
    let again = redact("again").await;

    assert_eq!(first.is_first(200).json(), json!({ "redacted": 1 }));
    retry.replays(&first, "first");
    assert_eq!(again.is_first(200).json(), json!({ "redacted": 0 }));
    assert_eq!(server.executions(REDACT).await, 2);
}

#[tokio::test]
async fn a_session_is_resumed_as_often_as_one_asks() {
    let server = verifa(&[]).await;
    let session = create(&server, "session", SESSION).send().await.json();
    let path = format!(
        "/api/v1/sessions/{}/resume",
        session["id"].as_str().unwrap()
    );

    let first = post(&server, &path).key("resume").send().await;
    let second = post(&server, &path).key("resume").send().await;

    let token = |reply: &Reply| reply.is_first(200).json()["capture_token"].clone();
    assert!(token(&first).is_string(), "{first:?}");
    assert_ne!(token(&first), token(&second));
    assert_eq!(server.executions(RESUME).await, 2);
    post(&server, "/api/v1/sessions/ses_none/resume")
        .send()
        .await
        .refuses(404, "not_found");
}

#[tokio::test]
async fn sessions_are_listed_by_the_very_reference() {
    let server = verifa(&[]).await;
    let list = async |query: &str| {
        let call = server.get(&format!("/api/v1/sessions{query}"));
        let reply = call
            .header("x-api-key", "vk_live_your_key_here")
            .send()
            .await;
        reply.is_first(200).json()["data"].clone()
    };
    assert_eq!(list("").await, json!([]));
    let mut sessions = Vec::new();
    for (number, external_ref) in ["user_1", "user_10", "a b&c", "a%20b", "*"]
        .iter()
        .enumerate()
    {
        let body = json!({ "external_ref": external_ref, "country": "US" }).to_string();
        let reply = create(&server, &format!("session-{number}"), body)
            .send()
            .await;
        sessions.push(reply.is_first(201).json());
    }

    assert_eq!(list("").await, json!(sessions));
    assert_eq!(list("?other=1").await, json!(sessions));
    assert_eq!(list("?external_ref=").await, json!([]));
    assert_eq!(list("?external_ref=user_").await, json!([]));
    assert_eq!(list("?external_ref=USER_1").await, json!([]));
    assert_eq!(list("?external_ref=user_1").await, json!([sessions[0]]));
    assert_eq!(list("?external_ref=a%20b%26c").await, json!([sessions[2]]));
    assert_eq!(list("?external_ref=a%2520b").await, json!([sessions[3]]));
    assert_eq!(list("?external_ref=*").await, json!([sessions[4]]));
    assert_eq!(server.executions(LIST).await, 10);
}
