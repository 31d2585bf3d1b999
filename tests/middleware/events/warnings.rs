//! What is not as it should be.

use super::*;

/// A handler that asks for this retention.
fn retaining<St: Store>(layer: &IdempotencyLayer<St>, asked: Duration) -> Guarded {
    Handler::default().answering(layer, move |_| {
        let mut response = created("done");
        response.extensions_mut().insert(Retention(asked));
        std::future::ready(response)
    })
}

#[tokio::test(start_paused = true)]
async fn an_execution_whose_record_is_taken_from_it_is_warned_of_and_not_recorded() {
    let (layer, handler, heard) = overheard();
    let running = tokio::spawn(handler.held(&layer).oneshot(plain("k", "x")));
    settle().await;
    layer
        .store()
        .forget(&record(&layer, "k"), true)
        .await
        .unwrap();

    handler.open();
    let answer = read(running.await.unwrap().unwrap()).await;

    assert_eq!(answer.outcome, Outcome::Executed { recorded: false });
    let events = heard.take();
    let said = events.iter().map(told).collect::<Vec<_>>();
    let warning = "warning: an execution ended after its record was taken from it";
    assert_eq!(said, [warning, "executed_unrecorded"]);
    assert_eq!(events[0].warning(), Some(Warning::FencedOut));
    assert_eq!((events[0].outcome(), events[0].refusal()), (None, None));
    assert_eq!(events[0].record_key(), Some(&record(&layer, "k")));
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_was_overtaken_is_warned_of_and_the_one_that_took_over_is_not() {
    let store = Scripted::new();
    let (handler, heard) = (Handler::default(), Heard::default());
    let layer = heard
        .of(IdempotencyLayer::new(store.clone()))
        .lease(9 * SECOND);
    let service = handler.held(&layer);
    store.always(Verb::Renew, Fault::Before(StoreErrorKind::NotApplied));
    let first = tokio::spawn(service.clone().oneshot(plain("k", "x")));
    tokio::time::sleep(10 * SECOND).await;
    store.heal();

    let second = tokio::spawn(service.clone().oneshot(plain("k", "x")));
    settle().await;
    handler.open();
    first.await.unwrap().unwrap();
    handler.open();
    second.await.unwrap().unwrap();

    let events = heard.take();
    let of_renewals = [Some(Warning::NotRenewed), Some(Warning::LeaseLost)];
    let said = events
        .iter()
        .filter(|event| !of_renewals.contains(&event.warning()))
        .map(|event| (told(event), event.attempt()))
        .collect::<Vec<_>>();
    let warning = "warning: an execution ended after its record was taken from it".to_owned();
    assert_eq!(
        said,
        [
            (warning, None),
            ("executed_unrecorded".into(), Some(1)),
            ("executed".into(), Some(2)),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_the_store_does_not_take_is_warned_of_once() {
    let store = Scripted::new();
    let (handler, heard) = (Handler::default(), Heard::default());
    let layer = heard.of(IdempotencyLayer::new(store.clone()));
    store.always(Verb::Complete, Fault::Before(StoreErrorKind::NotApplied));
    let answer = send(&handler.at_once(&layer), plain("k", "x")).await;
    assert_eq!(answer.outcome, Outcome::Executed { recorded: false });

    tokio::time::sleep(60 * SECOND).await;
    store.heal();
    assert_eq!(layer.drain(HOUR).await.left, 0);

    let events = heard.take();
    let said = events.iter().map(told).collect::<Vec<_>>();
    let warning = "warning: the store did not take an outcome; it is asked again";
    assert_eq!(said, [warning, "executed_unrecorded"]);
    assert_eq!(events[0].warning(), Some(Warning::NotRecorded));
    assert_eq!(events[0].record_key(), Some(&record(&layer, "k")));
    assert!(
        send(&handler.at_once(&layer), plain("k", "x"))
            .await
            .is_replay()
    );
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_the_store_never_takes_is_given_up_after_a_while() {
    let store = Scripted::new();
    let (handler, heard) = (Handler::default(), Heard::default());
    let layer = heard
        .of(IdempotencyLayer::new(store.clone()))
        .settle_for(60 * SECOND);
    for verb in [Verb::Complete, Verb::Renew] {
        store.always(verb, Fault::Before(StoreErrorKind::NotApplied));
    }
    send(&handler.at_once(&layer), plain("k", "x")).await;
    heard.take();

    tokio::time::sleep(59 * SECOND).await;
    assert_eq!(heard.told(), [""; 0]);
    tokio::time::sleep(10 * SECOND).await;

    let event = heard.only();
    assert_eq!(event.warning(), Some(Warning::GivenUp));
    assert_eq!(
        told(&event),
        "warning: the store did not take an outcome; it is not asked again"
    );
    assert_eq!(event.record_key(), Some(&record(&layer, "k")));
    assert_eq!(layer.drain(Duration::ZERO).await.left, 0);
    tokio::time::sleep(HOUR).await;
    assert_eq!(heard.told(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_freed_key_that_the_store_does_not_take_is_warned_of_too() {
    let store = Scripted::new();
    let (handler, heard) = (Handler::default(), Heard::default());
    let layer = heard.of(IdempotencyLayer::new(store.clone()));
    store.next(Verb::Release, Fault::Before(StoreErrorKind::NotApplied));

    send(&handler.statuses(&layer, &[500]), plain("k", "x")).await;

    let warning = "warning: the store did not take an outcome; it is asked again";
    assert_eq!(heard.told(), [warning, "executed_unrecorded"]);
    assert_eq!(layer.drain(HOUR).await.left, 0);
    assert!(store.memory.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_freed_key_whose_answer_was_lost_has_not_been_taken_by_anybody() {
    let store = Scripted::new();
    let (handler, heard) = (Handler::default(), Heard::default());
    let layer = heard.of(IdempotencyLayer::new(store.clone()));
    store.next(Verb::Release, Fault::After(StoreErrorKind::Ambiguous));

    send(&handler.statuses(&layer, &[500]), plain("k", "x")).await;
    assert_eq!(layer.drain(HOUR).await.left, 0);

    assert_eq!(store.calls(Verb::Release), 2);
    let warning = "warning: the store did not take an outcome; it is asked again";
    assert_eq!(heard.told(), [warning, "executed_unrecorded"]);
}

/// The percentages that were warned of.
fn fullness(heard: &Heard) -> Vec<u8> {
    let warnings = heard.take().into_iter().filter_map(|event| event.warning());
    let percents = warnings.map(|warning| match warning {
        Warning::NearlyFull { percent, .. } => percent,
        other => panic!("{other}"),
    });
    percents.collect()
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_nearly_full_is_warned_of_once_until_there_was_room_again() {
    let (handler, heard) = (Handler::default(), Heard::default());
    let layer = heard.of(IdempotencyLayer::new(MemoryStore::new().max_records(100)));
    let service = handler.at_once(&layer);
    let clone = handler.at_once(&layer.clone().retry_after(2 * SECOND));
    let fill = async |keys: std::ops::Range<u32>| {
        for key in keys {
            send(&service, plain(&key.to_string(), "x")).await;
        }
    };
    let empty = async |keys: std::ops::Range<u32>| {
        for key in keys {
            layer
                .store()
                .forget(&record(&layer, &key.to_string()), false)
                .await
                .unwrap();
        }
    };

    fill(0..79).await;
    assert_eq!(fullness(&heard), [0; 0]);
    fill(79..80).await;
    assert_eq!(fullness(&heard), [80]);
    fill(80..99).await;
    send(&clone, plain("99", "x")).await;
    send(&clone, plain("no room", "x")).await;
    assert_eq!(fullness(&heard), [0; 0], "said once, for all clones");

    // 70 after the next claim: not below.
    empty(0..31).await;
    fill(0..1).await;
    fill(1..31).await;
    assert_eq!(fullness(&heard), [0; 0]);
    // 69 after the next claim.
    empty(0..32).await;
    fill(0..1).await;
    assert_eq!(fullness(&heard), [0; 0]);
    fill(1..32).await;
    assert_eq!(fullness(&heard), [80]);
}

#[tokio::test(start_paused = true)]
async fn a_store_is_nearly_full_by_its_bytes_too() {
    let (handler, heard) = (Handler::default(), Heard::default());
    let layer = heard.of(IdempotencyLayer::new(MemoryStore::new().max_bytes(10_000)));
    let service = handler.at_once(&layer);

    for key in 0..40 {
        send(&service, plain(&key.to_string(), "x")).await;
    }

    let warned = heard
        .take()
        .into_iter()
        .filter(|event| event.warning().is_some());
    assert_eq!(
        warned.map(|event| told(&event)).collect::<Vec<_>>().len(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_clamped_is_warned_of_once_per_layer_and_endpoint() {
    let (layer, handler, heard) = overheard();
    let layer = layer.lease(30 * SECOND).endpoints([
        Endpoint::post("/short").retention(10 * SECOND),
        Endpoint::post("/long"),
        Endpoint::post("/equal").retention(30 * SECOND),
        Endpoint::post("/shorter").retention(5 * SECOND),
    ]);
    assert_eq!(heard.told(), [""; 0], "not while it is put together");

    for _ in 0..3 {
        handler.at_once(&layer);
        handler.at_once(&layer.clone());
    }

    let events = heard.take();
    let clamped = events.iter().map(|event| {
        let endpoint = event.endpoint().unwrap().to_string();
        match event.warning() {
            Some(Warning::LeaseClamped {
                lease, retention, ..
            }) => (endpoint, lease, retention),
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(
        clamped.collect::<Vec<_>>(),
        [
            ("POST /short".into(), 30 * SECOND, 10 * SECOND),
            ("POST /shorter".into(), 30 * SECOND, 5 * SECOND),
        ]
    );
    assert_eq!(
        told(&events[0]),
        "warning: a lease of 30s is longer than the retention; 10s is used"
    );
    assert_eq!(events[0].record_key(), None);

    let whole = heard
        .of(IdempotencyLayer::default())
        .lease(30 * SECOND)
        .retention(SECOND);
    for _ in 0..3 {
        handler.at_once(&whole);
    }
    let event = heard.only();
    assert!(event.endpoint().is_none());
    assert!(matches!(
        event.warning(),
        Some(Warning::LeaseClamped {
            retention: SECOND,
            ..
        })
    ));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_no_endpoint_has_is_not_warned_of() {
    let (layer, handler, heard) = overheard();
    let layer = layer
        .lease(30 * SECOND)
        .retention(10 * SECOND)
        .endpoints([Endpoint::post(PATH).retention(HOUR)]);

    handler.at_once(&layer);

    assert_eq!(heard.told(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_retention_that_is_clamped_is_warned_of_with_its_endpoint() {
    let (layer, _, heard) = overheard();
    let layer = layer.retention(HOUR).endpoints([
        Endpoint::post("/own").retention(2 * HOUR),
        Endpoint::post("/plain"),
    ]);
    let to = |path: &str| {
        let mut request = plain("k", "x");
        *request.uri_mut() = path.parse().unwrap();
        request
    };
    let warnings = async |asked, path| {
        send(&retaining(&layer, asked), to(path)).await;
        let record_key = layer.record_key(b"", &Method::POST, path, "k");
        layer.store().forget(&record_key, false).await.unwrap();
        let warnings = heard.take().into_iter().filter_map(|event| {
            assert_eq!(event.endpoint().unwrap().template(), path);
            assert_eq!(event.record_key(), Some(&record_key));
            event.warning().map(|warning| warning.to_string())
        });
        warnings.collect::<Vec<_>>()
    };

    for (asked, path, used) in [
        (HOUR, "/plain", None),
        (HOUR / 2, "/plain", None),
        (Duration::ZERO, "/plain", None),
        (HOUR + SECOND, "/plain", Some(("3601s", "3600s"))),
        (HOUR + SECOND, "/own", None),
        (3 * HOUR, "/own", Some(("10800s", "7200s"))),
        (
            Duration::MAX,
            "/own",
            Some(("18446744073709551615.999999999s", "7200s")),
        ),
    ] {
        let expected = used.map(|(asked, used)| {
            format!("a handler asked for a retention of {asked}; {used} is used")
        });
        assert_eq!(
            warnings(asked, path).await,
            Vec::from_iter(expected),
            "{asked:?} {path}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_form_that_fails_is_warned_of_each_time_it_was_to_answer() {
    type Form = fn(&tower_idempotency::Refusal) -> Response<bytes::Bytes>;
    let panics: Form = |_| panic!("a form that panics");
    let succeeds: Form = |_| Response::new(bytes::Bytes::new());
    let redirects: Form = |_| {
        let mut response = Response::new(bytes::Bytes::new());
        *response.status_mut() = StatusCode::FOUND;
        response
    };
    for form in [panics, succeeds, redirects] {
        let (layer, handler, heard) = overheard();
        let layer = layer.errors(form).require_key(true);
        let service = handler.at_once(&layer);

        let answer = send(&service, post(PATH, &[], "x")).await;

        assert_eq!(answer.code(), "idempotency_key_missing");
        let refused = "refused idempotency_key_missing";
        let warning = "warning: the error form failed; the flat form answered";
        assert_eq!(heard.told(), [refused, warning]);
        let looking = handler.at_once(&layer.mode(Mode::Shadow));
        send(&looking, post(PATH, &[], "x")).await;
        assert_eq!(heard.told(), [refused], "there was nothing to answer");
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_is_given_back_is_no_execution() {
    let (store, handler, heard) = (Scripted::new(), Handler::default(), Heard::default());
    let layer = heard.of(IdempotencyLayer::new(store.clone()));
    store.next(Verb::Claim, Fault::SlowAfter(3 * SECOND));

    let answer = send(&handler.at_once(&layer), plain("k", "x")).await;
    assert_eq!(layer.drain(HOUR).await.left, 0);

    assert_eq!(answer.status, 503);
    assert_eq!(heard.told(), ["refused idempotency_store_unavailable"]);
    assert!(store.memory.is_empty());
}

/// Events go anywhere, and can be kept.
#[test]
fn events_are_values() {
    fn values<T: Clone + std::fmt::Debug + std::fmt::Display + Send + Sync + 'static>() {}
    fn contexts<T: Clone + Send + Sync + 'static>() {}

    values::<Event>();
    values::<Warning>();
    values::<Outcome>();
    contexts::<Idempotency>();
}
