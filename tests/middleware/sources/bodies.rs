//! Keys at one pointer into a JSON body.

use super::*;

#[tokio::test(start_paused = true)]
async fn the_string_at_a_pointer_is_the_key() {
    for (pointer, body) in [
        ("/id", r#"{"id":"abc"}"#),
        ("/id", " {\r\n\t\"x\" : [ {} ] , \"id\" : \"abc\" } "),
        (
            "/data/event/id",
            r#"{"id":1,"data":{"id":2,"event":{"id":"abc"}}}"#,
        ),
        ("/items/1/id", r#"{"items":[{"id":"x"},{"id":"abc"}]}"#),
        ("/0", r#"["abc"]"#),
        ("/", r#"{"":"abc"}"#),
        ("/a~1b/m~0n", r#"{"a/b":{"m~n":"abc"}}"#),
        ("/é", r#"{"\u00e9":"abc"}"#),
    ] {
        let world = World::from(KeyFrom::json([pointer]));

        let first = world.key(json(body)).await;
        let second = world.key(json(body)).await;

        assert_eq!(first, (EXECUTED, "abc".to_owned()), "{pointer}");
        assert_eq!(second, (Outcome::Replayed, "abc".to_owned()), "{pointer}");
        let record = world.layer.record_key(b"", &Method::POST, PATH, "abc");
        assert_eq!(world.records(), [record, record]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_integer_is_the_key_by_its_text_however_large() {
    let world = World::from(KeyFrom::json(["/id"]));
    let longest = "9".repeat(255);
    let integers = [
        "0",
        "-0",
        "7",
        "-7",
        "9007199254740992",
        "9007199254740993",
        "18446744073709551616",
        "-170141183460469231731687303715884105729",
        &longest,
    ];

    for integer in integers {
        assert_eq!(world.key(id(integer)).await, (EXECUTED, integer.to_owned()));
        assert!(world.ask(id(integer)).await.is_replay(), "{integer}");
    }
    assert_eq!(world.handler.executions() as usize, integers.len());
    world.refuses_the_key(id(&"9".repeat(256))).await;
}

#[tokio::test(start_paused = true)]
async fn an_integer_and_the_string_of_its_digits_are_one_key() {
    let world = World::new(|layer| {
        let source = KeyFrom::json(["/id"]);
        layer
            .key_from(source)
            .fingerprint(FingerprintPolicy::none())
    });
    world.ask(id("12")).await;

    assert!(world.ask(id("\"12\"")).await.is_replay());
}

#[tokio::test(start_paused = true)]
async fn a_value_of_any_other_type_is_refused() {
    let world = World::from(KeyFrom::json(["/id"]));

    for value in [
        "null",
        "true",
        "false",
        "1.5",
        "1.0",
        "-0.0",
        "1e3",
        "1E3",
        "0e0",
        "[]",
        "{}",
        "[\"abc\"]",
        "[7]",
        "{\"id\":\"abc\"}",
    ] {
        world.refuses_the_key(id(value)).await;
    }
    assert!(world.spy.verbs().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_no_key_is_refused() {
    let world = World::from(KeyFrom::json(["/id"]));
    let long = format!("\"{}\"", "a".repeat(256));

    for value in [
        "\"\"",
        "\" \"",
        "\"a b\"",
        "\" abc\"",
        "\"abc\\n\"",
        "\"abc\\u0000\"",
        "\"\\u007f\"",
        "\"caf\\u00e9\"",
        "\"é\"",
        "\"\\ud83d\\ude00\"",
        &long,
    ] {
        world.refuses_the_key(id(value)).await;
    }
    let longest = format!("\"{}\"", "a".repeat(255));
    assert_eq!(world.ask(id(&longest)).await.outcome, EXECUTED);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_json_is_refused_whether_a_key_is_required_or_not() {
    for required in [false, true] {
        let world = World::new(|layer| {
            let source = KeyFrom::json(["/id"]);
            layer.key_from(source).require_key(required)
        });

        for body in [
            &b""[..],
            b" ",
            b"id=abc",
            b"abc",
            b"{",
            br#"{"id":"abc""#,
            br#"{"id":"abc"}}"#,
            br#"{"id":"abc"} x"#,
            br#"{"id":"abc"}{"id":"abc"}"#,
            br#"{"id":"abc",}"#,
            br#"{'id':'abc'}"#,
            br#"{"id":01}"#,
            br#"{"id":+1}"#,
            br#"{"id":NaN}"#,
            b"\xef\xbb\xbf{\"id\":\"abc\"}",
            br#"{"id":"\ud83d"}"#,
            br#"{"id":"a\ude00"}"#,
            b"{\"id\":\"a\nb\"}",
            b"{\"id\":\"\xff\"}",
            b"{\"x\":\"\xff\",\"id\":\"abc\"}",
            b"\0{\0\"\0",
        ] {
            world.refuses_the_key(json(body)).await;
        }
        assert!(world.spy.verbs().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_stands_twice_on_the_way_is_refused() {
    let world = World::from(KeyFrom::json(["/data/id"]));

    for body in [
        r#"{"data":{"id":"abc","id":"abc"}}"#,
        r#"{"data":{"id":"abc","id":"def"}}"#,
        r#"{"data":{"id":"abc","\u0069d":"abc"}}"#,
        r#"{"data":{"id":"abc","id":null}}"#,
        r#"{"data":{"id":"abc"},"data":{"id":"abc"}}"#,
        r#"{"data":null,"data":{"id":"abc"}}"#,
        r#"{"data":{"id":"abc"},"x":1,"d\u0061ta":0}"#,
    ] {
        world.refuses_the_key(json(body)).await;
    }
    assert!(world.spy.verbs().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_member_that_stands_twice_elsewhere_does_not_matter() {
    for body in [
        r#"{"data":{"id":"abc"},"id":1,"id":2}"#,
        r#"{"data":{"x":1,"x":1,"id":"abc"}}"#,
        r#"{"data":{"id":"abc"},"other":{"data":1,"data":2}}"#,
    ] {
        let world = World::from(KeyFrom::json(["/data/id"]));

        assert_eq!(world.key(json(body)).await, (EXECUTED, "abc".to_owned()));
        assert!(world.ask(json(body)).await.is_replay());
    }
}

#[tokio::test(start_paused = true)]
async fn an_escaped_string_is_the_plain_one() {
    let world = World::new(|layer| {
        let source = KeyFrom::json(["/id"]);
        layer
            .key_from(source)
            .fingerprint(FingerprintPolicy::none())
    });
    world.ask(id("\"a/b\\\"c\"")).await;

    for same in [
        r#""a\/b\"c""#,
        r#""\u0061/b\u0022c""#,
        r#""\u0061\u002F\u0062\u0022\u0063""#,
    ] {
        let answer = world.ask(id(same)).await;
        assert!(answer.is_replay(), "{same}");
        assert_eq!(answer.text(), "a/b\"c");
    }
    // The header agrees, in the quotes that it needs there.
    let agreeing = json_with(
        &[("idempotency-key", r#""a/b\"c""#)],
        r#"{"id":"a/b\u0022c"}"#,
    );
    assert!(world.ask(agreeing).await.is_replay());
    assert_eq!(world.handler.executions(), 1);
}

/// Quotes belong to headers.
#[tokio::test(start_paused = true)]
async fn quotes_in_a_field_are_a_part_of_the_key() {
    let world = World::from(KeyFrom::json(["/id"]));

    let bare = world.key(id("\"abc\"")).await;
    let in_quotes = world.key(id(r#""\"abc\"""#)).await;
    let with_comma = world.key(id("\"a,b\"")).await;

    assert_eq!(bare, (EXECUTED, "abc".to_owned()));
    assert_eq!(in_quotes, (EXECUTED, "\"abc\"".to_owned()));
    assert_eq!(with_comma, (EXECUTED, "a,b".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_header_beside_the_field_must_say_the_same() {
    let world = World::from(KeyFrom::json(["/id"]));
    let beside = |header: &str| json_with(&[("idempotency-key", header)], r#"{"id":"abc"}"#);
    world.ask(json(r#"{"id":"abc"}"#)).await;

    for agrees in ["abc", " abc ", "\"abc\"", "\"abc\";v=1"] {
        assert!(world.ask(beside(agrees)).await.is_replay(), "{agrees}");
    }
    for disagrees in ["abd", "ABC", "abcd", "ab", "\"abd\""] {
        world.refuses_the_key(beside(disagrees)).await;
    }
    for malformed in [
        "",
        " ",
        "\"abc",
        "abc\"",
        "abc,abc",
        "a b",
        "\"abc\", \"abc\"",
    ] {
        world.refuses_the_key(beside(malformed)).await;
    }
    for second in ["abc", "abd"] {
        let mut twice = beside("abc");
        let second = HeaderValue::from_static(second);
        twice.headers_mut().append("idempotency-key", second);
        world.refuses_the_key(twice).await;
    }
    assert_eq!(world.handler.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_header_alone_is_no_key() {
    for (required, body) in [
        (false, "{}"),
        (false, r#"{"data":{"id":"abc"}}"#),
        (true, "{}"),
        (true, "[]"),
    ] {
        let world = World::new(|layer| {
            let source = KeyFrom::json(["/id"]);
            layer.key_from(source).require_key(required)
        });
        let request = json_with(&[("idempotency-key", "abc")], body);

        if required {
            let (status, code) = (400, "idempotency_key_missing");
            world.refuses(request, status, code).await;
        } else {
            world.passes(request).await;
        }
        assert!(world.spy.verbs().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_in_the_body_may_be_required() {
    let world = World::new(|layer| {
        let source = KeyFrom::json(["/data/id"]);
        layer.key_from(source).require_key(true)
    });

    for missing in [
        "{}",
        "[]",
        "7",
        "null",
        r#""id""#,
        r#"{"data":null}"#,
        r#"{"data":[]}"#,
    ] {
        let (status, code) = (400, "idempotency_key_missing");
        world.refuses(json(missing), status, code).await;
    }
    let there = json(r#"{"data":{"id":"abc"}}"#);
    assert_eq!(world.key(there).await, (EXECUTED, "abc".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn what_else_the_body_says_is_still_compared() {
    let world = World::from(KeyFrom::json(["/id"]));
    world.ask(json(r#"{"id":"abc","amount":5}"#)).await;

    for other in [
        r#"{"id":"abc","amount":6}"#,
        r#"{"amount":5,"id":"abc"}"#,
        r#"{"id":"\u0061bc","amount":5}"#,
    ] {
        let answer = world.ask(json(other)).await;
        assert_eq!(answer.status, 422);
        assert_eq!(answer.outcome, Outcome::Mismatch);
    }
    assert!(
        world
            .ask(json(r#"{"id":"abc","amount":5}"#))
            .await
            .is_replay()
    );
    assert_eq!(world.handler.executions(), 1);
}

/// Whatever it says of its type, and of its compression: a gzipped body is no JSON.
#[tokio::test(start_paused = true)]
async fn the_content_type_does_not_say_whether_there_is_a_key() {
    for content_type in ["application/json", "text/plain", "nonsense"] {
        let world = World::from(KeyFrom::json(["/id"]));
        let headers = [("content-type", content_type)];

        let answer = world.key(json_with(&headers, r#"{"id":"abc"}"#)).await;

        assert_eq!(answer, (EXECUTED, "abc".to_owned()));
        world
            .refuses_the_key(json_with(&headers, &b"\x1f\x8b\x08\0"[..]))
            .await;
    }
}
