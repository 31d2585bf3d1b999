//! curl, over both protocols.

use std::process::Output;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::{Server, within};
use crate::wire::{Cut, Wire};

const CREATE: &str = "POST /api/v1/sessions";
const KEY: &str = "Idempotency-Key: req_abc123_attempt_1";

/// Creates a session that takes a moment.
async fn create(wire: &Wire, arguments: &[&str]) -> Output {
    let body = json!({ "external_ref": "user_abc123", "simulate": { "delay_ms": 700 } });
    let curl = Command::new("curl")
        // Whatever the settings of this machine are.
        .args(["-q", "--noproxy", "*"])
        .args(["-sSi", "--max-time", "25"])
        .args(["-H", "X-API-Key: vk_live_your_key_here"])
        .args(["-H", "Content-Type: application/json", "-d"])
        .args([body.to_string(), wire.url("/api/v1/sessions")])
        .args(arguments)
        .kill_on_drop(true)
        .output();
    within(curl).await.expect("curl is installed")
}

/// Head, in lower case, and body of what was printed.
fn printed(output: &Output) -> (String, &[u8]) {
    let end = output.stdout.windows(4).position(|end| end == b"\r\n\r\n");
    let (head, body) = output.stdout.split_at(end.expect("the end of a head") + 4);
    (String::from_utf8_lossy(head).to_lowercase(), body)
}

async fn verifa() -> Arc<Server> {
    Arc::new(Server::start("verifa", &[("IN_FLIGHT", "wait:20")]).await)
}

/// The program does it all: it is given the key once.
async fn retries_by_itself(protocol: &str) {
    const RETRY: [&str; 5] = ["--retry", "5", "--retry-all-errors", "--retry-delay", "1"];
    let server = verifa().await;
    let wire = Wire::to(&server, CREATE, [Cut::Started, Cut::Answered]).await;

    let output = create(&wire, &[&[protocol, "-H", KEY], &RETRY[..]].concat()).await;

    assert!(output.status.success(), "{output:?}");
    let (head, body) = printed(&output);
    let session: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(wire.cuts(), [Cut::Started, Cut::Answered]);
    assert!(head.contains(" 201"), "{head}");
    assert!(head.contains("\r\nidempotent-replayed: true\r\n"), "{head}");
    assert_eq!(session["external_ref"], "user_abc123");
    assert_eq!(server.executions(CREATE).await, 1);
}

#[tokio::test]
async fn curl_that_retries_over_http1_makes_one_session() {
    retries_by_itself("--http1.1").await;
}

#[tokio::test]
async fn curl_that_retries_over_http2_makes_one_session() {
    retries_by_itself("--http2-prior-knowledge").await;
}

/// Somebody asks again after an answer that came in part.
async fn repeated_by_hand(protocol: &str) {
    let server = verifa().await;
    let wire = Wire::to(&server, CREATE, [Cut::Head, Cut::Body]).await;
    let create = async || create(&wire, &[protocol, "-H", KEY]).await;

    let (no_body, half_a_body, whole) = (create().await, create().await, create().await);

    assert_eq!(wire.cuts(), [Cut::Head, Cut::Body]);
    assert!(!no_body.status.success(), "{no_body:?}");
    assert!(!half_a_body.status.success(), "{half_a_body:?}");
    assert!(whole.status.success(), "{whole:?}");
    let (first_head, nothing) = printed(&no_body);
    let (replay_head, half) = printed(&half_a_body);
    let (head, body) = printed(&whole);
    assert!(!first_head.contains("idempotent-replayed"), "{first_head}");
    assert!(
        replay_head.contains("\r\nidempotent-replayed: true\r\n"),
        "{replay_head}"
    );
    assert!(head.contains("\r\nidempotent-replayed: true\r\n"), "{head}");
    assert_eq!(nothing, b"");
    assert!(!half.is_empty() && half.len() < body.len() && body.starts_with(half));
    assert_eq!(server.executions(CREATE).await, 1);
}

#[tokio::test]
async fn an_answer_that_came_in_part_over_http1_comes_whole_when_it_is_asked_for_again() {
    repeated_by_hand("--http1.1").await;
}

#[tokio::test]
async fn an_answer_that_came_in_part_over_http2_comes_whole_when_it_is_asked_for_again() {
    repeated_by_hand("--http2-prior-knowledge").await;
}

/// What all of this is about.
#[tokio::test]
async fn without_a_key_a_retry_after_a_cut_makes_another_session() {
    let server = verifa().await;
    let wire = Wire::to(&server, CREATE, [Cut::Answered]).await;

    let (first, second) = (create(&wire, &[]).await, create(&wire, &[]).await);

    assert!(!first.status.success(), "{first:?}");
    assert!(second.status.success(), "{second:?}");
    assert_eq!(server.executions(CREATE).await, 2);
}
