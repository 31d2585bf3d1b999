//! What a handler says about its own response.

use http::HeaderMap as Headers;
use tower_idempotency::{Retention, Warning};

use super::*;
use crate::heard::{Heard, told};

const HOUR: Duration = Duration::from_secs(60 * 60);

fn to(path: &str, key: &str) -> Request<axum::body::Body> {
    let mut request = keyed(key, "x");
    *request.uri_mut() = path.parse().unwrap();
    request.map(axum::body::Body::new)
}

async fn call(app: &Router, path: &str) -> Answer {
    read(app.clone().oneshot(to(path, "k")).await.unwrap()).await
}

type Kept = (Keep, Retention, &'static str);

/// A router whose routes say for themselves what is kept, and how long.
fn app(layer: IdempotencyLayer) -> Router {
    async fn fine() -> Result<Kept, StatusCode> {
        Ok((Keep::Store, Retention(HOUR), "fine"))
    }
    async fn failed() -> Result<(), (StatusCode, Keep, Retention, &'static str)> {
        Err((
            StatusCode::BAD_GATEWAY,
            Keep::Store,
            Retention(HOUR),
            "failed for good",
        ))
    }
    async fn turned() -> (Retention, Keep, StatusCode) {
        (Retention(HOUR), Keep::All, StatusCode::IM_A_TEAPOT)
    }
    async fn longer() -> (Retention, &'static str) {
        (Retention(1_000 * HOUR), "longer")
    }
    async fn freed() -> Kept {
        (Keep::Discard, Retention(1_000 * HOUR), "freed")
    }
    async fn streamed() -> (
        StatusCode,
        Keep,
        Retention,
        [(&'static str, &'static str); 1],
        String,
    ) {
        let location = [("location", "/made/7")];
        (
            StatusCode::CREATED,
            Keep::Stream,
            Retention(HOUR),
            location,
            "streamed".into(),
        )
    }
    Router::new()
        .route("/fine", posting(fine))
        .route("/failed", posting(failed))
        .route("/turned", posting(turned))
        .route("/longer", posting(longer))
        .route("/freed", posting(freed))
        .route("/streamed", posting(streamed))
        .layer(layer)
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_and_for_how_long_are_said_together_in_ok_and_in_err() {
    let app = app(IdempotencyLayer::default());

    for (path, status) in [("/fine", 200), ("/failed", 502), ("/turned", 418)] {
        let first = call(&app, path).await;
        tokio::time::advance(HOUR - SECOND).await;
        let replay = call(&app, path).await;
        tokio::time::advance(2 * SECOND).await;
        let later = call(&app, path).await;

        assert_eq!(first.status, status);
        assert!(replay.is_replay() && replay.status == status && replay.body == first.body);
        assert_eq!(
            later.outcome,
            Outcome::Executed { recorded: true },
            "{path}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_streamed_response_leaves_a_tombstone_with_its_location_as_long_as_it_says() {
    let app = app(IdempotencyLayer::default());

    let first = call(&app, "/streamed").await;
    tokio::time::advance(HOUR - SECOND).await;
    let retry = call(&app, "/streamed").await;
    tokio::time::advance(2 * SECOND).await;
    let later = call(&app, "/streamed").await;

    assert_eq!((first.status.as_u16(), first.text()), (201, "streamed"));
    assert_eq!(first.outcome, Outcome::Executed { recorded: true });
    assert_eq!(
        (retry.status.as_u16(), retry.code()),
        (409, "idempotency_response_unavailable".into())
    );
    assert_eq!(retry.header("location"), Some("/made/7"));
    assert!(!retry.is_replay());
    assert_eq!(later.text(), "streamed");
}

#[tokio::test(start_paused = true)]
async fn a_retention_is_capped_by_that_of_the_layer_or_of_the_endpoint_and_warned_of() {
    let heard = Heard::default();
    let layer = heard.of(IdempotencyLayer::default()).retention(24 * HOUR);
    let of_endpoint = layer
        .clone()
        .endpoints([Endpoint::post("/longer").retention(100 * HOUR)]);

    for (layer, cap) in [(layer, 24 * HOUR), (of_endpoint, 100 * HOUR)] {
        let app = app(layer.namespace(format!("{cap:?}")));
        call(&app, "/longer").await;
        let warnings = heard.take().into_iter().filter_map(|event| event.warning());
        let capped = warnings.map(|warning| match warning {
            Warning::RetentionClamped {
                asked, retention, ..
            } => (asked, retention),
            other => panic!("{other}"),
        });
        assert_eq!(capped.collect::<Vec<_>>(), [(1_000 * HOUR, cap)]);

        tokio::time::advance(cap - SECOND).await;
        assert!(call(&app, "/longer").await.is_replay());
        tokio::time::advance(2 * SECOND).await;
        assert!(!call(&app, "/longer").await.is_replay());
        heard.take();
    }
}

#[tokio::test(start_paused = true)]
async fn a_retention_of_what_is_not_kept_says_nothing() {
    let heard = Heard::default();
    let app = app(heard.of(IdempotencyLayer::default()));

    let first = call(&app, "/freed").await;
    let second = call(&app, "/freed").await;

    let freed = Outcome::Executed { recorded: false };
    assert_eq!((first.outcome, second.outcome), (freed, freed));
    let events = heard.take();
    let said = events.iter().map(told).collect::<Vec<_>>();
    assert_eq!(said, ["executed_unrecorded"; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_handler_overrules_its_endpoint_as_it_overrules_the_layer() {
    let endpoints = [
        Endpoint::post("/fine").keep(Keep::Discard),
        Endpoint::post("/failed").keep(Keep::Success),
        Endpoint::post("/freed").keep(Keep::All),
    ];
    let app = app(IdempotencyLayer::default().endpoints(endpoints));

    for (path, kept) in [("/fine", true), ("/failed", true), ("/freed", false)] {
        call(&app, path).await;
        assert_eq!(call(&app, path).await.is_replay(), kept, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_to_be_kept_behind_the_mark_is_unknown_and_never_run_again() {
    async fn charge(key: Idempotency) -> (Keep, &'static str) {
        assert_eq!(key.attempt(), 1);
        key.point_of_no_return().await.unwrap();
        (Keep::Discard, "done")
    }
    let heard = Heard::default();
    let layer = heard.of(IdempotencyLayer::default());
    let app = Router::new().route("/charge", posting(charge)).layer(layer);

    let first = call(&app, "/charge").await;
    let retry = call(&app, "/charge").await;

    assert_eq!(
        (first.text(), first.outcome),
        ("done", Outcome::Executed { recorded: false })
    );
    assert_eq!(
        (retry.status.as_u16(), retry.code()),
        (409, "idempotency_outcome_unknown".into())
    );
    let said = heard.told();
    assert_eq!(
        said,
        ["executed_unrecorded", "refused idempotency_outcome_unknown"]
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_says_reaches_no_client() {
    let app = app(IdempotencyLayer::default());

    for path in ["/fine", "/failed", "/turned", "/freed", "/streamed"] {
        let first = call(&app, path).await;
        let names = Headers::keys(&first.headers).map(http::HeaderName::as_str);
        let known = ["content-type", "content-length", "location"];
        assert!(
            names.into_iter().all(|name| known.contains(&name)),
            "{first:?}"
        );
    }
}
