//! Request bodies.

use super::*;

#[tokio::test(start_paused = true)]
async fn how_a_request_body_is_cut_into_frames_does_not_matter() {
    let layer = IdempotencyLayer::default();
    let (service, executions) = responding(&layer, |_| Response::new(Frames::data(["ok"])));
    let late = Frames::new([Step::Data("abcd"), Step::Wait(SECOND), Step::Data("ef")]);
    let sized = Frames::data(["abcdef"]).hint(6, Some(6));

    ask(&service, upload("k", Frames::data(["abcdef"]))).await;
    for body in [
        Frames::data(["a", "b", "c", "d", "e", "f"]),
        Frames::data(["", "abc", "", "def", ""]),
        late,
        sized,
    ] {
        assert!(ask(&service, upload("k", body)).await.is_replay());
    }

    let other = ask(&service, upload("k", Frames::data(["abcde", ""]))).await;
    assert_eq!(other.outcome, Outcome::Mismatch);
    assert_eq!(executions.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_absent_body_is_an_empty_one() {
    let layer = IdempotencyLayer::default();
    let (service, executions) = responding(&layer, |_| Response::new(Frames::empty()));
    let mut told = upload("k", Frames::empty());
    told.headers_mut()
        .insert("content-length", HeaderValue::from_static("0"));

    retry(&service).await;

    assert!(ask(&service, told).await.is_replay());
    assert!(
        ask(&service, upload("k", Frames::data([""])))
            .await
            .is_replay()
    );
    assert_eq!(executions.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_handler_gets_exactly_the_bytes_and_trailers_that_were_sent() {
    let layer = IdempotencyLayer::default();
    let (service, _) = streaming(&layer, |_, request| async move {
        let (hint, length) = (
            request.body().size_hint(),
            request.headers().get("content-length").cloned(),
        );
        let is_over = request.body().is_end_stream();
        let body = request.into_body().collect().await.unwrap();
        assert_eq!(body.trailers(), Some(&trailers()));
        assert_eq!(body.to_bytes(), "abcdef");
        assert_eq!((hint.lower(), hint.exact()), (6, None), "trailers follow");
        assert_eq!(length.unwrap(), "6");
        assert!(!is_over);
        Response::new(Frames::data(["seen"]))
    });
    let body = [
        Step::Data("ab"),
        Step::Data("cdef"),
        Step::Trailers(trailers()),
    ];
    let mut request = upload("k", Frames::new(body));
    request
        .headers_mut()
        .insert("content-length", HeaderValue::from_static("6"));

    assert_eq!(ask(&service, request).await.text(), "seen");
}

#[tokio::test(start_paused = true)]
async fn the_size_of_a_request_is_exact_where_no_trailers_follow() {
    for (steps, size, exact) in [
        (vec![Step::Data("ab"), Step::Data("cdef")], 6, true),
        (vec![], 0, true),
        (
            vec![Step::Data("abc"), Step::Trailers(trailers())],
            3,
            false,
        ),
        (vec![Step::Trailers(trailers())], 0, false),
    ] {
        let layer = IdempotencyLayer::default();
        let (service, _) = streaming(&layer, move |_, request| async move {
            let (hint, is_over) = (request.body().size_hint(), request.body().is_end_stream());
            assert_eq!((hint.lower(), hint.exact()), (size, exact.then_some(size)));
            assert_eq!(is_over, exact && size == 0);
            let body = request.into_body().collect().await.unwrap();
            assert_eq!(body.trailers().is_none(), exact);
            assert_eq!(body.to_bytes().len() as u64, size);
            Response::new(Frames::data(["seen"]))
        });

        let answer = ask(&service, upload("k", Frames::new(steps))).await;

        assert_eq!(answer.text(), "seen");
    }
}

#[tokio::test(start_paused = true)]
async fn what_authentication_has_put_into_the_request_reaches_the_handler() {
    #[derive(Clone)]
    struct User(u32);
    let layer = IdempotencyLayer::default();
    let (service, _) = streaming(&layer, |_, request| {
        assert_eq!(request.extensions().get::<User>().unwrap().0, 7);
        assert_eq!(request.version(), http::Version::HTTP_2);
        assert_eq!(request.headers()["idempotency-key"], "\"k\"");
        let key = request.extensions().get::<Idempotency>().unwrap().key();
        assert_eq!(key.as_str(), "k");
        std::future::ready(Response::new(Frames::data(["seen"])))
    });
    let mut request = upload("\"k\"", Frames::empty());
    request.extensions_mut().insert(User(7));
    *request.version_mut() = http::Version::HTTP_2;

    assert_eq!(ask(&service, request).await.text(), "seen");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_says_it_is_too_large_is_refused_unread() {
    let spy = Spy::new();
    let layer = IdempotencyLayer::new(spy.clone()).max_request_bytes(5);
    let (service, executions) = responding(&layer, |_| Response::new(Frames::empty()));
    let mut declared = upload("k", Frames::data(["123456"]));
    declared
        .headers_mut()
        .insert("content-length", HeaderValue::from_static("6"));
    let hinted = upload("k", Frames::data(["123456"]).hint(6, None));

    for request in [declared, hinted] {
        let polls = request.body().polls();
        let answer = ask(&service, request).await;
        assert_eq!(answer.status, 413);
        assert_eq!(
            answer.text(),
            r#"{"error":"request_too_large","detail":"The request body is too large.","status_code":413}"#
        );
        assert_eq!(answer.outcome, Outcome::Refused);
        assert_eq!(polls.load(Ordering::SeqCst), 0);
    }
    assert_eq!(executions.count(), 0);
    assert!(spy.verbs().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_turns_out_too_large_is_refused_and_one_at_the_limit_is_not() {
    let spy = Spy::new();
    let layer = IdempotencyLayer::new(spy.clone()).max_request_bytes(5);
    let (service, executions) = responding(&layer, |_| Response::new(Frames::empty()));
    let frames = [Step::Data("123"), Step::Data("456"), Step::Panic("read on")];
    let mut lying = upload("k", Frames::data(["123456"]));
    lying
        .headers_mut()
        .insert("content-length", HeaderValue::from_static("3"));

    for request in [upload("k", Frames::new(frames)), lying] {
        assert_eq!(ask(&service, request).await.code(), "request_too_large");
    }
    assert!(spy.verbs().is_empty());
    let fits = ask(&service, upload("k", Frames::data(["123", "45"]))).await;

    assert_eq!(fits.status, 200);
    assert_eq!(executions.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_default_limit_of_a_request_is_two_mebibytes() {
    let handler = Handler::default();
    let service = handler.at_once(&IdempotencyLayer::default());
    let sized = |length: usize| keyed("k", "").map(|_| Bytes::from(vec![7; length]).into());

    assert_eq!(send(&service, sized((2 << 20) + 1)).await.status, 413);
    assert_eq!(send(&service, sized(2 << 20)).await.status, 201);
}

#[tokio::test(start_paused = true)]
async fn two_large_bodies_that_differ_in_the_last_byte_are_two_requests() {
    let handler = Handler::default();
    let layer = IdempotencyLayer::default().max_request_bytes(16 << 20);
    let service = handler.at_once(&layer);
    let ending_in = |last: u8| {
        let mut body = vec![0; 10 << 20];
        body.push(last);
        keyed("k", "").map(|_| Bytes::from(body).into())
    };
    send(&service, ending_in(0)).await;

    let answer = send(&service, ending_in(1)).await;

    assert_eq!(answer.status, 422);
    assert_eq!(handler.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_breaks_off_claims_nothing() {
    let spy = Spy::new();
    let layer = IdempotencyLayer::new(spy.clone());
    let (service, executions) = responding(&layer, |_| Response::new(Frames::empty()));
    let broken = Frames::new([Step::Data("abc"), Step::Break("reset")]);

    let answer = ask(&service, upload("k", broken)).await;

    assert_eq!(answer.status, 400);
    assert_eq!(
        answer.text(),
        r#"{"error":"request_body_unreadable","detail":"The request body could not be read to its end.","status_code":400}"#
    );
    assert!(spy.verbs().is_empty());
    let whole = ask(&service, upload("k", Frames::data(["abcdef"]))).await;
    assert_eq!(whole.outcome, Outcome::Executed { recorded: true });
    assert_eq!(executions.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_while_it_uploads_has_claimed_nothing() {
    let spy = Spy::new();
    let layer = IdempotencyLayer::new(spy.clone());
    let (service, executions) = responding(&layer, |_| Response::new(Frames::empty()));
    let gate = Arc::new(Notify::new());
    let slow = Frames::new([Step::Data("abc"), Step::Gate(Arc::clone(&gate))]);
    let uploading = tokio::spawn(service.clone().oneshot(upload("k", slow)));
    settle().await;

    uploading.abort();
    settle().await;
    gate.notify_one();
    settle().await;

    assert!(spy.verbs().is_empty());
    assert_eq!(executions.count(), 0);
    assert_eq!(layer.drain(Duration::ZERO).await.left, 0);
}

#[tokio::test(start_paused = true)]
async fn slow_uploads_share_one_bound_and_give_it_back() {
    let spy = Spy::new();
    let layer = IdempotencyLayer::new(spy.clone()).max_buffered_bytes(10);
    let (service, executions) = responding(&layer, |_| Response::new(Frames::data(["ok"])));
    let gate = Arc::new(Notify::new());
    let slow = || Frames::new([Step::Data("1234"), Step::Gate(Arc::clone(&gate))]);
    let uploads = ["a", "b"].map(|key| {
        let request = upload(key, slow());
        tokio::spawn(service.clone().oneshot(request))
    });
    settle().await;

    let over = ask(&service, upload("c", Frames::data(["123"]))).await;
    let within = ask(&service, upload("d", Frames::data(["12"]))).await;

    assert_eq!(over.status, 503);
    assert_eq!(
        over.text(),
        r#"{"error":"idempotency_overloaded","detail":"Too many requests are in progress; the request was not processed.","status_code":503}"#
    );
    assert_eq!(over.header("retry-after"), Some("1"));
    assert_eq!(over.outcome, Outcome::Refused);
    assert_eq!(within.status, 200);
    assert_eq!(spy.verbs(), ["claim", "complete"]);
    gate.notify_waiters();
    for upload in uploads {
        assert_eq!(upload.await.unwrap().unwrap().status(), 200);
    }
    let again = ask(&service, upload("c", Frames::data(["1234567890"]))).await;
    assert_eq!(again.status, 200);
    assert_eq!(executions.count(), 4);
}

#[tokio::test(start_paused = true)]
async fn uploads_that_break_or_hang_up_give_their_bytes_back() {
    let layer = IdempotencyLayer::default().max_buffered_bytes(10);
    let (service, _) = responding(&layer, |_| Response::new(Frames::empty()));
    let broken = Frames::new([Step::Data("1234567890"), Step::Break("reset")]);
    let endless = Frames::new([Step::Data("1234567890"), Step::Gate(Arc::default())]);

    ask(&service, upload("a", broken)).await;
    let hanging = tokio::spawn(service.clone().oneshot(upload("b", endless)));
    settle().await;
    let meanwhile = ask(&service, upload("c", Frames::data(["1"]))).await;
    hanging.abort();
    settle().await;
    let afterwards = ask(&service, upload("c", Frames::data(["1234567890"]))).await;

    assert_eq!(meanwhile.status, 503);
    assert_eq!(afterwards.status, 200);
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_panics_claims_nothing_and_gives_its_bytes_back() {
    let spy = Spy::new();
    let layer = IdempotencyLayer::new(spy.clone()).max_buffered_bytes(3);
    let (service, _) = responding(&layer, |_| Response::new(Frames::empty()));
    let panicking = Frames::new([Step::Data("abc"), Step::Panic("a body that panics")]);

    let request = service.clone().oneshot(upload("k", panicking));
    let panic = AssertUnwindSafe(request).catch_unwind().await;

    assert!(panic.is_err());
    assert!(spy.verbs().is_empty());
    let whole = ask(&service, upload("k", Frames::data(["abc"]))).await;
    assert_eq!(whole.outcome, Outcome::Executed { recorded: true });
}

#[tokio::test(start_paused = true)]
async fn the_body_of_a_request_without_a_key_is_not_touched() {
    let layer = IdempotencyLayer::default().max_request_bytes(1);
    let (service, _) = streaming(&layer, |_, request| async move {
        assert_eq!(request.body().size_hint().exact(), Some(6));
        assert!(!request.body().is_end_stream());
        let mut body = Box::pin(request.into_body());
        for expected in ["abc", "def"] {
            let frame = body.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), expected);
        }
        assert_eq!(body.frame().await.unwrap().err(), Some(Broke("reset")));
        Response::new(Frames::data(["1", "2"]).hint(2, Some(2)))
    });
    let steps = [Step::Data("abc"), Step::Data("def"), Step::Break("reset")];
    let mut request = upload("k", Frames::new(steps).hint(6, Some(6)));
    request.headers_mut().remove("idempotency-key");

    let response = service.oneshot(request).await.unwrap();

    assert_eq!(response.body().size_hint().exact(), Some(2));
    let mut body = Box::pin(response.into_body());
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "1");
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "2");
    assert_eq!(next(&mut body).await, None);
    assert!(body.is_end_stream());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_fit_alone_into_the_bytes_of_all_is_too_large_at_any_time() {
    let layer = IdempotencyLayer::default().max_buffered_bytes(4);
    let handler = Handler::default();
    let service = handler.at_once(&layer);

    let fits = send(&service, plain("fits", "1234")).await;
    let never = send(&service, plain("never", "12345")).await;

    assert_eq!(fits.status, 201);
    assert_eq!(
        (never.status.as_u16(), never.code()),
        (413, "request_too_large".into())
    );
    assert_eq!(handler.executions(), 1);
}
