//! Response bodies that are held to their end.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_response_in_many_frames_is_kept_whole() {
    let layer = IdempotencyLayer::default();
    let (service, executions) = responding(&layer, |_| {
        Response::new(Frames::new([
            Step::Data("1"),
            Step::Wait(SECOND),
            Step::Data("23"),
            Step::Data(""),
            Step::Data("456"),
            Step::Trailers(trailers()),
        ]))
    });

    let (first, second) = (retry(&service).await, retry(&service).await);

    assert!(!first.is_replay() && second.is_replay());
    for answer in [first, second] {
        assert_eq!(answer.body, "123456");
        assert_eq!(answer.trailers, Some(trailers()));
    }
    assert_eq!(executions.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_record_is_written_before_the_client_sees_the_response() {
    let spy = Spy::new();
    let layer = IdempotencyLayer::new(spy.clone());
    let (service, _) = responding(&layer, |_| Response::new(Frames::data(["a", "b"])));

    let response = first(&service).await;

    assert_eq!(spy.verbs(), ["claim", "complete"]);
    drop(response);
    assert_eq!(retry(&service).await.body, "ab");
}

#[tokio::test(start_paused = true)]
async fn a_response_that_breaks_while_it_is_held_reaches_the_client_as_far_as_it_came() {
    let layer = IdempotencyLayer::default();
    let (service, executions) = streaming(&layer, |number, request| {
        let attempt = request.extensions().get().map(Idempotency::attempt);
        assert_eq!(attempt, Some(number));
        let body = match number {
            1 => Frames::new([
                Step::Data("ab"),
                Step::Data("c"),
                Step::Break("reset by peer"),
            ]),
            _ => Frames::data(["whole"]),
        };
        let response = Response::builder()
            .status(201)
            .header("x-head", "1")
            .body(body);
        std::future::ready(response.unwrap())
    });

    let response = first(&service).await;

    assert_eq!(response.status(), 201);
    assert_eq!(response.headers()["x-head"], "1");
    assert_eq!(
        Outcome::of(response.extensions()),
        Outcome::Executed { recorded: false }
    );
    assert_eq!(response.body().size_hint().lower(), 3);
    let mut body = Box::pin(response.into_body());
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "abc");
    assert!(!body.is_end_stream());
    // hyper flushes nothing when the error is there at once.
    assert!(body.frame().now_or_never().is_none());
    assert_eq!(next(&mut body).await, Some(Err(Broke("reset by peer"))));
    assert_eq!(next(&mut body).await, None);

    let again = retry(&service).await;
    assert_eq!(again.text(), "whole");
    assert_eq!(again.outcome, Outcome::Executed { recorded: true });
    assert!(retry(&service).await.is_replay());
    assert_eq!(executions.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_broken_response_keeps_its_fingerprint() {
    let layer = IdempotencyLayer::default();
    let (service, _) = responding(&layer, |_| {
        Response::new(Frames::new([Step::Break("reset")]))
    });
    drop(first(&service).await);

    let other = ask(&service, upload("k", Frames::data(["other"]))).await;

    assert_eq!(other.outcome, Outcome::Mismatch);
}

#[tokio::test(start_paused = true)]
async fn a_response_body_that_panics_while_it_is_held_unwinds_and_abandons_the_key() {
    let spy = Spy::new();
    let layer = IdempotencyLayer::new(spy.clone());
    let (service, executions) = streaming(&layer, |number, request| {
        let attempt = request.extensions().get().map(Idempotency::attempt);
        assert_eq!(attempt, Some(number));
        let body = match number {
            1 => Frames::new([Step::Data("ab"), Step::Panic("a body that panics")]),
            _ => Frames::data(["whole"]),
        };
        std::future::ready(Response::new(body))
    });

    let request = service.clone().oneshot(upload("k", Frames::empty()));
    let panic = AssertUnwindSafe(request)
        .catch_unwind()
        .await
        .err()
        .unwrap();

    assert_eq!(panic.downcast_ref::<&str>(), Some(&"a body that panics"));
    assert_eq!(spy.verbs(), ["claim", "abandon"]);
    assert_eq!(retry(&service).await.text(), "whole");
    assert_eq!(executions.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_response_that_disagrees_with_its_content_length_counts_as_broken() {
    for told in ["10", "2", "0"] {
        let spy = Spy::new();
        let layer = IdempotencyLayer::new(spy.clone());
        let (service, executions) = responding(&layer, move |_| {
            let response = Response::builder().header("content-length", told);
            response.body(Frames::data(["12345"])).unwrap()
        });

        let answer = retry(&service).await;

        assert_eq!(answer.body, "12345");
        assert_eq!(answer.outcome, Outcome::Executed { recorded: false });
        assert_eq!(spy.verbs(), ["claim", "abandon"], "{told}");
        assert!(!retry(&service).await.is_replay());
        assert_eq!(executions.count(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_size_hint_that_lies_changes_nothing() {
    for (lower, upper) in [
        (0, Some(0)),
        (3, Some(3)),
        (9, None),
        (1 << 19, Some(1 << 20)),
    ] {
        let layer = IdempotencyLayer::default();
        let (service, executions) = responding(&layer, move |_| {
            Response::new(Frames::data(["12", "345"]).hint(lower, upper))
        });

        let answers = [retry(&service).await, retry(&service).await];

        assert!(answers[1].is_replay());
        assert_eq!(answers.map(|answer| answer.body), ["12345", "12345"]);
        assert_eq!(executions.count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_size_hint_beyond_all_bounds_costs_no_memory_and_no_panic() {
    let layer = IdempotencyLayer::default();
    let (service, _) = responding(&layer, |_| {
        let body = Frames::data(["12", "345"]).hint(u64::MAX, Some(u64::MAX));
        Response::builder()
            .header("location", "/made/7")
            .body(body)
            .unwrap()
    });

    let response = first(&service).await;
    let _ = response.body().size_hint();

    assert_eq!(read(response).await.body, "12345");
    is_tombstone(&retry(&service).await);
}

#[tokio::test(start_paused = true)]
async fn what_is_held_and_what_is_said_of_the_rest_never_overflow() {
    for lower in [1, u64::MAX] {
        let layer = IdempotencyLayer::default().max_kept_response(usize::MAX);
        let (service, _) = responding(&layer, move |_| {
            let steps = [Step::Data("12"), Step::Wait(9 * SECOND), Step::Data("345")];
            Response::new(Frames::new(steps).hint(lower, Some(u64::MAX)))
        });

        let response = first(&service).await;

        let hint = response.body().size_hint();
        assert_eq!(hint.lower(), lower.saturating_add(2));
        assert_eq!(hint.upper(), None);
        assert_eq!(read(response).await.body, "12345");
    }
}
