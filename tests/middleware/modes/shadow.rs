//! Whatever the layer would do, the handler runs.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_would_be_replayed_runs_again_and_what_would_be_acted_upon_is_said() {
    let (handler, heard) = (Handler::default(), Heard::default());
    let layer = shadow(heard.of(IdempotencyLayer::default()));
    let service = handler.at_once(&layer);

    let first = send(&service, plain("k", "x")).await;
    let second = send(&service, plain("k", "x")).await;
    let enforced = send(
        &handler.at_once(&layer.clone().mode(Mode::Enforce)),
        plain("k", "x"),
    )
    .await;
    let third = send(&service, plain("k", "x")).await;

    assert_eq!(
        (first.text(), second.text()),
        ("execution 1", "execution 2")
    );
    assert_eq!(
        [first.outcome, second.outcome, third.outcome],
        [Outcome::Bypassed; 3],
        "responses are left as they are"
    );
    assert_eq!(second.headers, first.headers);
    assert!(enforced.is_replay());
    assert_eq!(
        (enforced.text(), third.text()),
        ("execution 1", "execution 3")
    );
    let events = heard.take();
    let words = events.iter().map(told).collect::<Vec<_>>();
    assert_eq!(words, ["executed", "replayed", "replayed", "replayed"]);
    let modes = events
        .iter()
        .map(tower_idempotency::Event::mode)
        .collect::<Vec<_>>();
    assert_eq!(
        modes,
        [Mode::Shadow, Mode::Shadow, Mode::Enforce, Mode::Shadow]
    );
    assert_eq!((layer.drain(HOUR).await.left, layer.store().len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn what_would_wait_runs_at_once_and_takes_no_place_among_those_who_do() {
    let (handler, heard) = (Handler::default(), Heard::default());
    let layer = heard.of(IdempotencyLayer::default());
    let layer = layer.in_flight(InFlight::wait(HOUR)).max_waiters(1);
    let counted = handler.clone();
    let service = handler.answering(&shadow(layer.clone()), move |_| {
        let (handler, number) = (counted.clone(), counted.executions());
        async move {
            if number == 1 {
                handler.opened().await;
            }
            created(&format!("execution {number}"))
        }
    });
    let first = tokio::spawn(service.clone().oneshot(plain("k", "x")));
    settle().await;
    let begin = Instant::now();

    let second = send(&service, plain("k", "x")).await;
    assert_eq!((second.text(), Instant::now()), ("execution 2", begin));
    assert_eq!(heard.told(), ["in_progress idempotency_in_progress"]);

    let waiting = tokio::spawn(handler.at_once(&layer).oneshot(plain("k", "x")));
    settle().await;
    let third = send(&service, plain("k", "x")).await;
    assert_eq!((third.text(), Instant::now()), ("execution 3", begin));
    handler.open();
    first.await.unwrap().unwrap();
    assert!(read(waiting.await.unwrap().unwrap()).await.is_replay());
}

#[tokio::test(start_paused = true)]
async fn the_first_response_is_left_as_it_is_and_its_replay_is_one() {
    let handler = Handler::default();
    let layer = shadow(IdempotencyLayer::default());
    let service = handler.answering(&layer, |request| {
        let mut response = created(context(&request));
        let spoofed = HeaderValue::from_static("upstream");
        response
            .headers_mut()
            .insert("idempotent-replayed", spoofed);
        std::future::ready(response)
    });

    let first = send(&service, plain("k", "x")).await;
    let enforced = handler.at_once(&layer.mode(Mode::Enforce));
    let replay = send(&enforced, plain("k", "x")).await;

    assert_eq!(
        (first.text(), first.outcome),
        ("protected", Outcome::Bypassed)
    );
    assert_eq!(first.header("idempotent-replayed"), Some("upstream"));
    assert_eq!(replay.text(), "protected");
    let marks = replay.headers.get_all("idempotent-replayed").iter();
    assert_eq!(marks.collect::<Vec<_>>(), ["true"]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_protected_is_not_held_and_keeps_its_size_and_trailers() {
    let layer = shadow(IdempotencyLayer::default());
    let gate = Arc::new(tokio::sync::Notify::new());
    let opens = Arc::clone(&gate);
    let trailers = HeaderMap::from_iter([(
        http::HeaderName::from_static("x-checksum"),
        HeaderValue::from_static("7"),
    )]);
    let (service, executions) = responding(&layer, move |number| {
        let body = match number {
            1 => Frames::data(["done"]),
            _ => Frames::new([
                Step::Data("a"),
                Step::Gate(Arc::clone(&opens)),
                Step::Data("b"),
                Step::Trailers(trailers.clone()),
            ])
            .hint(2, Some(2)),
        };
        let mut response = Response::new(body);
        let spoofed = HeaderValue::from_static("true");
        response
            .headers_mut()
            .insert("idempotent-replayed", spoofed);
        response
    });
    let ask = || service.clone().oneshot(upload("k", Frames::empty()));
    read(ask().await.unwrap()).await;
    let begin = Instant::now();

    let response = ask().await.unwrap();

    assert_eq!(Instant::now(), begin);
    assert_eq!(response.body().size_hint().exact(), Some(2));
    gate.notify_one();
    let answer = read(response).await;
    assert_eq!(
        (answer.text(), answer.header("idempotent-replayed")),
        ("ab", Some("true"))
    );
    assert_eq!(answer.trailers.unwrap()["x-checksum"], "7");
    assert_eq!(executions.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_costs_its_time_out_and_nothing_else() {
    let (store, handler, heard) = (Scripted::new(), Handler::default(), Heard::default());
    let layer = shadow(heard.of(IdempotencyLayer::new(store.clone())));
    let service = obliging(&layer, &handler);
    store.always(Verb::Claim, Fault::SlowBefore(HOUR));
    let begin = Instant::now();

    let answer = send(&service, plain("k", "x")).await;

    assert_eq!(begin.elapsed(), 2 * SECOND);
    assert_eq!((answer.status.as_u16(), answer.text()), (201, "none: x"));
    assert_eq!(heard.told(), ["refused idempotency_store_unavailable"]);
    assert_eq!(layer.drain(HOUR).await.left, 0);
    assert!(store.memory.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_comes_with_too_little_time_is_given_back() {
    let (store, handler, heard) = (Scripted::new(), Handler::default(), Heard::default());
    let layer = shadow(heard.of(IdempotencyLayer::new(store.clone())));
    let service = obliging(&layer, &handler);
    store.next(Verb::Claim, Fault::LeaseLeft(SECOND));
    store.next(Verb::Renew, Fault::Before(StoreErrorKind::Fatal));

    let answer = send(&service, plain("k", "x")).await;

    assert_eq!(answer.text(), "none: x");
    assert_eq!(heard.told(), ["refused idempotency_store_unavailable"]);
    assert_eq!(layer.drain(HOUR).await.left, 0);
    assert!(store.memory.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_takes_no_outcome_changes_no_answer() {
    let (store, handler, heard) = (Scripted::new(), Handler::default(), Heard::default());
    let layer = shadow(heard.of(IdempotencyLayer::new(store.clone())));
    let service = obliging(&layer, &handler);
    store.always(Verb::Complete, Fault::Before(StoreErrorKind::Fatal));

    let answer = send(&service, plain("k", "x")).await;

    assert_eq!(
        (answer.status.as_u16(), answer.text()),
        (201, "protected: x")
    );
    let warning = "warning: the store did not take an outcome; it is asked again";
    assert_eq!(heard.told(), [warning, "executed_unrecorded"]);
    store.heal();
    assert_eq!(layer.drain(HOUR).await.left, 0);
    let enforced = obliging(&layer.mode(Mode::Enforce), &handler);
    assert!(send(&enforced, plain("k", "x")).await.is_replay());
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_would_run_unprotected_says_so() {
    let (handler, heard) = (Handler::default(), Heard::default());
    let layer = failing(StoreErrorKind::Fatal).on_store_error(OnStoreError::RunUnprotected);
    let service = obliging(&shadow(heard.of(layer)), &handler);

    let answer = send(&service, plain("k", "x")).await;

    assert_eq!(
        (answer.text(), answer.outcome),
        ("none: x", Outcome::Bypassed)
    );
    let event = heard.only();
    assert_eq!(
        (event.outcome(), event.refusal()),
        (Some(Outcome::Unprotected), None)
    );
    assert_eq!(event.mode(), Mode::Shadow);
}

/// Counts handlers that are gone, be it at their end or before.
struct Gone(Arc<AtomicU32>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_without_protection_ends_with_its_connection() {
    let (handler, heard) = (Handler::default(), Heard::default());
    let layer = shadow(heard.of(IdempotencyLayer::default()));
    let gone = Arc::new(AtomicU32::new(0));
    let (counted, counter) = (handler.clone(), gone.clone());
    let service = handler.answering(&layer, move |_| {
        let (handler, gone) = (counted.clone(), Gone(counter.clone()));
        async move {
            let _gone = gone;
            if handler.executions() > 1 {
                handler.opened().await;
            }
            created("done")
        }
    });
    send(&service, plain("k", "x")).await;
    let second = tokio::spawn(service.clone().oneshot(plain("k", "x")));
    settle().await;
    assert_eq!((handler.executions(), handler.finished()), (2, 1));

    second.abort();
    settle().await;

    assert_eq!((gone.load(Ordering::SeqCst), handler.finished()), (2, 1));
    assert_eq!(layer.drain(Duration::ZERO).await.left, 0);
    assert_eq!(heard.told(), ["executed", "replayed"]);
}

#[tokio::test(start_paused = true)]
async fn the_first_request_is_protected_from_hang_ups_and_recorded() {
    let handler = Handler::default();
    let layer = shadow(IdempotencyLayer::default());
    let first = tokio::spawn(handler.held(&layer).oneshot(plain("k", "x")));
    settle().await;

    first.abort();
    settle().await;
    assert_eq!(layer.drain(SECOND).await.left, 1);
    handler.open();

    assert_eq!(layer.drain(HOUR).await.left, 0);
    assert_eq!(handler.finished(), 1);
    let enforced = handler.at_once(&layer.mode(Mode::Enforce));
    assert!(send(&enforced, plain("k", "x")).await.is_replay());
}

#[tokio::test(start_paused = true)]
async fn a_panic_comes_out_as_it_is_protected_or_not() {
    let (handler, heard) = (Handler::default(), Heard::default());
    let layer = shadow(heard.of(IdempotencyLayer::default()));
    let counted = handler.clone();
    let service = handler.answering(&layer, move |_| {
        let number = counted.executions();
        async move {
            assert!(number == 2, "execution {number} panics");
            created("done")
        }
    });
    let panicked = async || {
        let ended = tokio::spawn(service.clone().oneshot(plain("k", "x"))).await;
        let panic = ended.unwrap_err().into_panic();
        panic.downcast_ref::<String>().unwrap().clone()
    };

    // The first attempt, protected; the second, which is recorded; then one without protection.
    let protected = panicked().await;
    let recorded = send(&service, plain("k", "x")).await;
    let unprotected = panicked().await;

    assert_eq!(protected, "execution 1 panics");
    assert_eq!(recorded.text(), "done");
    assert_eq!(unprotected, "execution 3 panics");
    assert_eq!(
        heard.told(),
        ["executed_unrecorded", "executed", "replayed"]
    );
    assert_eq!((layer.drain(HOUR).await.left, layer.store().len()), (0, 1));
    let enforced = handler.at_once(&layer.mode(Mode::Enforce));
    assert_eq!(send(&enforced, plain("k", "x")).await.text(), "done");
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_key_passes_as_ever() {
    let (handler, heard) = (Handler::default(), Heard::default());
    let service = obliging(&shadow(heard.of(IdempotencyLayer::default())), &handler);

    let answer = send(&service, post(PATH, &[], "x")).await;

    assert_eq!(
        (answer.text(), answer.outcome),
        ("none: x", Outcome::Bypassed)
    );
    let event = heard.only();
    assert_eq!(
        (event.outcome(), event.mode()),
        (Some(Outcome::Bypassed), Mode::Shadow)
    );
}
