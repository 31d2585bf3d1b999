//! What the documents of two APIs tell their users to do.

use std::sync::Arc;

use serde_json::json;

use crate::python::python;
use crate::support::Server;
use crate::wire::{Cut, Wire};

const SESSION: &str = "POST /v3/session/";
const VERIFY: &str = "POST /v1/identity/verify";
const SCORE: &str = "POST /v1/transactions/score";

#[tokio::test]
async fn a_didit_session_is_made_by_the_second_attempt_of_the_guide() {
    let server = Arc::new(Server::start("didit", &[]).await);
    let wire = Wire::to(&server, SESSION, [Cut::Answered]).await;

    let url = wire.url("/v3/session/");
    let made = python("didit_session.py", &[&url, "didit_your_key_here"]).await;

    let (keys, session) = (wire.keys(), &made["session"]);
    assert_eq!(wire.cuts(), [Cut::Answered]);
    assert_eq!(made["failures"], json!(["ConnectionError"]));
    assert!(
        session["uuid"].is_string() && session["status"].is_string(),
        "{made}"
    );
    assert_eq!(session["workflow_id"], "wkf_kyc_full");
    assert_eq!(session["vendor_data"], "user_12345");
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);
    assert_eq!(wire.statuses(), [201]);
    assert_eq!(server.executions(SESSION).await, 1);
}

#[tokio::test]
async fn a_didit_session_that_is_made_at_once_is_made_once() {
    let server = Arc::new(Server::start("didit", &[]).await);
    let wire = Wire::to(&server, SESSION, []).await;

    let url = wire.url("/v3/session/");
    let made = python("didit_session.py", &[&url, "didit_your_key_here"]).await;

    assert_eq!(made["failures"], json!([]));
    assert!(made["session"]["uuid"].is_string(), "{made}");
    assert_eq!(server.executions(SESSION).await, 1);
}

#[tokio::test]
async fn txclouds_retry_loop_verifies_once() {
    let server = Arc::new(Server::start("txcloud", &[]).await);
    let wire = Wire::to(&server, VERIFY, [Cut::Started, Cut::Answered]).await;

    let answers = python(
        "txcloud_client.py",
        &[&wire.url(""), "tx_your_key_here", "verify"],
    )
    .await;

    let (keys, answer) = (wire.keys(), &answers[0]);
    assert_eq!(wire.cuts(), [Cut::Started, Cut::Answered]);
    assert!(
        keys.len() == 3 && keys.iter().all(|key| *key == keys[0]),
        "{keys:?}"
    );
    assert_eq!(answer["status"], 200);
    assert_eq!(answer["Idempotent-Replayed"], "true");
    assert_eq!(answer["Idempotency-Key"], *keys[0]);
    assert!(
        answer["X-Request-Id"]
            .as_str()
            .is_some_and(|id| id.starts_with("req_")),
        "{answer}"
    );
    assert!(answer["body"]["id"].is_string(), "{answer}");
    assert_eq!(server.executions(VERIFY).await, 1);
}

#[tokio::test]
async fn a_txcloud_payment_with_the_key_of_its_order_is_scored_once() {
    let server = Arc::new(Server::start("txcloud", &[]).await);
    let wire = Wire::to(&server, SCORE, []).await;

    let answers = python(
        "txcloud_client.py",
        &[&wire.url(""), "tx_your_key_here", "pay"],
    )
    .await;

    let (first, again, other) = (&answers[0], &answers[1], &answers[2]);
    assert_eq!(
        (&first["status"], &first["Idempotent-Replayed"]),
        (&json!(200), &json!(null))
    );
    assert_eq!(
        (&again["status"], &again["Idempotent-Replayed"]),
        (&json!(200), &json!("true"))
    );
    assert_eq!(again["Idempotency-Key"], "payment_order_456");
    assert_eq!(again["body"], first["body"]);
    assert!(first["X-Request-Id"].is_string(), "{first}");
    assert_eq!(again["X-Request-Id"], first["X-Request-Id"]);
    assert_eq!(other["status"], 422);
    assert_eq!(other["body"]["error"]["code"], "idempotency_key_conflict");
    assert_eq!(server.executions(SCORE).await, 1);
}
