//! The Didit API, small but real: sessions that are made, replaced and changed safely, and a
//! webhook that takes each event once.
//!
//! ```text
//! cargo run --example didit
//!
//! curl -i http://127.0.0.1:3000/v3/session/ \
//!   -H "x-api-key: your_key_here" \
//!   -H "Idempotency-Key: 550e8400-e29b-41d4-a716-446655440000" \
//!   -H "Content-Type: application/json" \
//!   -d '{"workflow_id": "wkf_kyc_full", "vendor_data": "user_12345"}'
//!
//! curl -i http://127.0.0.1:3000/webhooks/didit \
//!   -H "Content-Type: application/json" \
//!   -d '{"event_id": "evt_1", "timestamp": 1767225600}'
//! ```
//!
//! Sent twice, the first makes one session. Sent again with another `timestamp`, the second gets
//! its first answer: the event has been processed. `GET /_ledger` tells how often each handler
//! really ran.
//!
//! The environment is that of `verifa`.

mod common;
#[path = "common/flat.rs"]
mod flat;

use std::process::ExitCode;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post, put};
use axum::{Extension, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tower_idempotency::{FingerprintPolicy, Idempotency, Keep, KeyFrom, KeyPolicy, Scope};

use common::{
    Account, Checked, Failure, Payload, Settings, catch_panics, new_id, new_number, now, serve,
    unknown_method, unknown_path,
};

const CREATE_SESSION: &str = "POST /v3/session/";
const REPLACE_SESSION: &str = "PUT /v3/session/{uuid}/";
const CHANGE_SESSION: &str = "PATCH /v3/session/{uuid}/";
const VERIFY_USER: &str = "POST /v1/verification/sessions";
const RECEIVE_EVENT: &str = "POST /webhooks/didit";

#[tokio::main]
async fn main() -> ExitCode {
    let settings = Settings::from_environment().await;

    let idempotency = settings
        .idempotency
        .namespace("didit")
        .endpoints([CREATE_SESSION, REPLACE_SESSION, CHANGE_SESSION, VERIFY_USER])
        .key(KeyPolicy::uuid())
        .keep(Keep::Success)
        // The account, not the credentials: it may send its API key in either header.
        .scope(Scope::extension(Account::clone));
    // An event is known by its id, whoever delivers it and whatever else it says; a namespace of
    // their own keeps events from meeting keys.
    let events = idempotency
        .clone()
        .namespace("didit-webhooks")
        .endpoints([RECEIVE_EVENT])
        .key_from(KeyFrom::json(["/event_id"]))
        .key(KeyPolicy::default())
        .scope(Scope::shared())
        .fingerprint(FingerprintPolicy::none());

    // The layer that is added last is the outermost: panics are answered, callers are known
    // (a 401 never touches the store), retries are recognised, and then the handler runs.
    let app = Router::new()
        .route("/v3/session/", post(create_session))
        .route(
            "/v3/session/{uuid}/",
            put(replace_session).patch(change_session),
        )
        .route("/v1/verification/sessions", post(verify_user))
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .layer(idempotency.clone())
        .layer(middleware::from_fn(authenticate))
        .route("/_ledger", get(Api::ledger).fallback(unknown_method))
        .route(
            "/webhooks/didit",
            post(receive_event).layer(events).fallback(unknown_method),
        )
        .layer(catch_panics())
        .with_state(Api::default());

    serve(settings.address, app, idempotency, settings.drain).await
}

type Api = common::Api<Session>;

#[derive(Clone, Serialize)]
struct Session {
    uuid: String,
    status: &'static str,
    created_at: String,
    #[serde(flatten)]
    parameters: Parameters,
}

#[derive(Clone, Deserialize, Serialize)]
struct Parameters {
    workflow_id: String,
    vendor_data: Option<String>,
}

async fn create_session(
    State(api): State<Api>,
    Extension(account): Extension<Account>,
    idempotency: Option<Idempotency>,
    payload: Payload,
) -> Result<Response, Failure> {
    let work = api.sandbox.start(CREATE_SESSION, idempotency, payload)?;
    let parameters = work.parameters()?;
    work.done().await?;

    let session = create(&api, account, parameters);
    Ok(work.answer(StatusCode::CREATED, session))
}

#[derive(Deserialize)]
struct Verification {
    user_id: String,
    workflow_id: String,
}

async fn verify_user(
    State(api): State<Api>,
    Extension(account): Extension<Account>,
    idempotency: Option<Idempotency>,
    payload: Payload,
) -> Result<Response, Failure> {
    let work = api.sandbox.start(VERIFY_USER, idempotency, payload)?;
    let verification: Verification = work.parameters()?;
    work.done().await?;

    let parameters = Parameters {
        workflow_id: verification.workflow_id,
        vendor_data: Some(verification.user_id),
    };
    let session = create(&api, account, parameters);
    Ok(work.answer(StatusCode::CREATED, session))
}

async fn replace_session(
    State(api): State<Api>,
    Extension(account): Extension<Account>,
    Checked(Path(uuid)): Checked<Path<String>>,
    idempotency: Option<Idempotency>,
    payload: Payload,
) -> Result<Response, Failure> {
    let work = api.sandbox.start(REPLACE_SESSION, idempotency, payload)?;
    let parameters = work.parameters()?;
    work.done().await?;

    let session = update(&api, &account, &uuid, |_| Ok(parameters))?;
    Ok(work.answer(StatusCode::OK, session))
}

async fn change_session(
    State(api): State<Api>,
    Extension(account): Extension<Account>,
    Checked(Path(uuid)): Checked<Path<String>>,
    idempotency: Option<Idempotency>,
    payload: Payload,
) -> Result<Response, Failure> {
    let work = api.sandbox.start(CHANGE_SESSION, idempotency, payload)?;
    let changes: Map<String, Value> = work.parameters()?;
    work.done().await?;

    let session = update(&api, &account, &uuid, |parameters| {
        let mut members: Map<String, Value> = serde_json::from_value(json!(parameters))?;
        members.extend(changes);
        Ok(serde_json::from_value(members.into())?)
    })?;
    Ok(work.answer(StatusCode::OK, session))
}

fn create(api: &Api, account: Account, parameters: Parameters) -> Session {
    let session = Session {
        uuid: new_uuid(),
        status: "Not Started",
        created_at: now(),
        parameters,
    };
    api.sessions().push((account, session.clone()));
    session
}

fn update(
    api: &Api,
    account: &Account,
    uuid: &str,
    change: impl FnOnce(&Parameters) -> Result<Parameters, Failure>,
) -> Result<Session, Failure> {
    let mut sessions = api.sessions();
    let mut mine = sessions.iter_mut().filter(|(owner, _)| owner == account);
    let Some((_, session)) = mine.find(|(_, session)| session.uuid == uuid) else {
        return Err(Failure::not_found("There is no such session."));
    };
    session.parameters = change(&session.parameters)?;
    Ok(session.clone())
}

#[derive(Deserialize)]
struct Event {
    event_id: Value,
}

/// A delivery without an `event_id` has no key: it gets here each time, and is refused.
async fn receive_event(
    State(api): State<Api>,
    idempotency: Option<Idempotency>,
    payload: Payload,
) -> Result<Response, Failure> {
    let work = api.sandbox.start(RECEIVE_EVENT, idempotency, payload)?;
    let Event { event_id } = work.parameters()?;
    work.done().await?;

    let body = json!({ "receipt": new_id("rcp"), "event_id": event_id });
    Ok(work.answer(StatusCode::OK, body))
}

/// A UUID as if drawn at random.
fn new_uuid() -> String {
    let (high, low) = (new_number(), new_number());
    let (a, b, c) = (high >> 32, high >> 16 & 0xffff, high & 0xfff);
    let (d, e) = (low >> 48 & 0xfff, low & 0xffff_ffff_ffff);
    format!("{a:08x}-{b:04x}-4{c:03x}-8{d:03x}-{e:012x}")
}

/// A middleware outside the idempotency layer: an extractor of the handler is skipped by replays.
async fn authenticate(mut request: Request, next: Next) -> Result<Response, Failure> {
    let headers = request.headers();
    let account = Account::from_header(headers, "x-api-key", "")
        .or_else(|| Account::from_header(headers, "authorization", "Bearer"))
        .ok_or_else(|| Failure::unauthorized("An API key is wanted, in x-api-key or as Bearer."))?;
    request.extensions_mut().insert(account);
    Ok(next.run(request).await)
}
