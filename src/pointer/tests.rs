use proptest::prelude::*;

use super::*;

/// The values at these pointers.
fn keys(body: &str, pointers: &[&str]) -> Result<Option<Vec<String>>, Malformed> {
    key_at(body.as_bytes(), &parse_all("json", pointers))
}

/// The one value at `/id`.
fn id(body: &str) -> Result<Option<String>, Malformed> {
    Ok(keys(body, &["/id"])?.map(join))
}

fn found(key: &str) -> Result<Option<String>, Malformed> {
    Ok(Some(key.to_owned()))
}

#[test]
fn a_pointer_is_read_as_it_was_written() {
    for (text, tokens) in [
        ("/", &[""][..]),
        ("/id", &["id"]),
        ("/a//b/", &["a", "", "b", ""]),
        ("/a~1b/~0/~01/m~0n~1~0", &["a/b", "~", "~1", "m~n/~"]),
        ("/ü/0/ /\"\\/%25", &["ü", "0", " ", "\"\\", "%25"]),
    ] {
        let pointer = Pointer::parse(text).unwrap();

        assert_eq!(pointer.tokens(), tokens);
        assert_eq!(pointer.as_str(), text);
    }
}

#[test]
fn a_malformed_pointer_is_refused_with_what_it_takes() {
    for (text, what) in [
        ("", "whole document"),
        ("id", "begins with '/'"),
        ("#/id", "begins with '/'"),
        ("$.id", "begins with '/'"),
        ("~0/id", "begins with '/'"),
        ("/a~", "'~0'"),
        ("/a~/b", "'~0'"),
        ("/a~2", "'~0'"),
        ("/~ü", "'~0'"),
        ("/~~0", "'~0'"),
    ] {
        let error = Pointer::parse(text).unwrap_err();

        assert!(error.contains(what), "{text:?}: {error}");
    }
}

#[test]
#[should_panic(
    expected = "KeyFrom::json takes JSON pointers (RFC 6901) such as \"/data/id\", \
                           not \"a~\": a pointer begins with '/'"
)]
fn a_bad_pointer_is_refused_with_the_name_of_the_knob() {
    parse_all("KeyFrom::json", ["/good", "a~"]);
}

#[test]
#[should_panic(expected = "KeyFrom::json takes at least one JSON pointer")]
fn an_empty_list_is_refused_with_the_name_of_the_knob() {
    parse_all("KeyFrom::json", [""; 0]);
}

#[test]
fn a_string_is_a_key_as_it_stands_unescaped() {
    assert_eq!(id(r#"{"id":"abc"}"#), found("abc"));
    assert_eq!(id(" {\n\"x\" : [1] , \"id\" : \"a b\" }\r\n"), found("a b"));
    assert_eq!(
        id(r#"{"id":"\u00e9\n\"\\\/\ud83d\ude00"}"#),
        found("é\n\"\\/😀")
    );
    assert_eq!(id(r#"{"\u0069d":"abc"}"#), found("abc"));
    assert_eq!(id(r#"{"id":""}"#), found(""));
}

#[test]
#[cfg_attr(miri, ignore = "too much of it for Miri")]
fn an_integer_is_a_key_by_its_text_however_large() {
    let long = "9".repeat(1 << 20);
    for integer in [
        "0",
        "-0",
        "-1",
        "42",
        "9007199254740993",
        "18446744073709551616",
        &long,
    ] {
        assert_eq!(id(&format!("{{\"id\":{integer}}}")), found(integer));
        assert_eq!(id(&format!("{{\"id\":\t{integer}\n}}")), found(integer));
    }
}

#[test]
fn anything_else_where_a_key_should_be_is_malformed() {
    for value in [
        "null",
        "true",
        "false",
        "1.5",
        "1.0",
        "1e3",
        "1E3",
        "-1e0",
        "[]",
        "{}",
        "[\"abc\"]",
        "{\"id\":1}",
    ] {
        assert_eq!(
            id(&format!("{{\"id\":{value}}}")),
            Err(Malformed),
            "{value}"
        );
    }
}

#[test]
fn a_body_that_is_not_json_is_malformed() {
    for body in [
        "",
        " ",
        "id=abc",
        "{",
        "{\"id\":\"abc\"",
        "{\"id\":\"abc\"}}",
        "{\"id\":\"abc\"} x",
        "{\"id\":01}",
        "{\"id\":+1}",
        "{\"id\":-}",
        "{\"id\":\"abc\",}",
        "{\"x\":nul,\"id\":\"abc\"}",
        "\u{feff}{\"id\":\"abc\"}",
        "{\"id\":\"\\ud83d\"}",
        "{\"id\":\"a\\ude00\"}",
        "{\"id\":\"a\nb\"}",
        "{\"id\":\"\\x\"}",
    ] {
        assert_eq!(id(body), Err(Malformed), "{body:?}");
    }
    for body in [
        &b"{\"id\":\"\xff\"}"[..],
        b"{\"x\":\"\xff\",\"id\":\"abc\"}",
        b"\0{\0}\0",
    ] {
        assert_eq!(key_at(body, &parse_all("json", ["/id"])), Err(Malformed));
    }
}

#[test]
fn a_member_that_stands_twice_on_the_way_is_malformed() {
    for body in [
        r#"{"id":"abc","id":"abc"}"#,
        r#"{"id":"abc","x":1,"\u0069d":null}"#,
        r#"{"id":null,"id":"abc"}"#,
    ] {
        assert_eq!(id(body), Err(Malformed), "{body}");
    }
    let way = &["/a/0/b"];
    assert_eq!(keys(r#"{"a":[{"b":"x"}],"a":[]}"#, way), Err(Malformed));
    assert_eq!(keys(r#"{"a":[{"b":"x","b":"x"}]}"#, way), Err(Malformed));

    assert_eq!(
        id(r#"{"x":1,"x":2,"id":"abc","y":{"id":1,"id":2}}"#),
        found("abc")
    );
}

#[test]
fn a_pointer_into_nothing_finds_no_key() {
    let body = r#"{"a":{"b":["x",{"c":"y"}]},"s":"text","n":null,"1":{"0":"z"},"":"empty"}"#;
    for missing in [
        "/b",
        "/a/c",
        "/a/b/2",
        "/a/b/-",
        "/a/b/01",
        "/a/b/+1",
        "/a/b/ 1",
        "/a/b/-1",
        "/a/b/1.0",
        "/a/b/",
        "/a/b/c",
        "/a/b/18446744073709551616",
        "/s/0",
        "/s/text",
        "/n/a",
        "/a/b/0/0",
        "/A",
        "/a/",
        "//",
    ] {
        assert_eq!(keys(body, &[missing]), Ok(None), "{missing}");
    }
    for (pointer, value) in [
        ("/a/b/0", "x"),
        ("/a/b/1/c", "y"),
        ("/1/0", "z"),
        ("/", "empty"),
    ] {
        assert_eq!(
            keys(body, &[pointer]),
            Ok(Some(vec![value.to_owned()])),
            "{pointer}"
        );
    }
    for scalar in ["1", "null", "\"id\"", "true", "[]", "{}"] {
        assert_eq!(id(scalar), Ok(None), "{scalar}");
    }
    assert_eq!(keys("[\"a\",7]", &["/1"]), Ok(Some(vec!["7".to_owned()])));
}

#[test]
fn several_values_are_one_key_with_their_lengths() {
    let body = r#"{"type":"type","session":{"id":"session_0001"},"n":12,"é":"é"}"#;

    let values = keys(body, &["/type", "/session/id"]).unwrap().unwrap();
    assert_eq!(values, ["type", "session_0001"]);
    assert_eq!(join(values), "4:type12:session_0001");
    let values = keys(body, &["/é", "/n", "/n"]).unwrap().unwrap();
    assert_eq!(join(values), "2:é2:122:12");
    assert_eq!(keys(body, &["/type", "/gone"]), Ok(None));
    assert_eq!(keys(body, &["/gone", "/type"]), Ok(None));
}

#[test]
fn a_malformed_value_beside_a_missing_one_is_malformed() {
    for pointers in [["/gone", "/id"], ["/id", "/gone"]] {
        assert_eq!(keys(r#"{"id":null}"#, &pointers), Err(Malformed));
    }
}

#[test]
fn members_that_serde_json_has_for_itself_are_like_others() {
    for name in [
        "$serde_json::private::Number",
        "$serde_json::private::RawValue",
    ] {
        assert_eq!(
            id(&format!("{{\"id\":{{\"{name}\":\"1\"}}}}")),
            Err(Malformed)
        );
        assert_eq!(
            id(&format!("{{\"{name}\":\"{{\\\"id\\\":1}}\"}}")),
            Ok(None)
        );
        let pointer = format!("/{name}");
        let body = format!("{{\"{name}\":\"1\"}}");
        assert_eq!(keys(&body, &[&pointer]), Ok(Some(vec!["1".to_owned()])));
    }
}

#[test]
#[cfg_attr(miri, ignore = "too much of it for Miri")]
fn deep_wide_and_long_bodies_are_read_without_recursion() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let wide = (0..100_000)
        .map(|at| format!("\"{at}\":{at},"))
        .collect::<String>();
    let down = "/0".repeat(20);

    assert_eq!(
        id(&format!("{{\"x\":{deep},\"id\":\"abc\"}}")),
        found("abc")
    );
    assert_eq!(keys(&deep, &[&down]), Err(Malformed));
    assert_eq!(id(&format!("{{\"id\":{deep}}}")), Err(Malformed));
    assert_eq!(id(&"[".repeat(1 << 20)), Err(Malformed));
    assert_eq!(id(&format!("{{{wide}\"id\":1}}")), found("1"));
    assert_eq!(keys(&deep, &["/1"]), Ok(None));
}

/// A pointer's text for these tokens.
fn written(tokens: &[String]) -> String {
    tokens
        .iter()
        .map(|token| format!("/{}", token.replace('~', "~0").replace('/', "~1")))
        .collect()
}

proptest! {
    #[test]
    fn what_is_escaped_is_unescaped(
        tokens in prop::collection::vec("[a/~01\\PC]{0,6}", 1..5),
    ) {
        let pointer = Pointer::parse(&written(&tokens)).unwrap();

        prop_assert_eq!(pointer.tokens(), &tokens[..]);
    }

    #[test]
    fn a_key_is_found_wherever_it_stands(
        way in prop::collection::vec(("[a/~01\"\\\\\\PC]{0,6}", any::<bool>(), 0..4_usize), 1..6),
        key in any::<String>(),
    ) {
        let mut body = serde_json::Value::from(key.as_str());
        let mut tokens = Vec::new();
        for (name, is_member, before) in way.iter().rev() {
            if *is_member {
                tokens.push(name.clone());
                body = serde_json::json!({ name.as_str(): body, format!("{name}x"): [name] });
            } else {
                tokens.push(before.to_string());
                let mut elements = vec![serde_json::Value::from("x"); *before];
                elements.extend([body, 1.into()]);
                body = elements.into();
            }
        }
        tokens.reverse();

        let values = keys(&body.to_string(), &[&written(&tokens)]);

        prop_assert_eq!(values, Ok(Some(vec![key])));
    }

    #[test]
    fn any_bytes_and_texts_are_read_without_panic(
        body in prop::collection::vec(any::<u8>(), 0..64),
        json in "[\\[\\]{}\",:01e.\\\\u+\\- tfn]{0,12}",
        pointer in "/?[~/01a]{0,6}",
    ) {
        if let Ok(pointer) = Pointer::parse(&pointer) {
            let pointers = [pointer];
            let _ = key_at(&body, &pointers);
            let is_json = serde_json::from_str::<IgnoredAny>(&json).is_ok();
            prop_assert!(is_json || key_at(json.as_bytes(), &pointers).is_err());
        }
    }

    #[test]
    fn different_values_make_different_keys(
        one in prop::collection::vec("[0-3:a]{0,4}", 2..4),
        other in prop::collection::vec("[0-3:a]{0,4}", 2..4),
    ) {
        prop_assert_eq!(join(one.clone()) == join(other.clone()), one == other);
    }
}
