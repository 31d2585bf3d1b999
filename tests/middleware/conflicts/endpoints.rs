//! One key for all endpoints, and what is apart all the same.

use http::HeaderName;
use tower_idempotency::FingerprintPolicy;

use super::*;

#[derive(Clone)]
struct User(&'static str);

fn request(method: Method, path: &str, tenant: &'static str) -> Request<Body> {
    let mut request = text(path, &[("x-api-key", tenant), ("x-tenant", tenant)], "x");
    *request.method_mut() = method;
    request.extensions_mut().insert(User(tenant));
    request
}

fn scopes() -> [Scope; 5] {
    [
        Scope::credentials(),
        Scope::shared(),
        Scope::headers([HeaderName::from_static("x-tenant")]),
        Scope::extension(|user: &User| user.0.to_owned()),
        Scope::with(|parts| Ok(parts.headers["x-tenant"].as_bytes().to_vec())),
    ]
}

fn covering(scope: Scope) -> (Handler, IdempotencyLayer) {
    let layer = IdempotencyLayer::default().scope(scope).methods([
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
    ]);
    (Handler::default(), layer)
}

#[tokio::test(start_paused = true)]
async fn without_the_endpoint_another_path_or_method_under_a_key_is_a_mismatch() {
    for scope in scopes() {
        let (handler, layer) = covering(scope.without_endpoint());
        let service = handler.at_once(&layer);
        send(&service, request(Method::PATCH, PATH, "a")).await;

        for other in [
            request(Method::POST, PATH, "a"),
            request(Method::PUT, PATH, "a"),
            request(Method::DELETE, PATH, "a"),
            request(Method::PATCH, "/refunds", "a"),
            request(Method::PATCH, "/charges/", "a"),
            request(Method::PATCH, "/", "a"),
            request(Method::PATCH, "/charges?a=1", "a"),
        ] {
            let answer = send(&service, other).await;
            refuses(&answer, MISMATCH);
            assert_eq!(answer.outcome, Outcome::Mismatch);
        }
        let again = send(&service, request(Method::PATCH, PATH, "a")).await;
        assert!(again.is_replay());
        assert_eq!(handler.executions(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn by_default_the_same_key_at_another_path_or_method_is_another_record() {
    for scope in scopes() {
        let (handler, layer) = covering(scope);
        let service = handler.at_once(&layer);

        for (number, (method, path)) in [
            (Method::PATCH, PATH),
            (Method::POST, PATH),
            (Method::PATCH, "/refunds"),
        ]
        .into_iter()
        .enumerate()
        {
            let answer = send(&service, request(method, path, "a")).await;
            assert_eq!(answer.text(), format!("execution {}", number + 1));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn where_nothing_else_counts_a_key_without_its_endpoint_is_replayed_everywhere() {
    for scope in scopes() {
        let (handler, layer) = covering(scope.without_endpoint());
        let layer = layer.fingerprint(FingerprintPolicy::none());
        let service = handler.at_once(&layer);
        send(&service, request(Method::PATCH, PATH, "a")).await;

        for (method, path) in [(Method::POST, PATH), (Method::PATCH, "/refunds?a=1")] {
            let answer = send(&service, request(method, path, "a")).await;
            assert!(answer.is_replay());
        }
        assert_eq!(handler.executions(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_runs_at_one_endpoint_is_a_mismatch_at_another_at_once() {
    let handler = Handler::default();
    let layer = IdempotencyLayer::default()
        .scope(Scope::shared().without_endpoint())
        .in_flight(InFlight::wait(Duration::from_secs(60)));
    let service = handler.held(&layer);
    let running = tokio::spawn(service.clone().oneshot(text(PATH, &[], "x")));
    settle().await;
    let start = tokio::time::Instant::now();

    let answer = send(&service, text("/refunds", &[], "x")).await;

    refuses(&answer, MISMATCH);
    assert_eq!(start.elapsed(), Duration::ZERO);
    handler.open();
    assert_eq!(running.await.unwrap().unwrap().status(), 201);
}

#[tokio::test(start_paused = true)]
async fn without_the_endpoint_senders_and_namespaces_are_apart_all_the_same() {
    for scope in scopes() {
        let is_shared = format!("{scope:?}") == "Scope::shared()";
        let (handler, layer) = covering(scope.without_endpoint());
        let layers = ["payments", "refunds"].map(|name| layer.clone().namespace(name));

        for replayed in [false, true] {
            for layer in &layers {
                for tenant in ["a", "b"] {
                    let service = handler.at_once(layer);
                    let answer = send(&service, request(Method::POST, PATH, tenant)).await;
                    let is_same = replayed || is_shared && tenant == "b";
                    assert_eq!(answer.is_replay(), is_same);
                }
            }
        }
        assert_eq!(handler.executions(), if is_shared { 2 } else { 4 });
    }
}

#[tokio::test(start_paused = true)]
async fn no_shift_between_namespace_sender_endpoint_and_key_makes_two_requests_one() {
    let (spy, handler) = (Spy::new(), Handler::default());
    let by_tenant = Scope::with(|parts| Ok(parts.headers["x-tenant"].as_bytes().to_vec()));
    let layer = IdempotencyLayer::new(spy.clone()).fingerprint(FingerprintPolicy::none());
    let mut sent = 0;
    for scope in [by_tenant.clone(), by_tenant.without_endpoint()] {
        for (namespace, tenant, path, key) in [
            ("", "a:b", "/p", "c"),
            ("", "a", "/p", "b:c"),
            ("a", "b", "/p", "c"),
            ("a:b", "c", "/p", "k"),
            ("a", "b:c", "/p", "k"),
            ("", "a", "/pb", "c"),
            ("", "a/p", "/b", "c"),
            ("", "aPOST", "/p", "c"),
        ] {
            let layer = layer.clone().scope(scope.clone()).namespace(namespace);
            let request = post(path, &[("x-tenant", tenant), ("idempotency-key", key)], "x");

            let answer = send(&handler.at_once(&layer), request).await;

            sent += 1;
            let told = format!("{namespace} {tenant} {path} {key}");
            assert_eq!(answer.text(), format!("execution {sent}"), "{told}");
        }
    }
}
