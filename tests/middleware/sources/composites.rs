//! Keys of several values in a JSON body.

use super::*;

fn pair(one: &str, other: &str) -> Request<Body> {
    json(serde_json::json!({ "a": one, "b": other }).to_string())
}

/// Whatever else it says, it is the same.
fn pairs() -> World {
    World::new(|layer| {
        let source = KeyFrom::json(["/a", "/b"]);
        layer
            .key_from(source)
            .fingerprint(FingerprintPolicy::none())
    })
}

#[tokio::test(start_paused = true)]
async fn several_values_are_one_key_each_with_its_length() {
    for (pointers, body, key) in [
        (
            &["/type", "/session_id"][..],
            r#"{"session_id":"session_0001","type":"type"}"#,
            "4:type12:session_0001",
        ),
        (&["/a", "/b"], r#"{"a":"x","b":12}"#, "1:x2:12"),
        (&["/b", "/a"], r#"{"a":"x","b":12}"#, "2:121:x"),
        (&["/a", "/a"], r#"{"a":"x"}"#, "1:x1:x"),
        (&["/a", "/b"], r#"{"a":"1:x","b":-7}"#, "3:1:x2:-7"),
        (
            &["/a/0", "/a/1", "/a/2"],
            r#"{"a":["p","q",0]}"#,
            "1:p1:q1:0",
        ),
        (&["/a", "/b"], r#"{"a":"\u0022","b":"\u002F"}"#, "1:\"1:/"),
    ] {
        let world = World::from(KeyFrom::json(pointers));

        let first = world.key(json(body)).await;

        assert_eq!(first, (EXECUTED, key.to_owned()));
        assert!(world.ask(json(body)).await.is_replay());
        let record = world.layer.record_key(b"", &Method::POST, PATH, key);
        assert_eq!(world.records(), [record, record]);
    }
}

#[tokio::test(start_paused = true)]
async fn no_two_splits_of_the_same_characters_share_a_record() {
    let world = pairs();
    let splits = [
        ("a", "bc"),
        ("ab", "c"),
        ("bc", "a"),
        ("a1:b", "c"),
        ("a", "1:bc"),
        ("1:a", "bc"),
        ("1", ":a2:bc"),
        ("2:ab1", ":c"),
        ("1:a2:bc", "1"),
        ("1:a2", ":bc1"),
    ];

    for (one, other) in splits {
        assert_eq!(world.ask(pair(one, other)).await.outcome, EXECUTED);
    }
    for (one, other) in splits {
        assert!(world.ask(pair(one, other)).await.is_replay());
    }
    assert_eq!(world.handler.executions() as usize, splits.len());
}

#[tokio::test(start_paused = true)]
async fn one_value_by_itself_is_not_the_same_as_several() {
    let (one, several) = (World::from(KeyFrom::json(["/a"])), pairs());

    one.ask(pair("1:x1:y", "")).await;
    several.ask(pair("x", "y")).await;
    one.ask(pair("x", "y")).await;

    // The framing is a text: whoever names it as one value means that record.
    assert_eq!(one.records()[0], several.records()[0]);
    assert_ne!(one.records()[1], several.records()[0]);
}

#[tokio::test(start_paused = true)]
async fn where_one_value_is_missing_there_is_no_key() {
    let world = pairs();

    for body in [
        r#"{"a":"x"}"#,
        r#"{"b":"x"}"#,
        "{}",
        "[]",
        "7",
        r#"{"a":"x","B":"y"}"#,
        r#"{"c":{"a":"x","b":"y"}}"#,
    ] {
        world.passes(json(body)).await;
        let headers = [("idempotency-key", "k")];
        world.passes(json_with(&headers, body)).await;
    }
    assert!(world.spy.verbs().is_empty());
}

#[tokio::test(start_paused = true)]
async fn where_a_key_is_required_every_value_is() {
    let world = World::new(|layer| {
        let source = KeyFrom::json(["/a", "/b"]);
        layer.key_from(source).require_key(true)
    });

    for body in [r#"{"a":"x"}"#, r#"{"b":"x"}"#, "{}"] {
        let request = json_with(&[("idempotency-key", "k")], body);
        world.refuses(request, 400, "idempotency_key_missing").await;
    }
    assert_eq!(
        world.key(pair("x", "y")).await,
        (EXECUTED, "1:x1:y".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_none_is_refused_wherever_it_stands_and_beside_a_missing_one_too() {
    let world = pairs();

    for wrong in [
        "null", "true", "1.5", "[]", "{}", "\"\"", "\"x y\"", "\"é\"",
    ] {
        for body in [
            format!("{{\"a\":{wrong},\"b\":\"x\"}}"),
            format!("{{\"b\":{wrong},\"a\":\"x\"}}"),
        ] {
            world.refuses_the_key(json(body)).await;
        }
    }
    for wrong in ["null", "[]", "1.5"] {
        world
            .refuses_the_key(json(format!("{{\"b\":{wrong}}}")))
            .await;
    }
    for twice in [r#"{"a":"x","b":"y","a":"x"}"#, r#"{"b":1,"b":1,"a":"x"}"#] {
        world.refuses_the_key(json(twice)).await;
    }
    assert!(world.spy.verbs().is_empty());
}

#[tokio::test(start_paused = true)]
async fn beside_several_pointers_the_header_means_nothing() {
    let world = pairs();
    world.ask(pair("x", "y")).await;

    for header in ["1:x1:y", "other", "", "\"a", "a,b", "not valid"] {
        let request = json_with(&[("idempotency-key", header)], r#"{"a":"x","b":"y"}"#);
        assert!(world.ask(request).await.is_replay(), "{header}");
    }
    let lines = [("idempotency-key", "k"), ("idempotency-key", "l")];
    let twice = json_with(&lines, r#"{"a":"x","b":"y"}"#);
    assert!(world.ask(twice).await.is_replay());
}

#[tokio::test(start_paused = true)]
async fn the_policy_holds_for_each_value_and_not_for_all_together() {
    let world = World::new(|layer| {
        let source = KeyFrom::json(["/a", "/b"]);
        let letters = KeyPolicy::ascii(2..=4).characters(|char| char.is_ascii_lowercase());
        layer.key_from(source).key(letters)
    });

    for (one, other) in [
        ("x", "yy"),
        ("xx", "y"),
        ("xxxxx", "yy"),
        ("xx", "y:"),
        ("XX", "yy"),
    ] {
        world.refuses_the_key(pair(one, other)).await;
    }
    assert_eq!(
        world.key(pair("abcd", "efgh")).await,
        (EXECUTED, "4:abcd4:efgh".to_owned())
    );
    let longest = "a".repeat(255);
    let world = pairs();
    let (outcome, key) = world.key(pair(&longest, &longest)).await;
    assert_eq!((outcome, key.len()), (EXECUTED, 2 * (4 + 255)));
    world
        .refuses_the_key(pair("x", &format!("{longest}a")))
        .await;
}

#[tokio::test(start_paused = true)]
async fn each_uuid_is_folded() {
    let world = World::new(|layer| {
        let source = KeyFrom::json(["/a", "/b"]);
        let layer = layer.key_from(source).key(KeyPolicy::uuid());
        layer.fingerprint(FingerprintPolicy::none())
    });
    let upper = UUID.to_uppercase();

    let first = world.key(pair(&upper, UUID)).await;

    assert_eq!(first, (EXECUTED, format!("36:{UUID}36:{UUID}")));
    assert!(world.ask(pair(UUID, &upper)).await.is_replay());
}

#[tokio::test(start_paused = true)]
async fn the_order_of_the_pointers_makes_the_key_and_the_order_of_the_members_does_not() {
    let world = pairs();

    world.ask(json(r#"{"a":"x","b":"y"}"#)).await;

    assert!(world.ask(json(r#"{"b":"y","a":"x"}"#)).await.is_replay());
    assert_eq!(world.ask(pair("y", "x")).await.outcome, EXECUTED);
}
