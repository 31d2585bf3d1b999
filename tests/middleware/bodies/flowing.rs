//! Response bodies that are too large, too slow or meant to flow.

use super::*;
use crate::support::plain;

#[tokio::test(start_paused = true)]
async fn a_response_over_the_limit_reaches_its_client_whole_and_leaves_a_tombstone() {
    let layer = IdempotencyLayer::default().max_kept_response(5);
    for by_surprise in [false, true] {
        let (service, executions) = responding(
            &layer.clone().namespace(by_surprise.to_string()),
            move |_| {
                let body = Frames::new([
                    Step::Data("123"),
                    Step::Data("456"),
                    Step::Wait(SECOND),
                    Step::Data("789"),
                    Step::Trailers(trailers()),
                ]);
                let body = if by_surprise {
                    body
                } else {
                    body.hint(9, Some(9))
                };
                Response::builder()
                    .status(201)
                    .header("location", "/made/7")
                    .body(body)
                    .unwrap()
            },
        );

        let answer = retry(&service).await;

        assert_eq!(answer.status, 201);
        assert_eq!(answer.body, "123456789");
        assert_eq!(answer.trailers, Some(trailers()));
        assert_eq!(answer.header("location"), Some("/made/7"));
        assert_eq!(answer.outcome, Outcome::Executed { recorded: true });
        is_tombstone(&retry(&service).await);
        is_tombstone(&retry(&service).await);
        assert_eq!(executions.count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_that_says_it_is_over_the_limit_is_not_waited_for() {
    let layer = IdempotencyLayer::default().max_kept_response(5);
    let (service, _) = responding(&layer, |_| {
        let body = Frames::new([Step::Wait(SECOND), Step::Data("123456")]).hint(6, Some(6));
        Response::builder()
            .header("location", "/made/7")
            .body(body)
            .unwrap()
    });

    let response = first(&service).now_or_never().unwrap();

    is_tombstone(&retry(&service).await);
    assert_eq!(read(response).await.body, "123456");
}

#[tokio::test(start_paused = true)]
async fn a_response_at_the_limit_is_kept() {
    let layer = IdempotencyLayer::default().max_kept_response(5);
    let (service, _) = responding(&layer, |_| {
        Response::new(Frames::data(["123", "45"]).hint(5, Some(5)))
    });

    retry(&service).await;

    assert_eq!(retry(&service).await.body, "12345");
}

#[tokio::test(start_paused = true)]
async fn the_default_limit_of_a_kept_response_is_one_mebibyte() {
    let handler = Handler::default();
    let layer = IdempotencyLayer::default();
    let service = handler.answering(&layer, |request| async move {
        let length = request.into_body().collect().await.unwrap().to_bytes();
        let length: usize = std::str::from_utf8(&length).unwrap().parse().unwrap();
        created("").map(|_| Bytes::from(vec![7; length]).into())
    });

    for (body, status) in [("1048576", 201), ("1048577", 409)] {
        let first = send(&service, plain(body, body)).await;
        assert_eq!(first.body.len().to_string(), body);
        assert_eq!(send(&service, plain(body, body)).await.status, status);
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_meant_to_flow_flows_at_once() {
    for content_type in [
        "text/event-stream",
        "Text/Event-Stream; charset=utf-8",
        "application/x-ndjson",
        "multipart/x-mixed-replace;boundary=b",
    ] {
        let gate = Arc::new(Notify::new());
        let (layer, opens) = (IdempotencyLayer::default(), Arc::clone(&gate));
        let (service, executions) = responding(&layer, move |_| flowing(content_type, &opens));

        // No time passes: neither the gate nor `hold_for` lets the head go.
        let response = first(&service).now_or_never().unwrap();
        let outcome = Outcome::of(response.extensions());
        let mut body = Box::pin(response.into_body());
        let one = next(&mut body).now_or_never().unwrap();
        let meanwhile = retry(&service).await;
        gate.notify_one();
        let rest = body.collect().await.unwrap();

        assert_eq!(outcome, Outcome::Executed { recorded: true });
        assert_eq!(one.unwrap().unwrap(), "one");
        is_tombstone(&meanwhile);
        assert_eq!(rest.trailers(), Some(&trailers()));
        assert_eq!(rest.to_bytes(), "two");
        is_tombstone(&retry(&service).await);
        assert_eq!(executions.count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn other_content_types_are_held() {
    for content_type in [
        "text/event-streams",
        "multipart/mixed",
        "application/json; x=text/event-stream",
    ] {
        let layer = IdempotencyLayer::default();
        let (service, _) = responding(&layer, move |_| {
            let response = Response::builder().header("content-type", content_type);
            response.body(Frames::data(["a", "b"])).unwrap()
        });

        retry(&service).await;

        assert!(retry(&service).await.is_replay(), "{content_type}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_asks_for_a_stream_gets_one() {
    for status in [200, 500] {
        let gate = Arc::new(Notify::new());
        let (layer, opens) = (IdempotencyLayer::default(), Arc::clone(&gate));
        let (service, executions) = responding(&layer, move |_| {
            let mut response = flowing("application/json", &opens);
            *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
            response.extensions_mut().insert(Keep::Stream);
            response
        });

        let response = first(&service).now_or_never().unwrap();
        gate.notify_one();

        assert_eq!(response.status(), status);
        assert_eq!(read(response).await.body, "onetwo");
        is_tombstone(&retry(&service).await);
        assert_eq!(executions.count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_asks_for_streams_gets_them_and_a_handler_overrules_it() {
    let gate = Arc::new(Notify::new());
    let opens = Arc::clone(&gate);
    let layer = IdempotencyLayer::default().keep(Keep::Stream);
    let (service, _) = responding(&layer, move |_| flowing("application/json", &opens));
    let (storing, _) = responding(&layer.namespace("other"), |_| {
        let mut response = Response::new(Frames::data(["kept"]));
        response.extensions_mut().insert(Keep::Store);
        response
    });

    let response = first(&service).now_or_never();
    gate.notify_one();
    let response = response.expect("the response flows at once");
    retry(&storing).await;

    assert_eq!(read(response).await.body, "onetwo");
    is_tombstone(&retry(&service).await);
    assert!(retry(&storing).await.is_replay());
}

#[tokio::test(start_paused = true)]
async fn a_protocol_switch_passes_with_its_extensions_and_leaves_a_tombstone() {
    #[derive(Clone)]
    struct Upgrade;
    let layer = IdempotencyLayer::default().keep(Keep::Discard);
    let (service, executions) = streaming(&layer, |_, request| {
        assert_eq!(request.headers()["upgrade"], "echo");
        let response = Response::builder().status(101).extension(Upgrade);
        let response = response
            .header("location", "/made/7")
            .header("upgrade", "echo");
        std::future::ready(
            response
                .body(Frames::new([Step::Gate(Arc::default())]))
                .unwrap(),
        )
    });
    let switch = || {
        let mut request = upload("k", Frames::empty());
        request
            .headers_mut()
            .insert("upgrade", HeaderValue::from_static("echo"));
        request
    };

    let response = service
        .clone()
        .oneshot(switch())
        .now_or_never()
        .unwrap()
        .unwrap();

    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["upgrade"], "echo");
    assert!(response.extensions().get::<Upgrade>().is_some());
    is_tombstone(&ask(&service, switch()).await);
    assert_eq!(executions.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_that_is_not_answered_by_a_switch_changes_nothing() {
    let handler = Handler::default();
    let service = handler.at_once(&IdempotencyLayer::default());
    let h2c = || {
        let mut request = keyed("k", "x");
        request
            .headers_mut()
            .insert("upgrade", HeaderValue::from_static("h2c"));
        request
            .headers_mut()
            .insert("connection", HeaderValue::from_static("upgrade"));
        request
    };

    send(&service, h2c()).await;

    assert!(send(&service, h2c()).await.is_replay());
    assert!(send(&service, keyed("k", "x")).await.is_replay());
    assert_eq!(handler.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_response_that_takes_too_long_flows() {
    let layer = IdempotencyLayer::default();
    let (service, executions) = responding(&layer, |_| {
        let steps = [
            Step::Data("one"),
            Step::Wait(5 * SECOND),
            Step::Data("two"),
            Step::Trailers(trailers()),
        ];
        Response::builder()
            .header("location", "/made/7")
            .body(Frames::new(steps))
            .unwrap()
    });
    let start = tokio::time::Instant::now();

    let response = first(&service).await;
    let held = start.elapsed();
    let mut body = Box::pin(response.into_body());
    let one = next(&mut body).now_or_never().unwrap();
    let meanwhile = retry(&service).await;
    let rest = body.collect().await.unwrap();

    assert_eq!(held, 2 * SECOND);
    assert_eq!(one.unwrap().unwrap(), "one");
    is_tombstone(&meanwhile);
    assert_eq!(start.elapsed(), 5 * SECOND);
    assert_eq!(rest.trailers(), Some(&trailers()));
    assert_eq!(rest.to_bytes(), "two");
    is_tombstone(&retry(&service).await);
    assert_eq!(executions.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_response_that_trickles_for_ever_is_held_no_longer_than_allowed() {
    let layer = IdempotencyLayer::default().hold_for(3 * SECOND);
    let (service, _) = responding(&layer, |_| Response::new(Frames::new([Step::ByteForEver])));
    let start = tokio::time::Instant::now();

    let response = first(&service).await;

    assert_eq!(start.elapsed(), 3 * SECOND);
    assert_eq!(
        Outcome::of(response.extensions()),
        Outcome::Executed { recorded: true }
    );
}

#[tokio::test(start_paused = true)]
async fn holding_begins_with_the_head_and_not_with_the_request() {
    let layer = IdempotencyLayer::default();
    let (service, _) = streaming(&layer, |_, _| async {
        tokio::time::sleep(10 * SECOND).await;
        let steps = [Step::Data("1"), Step::Wait(SECOND), Step::Data("2")];
        Response::new(Frames::new(steps))
    });

    retry(&service).await;

    assert_eq!(retry(&service).await.text(), "12");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_always_ready_and_says_nothing_is_held_no_longer_than_allowed() {
    let layer = IdempotencyLayer::default();
    let (service, _) = responding(&layer, |_| Response::new(Frames::new([Step::EmptyForEver])));
    let request = tokio::spawn(service.clone().oneshot(upload("k", Frames::empty())));
    // The runtime is never idle, so that time does not pass by itself.
    for _ in 0..30 {
        tokio::time::advance(SECOND / 10).await;
        settle().await;
    }

    let is_answered = request.is_finished();

    request.abort();
    assert!(is_answered);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_kept_flows_and_frees_its_key() {
    let spy = Spy::new();
    let gate = Arc::new(Notify::new());
    let (layer, opens) = (IdempotencyLayer::new(spy.clone()), Arc::clone(&gate));
    let (service, executions) = responding(&layer, move |_| {
        let mut response = flowing("text/event-stream", &opens);
        *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
        response
    });

    let response = first(&service).now_or_never().unwrap();

    assert_eq!(
        Outcome::of(response.extensions()),
        Outcome::Executed { recorded: false }
    );
    assert_eq!(spy.verbs(), ["claim", "release"]);
    // The key is free while the body still flows.
    let other = service
        .clone()
        .oneshot(upload("k", Frames::data(["other"])));
    assert_eq!(other.await.unwrap().status(), 503);
    gate.notify_one();
    assert_eq!(read(response).await.body, "onetwo");
    assert_eq!(executions.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_slow_response_that_is_not_kept_frees_its_key_when_it_begins_to_flow() {
    let spy = Spy::new();
    let layer = IdempotencyLayer::new(spy.clone());
    let (service, executions) = responding(&layer, |_| {
        let body = Frames::new([Step::Data("1"), Step::Wait(5 * SECOND), Step::Data("2")]);
        Response::builder().status(500).body(body).unwrap()
    });

    assert_eq!(retry(&service).await.body, "12");

    assert_eq!(spy.verbs(), ["claim", "release"]);
    retry(&service).await;
    assert_eq!(executions.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_when_it_flows_stays_a_tombstone() {
    let layer = IdempotencyLayer::default();
    let (service, executions) = responding(&layer, |_| {
        let body = Frames::new([Step::Data("one"), Step::Break("reset")]);
        let response = Response::builder().header("content-type", "text/event-stream");
        response.header("location", "/made/7").body(body).unwrap()
    });

    let mut body = Box::pin(first(&service).await.into_body());

    assert_eq!(next(&mut body).await.unwrap().unwrap(), "one");
    assert_eq!(next(&mut body).await, Some(Err(Broke("reset"))));
    is_tombstone(&retry(&service).await);
    assert_eq!(executions.count(), 1);
}
