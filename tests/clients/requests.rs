//! Python's `requests`, with the retries of its adapter.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::python::python;
use crate::support::Server;
use crate::wire::{Cut, Wire};

const CREATE: &str = "POST /api/v1/sessions";

async fn verifa() -> Arc<Server> {
    Arc::new(Server::start("verifa", &[]).await)
}

/// Creates a session that takes so long, with or without a key; the application calls this often.
async fn create(wire: &Wire, key: Option<&str>, delay_ms: u64, calls: u64) -> Value {
    let mut headers = json!({ "X-API-Key": "vk_live_your_key_here" });
    if let Some(key) = key {
        headers["Idempotency-Key"] = key.into();
    }
    let body = json!({ "external_ref": "user_abc123", "simulate": { "delay_ms": delay_ms } });
    let request = json!({ "headers": headers, "json": body, "calls": calls }).to_string();
    python(
        "retry_adapter.py",
        &[&wire.url("/api/v1/sessions"), &request],
    )
    .await
}

#[tokio::test]
async fn requests_retries_until_the_lost_execution_is_over() {
    let server = verifa().await;
    let wire = Wire::to(&server, CREATE, [Cut::Started, Cut::Answered]).await;

    let answer = create(&wire, Some("adapter"), 1_000, 1).await;

    assert_eq!(wire.cuts(), [Cut::Started, Cut::Answered]);
    assert_eq!(answer["failures"], json!([]));
    assert_eq!(
        (&answer["status"], &answer["replayed"]),
        (&json!(201), &json!("true"))
    );
    assert_eq!(answer["body"]["external_ref"], "user_abc123");
    assert_eq!(server.executions(CREATE).await, 1);
}

#[tokio::test]
async fn requests_comes_back_when_it_was_told_to() {
    let server = verifa().await;
    let wire = Wire::to(&server, CREATE, [Cut::Started]).await;

    let begin = Instant::now();
    let answer = create(&wire, Some("adapter"), 1_500, 1).await;
    let seconds = begin.elapsed().as_secs();

    let statuses = wire.statuses();
    let (last, before) = statuses.split_last().unwrap();
    assert!(before.iter().all(|status| *status == 409), "{statuses:?}");
    // Each of them said that it is to wait for a second.
    let waits = 1..=seconds;
    assert!(
        waits.contains(&(before.len() as u64)),
        "{statuses:?} in {seconds} s"
    );
    assert_eq!(*last, 201);
    assert_eq!(
        (&answer["status"], &answer["replayed"]),
        (&json!(201), &json!("true"))
    );
    assert_eq!(server.executions(CREATE).await, 1);
}

#[tokio::test]
async fn an_application_repeats_what_its_adapter_does_not() {
    let server = verifa().await;
    let wire = Wire::to(&server, CREATE, [Cut::Head, Cut::Body]).await;

    let answer = create(&wire, Some("application"), 0, 3).await;

    assert_eq!(wire.cuts(), [Cut::Head, Cut::Body]);
    assert_eq!(
        answer["failures"],
        json!(["ChunkedEncodingError", "ChunkedEncodingError"])
    );
    assert_eq!(
        (&answer["status"], &answer["replayed"]),
        (&json!(201), &json!("true"))
    );
    assert_eq!(server.executions(CREATE).await, 1);
}

#[tokio::test]
async fn without_a_key_the_adapter_makes_as_many_sessions_as_it_needs_connections() {
    let server = verifa().await;
    let wire = Wire::to(&server, CREATE, [Cut::Answered, Cut::Answered]).await;

    let answer = create(&wire, None, 0, 1).await;

    assert_eq!(
        (&answer["status"], &answer["replayed"]),
        (&json!(201), &json!(null))
    );
    assert_eq!(server.executions(CREATE).await, 3);
}
