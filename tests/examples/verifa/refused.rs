//! What is refused.

use hyper::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{CREATE, SESSION, create, post, raw_create, verifa};
use crate::support::{exchange, within};

#[tokio::test]
async fn malformed_keys_are_refused() {
    let server = verifa(&[]).await;
    let longest = "k".repeat(255);
    let too_long = "k".repeat(256);

    for key in [
        &b""[..],
        b"\"\"",
        b"\"",
        b"\"abc",
        b"abc\"",
        b"\"a\"b\"",
        b"a,b",
        b"\"a\", \"b\"",
        b"a b",
        b"a\tb",
        b"caf\xc3\xa9",
        b"\xff",
        too_long.as_bytes(),
    ] {
        let call = post(&server, "/api/v1/sessions").key(key).json(SESSION);
        call.send().await.refuses(400, "idempotency_key_invalid");
    }
    for second in ["twice", "another"] {
        let call = create(&server, "twice", SESSION).key(second);
        call.send().await.refuses(400, "idempotency_key_invalid");
    }
    assert_eq!(server.executions(CREATE).await, 0);

    let first = create(&server, &longest, SESSION).send().await;
    create(&server, &longest, SESSION)
        .send()
        .await
        .replays(first.is_first(201), &longest);
    let first = create(&server, "\"quoted\"", SESSION).send().await;
    create(&server, "quoted", SESSION)
        .send()
        .await
        .replays(first.is_first(201), "quoted");
}

#[tokio::test]
async fn without_a_key_every_request_runs() {
    let server = verifa(&[]).await;

    for _ in 0..2 {
        post(&server, "/api/v1/sessions")
            .json(SESSION)
            .send()
            .await
            .is_first(201);
    }

    assert_eq!(server.executions(CREATE).await, 2);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    const LIMIT: usize = 2 << 20;

    let server = verifa(&[]).await;
    let body = |length: usize| {
        let mut body = r#"{"external_ref": "large", "note": ""#.to_owned();
        body.extend(std::iter::repeat_n('x', length - body.len() - 2));
        body + "\"}"
    };

    create(&server, "at-the-limit", body(LIMIT))
        .send()
        .await
        .is_first(201);

    // Known from the head alone.
    let mut connection = server.connect().await;
    let request = raw_create(server.address, "over", &body(LIMIT + 1));
    let (head, _) = request.split_once("\r\n\r\n").unwrap();
    let head = format!("{head}\r\n\r\n");
    let declared = exchange(&mut connection, head.as_bytes(), "status_code").await;
    // Known only when it has come.
    let mut connection = server.connect().await;
    let head = head.replace(
        &format!("content-length: {}", LIMIT + 1),
        "transfer-encoding: chunked",
    );
    let chunk = format!("{head}{:x}\r\n{}", LIMIT + 1, body(LIMIT + 1));
    let undeclared = exchange(&mut connection, chunk.as_bytes(), "status_code").await;

    for answer in [declared, undeclared] {
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(
            answer.contains(r#"{"error":"request_too_large","detail":"#),
            "{answer}"
        );
        assert!(answer.contains(r#","status_code":413}"#), "{answer}");
    }
    // The same limit and the same form where no key makes the layer read the body.
    let without_key = post(&server, "/api/v1/sessions").json(body(LIMIT + 1));
    without_key.send().await.refuses(413, "request_too_large");
    assert_eq!(server.executions(CREATE).await, 1);
    create(&server, "over", SESSION).send().await.is_first(201);
}

#[tokio::test]
async fn a_broken_upload_claims_nothing() {
    let server = verifa(&[]).await;
    let request = raw_create(server.address, "broken", SESSION);
    let mut connection = server.connect().await;

    connection
        .write_all(&request.as_bytes()[..request.len() - 5])
        .await
        .unwrap();
    connection.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let _ = within(connection.read_to_end(&mut answer)).await;
    let whole = create(&server, "broken", SESSION).send().await;

    assert!(
        !answer.starts_with(b"HTTP/1.1 2"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    whole.is_first(201);
    assert_eq!(server.executions(CREATE).await, 1);
}

#[tokio::test]
async fn hostile_bytes_harm_nobody() {
    let server = verifa(&[]).await;
    let head = "POST /api/v1/sessions HTTP/1.1\r\nhost: x\r\nx-api-key: vk_1\r\n";
    let long = "k".repeat(60_000);

    for (bytes, status) in [
        (
            format!("{head}idempotency-key: a\0b\r\ncontent-length: 0\r\n\r\n"),
            400,
        ),
        (
            format!("{head}idempotency-key: a\r\n b\r\ncontent-length: 0\r\n\r\n"),
            400,
        ),
        (
            format!("{head}idempotency-key: {long}\r\ncontent-length: 0\r\n\r\n"),
            400,
        ),
        (
            format!(
                "{head}idempotency-key: k\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{{}}"
            ),
            400,
        ),
        ("\0\0\0\0\0\0\r\n\r\n".to_owned(), 400),
        ("PRI * HTTP/2.0\r\n\r\nXX".to_owned(), 400),
    ] {
        let mut connection = server.connect().await;
        let answer = exchange(&mut connection, bytes.as_bytes(), "\r\n\r\n").await;
        let expected = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&expected), "{answer:?} to {bytes:.80?}");
    }
    // Neither a head that never ends nor a client that never speaks is in anybody's way.
    let mut half = server.connect().await;
    half.write_all(head.as_bytes()).await.unwrap();
    let silent = server.connect().await;
    create(&server, "after", SESSION).send().await.is_first(201);
    assert_eq!(server.executions(CREATE).await, 1);
    drop((half, silent));
}

#[tokio::test]
async fn who_is_unknown_never_reaches_a_handler() {
    let server = verifa(&[]).await;
    let call = || server.post("/api/v1/sessions").key("unknown").json(SESSION);

    call().send().await.refuses(401, "unauthorized");
    call()
        .header("x-api-key", "")
        .send()
        .await
        .refuses(401, "unauthorized");
    call()
        .header("x-api-key", "sk_live")
        .send()
        .await
        .refuses(401, "unauthorized");
    server
        .get("/nowhere")
        .send()
        .await
        .refuses(401, "unauthorized");

    assert_eq!(
        server.get("/_ledger").send().await.json()["executions"],
        json!({})
    );
    create(&server, "unknown", SESSION)
        .send()
        .await
        .is_first(201);
}

#[tokio::test]
async fn every_error_has_the_same_form() {
    let server = verifa(&[]).await;
    let call = |method, path: &str| {
        server
            .call(method, path)
            .header("x-api-key", "vk_live_your_key_here")
            .send()
    };

    call(Method::GET, "/nowhere")
        .await
        .refuses(404, "not_found");
    call(Method::POST, "/api/v1/sessions/")
        .await
        .refuses(404, "not_found");
    call(Method::DELETE, "/api/v1/sessions")
        .await
        .refuses(405, "method_not_allowed");
    call(Method::POST, "/_ledger")
        .await
        .refuses(405, "method_not_allowed");
    let path = "/api/v1/webhooks/endpoints/%ff/test";
    call(Method::POST, path)
        .await
        .refuses(400, "validation_error");
    let path = "/api/v1/sessions?external_ref=a&external_ref=b";
    call(Method::GET, path)
        .await
        .refuses(400, "validation_error");

    for (number, body) in [
        "",
        "{",
        "null",
        "[\"user\", \"US\"]",
        "{}",
        r#"{"external_ref": ""}"#,
        r#"{"external_ref": 5}"#,
        r#"{"external_ref": null}"#,
        r#"{"external_ref": "u", "country": 5}"#,
        r#"{"external_ref": "u", "simulate": null}"#,
        r#"{"external_ref": "u", "simulate": [100]}"#,
        r#"{"external_ref": "u", "simulate": {"delay_ms": "1"}}"#,
        r#"{"external_ref": "u", "simulate": {"delay_ms": -1}}"#,
        r#"{"external_ref": "u", "simulate": {"delay_ms": 99999999999}}"#,
        r#"{"external_ref": "u", "simulate": {"outcome": "success"}}"#,
        r#"{"external_ref": "u", "simulate": {"outcome": "error", "times": 0.5}}"#,
        r#"{"external_ref": "u", "simulate": {"response_bytes": null}}"#,
    ]
    .into_iter()
    .enumerate()
    {
        let reply = create(&server, &format!("bad-{number}"), body).send().await;
        reply.refuses(400, "validation_error");
    }
    for body in [
        "{}",
        r#"{"session_ids": "ses_1"}"#,
        r#"{"session_ids": [1]}"#,
    ] {
        let call = post(&server, "/api/v1/sessions/bulk-redact").json(body);
        call.send().await.refuses(400, "validation_error");
    }
    let ignored = r#"{"external_ref": "u", "simulate": {"unknown": 1}, "unknown": 2}"#;
    create(&server, "unknown", ignored)
        .send()
        .await
        .is_first(201);
}
