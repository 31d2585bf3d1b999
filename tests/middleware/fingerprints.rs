//! Which parameters make two requests one, by every policy.

mod json;

use http::{HeaderValue, Method, Request};
use http_body_util::BodyExt;
use tower::{ServiceBuilder, ServiceExt};
use tower_idempotency::{BoxError, FingerprintPolicy, IdempotencyLayer, Outcome, Scope, Store};

use crate::frames::{Frames, Step, streaming, upload};
use crate::spy::Spy;
use crate::support::{Body, Handler, created, post, read, send};

/// A POST under the key `k`.
fn keyed(path: &str, headers: &[(&str, &str)], body: &'static str) -> Request<Body> {
    let mut request = post(path, headers, body);
    let key = HeaderValue::from_static("k");
    request.headers_mut().insert("idempotency-key", key);
    request
}

/// Whether the second request is taken for the first one.
async fn same<St: Store>(
    layer: &IdempotencyLayer<St>,
    one: Request<Body>,
    other: Request<Body>,
) -> bool {
    let head = |request: &Request<Body>| format!("{} {:?}", request.uri(), request.headers());
    let told = format!("{}\n{}", head(&one), head(&other));
    let handler = Handler::default();
    let service = handler.at_once(layer);

    let first = send(&service, one).await;
    let second = send(&service, other).await;

    assert_eq!(
        first.outcome,
        Outcome::Executed { recorded: true },
        "{told}"
    );
    assert_eq!(handler.executions(), 1, "{told}");
    if !second.is_replay() {
        assert_eq!(second.code(), "idempotency_mismatch", "{told}");
    }
    second.is_replay()
}

fn by(policy: FingerprintPolicy) -> IdempotencyLayer {
    IdempotencyLayer::default().fingerprint(policy)
}

#[tokio::test(start_paused = true)]
async fn the_order_of_the_query_counts_unless_it_is_canonical() {
    let canonical = || FingerprintPolicy::default().canonical_query();
    let to = |path| keyed(path, &[], "x");

    for (one, other, is_one) in [
        ("/a?to=alice&n=1", "/a?n=1&to=alice", true),
        ("/a?to=alice&n=1&to=bob", "/a?n=1&to=alice&to=bob", true),
        ("/a?to=alice&to=bob", "/a?to=bob&to=alice", false),
        ("/a?to=alice", "/a?to=mallory", false),
        ("/a?to=alice", "/a?to=alice&to=alice", false),
        ("/a?to=alice", "/a?to=%61lice", false),
        ("/a?to=alice", "/a", false),
        ("/a?", "/a", true),
    ] {
        let by_default = same(&IdempotencyLayer::default(), to(one), to(other)).await;
        assert!(!by_default, "{one} {other}");
        assert_eq!(
            same(&by(canonical()), to(one), to(other)).await,
            is_one,
            "{one} {other}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn how_a_content_type_is_written_counts_unless_it_is_canonical() {
    let canonical = || FingerprintPolicy::default().canonical_content_type();
    let json = "application/json; charset=utf-8";
    let typed = |value| keyed("/a", &[("content-type", value)], "{}");

    for (other, is_one) in [
        ("application/json;charset=UTF-8", true),
        ("APPLICATION/json ; charset=\"utf-8\"", true),
        ("application/json", false),
        ("application/json; charset=latin1", false),
        ("text/plain; charset=utf-8", false),
    ] {
        assert!(!same(&IdempotencyLayer::default(), typed(json), typed(other)).await);
        assert_eq!(
            same(&by(canonical()), typed(json), typed(other)).await,
            is_one,
            "{other}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn parameters_of_one_name_keep_their_order_in_a_canonical_content_type() {
    let canonical = || by(FingerprintPolicy::default().canonical_content_type());
    let typed = |value| keyed("/a", &[("content-type", value)], "--a--");
    let form = "multipart/form-data; boundary=a; x=1; boundary=b";

    for (other, is_one) in [
        ("multipart/form-data; x=1; BOUNDARY=a; boundary=\"b\"", true),
        ("multipart/form-data; boundary=b; x=1; boundary=a", false),
        ("multipart/form-data; boundary=a; x=1", false),
    ] {
        assert_eq!(
            same(&canonical(), typed(form), typed(other)).await,
            is_one,
            "{other}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_header_counts_where_it_is_named_with_all_its_lines() {
    let policy = || {
        FingerprintPolicy::default()
            .header("If-Match")
            .header("x-version")
    };
    let with = |headers: &[(&str, &str)]| keyed("/a", headers, "x");
    let one = &[("if-match", "\"1\""), ("x-version", "7")];

    assert!(same(&by(policy()), with(one), with(one)).await);
    for other in [
        &[("if-match", "\"2\""), ("x-version", "7")][..],
        &[("if-match", "\"1\""), ("x-version", "8")],
        &[
            ("if-match", "\"1\""),
            ("if-match", "\"1\""),
            ("x-version", "7"),
        ],
        &[("if-match", "\"1\"")],
        &[],
    ] {
        assert!(same(&IdempotencyLayer::default(), with(one), with(other)).await);
        assert!(
            !same(&by(policy()), with(one), with(other)).await,
            "{other:?}"
        );
    }
    let lines = |second| with(&[("if-match", "\"1\""), ("if-match", second)]);
    assert!(same(&by(policy()), lines("\"2\""), lines("\"2\"")).await);
    assert!(!same(&by(policy()), lines("\"2\""), lines("\"3\"")).await);
}

#[tokio::test(start_paused = true)]
async fn nothing_counts_where_the_key_is_all() {
    let one = || keyed("/a?n=1", &[("content-type", "a/b"), ("x-a", "1")], "one");
    let other = || {
        keyed(
            "/a?n=2",
            &[("content-encoding", "br"), ("x-a", "2")],
            "other",
        )
    };

    assert!(same(&by(FingerprintPolicy::none()), one(), other()).await);
    for added in [
        FingerprintPolicy::none().header("x-a"),
        FingerprintPolicy::none().canonical_query(),
        FingerprintPolicy::none().canonical_content_type(),
    ] {
        assert!(!same(&by(added), one(), other()).await);
    }
}

#[tokio::test(start_paused = true)]
async fn method_and_path_are_parameters_where_the_scope_has_no_endpoint() {
    let with = |method: Method, path| {
        let mut request = keyed(path, &[], "x");
        *request.method_mut() = method;
        request
    };
    let layer = || {
        let methods = [Method::POST, Method::PATCH];
        let layer = IdempotencyLayer::default().methods(methods);
        layer.scope(Scope::credentials().without_endpoint())
    };

    assert!(
        !same(
            &layer(),
            with(Method::PATCH, "/a"),
            with(Method::POST, "/a")
        )
        .await
    );
    assert!(!same(&layer(), with(Method::POST, "/a"), with(Method::POST, "/b")).await);
    assert!(same(&layer(), with(Method::POST, "/a"), with(Method::POST, "/a")).await);
    let none = layer().fingerprint(FingerprintPolicy::none());
    assert!(same(&none, with(Method::PATCH, "/a"), with(Method::POST, "/b")).await);
}

#[tokio::test(start_paused = true)]
async fn no_character_moves_from_one_parameter_to_the_next() {
    let scope = || Scope::shared().without_endpoint();
    let policy = || FingerprintPolicy::default().header("x-a").header("x-b");
    let typed = |content_type, encoding, body| {
        let headers = [
            ("content-type", content_type),
            ("content-encoding", encoding),
        ];
        keyed("/a", &headers, body)
    };
    let with = |headers: &[(&str, &str)]| keyed("/a", headers, "x");

    for (one, other) in [
        (keyed("/ab?c", &[], ""), keyed("/a?bc", &[], "")),
        (typed("ab", "c", "d"), typed("a", "bc", "d")),
        (typed("a", "bc", "d"), typed("a", "b", "cd")),
        (
            with(&[("x-a", "ab"), ("x-b", "c")]),
            with(&[("x-a", "a"), ("x-b", "bc")]),
        ),
        (
            with(&[("x-a", "ab"), ("x-a", "c")]),
            with(&[("x-a", "a"), ("x-a", "bc")]),
        ),
        (with(&[("x-a", "c")]), with(&[("x-b", "c")])),
    ] {
        assert!(!same(&by(policy()).scope(scope()), one, other).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_compressed_otherwise_is_another_request_unless_it_is_decoded_outside() {
    let handler = Handler::default();
    let guarded = handler.answering(&IdempotencyLayer::default(), |request| async move {
        assert!(!request.headers().contains_key("content-encoding"));
        let body = request.into_body().collect().await.unwrap().to_bytes();
        created(std::str::from_utf8(&body).unwrap())
    });
    // An encoding that puts its level and a colon before the text.
    let decoding = ServiceBuilder::new()
        .map_request(|request: Request<Body>| {
            let (mut parts, body) = request.into_parts();
            parts.headers.remove("content-encoding");
            let mut body = futures_util::FutureExt::now_or_never(body.collect())
                .unwrap()
                .unwrap()
                .to_bytes();
            let colon = body.iter().position(|byte| *byte == b':').unwrap();
            Request::from_parts(parts, body.split_off(colon + 1).into())
        })
        .service(guarded);
    let encoded = |body| keyed("/a", &[("content-encoding", "x-levels")], body);

    let (one, other) = (encoded("1:{\"n\":1}"), encoded("9:{\"n\":1}"));
    assert!(!same(&IdempotencyLayer::default(), one, other).await);
    let first = send(&decoding, encoded("1:{\"n\":1}")).await;
    let retry = send(&decoding, encoded("9:{\"n\":1}")).await;
    let another = send(&decoding, encoded("9:{\"n\":2}")).await;

    assert_eq!(first.text(), "{\"n\":1}");
    assert!(retry.is_replay());
    assert_eq!(another.outcome, Outcome::Mismatch);
}

/// The parts of a multipart body, whatever their boundary.
fn parts_of(parts: &http::request::Parts, body: &[u8]) -> Result<Vec<u8>, BoxError> {
    let content_type = parts.headers.get("content-type").ok_or("no content type")?;
    let (_, boundary) = content_type
        .to_str()?
        .split_once("boundary=")
        .ok_or("no boundary")?;
    Ok(std::str::from_utf8(body)?
        .replace(&format!("--{boundary}"), "--")
        .into_bytes())
}

#[tokio::test(start_paused = true)]
async fn a_multipart_body_with_a_new_boundary_is_another_request_unless_a_closure_looks_at_its_parts()
 {
    let form = |boundary: &str, body| {
        let content_type = format!("multipart/form-data; boundary={boundary}");
        keyed("/a", &[("content-type", &content_type)], body)
    };
    let one = || form("aaa", "--aaa\r\n\r\npart\r\n--aaa--");
    let rebound = || form("bbb", "--bbb\r\n\r\npart\r\n--bbb--");
    let other = || form("aaa", "--aaa\r\n\r\nparT\r\n--aaa--");
    let by_parts = || by(FingerprintPolicy::with(parts_of));

    assert!(!same(&IdempotencyLayer::default(), one(), rebound()).await);
    assert!(!same(&IdempotencyLayer::default(), one(), other()).await);
    assert!(same(&by_parts(), one(), rebound()).await);
    assert!(!same(&by_parts(), one(), other()).await);
}

#[tokio::test(start_paused = true)]
async fn a_closure_that_fails_or_panics_is_an_error_of_the_service_and_claims_nothing() {
    let policies = [
        FingerprintPolicy::with(|_, body| match body {
            b"bad" => Err("it fails".into()),
            body => Ok(body.to_vec()),
        }),
        FingerprintPolicy::with(|_, body| {
            assert!(body != b"bad", "it panics");
            Ok(body.to_vec())
        }),
    ];

    for policy in policies {
        let (spy, handler) = (Spy::new(), Handler::default());
        let service = handler.at_once(&IdempotencyLayer::new(spy.clone()).fingerprint(policy));

        let refused = send(&service, keyed("/a", &[], "bad")).await;

        assert_eq!(refused.status, 500);
        assert_eq!(refused.code(), "idempotency_internal");
        assert!(!refused.text().contains("it fails"));
        assert_eq!(refused.outcome, Outcome::Refused);
        assert!(spy.verbs().is_empty());
        assert_eq!(handler.executions(), 0);
        let accepted = send(&service, keyed("/a", &[], "good")).await;
        assert_eq!(accepted.outcome, Outcome::Executed { recorded: true });
    }
}

#[tokio::test(start_paused = true)]
async fn a_closure_sees_head_and_body_of_the_whole_request() {
    let layer = by(FingerprintPolicy::with(|parts, body| {
        assert_eq!(parts.uri, "/a?b=1");
        assert_eq!(parts.headers["x-a"], "1");
        assert_eq!(body, b"abcdef");
        Ok(Vec::new())
    }));
    let (service, executions) = streaming(&layer, |_, request| async move {
        let body = request.into_body().collect().await.unwrap();
        assert!(body.trailers().is_some());
        assert_eq!(body.to_bytes(), "abcdef");
        http::Response::new(Frames::empty())
    });
    let trailers = http::HeaderMap::from_iter([(
        http::HeaderName::from_static("x-checksum"),
        HeaderValue::from_static("7"),
    )]);
    let frames = [
        Step::Data("abc"),
        Step::Data("def"),
        Step::Trailers(trailers),
    ];
    let mut request = upload("k", Frames::new(frames));
    *request.uri_mut() = "/a?b=1".parse().unwrap();
    request
        .headers_mut()
        .insert("x-a", HeaderValue::from_static("1"));

    let answer = read(service.oneshot(request).await.unwrap()).await;

    assert_eq!(answer.status, 200);
    assert_eq!(executions.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn trailers_of_a_request_do_not_count() {
    let layer = IdempotencyLayer::default();
    let (service, executions) = streaming(&layer, |_, _| async {
        http::Response::new(Frames::data(["seen"]))
    });
    let with = |checksum: &'static str| {
        let name = http::HeaderName::from_static("x-checksum");
        let trailers = [(name, HeaderValue::from_static(checksum))];
        let frames = [
            Step::Data("abc"),
            Step::Trailers(trailers.into_iter().collect()),
        ];
        upload("k", Frames::new(frames))
    };
    read(service.clone().oneshot(with("1")).await.unwrap()).await;

    for retry in [with("2"), upload("k", Frames::data(["abc"]))] {
        let retry = read(service.clone().oneshot(retry).await.unwrap()).await;
        assert!(retry.is_replay());
    }
    assert_eq!(executions.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_is_changed_while_records_live_makes_their_retries_a_mismatch() {
    let (handler, layer) = (Handler::default(), IdempotencyLayer::default());
    let changed = layer
        .clone()
        .fingerprint(FingerprintPolicy::default().header("x-a"));
    send(&handler.at_once(&layer), keyed("/a", &[], "x")).await;

    let under_the_new_one = send(&handler.at_once(&changed), keyed("/a", &[], "x")).await;
    let under_the_old_one = send(&handler.at_once(&layer), keyed("/a", &[], "x")).await;

    assert_eq!(under_the_new_one.outcome, Outcome::Mismatch);
    assert!(under_the_old_one.is_replay());
    assert_eq!(handler.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_rotated_token_is_another_sender_by_default_and_the_same_user_by_extension() {
    #[derive(Clone)]
    struct User(&'static str);
    let with = |token| {
        let mut request = keyed("/a", &[("authorization", token)], "x");
        request.extensions_mut().insert(User("alice"));
        request
    };
    let handler = Handler::default();
    let by_token = handler.at_once(&IdempotencyLayer::default());

    send(&by_token, with("Bearer one")).await;
    assert!(!send(&by_token, with("Bearer two")).await.is_replay());

    assert_eq!(handler.executions(), 2);
    let by_user = IdempotencyLayer::default().scope(Scope::extension(|user: &User| user.0));
    assert!(same(&by_user, with("Bearer one"), with("Bearer two")).await);
}
