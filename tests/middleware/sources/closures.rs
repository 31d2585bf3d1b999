//! Keys that a closure finds in the head of a request.

use super::*;

fn in_the_path() -> KeyFrom {
    KeyFrom::with(|parts| Some(parts.uri.path().strip_prefix("/orders/")?.to_owned()))
}

fn to(path: &str) -> Request<Body> {
    let mut request = with(&[]);
    *request.uri_mut() = path.parse().unwrap();
    request
}

#[tokio::test(start_paused = true)]
async fn what_a_closure_finds_is_the_key() {
    let world = World::from(in_the_path());

    let first = world.key(to("/orders/7")).await;
    let second = world.key(to("/orders/7")).await;
    let other = world.key(to("/orders/8?a=1")).await;

    assert_eq!(first, (EXECUTED, "7".to_owned()));
    assert_eq!(second, (Outcome::Replayed, "7".to_owned()));
    assert_eq!(other, (EXECUTED, "8".to_owned()));
    let record = world.layer.record_key(b"", &Method::POST, "/orders/7", "7");
    assert_eq!(world.records()[..2], [record, record]);
}

#[tokio::test(start_paused = true)]
async fn a_closure_sees_headers_and_extensions_and_not_the_body() {
    #[derive(Clone)]
    struct Event(u32);
    let world = World::from(KeyFrom::with(|parts| {
        let Event(number) = parts.extensions.get()?;
        let topic = parts.headers.get("x-topic")?.to_str().ok()?;
        Some(format!("{topic}/{number}"))
    }));
    let mut request = with(&[("x-topic", "orders")]);
    request.extensions_mut().insert(Event(7));

    let found = world.key(request).await;

    assert_eq!(found, (EXECUTED, "orders/7".to_owned()));
    world.passes(with(&[("x-topic", "orders")])).await;
}

#[tokio::test(start_paused = true)]
async fn where_a_closure_finds_nothing_there_is_no_key() {
    let world = World::from(in_the_path());

    for headers in [
        &[][..],
        &[("idempotency-key", "k")],
        &[("idempotency-key", "not valid")],
    ] {
        world.passes(with(headers)).await;
    }
    let required = World::new(|layer| layer.key_from(in_the_path()).require_key(true));
    required
        .refuses(
            with(&[("idempotency-key", "k")]),
            400,
            "idempotency_key_missing",
        )
        .await;
    assert_eq!(required.ask(to("/orders/7")).await.outcome, EXECUTED);
}

#[tokio::test(start_paused = true)]
async fn what_a_closure_finds_is_held_to_the_policy() {
    let world = World::from(KeyFrom::with(|parts| {
        Some(parts.headers.get("x-key")?.to_str().ok()?.to_owned())
    }));
    let long = "a".repeat(256);

    for wrong in ["", "a b", " a", &long] {
        let source = wrong.to_owned();
        let world = World::from(KeyFrom::with(move |_| Some(source.clone())));
        world.refuses_the_key(with(&[])).await;
    }
    for not_ascii in ["é", "a\u{0}b", "a\nb"] {
        let world = World::from(KeyFrom::with(move |_| Some(not_ascii.to_owned())));
        world.refuses_the_key(with(&[])).await;
    }
    // Nothing is unquoted, and a comma is one character of many.
    for literal in ["\"abc\"", "a,b", "\"", "abc;v=1"] {
        let found = world.key(with(&[("x-key", literal)])).await;
        assert_eq!(found, (EXECUTED, literal.to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn strictness_is_about_headers_and_a_uuid_is_folded_wherever_it_stands() {
    let upper = UUID.to_uppercase();
    let world = World::new(|layer| {
        let source =
            KeyFrom::with(|parts| Some(parts.headers.get("x-key")?.to_str().ok()?.to_owned()));
        layer.key_from(source).key(KeyPolicy::uuid().strict())
    });

    let found = world.key(with(&[("x-key", &upper)])).await;

    assert_eq!(found, (EXECUTED, UUID.to_owned()));
    assert!(world.ask(with(&[("x-key", UUID)])).await.is_replay());
    world.refuses_the_key(with(&[("x-key", "abc")])).await;
}

#[tokio::test(start_paused = true)]
async fn a_closure_that_panics_is_an_error_of_the_service_and_claims_nothing() {
    for source in [
        KeyFrom::with(|_| panic!("a closure that panics")),
        KeyFrom::with(|_| std::panic::panic_any(7)),
        KeyFrom::with(|parts| Some(parts.headers["x-missing"].to_str().unwrap().to_owned())),
    ] {
        for required in [false, true] {
            let world = World::new(|layer| layer.key_from(source.clone()).require_key(required));
            let request = with(&[("idempotency-key", "k")]);
            world.refuses(request, 500, "idempotency_internal").await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_closure_is_asked_once_for_each_request_that_is_covered_and_for_no_other() {
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let world = World::new(|layer| {
        layer
            .endpoints(["POST /charges"])
            .key_from(KeyFrom::with(move |_| {
                count.fetch_add(1, Ordering::SeqCst);
                Some("k".to_owned())
            }))
    });

    world.ask(with(&[])).await;
    world.ask(with(&[])).await;
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    world.passes(to("/other")).await;
    let mut get = with(&[]);
    *get.method_mut() = Method::GET;
    world.passes(get).await;

    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn the_body_of_a_request_in_whose_head_no_key_is_found_is_not_touched() {
    let layer = IdempotencyLayer::default()
        .key_from(in_the_path())
        .max_request_bytes(1);
    let (service, executions) = streaming(&layer, |_, request| async move {
        assert!(!http_body::Body::is_end_stream(request.body()));
        let mut body = Box::pin(request.into_body());
        for expected in ["abc", "def"] {
            let frame = body.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), expected);
        }
        assert!(body.frame().await.unwrap().is_err());
        http::Response::new(Frames::empty())
    });
    let steps = [Step::Data("abc"), Step::Data("def"), Step::Break("reset")];
    let request = with(&[]).map(|_| Frames::new(steps));

    let response = service.oneshot(request).await.unwrap();

    assert_eq!(Outcome::of(response.extensions()), Outcome::Bypassed);
    assert_eq!(executions.count(), 1);
}
