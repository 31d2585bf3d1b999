//! Keys in headers of another name.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_header_is_configured_and_sent_in_any_case() {
    for configured in ["webhook-id", "Webhook-Id", "WEBHOOK-ID"] {
        let world = World::from(KeyFrom::header(configured));

        for (number, sent) in ["webhook-id", "Webhook-ID", "WEBHOOK-ID"]
            .iter()
            .enumerate()
        {
            let answer = world.ask(with(&[(sent, "msg_1")])).await;
            assert_eq!(answer.text(), "msg_1");
            assert_eq!(answer.is_replay(), number > 0, "{configured} {sent}");
        }
        assert_eq!(world.handler.executions(), 1);
    }
    let name = http::HeaderName::from_static("webhook-id");
    let world = World::from(KeyFrom::header(name));
    assert_eq!(
        world.key(with(&[("webhook-id", "msg_1")])).await,
        (EXECUTED, "msg_1".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn beside_a_configured_header_the_default_one_means_nothing() {
    let world = World::from(KeyFrom::header("webhook-id"));

    for ignored in [
        &[("idempotency-key", "k")][..],
        &[("idempotency-key", "")],
        &[("idempotency-key", "not valid")],
        &[("idempotency-key", "k"), ("idempotency-key", "l")],
    ] {
        world.passes(with(ignored)).await;
    }
    for (number, other) in ["k", "l", "not valid"].iter().enumerate() {
        let request = with(&[("webhook-id", "msg_1"), ("idempotency-key", other)]);
        let answer = world.ask(request).await;
        assert_eq!(answer.text(), "msg_1");
        assert_eq!(answer.is_replay(), number > 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_replay_echoes_the_key_under_the_name_it_came_by_as_this_retry_sent_it() {
    let world = World::from(KeyFrom::header("PayPal-Request-Id"));
    let first = world.ask(with(&[("paypal-request-id", "abc")])).await;

    for sent in ["abc", "\"abc\"", "\"abc\";v=1"] {
        let request = with(&[("paypal-request-id", sent), ("idempotency-key", "other")]);
        let replay = world.ask(request).await;

        let echoed = replay.headers.get_all("paypal-request-id");
        assert!(replay.is_replay());
        assert_eq!(echoed.iter().collect::<Vec<_>>(), [sent]);
        assert_eq!(replay.header("idempotency-key"), None);
    }
    assert_eq!(first.header("paypal-request-id"), None);
    assert_eq!(first.header("idempotent-replayed"), None);
}

#[tokio::test(start_paused = true)]
async fn a_key_from_elsewhere_is_echoed_by_no_header() {
    let from_path = KeyFrom::with(|parts| Some(parts.uri.path()[1..].to_owned()));
    for source in [
        KeyFrom::json(["/id"]),
        KeyFrom::json(["/id", "/amount"]),
        from_path,
    ] {
        let world = World::from(source);
        let request = || json_with(&[("idempotency-key", "abc")], r#"{"id":"abc","amount":5}"#);
        world.ask(request()).await;

        let replay = world.ask(request()).await;

        assert!(replay.is_replay());
        assert_eq!(replay.header("idempotency-key"), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_configured_header_is_held_to_what_the_default_one_is() {
    let world = World::from(KeyFrom::header("webhook-id"));
    let long = "a".repeat(60 << 10);

    for wrong in [
        "",
        " ",
        "\t",
        "\"",
        "\"\"",
        "\"a",
        "a\"",
        "\"a\"b\"",
        "a,b",
        "a b",
        "\"a\", \"b\"",
        &long,
    ] {
        world.refuses_the_key(with(&[("webhook-id", wrong)])).await;
    }
    for second in ["msg_1", "msg_2", ""] {
        let lines = [("webhook-id", "msg_1"), ("Webhook-Id", second)];
        world.refuses_the_key(with(&lines)).await;
    }
    assert!(world.spy.verbs().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_configured_header_may_be_required_and_the_default_one_does_not_stand_in_for_it() {
    let world = World::new(|layer| {
        let source = KeyFrom::header("webhook-id");
        layer.key_from(source).require_key(true)
    });

    for missing in [&[][..], &[("idempotency-key", "k")]] {
        let (status, code) = (400, "idempotency_key_missing");
        world.refuses(with(missing), status, code).await;
    }
    assert_eq!(
        world.key(with(&[("webhook-id", "msg_1")])).await,
        (EXECUTED, "msg_1".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn the_name_of_the_header_is_no_part_of_the_record() {
    let worlds = ["idempotency-key", "x-request-key"].map(|name| {
        let world = World::from(KeyFrom::header(name));
        (name, world)
    });

    for (name, world) in &worlds {
        world.ask(with(&[(name, "abc")])).await;
    }

    let [(_, one), (_, other)] = worlds;
    assert_eq!(one.records(), other.records());
    assert_eq!(one.records().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_invalid_key_is_told_in_the_configured_form_wherever_it_stands() {
    for source in [
        KeyFrom::default(),
        KeyFrom::header("webhook-id"),
        KeyFrom::json(["/id"]),
        KeyFrom::json(["/id", "/id"]),
        KeyFrom::with(|_| Some("not valid".into())),
    ] {
        let world = World::new(|layer| layer.key_from(source).errors(ErrorForm::problem()));
        let headers = [("idempotency-key", "not valid"), ("webhook-id", "")];

        let answer = world
            .ask(json_with(&headers, r#"{"id":"not valid"}"#))
            .await;

        let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(
            (answer.status.as_u16(), &problem["status"]),
            (400, &400.into())
        );
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(problem["code"], "idempotency_key_invalid");
        assert_eq!(problem["retryable"], false);
        assert!(world.spy.verbs().is_empty());
    }
}
