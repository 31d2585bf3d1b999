//! Whose key it is.

use super::*;

#[tokio::test(start_paused = true)]
async fn principals_never_see_each_others_records() {
    let (_, handler, service) = spied();
    let principals: [&[(&str, &str)]; 9] = [
        &[],
        &[("authorization", "Bearer alice")],
        &[("authorization", "Bearer bob")],
        &[("authorization", "Basic alice")],
        &[("x-api-key", "alice")],
        &[("x-api-key", "bob")],
        &[("x-api-key", "alice"), ("x-api-key", "bob")],
        &[("x-api-key", "alice, bob")],
        &[("authorization", "Bearer alice"), ("x-api-key", "alice")],
    ];

    for (number, principal) in principals.iter().enumerate() {
        let answer = send(&service, text(PATH, principal, "x")).await;
        assert_eq!(answer.text(), format!("execution {}", number + 1));
    }
    for (number, principal) in principals.iter().enumerate() {
        let answer = send(&service, text(PATH, principal, "x")).await;
        assert!(answer.is_replay());
        assert_eq!(answer.text(), format!("execution {}", number + 1));
    }
    assert_eq!(handler.executions(), 9);
}

#[tokio::test(start_paused = true)]
async fn another_principal_learns_nothing_of_a_key_that_is_taken() {
    let handler = Handler::default();
    let layer = IdempotencyLayer::default();
    let service = handler.held(&layer);
    let of_alice = text(PATH, &[("x-api-key", "alice")], "x");
    let running = tokio::spawn(service.clone().oneshot(of_alice));
    settle().await;

    let of_bob = text(PATH, &[("x-api-key", "bob")], "another body");
    let bobs = tokio::spawn(service.clone().oneshot(of_bob));
    settle().await;
    handler.open();
    handler.open();
    settle().await;
    handler.open();

    assert_eq!(bobs.await.unwrap().unwrap().status(), 201);
    assert_eq!(running.await.unwrap().unwrap().status(), 201);
    assert_eq!(handler.executions(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_the_scope_cannot_read_is_an_error_of_the_service() {
    let (spy, handler, service) = spied();

    for (name, value) in [
        ("cookie", "session=1"),
        ("authorization", "Signature keyId=1"),
        ("authorization", "AWS4-HMAC-SHA256 Credential=1"),
        ("authorization", "Bearerx"),
        ("authorization", ""),
    ] {
        let answer = send(&service, text(PATH, &[(name, value)], "x")).await;
        refuses(&answer, SCOPE_UNRESOLVED);
        assert_eq!(answer.outcome, Outcome::Refused);
    }
    assert_eq!(handler.executions(), 0);
    assert!(spy.verbs().is_empty());
    let beside = text(
        PATH,
        &[("cookie", "session=1"), ("x-api-key", "alice")],
        "x",
    );
    assert_eq!(send(&service, beside).await.status, 201);
}

#[tokio::test(start_paused = true)]
async fn an_empty_credential_is_one_that_the_scope_cannot_read() {
    let (spy, handler, service) = spied();
    let empty = [
        ("x-api-key", ""),
        ("x-api-key", " \t"),
        ("authorization", "Bearer"),
        ("authorization", "bearer "),
        ("authorization", "Basic"),
        ("authorization", "Basic  \t"),
    ];
    let cookie = ("cookie", "session=1");

    for (number, credential) in empty.into_iter().enumerate() {
        let others = [credential, empty[(number + 1) % empty.len()]];
        for headers in [&[credential][..], &[credential, cookie], &others] {
            let answer = send(&service, text(PATH, headers, "x")).await;
            refuses(&answer, SCOPE_UNRESOLVED);
            assert_eq!(answer.outcome, Outcome::Refused);
        }
    }

    assert_eq!(handler.executions(), 0);
    assert!(spy.verbs().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_empty_credential_beside_a_real_one_does_not_matter() {
    let (_, handler, service) = spied();
    let real = [("authorization", "Bearer alice"), ("x-api-key", "alice")];
    for credential in real {
        send(&service, text(PATH, &[credential], "x")).await;
    }

    for (number, credential) in real.into_iter().enumerate() {
        for empty in [
            ("x-api-key", ""),
            ("authorization", "Bearer"),
            ("authorization", ""),
        ] {
            for headers in [[credential, empty], [empty, credential]] {
                let answer = send(&service, text(PATH, &headers, "x")).await;
                assert!(answer.is_replay(), "{headers:?}");
                assert_eq!(answer.text(), format!("execution {}", number + 1));
            }
        }
    }
    assert_eq!(handler.executions(), 2);
}

#[derive(Clone)]
struct User(&'static str);

fn by(user: &'static str, mut request: Request<Body>) -> Request<Body> {
    request.extensions_mut().insert(User(user));
    request
}

#[tokio::test(start_paused = true)]
async fn a_scope_by_extension_takes_the_user_and_not_the_token() {
    let (spy, handler) = (Spy::new(), Handler::default());
    let layer =
        IdempotencyLayer::new(spy.clone()).scope(Scope::extension(|user: &User| user.0.to_owned()));
    let service = handler.at_once(&layer);
    let with_token = |token| text(PATH, &[("authorization", token)], "x");

    refuses(
        &send(&service, with_token("Bearer 1")).await,
        SCOPE_UNRESOLVED,
    );
    refuses(
        &send(&service, by("", with_token("Bearer 1"))).await,
        SCOPE_UNRESOLVED,
    );
    assert!(spy.verbs().is_empty());
    send(&service, by("alice", with_token("Bearer 1"))).await;

    assert!(
        send(&service, by("alice", with_token("Bearer refreshed")))
            .await
            .is_replay()
    );
    assert!(
        !send(&service, by("bob", with_token("Bearer 1")))
            .await
            .is_replay()
    );
    assert_eq!(handler.executions(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_scope_that_fails_or_panics_refuses_and_claims_nothing() {
    for scope in [
        Scope::with(|_| Err("no user".into())),
        Scope::with(|_| panic!("a scope that panics")),
        Scope::extension(|_: &User| -> String { panic!("a scope that panics") }),
    ] {
        let (spy, handler) = (Spy::new(), Handler::default());
        let service = handler.at_once(&IdempotencyLayer::new(spy.clone()).scope(scope));

        let answer = send(&service, by("alice", keyed("k", "x"))).await;

        refuses(&answer, INTERNAL);
        assert_eq!(answer.outcome, Outcome::Refused);
        assert_eq!(handler.executions(), 0);
        assert!(spy.verbs().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_shared_scope_is_one_for_everyone() {
    let handler = Handler::default();
    let service = handler.at_once(&IdempotencyLayer::default().scope(Scope::shared()));
    send(&service, text(PATH, &[("cookie", "a=1")], "x")).await;

    let other = text(PATH, &[("authorization", "Bearer bob")], "x");

    assert!(send(&service, other).await.is_replay());
}

#[tokio::test(start_paused = true)]
async fn no_shift_of_characters_between_scope_and_key_makes_two_requests_one() {
    let handler = Handler::default();
    let layer =
        IdempotencyLayer::default().scope(Scope::extension(|user: &User| user.0.to_owned()));
    let service = handler.at_once(&layer);

    send(&service, by("a:b", keyed("c", "x"))).await;
    let shifted = send(&service, by("a", keyed("b:c", "x"))).await;

    assert!(!shifted.is_replay());
    assert_eq!(handler.executions(), 2);
}

#[tokio::test(start_paused = true)]
async fn namespaces_are_apart_on_one_store() {
    let (spy, handler) = (Spy::new(), Handler::default());
    let layer = IdempotencyLayer::new(spy.clone());
    let (payments, refunds) = (
        layer.clone().namespace("payments"),
        layer.namespace("refunds"),
    );

    for layer in [&payments, &refunds] {
        assert!(
            !send(&handler.at_once(layer), keyed("k", "x"))
                .await
                .is_replay()
        );
    }
    assert!(
        send(&handler.at_once(&payments), keyed("k", "x"))
            .await
            .is_replay()
    );
    assert_eq!(handler.executions(), 2);
}
