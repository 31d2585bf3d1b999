//! Uploads through a layer that only looks: whole, whatever a bound says.

use super::*;

fn trailers() -> HeaderMap {
    let name = http::HeaderName::from_static("x-checksum");
    HeaderMap::from_iter([(name, HeaderValue::from_static("7"))])
}

fn chunks() -> Frames {
    let data = ["ab", "cdef", "gh", "ij"].map(Step::Data);
    Frames::new(data.into_iter().chain([Step::Trailers(trailers())]))
}

/// Sends an upload; gives what the handler says of the size it is told, the body and its trailers.
async fn through<St: Store>(layer: &IdempotencyLayer<St>, body: Frames) -> String {
    let (service, _) = streaming(layer, |_, request| async move {
        let (hint, is_over) = (request.body().size_hint(), request.body().is_end_stream());
        let (lower, upper) = (hint.lower(), hint.upper());
        let body = request.into_body().collect().await.unwrap();
        let trailers = body.trailers().map_or(0, HeaderMap::len);
        let body = String::from_utf8(body.to_bytes().to_vec()).unwrap();
        let seen = format!("{lower} {upper:?} {is_over} {body} {trailers}");
        Response::new(Frames::new([Step::Data(seen.leak())]))
    });
    let answer = read(service.oneshot(upload("k", body)).await.unwrap()).await;
    assert_eq!(
        (answer.status.as_u16(), answer.outcome),
        (200, Outcome::Bypassed)
    );
    answer.text().to_owned()
}

#[tokio::test(start_paused = true)]
async fn an_upload_over_the_limit_streams_through_whole() {
    let heard = Heard::default();
    let layer = shadow(heard.of(IdempotencyLayer::default())).max_request_bytes(4);

    let undeclared = through(&layer, chunks()).await;
    assert_eq!(undeclared, "6 None false abcdefghij 1");
    assert_eq!(heard.told(), ["refused request_too_large"]);

    let declared = Frames::data(["abcdef"]).hint(6, Some(6));
    let polls = declared.polls();
    let declared = through(&layer, declared).await;
    assert_eq!(declared, "6 Some(6) false abcdef 0");
    assert_eq!(polls.load(Ordering::SeqCst), 2, "nobody else has read it");
    assert_eq!(heard.told(), ["refused request_too_large"]);
    assert!(layer.store().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_upload_over_the_limit_is_not_waited_for() {
    let layer = shadow(IdempotencyLayer::default()).max_request_bytes(4);
    let gate = Arc::new(tokio::sync::Notify::new());
    let (service, executions) = streaming(&layer, |_, request| async move {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "abcdefgh");
        Response::new(Frames::data(["seen"]))
    });
    let body = [
        Step::Data("abcdef"),
        Step::Gate(gate.clone()),
        Step::Data("gh"),
    ];

    let running = tokio::spawn(service.oneshot(upload("k", Frames::new(body))));
    settle().await;

    assert_eq!(executions.count(), 1, "it streams");
    gate.notify_one();
    let answer = read(running.await.unwrap().unwrap()).await;
    assert_eq!(answer.text(), "seen");
}

#[tokio::test(start_paused = true)]
async fn an_upload_beyond_the_bytes_of_all_streams_through_and_gives_its_share_back() {
    let heard = Heard::default();
    let acting = heard.of(IdempotencyLayer::default()).max_buffered_bytes(12);
    let layer = shadow(acting.clone());
    // Another request has eight of the twelve bytes.
    let gate = Arc::new(tokio::sync::Notify::new());
    let slow = Frames::new([Step::Data("12345678"), Step::Gate(gate.clone())]);
    let (service, _) = responding(&acting, |_| Response::new(Frames::empty()));
    let running = tokio::spawn(service.clone().oneshot(upload("slow", slow)));
    settle().await;

    let seen = through(&layer, chunks()).await;

    assert_eq!(seen, "6 None false abcdefghij 1");
    assert_eq!(heard.told(), ["refused idempotency_overloaded"]);
    gate.notify_one();
    read(running.await.unwrap().unwrap()).await;
    let whole = upload("k", Frames::data(["123456789012"]));
    let whole = read(service.oneshot(whole).await.unwrap()).await;
    assert_eq!(whole.status, 200, "every share has been given back");
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_breaks_is_the_only_thing_that_is_refused() {
    let (spy, heard) = (Spy::new(), Heard::default());
    let layer = shadow(heard.of(IdempotencyLayer::new(spy.clone())));
    let (service, executions) = responding(&layer, |_| Response::new(Frames::empty()));
    let broken = Frames::new([Step::Data("ab"), Step::Break("reset")]);

    let answer = read(service.clone().oneshot(upload("k", broken)).await.unwrap()).await;

    assert_eq!(
        (answer.status.as_u16(), answer.code()),
        (400, "request_body_unreadable".into())
    );
    assert_eq!((executions.count(), spy.verbs().len()), (0, 0));
    let event = heard.only();
    assert_eq!(event.refusal(), Some(RefusalCode::RequestBodyUnreadable));
    assert_eq!(event.mode(), Mode::Shadow);
    let again = upload("k", Frames::data(["ab"]));
    let again = read(service.oneshot(again).await.unwrap()).await;
    assert_eq!(again.status, 200);
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_breaks_beyond_the_limit_breaks_for_the_handler() {
    let layer = shadow(IdempotencyLayer::default()).max_request_bytes(4);
    let (service, executions) = streaming(&layer, |_, request| async move {
        let mut body = Box::pin(request.into_body());
        let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(data, "abcdef");
        assert!(body.frame().await.unwrap().is_err());
        Response::new(Frames::data(["seen"]))
    });
    let body = Frames::new([Step::Data("abcdef"), Step::Break("reset")]);

    let answer = read(service.oneshot(upload("k", body)).await.unwrap()).await;

    assert_eq!((answer.text(), executions.count()), ("seen", 1));
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_was_read_reaches_the_handler_whole_whatever_would_have_happened() {
    let heard = Heard::default();
    for layer in [
        IdempotencyLayer::default().fingerprint(FingerprintPolicy::with(|_, _| Err("no".into()))),
        IdempotencyLayer::default().scope(Scope::with(|_| Err("no".into()))),
        IdempotencyLayer::default().key_from(KeyFrom::json(["/id"])),
    ] {
        let seen = through(&shadow(heard.of(layer)), chunks()).await;
        assert!(seen.ends_with(" None false abcdefghij 1"), "{seen}");
    }

    let internal = "refused idempotency_internal";
    assert_eq!(
        heard.told(),
        [internal, internal, "refused idempotency_key_invalid"]
    );
}
