//! What a handler of axum has to do with the layer: extractors, response parts, extensions.

use std::time::Duration;

use axum::extract::{ConnectInfo, MatchedPath, OriginalUri};
use axum::response::{IntoResponse, Response as AxumResponse};
use axum::routing::post as on_post;
use axum::{Extension, Router};
use http::{Method, StatusCode};
use tower::ServiceExt;
use tower_idempotency::{Idempotency, IdempotencyLayer, Keep, Outcome, Retention};

use super::to;
use crate::support::{keyed, plain, post, send};

#[tokio::test(start_paused = true)]
async fn the_extractor_gives_the_context_of_a_guarded_request() {
    async fn charge(idempotency: Idempotency) -> String {
        format!(
            "{}, attempt {}",
            idempotency.key().as_str(),
            idempotency.attempt()
        )
    }
    let layer = IdempotencyLayer::default();
    let app = Router::new()
        .route("/charges", on_post(charge))
        .layer(layer);

    let answer = send(&app, keyed("\"order_456\"", "a")).await;

    assert_eq!(answer.text(), "order_456, attempt 1");
}

#[tokio::test(start_paused = true)]
async fn the_extractor_says_what_was_forgotten() {
    async fn charge(_: Idempotency) {}
    let without_layer = Router::new().route("/charges", on_post(charge).get(charge));
    let with_layer = without_layer.clone().layer(IdempotencyLayer::default());
    let with_other_endpoints = without_layer
        .clone()
        .layer(IdempotencyLayer::default().endpoints(["POST /refunds"]));
    let without_key = || post("/charges", &[], "a");
    let mut of_another_method = keyed("k", "a");
    *of_another_method.method_mut() = Method::GET;

    for answer in [
        send(&without_layer, keyed("k", "a")).await,
        send(&with_layer, without_key()).await,
        send(&with_layer, of_another_method).await,
        send(&with_other_endpoints, keyed("k", "a")).await,
    ] {
        assert_eq!(answer.status, 500);
        assert_eq!(
            answer.text(),
            "no idempotency context: put an IdempotencyLayer around this route, with a method and \
             endpoint that it covers, and either `.require_key(true)` or an \
             `Option<Idempotency>` in the handler"
        );
    }
    assert_eq!(send(&with_layer, keyed("k", "a")).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn the_optional_extractor_is_none_without_a_key() {
    async fn charge(idempotency: Option<Idempotency>) -> String {
        idempotency.map_or("none".into(), |it| it.key().as_str().to_owned())
    }
    let app = Router::new().route("/charges", on_post(charge));
    let guarded = app.clone().layer(IdempotencyLayer::default());

    assert_eq!(send(&app, keyed("k", "a")).await.text(), "none");
    assert_eq!(send(&guarded, keyed("k", "a")).await.text(), "k");
    assert_eq!(
        send(&guarded, post("/charges", &[], "a")).await.text(),
        "none"
    );
}

#[tokio::test(start_paused = true)]
async fn a_handler_decides_by_a_response_part_what_is_kept() {
    let outcome = |respond: fn() -> AxumResponse| {
        let app: Router = Router::new().route("/charges", on_post(async move || respond()));
        let app = app.layer(IdempotencyLayer::default());
        async move {
            let first = send(&app, keyed("k", "a")).await;
            let second = send(&app, keyed("k", "a")).await;
            (first.status.as_u16(), second.outcome, second.code())
        }
    };
    let none = String::new;
    let executed = Outcome::Executed { recorded: false };

    let by_default = outcome(|| (StatusCode::BAD_GATEWAY, "no").into_response());
    assert_eq!(by_default.await, (502, executed, none()));
    let kept = outcome(|| (StatusCode::BAD_GATEWAY, Keep::Store, "no").into_response());
    assert_eq!(kept.await, (502, Outcome::Replayed, none()));
    let freed = outcome(|| (StatusCode::CREATED, Keep::Discard, "yes").into_response());
    assert_eq!(freed.await, (201, executed, none()));
    let streamed = outcome(|| (Keep::Stream, "yes").into_response());
    let unavailable = "idempotency_response_unavailable".to_owned();
    assert_eq!(streamed.await, (200, Outcome::Refused, unavailable));
    let by_rule = outcome(|| {
        let declined = Keep::when(|reply| reply.status() == StatusCode::PAYMENT_REQUIRED);
        (StatusCode::PAYMENT_REQUIRED, declined, "no").into_response()
    });
    assert_eq!(by_rule.await, (402, Outcome::Replayed, none()));
}

#[tokio::test(start_paused = true)]
async fn a_response_part_of_ok_and_of_err_counts() {
    async fn charge(body: String) -> Result<(Keep, String), (StatusCode, Keep, &'static str)> {
        match body.as_str() {
            "good" => Ok((Keep::Discard, body)),
            _ => Err((StatusCode::PAYMENT_REQUIRED, Keep::Store, "declined")),
        }
    }
    let app = Router::new().route("/charges", on_post(charge));
    let app = app.layer(IdempotencyLayer::default());

    for (body, replayed) in [("good", false), ("bad", true)] {
        send(&app, plain(body, body)).await;
        assert_eq!(
            send(&app, plain(body, body)).await.is_replay(),
            replayed,
            "{body}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_shortens_the_retention_of_its_answer_and_never_lengthens_it() {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let app = Router::new()
        .route(
            "/short",
            on_post(async move || (Retention(minutes(10)), "short")),
        )
        .route(
            "/long",
            on_post(async move || (Retention(minutes(600)), "long")),
        )
        .layer(IdempotencyLayer::default().retention(minutes(60)));
    for path in ["/short", "/long"] {
        send(&app, to(path, "k", "a")).await;
    }

    tokio::time::advance(minutes(9)).await;
    assert!(send(&app, to("/short", "k", "a")).await.is_replay());

    tokio::time::advance(minutes(2)).await;
    assert!(!send(&app, to("/short", "k", "a")).await.is_replay());
    assert!(send(&app, to("/long", "k", "a")).await.is_replay());

    tokio::time::advance(minutes(50)).await;
    assert!(!send(&app, to("/long", "k", "a")).await.is_replay());
}

#[tokio::test(start_paused = true)]
async fn extensions_of_the_request_reach_the_handler() {
    #[derive(Clone)]
    struct Tenant(&'static str);
    async fn charge(
        ConnectInfo(peer): ConnectInfo<&'static str>,
        Extension(tenant): Extension<Tenant>,
        OriginalUri(uri): OriginalUri,
        path: MatchedPath,
    ) -> String {
        format!("{peer}, {}, {uri}, {}", tenant.0, path.as_str())
    }
    let app = Router::new().route("/charges", on_post(charge));
    let app = Router::new().nest("/{version}", app.layer(IdempotencyLayer::default()));
    let app = app.layer(Extension(Tenant("acme")));

    for with_key in [false, true] {
        let mut request = to("/v1/charges", "k", "a");
        request.extensions_mut().insert(ConnectInfo("somewhere"));
        if !with_key {
            request.headers_mut().clear();
        }
        let answer = send(&app, request).await;

        let expected = "somewhere, acme, /v1/charges, /{version}/charges";
        assert_eq!(answer.text(), expected, "{with_key}");
    }
}

#[tokio::test(start_paused = true)]
async fn extensions_of_the_response_reach_layers_further_out() {
    #[derive(Clone, Debug, PartialEq)]
    struct Route(&'static str);
    let handler = on_post(async || (Extension(Route("charges")), "done"));
    let app = Router::new()
        .route("/charges", handler)
        .layer(IdempotencyLayer::default());

    let response = app.oneshot(keyed("k", "a")).await.unwrap();

    assert_eq!(response.extensions().get(), Some(&Route("charges")));
    let executed = Outcome::Executed { recorded: true };
    assert_eq!(Outcome::of(response.extensions()), executed);
}
