//! Deliveries of events that come more than once.

use super::*;

/// Every delivery of an event is the same, whatever else differs in it.
fn events<const N: usize>(pointers: [&str; N]) -> World {
    World::new(|layer| {
        layer
            .scope(Scope::shared())
            .key_from(KeyFrom::json(pointers))
            .fingerprint(FingerprintPolicy::none())
    })
}

#[tokio::test(start_paused = true)]
async fn a_second_delivery_of_an_event_gets_the_first_answer_whatever_else_differs() {
    let world = events(["/event_id"]);
    let first = json_with(
        &[
            ("webhook-timestamp", "1"),
            ("content-type", "application/json"),
        ],
        r#"{"event_id":"evt_1","sent_at":1}"#,
    );

    assert_eq!(world.key(first).await, (EXECUTED, "evt_1".to_owned()));
    for again in [
        json_with(
            &[("webhook-timestamp", "2")],
            r#"{"sent_at":2,"event_id":"evt_1"}"#,
        ),
        json_with(
            &[("authorization", "Signature 1")],
            r#"{"event_id":"evt_1"}"#,
        ),
        json_with(&[("cookie", "a=1")], " { \"event_id\" : \"\\u0065vt_1\" } "),
    ] {
        assert!(world.ask(again).await.is_replay());
    }
    let other = json(r#"{"event_id":"evt_2","sent_at":1}"#);
    assert_eq!(world.ask(other).await.outcome, EXECUTED);
    assert_eq!(world.handler.executions(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_failed_is_processed_again() {
    let handler = Handler::default();
    let layer = IdempotencyLayer::default()
        .scope(Scope::shared())
        .key_from(KeyFrom::json(["/event_id"]))
        .fingerprint(FingerprintPolicy::none());
    let service = handler.statuses(&layer, &[500, 201]);
    let deliver = |at: u32| json(format!("{{\"event_id\":\"evt_1\",\"sent_at\":{at}}}"));

    let outcomes = [
        send(&service, deliver(1)).await.outcome,
        send(&service, deliver(2)).await.outcome,
        send(&service, deliver(3)).await.outcome,
    ];

    let freed = Outcome::Executed { recorded: false };
    assert_eq!(outcomes, [freed, EXECUTED, Outcome::Replayed]);
    assert_eq!(handler.executions(), 2);
}

#[tokio::test(start_paused = true)]
async fn type_and_session_together_are_an_event() {
    let world = events(["/type", "/session_id"]);
    let event = |kind: &str, session: &str| {
        let body = serde_json::json!({ "session_id": session, "type": kind });
        json(body.to_string())
    };

    for (kind, session) in [("approved", "s1"), ("approved", "s2"), ("declined", "s1")] {
        assert_eq!(world.ask(event(kind, session)).await.outcome, EXECUTED);
    }
    assert!(world.ask(event("approved", "s1")).await.is_replay());
    world.passes(json(r#"{"type":"ping"}"#)).await;
}

#[tokio::test(start_paused = true)]
async fn standard_webhooks_are_told_apart_by_their_header() {
    let world = World::new(|layer| {
        layer
            .scope(Scope::shared())
            .key_from(KeyFrom::header("webhook-id"))
            .fingerprint(FingerprintPolicy::none())
    });
    let delivery = |at: &str| {
        with(&[
            ("webhook-id", "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W"),
            ("webhook-timestamp", at),
            ("webhook-signature", at),
        ])
    };
    world.ask(delivery("1674087231")).await;

    let again = world.ask(delivery("1674087999")).await;

    assert!(again.is_replay());
    assert_eq!(
        again.header("webhook-id"),
        Some("msg_2KWPBgLlAfxdpx2AI54pPJ85f4W")
    );
}
