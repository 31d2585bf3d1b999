//! What the three APIs have in common. `verifa`'s own tests go into the depth of it.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{Reply, Server, eventually, program, within};

/// An API, one of its operations, and how it is called.
pub(crate) struct Api {
    pub(crate) example: &'static str,
    pub(crate) operation: &'static str,
    credential: (&'static str, &'static str),
    key: &'static str,
    pub(crate) status: u16,
    pub(crate) mismatch: &'static str,
    pub(crate) refuses: for<'a> fn(&'a Reply, u16, &str) -> &'a Reply,
}

pub(crate) const APIS: [Api; 3] = [
    Api {
        example: "verifa",
        operation: "POST /api/v1/sessions",
        credential: ("x-api-key", "vk_canary"),
        key: "canary_attempt_1",
        status: 201,
        mismatch: "idempotency_mismatch",
        refuses: Reply::refuses,
    },
    Api {
        example: "txcloud",
        operation: "POST /v1/identity/sessions",
        credential: ("authorization", "Bearer canary"),
        key: "canary_attempt_1",
        status: 200,
        mismatch: "idempotency_key_conflict",
        refuses: Reply::refuses_nested,
    },
    Api {
        example: "didit",
        operation: "POST /v3/session/",
        credential: ("x-api-key", "canary"),
        key: "ca7a4700-e29b-41d4-a716-446655440000",
        status: 201,
        mismatch: "idempotency_mismatch",
        refuses: Reply::refuses,
    },
];

impl Api {
    async fn start(&self, environment: &[(&str, &str)]) -> Server {
        Server::start(self.example, environment).await
    }

    /// The same request each time, but for what the sandbox is to do.
    pub(crate) async fn call(&self, server: &Server, simulate: Value) -> Result<Reply, ()> {
        let (_, path) = self.operation.split_once(' ').unwrap();
        let (name, value) = self.credential;
        let body =
            json!({ "external_ref": "canary", "workflow_id": "canary", "simulate": simulate });
        let call = server.post(path).header(name, value).key(self.key);
        call.json(body.to_string()).try_send().await.map_err(drop)
    }
}

#[tokio::test]
async fn a_ledger_tells_how_often_a_handler_really_ran() {
    for api in &APIS {
        let server = api.start(&[]).await;
        let ledger = async || server.get("/_ledger").send().await.is_first(200).json();
        assert_eq!(ledger().await, json!({ "executions": {}, "attempts": {} }));

        let first = api.call(&server, json!({})).await.unwrap();
        let retry = api.call(&server, json!({})).await.unwrap();

        retry.replays(first.is_first(api.status), api.key);
        let operation = api.operation;
        let once = json!({ "executions": { operation: 1 }, "attempts": { operation: 1 } });
        assert_eq!(ledger().await, once);
    }
}

#[tokio::test]
async fn a_panic_is_answered_in_the_form_of_the_api() {
    for api in &APIS {
        let server = api.start(&[]).await;
        let panicking = json!({ "outcome": "panic", "times": 1 });

        let lost = api.call(&server, panicking.clone()).await.unwrap();
        let second = api.call(&server, panicking).await.unwrap();

        (api.refuses)(&lost, 500, "internal_error");
        second.is_first(api.status);
        let ledger = server.get("/_ledger").send().await.json();
        assert_eq!(ledger["attempts"][api.operation], 2);
    }
}

#[tokio::test]
async fn a_sandbox_does_what_it_is_told() {
    for api in &APIS {
        let server = api.start(&[]).await;
        let both = json!({ "delay_ms": 300, "response_bytes": 1_000, "unknown": 1 });

        let begin = Instant::now();
        let first = api.call(&server, both.clone()).await.unwrap();
        let elapsed = begin.elapsed();
        let retry = api.call(&server, both).await.unwrap();

        assert!(elapsed >= Duration::from_millis(300), "{elapsed:?}");
        let padding = first.is_first(api.status).json()["padding"].clone();
        assert_eq!(padding, "x".repeat(1_000));
        retry.replays(&first, api.key);
    }
}

#[tokio::test]
async fn an_environment_means_the_same_to_each() {
    for api in &APIS {
        for name in [
            "ADDR",
            "STORE_URL",
            "RETENTION_SECS",
            "LEASE_SECS",
            "IN_FLIGHT",
            "ON_LOST",
            "DRAIN_SECS",
        ] {
            let output = program(api.example, &[(name, "secret")]).output();
            let output = within(output).await.unwrap();

            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{stderr}");
            assert!(stderr.starts_with(&format!("{name} takes ")), "{stderr}");
            assert_eq!(stderr.lines().count(), 1, "{stderr}");
            assert!(!stderr.contains("secret"), "{stderr}");
        }
    }
}

#[tokio::test]
async fn a_key_can_be_used_again_after_its_retention() {
    for api in &APIS {
        let server = api.start(&[("RETENTION_SECS", "1")]).await;
        let begin = Instant::now();
        let first = api.call(&server, json!({})).await.unwrap();

        let again = async || {
            let reply = api.call(&server, json!({})).await.unwrap();
            (!reply.is_replay()).then_some(reply)
        };
        let second = eventually("the key has expired", again).await;

        let elapsed = begin.elapsed();
        assert!(elapsed >= Duration::from_secs(1), "{elapsed:?}");
        assert_ne!(second.is_first(api.status).body, first.body);
    }
}

#[tokio::test]
async fn nothing_of_a_request_is_logged() {
    for api in &APIS {
        let server = api.start(&[("RUST_LOG", "trace")]).await;
        let panicking = json!({ "outcome": "panic", "times": 1 });
        let mut statuses = Vec::new();
        for simulate in [panicking.clone(), panicking.clone(), panicking, json!({})] {
            let reply = api.call(&server, simulate).await.unwrap();
            statuses.push(reply.status.as_u16());
        }
        assert_eq!(statuses, [500, api.status, api.status, 422]);

        server.terminate();
        let ended = server.ended().await;

        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", ""));
    }
}

#[tokio::test]
async fn what_is_left_at_the_end_is_counted() {
    for api in &APIS {
        let server = api.start(&[("DRAIN_SECS", "1")]).await;
        let slow = api.call(&server, json!({ "delay_ms": 60_000 }));
        let stopping = async {
            server.started(api.operation, 1).await;
            server.terminate();
        };

        let (cut, ()) = tokio::join!(slow, stopping);
        let ended = server.ended().await;

        assert!(cut.is_err(), "{cut:?}");
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        let left = "DRAIN_SECS have passed; executions left: 1\n";
        assert_eq!(ended.stderr, left);
    }
}
