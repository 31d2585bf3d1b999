//! The Verifa API, small but real: three endpoints that are safe to retry, two beside them, and a
//! webhook that takes each event once.
//!
//! ```text
//! cargo run --example verifa
//!
//! curl -i http://127.0.0.1:3000/api/v1/sessions \
//!   -H "X-API-Key: vk_live_your_key_here" \
//!   -H "Idempotency-Key: req_abc123_attempt_1" \
//!   -H "Content-Type: application/json" \
//!   -d '{"external_ref": "user_abc123", "country": "US"}'
//!
//! curl -i http://127.0.0.1:3000/webhooks/verifa \
//!   -H "Content-Type: application/json" \
//!   -d '{"type": "session.completed", "session_id": "ses_1", "sent_at": 1767225600}'
//! ```
//!
//! Sent twice, the first makes one session, and the second answer is the first one with
//! `idempotent-replayed: true`. With the same key and another `country` it is refused with 422.
//! The delivery, sent again with another `sent_at`, gets its first answer: `type` and `session_id`
//! say which event it is. `GET /_ledger` tells how often each handler really ran.
//!
//! Environment: `ADDR` (127.0.0.1:3000), `STORE_URL` (memory:, or redis://…, rediss://…,
//! redis+sentinel://…, redis+cluster://…, postgres://…, sqlite:PATH: then several processes on one store
//! behave as one),
//! `RETENTION_SECS` (86400), `LEASE_SECS` (30), `IN_FLIGHT` (reject, or wait:SECONDS), `ON_LOST`
//! (rerun, or refuse) and `DRAIN_SECS` (25).
//!
//! What is of no use is refused in one line on stderr, with status 2; a store that is not in reach
//! within a few seconds with status 1, because it may work if the program is started again. The
//! sessions themselves stay in the memory of each process.

mod common;
#[path = "common/flat.rs"]
mod flat;

use std::process::ExitCode;

use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower_idempotency::{FingerprintPolicy, Idempotency, KeyFrom, Scope};

use common::{
    Account, Checked, Failure, Payload, Settings, catch_panics, new_id, now, serve, unknown_method,
    unknown_path,
};

const CREATE_SESSION: &str = "POST /api/v1/sessions";
const LIST_SESSIONS: &str = "GET /api/v1/sessions";
const BULK_REDACT: &str = "POST /api/v1/sessions/bulk-redact";
const RESUME_SESSION: &str = "POST /api/v1/sessions/{id}/resume";
const TEST_ENDPOINT: &str = "POST /api/v1/webhooks/endpoints/{endpoint_id}/test";
const RECEIVE_EVENT: &str = "POST /webhooks/verifa";

#[tokio::main]
async fn main() -> ExitCode {
    let settings = Settings::from_environment().await;

    let idempotency = settings
        .idempotency
        .namespace("verifa")
        .endpoints([CREATE_SESSION, BULK_REDACT, TEST_ENDPOINT])
        // The account, not whatever credentials a gateway may add.
        .scope(Scope::extension(Account::clone));
    // An event is known by its type and session, whoever delivers it and whatever else it says; a
    // namespace of their own keeps events from meeting keys.
    let events = idempotency
        .clone()
        .namespace("verifa-webhooks")
        .endpoints([RECEIVE_EVENT])
        .key_from(KeyFrom::json(["/type", "/session_id"]))
        .scope(Scope::shared())
        .fingerprint(FingerprintPolicy::none());

    // The layer that is added last is the outermost: panics are answered, callers are known
    // (a 401 never touches the store), retries are recognised, and then the handler runs.
    let app = Router::new()
        .route("/api/v1/sessions", get(list_sessions).post(create_session))
        .route("/api/v1/sessions/bulk-redact", post(bulk_redact))
        .route("/api/v1/sessions/{id}/resume", post(resume_session))
        .route(
            "/api/v1/webhooks/endpoints/{endpoint_id}/test",
            post(test_endpoint),
        )
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .layer(idempotency.clone())
        .layer(middleware::from_fn(authenticate))
        .route("/_ledger", get(Api::ledger).fallback(unknown_method))
        .route(
            "/webhooks/verifa",
            post(receive_event).layer(events).fallback(unknown_method),
        )
        .layer(catch_panics())
        .with_state(Api::default());

    serve(settings.address, app, idempotency, settings.drain).await
}

type Api = common::Api<Session>;

#[derive(Clone, Serialize)]
struct Session {
    id: String,
    external_ref: String,
    country: Option<String>,
    status: &'static str,
    created_at: String,
}

const PENDING: &str = "pending";
const REDACTED: &str = "redacted";

#[derive(Deserialize)]
struct NewSession {
    external_ref: String,
    country: Option<String>,
}

async fn create_session(
    State(api): State<Api>,
    Extension(account): Extension<Account>,
    idempotency: Option<Idempotency>,
    payload: Payload,
) -> Result<Response, Failure> {
    let work = api.sandbox.start(CREATE_SESSION, idempotency, payload)?;
    let new: NewSession = work.parameters()?;
    if new.external_ref.is_empty() {
        return Err(Failure::invalid("external_ref must not be empty."));
    }
    work.done().await?;

    let session = Session {
        id: new_id("ses"),
        external_ref: new.external_ref,
        country: new.country,
        status: PENDING,
        created_at: now(),
    };
    api.sessions().push((account, session.clone()));
    Ok(work.answer(StatusCode::CREATED, session))
}

#[derive(Deserialize)]
struct Filter {
    external_ref: Option<String>,
}

async fn list_sessions(
    State(api): State<Api>,
    Extension(account): Extension<Account>,
    Checked(Query(filter)): Checked<Query<Filter>>,
) -> Response {
    api.sandbox.count(LIST_SESSIONS, None);

    let sessions = api.sessions();
    let mine = sessions.iter().filter(|(owner, _)| *owner == account);
    let listed = mine.filter(|(_, session)| match &filter.external_ref {
        Some(external_ref) => session.external_ref == *external_ref,
        None => true,
    });
    let data: Vec<&Session> = listed.map(|(_, session)| session).collect();
    Json(json!({ "data": data })).into_response()
}

#[derive(Deserialize)]
struct Redaction {
    session_ids: Vec<String>,
}

async fn bulk_redact(
    State(api): State<Api>,
    Extension(account): Extension<Account>,
    idempotency: Option<Idempotency>,
    payload: Payload,
) -> Result<Response, Failure> {
    let work = api.sandbox.start(BULK_REDACT, idempotency, payload)?;
    let Redaction { session_ids } = work.parameters()?;
    work.done().await?;

    let mut redacted = 0;
    for (owner, session) in api.sessions().iter_mut() {
        let listed = *owner == account && session_ids.contains(&session.id);
        if listed && session.status != REDACTED {
            session.country = None;
            session.status = REDACTED;
            redacted += 1;
        }
    }
    Ok(work.answer(StatusCode::OK, json!({ "redacted": redacted })))
}

/// Not among the idempotent endpoints: a key is ignored, and every call gives a new token.
async fn resume_session(
    State(api): State<Api>,
    Extension(account): Extension<Account>,
    Checked(Path(id)): Checked<Path<String>>,
    payload: Payload,
) -> Result<Response, Failure> {
    let work = api.sandbox.start(RESUME_SESSION, None, payload)?;
    work.done().await?;

    let mut sessions = api.sessions();
    let mut mine = sessions.iter_mut().filter(|(owner, _)| *owner == account);
    let Some((_, session)) = mine.find(|(_, session)| session.id == id) else {
        return Err(Failure::not_found("There is no such session."));
    };
    if session.status == REDACTED {
        return Err(Failure::invalid("A redacted session cannot be resumed."));
    }
    session.status = PENDING;
    let body = json!({ "id": id, "status": PENDING, "capture_token": new_id("cap") });
    Ok(work.answer(StatusCode::OK, body))
}

async fn test_endpoint(
    State(api): State<Api>,
    Checked(Path(endpoint_id)): Checked<Path<String>>,
    idempotency: Option<Idempotency>,
    payload: Payload,
) -> Result<Response, Failure> {
    let work = api.sandbox.start(TEST_ENDPOINT, idempotency, payload)?;
    work.done().await?;

    let delivery_id = new_id("dlv");
    let body = json!({ "endpoint_id": endpoint_id, "delivered": true, "delivery_id": delivery_id });
    Ok(work.answer(StatusCode::OK, body))
}

#[derive(Deserialize)]
struct Event {
    r#type: Value,
    session_id: Value,
}

/// A delivery that does not say which event it is has no key: it gets here each time, and is refused.
async fn receive_event(
    State(api): State<Api>,
    idempotency: Option<Idempotency>,
    payload: Payload,
) -> Result<Response, Failure> {
    let work = api.sandbox.start(RECEIVE_EVENT, idempotency, payload)?;
    let Event { r#type, session_id } = work.parameters()?;
    work.done().await?;

    let body = json!({ "receipt": new_id("rcp"), "type": r#type, "session_id": session_id });
    Ok(work.answer(StatusCode::OK, body))
}

/// A middleware outside the idempotency layer: an extractor of the handler is skipped by replays.
async fn authenticate(mut request: Request, next: Next) -> Result<Response, Failure> {
    let account = Account::from_header(request.headers(), "x-api-key", "")
        .filter(|account| account.as_ref().starts_with(b"vk_"))
        .ok_or_else(|| Failure::unauthorized("X-API-Key must hold an API key."))?;
    request.extensions_mut().insert(account);
    Ok(next.run(request).await)
}
