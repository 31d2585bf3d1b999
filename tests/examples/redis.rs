//! Two processes of an example on one Redis, from outside: they behave as one.

mod apis;
mod kills;
mod outages;
mod records;
mod starting;
pub(crate) mod storms;
mod topologies;
mod waiting;

use hyper::header::HeaderMap;
use serde_json::json;

use crate::servers::Server as Redis;
use crate::support::{Call, Reply, Server};

pub(crate) const CREATE: &str = "POST /api/v1/sessions";

pub(crate) const SESSION: &str = r#"{"external_ref": "user_abc123", "country": "US"}"#;

/// Two processes of an example, on the Redis of this URL.
pub(crate) async fn two(
    example: &str,
    url: &str,
    environment: &[(&str, &str)],
) -> (Server, Server) {
    let environment = [&[("STORE_URL", url)], environment].concat();
    let start = || Server::start(example, &environment);
    tokio::join!(start(), start())
}

/// A Redis of which a SIGKILL costs nothing: it answers when its file is written. By default it may be up to two seconds behind
/// where the disk is slow.
async fn lasting() -> Redis {
    let redis = Redis::builder().append_only().config("appendfsync always");
    redis.start().await
}

/// `POST /api/v1/sessions` by the customer of the document.
pub(crate) fn create<'a>(server: &'a Server, key: &str, body: impl Into<String>) -> Call<'a> {
    create_as("vk_live_your_key_here", server, key, body)
}

fn create_as<'a>(
    customer: &str,
    server: &'a Server,
    key: &str,
    body: impl Into<String>,
) -> Call<'a> {
    let call = server
        .post("/api/v1/sessions")
        .header("x-api-key", customer);
    call.key(key).json(body.into())
}

/// A session that takes so long.
pub(crate) fn slow(milliseconds: u64) -> String {
    json!({ "external_ref": "slow", "simulate": { "delay_ms": milliseconds } }).to_string()
}

/// How often the handler of an operation has run, in both.
pub(crate) async fn executions(servers: [&Server; 2], operation: &str) -> u64 {
    let [one, two] = servers.map(|server| server.executions(operation));
    let (one, two) = tokio::join!(one, two);
    one + two
}

/// The highest attempt that the handler of `CREATE` has seen.
async fn attempts(server: &Server) -> u64 {
    let ledger = server.get("/_ledger").send().await.json();
    ledger["attempts"][CREATE].as_u64().unwrap_or(0)
}

/// Asserts that this is `first` again, byte for byte, but for the marks of a replay and the time.
#[track_caller]
pub(crate) fn is_again(replay: &Reply, first: &Reply) {
    let of_both = |headers: &HeaderMap| {
        let mut headers = headers.clone();
        for name in ["idempotent-replayed", "idempotency-key", "date"] {
            headers.remove(name);
        }
        headers
    };
    assert!(replay.is_replay(), "{replay:?}");
    assert_eq!(replay.status, first.status);
    assert_eq!(replay.body, first.body);
    assert_eq!(of_both(&replay.headers), of_both(&first.headers));
}

/// How many scripts Redis has run since it was started.
async fn scripts_run(redis: &Redis) -> u64 {
    let stats = redis.info("commandstats", "cmdstat_evalsha").await;
    let calls = stats.as_deref().and_then(|stats| {
        let (calls, _) = stats.strip_prefix("calls=")?.split_once(',')?;
        calls.parse().ok()
    });
    calls.unwrap_or(0)
}
