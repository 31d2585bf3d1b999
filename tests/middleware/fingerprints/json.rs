//! Bodies of JSON that say the same.

use bytes::Bytes;

use super::*;

const BEYOND: &str = "9007199254740993";

/// A JSON body under the key `k`.
fn json(body: impl Into<Bytes>) -> Request<Body> {
    let mut request = keyed("/a", &[("content-type", "application/json")], "");
    *request.body_mut() = body.into().into();
    request
}

fn canonical() -> FingerprintPolicy {
    FingerprintPolicy::default().canonical_json()
}

#[tokio::test(start_paused = true)]
async fn how_json_is_written_does_not_count_where_it_is_canonical() {
    for (one, other) in [
        (
            r#"{"a":1,"b":[2,{"c":3,"d":4}]}"#,
            r#" { "b" : [2, {"d":4,"c":3}], "a" : 1 } "#,
        ),
        (r#"{"n":1}"#, r#"{"n":1.0}"#),
        (r#"{"n":0}"#, r#"{"n":-0}"#),
        (r#"{"n":100}"#, r#"{"n":1e2}"#),
        (r#"{"n":0.001}"#, r#"{"n":1E-3}"#),
        (r#"{"s":"é/"}"#, r#"{"s":"\u00e9\/"}"#),
        ("[9007199254740992]", "[ 9007199254740992 ]"),
        ("7", " 7\n"),
    ] {
        let by_default = same(&IdempotencyLayer::default(), json(one), json(other)).await;
        assert!(!by_default, "{one} {other}");
        assert!(
            same(&by(canonical()), json(one), json(other)).await,
            "{one} {other}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn json_that_says_something_else_is_another_request() {
    for (one, other) in [
        (r#"{"n":9007199254740993}"#, r#"{"n":9007199254740992}"#),
        (r#"{"n":9007199254740993}"#, r#"{"n":9007199254740994}"#),
        (r#"{"n":0.1}"#, r#"{"n":0.10000000000000001}"#),
        (r#"{"n":1}"#, r#"{"n":"1"}"#),
        (r#"{"n":null}"#, "{}"),
        (r#"{"n":1}"#, r#"{"N":1}"#),
        ("[1,2]", "[2,1]"),
        ("[]", "{}"),
        (r#"{"a":1,"a":1}"#, r#"{"a":1}"#),
        (r#"{"a":1,"a":2}"#, r#"{"a":2,"a":1}"#),
        (r#""\ud800""#, r#""\ud801""#),
        (r#""\ud800""#, r#""\ufffd""#),
        ("\u{feff}{}", "{}"),
        ("", "null"),
        ("{}", "{}}"),
    ] {
        assert!(
            !same(&by(canonical()), json(one), json(other)).await,
            "{one} {other}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_no_canonical_form_is_compared_byte_by_byte() {
    for (body, spaced) in [
        ("{\"a\":1".to_owned(), "{\"a\":1 ".to_owned()),
        ("not JSON".into(), "not  JSON".into()),
        ("\u{feff}{}".into(), "\u{feff}{ }".into()),
        (r#"{"a":1,"a":1}"#.into(), r#"{"a":1, "a":1}"#.into()),
        (r#"["\ud800"]"#.into(), r#"[ "\ud800"]"#.into()),
        (format!("[{BEYOND}]"), format!("[ {BEYOND}]")),
        ("[1e400]".into(), "[ 1e400]".into()),
        (nested(10_000), format!(" {}", nested(10_000))),
        ("{} {}".into(), "{}  {}".into()),
    ] {
        let told = body.chars().take(40).collect::<String>();
        let policies = [
            canonical(),
            FingerprintPolicy::default().exclude(["/a"]),
            FingerprintPolicy::default().include(["/a"]),
        ];
        for policy in policies {
            let layer = || by(policy.clone());
            assert!(
                same(&layer(), json(body.clone()), json(body.clone())).await,
                "{told}"
            );
            assert!(
                !same(&layer(), json(body.clone()), json(spaced.clone())).await,
                "{told}"
            );
        }
    }
    let invalid = |last: u8| json(vec![b'"', 0xff, last]);
    assert!(same(&by(canonical()), invalid(b'"'), invalid(b'"')).await);
    assert!(!same(&by(canonical()), invalid(b'"'), invalid(b' ')).await);
}

fn nested(levels: usize) -> String {
    format!("{}{}", "[".repeat(levels), "]".repeat(levels))
}

fn object(members: &mut dyn Iterator<Item = u32>) -> Request<Body> {
    let members = members.map(|member| format!("\"{member}\":0"));
    let body = format!("{{{}}}", members.collect::<Vec<_>>().join(","));
    json(body)
}

#[tokio::test(start_paused = true)]
async fn a_million_members_are_sorted() {
    let layer = by(canonical()).max_request_bytes(64 << 20);

    assert!(!same(&layer, object(&mut (0..1_000_000).rev()), json("{}")).await);
}

#[tokio::test(start_paused = true)]
async fn many_members_in_another_order_are_one_request() {
    let turned = object(&mut (0..10_000).rev());

    assert!(same(&by(canonical()), object(&mut (0..10_000)), turned).await);
    let one_less = object(&mut (0..9_999));
    assert!(!same(&by(canonical()), object(&mut (0..10_000)), one_less).await);
}

#[tokio::test(start_paused = true)]
async fn what_is_excluded_may_change_and_nothing_else() {
    let pointers = [
        "/metadata/sent_at",
        "/items/0/seen",
        "/not/there",
        "/amount/x",
    ];
    let layer = || by(FingerprintPolicy::default().exclude(pointers));
    let one = r#"{"amount":5,"items":[{"id":1,"seen":1}],"metadata":{"sent_at":1,"by":"x"}}"#;

    for (other, is_one) in [
        (
            r#"{"amount":5,"items":[{"id":1,"seen":1}],"metadata":{"sent_at":2,"by":"x"}}"#,
            true,
        ),
        (
            r#"{"amount":5,"items":[{"id":1,"seen":[2]}],"metadata":{"by":"x"}}"#,
            true,
        ),
        (
            r#"{"items":[{"id":1}],"metadata":{"sent_at":{},"by":"x"},"amount":5.0}"#,
            true,
        ),
        (
            r#"{"amount":6,"items":[{"id":1,"seen":1}],"metadata":{"sent_at":1,"by":"x"}}"#,
            false,
        ),
        (
            r#"{"amount":5,"items":[{"id":2,"seen":1}],"metadata":{"sent_at":1,"by":"x"}}"#,
            false,
        ),
        (
            r#"{"amount":5,"items":[{"id":1,"seen":1}],"metadata":{"sent_at":1,"by":"y"}}"#,
            false,
        ),
        (
            r#"{"amount":5,"items":[{"id":1,"seen":1}],"metadata":{"sent_at":1,"by":"x"},"sent_at":1}"#,
            false,
        ),
        (
            r#"{"amount":5,"items":[{"id":1,"seen":1},{"seen":1}],"metadata":{"by":"x"}}"#,
            false,
        ),
        ("", false),
        ("[]", false),
    ] {
        assert_eq!(
            same(&layer(), json(one), json(other)).await,
            is_one,
            "{other}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn of_what_is_included_every_change_counts_and_none_of_the_rest() {
    let layer = || by(FingerprintPolicy::default().include(["/amount", "/to/name"]));
    let one = r#"{"amount":5,"to":{"name":"alice","note":"x"},"note":"x"}"#;

    for (other, is_one) in [
        (
            r#"{"note":"y","to":{"note":"y","name":"alice"},"amount":5.0}"#,
            true,
        ),
        (r#"{"amount":6,"to":{"name":"alice"}}"#, false),
        (r#"{"amount":5,"to":{"name":"mallory"}}"#, false),
        (r#"{"amount":5}"#, false),
        (r#"{"amount":5,"to":{"name":null}}"#, false),
        (r#"{"note":"x"}"#, false),
    ] {
        assert_eq!(
            same(&layer(), json(one), json(other)).await,
            is_one,
            "{other}"
        );
    }
    // None of it is there, or it is no JSON: all counts.
    for (one, other) in [
        (r#"{"note":1}"#, r#"{"note":2}"#),
        ("amount=5", "amount=6"),
        ("", " "),
    ] {
        assert!(
            !same(&layer(), json(one), json(other)).await,
            "{one} {other}"
        );
        assert!(same(&layer(), json(one), json(one)).await, "{one}");
    }
}

#[tokio::test(start_paused = true)]
async fn include_and_exclude_count_together() {
    let policy = || {
        FingerprintPolicy::default()
            .include(["/order"])
            .exclude(["/order/sent_at"])
    };
    let one = r#"{"order":{"id":1,"sent_at":1},"note":1}"#;

    let resent = r#"{"order":{"sent_at":2,"id":1}}"#;
    assert!(same(&by(policy()), json(one), json(resent)).await);
    let changed = r#"{"order":{"id":2,"sent_at":1},"note":1}"#;
    assert!(!same(&by(policy()), json(one), json(changed)).await);
}

#[tokio::test(start_paused = true)]
async fn everything_beside_the_body_counts_as_ever() {
    let typed = |path, content_type| keyed(path, &[("content-type", content_type)], "{}");
    let one = || typed("/a?n=1&m=2", "application/json");

    assert!(!same(&by(canonical()), one(), typed("/a?n=1&m=2", "text/plain")).await);
    assert!(
        !same(
            &by(canonical()),
            one(),
            typed("/a?m=2&n=1", "application/json")
        )
        .await
    );
    let mut compressed = one();
    let encoding = HeaderValue::from_static("x-levels");
    compressed
        .headers_mut()
        .insert("content-encoding", encoding);
    assert!(!same(&by(canonical()), one(), compressed).await);
    let both = || by(canonical().canonical_query().canonical_content_type());
    assert!(same(&both(), one(), typed("/a?m=2&n=1", "Application/JSON")).await);
    let body_alone = || by(FingerprintPolicy::none().canonical_json());
    assert!(same(&body_alone(), one(), typed("/a", "text/plain")).await);
    assert!(!same(&body_alone(), one(), json("[]")).await);
}

#[tokio::test(start_paused = true)]
async fn the_handler_gets_the_bytes_that_were_sent_and_not_what_was_compared() {
    const SENT: &str = "\u{20}{ \"b\": 1.0, \"a\": \"\\u0078\", \"sent_at\": 1 }\n";
    for policy in [
        canonical(),
        FingerprintPolicy::default().exclude(["/sent_at"]),
        FingerprintPolicy::default().include(["/a"]),
        FingerprintPolicy::none(),
        FingerprintPolicy::with(|_, _| Ok(b"something else".to_vec())),
    ] {
        let (service, executions) = streaming(&by(policy), |_, request| async move {
            let length = request.headers()["content-length"]
                .to_str()
                .unwrap()
                .to_owned();
            let body = request.into_body().collect().await.unwrap();
            assert_eq!(body.trailers().unwrap()["x-checksum"], "7");
            assert_eq!(body.to_bytes(), SENT);
            assert_eq!(length, SENT.len().to_string());
            http::Response::new(Frames::empty())
        });
        let name = http::HeaderName::from_static("x-checksum");
        let trailers = [(name, HeaderValue::from_static("7"))]
            .into_iter()
            .collect();
        let (start, end) = SENT.split_at(9);
        let frames = [Step::Data(start), Step::Data(end), Step::Trailers(trailers)];
        let mut request = upload("k", Frames::new(frames));
        request
            .headers_mut()
            .insert("content-length", HeaderValue::from(SENT.len()));

        let answer = read(service.oneshot(request).await.unwrap()).await;

        assert_eq!(answer.status, 200);
        assert_eq!(executions.count(), 1);
    }
}
