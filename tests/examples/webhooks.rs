//! Deliveries of events, each of which is processed once: to Didit's example and to Verifa's.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use crate::support::{Call, Reply, Server};

/// A server with a webhook, and an event as its provider tells of it.
struct Webhook {
    example: &'static str,
    event: fn(number: u32) -> Value,
}

const WEBHOOKS: [Webhook; 2] = [
    Webhook {
        example: "didit",
        event: |number| json!({ "event_id": format!("evt_{number}") }),
    },
    Webhook {
        example: "verifa",
        event: |number| json!({ "type": "session.completed", "session_id": format!("ses_{number}") }),
    },
];

impl Webhook {
    async fn start(&self, environment: &[(&str, &str)]) -> Server {
        Server::start(self.example, environment).await
    }

    fn path(&self) -> String {
        format!("/webhooks/{}", self.example)
    }

    fn operation(&self) -> String {
        format!("POST {}", self.path())
    }

    /// The event of this number, and what else a delivery of it says.
    fn body(&self, number: u32, mut more: Value) -> String {
        let mut body = (self.event)(number);
        let members = body.as_object_mut().unwrap();
        members.append(more.as_object_mut().unwrap());
        body.to_string()
    }

    /// A delivery: neither a key nor credentials.
    fn delivery<'a>(&self, server: &'a Server, number: u32, more: Value) -> Call<'a> {
        let call = server.post(&self.path());
        call.json(self.body(number, more))
    }
}

fn deliver<'a>(server: &'a Server, example: &str, body: impl Into<String>) -> Call<'a> {
    let call = server.post(&format!("/webhooks/{example}"));
    call.json(body.into())
}

/// Asserts that this is the answer to the first delivery of the same event.
#[track_caller]
fn repeats(reply: &Reply, first: &Reply) {
    assert!(reply.is_replay(), "{reply:?}");
    assert_eq!(reply.body, first.is_first(200).body);
    assert_eq!(reply.header("idempotency-key"), None, "{reply:?}");
}

#[tokio::test]
async fn an_event_is_processed_once_whatever_else_its_deliveries_say() {
    for webhook in &WEBHOOKS {
        let server = webhook.start(&[]).await;
        let delivery = |number, more| webhook.delivery(&server, number, more);
        let first = delivery(1, json!({ "timestamp": 1, "data": { "score": 1 } }));
        let first = first.send().await;

        let path = webhook.path();
        let spaced = webhook.body(1, json!({})).replace(':', " :\n");
        for again in [
            delivery(1, json!({ "timestamp": 1, "data": { "score": 1 } })),
            delivery(1, json!({ "timestamp": 2, "data": [] })),
            delivery(1, json!({})),
            server.post(&path).json(spaced),
            // As another kind of content, signed again, by another sender, to another query.
            server.post(&path).body(webhook.body(1, json!({}))),
            delivery(1, json!({})).header("x-signature", "t=2,v1=abc"),
            delivery(1, json!({})).header("authorization", "Signature abc"),
            delivery(1, json!({})).header("x-api-key", "vk_another"),
            delivery(1, json!({})).header("cookie", "a=b"),
            delivery(1, json!({})).http2(&server),
            server
                .post(&format!("{path}?retry=1"))
                .json(webhook.body(1, json!({}))),
        ] {
            repeats(&again.send().await, &first);
        }
        let other = delivery(2, json!({})).send().await;

        assert_ne!(other.is_first(200).body, first.body);
        assert_eq!(server.executions(&webhook.operation()).await, 2);
    }
}

#[tokio::test]
async fn a_failed_delivery_is_processed_again() {
    for webhook in &WEBHOOKS {
        for outcome in ["error", "panic"] {
            let server = webhook.start(&[]).await;
            let failing = json!({ "simulate": { "outcome": outcome, "times": 1 } });
            let deliver = || webhook.delivery(&server, 1, failing.clone()).send();

            let (failed, second, third) = (deliver().await, deliver().await, deliver().await);

            failed.refuses(500, "internal_error");
            repeats(&third, &second);
            let ledger = server.get("/_ledger").send().await.json();
            let attempts = if outcome == "panic" { 2 } else { 1 };
            assert_eq!(ledger["executions"][webhook.operation()], 2);
            assert_eq!(ledger["attempts"][webhook.operation()], attempts);
        }
    }
}

#[tokio::test]
async fn a_delivery_after_a_lost_one_need_not_be_the_same() {
    for webhook in &WEBHOOKS {
        let server = webhook.start(&[]).await;
        let lost = json!({ "simulate": { "outcome": "panic" } });

        let lost = webhook.delivery(&server, 1, lost).send().await;
        let next = webhook.delivery(&server, 1, json!({})).send().await;

        lost.refuses(500, "internal_error");
        next.is_first(200);
    }
}

#[tokio::test]
async fn simultaneous_deliveries_are_processed_once() {
    for webhook in &WEBHOOKS {
        let server = webhook.start(&[]).await;
        let deliveries = (0..10).map(|number| {
            let more = json!({ "timestamp": number, "simulate": { "delay_ms": 700 } });
            webhook.delivery(&server, 1, more).send()
        });

        let replies = join_all(deliveries).await;

        let processed = |reply: &&Reply| reply.status == 200 && !reply.is_replay();
        assert_eq!(replies.iter().filter(processed).count(), 1);
        for refused in replies.iter().filter(|reply| reply.status != 200) {
            refused.refuses(409, "idempotency_in_progress");
        }
        assert_eq!(server.executions(&webhook.operation()).await, 1);
    }
}

#[tokio::test]
async fn what_does_not_say_which_event_it_is_is_refused_each_time() {
    for (example, nameless) in [
        (
            "didit",
            &["{}", r#"{"id": "evt_1"}"#, r#"["event_id"]"#, "5"][..],
        ),
        (
            "verifa",
            &[
                "{}",
                r#"{"type": "session.completed"}"#,
                r#"{"session_id": "ses_1"}"#,
                r#"{"event": {"type": "a", "session_id": "b"}}"#,
            ],
        ),
    ] {
        let server = Server::start(example, &[]).await;

        for body in nameless {
            for _ in 0..2 {
                let reply = deliver(&server, example, *body).send().await;
                reply.refuses(400, "validation_error");
            }
        }

        // It did get to the handler.
        let operation = format!("POST /webhooks/{example}");
        let executions = server.executions(&operation).await;
        assert_eq!(executions, 2 * nameless.len() as u64);
    }
}

#[tokio::test]
async fn what_names_its_event_badly_never_gets_to_the_handler() {
    let long = "e".repeat(256);
    for (example, member) in [
        ("didit", "event_id"),
        ("verifa", "type"),
        ("verifa", "session_id"),
    ] {
        let server = Server::start(example, &[]).await;
        let other = match member {
            "type" => r#""session_id": "ses_1""#,
            "session_id" => r#""type": "session.completed""#,
            _ => r#""id": 1"#,
        };

        let values = ["null", "true", "1.5", "[\"evt\"]", "{}", "\"\"", "\"a b\""];
        let long = format!("\"{long}\"");
        let bodies = values.iter().copied().chain([&*long]);
        let bodies = bodies.map(|value| format!(r#"{{"{member}": {value}, {other}}}"#));
        let twice = format!(r#"{{"{member}": "a", "{member}": "a", {other}}}"#);
        let broken = format!(r#"{{"{member}": "a", {other}"#);
        for body in bodies.chain([twice, broken]) {
            let reply = deliver(&server, example, body).send().await;
            reply.refuses(400, "idempotency_key_invalid");
        }

        let ledger = server.get("/_ledger").send().await.json();
        assert_eq!(ledger["executions"], json!({}));
    }
}

#[tokio::test]
async fn a_number_is_an_event_id_too() {
    let server = Server::start("didit", &[]).await;

    let first = deliver(&server, "didit", r#"{"event_id": 5}"#).send().await;
    let again = deliver(&server, "didit", r#"{"event_id": 5, "again": true}"#);
    let again = again.send().await;

    assert_eq!(first.json()["event_id"], 5);
    repeats(&again, &first);
}

#[tokio::test]
async fn a_type_and_a_session_are_an_event_together() {
    let server = Server::start("verifa", &[]).await;
    let deliver = |kind: &str, session: &str| {
        let body = json!({ "type": kind, "session_id": session });
        deliver(&server, "verifa", body.to_string()).send()
    };

    let created = deliver("session.created", "ses_1").await;

    for (kind, session) in [
        ("session.completed", "ses_1"),
        ("session.created", "ses_2"),
        // Nor is an event what is left when both are written in a row.
        ("session.createds", "es_1"),
        ("session.create", "dses_1"),
        ("ses_1", "session.created"),
    ] {
        deliver(kind, session).await.is_first(200);
    }
    repeats(&deliver("session.created", "ses_1").await, &created);
}

#[tokio::test]
async fn a_key_in_the_head_agrees_with_the_event_id() {
    let server = Server::start("didit", &[]).await;
    let deliver = |body: &'static str| deliver(&server, "didit", body);

    let first = deliver(r#"{"event_id": "evt_1"}"#).key("evt_1");
    let first = first.send().await;
    let again = deliver(r#"{"event_id": "evt_1"}"#).send().await;
    let torn = deliver(r#"{"event_id": "evt_1"}"#).key("evt_2");
    let alone = deliver("{}").key("evt_1");

    repeats(&again, &first);
    let torn = torn.send().await;
    torn.refuses(400, "idempotency_key_invalid");
    alone.send().await.refuses(400, "validation_error");
}

#[tokio::test]
async fn a_key_in_the_head_is_nothing_to_a_type_and_a_session() {
    let server = Server::start("verifa", &[]).await;
    let deliver = |key: &str| {
        let body = r#"{"type": "session.created", "session_id": "ses_1"}"#;
        deliver(&server, "verifa", body).key(key).send()
    };

    let (first, again) = (deliver("one").await, deliver("another").await);

    repeats(&again, &first);
}

#[tokio::test]
async fn events_and_keys_do_not_meet() {
    const KEY: &str = "550e8400-e29b-41d4-a716-446655440000";
    let server = Server::start("didit", &[]).await;
    let body = json!({ "event_id": KEY, "workflow_id": "wkf" }).to_string();
    let create = || {
        let call = server.post("/v3/session/").header("x-api-key", "one");
        call.key(KEY).json(body.clone()).send()
    };
    let deliver = || deliver(&server, "didit", body.clone()).send();

    let (session, event) = (create().await, deliver().await);

    session.is_first(201);
    event.is_first(200);
    create().await.replays(&session, KEY);
    repeats(&deliver().await, &event);
}

#[tokio::test]
async fn every_error_of_a_webhook_is_flat() {
    for webhook in &WEBHOOKS {
        let server = webhook.start(&[]).await;
        let malformed = json!({ "simulate": { "delay_ms": "soon" } });

        let get = server.get(&webhook.path()).send().await;
        let large = server.upload(&webhook.path(), &[]).await;
        let malformed = webhook.delivery(&server, 1, malformed).send().await;

        get.refuses(405, "method_not_allowed");
        assert!(large.starts_with("HTTP/1.1 413 "), "{large}");
        assert!(large.contains(r#"{"error":"request_too_large","#));
        malformed.refuses(400, "validation_error");
    }
}

#[tokio::test]
async fn a_delivery_whose_sender_hung_up_is_waited_for_at_the_end() {
    for webhook in &WEBHOOKS {
        let server = webhook.start(&[]).await;
        let body = webhook.body(1, json!({ "simulate": { "delay_ms": 1_500 } }));
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n\r\n",
            webhook.path(),
            server.address,
            body.len()
        );
        let mut connection = server.connect().await;
        let begin = Instant::now();
        let request = head + &body;
        connection.write_all(request.as_bytes()).await.unwrap();
        server.started(&webhook.operation(), 1).await;

        drop(connection);
        server.terminate();
        let ended = server.ended().await;

        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        let elapsed = begin.elapsed();
        assert!(elapsed >= Duration::from_millis(1_500), "{elapsed:?}");
    }
}
