//! What a layer covers, and several of them.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_is_not_listed_passes_through_untouched() {
    let (spy, handler) = (Spy::new(), Handler::default());
    let layer = IdempotencyLayer::new(spy.clone())
        .require_key(true)
        .endpoints([
            "POST /charges",
            "PUT /charges/{id}",
            "POST /refunds/{id}/test",
        ]);
    let service = handler.answering(&layer, |request| {
        let is_guarded = request.extensions().get::<Idempotency>().is_some();
        let mut response = created(if is_guarded { "guarded" } else { "passed" });
        response
            .headers_mut()
            .insert("idempotent-replayed", HeaderValue::from_static("upstream"));
        std::future::ready(response)
    });

    for (method, path, guarded) in [
        (Method::POST, "/charges", true),
        (Method::POST, "/charges?a=1", true),
        (Method::PUT, "/charges/7", true),
        (Method::POST, "/refunds/7/test", true),
        (Method::POST, "/charges/", false),
        (Method::POST, "/charges/7", false),
        (Method::PUT, "/charges", false),
        (Method::PATCH, "/charges/7", false),
        (Method::POST, "/refunds/7", false),
        (Method::POST, "/other", false),
        (Method::GET, "/charges", false),
    ] {
        let key = if path.contains('?') {
            "with-query"
        } else {
            "k"
        };
        let mut request = post(path, &[("idempotency-key", key)], "x");
        *request.method_mut() = method.clone();
        let answer = send(&service, request).await;
        assert_eq!(answer.text() == "guarded", guarded, "{method} {path}");
        assert_eq!(answer.outcome == Outcome::Bypassed, !guarded);
        assert_eq!(answer.header("idempotent-replayed").is_some(), !guarded);
    }
    assert_eq!(spy.claims().len(), 4);
    let mut unkeyed = post("/other", &[("idempotency-key", "not valid")], "x");
    unkeyed
        .headers_mut()
        .append("idempotency-key", HeaderValue::from_static("twice"));
    assert_eq!(send(&service, unkeyed).await.text(), "passed");
}

#[tokio::test(start_paused = true)]
async fn a_method_that_is_not_covered_passes_through() {
    let handler = Handler::default();
    let layer =
        IdempotencyLayer::default().methods([Method::PATCH, Method::from_bytes(b"QUERY").unwrap()]);
    let service = handler.at_once(&layer);

    for (method, outcome) in [
        ("PATCH", Outcome::Executed { recorded: true }),
        ("QUERY", Outcome::Executed { recorded: true }),
        ("POST", Outcome::Bypassed),
        ("PUT", Outcome::Bypassed),
        ("DELETE", Outcome::Bypassed),
        ("CONNECT", Outcome::Bypassed),
    ] {
        let mut request = keyed("k", "x");
        *request.method_mut() = method.parse().unwrap();
        assert_eq!(send(&service, request).await.outcome, outcome, "{method}");
    }
}

/// A handler behind two layers.
fn nested<A: Store, B: Store>(
    outer: &IdempotencyLayer<A>,
    inner: &IdempotencyLayer<B>,
) -> (Nested, Executions) {
    let executions = Executions::default();
    let counted = executions.clone();
    let innermost = service_fn(move |request: Request<RequestBody<RequestBody<Body>>>| {
        let number = counted.begin();
        let attempt = request.extensions().get().map_or(0, Idempotency::attempt);
        std::future::ready(Ok(created(&format!(
            "execution {number}, attempt {attempt}"
        ))))
    });
    (
        outer.layer(inner.layer(innermost)).boxed_clone(),
        executions,
    )
}

type Nested =
    BoxCloneService<Request<Body>, Response<ResponseBody<ResponseBody<Body>>>, Infallible>;

#[tokio::test(start_paused = true)]
async fn a_layer_applied_twice_acts_once() {
    let (outer_store, other_store) = (Spy::new(), Spy::new());
    let outer = IdempotencyLayer::new(outer_store.clone());

    for (key, inner_store) in [("a", &outer_store), ("b", &other_store)] {
        let inner = IdempotencyLayer::new(inner_store.clone()).require_key(true);
        let (service, executions) = nested(&outer, &inner);

        let first = send(&service, keyed(key, "x")).await;
        let second = send(&service, keyed(key, "x")).await;

        assert_eq!(first.text(), "execution 1, attempt 1");
        assert_eq!(first.outcome, Outcome::Executed { recorded: true });
        assert!(second.is_replay());
        assert_eq!(executions.count(), 1);
    }
    assert_eq!(
        outer_store.verbs(),
        ["claim", "complete", "claim"].repeat(2)
    );
    assert!(other_store.verbs().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_outer_layer_that_does_not_cover_leaves_the_request_to_the_inner_one() {
    let (outer_store, inner_store) = (Spy::new(), Spy::new());
    let outer = IdempotencyLayer::new(outer_store.clone()).endpoints(["POST /other"]);
    let inner = IdempotencyLayer::new(inner_store.clone()).require_key(true);
    let (service, executions) = nested(&outer, &inner);

    let first = send(&service, keyed("k", "x")).await;
    let second = send(&service, keyed("k", "x")).await;
    let unkeyed = send(&service, post(PATH, &[], "x")).await;
    let listed = send(&service, post("/other", &[], "x")).await;

    assert_eq!(first.outcome, Outcome::Executed { recorded: true });
    assert!(second.is_replay());
    // The outer layer covers it and needs no key; the inner one does.
    refuses(&listed, KEY_MISSING);
    refuses(&unkeyed, KEY_MISSING);
    assert_eq!(executions.count(), 1);
    assert!(outer_store.verbs().is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_store_behind_two_layers_is_one_truth() {
    let spy = Spy::new();
    let handler = Handler::default();
    let one = handler.held(&IdempotencyLayer::new(spy.clone()));
    let other = handler.at_once(&IdempotencyLayer::new(spy.clone()).boxed());
    let running = tokio::spawn(one.oneshot(keyed("k", "x")));
    settle().await;

    let meanwhile = send(&other, keyed("k", "x")).await;
    handler.open();
    running.await.unwrap().unwrap();

    assert_eq!(meanwhile.outcome, Outcome::InProgress);
    assert!(send(&other, keyed("k", "x")).await.is_replay());
    assert_eq!(
        send(&other, keyed("k", "y")).await.outcome,
        Outcome::Mismatch
    );
    assert_eq!(handler.executions(), 1);
}
