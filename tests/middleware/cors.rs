//! Scripts of other origins.

use axum::Router;
use axum::routing::post as posting;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, Request};
use tower_http::cors::CorsLayer;
use tower_idempotency::cors::{ALLOW_HEADERS, EXPOSE_HEADERS};
use tower_idempotency::{IdempotencyLayer, Outcome};

use crate::support::{Answer, Body, Handler, PATH, plain, send};

const ONE: &str = "https://one.example";
const OTHER: &str = "https://other.example";

/// A router that two origins may use.
fn app(handler: &Handler) -> Router {
    let [idempotency_key] = ALLOW_HEADERS;
    let cors = CorsLayer::new()
        .allow_origin([ONE, OTHER].map(HeaderValue::from_static))
        .allow_methods([Method::POST])
        .allow_headers([AUTHORIZATION, CONTENT_TYPE, idempotency_key])
        .expose_headers(EXPOSE_HEADERS);
    Router::new()
        .route(PATH, axum::routing::post_service(handler.bare()))
        .layer(IdempotencyLayer::default())
        .layer(cors)
}

fn from(origin: &'static str, mut request: Request<Body>) -> Request<Body> {
    request
        .headers_mut()
        .insert("origin", HeaderValue::from_static(origin));
    request
}

/// The names in a header that lists some.
fn names<'a>(answer: &'a Answer, header: &str) -> Vec<&'a str> {
    answer
        .header(header)
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_preflight_allows_the_key() {
    let handler = Handler::default();
    let mut preflight = from(ONE, plain("k", "")).map(|_| Body::default());
    *preflight.method_mut() = Method::OPTIONS;
    let headers = preflight.headers_mut();
    headers.remove("idempotency-key");
    headers.insert(
        "access-control-request-method",
        HeaderValue::from_static("POST"),
    );
    let asked = HeaderValue::from_static("idempotency-key,content-type");
    headers.insert("access-control-request-headers", asked);

    let answer = send(&app(&handler), preflight).await;

    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), Some(ONE));
    assert!(names(&answer, "access-control-allow-headers").contains(&"idempotency-key"));
    assert_eq!(handler.executions(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_replay_carries_the_headers_of_the_origin_that_asks() {
    let handler = Handler::default();
    let app = app(&handler);

    let first = send(&app, from(ONE, plain("k", "x"))).await;
    let replay = send(&app, from(OTHER, plain("k", "x"))).await;
    let of_no_origin = send(&app, plain("k", "x")).await;
    let foreign = send(&app, from("https://foreign.example", plain("k", "x"))).await;

    let origins = |answer: &Answer| {
        let values = answer.headers.get_all("access-control-allow-origin");
        values
            .iter()
            .map(|value| value.to_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(origins(&first), [ONE]);
    assert_eq!(
        (replay.outcome, origins(&replay)),
        (Outcome::Replayed, vec![OTHER.to_owned()])
    );
    for other in [of_no_origin, foreign] {
        assert_eq!(
            (other.outcome, origins(&other)),
            (Outcome::Replayed, vec![])
        );
    }
    assert_eq!(handler.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn scripts_may_read_what_tells_of_replays_and_refusals() {
    let app = app(&Handler::default());
    let exposed = [
        "idempotency-key",
        "idempotent-replayed",
        "link",
        "location",
        "retry-after",
    ];
    let sorted = |answer: &Answer| {
        let mut names: Vec<_> = names(answer, "access-control-expose-headers")
            .into_iter()
            .map(str::to_ascii_lowercase)
            .collect();
        names.sort();
        names
    };

    let first = send(&app, from(ONE, plain("k", "x"))).await;
    let replay = send(&app, from(ONE, plain("k", "x"))).await;
    let refusal = send(&app, from(ONE, plain("k", "y"))).await;

    for answer in [&first, &replay, &refusal] {
        assert_eq!(sorted(answer), exposed);
        assert_eq!(answer.header("access-control-allow-origin"), Some(ONE));
    }
    assert!(replay.is_replay());
    assert_eq!(refusal.code(), "idempotency_mismatch");
}

#[tokio::test(start_paused = true)]
async fn a_cors_layer_inside_is_not_replayed_to_another_origin() {
    let handler = posting(async || "done");
    let cors = CorsLayer::new().allow_origin([ONE, OTHER].map(HeaderValue::from_static));
    let app: Router = Router::new()
        .route(PATH, handler)
        .layer(cors)
        .layer(IdempotencyLayer::default());

    let first = send(&app, from(ONE, plain("k", "x"))).await;
    let replay = send(&app, from(OTHER, plain("k", "x"))).await;

    assert_eq!(first.header("access-control-allow-origin"), Some(ONE));
    assert!(replay.is_replay());
    assert_eq!(replay.header("access-control-allow-origin"), None);
}

#[test]
fn the_headers_are_the_ones_that_the_layer_reads_and_writes() {
    let names =
        |headers: &[HeaderName]| headers.iter().map(ToString::to_string).collect::<Vec<_>>();

    assert_eq!(names(&ALLOW_HEADERS), ["idempotency-key"]);
    let read = [
        "idempotent-replayed",
        "idempotency-key",
        "retry-after",
        "location",
        "link",
    ];
    assert_eq!(names(&EXPOSE_HEADERS), read);
}
