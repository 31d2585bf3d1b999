//! The TXCloud API, small but real: six endpoints that are safe to retry, nested errors, and a
//! request id that tells which execution an answer is of.
//!
//! ```text
//! cargo run --example txcloud
//!
//! curl -i http://127.0.0.1:3000/v1/identity/verify \
//!   -H "Authorization: Bearer tx_live_your_key_here" \
//!   -H "Idempotency-Key: user_123_verification_attempt_1" \
//!   -H "Content-Type: application/json" \
//!   -d '{"document_front": "...", "country": "MA"}'
//! ```
//!
//! Sent twice, it verifies once, and the second answer is the first one, `x-request-id` included.
//! With the same key and another `country` it is refused with 422 `idempotency_key_conflict`; with
//! a key like `a b` or of less than 10 characters, with 400. `GET /_ledger` tells how often each
//! handler really ran.
//!
//! The environment is that of `verifa`.

mod common;

use std::process::ExitCode;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Extension, Json, Router};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tower_idempotency::{ErrorForm, Idempotency, KeyPolicy, RefusalCode, Scope};

use common::{
    Account, Checked, Failure, Payload, Settings, catch_panics, new_id, now, serve, unknown_method,
    unknown_path,
};

const VERIFY_IDENTITY: &str = "POST /v1/identity/verify";
const CREATE_SESSION: &str = "POST /v1/identity/sessions";
const READ_SESSION: &str = "GET /v1/identity/sessions/{id}";
const DELETE_SESSION: &str = "DELETE /v1/identity/sessions/{id}";
const SCORE_TRANSACTION: &str = "POST /v1/transactions/score";
const ASSESS_LOAN: &str = "POST /v1/lending/assess";
const VERIFY_BUSINESS: &str = "POST /v1/kyb/verify";
const SCREEN: &str = "POST /v1/watchlist/screen";

#[tokio::main]
async fn main() -> ExitCode {
    let settings = Settings::from_environment().await;

    let conflict = "Idempotency key already used with different request parameters";
    let errors = ErrorForm::nested()
        .code(RefusalCode::Mismatch, "idempotency_key_conflict")
        .detail(RefusalCode::Mismatch, conflict);
    let idempotency = settings
        .idempotency
        .namespace("txcloud")
        .endpoints([
            VERIFY_IDENTITY,
            CREATE_SESSION,
            SCORE_TRANSACTION,
            ASSESS_LOAN,
            VERIFY_BUSINESS,
            SCREEN,
        ])
        .key(KeyPolicy::ascii(10..=255).characters(is_key_character))
        .scope(Scope::extension(Account::clone))
        .errors(errors);

    let assess = |_: Anything| json!({ "decision": "approved" });
    let verify_business = |_: Anything| json!({ "status": "verified" });
    let screen = |_: Anything| json!({ "matches": [] });

    // The layer that is added last is the outermost: panics are answered, callers are known
    // (a 401 never touches the store), retries are recognised, and what reaches the router gets an id.
    let app = Router::new()
        .route(
            "/v1/identity/verify",
            check(VERIFY_IDENTITY, Identity::verify),
        )
        .route("/v1/identity/sessions", post(create_session))
        .route(
            "/v1/identity/sessions/{id}",
            get(read_session).delete(delete_session),
        )
        .route(
            "/v1/transactions/score",
            check(SCORE_TRANSACTION, Transaction::score),
        )
        .route("/v1/lending/assess", check(ASSESS_LOAN, assess))
        .route("/v1/kyb/verify", check(VERIFY_BUSINESS, verify_business))
        .route("/v1/watchlist/screen", check(SCREEN, screen))
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .layer(middleware::map_response(number))
        .layer(idempotency.clone())
        .layer(middleware::from_fn(authenticate))
        .route("/_ledger", get(Api::ledger).fallback(unknown_method))
        .layer(catch_panics())
        .with_state(Api::default());

    serve(settings.address, app, idempotency, settings.drain).await
}

/// The document's own good example of a key has a colon.
fn is_key_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-_:".contains(character)
}

type Api = common::Api<Session>;

#[derive(Clone, Serialize)]
struct Session {
    id: String,
    status: &'static str,
    created_at: String,
    #[serde(flatten)]
    parameters: NewSession,
}

#[derive(Clone, Deserialize, Serialize)]
struct NewSession {
    user_id: Option<String>,
    country: Option<String>,
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

    let session = Session {
        id: new_id("ses"),
        status: "created",
        created_at: now(),
        parameters,
    };
    api.sessions().push((account, session.clone()));
    Ok(work.answer(StatusCode::OK, session))
}

async fn read_session(
    State(api): State<Api>,
    Extension(account): Extension<Account>,
    Checked(Path(id)): Checked<Path<String>>,
) -> Result<Json<Session>, Failure> {
    api.sandbox.count(READ_SESSION, None);

    let sessions = api.sessions();
    let mut mine = sessions.iter().filter(|(owner, _)| *owner == account);
    match mine.find(|(_, session)| session.id == id) {
        Some((_, session)) => Ok(Json(session.clone())),
        None => Err(Failure::not_found("There is no such session.")),
    }
}

async fn delete_session(
    State(api): State<Api>,
    Extension(account): Extension<Account>,
    Checked(Path(id)): Checked<Path<String>>,
) -> Result<StatusCode, Failure> {
    api.sandbox.count(DELETE_SESSION, None);

    let mut sessions = api.sessions();
    let before = sessions.len();
    sessions.retain(|(owner, session)| *owner != account || session.id != id);
    if sessions.len() == before {
        return Err(Failure::not_found("There is no such session."));
    }
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct Identity {
    country: Option<String>,
}

impl Identity {
    fn verify(self) -> Value {
        json!({ "status": "verified", "country": self.country })
    }
}

#[derive(Deserialize)]
struct Transaction {
    transaction_id: Option<String>,
    amount: Option<f64>,
}

impl Transaction {
    fn score(self) -> Value {
        let is_large = self.amount.is_some_and(|amount| amount > 10_000.0);
        let score = if is_large { 80 } else { 10 };
        json!({ "transaction_id": self.transaction_id, "score": score })
    }
}

/// What the document says nothing of.
type Anything = Map<String, Value>;

#[derive(Serialize)]
struct Report {
    id: String,
    created_at: String,
    #[serde(flatten)]
    findings: Value,
}

/// A handler that judges what it is sent.
fn check<P>(operation: &'static str, judge: fn(P) -> Value) -> MethodRouter<Api>
where
    P: DeserializeOwned + Send + 'static,
{
    let handler = async move |State(api): State<Api>, idempotency: Option<Idempotency>, payload| {
        let work = api.sandbox.start(operation, idempotency, payload)?;
        let findings = judge(work.parameters()?);
        work.done().await?;

        let report = Report {
            id: new_id("chk"),
            created_at: now(),
            findings,
        };
        Ok::<_, Failure>(work.answer(StatusCode::OK, report))
    };
    post(handler)
}

/// Inside the idempotency layer: the id is that of an execution, and a replay shows the original's.
async fn number(response: Response) -> impl IntoResponse {
    ([("x-request-id", new_id("req"))], response)
}

/// A middleware outside the idempotency layer: an extractor of the handler is skipped by replays.
async fn authenticate(mut request: Request, next: Next) -> Result<Response, Failure> {
    let account = Account::from_header(request.headers(), "authorization", "Bearer")
        .ok_or_else(|| Failure::unauthorized("Authorization must hold Bearer and an API key."))?;
    request.extensions_mut().insert(account);
    Ok(next.run(request).await)
}

/// The form of TXCloud's errors, which the idempotency layer's own are given too.
impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let r#type = if self.status.is_server_error() {
            "api_error"
        } else {
            "invalid_request_error"
        };
        let error = json!({ "code": self.code, "message": self.detail, "type": r#type });
        (self.status, Json(json!({ "error": error }))).into_response()
    }
}
