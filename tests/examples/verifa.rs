//! What the Verifa documents promise, over the wire.

mod documented;
mod in_flight;
mod process;
mod refused;
mod stopping;

use std::net::SocketAddr;

use serde_json::json;

use crate::support::{Call, Reply, Server, eventually};

const CREATE: &str = "POST /api/v1/sessions";
const LIST: &str = "GET /api/v1/sessions";
const REDACT: &str = "POST /api/v1/sessions/bulk-redact";
const RESUME: &str = "POST /api/v1/sessions/{id}/resume";
const TEST: &str = "POST /api/v1/webhooks/endpoints/{endpoint_id}/test";

const SESSION: &str = r#"{"external_ref": "user_abc123", "country": "US"}"#;

async fn verifa(environment: &[(&str, &str)]) -> Server {
    Server::start("verifa", environment).await
}

/// `POST` by the customer of the document.
fn post<'a>(server: &'a Server, path: &str) -> Call<'a> {
    server
        .post(path)
        .header("x-api-key", "vk_live_your_key_here")
}

fn create<'a>(server: &'a Server, key: &str, body: impl Into<String>) -> Call<'a> {
    post(server, "/api/v1/sessions").key(key).json(body.into())
}

/// A session that takes so long.
fn slow(milliseconds: u64) -> String {
    json!({ "external_ref": "slow", "simulate": { "delay_ms": milliseconds } }).to_string()
}

/// A session whose first creations fail.
fn failing(outcome: &str, times: u64) -> String {
    let simulate = json!({ "outcome": outcome, "times": times });
    json!({ "external_ref": outcome, "simulate": simulate }).to_string()
}

/// The same request as `create`'s, to be written on a connection of one's own.
fn raw_create(address: SocketAddr, key: &str, body: &str) -> String {
    format!(
        "POST /api/v1/sessions HTTP/1.1\r\nhost: {address}\r\n\
         x-api-key: vk_live_your_key_here\r\nidempotency-key: {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Creates the session again and again while the first request with this key is running.
async fn create_settled(server: &Server, key: &str, body: &str) -> Reply {
    let again = async || {
        let reply = create(server, key, body).send().await;
        (reply.status != 409).then_some(reply)
    };
    eventually("the first request has ended", again).await
}
