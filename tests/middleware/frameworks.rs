//! The layer in every place that axum has for one. Handlers, the layers that stand beside it, and
//! real sockets have modules of their own.

mod handlers;
mod lengths;
mod neighbours;
mod over_http;
#[allow(dead_code, reason = "shared with the tests of the protocols")]
mod wire;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::{IntoResponse, Response as AxumResponse};
use axum::routing::{MethodRouter, get};
use http::{Method, Request, StatusCode};
use tower::util::BoxCloneService;
use tower::{Layer, ServiceBuilder, ServiceExt};
use tower_idempotency::{BoxStore, IdempotencyLayer, MemoryStore, Outcome, Store};

use super::support::{Body, Handler, keyed, post, send, settle};

const HOUR: Duration = Duration::from_secs(60 * 60);

type App = BoxCloneService<Request<Body>, AxumResponse, Infallible>;

/// `POST /v1/charges` and `POST /v2/charges`, guarded in one of many ways.
struct Placement {
    name: &'static str,
    build: fn(IdempotencyLayer<BoxStore>, &Handler) -> App,
}

const PLACEMENTS: [Placement; 9] = [
    Placement {
        name: "Router::layer",
        build: |layer, handler| {
            flat(charge(handler), charge(handler))
                .layer(layer)
                .boxed_clone()
        },
    },
    Placement {
        name: "Router::route_layer",
        build: |layer, handler| {
            flat(charge(handler), charge(handler))
                .route_layer(layer)
                .boxed_clone()
        },
    },
    Placement {
        name: "MethodRouter::layer",
        build: |layer, handler| {
            let (v1, v2) = (charge(handler), charge(handler));
            flat(v1.layer(layer.clone()), v2.layer(layer)).boxed_clone()
        },
    },
    Placement {
        name: "around nest",
        build: |layer, handler| {
            nested(inner(handler), inner(handler))
                .layer(layer)
                .boxed_clone()
        },
    },
    Placement {
        name: "inside nest",
        build: |layer, handler| {
            let (v1, v2) = (inner(handler), inner(handler));
            nested(v1.layer(layer.clone()), v2.layer(layer)).boxed_clone()
        },
    },
    Placement {
        name: "inside nest, twice as deep",
        build: |layer, handler| {
            let charges = Router::new().route("/", charge(handler)).layer(layer);
            let versioned = Router::new().nest("/charges", charges);
            nested(versioned.clone(), versioned).boxed_clone()
        },
    },
    Placement {
        name: "nest_service",
        build: |layer, handler| {
            let service = layer.layer(handler.bare());
            let router = Router::new().nest_service("/v1", service.clone());
            router.nest_service("/v2", service).boxed_clone()
        },
    },
    Placement {
        name: "around the Router",
        build: |layer, handler| {
            let service = layer.layer(nested(inner(handler), inner(handler)));
            ServiceBuilder::new()
                .map_response(IntoResponse::into_response)
                .service(service)
                .boxed_clone()
        },
    },
    Placement {
        name: "around a service without a framework",
        build: |layer, handler| {
            let service = layer.layer(handler.bare());
            ServiceBuilder::new()
                .map_response(IntoResponse::into_response)
                .service(service)
                .boxed_clone()
        },
    },
];

impl Placement {
    fn app(&self, store: &BoxStore, handler: &Handler) -> App {
        (self.build)(IdempotencyLayer::new(store.clone()), handler)
    }
}

fn charge(handler: &Handler) -> MethodRouter {
    axum::routing::post_service(handler.bare())
}

fn inner(handler: &Handler) -> Router {
    Router::new().route("/charges", charge(handler))
}

fn flat(v1: MethodRouter, v2: MethodRouter) -> Router {
    Router::new()
        .route("/v1/charges", v1)
        .route("/v2/charges", v2)
}

fn nested(v1: Router, v2: Router) -> Router {
    Router::new().nest("/v1", v1).nest("/v2", v2)
}

fn to(path: &str, key: &str, body: &'static str) -> Request<Body> {
    post(path, &[("idempotency-key", key)], body)
}

fn memory() -> BoxStore {
    BoxStore::new(MemoryStore::default())
}

#[tokio::test(start_paused = true)]
async fn in_every_placement_a_key_runs_once_and_belongs_to_its_path() {
    for placement in &PLACEMENTS {
        let (name, handler) = (placement.name, Handler::default());
        let app = placement.app(&memory(), &handler);
        // Path, body, status, body of the answer, whether it is a replay.
        let steps = [
            ("first", "/v1/charges", "a", 201, "execution 1", false),
            ("replay", "/v1/charges", "a", 201, "execution 1", true),
            ("mismatch", "/v1/charges", "b", 422, "", false),
            ("another query", "/v1/charges?to=me", "a", 422, "", false),
            ("sibling", "/v2/charges", "a", 201, "execution 2", false),
            ("its replay", "/v2/charges", "a", 201, "execution 2", true),
            ("its mismatch", "/v2/charges", "b", 422, "", false),
        ];

        for (step, path, body, status, text, replayed) in steps {
            let answer = send(&app, to(path, "k", body)).await;

            assert_eq!(answer.status, status, "{name}: {step}");
            assert_eq!(answer.is_replay(), replayed, "{name}: {step}");
            if status == 422 {
                assert_eq!(answer.code(), "idempotency_mismatch", "{name}: {step}");
            } else {
                assert_eq!(answer.text(), text, "{name}: {step}");
            }
        }
        assert_eq!(handler.executions(), 2, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_made_in_one_placement_is_replayed_in_every_other() {
    for maker in &PLACEMENTS {
        let (store, handler) = (memory(), Handler::default());
        let record_key =
            IdempotencyLayer::new(store.clone()).record_key(b"", &Method::POST, "/v1/charges", "k");
        let first = send(&maker.app(&store, &handler), to("/v1/charges", "k", "a")).await;
        assert_eq!(first.status, 201, "{}", maker.name);
        assert!(
            store.inspect(&record_key).await.unwrap().is_some(),
            "{}",
            maker.name
        );

        for reader in &PLACEMENTS {
            let pair = format!("{}, then {}", maker.name, reader.name);
            let app = reader.app(&store, &handler);
            let replay = send(&app, to("/v1/charges", "k", "a")).await;
            let mismatch = send(&app, to("/v1/charges", "k", "b")).await;

            assert!(
                replay.is_replay() && replay.body == first.body,
                "{pair}: {replay:?}"
            );
            assert_eq!(mismatch.code(), "idempotency_mismatch", "{pair}");
        }
        assert_eq!(handler.executions(), 1, "{}", maker.name);
    }
}

#[tokio::test(start_paused = true)]
async fn tenants_in_the_prefix_of_a_nest_are_told_apart() {
    let handler = Handler::default();
    let tenant = inner(&handler).layer(IdempotencyLayer::default());
    let app = Router::new().nest("/{tenant}", tenant);

    let acme = send(&app, to("/acme/charges", "k", "a")).await;
    let other = send(&app, to("/other/charges", "k", "a")).await;

    assert_eq!((acme.text(), other.text()), ("execution 1", "execution 2"));
}

#[tokio::test(start_paused = true)]
async fn endpoints_are_matched_on_the_original_path() {
    let handler = Handler::default();
    let layer =
        IdempotencyLayer::default().endpoints(["POST /v1/charges", "POST /v2/refunds/{id}"]);
    let service = |name: &str| {
        let routes = inner(&handler).route("/refunds/{id}", charge(&handler));
        Router::new().nest(name, routes.layer(layer.clone()))
    };
    let app = service("/v1").merge(service("/v2"));

    for (path, covered) in [
        ("/v1/charges", true),
        ("/v2/charges", false),
        ("/v1/refunds/7", false),
        ("/v2/refunds/7", true),
    ] {
        let first = send(&app, to(path, "k", "a")).await;
        let second = send(&app, to(path, "k", "a")).await;

        let expected = if covered {
            Outcome::Replayed
        } else {
            Outcome::Bypassed
        };
        assert_eq!(
            (first.status, second.outcome),
            (StatusCode::CREATED, expected),
            "{path}"
        );
    }
    assert_eq!(handler.executions(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_no_route_takes_leaves_nothing_behind() {
    let layer = IdempotencyLayer::default();
    let only_get = || get(async || ());
    let routes = Router::new().route("/only-get", only_get());
    let freed = Outcome::Executed { recorded: false };

    // axum's `Router::route_layer` covers the 405 of a route, that of `MethodRouter` does not.
    for (name, app, path, outcome) in [
        (
            "layer",
            routes.clone().layer(layer.clone()),
            "/missing",
            freed,
        ),
        (
            "layer",
            routes.clone().layer(layer.clone()),
            "/only-get",
            freed,
        ),
        (
            "route_layer",
            routes.clone().route_layer(layer.clone()),
            "/missing",
            Outcome::Bypassed,
        ),
        (
            "route_layer",
            routes.route_layer(layer.clone()),
            "/only-get",
            freed,
        ),
        (
            "MethodRouter::route_layer",
            Router::new().route("/only-get", only_get().route_layer(layer.clone())),
            "/only-get",
            Outcome::Bypassed,
        ),
    ] {
        let answer = send(&app, to(path, "k", "a")).await;

        let record_key = layer.record_key(b"", &Method::POST, path, "k");
        let status = if path == "/missing" { 404 } else { 405 };
        assert_eq!(
            (answer.status.as_u16(), answer.outcome),
            (status, outcome),
            "{name}: {path}"
        );
        assert!(
            layer.store().inspect(&record_key).await.unwrap().is_none(),
            "{name}: {path}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_around_everything_and_one_around_a_route_act_once() {
    let handler = Handler::default();
    let layer = IdempotencyLayer::default();
    let another = IdempotencyLayer::default().require_key(true);

    for inner in [layer.clone(), another] {
        let charges = charge(&handler).layer(inner);
        let app = Router::new()
            .route("/charges", charges)
            .layer(layer.clone());
        let key = format!("k{}", handler.executions());

        let first = send(&app, keyed(&key, "a")).await;
        let replay = send(&app, keyed(&key, "a")).await;

        assert_eq!(first.status, 201);
        assert!(!first.is_replay() && replay.is_replay());
        assert_eq!(
            replay.headers.get_all("idempotent-replayed").iter().count(),
            1
        );
    }
    assert_eq!(handler.executions(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_the_outer_layer_passes_the_inner_one_still_guards() {
    let handler = Handler::default();
    let strict = IdempotencyLayer::default().require_key(true);
    let listed = IdempotencyLayer::default().endpoints(["POST /elsewhere"]);
    let app = Router::new()
        .route("/charges", charge(&handler).layer(strict))
        .layer(listed);

    let without = send(&app, post("/charges", &[], "a")).await;
    let first = send(&app, keyed("k", "a")).await;
    let replay = send(&app, keyed("k", "a")).await;

    assert_eq!(without.code(), "idempotency_key_missing");
    assert_eq!(first.outcome, Outcome::Executed { recorded: true });
    assert!(replay.is_replay());
    assert_eq!(handler.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn each_route_may_have_its_own_retention() {
    let handler = Handler::default();
    let layer = IdempotencyLayer::default().retention(HOUR);
    let payouts = charge(&handler).layer(layer.clone().retention(7 * 24 * HOUR));
    let app = Router::new()
        .route("/payouts", payouts)
        .route("/charges", charge(&handler).layer(layer));
    for path in ["/payouts", "/charges"] {
        send(&app, to(path, "k", "a")).await;
    }

    tokio::time::advance(2 * HOUR).await;

    assert!(send(&app, to("/payouts", "k", "a")).await.is_replay());
    assert!(!send(&app, to("/charges", "k", "a")).await.is_replay());
    assert_eq!(handler.executions(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_drain_counts_what_runs_behind_clones_that_are_configured_otherwise() {
    let (handler, layer) = (Handler::default(), IdempotencyLayer::default());
    let held = || axum::routing::post_service(handler.bare_held());
    let app = Router::new()
        .route("/a", held().layer(layer.clone().retention(HOUR)))
        .route("/b", held().layer(layer.clone().boxed()));
    let running = ["/a", "/b"].map(|path| tokio::spawn(send(&app, to(path, "k", "a"))));

    settle().await;
    assert_eq!(layer.drain(Duration::ZERO).await.left, 2);
    handler.open();
    settle().await;
    handler.open();

    assert_eq!(layer.drain(HOUR).await.left, 0);
    assert!(running.iter().all(tokio::task::JoinHandle::is_finished));
}

#[tokio::test(start_paused = true)]
async fn a_layer_can_be_named_in_a_struct() {
    struct Api {
        in_memory: IdempotencyLayer,
        anywhere: IdempotencyLayer<BoxStore>,
    }
    let api = Api {
        in_memory: IdempotencyLayer::default(),
        anywhere: IdempotencyLayer::default().boxed(),
    };
    let handler = Handler::default();
    let app = Router::new()
        .route("/a", charge(&handler).layer(api.in_memory.clone()))
        .route("/b", charge(&handler).layer(api.anywhere.clone()));

    for path in ["/a", "/b"] {
        send(&app, to(path, "k", "a")).await;
        assert!(send(&app, to(path, "k", "a")).await.is_replay(), "{path}");
    }
    let record_key = api.in_memory.record_key(b"", &Method::POST, "/a", "k");
    assert!(
        api.in_memory
            .store()
            .inspect(&record_key)
            .await
            .unwrap()
            .is_some()
    );
    assert!(
        api.anywhere
            .store()
            .inspect(&record_key)
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test(start_paused = true)]
async fn two_services_with_one_store_and_two_namespaces_share_nothing() {
    let (handler, store) = (Handler::default(), Arc::new(MemoryStore::default()));
    let service = |namespace: &str| {
        let layer = IdempotencyLayer::new(Arc::clone(&store)).namespace(namespace);
        inner(&handler).layer(layer)
    };

    let payments = send(&service("payments"), keyed("k", "a")).await;
    let payouts = send(&service("payouts"), keyed("k", "a")).await;
    let again = send(&service("payments"), keyed("k", "a")).await;

    assert_eq!(
        (payments.text(), payouts.text()),
        ("execution 1", "execution 2")
    );
    assert!(again.is_replay() && again.text() == "execution 1");
}
