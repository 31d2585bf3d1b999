//! Senders that headers of one's own tell apart, and those that say nothing of who they are.

use http::HeaderName;
use tower_idempotency::{Anonymous, FingerprintPolicy, KeyFrom};

use super::*;

fn names<const N: usize>(names: [&'static str; N]) -> [HeaderName; N] {
    names.map(HeaderName::from_static)
}

/// A layer with this scope over a store that can be asked, a handler and its service.
fn scoped(scope: Scope) -> (Arc<Spy>, Handler, Guarded) {
    let (spy, handler) = (Spy::new(), Handler::default());
    let service = handler.at_once(&IdempotencyLayer::new(spy.clone()).scope(scope));
    (spy, handler, service)
}

/// Every combination of nothing, one line and several under two names, the names themselves among the values.
fn combinations() -> Vec<Vec<(&'static str, &'static str)>> {
    let lines: [&[&str]; 9] = [
        &[],
        &["a"],
        &["b"],
        &["A"],
        &["a", "b"],
        &["b", "a"],
        &["a, b"],
        &["x-user"],
        &["x-tenant"],
    ];
    let mut combinations = Vec::new();
    for tenant in lines {
        for user in lines {
            let tenant = tenant.iter().map(|value| ("x-tenant", *value));
            let user = user.iter().map(|value| ("x-user", *value));
            combinations.push(tenant.chain(user).collect());
        }
    }
    combinations
}

#[tokio::test(start_paused = true)]
async fn every_combination_of_header_lines_is_another_sender() {
    let (_, handler, service) = scoped(Scope::headers(names(["x-user", "x-tenant"])));
    let combinations = combinations();

    for (number, headers) in combinations.iter().enumerate() {
        let answer = send(&service, text(PATH, headers, "x")).await;
        assert_eq!(
            answer.text(),
            format!("execution {}", number + 1),
            "{headers:?}"
        );
    }
    for (number, headers) in combinations.iter().enumerate() {
        let answer = send(&service, text(PATH, headers, "x")).await;
        assert!(answer.is_replay(), "{headers:?}");
        assert_eq!(
            answer.text(),
            format!("execution {}", number + 1),
            "{headers:?}"
        );
    }
    assert_eq!(handler.executions() as usize, combinations.len());
}

#[tokio::test(start_paused = true)]
async fn neither_the_order_of_the_names_nor_white_space_nor_other_headers_matter() {
    let spy = Spy::new();
    let handler = Handler::default();
    let layer = IdempotencyLayer::new(spy.clone());
    let one = layer
        .clone()
        .scope(Scope::headers(names(["x-user", "x-tenant"])));
    let turned = layer.scope(Scope::headers(names(["x-tenant", "x-user"])));
    let sender = [("x-tenant", "a"), ("x-user", "\u{e9}")];
    send(&handler.at_once(&one), text(PATH, &sender, "x")).await;

    for same in [
        &[("x-user", "\u{e9}"), ("x-tenant", "a")][..],
        &[("X-User", "\u{e9}"), ("X-Tenant", " a\t")],
        &[("x-user", "\u{e9}"), ("x-tenant", "a"), ("cookie", "a=1")],
        &[
            ("x-user", "\u{e9}"),
            ("x-tenant", "a"),
            ("authorization", "Signature 1"),
        ],
    ] {
        let answer = send(&handler.at_once(&turned), text(PATH, same, "x")).await;
        assert!(answer.is_replay(), "{same:?}");
    }
    assert_eq!(handler.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_sender_by_one_header_is_not_the_same_by_another_one() {
    let (spy, handler) = (Spy::new(), Handler::default());
    let layer = IdempotencyLayer::new(spy.clone());
    let sender = [("x-tenant", "a"), ("x-user", "a"), ("x-api-key", "a")];

    for (number, scope) in [
        Scope::headers(names(["x-tenant"])),
        Scope::headers(names(["x-user"])),
        Scope::headers(names(["x-tenant", "x-user"])),
        Scope::headers(names(["x-api-key"])),
        Scope::credentials(),
    ]
    .into_iter()
    .enumerate()
    {
        let layer = layer.clone().scope(scope);
        let answer = send(&handler.at_once(&layer), text(PATH, &sender, "x")).await;
        assert_eq!(answer.text(), format!("execution {}", number + 1));
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_line_is_no_sender_whatever_stands_beside_it() {
    for anonymous in [Anonymous::Share, Anonymous::Refuse, Anonymous::Bypass] {
        let scope = Scope::headers(names(["x-user", "x-tenant"])).anonymous(anonymous);
        let (spy, handler, service) = scoped(scope);

        for empty in ["", " ", " \t"] {
            for headers in [
                &[("x-user", empty)][..],
                &[("x-tenant", empty)],
                &[("x-tenant", "a"), ("x-user", empty)],
                &[("x-tenant", empty), ("x-user", "a")],
                &[("x-tenant", "a"), ("x-tenant", empty)],
                &[("x-tenant", empty), ("x-tenant", "a")],
            ] {
                let answer = send(&service, text(PATH, headers, "x")).await;
                refuses(&answer, SCOPE_UNRESOLVED);
                assert_eq!(answer.outcome, Outcome::Refused);
            }
        }
        assert_eq!(handler.executions(), 0);
        assert!(spy.verbs().is_empty());
    }
}

/// The two scopes that know anonymous requests, each with what makes a request somebody's.
fn with_anonymous(anonymous: Anonymous) -> [(Scope, (&'static str, &'static str)); 3] {
    [
        (Scope::credentials(), ("x-api-key", "alice")),
        (Scope::credentials(), ("authorization", "Bearer alice")),
        (Scope::headers(names(["x-user"])), ("x-user", "alice")),
    ]
    .map(|(scope, credential)| (scope.anonymous(anonymous), credential))
}

#[tokio::test(start_paused = true)]
async fn requests_without_a_sender_may_share_their_records() {
    let by_default = [
        (Scope::default(), ("x-api-key", "alice")),
        (Scope::headers(names(["x-user"])), ("x-user", "alice")),
    ];
    for (scope, credential) in with_anonymous(Anonymous::Share)
        .into_iter()
        .chain(by_default)
    {
        let (_, handler, service) = scoped(scope);

        send(&service, text(PATH, &[], "x")).await;

        assert!(send(&service, text(PATH, &[], "x")).await.is_replay());
        let of_alice = send(&service, text(PATH, &[credential], "x")).await;
        assert_eq!(of_alice.text(), "execution 2");
        assert_eq!(handler.executions(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn requests_without_a_sender_may_be_refused() {
    for (scope, credential) in with_anonymous(Anonymous::Refuse) {
        let (spy, handler, service) = scoped(scope);

        for _ in 0..2 {
            let answer = send(&service, text(PATH, &[], "x")).await;
            refuses(&answer, SCOPE_UNRESOLVED);
            assert_eq!(answer.outcome, Outcome::Refused);
        }
        assert_eq!(handler.executions(), 0);
        assert!(spy.verbs().is_empty());
        // Without a key there is nothing to share.
        assert_eq!(send(&service, post(PATH, &[], "x")).await.status, 201);
        for replayed in [false, true] {
            let answer = send(&service, text(PATH, &[credential], "x")).await;
            assert_eq!(
                (answer.status.as_u16(), answer.is_replay()),
                (201, replayed)
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn requests_without_a_sender_may_pass_by_as_if_they_had_no_key() {
    for (scope, credential) in with_anonymous(Anonymous::Bypass) {
        let (spy, handler, service) = scoped(scope);

        for number in ["execution 1", "execution 2"] {
            let answer = send(&service, text(PATH, &[], "x")).await;
            assert_eq!(answer.outcome, Outcome::Bypassed);
            assert_eq!(answer.text(), number);
            assert_eq!(answer.header("idempotency-key"), None);
            assert_eq!(answer.header("idempotent-replayed"), None);
        }
        assert_eq!(handler.last_attempt(), 0, "there is no context");
        assert!(spy.verbs().is_empty());
        for replayed in [false, true] {
            let answer = send(&service, text(PATH, &[credential], "x")).await;
            assert_eq!(
                (answer.status.as_u16(), answer.is_replay()),
                (201, replayed)
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_passes_by_is_not_touched() {
    let layer = IdempotencyLayer::default()
        .scope(Scope::credentials().anonymous(Anonymous::Bypass))
        .max_request_bytes(1);
    let (service, _) = crate::frames::streaming(&layer, |_, request| async move {
        use http_body_util::BodyExt as _;

        assert_eq!(request.headers().len(), 2, "{:?}", request.headers());
        assert_eq!(request.headers()["idempotency-key"], "k");
        assert!(request.extensions().get::<Idempotency>().is_none());
        assert_eq!(http_body::Body::size_hint(request.body()).exact(), Some(6));
        let mut body = Box::pin(request.into_body());
        for expected in ["abc", "def"] {
            let frame = body.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), expected);
        }
        assert!(body.frame().await.unwrap().is_err());
        let mut response = Response::new(Frames::data(["1", "2"]).hint(2, Some(2)));
        let upstream = HeaderValue::from_static("upstream");
        response
            .headers_mut()
            .insert("idempotent-replayed", upstream);
        response
    });
    let steps = [Step::Data("abc"), Step::Data("def"), Step::Break("reset")];
    let request = text(PATH, &[], "").map(|_| Frames::new(steps).hint(6, Some(6)));

    let response = service.oneshot(request).await.unwrap();

    assert_eq!(Outcome::of(response.extensions()), Outcome::Bypassed);
    assert_eq!(response.headers()["idempotent-replayed"], "upstream");
    assert_eq!(http_body::Body::size_hint(response.body()).exact(), Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_cannot_be_told_is_never_taken_for_an_anonymous_one() {
    for anonymous in [Anonymous::Share, Anonymous::Refuse, Anonymous::Bypass] {
        let (spy, handler, service) = scoped(Scope::credentials().anonymous(anonymous));

        for unreadable in [
            ("cookie", "session=1"),
            ("authorization", "Signature keyId=1"),
            ("authorization", ""),
            ("authorization", "Bearer"),
            ("x-api-key", ""),
        ] {
            let answer = send(&service, text(PATH, &[unreadable], "x")).await;
            refuses(&answer, SCOPE_UNRESOLVED);
        }
        assert_eq!(handler.executions(), 0);
        assert!(spy.verbs().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_outer_layer_lets_pass_by_an_inner_one_still_guards() {
    let (outer_store, inner_store) = (Spy::new(), Spy::new());
    let outer = IdempotencyLayer::new(outer_store.clone())
        .scope(Scope::credentials().anonymous(Anonymous::Bypass));
    let inner = IdempotencyLayer::new(inner_store.clone());
    let executions = Executions::default();
    let counted = executions.clone();
    let innermost = service_fn(move |_: Request<RequestBody<RequestBody<Body>>>| {
        counted.begin();
        std::future::ready(Ok::<_, Infallible>(created("made")))
    });
    let service = outer.layer(inner.layer(innermost));

    let first = send(&service, text(PATH, &[], "x")).await;
    let second = send(&service, text(PATH, &[], "x")).await;

    assert_eq!(first.outcome, Outcome::Executed { recorded: true });
    assert!(second.is_replay());
    assert_eq!(executions.count(), 1);
    assert!(outer_store.verbs().is_empty());
    assert_eq!(inner_store.verbs(), ["claim", "complete", "claim"]);
}

#[tokio::test(start_paused = true)]
async fn who_passes_by_does_so_with_a_key_in_the_body_too_and_the_body_is_whole() {
    let (spy, handler) = (Spy::new(), Handler::default());
    let layer = IdempotencyLayer::new(spy.clone())
        .key_from(KeyFrom::json(["/id"]))
        .scope(Scope::credentials().anonymous(Anonymous::Bypass));
    let service = handler.answering(&layer, |request| async move {
        use http_body_util::BodyExt as _;

        let body = request.into_body().collect().await.unwrap().to_bytes();
        created(std::str::from_utf8(&body).unwrap())
    });

    for _ in 0..2 {
        let answer = send(&service, post(PATH, &[], r#"{"id":"abc"}"#)).await;
        assert_eq!(answer.text(), r#"{"id":"abc"}"#);
        assert_eq!(answer.outcome, Outcome::Bypassed);
    }
    assert_eq!(handler.executions(), 2);
    assert!(spy.verbs().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_fails_never_gets_at_a_shared_record() {
    type Failing = fn() -> Scope;
    let failing: [(Failing, &str); 6] = [
        (|| Scope::with(|_| Err("no user".into())), INTERNAL),
        (|| Scope::with(|_| panic!("a scope that panics")), INTERNAL),
        (
            || Scope::extension(|_: &()| -> String { panic!("a scope that panics") }),
            INTERNAL,
        ),
        (|| Scope::with(|_| Ok(Vec::new())), SCOPE_UNRESOLVED),
        (|| Scope::extension(|(): &()| ""), SCOPE_UNRESOLVED),
        (
            || Scope::extension(|user: &String| user.clone()),
            SCOPE_UNRESOLVED,
        ),
    ];
    let sources = [
        KeyFrom::default(),
        KeyFrom::json(["/id"]),
        KeyFrom::with(|_| Some("k".to_owned())),
    ];
    let request = || {
        let mut request = text(PATH, &[], r#"{"id":"k"}"#);
        request.extensions_mut().insert(());
        request
    };
    for source in sources {
        for (failing, refusal) in failing {
            let (spy, handler) = (Spy::new(), Handler::default());
            let layer = IdempotencyLayer::new(spy.clone())
                .key_from(source.clone())
                .fingerprint(FingerprintPolicy::none());
            let shared = [Scope::shared(), Scope::shared().without_endpoint()];
            for scope in shared {
                send(&handler.at_once(&layer.clone().scope(scope)), request()).await;
            }
            let before = (handler.executions(), spy.verbs());

            for scope in [failing(), failing().without_endpoint()] {
                let layer = layer.clone().scope(scope);
                let answer = send(&handler.at_once(&layer), request()).await;
                refuses(&answer, refusal);
            }

            assert_eq!((handler.executions(), spy.verbs()), before);
            assert_eq!(before.0, 2);
        }
    }
}
