//! Keys as clients send them.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_quoted_key_and_a_bare_one_are_the_same() {
    let (_, handler, service) = spied();
    send(&service, keyed("abc", "x")).await;

    for same in [
        "\"abc\"",
        " \t\"abc\" ",
        "\"abc\";a",
        "\"abc\"; a=1;b=?0;c=\"d,e\";f=:aGk=:",
    ] {
        assert!(send(&service, keyed(same, "x")).await.is_replay(), "{same}");
    }
    for other in ["ABC", "\"aBc\"", "abc;a"] {
        assert!(
            !send(&service, keyed(other, "x")).await.is_replay(),
            "{other}"
        );
    }
    assert_eq!(handler.executions(), 4);
}

#[tokio::test(start_paused = true)]
async fn parameters_of_every_type_are_ignored_where_they_are_well_formed() {
    let (_, handler, service) = spied();
    send(&service, keyed("k", "x")).await;

    for parameters in [
        ";d=%\"f%c3%bc\"",
        ";d=%\"\"",
        ";d=%\"a;b=\\\";e",
        ";t=@1659578233",
        ";t=@-1;u=@0",
        ";b=:YT09Yg==:",
        ";b=::",
        ";n=-1.5;m=123456789012.123",
    ] {
        let answer = send(&service, keyed(&format!("\"k\"{parameters}"), "x")).await;
        assert!(answer.is_replay(), "{parameters}");
    }
    for parameters in [
        ";t=@1.5",
        ";t=@",
        ";t=@a",
        ";b=:a===b:",
        ";b=:=:a",
        ";b=:a=b:",
        ";d=%\"%C3\"",
        ";d=%\"%c\"",
        ";d=%\"a",
        ";d=%a",
        ";d=%\"a\"b",
    ] {
        let answer = send(&service, keyed(&format!("\"k\"{parameters}"), "x")).await;
        refuses(&answer, KEY_INVALID);
    }
    assert_eq!(handler.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_escaped_key_is_unescaped() {
    let handler = Handler::default();
    let layer = IdempotencyLayer::default();
    let service = handler.answering(&layer, |request| {
        let key = request
            .extensions()
            .get::<Idempotency>()
            .unwrap()
            .key()
            .clone();
        std::future::ready(created(key.as_str()))
    });

    let first = send(&service, keyed(r#""a\"b\\c""#, "x")).await;
    let second = send(&service, keyed(r#""a\"b\\c";v=2"#, "x")).await;

    assert_eq!(first.text(), r#"a"b\c"#);
    assert!(second.is_replay());
    let record = layer.record_key(b"", &Method::POST, PATH, r#"a"b\c"#);
    assert!(layer.store().inspect(&record).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_none_is_refused_and_nothing_is_claimed() {
    let (spy, handler, service) = spied();
    let long = "a".repeat(256);
    let escaped = format!("\"{}\"", "\\\"".repeat(256));
    let header = "a".repeat(60 << 10);

    for wrong in [
        "",
        " ",
        "\t",
        "\"",
        "\"\"",
        "\"abc",
        "abc\"",
        "\"a\"b\"",
        "a,b",
        "a, b",
        "a b",
        "\"a b\"",
        "\"a\", \"b\"",
        "\"a\",",
        "\"a\" \"b\"",
        r#""a\b""#,
        r#""a\""#,
        "\"abc\";",
        "\"abc\";V=1",
        "\"abc\";v=",
        "\"abc\"x",
        "\"abc\" ;v=1",
        &long,
        &escaped,
        &header,
    ] {
        let answer = send(&service, keyed(wrong, "x")).await;
        refuses(&answer, KEY_INVALID);
        assert_eq!(answer.outcome, Outcome::Refused);
    }
    for wrong in [&b"caf\xc3\xa9"[..], b"\xff", b"\"\xe9\""] {
        let mut request = keyed("k", "x");
        request
            .headers_mut()
            .insert("idempotency-key", HeaderValue::from_bytes(wrong).unwrap());
        refuses(&send(&service, request).await, KEY_INVALID);
    }
    assert_eq!(handler.executions(), 0);
    assert!(spy.verbs().is_empty());
}

#[tokio::test(start_paused = true)]
async fn two_key_lines_are_refused_whether_they_agree_or_not() {
    let (spy, handler, service) = spied();

    for second in ["k", "other", "", "\"k\""] {
        let mut request = keyed("k", "x");
        request
            .headers_mut()
            .append("idempotency-key", second.parse().unwrap());
        refuses(&send(&service, request).await, KEY_INVALID);
    }
    assert_eq!(handler.executions(), 0);
    assert!(spy.verbs().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_longest_key_fits_however_it_is_sent() {
    let (_, handler, service) = spied();
    let quotes = "\"".repeat(255);

    let bare = send(&service, keyed(&"a".repeat(255), "x")).await;
    let quoted = send(&service, keyed(&format!("\"{}\"", "a".repeat(255)), "x")).await;
    let escaped = send(
        &service,
        keyed(&format!("\"{}\"", quotes.replace('"', "\\\"")), "x"),
    )
    .await;

    assert_eq!(bare.status, 201);
    assert!(quoted.is_replay());
    assert_eq!(escaped.text(), "execution 2");
    assert_eq!(handler.executions(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_policy_says_how_long_a_key_is() {
    let (spy, handler) = (Spy::new(), Handler::default());
    let layer = IdempotencyLayer::new(spy.clone()).key(KeyPolicy::ascii(3..=5));
    let service = handler.at_once(&layer);

    for wrong in ["1", "12", "123456", "\"12\"", "\"123456\""] {
        refuses(&send(&service, keyed(wrong, "x")).await, KEY_INVALID);
    }
    assert!(spy.verbs().is_empty());
    for right in ["123", "\"12345\""] {
        assert_eq!(send(&service, keyed(right, "x")).await.status, 201);
    }
    assert_eq!(handler.executions(), 2);
}

#[tokio::test(start_paused = true)]
async fn without_a_key_the_handler_runs_and_the_store_is_not_asked() {
    let (spy, handler, service) = spied();

    for _ in 0..2 {
        let answer = send(&service, post(PATH, &[], "x")).await;
        assert_eq!(answer.outcome, Outcome::Bypassed);
        assert_eq!(answer.header("idempotent-replayed"), None);
        assert_eq!(answer.header("idempotency-key"), None);
    }
    assert_eq!(handler.executions(), 2);
    assert_eq!(handler.last_attempt(), 0);
    assert!(spy.verbs().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_required_and_missing_is_refused() {
    let (spy, handler) = (Spy::new(), Handler::default());
    let layer = IdempotencyLayer::new(spy.clone()).require_key(true);
    let service = handler.at_once(&layer);

    let answer = send(&service, post(PATH, &[], "x")).await;

    refuses(&answer, KEY_MISSING);
    assert_eq!(handler.executions(), 0);
    assert!(spy.verbs().is_empty());
    let mut get = post(PATH, &[], "");
    *get.method_mut() = Method::GET;
    assert_eq!(send(&service, get).await.status, 201);
    assert_eq!(send(&service, keyed("k", "x")).await.status, 201);
}
