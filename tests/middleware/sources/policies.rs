//! Which keys are accepted.

use super::*;

fn under(policy: KeyPolicy) -> World {
    World::new(|layer| layer.key(policy))
}

fn keyed(key: &str) -> Request<Body> {
    with(&[("idempotency-key", key)])
}

#[tokio::test(start_paused = true)]
async fn a_length_counts_at_both_ends_after_unquoting() {
    for (range, right, wrong) in [
        (1..=1, [1, 1], &[2, 255][..]),
        (10..=255, [10, 255], &[1, 9, 256]),
        (255..=255, [255, 255], &[1, 254, 256]),
        (1..=300, [1, 300], &[301]),
        (40..=usize::MAX, [40, 5_000], &[1, 39]),
    ] {
        let world = under(KeyPolicy::ascii(range));

        for length in right {
            let (plain, escaped) = ("a".repeat(length), "\"".repeat(length));
            for (sent, key) in [
                (plain.clone(), &plain),
                (quoted(&plain), &plain),
                (format!("{};v=1", quoted(&plain)), &plain),
                (quoted(&escaped), &escaped),
            ] {
                assert_eq!(world.key(keyed(&sent)).await.1, *key, "{length}");
            }
        }
        for length in wrong {
            let (plain, escaped) = ("a".repeat(*length), "\\".repeat(*length));
            for sent in [plain.clone(), quoted(&plain), quoted(&escaped)] {
                world.refuses_the_key(keyed(&sent)).await;
            }
        }
    }
}

/// Letters, digits, `-`, `_` and `:`, 10 to 255 of them.
#[tokio::test(start_paused = true)]
async fn a_length_and_a_class_of_characters_are_what_an_api_documents() {
    let allowed = |char: char| char.is_ascii_alphanumeric() || "-_:".contains(char);
    let world = under(KeyPolicy::ascii(10..=255).characters(allowed));
    let longest = "a".repeat(255);

    for right in [
        "kyc:user_123:2024-01-15",
        "order-4567",
        "A_b-C:9_0-z",
        "\"order-4567\"",
        UUID,
        &longest,
    ] {
        let answer = world.ask(keyed(right)).await;
        assert_eq!(answer.status, 201, "{right}");
    }
    for wrong in [
        "1",
        "order-456",
        "\"order-456\"",
        "order 4567",
        "order.4567",
        "order/4567",
        "order#4567",
        "\"order,4567\"",
        "\"order-4567;\"",
        "order-4567;",
        "order-456\u{e9}",
        &format!("{longest}a"),
    ] {
        world.refuses_the_key(keyed(wrong)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_restriction_holds_beside_the_others() {
    let policy = KeyPolicy::ascii(2..=4)
        .characters(|char| char.is_ascii_lowercase())
        .characters(|char| char != 'x');
    let world = under(policy);

    for wrong in ["a", "abcde", "aB", "ax", "a1"] {
        world.refuses_the_key(keyed(wrong)).await;
    }
    assert_eq!(world.ask(keyed("abcd")).await.outcome, EXECUTED);
    let narrowed = under(KeyPolicy::uuid().characters(|char| char != 'f'));
    narrowed
        .refuses_the_key(keyed(&UUID.replace('5', "f")))
        .await;
    narrowed.refuses_the_key(keyed("abcd")).await;
    assert_eq!(narrowed.ask(keyed(UUID)).await.outcome, EXECUTED);
}

#[tokio::test(start_paused = true)]
async fn a_policy_may_ask_for_entropy() {
    let world = under(KeyPolicy::with(|key| {
        let distinct: std::collections::HashSet<_> = key.chars().collect();
        distinct.len() >= 8
    }));

    for simple in ["1", "test", "aaaaaaaaaaaaaaaa", "\"1212121212\""] {
        world.refuses_the_key(keyed(simple)).await;
    }
    assert_eq!(world.ask(keyed(UUID)).await.outcome, EXECUTED);
}

#[tokio::test(start_paused = true)]
async fn a_closure_judges_the_unquoted_key_and_only_what_may_be_one() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let shown = Arc::clone(&seen);
    let world = under(KeyPolicy::with(move |key| {
        shown.lock().unwrap().push(key.to_owned());
        true
    }));
    let long = "a".repeat(256);

    for wrong in ["", "\"", "a b", "\"a b\"", "caf\u{e9}", &long, "a,b"] {
        world.refuses_the_key(keyed(wrong)).await;
    }
    assert!(seen.lock().unwrap().is_empty());
    world.ask(keyed("abc")).await;
    world.ask(keyed(r#""a\"b";v=1"#)).await;

    assert_eq!(*seen.lock().unwrap(), ["abc", "a\"b"]);
}

#[tokio::test(start_paused = true)]
async fn upper_and_lower_case_of_a_uuid_are_one_key_and_the_handler_sees_lower_case() {
    let world = under(KeyPolicy::uuid());
    let upper = UUID.to_uppercase();
    let mixed = "550e8400-E29B-41d4-A716-446655440000";

    assert_eq!(world.key(keyed(&upper)).await, (EXECUTED, UUID.to_owned()));
    for same in [UUID, mixed, &quoted(mixed), &format!("\"{UUID}\";v=1")] {
        let replay = world.ask(keyed(same)).await;
        assert!(replay.is_replay(), "{same}");
        assert_eq!(replay.text(), UUID);
        assert_eq!(replay.header("idempotency-key"), Some(same));
    }
    assert_eq!(world.handler.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_hyphenated_uuid_is_refused_where_uuids_are_asked_for() {
    let world = under(KeyPolicy::uuid());

    for wrong in [
        "550e8400e29b41d4a716446655440000",
        "{550e8400-e29b-41d4-a716-446655440000}",
        "urn:uuid:550e8400-e29b-41d4-a716-446655440000",
        "550e8400-e29b-41d4-a716-44665544000",
        "550e8400-e29b-41d4-a716-4466554400000",
        "550e8400-e29b-41d4-a716-44665544000g",
        "550e8400-e29b-41d4-a716_446655440000",
        "550e840-0e29b-41d4-a716-446655440000",
        "order-4567",
    ] {
        world.refuses_the_key(keyed(wrong)).await;
        world.refuses_the_key(keyed(&quoted(wrong))).await;
    }
    // Of any version, the nil and the greatest one included.
    for right in [
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "01890a5d-ac96-774b-bcce-b302099a8057",
    ] {
        assert_eq!(world.ask(keyed(right)).await.outcome, EXECUTED);
    }
}

#[tokio::test(start_paused = true)]
async fn without_folding_the_case_of_a_key_counts() {
    let world = under(KeyPolicy::default());

    for key in [UUID, &UUID.to_uppercase(), "abc", "ABC"] {
        assert_eq!(world.key(keyed(key)).await, (EXECUTED, key.to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_panics_is_an_error_of_the_service_and_claims_nothing() {
    for (policy, key) in [
        (KeyPolicy::with(|_| panic!("a policy that panics")), "abc"),
        (KeyPolicy::with(|_| std::panic::panic_any(7)), "abc"),
        (
            KeyPolicy::ascii(1..=9).characters(|_| panic!("a policy that panics")),
            "abc",
        ),
        (
            KeyPolicy::uuid().characters(|_| panic!("a policy that panics")),
            UUID,
        ),
    ] {
        let world = under(policy.clone());

        let (status, code) = (500, "idempotency_internal");
        world.refuses(keyed(key), status, code).await;
        world.refuses_the_key(keyed("not valid")).await;
        let in_body = World::new(|layer| layer.key(policy).key_from(KeyFrom::json(["/id"])));
        in_body.refuses(id(&quoted(key)), status, code).await;
        in_body.passes(json("{}")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn strictly_only_a_structured_field_string_is_a_key() {
    let world = under(KeyPolicy::default().strict());

    for (sent, key) in [
        ("\"abc\"", "abc"),
        (" \"def\" ", "def"),
        (r#""a\"b\\c""#, r#"a"b\c"#),
        ("\"a,b\"", "a,b"),
        ("\"ghi\";v=1;w", "ghi"),
        ("\"jkl\"; v=1.5;w=tok/en;x=?1;y=:aGk=:;z=\"q\"", "jkl"),
    ] {
        assert_eq!(world.key(keyed(sent)).await, (EXECUTED, key.to_owned()));
    }
    for wrong in [
        "abc",
        "8e03978e-40d5",
        "1",
        "-1",
        "1.5",
        "?1",
        ":YWJj:",
        "@1659578233",
        "%\"abc\"",
        "(\"abc\")",
        "(\"abc\" \"def\")",
        "\"abc\", \"def\"",
        "\"abc\",",
        "k=\"abc\"",
        "'abc'",
        "\"abc",
        "abc\"",
        "\"\"",
        "",
        "\"a b\"",
        "\t\"abc\"",
        "\"abc\"\t",
        "\"abc\" ;v=1",
        "\"abc\";",
        "\"abc\";V=1",
        "\"\\abc\"",
    ] {
        world.refuses_the_key(keyed(wrong)).await;
    }
    assert_eq!(world.handler.executions(), 6);
}

#[tokio::test(start_paused = true)]
async fn strictness_goes_with_any_other_policy_and_any_header() {
    let world = World::new(|layer| {
        let source = KeyFrom::header("webhook-id");
        layer.key_from(source).key(KeyPolicy::uuid().strict())
    });
    let upper = UUID.to_uppercase();

    world.refuses_the_key(with(&[("webhook-id", UUID)])).await;
    world
        .refuses_the_key(with(&[("webhook-id", "\"abc\"")]))
        .await;
    let found = world.key(with(&[("webhook-id", &quoted(&upper))])).await;

    assert_eq!(found, (EXECUTED, UUID.to_owned()));
}

#[tokio::test(start_paused = true)]
async fn strictness_does_not_ask_for_quotes_in_a_body_and_does_in_the_header_beside_it() {
    let world = World::new(|layer| {
        let source = KeyFrom::json(["/id"]);
        layer.key_from(source).key(KeyPolicy::default().strict())
    });
    let beside = |header: &str| json_with(&[("idempotency-key", header)], r#"{"id":"abc"}"#);

    let found = world.key(json(r#"{"id":"abc"}"#)).await;

    assert_eq!(found, (EXECUTED, "abc".to_owned()));
    assert!(world.ask(beside("\"abc\"")).await.is_replay());
    world.refuses_the_key(beside("abc")).await;
}

#[tokio::test(start_paused = true)]
async fn a_policy_counts_for_a_uuid_in_the_body_and_in_the_header_beside_it() {
    let world = World::new(|layer| {
        layer
            .key_from(KeyFrom::json(["/id"]))
            .key(KeyPolicy::uuid())
            .fingerprint(FingerprintPolicy::none())
    });
    let upper = UUID.to_uppercase();

    assert_eq!(
        world.key(id(&quoted(&upper))).await,
        (EXECUTED, UUID.to_owned())
    );
    let beside = json_with(
        &[("idempotency-key", &upper)],
        format!("{{\"id\":\"{UUID}\"}}"),
    );
    assert!(world.ask(beside).await.is_replay());
    world.refuses_the_key(id("\"abc\"")).await;
    world.refuses_the_key(id("7")).await;
}
