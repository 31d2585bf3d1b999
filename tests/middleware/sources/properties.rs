//! What holds for any key.

use super::*;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(future)
}

/// A JSON string of this text, some of its characters escaped without need.
fn written(text: &str, escaped: &[bool]) -> String {
    let mut units = escaped.iter().cycle();
    let characters = text.chars().map(|char| {
        let is_plain = char >= ' ' && !matches!(char, '"' | '\\');
        if is_plain && !*units.next().unwrap_or(&false) {
            return char.to_string();
        }
        let mut buffer = [0; 2];
        let units = char.encode_utf16(&mut buffer).iter();
        units.map(|unit| format!("\\u{unit:04x}")).collect()
    });
    format!("\"{}\"", characters.collect::<String>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_string_in_a_body_is_the_record_that_it_is_in_a_header_if_it_is_a_key_at_all(
        key in prop_oneof!["[!-~]{1,20}", "[ -~]{0,8}", "\\PC{0,6}", any::<String>()],
        escaped in prop::collection::vec(any::<bool>(), 1..5),
    ) {
        let is_key = (1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
        let in_body = World::from(KeyFrom::json(["/id"]));
        let in_header = World::from(KeyFrom::default());
        block_on(async {
            let body = in_body.ask(id(&written(&key, &escaped))).await;
            if !is_key {
                assert_eq!((body.status.as_u16(), body.code()), (400, "idempotency_key_invalid".to_owned()));
                assert!(in_body.spy.verbs().is_empty());
                return;
            }
            let header = in_header.ask(with(&[("idempotency-key", &quoted(&key))])).await;

            assert_eq!((body.outcome, body.text()), (EXECUTED, key.as_str()));
            assert_eq!((header.outcome, header.text()), (EXECUTED, key.as_str()));
            assert_eq!(in_body.records(), in_header.records());
            assert_eq!(
                in_body.records(),
                [in_body.layer.record_key(b"", &Method::POST, PATH, &key)]
            );
        });
    }

    #[test]
    fn the_header_agrees_with_the_field_where_both_are_the_same_text_and_nowhere_else(
        field in "[a-b\"\\\\,;]{1,3}", header in "[a-b\"\\\\,;]{1,3}",
    ) {
        let world = World::from(KeyFrom::json(["/id"]));
        let body = serde_json::json!({ "id": field }).to_string();
        let request = json_with(&[("idempotency-key", &quoted(&header))], body);

        let answer = block_on(world.ask(request));

        prop_assert_eq!(answer.status == 201, field == header);
        prop_assert_eq!(world.records().len(), usize::from(field == header));
    }

    #[test]
    fn two_lists_of_values_share_a_record_only_where_they_are_the_same(
        one in prop::array::uniform3("[0-3:a]{1,4}"), other in prop::array::uniform3("[0-3:a]{1,4}"),
    ) {
        let world = World::from(KeyFrom::json(["/0", "/1", "/2"]));
        let body = |values: &[String; 3]| json(serde_json::json!(values).to_string());

        block_on(async {
            world.ask(body(&one)).await;
            world.ask(body(&other)).await;
        });

        let records = world.records();
        prop_assert_eq!(records[0] == records[1], one == other);
    }

    #[test]
    fn the_key_is_found_behind_any_names(
        names in prop::collection::vec("[a/~01\"\\\\\\PC]{0,5}", 1..5), key in "[!-~]{1,20}",
    ) {
        let pointer = names.iter().fold(String::new(), |pointer, name| {
            pointer + "/" + &name.replace('~', "~0").replace('/', "~1")
        });
        let body = names.iter().rev().fold(serde_json::json!(key), |body, name| {
            serde_json::json!({ name: body, format!("{name}x"): ["not", "it"] })
        });
        let world = World::from(KeyFrom::json([pointer]));

        let found = block_on(world.key(json(body.to_string())));

        prop_assert_eq!(found, (EXECUTED, key));
    }

    #[test]
    fn a_principal_and_a_key_are_never_taken_for_another_pair(
        one in ("[a-b:]{1,3}", "[a-b:]{1,3}"), other in ("[a-b:]{1,3}", "[a-b:]{1,3}"),
    ) {
        let tenant = http::HeaderName::from_static("x-tenant");
        for scope in [
            Scope::headers([tenant]),
            Scope::with(|parts| Ok(parts.headers["x-tenant"].as_bytes().to_vec())),
        ] {
            let world = World::new(|layer| layer.scope(scope.without_endpoint()));
            let request = |(tenant, key): &(String, String)| {
                with(&[("x-tenant", tenant), ("idempotency-key", key)])
            };

            block_on(async {
                world.ask(request(&one)).await;
                world.ask(request(&other)).await;
            });

            let records = world.records();
            prop_assert_eq!(records[0] == records[1], one == other);
            prop_assert_eq!(records[0].scope() == records[1].scope(), one.0 == other.0);
        }
    }
}
