//! What an observer hears of requests.

mod executions;
mod reasons;
mod shown;
mod warnings;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, Request, Response, StatusCode};
use tower::util::{BoxCloneService, service_fn};
use tower::{Layer, ServiceExt};
use tower_idempotency::{
    Anonymous, BoxStore, Cached, ChaosStore, Encrypted, EncryptionKey, Endpoint, Event,
    Idempotency, IdempotencyLayer, InFlight, KeyFrom, Keyring, MemoryStore, Mode, OnStoreError,
    Outcome, RecordKey, RefusalCode, RequestBody, ResponseBody, Retention, Scope, Store,
    StoreErrorKind, Warning,
};

use crate::frames::{Frames, Step, responding, upload};
use crate::heard::{Heard, told};
use crate::scripted::{Fault, Scripted, Verb};
use crate::spy::Spy;
use crate::support::{Body, Guarded, Handler, PATH, created, plain, post, read, send, settle};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);

fn record<St: Store>(layer: &IdempotencyLayer<St>, key: &str) -> RecordKey {
    layer.record_key(b"", &Method::POST, PATH, key)
}

fn overheard() -> (IdempotencyLayer, Handler, Heard) {
    let heard = Heard::default();
    (
        heard.of(IdempotencyLayer::default()),
        Handler::default(),
        heard,
    )
}

#[tokio::test(start_paused = true)]
async fn every_covered_request_has_one_event_that_says_what_became_of_it() {
    let (layer, handler, heard) = overheard();
    let layer = layer.endpoints([PATH].map(Endpoint::post));
    let service = handler.statuses(&layer, &[201, 201, 500, 201]);
    let expect = |outcome, code, attempt, key: Option<&str>| {
        let event = heard.only();
        assert_eq!(event.outcome(), Some(outcome), "{event}");
        assert_eq!(
            (event.refusal(), event.attempt()),
            (code, attempt),
            "{event}"
        );
        assert_eq!(
            event.record_key(),
            key.map(|key| record(&layer, key)).as_ref(),
            "{event}"
        );
        assert_eq!(
            (event.warning(), event.mode()),
            (None, Mode::Enforce),
            "{event}"
        );
        assert_eq!(
            event.endpoint().unwrap().to_string(),
            "POST /charges",
            "{event}"
        );
    };
    let (executed, freed) = (
        Outcome::Executed { recorded: true },
        Outcome::Executed { recorded: false },
    );

    send(&service, post(PATH, &[], "x")).await;
    expect(Outcome::Bypassed, None, None, None);
    send(&service, plain("k", "x")).await;
    expect(executed, None, Some(1), Some("k"));
    send(&service, plain("k", "x")).await;
    expect(Outcome::Replayed, None, None, Some("k"));
    send(&service, plain("k", "y")).await;
    expect(
        Outcome::Mismatch,
        Some(RefusalCode::Mismatch),
        None,
        Some("k"),
    );
    send(&service, plain("\"k", "x")).await;
    expect(Outcome::Refused, Some(RefusalCode::KeyInvalid), None, None);
    send(&service, plain("freed", "x")).await;
    expect(freed, None, Some(1), Some("freed"));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_meets_a_running_one_is_told_of_when_it_is_answered() {
    let (layer, handler, heard) = overheard();
    let service = handler.held(&layer);
    let waiting = handler.held(&layer.clone().in_flight(InFlight::wait(5 * SECOND)));
    let running = tokio::spawn(service.clone().oneshot(plain("k", "x")));
    settle().await;
    assert_eq!(heard.told(), [""; 0], "nothing is decided");

    send(&service, plain("k", "x")).await;
    assert_eq!(heard.told(), ["in_progress idempotency_in_progress"]);
    send(&waiting, plain("k", "x")).await;
    assert_eq!(heard.told(), ["in_progress idempotency_in_progress"]);
    let waiter = tokio::spawn(waiting.oneshot(plain("k", "x")));
    settle().await;
    assert_eq!(heard.told(), [""; 0], "it waits");
    handler.open();
    running.await.unwrap().unwrap();
    waiter.await.unwrap().unwrap();

    assert_eq!(heard.told(), ["executed", "replayed"]);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_runs_unprotected_is_told_of_as_such() {
    let (spy, handler, heard) = (Spy::new(), Handler::default(), Heard::default());
    let layer = heard.of(IdempotencyLayer::new(spy.clone()));
    spy.goes_down(StoreErrorKind::Fatal);

    send(&handler.at_once(&layer), plain("k", "x")).await;
    assert_eq!(heard.told(), ["refused idempotency_store_unavailable"]);
    let open = layer.on_store_error(OnStoreError::RunUnprotected);
    send(&handler.at_once(&open), plain("k", "x")).await;

    let event = heard.only();
    assert_eq!(event.outcome(), Some(Outcome::Unprotected));
    assert_eq!((event.refusal(), event.attempt()), (None, None));
    assert_eq!(event.record_key(), Some(&record(&open, "k")));
}

#[tokio::test(start_paused = true)]
async fn whoever_takes_over_is_told_of_with_its_attempt() {
    let (layer, handler, heard) = overheard();
    let counted = handler.clone();
    let service = handler.answering(&layer, move |_| {
        let number = counted.executions();
        async move {
            assert!(number > 2, "lost");
            created("done")
        }
    });

    for _ in 0..2 {
        let lost = tokio::spawn(service.clone().oneshot(plain("k", "x"))).await;
        assert!(lost.is_err());
    }
    send(&service, plain("k", "x")).await;

    let events = heard.take();
    let said = events
        .iter()
        .map(|event| (told(event), event.attempt()))
        .collect::<Vec<_>>();
    let of = |outcome: &str, attempt| (outcome.to_owned(), Some(attempt));
    let (lost, done) = ("executed_unrecorded", "executed");
    assert_eq!(said, [of(lost, 1), of(lost, 2), of(done, 3)]);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_fails_or_panics_was_executed_and_not_recorded() {
    type Failing = BoxCloneService<Request<Body>, Response<ResponseBody<Body>>, &'static str>;
    for panics in [false, true] {
        let (layer, _, heard) = overheard();
        let service: Failing = layer
            .layer(service_fn(
                move |_: Request<RequestBody<Body>>| async move {
                    assert!(!panics, "the handler panics");
                    Err("the handler fails")
                },
            ))
            .boxed_clone();

        let ended = tokio::spawn(service.oneshot(plain("k", "x"))).await;

        assert_eq!(ended.is_err(), panics);
        let event = heard.only();
        assert_eq!(event.outcome(), Some(Outcome::Executed { recorded: false }));
        assert_eq!(
            (event.attempt(), event.record_key()),
            (Some(1), Some(&record(&layer, "k")))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_that_breaks_while_it_is_held_was_executed_and_not_recorded() {
    let (layer, _, heard) = overheard();
    let (service, _) = responding(&layer, |_| {
        Response::new(Frames::new([Step::Data("ab"), Step::Break("reset")]))
    });

    service.oneshot(upload("k", Frames::empty())).await.unwrap();

    assert_eq!(heard.told(), ["executed_unrecorded"]);
}

#[tokio::test(start_paused = true)]
async fn an_execution_whose_client_left_is_told_of_when_it_has_ended() {
    let (layer, handler, heard) = overheard();
    let leaving = tokio::spawn(handler.held(&layer).oneshot(plain("k", "x")));
    settle().await;

    leaving.abort();
    settle().await;
    assert_eq!(heard.told(), [""; 0]);
    handler.open();
    assert_eq!(layer.drain(HOUR).await.left, 0);

    let event = heard.only();
    assert_eq!(event.outcome(), Some(Outcome::Executed { recorded: true }));
    assert_eq!(event.attempt(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_before_its_claim_is_not_told_of() {
    let (layer, _, heard) = overheard();
    let (service, executions) = responding(&layer, |_| Response::new(Frames::empty()));
    let slow = Frames::new([Step::Data("ab"), Step::Wait(HOUR)]);
    let uploading = tokio::spawn(service.oneshot(upload("k", slow)));
    settle().await;

    uploading.abort();
    settle().await;

    assert_eq!(heard.told(), [""; 0]);
    assert_eq!(executions.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_covered_is_not_told_of() {
    let (layer, handler, heard) = overheard();
    let service = handler.at_once(&layer);
    let listed = handler.at_once(&layer.endpoints(["POST /refunds"]).require_key(true));
    let mut get = plain("k", "x");
    *get.method_mut() = Method::GET;

    assert_eq!(send(&service, get).await.status, 201);
    assert_eq!(send(&listed, plain("k", "x")).await.status, 201);
    assert_eq!(send(&listed, post(PATH, &[], "x")).await.status, 201);

    assert_eq!(heard.told(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_key_passes_and_is_told_of_once_wherever_the_key_would_stand() {
    let bypass = || Scope::credentials().anonymous(Anonymous::Bypass);
    for (layer, key) in [
        (IdempotencyLayer::default(), None),
        (
            IdempotencyLayer::default().key_from(KeyFrom::header("webhook-id")),
            Some("k"),
        ),
        (
            IdempotencyLayer::default().key_from(KeyFrom::with(|_| None)),
            Some("k"),
        ),
        (IdempotencyLayer::default().scope(bypass()), Some("k")),
    ] {
        let (heard, handler) = (Heard::default(), Handler::default());
        let service = handler.at_once(&heard.of(layer));
        let mut request = post(PATH, &[], "x");
        if let Some(key) = key {
            let key = HeaderValue::from_static(key);
            request.headers_mut().insert("idempotency-key", key);
        }

        let answer = send(&service, request).await;

        assert_eq!(
            (answer.status.as_u16(), answer.outcome),
            (201, Outcome::Bypassed)
        );
        assert_eq!(heard.told(), ["bypassed"]);
    }
    let (handler, heard) = (Handler::default(), Heard::default());
    let layer = IdempotencyLayer::default().key_from(KeyFrom::json(["/id"]));
    let service = handler.at_once(&heard.of(layer));
    assert_eq!(send(&service, post(PATH, &[], "{}")).await.status, 201);
    assert_eq!(heard.told(), ["bypassed"]);
}

#[tokio::test(start_paused = true)]
async fn of_two_layers_the_one_that_claims_is_heard() {
    let (outer, inner) = (Heard::default(), Heard::default());
    let claims = outer.of(IdempotencyLayer::default());
    let passes = claims.clone().endpoints(["POST /elsewhere"]);
    let within = inner.of(IdempotencyLayer::default());
    let innermost = service_fn(|_: Request<RequestBody<RequestBody<Body>>>| async {
        Ok::<_, std::convert::Infallible>(created("done"))
    });

    let both = claims.layer(within.layer(innermost));
    for _ in 0..2 {
        send(&both, plain("k", "x")).await;
    }
    assert_eq!(
        (outer.told(), inner.told()),
        (words(&["executed", "replayed"]), vec![])
    );

    let inner_alone = passes.layer(within.layer(innermost));
    for _ in 0..2 {
        send(&inner_alone, plain("k", "x")).await;
    }
    assert_eq!(
        (outer.told(), inner.told()),
        (vec![], words(&["executed", "replayed"]))
    );
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_changes_nothing() {
    let handler = Handler::default();
    let layer = IdempotencyLayer::default()
        .retention(10 * SECOND)
        .lease(20 * SECOND)
        .require_key(true)
        .errors(|_: &tower_idempotency::Refusal| panic!("a form that panics"))
        .on_event(|event| panic!("an observer that panics at {event}"));
    let service = handler.at_once(&layer);

    let unkeyed = send(&service, post(PATH, &[], "x")).await;
    let first = send(&service, plain("k", "x")).await;
    let replay = send(&service, plain("k", "x")).await;
    let mismatch = send(&service, plain("k", "y")).await;

    assert_eq!(unkeyed.code(), "idempotency_key_missing");
    assert_eq!(first.outcome, Outcome::Executed { recorded: true });
    assert!(replay.is_replay());
    assert_eq!(mismatch.code(), "idempotency_mismatch");
    let held = handler.held(&layer);
    let leaving = tokio::spawn(held.oneshot(plain("left", "x")));
    settle().await;
    leaving.abort();
    handler.open();
    assert_eq!(layer.drain(HOUR).await.left, 0);
    assert!(send(&service, plain("left", "x")).await.is_replay());
}
