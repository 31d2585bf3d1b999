use super::*;

mod documents;
mod properties;
mod python;

fn form(body: &str) -> Option<String> {
    reduced(body, &[], &[])
}

fn reduced(body: &str, include: &[&str], exclude: &[&str]) -> Option<String> {
    let [include, exclude] = [include, exclude].map(|pointers| {
        let pointers = pointers
            .iter()
            .map(|pointer| Pointer::parse(pointer).unwrap());
        pointers.collect::<Vec<_>>()
    });
    canonical(body.as_bytes(), &include, &exclude).map(|form| String::from_utf8(form).unwrap())
}

/// Asserts that each of these bodies is compared by its bytes.
fn by_bytes(bodies: &[&str]) {
    for body in bodies {
        assert_eq!(form(body), None, "{body:?}");
    }
}

#[test]
fn member_order_white_space_and_escapes_do_not_matter() {
    let canonical = "{\"\\r\":\"é/\",\"1\":[true,false,null],\"\u{80}\":{},\"ö\":[],\"€\":\"\\u0001\\\"\",\
                     \"😀\":\"\\\\\",\"\u{fb33}\":1}";

    assert_eq!(
        form(concat!(
            " { \"\\u20ac\" : \"\\u0001\\u0022\", \"\\r\": \"\\u00e9\\/\",\n\"\u{fb33}\":1.0,",
            "\"1\":[true,\tfalse ,null],\"\\uD83D\\uDE00\":\"\\u005c\",\"\u{80}\":{ },\"\\u00f6\":[ ]}\r\n"
        ))
        .as_deref(),
        Some(canonical)
    );
    assert_eq!(form(canonical).as_deref(), Some(canonical));
}

#[test]
fn equal_numbers_are_equal_however_they_are_written() {
    for (number, spellings) in [
        (
            "1",
            &[
                "1",
                "1.0",
                "1e0",
                "10E-1",
                "0.1e+1",
                "1.000000000000000000000000000",
            ][..],
        ),
        (
            "0",
            &[
                "0",
                "-0",
                "0.0",
                "-0.0",
                "0e99999999999999999999",
                "-0E-400",
            ],
        ),
        (
            "100",
            &[
                "1e2",
                "100",
                "1E+02",
                "100.00",
                "10000000000000000000000e-20",
            ],
        ),
        (
            "-1.5",
            &["-1.5", "-15e-1", "-0.0000000000000000000000015e24"],
        ),
        (
            "9007199254740992",
            &[
                "9007199254740992",
                "9007199254740992.0",
                "9.007199254740992e15",
            ],
        ),
        (
            "-9007199254740991",
            &["-9007199254740991", "-900719925474099.1e1"],
        ),
        ("0.1", &["0.1", "1e-1"]),
        ("1e-7", &["0.0000001", "1E-7"]),
        ("0.000001", &["0.000001", "1e-6"]),
        (
            "0.123456789012345",
            &["0.123456789012345", "123456789012345e-15"],
        ),
        ("2.2250738585073e-308", &["2.2250738585073e-308"]),
    ] {
        for spelling in spellings {
            assert_eq!(form(spelling).as_deref(), Some(number), "{spelling}");
        }
    }
}

#[test]
fn numbers_that_a_double_may_merge_are_compared_by_bytes() {
    by_bytes(&[
        "9007199254740993",
        "-9007199254740993",
        "9007199254740993.0",
        "9.007199254740993e15",
        "900719925474099.3e1",
        "9007199254740994",
        "9007199254740992.5",
        "18446744073709551616",
        "1e16",
        "1e300",
        "0.10000000000000000001",
        "0.1234567890123456",
        "1234567890123456.7",
        "123456789012345.6",
        "900719925474099.2",
        "1e400",
        "-1e400",
        "1e99999999999999999999",
        "1e-400",
        "-1e-99999999999999999999",
        "5e-324",
        "4e-324",
        "2.22507385850720e-308",
    ]);
}

#[test]
#[cfg_attr(miri, ignore = "too much of it for Miri")]
fn numbers_of_a_megabyte_are_read_in_one_pass() {
    let digits = "1".repeat(1 << 20);
    let zeros = "0".repeat(1 << 20);

    by_bytes(&[
        &digits,
        &format!("-0.{digits}"),
        &format!("1{zeros}"),
        &format!("0.{zeros}1"),
        &format!("1e{digits}"),
    ]);
    assert_eq!(form(&format!("1.{zeros}")).as_deref(), Some("1"));
    assert_eq!(form(&format!("0.{zeros}e{digits}")).as_deref(), Some("0"));
    assert_eq!(form(&format!("1e-{zeros}7")).as_deref(), Some("1e-7"));
}

#[test]
#[cfg_attr(miri, ignore = "too much of it for Miri")]
fn an_exponent_may_undo_many_zeros() {
    let zeros = |count| "0".repeat(count);

    assert_eq!(
        form(&format!("1{}e-9000", zeros(9000))).as_deref(),
        Some("1")
    );
    assert_eq!(
        form(&format!("0.{}1e9000", zeros(8999))).as_deref(),
        Some("1")
    );
    // Not 1, as which an `f64` parses it.
    by_bytes(&[&format!("0.{}1e1048577", zeros(104_856))]);
}

#[test]
fn what_is_not_json_is_compared_by_bytes() {
    by_bytes(&[
        "",
        " ",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "[1 2]",
        "{\"a\" 1}",
        "01",
        "1.",
        ".5",
        "+1",
        "1e",
        "nul",
        "truefalse",
        "NaN",
        "'a'",
        "\"a",
        "\"\n\"",
        "\"\\x\"",
        "\"\\u12\"",
        "{}{}",
        "1 1",
        "a=b",
        "\u{feff}{}",
        "{}\0",
    ]);
    assert_eq!(canonical(b"\"\xff\"", &[], &[]), None);
    assert_eq!(canonical(b"\"\xed\xa0\xbd\"", &[], &[]), None);
}

#[test]
fn half_a_surrogate_pair_is_compared_by_bytes() {
    by_bytes(&[
        r#""\ud83d""#,
        r#""\ude00""#,
        r#""\ud83d\ud83d""#,
        r#"["\ud83d\u0041"]"#,
        r#"{"\ud83d":1}"#,
    ]);
}

#[test]
fn a_member_that_stands_twice_is_compared_by_bytes() {
    by_bytes(&[
        r#"{"a":1,"a":1}"#,
        r#"{"a":1,"b":2,"\u0061":3}"#,
        r#"[[{"b":{"":1,"":2}}]]"#,
        r#"{"a/":1,"a\/":1}"#,
    ]);
    assert_eq!(reduced(r#"{"a":{"b":1,"b":2}}"#, &[], &["/a"]), None);
    assert!(form(r#"{"a":{"a":1},"b":[{"a":1},{"a":1}],"A":1}"#).is_some());
}

#[test]
#[cfg_attr(miri, ignore = "too much of it for Miri")]
fn nesting_ends_where_that_of_serde_json_does() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let nested = |levels| format!("{}1{}", open.repeat(levels), close.repeat(levels));

        assert_eq!(form(&nested(127)), Some(nested(127)));
        for levels in [128, 10_000] {
            assert_eq!(form(&nested(levels)), None);
            assert!(serde_json::from_str::<serde_json::Value>(&nested(levels)).is_err());
        }
    }
    assert_eq!(form(&"[".repeat(1 << 20)), None);
}

#[test]
fn members_that_serde_json_has_for_itself_are_like_others() {
    for name in [
        "$serde_json::private::Number",
        "$serde_json::private::RawValue",
    ] {
        let body = format!("{{\"{name}\":\"1\"}}");

        assert_eq!(form(&body), Some(body.clone()));
    }
}

#[test]
fn excluded_values_do_not_count() {
    let exclude = &[
        "/metadata/sent_at",
        "/items/0/seen",
        "/a~1b~0c",
        "/nothing/there",
        "/items/9",
        "/items/-",
    ];
    let body = |sent_at, seen, odd| {
        let body = format!(
            r#"{{"metadata":{{"sent_at":{sent_at},"by":"x"}},"items":[{{"seen":{seen}}},1],"a/b~c":{odd}}}"#
        );
        reduced(&body, &[], exclude)
    };

    assert_eq!(
        body("1", "2", "3").as_deref(),
        Some(r#"{"items":[{},1],"metadata":{"by":"x"}}"#)
    );
    assert_eq!(body("1", "2", "3"), body("\"4\"", "null", "[5]"));
    // A time in nanoseconds: what does not count may be any number.
    assert_eq!(
        body("1", "2", "3"),
        body("1700000000123456789", "0.10000000000000000001", "1e999")
    );
}

#[test]
fn excluded_elements_leave_the_others_their_indices() {
    assert_eq!(
        reduced("[1,2,3]", &[], &["/0", "/1", "/01"]).as_deref(),
        Some("[null,null,3]")
    );
    assert_eq!(
        reduced("[[1,2]]", &["/0/1"], &["/0/0"]).as_deref(),
        Some(r#"{"/0/1":2}"#)
    );
    assert_eq!(
        reduced("[{\"a\":1}]", &[], &["/0", "/0/a"]),
        reduced("[5]", &[], &["/0/a", "/0"])
    );
}

#[test]
fn excluding_what_is_missing_is_harmless() {
    let body = r#"{"a":[1],"b":"text"}"#;

    for missing in [
        "/c",
        "/a/1",
        "/a/-",
        "/a/00",
        "/a/+0",
        "/a/b",
        "/a/0/c",
        "/b/0",
        "/b/c/d",
        "/",
        "/a/99999999999999999999",
    ] {
        assert_eq!(
            reduced(body, &[], &[missing]).as_deref(),
            Some(body),
            "{missing}"
        );
    }
    assert_eq!(reduced("1", &[], &["/a"]).as_deref(), Some("1"));
}

#[test]
fn only_included_values_count() {
    let include = &["/amount", "/to/iban", "/gone"];

    assert_eq!(
        reduced(
            r#"{"to":{"iban":"X","name":"n"},"id":9007199254740993,"amount":1.0}"#,
            include,
            &[]
        )
        .as_deref(),
        Some(r#"{"/amount":1,"/to/iban":"X"}"#)
    );
    assert_eq!(
        reduced(r#"{"amount":{"value":9007199254740993}}"#, include, &[]),
        None
    );
}

#[test]
fn an_included_null_is_not_an_absent_member() {
    let include = &["/a", "/b"];

    assert_ne!(
        reduced(r#"{"a":1,"b":null}"#, include, &[]),
        reduced(r#"{"a":1}"#, include, &[])
    );
    assert_ne!(
        reduced(r#"{"a":1}"#, include, &[]),
        reduced(r#"{"b":1}"#, include, &[])
    );
    assert!(reduced(r#"{"b":null}"#, include, &[]).is_some());
}

#[test]
fn where_nothing_included_is_there_the_bytes_are_compared() {
    for body in ["{}", r#"{"b":1}"#, "[1]", "1", "\"a\"", "not JSON"] {
        assert_eq!(reduced(body, &["/a", "/c/d"], &[]), None, "{body}");
    }
    assert_eq!(reduced(r#"{"a":1}"#, &["/a"], &["/a"]), None);
}

#[test]
fn what_is_excluded_from_an_included_value_does_not_count() {
    assert_eq!(
        reduced(r#"{"a":{"b":1,"c":2},"d":3}"#, &["/a", "/a/c"], &["/a/b"]).as_deref(),
        Some(r#"{"/a":{"c":2},"/a/c":2}"#)
    );
}

#[test]
#[cfg_attr(miri, ignore = "too much of it for Miri")]
fn large_bodies_and_many_pointers_take_no_more_than_their_share() {
    let members = (0..50_000)
        .map(|at| format!("\"{at}\":{at}"))
        .collect::<Vec<_>>();
    let object = format!("{{{}}}", members.join(","));
    let missing = (0..20_000).map(|at| Pointer::parse(&format!("/x{at}/y")).unwrap());
    let missing = missing.collect::<Vec<_>>();
    let long = format!("{{\"{0}a\":1,\"{0}b\":2}}", "x".repeat(1 << 20));

    assert!(canonical(object.as_bytes(), &[], &missing).is_some());
    assert!(canonical(object.as_bytes(), &missing, &[]).is_none());
    assert_eq!(form(&long), Some(long));
}
