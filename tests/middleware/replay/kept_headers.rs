//! Headers that are kept, or not kept, because the layer is told so.

use tower_idempotency::Store;

use super::*;

fn names<const N: usize>(names: [&'static str; N]) -> [HeaderName; N] {
    names.map(HeaderName::from_static)
}

/// The first answer and the replay of a handler that gives these header lines behind this layer.
async fn through<St: Store>(
    layer: &IdempotencyLayer<St>,
    lines: &'static [(&'static str, &'static [u8])],
) -> (Answer, Answer) {
    let handler = Handler::default();
    let service = handler.answering(layer, move |_| {
        std::future::ready(response(200, lines, "made"))
    });

    let first = send(&service, plain("k", "x")).await;
    let second = send(&service, plain("k", "x")).await;

    assert_eq!(handler.executions(), 1);
    assert_eq!(first.headers, *response(200, lines, "").headers());
    assert!(second.is_replay());
    (first, second)
}

fn lines<'a>(answer: &'a Answer, name: &str) -> Vec<&'a [u8]> {
    let lines = answer.headers.get_all(name).iter();
    lines.map(HeaderValue::as_bytes).collect()
}

#[tokio::test(start_paused = true)]
async fn cookies_are_replayed_where_the_layer_is_told_so_one_or_two_in_order() {
    let keeping = IdempotencyLayer::default().keep_headers([http::header::SET_COOKIE]);

    let (_, one) = through(&keeping, &[("set-cookie", b"b=2; Secure")]).await;
    let keeping = IdempotencyLayer::default().keep_headers(names(["set-cookie"]));
    let (_, two) = through(
        &keeping,
        &[
            ("set-cookie", b"b=2"),
            ("x-other", b"1"),
            ("set-cookie", b"a=\xe9"),
        ],
    )
    .await;
    let plain = IdempotencyLayer::default();
    let (first, none) = through(&plain, &[("set-cookie", b"b=2"), ("set-cookie", b"a=1")]).await;

    assert_eq!(lines(&one, "set-cookie"), [b"b=2; Secure"]);
    assert_eq!(lines(&two, "set-cookie"), [&b"b=2"[..], b"a=\xe9"]);
    assert_eq!(lines(&first, "set-cookie").len(), 2);
    assert_eq!(without_marks(none.headers), HeaderMap::new());
}

/// All that the layer does not keep by itself, and may.
const OF_ONE_EXCHANGE: &[(&str, &[u8])] = &[
    ("access-control-allow-origin", b"https://a.example"),
    ("age", b"3"),
    ("alt-svc", b"h3=\":443\""),
    ("authentication-info", b"nextnonce=\"1\""),
    ("clear-site-data", b"\"cache\""),
    ("date", b"Mon, 01 Jan 2024 00:00:00 GMT"),
    ("ratelimit", b"\"a\";r=1"),
    ("ratelimit-policy", b"\"a\";q=1"),
    ("retry-after", b"7"),
    ("server", b"origin"),
    ("server-timing", b"db;dur=3"),
    ("set-cookie", b"a=1"),
    ("x-ratelimit-remaining", b"4"),
];

#[tokio::test(start_paused = true)]
async fn any_end_to_end_header_is_kept_where_the_layer_is_told_so_and_no_other() {
    for (name, value) in OF_ONE_EXCHANGE {
        let layer = IdempotencyLayer::default().keep_headers(names([name]));

        let (_, second) = through(&layer, OF_ONE_EXCHANGE).await;

        assert_eq!(lines(&second, name), [*value]);
        assert_eq!(without_marks(second.headers).len(), 1, "{name}");
    }
    let all = OF_ONE_EXCHANGE.iter();
    let all = all.map(|(name, _)| HeaderName::from_static(name));
    let layer = IdempotencyLayer::default().keep_headers(all);
    let (first, second) = through(&layer, OF_ONE_EXCHANGE).await;
    assert_eq!(without_marks(second.headers), first.headers);
}

#[tokio::test(start_paused = true)]
async fn what_connection_names_is_dropped_although_the_layer_is_told_to_keep_it() {
    let layer = IdempotencyLayer::default().keep_headers(names(["set-cookie", "x-hop", "server"]));

    let (_, second) = through(
        &layer,
        &[
            ("connection", b"close, Set-Cookie"),
            ("connection", b"X-HOP ,x-other-hop"),
            ("set-cookie", b"a=1"),
            ("x-hop", b"1"),
            ("x-other-hop", b"1"),
            ("server", b"origin"),
        ],
    )
    .await;

    assert_eq!(lines(&second, "server"), [b"origin"]);
    assert_eq!(without_marks(second.headers).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_header_is_not_kept_where_the_layer_is_told_so() {
    let layer = IdempotencyLayer::default().drop_headers(names([
        "x-request-id",
        "etag",
        "x-missing",
        "location",
    ]));

    let (_, second) = through(
        &layer,
        &[
            ("x-request-id", b"req_1"),
            ("etag", b"\"v1\""),
            ("location", b"/made/7"),
            ("link", b"</a>; rel=next"),
            ("link", b"</b>; rel=prev"),
        ],
    )
    .await;

    assert_eq!(lines(&second, "link").len(), 2);
    assert_eq!(without_marks(second.headers).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_is_so_although_it_is_kept_as_well_whatever_the_order() {
    let cookie = || [http::header::SET_COOKIE];
    let layer = IdempotencyLayer::default;

    for layer in [
        layer().keep_headers(cookie()).drop_headers(cookie()),
        layer().drop_headers(cookie()).keep_headers(cookie()),
    ] {
        let (_, second) = through(&layer, &[("set-cookie", b"a=1"), ("etag", b"\"v\"")]).await;
        assert_eq!(lines(&second, "etag"), [b"\"v\""]);
        assert_eq!(without_marks(second.headers).len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn lists_add_up_and_clones_are_apart() {
    let first = IdempotencyLayer::default().keep_headers(names(["server"]));
    let second = first.clone().keep_headers(names(["date"]));
    let sent: &[(&str, &[u8])] = &[("server", b"origin"), ("date", b"today")];

    let (_, of_the_first) = through(&first.namespace("a"), sent).await;
    let (_, of_the_second) = through(&second.namespace("b"), sent).await;

    assert_eq!(lines(&of_the_first, "server"), [b"origin"]);
    assert_eq!(lines(&of_the_first, "date").len(), 0);
    assert_eq!(lines(&of_the_second, "date"), [b"today"]);
    assert_eq!(lines(&of_the_second, "server"), [b"origin"]);
}

#[tokio::test(start_paused = true)]
async fn a_location_that_is_not_kept_is_not_told_without_its_response_either() {
    let layer = IdempotencyLayer::default()
        .drop_headers([http::header::LOCATION])
        .max_kept_response(1);
    let service = Handler::default().answering(&layer, |_| {
        std::future::ready(response(201, &[("location", b"/made/7")], "large"))
    });
    send(&service, plain("k", "x")).await;

    let second = send(&service, plain("k", "x")).await;

    assert_eq!(second.code(), "idempotency_response_unavailable");
    assert_eq!(second.header("location"), None);
}
