//! Bodies that are read for the key in them, and their bounds.

use super::*;

fn trailers() -> http::HeaderMap {
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-checksum", HeaderValue::from_static("7"));
    trailers
}

fn upload(steps: impl IntoIterator<Item = Step>) -> Request<Frames> {
    with(&[]).map(|_| Frames::new(steps))
}

/// Status, code and outcome of a request.
async fn ask(service: &Streamed, request: Request<Frames>) -> (u16, String, Outcome) {
    let response = service.clone().oneshot(request).await.unwrap();
    let answer = crate::support::read(response).await;
    (answer.status.as_u16(), answer.code(), answer.outcome)
}

#[tokio::test(start_paused = true)]
async fn without_a_key_the_body_goes_on_whole_with_its_trailers() {
    for source in [KeyFrom::json(["/id"]), KeyFrom::json(["/id", "/other"])] {
        let spy = Spy::new();
        let layer = IdempotencyLayer::new(spy.clone()).key_from(source);
        let (service, executions) = streaming(&layer, |_, request| async move {
            assert!(request.extensions().get::<Idempotency>().is_none());
            assert_eq!(request.headers()["content-length"], "28");
            assert!(!http_body::Body::is_end_stream(request.body()));
            let body = request.into_body().collect().await.unwrap();
            assert_eq!(body.trailers(), Some(&trailers()));
            assert_eq!(
                body.to_bytes(),
                r#"{"a": 1 ,"text":"caf\u00"#.to_owned() + "e9\"}"
            );
            http::Response::new(Frames::data(["1", "2"]).hint(2, Some(2)))
        });

        for _ in 0..2 {
            let mut request = upload([
                Step::Data(r#"{"a": 1"#),
                Step::Data(""),
                Step::Data(r#" ,"text":"caf\u00"#),
                Step::Data("e9\"}"),
                Step::Trailers(trailers()),
            ]);
            let length = HeaderValue::from_static("28");
            request.headers_mut().insert("content-length", length);

            let response = service.clone().oneshot(request).await.unwrap();

            assert_eq!(Outcome::of(response.extensions()), Outcome::Bypassed);
            let hint = http_body::Body::size_hint(response.body());
            assert_eq!(hint.exact(), Some(2), "the answer is not touched");
        }
        assert_eq!(executions.count(), 2);
        assert!(spy.verbs().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn with_a_key_the_handler_gets_the_bytes_and_trailers_that_were_sent() {
    let layer = IdempotencyLayer::default().key_from(KeyFrom::json(["/id"]));
    let (service, executions) = streaming(&layer, |_, request| async move {
        let body = request.into_body().collect().await.unwrap();
        assert_eq!(body.trailers(), Some(&trailers()));
        assert_eq!(body.to_bytes(), r#"{"id": "abc"}"#);
        http::Response::new(Frames::empty())
    });
    let sent = |cuts: &[&'static str]| {
        let mut steps: Vec<_> = cuts.iter().copied().map(Step::Data).collect();
        steps.push(Step::Trailers(trailers()));
        upload(steps)
    };

    let (_, _, first) = ask(&service, sent(&[r#"{"id": "abc"}"#])).await;
    let (_, _, second) = ask(&service, sent(&[r#"{"id": "#, "", r#""a"#, r#"bc"}"#])).await;

    assert_eq!((first, second), (EXECUTED, Outcome::Replayed));
    assert_eq!(executions.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_bound_of_a_body_holds_for_every_covered_request_with_a_key_or_without() {
    for source in [KeyFrom::json(["/id"]), KeyFrom::json(["/id", "/other"])] {
        let spy = Spy::new();
        let layer = IdempotencyLayer::new(spy.clone())
            .key_from(source)
            .max_request_bytes(20)
            .endpoints(["POST /charges"]);
        let (service, executions) = streaming(&layer, |_, request| async move {
            let body = request.into_body().collect().await.unwrap();
            http::Response::new(Frames::data([match body.to_bytes().len() {
                20 => "whole",
                _ => "large",
            }]))
        });
        let too_large = (413, "request_too_large".to_owned(), Outcome::Refused);

        for body in [
            r#"{"id":"abc", "n": 12}"#,
            r#"{"no":"key", "n": 12}"#,
            "no json at all.......",
        ] {
            let mut declared = upload([Step::Data(body)]);
            declared
                .headers_mut()
                .insert("content-length", HeaderValue::from_static("21"));
            for request in [upload([Step::Data(body)]), declared] {
                assert_eq!(ask(&service, request).await, too_large, "{body}");
            }
        }
        assert_eq!(executions.count(), 0);
        let fits = ask(&service, upload([Step::Data(r#"{"no":"key","n":123}"#)])).await;
        assert_eq!((fits.0, fits.2), (200, Outcome::Bypassed));
        let mut elsewhere = upload([Step::Data("no json at all.......")]);
        *elsewhere.uri_mut() = "/other".parse().unwrap();
        assert_eq!(ask(&service, elsewhere).await.2, Outcome::Bypassed);
        assert_eq!(executions.count(), 2);
        assert!(spy.verbs().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_says_it_is_too_large_is_not_read_for_its_key() {
    let layer = IdempotencyLayer::default()
        .key_from(KeyFrom::json(["/id"]))
        .max_request_bytes(5);
    let (service, executions) = streaming(&layer, |_, _| async {
        http::Response::new(Frames::empty())
    });
    let body = Frames::data([r#"{"id":"abc"}"#]).hint(12, Some(12));
    let polls = body.polls();

    let (status, code, _) = ask(&service, with(&[]).map(|_| body)).await;

    assert_eq!((status, code.as_str()), (413, "request_too_large"));
    assert_eq!(polls.load(Ordering::SeqCst), 0);
    assert_eq!(executions.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_breaks_off_claims_nothing_whatever_had_arrived_of_it() {
    let spy = Spy::new();
    let layer = IdempotencyLayer::new(spy.clone()).key_from(KeyFrom::json(["/id"]));
    let (service, executions) = streaming(&layer, |_, _| async {
        http::Response::new(Frames::empty())
    });
    let unreadable = (400, "request_body_unreadable".to_owned(), Outcome::Refused);

    for arrived in [r#"{"id":"abc"}"#, r#"{"id":"abc""#, r#"{"a":1}"#, ""] {
        let broken = upload([Step::Data(arrived), Step::Break("reset")]);
        assert_eq!(ask(&service, broken).await, unreadable, "{arrived}");
    }
    assert!(spy.verbs().is_empty());
    assert_eq!(executions.count(), 0);
    let whole = ask(&service, upload([Step::Data(r#"{"id":"abc"}"#)])).await;
    assert_eq!(whole.2, EXECUTED);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_while_its_key_is_looked_for_has_claimed_nothing() {
    let spy = Spy::new();
    let layer = IdempotencyLayer::new(spy.clone()).key_from(KeyFrom::json(["/id"]));
    let (service, executions) = streaming(&layer, |_, _| async {
        http::Response::new(Frames::empty())
    });
    let gate = Arc::default();
    let steps = [Step::Data(r#"{"id":"abc"}"#), Step::Gate(Arc::clone(&gate))];
    let uploading = tokio::spawn(service.oneshot(upload(steps)));
    settle().await;

    uploading.abort();
    settle().await;
    gate.notify_one();
    settle().await;

    assert!(spy.verbs().is_empty());
    assert_eq!(executions.count(), 0);
    assert_eq!(layer.drain(std::time::Duration::ZERO).await.left, 0);
}

#[tokio::test(start_paused = true)]
async fn bodies_without_a_key_share_the_bound_of_all_and_give_it_back() {
    let layer = IdempotencyLayer::default()
        .key_from(KeyFrom::json(["/id"]))
        .max_buffered_bytes(10);
    let (service, executions) = streaming(&layer, |_, _| async {
        http::Response::new(Frames::empty())
    });
    let gate = Arc::default();
    let slow = upload([
        Step::Data("[1234"),
        Step::Gate(Arc::clone(&gate)),
        Step::Data("]"),
    ]);
    let uploading = tokio::spawn(service.clone().oneshot(slow));
    settle().await;

    let over = ask(&service, upload([Step::Data("[12345]")])).await;
    gate.notify_one();
    uploading.await.unwrap().unwrap();

    assert_eq!((over.0, over.1.as_str()), (503, "idempotency_overloaded"));
    for _ in 0..3 {
        let fits = ask(&service, upload([Step::Data("[12345678]")])).await;
        assert_eq!((fits.0, fits.2), (200, Outcome::Bypassed));
    }
    assert_eq!(executions.count(), 4);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_covered_is_not_read() {
    let layer = IdempotencyLayer::default()
        .key_from(KeyFrom::json(["/id"]))
        .max_request_bytes(1);
    let (service, _) = streaming(&layer, |_, request| async move {
        let mut body = Box::pin(request.into_body());
        let first = body.frame().await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "not json");
        assert!(body.frame().await.unwrap().is_err());
        http::Response::new(Frames::empty())
    });
    let mut request = upload([Step::Data("not json"), Step::Break("reset")]);
    *request.method_mut() = Method::PUT;

    assert_eq!(ask(&service, request).await.2, Outcome::Bypassed);
}
