//! Endpoints with settings of their own in one layer.

mod listed;

use std::time::Duration;

use http::{HeaderValue, Method, Request, StatusCode};
use tower::ServiceExt;
use tower_idempotency::{
    Endpoint, Idempotency, IdempotencyLayer, InFlight, Keep, MemoryStore, OnLost, OnStoreError,
    Outcome, StoreErrorKind,
};

use crate::spy::Spy;
use crate::support::{Answer, Body, Guarded, Handler, created, post, send, settle};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// A POST to this path under this key.
fn to(path: &str, key: &str) -> Request<Body> {
    let mut request = post(path, &[], "x");
    let key = HeaderValue::from_str(key).unwrap();
    request.headers_mut().insert("idempotency-key", key);
    request
}

/// The endpoint before the layer's own setting, and behind it.
fn in_any_order(
    own: Endpoint,
    layers: impl Fn(IdempotencyLayer) -> IdempotencyLayer,
) -> [IdempotencyLayer; 2] {
    let endpoints = [own, Endpoint::post("/plain")];
    [
        layers(IdempotencyLayer::default().endpoints(endpoints.clone())),
        layers(IdempotencyLayer::default()).endpoints(endpoints),
    ]
}

/// Handlers that fail with 402 for the path `/declined` and panic the first time for the key `lost`.
fn service(layer: &IdempotencyLayer, handler: &Handler) -> Guarded {
    handler.answering(layer, |request| async move {
        let lost = request
            .headers()
            .get("idempotency-key")
            .is_some_and(|key| key == "lost");
        let attempt = request.extensions().get().map_or(0, Idempotency::attempt);
        assert!(!lost || attempt > 1, "the first attempt is lost");
        let mut response = created(&format!("attempt {attempt}"));
        if request.headers().contains_key("x-declined") {
            *response.status_mut() = StatusCode::PAYMENT_REQUIRED;
        }
        response
    })
}

async fn lose(service: &Guarded, path: &str) {
    let lost = tokio::spawn(service.clone().oneshot(to(path, "lost"))).await;
    assert!(lost.unwrap_err().is_panic());
}

#[tokio::test(start_paused = true)]
async fn a_key_is_required_where_the_endpoint_says_so_and_not_elsewhere() {
    for layer in in_any_order(Endpoint::post("/own").require_key(true), |layer| {
        layer.require_key(false)
    }) {
        let (handler, unkeyed) = (Handler::default(), |path| post(path, &[], "x"));
        let service = handler.at_once(&layer);

        assert_eq!(
            send(&service, unkeyed("/own")).await.code(),
            "idempotency_key_missing"
        );
        assert_eq!(
            send(&service, unkeyed("/plain")).await.outcome,
            Outcome::Bypassed
        );
        assert_eq!(
            send(&service, unkeyed("/elsewhere")).await.outcome,
            Outcome::Bypassed
        );
        assert_eq!(handler.executions(), 2);
    }
    for layer in in_any_order(Endpoint::post("/own").require_key(false), |layer| {
        layer.require_key(true)
    }) {
        let (handler, unkeyed) = (Handler::default(), |path| post(path, &[], "x"));
        let service = handler.at_once(&layer);

        assert_eq!(
            send(&service, unkeyed("/own")).await.outcome,
            Outcome::Bypassed
        );
        assert_eq!(
            send(&service, unkeyed("/plain")).await.code(),
            "idempotency_key_missing"
        );
        assert_eq!(
            send(&service, unkeyed("/elsewhere")).await.outcome,
            Outcome::Bypassed
        );
    }
}

#[tokio::test(start_paused = true)]
async fn each_endpoint_keeps_what_it_says() {
    let declined = |path| {
        let mut request = to(path, "k");
        request
            .headers_mut()
            .insert("x-declined", HeaderValue::from_static("1"));
        request
    };
    for (own, of_layer, kept) in [
        (Keep::Final, Keep::Success, [true, false]),
        (Keep::Success, Keep::All, [false, true]),
        (Keep::Discard, Keep::All, [false, true]),
    ] {
        for layer in in_any_order(Endpoint::post("/own").keep(own.clone()), |layer| {
            layer.keep(of_layer.clone())
        }) {
            let service = service(&layer, &Handler::default());
            for (path, kept) in ["/own", "/plain"].into_iter().zip(kept) {
                assert_eq!(send(&service, declined(path)).await.status, 402);
                let retry = send(&service, declined(path)).await;
                assert_eq!(retry.is_replay(), kept, "{own:?} {path}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_endpoint_has_its_retention_be_it_shorter_or_longer() {
    for (own, live) in [(HOUR, [false, true]), (100 * HOUR, [true, false])] {
        for layer in in_any_order(Endpoint::post("/own").retention(own), |layer| {
            layer.retention(24 * HOUR)
        }) {
            let handler = Handler::default();
            let service = handler.at_once(&layer);
            for path in ["/own", "/plain"] {
                send(&service, to(path, "k")).await;
            }
            let shorter = own.min(24 * HOUR);

            tokio::time::advance(shorter - SECOND).await;
            for path in ["/own", "/plain"] {
                assert!(
                    send(&service, to(path, "k")).await.is_replay(),
                    "{own:?} {path}"
                );
            }

            tokio::time::advance(2 * SECOND).await;
            for (path, live) in ["/own", "/plain"].into_iter().zip(live) {
                assert_eq!(
                    send(&service, to(path, "k")).await.is_replay(),
                    live,
                    "{own:?} {path}"
                );
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_lease_is_no_longer_than_the_retention_of_its_endpoint() {
    let spy = Spy::new();
    let short = Endpoint::post("/own").retention(10 * SECOND);
    let layer = IdempotencyLayer::new(spy.clone())
        .lease(30 * SECOND)
        .endpoints([short, Endpoint::post("/plain")]);
    let service = Handler::default().at_once(&layer);

    for path in ["/own", "/plain"] {
        send(&service, to(path, "k")).await;
    }

    let claims = spy.claims();
    assert_eq!(
        (claims[0].lease(), claims[0].retention()),
        (10 * SECOND, 10 * SECOND)
    );
    assert_eq!(
        (claims[1].lease(), claims[1].retention()),
        (30 * SECOND, 24 * HOUR)
    );
}

#[tokio::test(start_paused = true)]
async fn each_endpoint_says_who_runs_after_an_owner_was_lost() {
    for (own, of_layer, rerun) in [
        (OnLost::Refuse, OnLost::Rerun, [false, true]),
        (OnLost::Rerun, OnLost::Refuse, [true, false]),
    ] {
        for layer in in_any_order(Endpoint::post("/own").on_lost(own), |layer| {
            layer.on_lost(of_layer.clone())
        }) {
            let service = service(&layer, &Handler::default());
            for (path, rerun) in ["/own", "/plain"].into_iter().zip(rerun) {
                lose(&service, path).await;
                let retry = send(&service, to(path, "lost")).await;
                match rerun {
                    true => assert_eq!(retry.text(), "attempt 2"),
                    false => assert_eq!(retry.code(), "idempotency_outcome_unknown"),
                }
            }
        }
    }
}

/// What a retry gets while the first request runs, and how long it takes.
async fn meanwhile(layer: &IdempotencyLayer, path: &str) -> (Answer, Duration) {
    let handler = Handler::default();
    let service = handler.held(layer);
    let running = tokio::spawn(service.clone().oneshot(to(path, "k")));
    settle().await;
    let begin = tokio::time::Instant::now();

    let retry = send(&service, to(path, "k")).await;

    let took = begin.elapsed();
    handler.open();
    running.await.unwrap().unwrap();
    (retry, took)
}

#[tokio::test(start_paused = true)]
async fn each_endpoint_waits_or_rejects() {
    let waits = InFlight::wait(5 * SECOND);
    for (own, of_layer, waiting) in [
        (waits, InFlight::reject(), [5 * SECOND, Duration::ZERO]),
        (InFlight::reject(), waits, [Duration::ZERO, 5 * SECOND]),
    ] {
        for layer in in_any_order(Endpoint::post("/own").in_flight(own), |layer| {
            layer.in_flight(of_layer)
        }) {
            for (path, waits) in ["/own", "/plain"].into_iter().zip(waiting) {
                let (retry, took) = meanwhile(&layer, path).await;
                assert_eq!(retry.outcome, Outcome::InProgress);
                assert_eq!(took, waits, "{own:?} {path}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_endpoint_refuses_or_runs_unprotected_where_the_store_fails() {
    let run = OnStoreError::RunUnprotected;
    for (own, of_layer, runs) in [
        (run, OnStoreError::Refuse, [true, false]),
        (OnStoreError::Refuse, run, [false, true]),
    ] {
        let spy = Spy::new();
        spy.goes_down(StoreErrorKind::Fatal);
        let endpoints = [
            Endpoint::post("/own").on_store_error(own),
            Endpoint::post("/plain"),
        ];
        let (first, last) = (endpoints.clone(), endpoints);
        for layer in [
            IdempotencyLayer::new(spy.clone())
                .endpoints(first)
                .on_store_error(of_layer),
            IdempotencyLayer::new(spy.clone())
                .on_store_error(of_layer)
                .endpoints(last),
        ] {
            let service = Handler::default().at_once(&layer);
            for (path, runs) in ["/own", "/plain"].into_iter().zip(runs) {
                let answer = send(&service, to(path, "k")).await;
                assert_eq!(
                    answer.outcome == Outcome::Unprotected,
                    runs,
                    "{own:?} {path}"
                );
                assert_eq!(answer.status == 503, !runs, "{own:?} {path}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn settings_of_one_endpoint_count_together_and_the_last_of_each() {
    let endpoint = Endpoint::post("/own/{id}")
        .require_key(false)
        .retention(HOUR)
        .keep(Keep::Discard)
        .keep(Keep::All)
        .on_lost(OnLost::Refuse)
        .retention(2 * HOUR)
        .require_key(true);
    let layer = IdempotencyLayer::default().endpoints([endpoint]);
    let service = service(&layer, &Handler::default());
    let declined = || {
        let mut request = to("/own/7", "k");
        request
            .headers_mut()
            .insert("x-declined", HeaderValue::from_static("1"));
        request
    };

    assert_eq!(
        send(&service, post("/own/7", &[], "x")).await.code(),
        "idempotency_key_missing"
    );
    lose(&service, "/own/7").await;
    let lost = send(&service, to("/own/7", "lost")).await;
    assert_eq!(lost.code(), "idempotency_outcome_unknown");
    send(&service, declined()).await;
    tokio::time::advance(2 * HOUR - SECOND).await;
    assert!(send(&service, declined()).await.is_replay());
    tokio::time::advance(2 * SECOND).await;
    assert!(!send(&service, declined()).await.is_replay());
}

#[tokio::test(start_paused = true)]
async fn endpoints_of_one_layer_share_its_store_its_bounds_and_its_drain() {
    let handler = Handler::default();
    let store = MemoryStore::new().max_records(2);
    let layer = IdempotencyLayer::new(store).max_detached(1).endpoints([
        Endpoint::post("/a").keep(Keep::All),
        Endpoint::post("/b").retention(HOUR),
    ]);
    let service = handler.held(&layer);
    let left = tokio::spawn(service.clone().oneshot(to("/a", "k")));
    settle().await;
    left.abort();
    settle().await;

    let beyond_the_bound = send(&service, to("/b", "k")).await;
    let drained = layer.drain(SECOND).await;
    handler.open();
    let in_the_end = layer.drain(HOUR).await;

    assert_eq!(beyond_the_bound.code(), "idempotency_overloaded");
    assert_eq!((drained.left, in_the_end.left), (1, 0));
    assert!(send(&service, to("/a", "k")).await.is_replay());
    handler.open();
    assert_eq!(send(&service, to("/b", "k")).await.status, 201);
    assert_eq!(
        send(&service, to("/b", "l")).await.code(),
        "idempotency_store_full"
    );
}
