//! HTTP beside the key: methods, conditions, preferences, encodings.

use std::convert::Infallible;

use http::header::HeaderName;
use http::{HeaderValue, Method, Request, Response};
use http_body_util::BodyExt;
use tower::{ServiceExt, service_fn};
use tower_idempotency::{FingerprintPolicy, IdempotencyLayer, Keep, Outcome};

use crate::support::{Body, Guarded, Handler, created, plain, read, send};

fn with(headers: &[(&'static str, &'static str)]) -> Request<Body> {
    let mut request = plain("k", "x");
    for (name, value) in headers {
        let value = HeaderValue::from_static(value);
        request.headers_mut().append(*name, value);
    }
    request
}

#[tokio::test(start_paused = true)]
async fn any_method_is_guarded_where_it_is_covered_and_none_but_post_by_default() {
    let methods = [
        "POST", "PUT", "PATCH", "DELETE", "QUERY", "PURGE", "M-SEARCH", "GET", "OPTIONS",
    ];
    let methods = methods.map(|method| method.parse::<Method>().unwrap());
    let layer = IdempotencyLayer::default();
    let covering = layer.clone().methods(methods.clone());
    let (handler, executed) = (Handler::default(), Outcome::Executed { recorded: true });
    let (by_default, covered) = (handler.at_once(&layer), handler.at_once(&covering));

    for (number, method) in (1..).zip(&methods) {
        let request = || {
            let mut request = plain("k", "x");
            *request.method_mut() = method.clone();
            request
        };
        let first = send(&covered, request()).await;
        let replay = send(&covered, request()).await;
        assert_eq!(
            (first.outcome, replay.outcome),
            (executed, Outcome::Replayed),
            "{method}"
        );
        assert_eq!(
            handler.executions(),
            number,
            "{method} has a record of its own"
        );
    }
    for method in methods.iter().filter(|method| **method != Method::POST) {
        let mut request = plain("k", "x");
        *request.method_mut() = method.clone();
        assert_eq!(
            send(&by_default, request).await.outcome,
            Outcome::Bypassed,
            "{method}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn methods_are_told_apart_by_their_case() {
    let handler = Handler::default();
    let layer = IdempotencyLayer::default().methods([Method::from_bytes(b"Purge").unwrap()]);
    let service = handler.at_once(&layer);

    for (method, covered) in [("Purge", true), ("PURGE", false), ("purge", false)] {
        let mut request = plain("k", "x");
        *request.method_mut() = method.parse().unwrap();
        let outcome = send(&service, request).await.outcome;
        assert_eq!(outcome != Outcome::Bypassed, covered, "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_that_a_retry_prefers_makes_the_handler_run_again() {
    let handler = Handler::default();
    let service = handler.at_once(&IdempotencyLayer::default());
    let first = send(&service, plain("k", "x")).await;

    for (name, value) in [
        ("range", "bytes=0-1"),
        ("if-range", "\"v1\""),
        ("prefer", "return=minimal"),
        ("prefer", "respond-async, wait=0"),
        ("cache-control", "no-cache"),
        ("cache-control", "no-store, max-age=0"),
        ("pragma", "no-cache"),
        ("if-none-match", "*"),
        ("if-match", "\"another\""),
        ("if-modified-since", "Mon, 01 Jan 2024 00:00:00 GMT"),
        ("if-unmodified-since", "Mon, 01 Jan 2024 00:00:00 GMT"),
        ("accept", "application/xml"),
        ("accept-language", "fr"),
        ("upgrade", "h2c"),
        ("connection", "close"),
        ("te", "trailers"),
        ("expect", "100-continue"),
        ("idempotent-replayed", "true"),
    ] {
        let retry = send(&service, with(&[(name, value)])).await;
        assert!(retry.is_replay(), "{name}: {value}");
        assert_eq!(
            (retry.status, &retry.body),
            (first.status, &first.body),
            "{name}: {value}"
        );
        assert_eq!(
            retry.header("location"),
            first.header("location"),
            "{name}: {value}"
        );
    }
    assert_eq!(handler.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn another_condition_is_a_replay_by_default_and_a_mismatch_where_it_counts() {
    let layer = IdempotencyLayer::default();
    let counting = FingerprintPolicy::default().header("if-match");
    let counting = IdempotencyLayer::default().fingerprint(counting);
    let (one, other) = (
        || with(&[("if-match", "\"1\"")]),
        || with(&[("if-match", "\"2\"")]),
    );

    for (layer, outcome) in [(layer, Outcome::Replayed), (counting, Outcome::Mismatch)] {
        let handler = Handler::default();
        let service = handler.at_once(&layer);
        send(&service, one()).await;
        let changed = send(&service, other()).await;
        assert_eq!(changed.outcome, outcome);
        assert_eq!(changed.status == 422, outcome == Outcome::Mismatch);
        assert!(send(&service, one()).await.is_replay());
        assert_eq!(handler.executions(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_condition_that_failed_is_asked_again_by_default_and_replayed_where_it_is_kept() {
    for (keep, replayed) in [
        (Keep::Success, false),
        (Keep::Final, true),
        (Keep::All, true),
    ] {
        let handler = Handler::default();
        let layer = IdempotencyLayer::default().keep(keep.clone());
        let service = handler.statuses(&layer, &[412, 201]);

        let first = send(&service, with(&[("if-match", "\"1\"")])).await;
        let second = send(&service, with(&[("if-match", "\"2\"")])).await;

        assert_eq!(first.status, 412);
        assert_eq!(second.is_replay(), replayed, "{keep:?}");
        assert_eq!(second.status, if replayed { 412 } else { 201 }, "{keep:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn expiry_is_replayed_as_it_was_told_and_age_is_not() {
    let handler = Handler::default();
    let service = handler.answering(&IdempotencyLayer::default(), |_| async {
        let mut response = created("made");
        let headers = response.headers_mut();
        for (name, value) in [
            ("expires", "Mon, 01 Jan 2024 00:00:00 GMT"),
            ("cache-control", "private, max-age=60"),
            ("age", "3"),
            ("date", "Mon, 01 Jan 2024 00:00:00 GMT"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    });
    send(&service, plain("k", "x")).await;
    tokio::time::advance(std::time::Duration::from_secs(100)).await;

    let replay = send(&service, plain("k", "x")).await;

    assert!(replay.is_replay());
    assert_eq!(
        replay.header("expires"),
        Some("Mon, 01 Jan 2024 00:00:00 GMT")
    );
    assert_eq!(replay.header("cache-control"), Some("private, max-age=60"));
    assert_eq!((replay.header("age"), replay.header("date")), (None, None));
}

/// Encodes an answer for a client that accepts it.
fn encoded(request: &Request<impl Sized>, mut response: Response<Vec<u8>>) -> Response<Vec<u8>> {
    if !request.headers().contains_key("accept-encoding") {
        return response;
    }
    response.body_mut().reverse();
    let headers = response.headers_mut();
    headers.remove("content-length");
    headers.insert("content-encoding", HeaderValue::from_static("x-reversed"));
    headers.append("vary", HeaderValue::from_static("accept-encoding"));
    response
}

#[tokio::test(start_paused = true)]
async fn behind_compression_each_client_gets_what_it_can_decode() {
    let handler = Handler::default();
    let guarded = handler.answering(&IdempotencyLayer::default(), |_| async {
        let mut response = created("abcdef");
        let length = HeaderValue::from_static("6");
        response.headers_mut().insert("content-length", length);
        response
    });
    let service = service_fn(move |request: Request<Body>| {
        let guarded: Guarded = guarded.clone();
        async move {
            let head = request.headers().clone();
            let (parts, body) = guarded.oneshot(request).await?.into_parts();
            let body = body.collect().await?.to_bytes().to_vec();
            let mut asked = Request::new(());
            *asked.headers_mut() = head;
            let response = encoded(&asked, Response::from_parts(parts, body));
            Ok::<_, Infallible>(response.map(Body::from))
        }
    });
    let ask = async |headers| read(service.clone().oneshot(with(headers)).await.unwrap()).await;

    let first = ask(&[("accept-encoding", "x-reversed")]).await;
    let plain = ask(&[]).await;
    let again = ask(&[("accept-encoding", "x-reversed")]).await;

    assert_eq!(
        (first.text(), first.header("content-encoding")),
        ("fedcba", Some("x-reversed"))
    );
    assert!(plain.is_replay() && again.is_replay());
    assert_eq!(
        (plain.text(), plain.header("content-encoding")),
        ("abcdef", None)
    );
    assert_eq!(
        (plain.header("content-length"), plain.header("vary")),
        (Some("6"), None)
    );
    assert_eq!(
        (again.text(), again.header("content-encoding")),
        ("fedcba", Some("x-reversed"))
    );
    assert_eq!(again.header("content-length"), None);
    assert_eq!(handler.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn compression_inside_is_replayed_with_its_encoding_and_what_it_varies_on() {
    let handler = Handler::default();
    let service = handler.answering(&IdempotencyLayer::default(), |request| {
        let response = created("").map(|_| b"abcdef".to_vec());
        std::future::ready(encoded(&request, response).map(Body::from))
    });

    let first = send(&service, with(&[("accept-encoding", "x-reversed")])).await;
    let replay = send(&service, plain("k", "x")).await;

    assert_eq!(first.text(), "fedcba");
    assert!(replay.is_replay());
    assert_eq!(replay.body, first.body);
    assert_eq!(replay.header("content-encoding"), Some("x-reversed"));
    assert_eq!(replay.header("vary"), Some("accept-encoding"));
    // Who wants another answer for another encoding says so.
    let name = HeaderName::from_static("accept-encoding");
    let counting = FingerprintPolicy::default().header(name);
    let counting = IdempotencyLayer::default().fingerprint(counting);
    let service = Handler::default().at_once(&counting);
    send(&service, with(&[("accept-encoding", "x-reversed")])).await;
    assert_eq!(
        send(&service, plain("k", "x")).await.outcome,
        Outcome::Mismatch
    );
}
