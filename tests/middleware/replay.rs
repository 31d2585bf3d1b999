//! What a retry gets: the first response, byte for byte, and what tells that it is one.

mod cached;
mod kept_headers;

use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;
use tower::{Service, ServiceExt};
use tower_idempotency::{IdempotencyLayer, InFlight, Keep, Outcome, Retention};

use crate::frames::{Frames, Step, responding, upload};
use crate::support::{
    Answer, Body, Guarded, Handler, created, keyed, plain, post, read, send, settle,
};

const MINUTE: Duration = Duration::from_secs(60);

/// A response with these header lines, in this order.
fn response(status: u16, lines: &[(&'static str, &[u8])], body: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in lines {
        response.headers_mut().append(
            HeaderName::from_static(name),
            HeaderValue::from_bytes(value).unwrap(),
        );
    }
    response
}

/// The first answer and the replay of a handler that gives this response.
async fn twice(answer: impl Fn() -> Response<Body> + Clone + Send + 'static) -> (Answer, Answer) {
    let handler = Handler::default();
    let layer = IdempotencyLayer::default();
    let service = handler.answering(&layer, move |_| std::future::ready(answer()));

    let first = send(&service, plain("k", "x")).await;
    let second = send(&service, plain("k", "x")).await;

    assert_eq!(handler.executions(), 1, "{first:?}");
    assert_eq!(first.outcome, Outcome::Executed { recorded: true });
    assert_eq!(second.outcome, Outcome::Replayed);
    (first, second)
}

/// The headers of a replay without the two that the layer adds.
fn without_marks(mut headers: HeaderMap) -> HeaderMap {
    headers.remove("idempotent-replayed").unwrap();
    headers.remove("idempotency-key").unwrap();
    headers
}

#[tokio::test(start_paused = true)]
async fn a_retry_gets_the_first_response_byte_for_byte() {
    let kept: &[(&str, &[u8])] = &[
        ("content-type", b"application/json; charset=utf-8"),
        ("location", b"/charges/7"),
        ("link", b"</a>; rel=next"),
        ("etag", b"\"v1\""),
        ("link", b"</b>; rel=prev"),
        ("vary", b"accept"),
        ("www-authenticate", b"Basic"),
        ("vary", b"origin"),
        ("www-authenticate", b"Bearer"),
        ("content-language", b"fr"),
        ("content-disposition", b"attachment"),
        ("last-modified", b"Mon, 01 Jan 2024 00:00:00 GMT"),
        ("cache-control", b"no-store"),
        ("x-request-id", b"req_original"),
        ("x-latin-1", b"caf\xe9"),
        ("x-empty", b""),
        ("trailer", b"x-checksum"),
    ];

    let (first, second) = twice(move || response(201, kept, "{\"id\":7}")).await;

    assert_eq!(second.status, 201);
    assert_eq!(second.body, first.body);
    assert_eq!(first.headers, response(201, kept, "").headers().clone());
    let replayed = without_marks(second.headers);
    assert_eq!(replayed, first.headers);
    let lines = |name: &str| replayed.get_all(name).iter().collect::<Vec<_>>();
    assert_eq!(lines("link"), ["</a>; rel=next", "</b>; rel=prev"]);
    assert_eq!(lines("vary"), ["accept", "origin"]);
    assert_eq!(lines("www-authenticate"), ["Basic", "Bearer"]);
    assert_eq!(replayed["x-latin-1"].as_bytes(), b"caf\xe9");
}

#[tokio::test(start_paused = true)]
async fn what_belongs_to_one_exchange_or_client_is_given_once_and_not_replayed() {
    let lines: &[(&str, &[u8])] = &[
        ("access-control-allow-origin", b"https://a.example"),
        ("access-control-expose-headers", b"etag"),
        ("age", b"3"),
        ("alt-svc", b"h3=\":443\""),
        ("authentication-info", b"nextnonce=\"1\""),
        ("clear-site-data", b"\"cache\""),
        ("connection", b"close, X-Hop"),
        ("connection", b"x-other-hop"),
        ("date", b"Mon, 01 Jan 2024 00:00:00 GMT"),
        ("keep-alive", b"timeout=5"),
        ("proxy-connection", b"close"),
        ("ratelimit", b"\"a\";r=1"),
        ("ratelimit-policy", b"\"a\";q=1"),
        ("retry-after", b"7"),
        ("server", b"origin"),
        ("server-timing", b"db;dur=3"),
        ("set-cookie", b"a=1"),
        ("set-cookie", b"b=2"),
        ("te", b"trailers"),
        ("transfer-encoding", b"chunked"),
        ("upgrade", b"h2c"),
        ("x-hop", b"1"),
        ("x-other-hop", b"1"),
        ("x-ratelimit-remaining", b"4"),
    ];

    let (first, second) = twice(move || response(200, lines, "")).await;

    assert_eq!(first.headers, response(200, lines, "").headers().clone());
    assert_eq!(without_marks(second.headers), HeaderMap::new());
}

#[tokio::test(start_paused = true)]
async fn the_marker_stands_once_on_every_replay_and_on_nothing_else() {
    let spoofed: &[(&str, &[u8])] = &[
        ("idempotent-replayed", b"true"),
        ("idempotent-replayed", b"maybe"),
    ];

    let (first, second) = twice(move || response(200, spoofed, "")).await;

    assert_eq!(first.header("idempotent-replayed"), None);
    let marks = second.headers.get_all("idempotent-replayed");
    assert_eq!(marks.iter().collect::<Vec<_>>(), ["true"]);
}

#[tokio::test(start_paused = true)]
async fn a_spoofed_marker_is_stripped_where_nothing_is_recorded_too() {
    let layer = IdempotencyLayer::default();
    let (service, _) = responding(&layer, |number| {
        let (status, steps) = match number {
            1 => (500, vec![Step::Data("failed")]),
            _ => (200, vec![Step::Data("event")]),
        };
        Response::builder()
            .status(status)
            .header("idempotent-replayed", "true")
            .header("content-type", "text/event-stream")
            .body(Frames::new(steps))
            .unwrap()
    });

    for status in [500, 200] {
        let request = upload("k", Frames::empty());
        let answer = read(service.clone().oneshot(request).await.unwrap()).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("idempotent-replayed"), None);
    }
}

#[tokio::test(start_paused = true)]
async fn the_layers_own_answers_carry_no_marker_and_no_key() {
    let handler = Handler::default();
    let layer = IdempotencyLayer::default();
    let (quick, held) = (handler.at_once(&layer), handler.held(&layer));
    send(&quick, keyed("used", "x")).await;
    let running = tokio::spawn(held.clone().oneshot(keyed("running", "x")));
    settle().await;

    for refused in [
        keyed("used", "y"),
        keyed("running", "x"),
        keyed("not valid", "x"),
    ] {
        let answer = send(&quick, refused).await;
        assert!(answer.status.is_client_error());
        assert_eq!(answer.header("idempotent-replayed"), None);
        assert_eq!(answer.header("idempotency-key"), None);
    }
    handler.open();
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_key_is_echoed_as_this_retry_sent_it() {
    let handler = Handler::default();
    let service = handler.at_once(&IdempotencyLayer::default());
    let first = send(&service, plain("abc", "x")).await;

    for sent in ["abc", "\"abc\"", "\"abc\";v=1"] {
        let again = send(&service, plain(sent, "x")).await;
        assert_eq!(again.header("idempotency-key"), Some(sent));
    }
    assert_eq!(first.header("idempotency-key"), None);
    assert_eq!(handler.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_key_header_of_the_handlers_own_is_replaced_on_replays() {
    let own: &[(&str, &[u8])] = &[("idempotency-key", b"other"), ("idempotency-key", b"more")];

    let (first, second) = twice(move || response(200, own, "")).await;

    assert_eq!(first.headers.get_all("idempotency-key").iter().count(), 2);
    let keys = second.headers.get_all("idempotency-key");
    assert_eq!(keys.iter().collect::<Vec<_>>(), ["k"]);
}

#[tokio::test(start_paused = true)]
async fn empty_responses_stay_empty() {
    for status in [200, 201, 202, 204, 205, 302, 304] {
        let (first, second) = twice(move || response(status, &[("etag", b"\"v\"")], "")).await;

        assert_eq!(second.status, status);
        assert!(second.body.is_empty() && second.trailers.is_none());
        assert_eq!(without_marks(second.headers), first.headers);
    }
}

#[tokio::test(start_paused = true)]
async fn a_304_keeps_the_length_that_it_tells_of_a_body_it_does_not_have() {
    let lines: &[(&str, &[u8])] = &[("etag", b"\"v\""), ("content-length", b"1234")];

    let (_, second) = twice(move || response(304, lines, "")).await;

    assert_eq!(second.status, 304);
    assert_eq!(second.header("content-length"), Some("1234"));
}

/// RFC 9110, section 9.3.2: the answer to HEAD tells the length of the body that GET would get.
#[tokio::test(start_paused = true)]
async fn the_answer_to_head_is_replayed_with_the_length_it_tells() {
    let handler = Handler::default();
    let layer = IdempotencyLayer::default().methods([Method::HEAD]);
    let service = handler.answering(&layer, |_| {
        std::future::ready(response(200, &[("content-length", b"1234")], ""))
    });
    let head = || {
        let mut request = keyed("k", "");
        *request.method_mut() = Method::HEAD;
        request
    };

    send(&service, head()).await;
    let second = send(&service, head()).await;

    assert!(second.is_replay(), "{second:?}");
    assert_eq!(second.header("content-length"), Some("1234"));
    assert_eq!(handler.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_redirect_leads_to_the_same_place() {
    for status in [301, 302, 303, 307, 308] {
        let (_, second) = twice(move || response(status, &[("location", b"/made/7")], "")).await;

        assert_eq!(second.status, status);
        assert_eq!(second.header("location"), Some("/made/7"));
    }
}

#[tokio::test(start_paused = true)]
async fn the_content_length_of_the_handler_is_replayed_once() {
    let (first, second) = twice(|| response(200, &[("content-length", b"5")], "12345")).await;

    assert_eq!(first.header("content-length"), Some("5"));
    let lengths = second.headers.get_all("content-length");
    assert_eq!(lengths.iter().collect::<Vec<_>>(), ["5"]);
    assert_eq!(second.body, "12345");
}

#[tokio::test(start_paused = true)]
async fn trailers_are_replayed_behind_the_body() {
    for data in [vec![Step::Data("abc"), Step::Data("def")], vec![]] {
        let mut trailers = HeaderMap::new();
        trailers.append("grpc-status", HeaderValue::from_static("0"));
        trailers.append("x-sum", HeaderValue::from_static("1"));
        trailers.append("x-sum", HeaderValue::from_bytes(b"\xe9").unwrap());
        let (layer, sent) = (IdempotencyLayer::default(), trailers.clone());
        let (service, executions) = responding(&layer, move |_| {
            let mut steps = data.clone();
            steps.push(Step::Trailers(sent.clone()));
            Response::new(Frames::new(steps))
        });

        let ask = || service.clone().oneshot(upload("k", Frames::empty()));
        let first = read(ask().await.unwrap()).await;
        let second = read(ask().await.unwrap()).await;

        assert!(second.is_replay());
        assert_eq!(first.trailers, Some(trailers.clone()));
        assert_eq!(second.trailers, Some(trailers));
        assert_eq!(second.body, first.body);
        assert_eq!(executions.count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_size_of_a_held_or_replayed_body_is_exact() {
    for (body, length) in [("", 0), ("12345", 5)] {
        let layer = IdempotencyLayer::default();
        let (service, _) = responding(&layer, move |_| Response::new(Frames::data([body])));

        for _ in 0..2 {
            let request = upload("k", Frames::empty());
            let response = service.clone().oneshot(request).await.unwrap();
            assert_eq!(response.body().size_hint().exact(), Some(length));
            assert_eq!(response.body().is_end_stream(), length == 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_recorded_error_is_a_replay_like_any_other() {
    let handler = Handler::default();
    let layer = IdempotencyLayer::default().keep(Keep::All);
    let service = handler.statuses(&layer, &[402]);

    let first = send(&service, keyed("k", "x")).await;
    let second = send(&service, keyed("k", "x")).await;

    assert!(!first.is_replay() && second.is_replay());
    assert_eq!(second.status, 402);
    assert_eq!(second.body, first.body);
    assert_eq!(handler.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn retention_counts_from_the_first_request_and_not_from_its_answer() {
    let handler = Handler::default();
    let layer = IdempotencyLayer::default().retention(MINUTE);
    let service = handler.held(&layer);
    let first = tokio::spawn(service.clone().oneshot(keyed("k", "x")));
    settle().await;
    tokio::time::advance(MINUTE / 2).await;
    handler.open();
    first.await.unwrap().unwrap();

    tokio::time::advance(MINUTE / 2 - Duration::from_millis(1)).await;
    assert!(send(&service, keyed("k", "x")).await.is_replay());
    tokio::time::advance(Duration::from_secs(1)).await;
    handler.open();
    let late = send(&service, keyed("k", "x")).await;

    assert_eq!(late.text(), "execution 2");
    assert_eq!(handler.last_attempt(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_expired_key_is_a_new_key_also_for_another_body() {
    let handler = Handler::default();
    let service = handler.at_once(&IdempotencyLayer::default().retention(MINUTE));
    send(&service, keyed("k", "x")).await;

    tokio::time::advance(MINUTE + Duration::from_secs(1)).await;
    let late = send(&service, keyed("k", "y")).await;

    assert_eq!(late.outcome, Outcome::Executed { recorded: true });
    assert_eq!(handler.executions(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_default_retention_is_a_day() {
    let handler = Handler::default();
    let service = handler.at_once(&IdempotencyLayer::default());
    send(&service, keyed("k", "x")).await;

    tokio::time::advance(24 * 60 * MINUTE - Duration::from_millis(1)).await;
    assert!(send(&service, keyed("k", "x")).await.is_replay());
    tokio::time::advance(Duration::from_secs(1)).await;

    assert!(!send(&service, keyed("k", "x")).await.is_replay());
}

#[tokio::test(start_paused = true)]
async fn a_response_shortens_its_retention_and_never_lengthens_it() {
    for (asked_for, lives) in [(MINUTE, MINUTE), (100 * MINUTE, 10 * MINUTE)] {
        let handler = Handler::default();
        let layer = IdempotencyLayer::default().retention(10 * MINUTE);
        let service = handler.answering(&layer, move |_| {
            let mut response = created("made");
            response.extensions_mut().insert(Retention(asked_for));
            std::future::ready(response)
        });
        send(&service, keyed("k", "x")).await;

        tokio::time::advance(lives - Duration::from_millis(1)).await;
        assert!(send(&service, keyed("k", "x")).await.is_replay());
        tokio::time::advance(Duration::from_secs(1)).await;

        assert!(!send(&service, keyed("k", "x")).await.is_replay());
        assert_eq!(handler.executions(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_retention_that_is_over_before_the_answer_lasts_for_the_lease() {
    let handler = Handler::default();
    let service = handler.answering(&IdempotencyLayer::default(), |_| async {
        tokio::time::sleep(MINUTE).await;
        let mut response = created("made");
        response.extensions_mut().insert(Retention(MINUTE / 2));
        response
    });
    send(&service, keyed("k", "x")).await;

    assert!(send(&service, keyed("k", "x")).await.is_replay());
    tokio::time::advance(MINUTE).await;

    assert!(!send(&service, keyed("k", "x")).await.is_replay());
}

#[tokio::test(start_paused = true)]
async fn a_handler_slower_than_the_retention_keeps_its_key_until_it_ends() {
    let handler = Handler::default();
    let layer = IdempotencyLayer::default().retention(MINUTE);
    let service = handler.held(&layer);
    let first = tokio::spawn(service.clone().oneshot(keyed("k", "x")));
    settle().await;
    for _ in 0..120 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    let meanwhile = send(&service, keyed("k", "x")).await;
    handler.open();
    let first = read(first.await.unwrap().unwrap()).await;

    assert_eq!(meanwhile.outcome, Outcome::InProgress);
    assert_eq!(first.outcome, Outcome::Executed { recorded: true });
    assert_eq!(handler.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn every_response_says_what_the_layer_did() {
    let handler = Handler::default();
    let layer = IdempotencyLayer::default();
    let service = handler.at_once(&layer);
    let held = handler.held(&layer);
    let running = tokio::spawn(held.oneshot(keyed("running", "x")));
    settle().await;
    let outcome = async |request: Request<Body>| send(&service, request).await.outcome;
    let mut get = keyed("k", "");
    *get.method_mut() = Method::GET;

    assert_eq!(outcome(get).await, Outcome::Bypassed);
    assert_eq!(outcome(post("/charges", &[], "x")).await, Outcome::Bypassed);
    assert_eq!(outcome(keyed("running", "x")).await, Outcome::InProgress);
    assert_eq!(outcome(keyed("running", "y")).await, Outcome::Mismatch);
    assert_eq!(outcome(keyed("not valid", "x")).await, Outcome::Refused);
    assert_eq!(
        outcome(keyed("k", "x")).await,
        Outcome::Executed { recorded: true }
    );
    assert_eq!(outcome(keyed("k", "x")).await, Outcome::Replayed);
    assert_eq!(outcome(keyed("k", "y")).await, Outcome::Mismatch);
    handler.open();
    running.await.unwrap().unwrap();

    let failing = handler.statuses(&layer, &[500]);
    assert_eq!(
        send(&failing, keyed("freed", "x")).await.outcome,
        Outcome::Executed { recorded: false }
    );
}

#[tokio::test(start_paused = true)]
async fn replays_do_not_depend_on_how_a_retry_would_wait() {
    let handler = Handler::default();
    let layer = IdempotencyLayer::default().in_flight(InFlight::wait(MINUTE));
    let service = handler.at_once(&layer);
    let first = send(&service, keyed("k", "x")).await;

    for prefer in ["wait=0", "respond-async", "return=minimal"] {
        let mut retry = keyed("k", "x");
        let headers = retry.headers_mut();
        headers.insert("prefer", HeaderValue::from_static(prefer));
        headers.insert("cache-control", HeaderValue::from_static("no-cache"));
        headers.insert("range", HeaderValue::from_static("bytes=0-1"));
        let again = send(&service, retry).await;

        assert!(again.is_replay());
        assert_eq!(
            (again.status, again.body),
            (first.status, first.body.clone())
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_layered_service_can_be_called_again_and_again() {
    let handler = Handler::default();
    let mut service: Guarded = handler.at_once(&IdempotencyLayer::default());

    for attempt in 0..3 {
        let ready = ServiceExt::<Request<Body>>::ready(&mut service)
            .await
            .unwrap();
        let answer = read(ready.call(keyed("k", "x")).await.unwrap()).await;
        assert_eq!(answer.is_replay(), attempt > 0);
    }
    assert_eq!(handler.executions(), 1);
}
