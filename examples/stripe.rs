//! An API like Stripe's, small: charges and customers that Stripe's own SDKs make, and make once.
//!
//! ```text
//! cargo run --example stripe
//!
//! curl -i http://127.0.0.1:3000/v1/charges \
//!   -H "Authorization: Bearer sk_test_your_key_here" \
//!   -H "Idempotency-Key: order_456_payment" \
//!   -d amount=2000 -d currency=usd -d source=tok_visa
//! ```
//!
//! ```python
//! client = stripe.StripeClient("sk_test_...", base_addresses={"api": "http://127.0.0.1:3000"})
//! client.v1.charges.create(params={"amount": 2000, "currency": "usd", "source": "tok_visa"})
//! ```
//!
//! The SDK makes the key up by itself and repeats it when it retries. What was charged is answered
//! again, and so is what was declined (`source=tok_chargeDeclined`) or failed (`tok_serverError`):
//! whatever came of a request that began to run, but a panic. Only one that was never valid leaves its key free.
//! `metadata[simulate_delay_ms]` makes a charge slow; `GET /_ledger` tells how often each handler
//! really ran. The environment is that of `verifa`.

#[expect(
    dead_code,
    unused_imports,
    reason = "this API reads forms, and half of it is for JSON"
)]
mod common;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::rejection::FormRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Form, Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tower_idempotency::{ErrorForm, Idempotency, Keep, Scope};

use common::{
    Account, Checked, Failure, Sandbox, Settings, catch_panics, new_id, serve, unknown_method,
    unknown_path,
};

const CREATE_CHARGE: &str = "POST /v1/charges";
const READ_CHARGE: &str = "GET /v1/charges/{id}";
const CREATE_CUSTOMER: &str = "POST /v1/customers";

#[tokio::main]
async fn main() -> ExitCode {
    let settings = Settings::from_environment().await;

    // Any POST may have a key, of up to 255 characters; a form is compared by its bytes.
    let idempotency = settings
        .idempotency
        .namespace("stripe")
        .scope(Scope::extension(Account::clone))
        .keep(Keep::All)
        .errors(ErrorForm::stripe());

    // The layer that is added last is the outermost: panics are answered, callers are known
    // (a 401 never touches the store), retries are recognised, and then the handler runs.
    let app = Router::new()
        .route("/v1/charges", post(create_charge))
        .route("/v1/charges/{id}", get(read_charge))
        .route("/v1/customers", post(create_customer))
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .layer(idempotency.clone())
        .layer(middleware::from_fn(authenticate))
        .route("/_ledger", get(ledger).fallback(unknown_method))
        .layer(catch_panics())
        .with_state(Api::default());

    serve(settings.address, app, idempotency, settings.drain).await
}

/// What the API keeps, in memory.
#[derive(Clone, Default)]
struct Api {
    sandbox: Sandbox,
    charges: Arc<Mutex<Vec<(Account, Value)>>>,
}

#[derive(Deserialize)]
struct NewCharge {
    amount: u64,
    currency: String,
    source: Option<String>,
    #[serde(default, rename = "metadata[simulate_delay_ms]")]
    delay_ms: u32,
}

async fn create_charge(
    State(api): State<Api>,
    Extension(account): Extension<Account>,
    idempotency: Option<Idempotency>,
    form: Result<Form<NewCharge>, FormRejection>,
) -> Result<Json<Value>, Failure> {
    api.sandbox.count(CREATE_CHARGE, idempotency);
    let Form(new) = form?;
    tokio::time::sleep(Duration::from_millis(new.delay_ms.into())).await;
    let declined = |detail| Failure::new(StatusCode::PAYMENT_REQUIRED, "card_declined", detail);
    match new.source.as_deref() {
        Some("tok_chargeDeclined") => return Err(declined("Your card was declined.")),
        Some("tok_serverError") => return Err(Failure::internal("A simulated failure.")),
        _ => {}
    }

    let charge = json!({
        "id": new_id("ch"),
        "object": "charge",
        "amount": new.amount,
        "currency": new.currency,
        "status": "succeeded",
    });
    let mut charges = api.charges.lock().unwrap_or_else(PoisonError::into_inner);
    charges.push((account, charge.clone()));
    Ok(Json(charge))
}

async fn read_charge(
    State(api): State<Api>,
    Extension(account): Extension<Account>,
    Checked(Path(id)): Checked<Path<String>>,
) -> Result<Json<Value>, Failure> {
    api.sandbox.count(READ_CHARGE, None);

    let charges = api.charges.lock().unwrap_or_else(PoisonError::into_inner);
    let mut mine = charges.iter().filter(|(owner, _)| *owner == account);
    match mine.find(|(_, charge)| charge["id"] == id) {
        Some((_, charge)) => Ok(Json(charge.clone())),
        None => Err(Failure::not_found("There is no such charge.")),
    }
}

#[derive(Deserialize)]
struct NewCustomer {
    email: Option<String>,
}

async fn create_customer(
    State(api): State<Api>,
    idempotency: Option<Idempotency>,
    form: Result<Form<NewCustomer>, FormRejection>,
) -> Result<Json<Value>, Failure> {
    api.sandbox.count(CREATE_CUSTOMER, idempotency);
    let Form(new) = form?;
    Ok(Json(
        json!({ "id": new_id("cus"), "object": "customer", "email": new.email }),
    ))
}

async fn ledger(State(api): State<Api>) -> Response {
    api.sandbox.answer()
}

/// A middleware outside the idempotency layer: an extractor of the handler is skipped by replays.
async fn authenticate(mut request: Request, next: Next) -> Result<Response, Failure> {
    let account = Account::from_header(request.headers(), "authorization", "Bearer")
        .filter(|account| account.as_ref().starts_with(b"sk_"))
        .ok_or_else(|| Failure::unauthorized("A secret key is wanted, as a Bearer token."))?;
    request.extensions_mut().insert(account);
    Ok(next.run(request).await)
}

impl From<FormRejection> for Failure {
    fn from(refusal: FormRejection) -> Self {
        Self::invalid(refusal.body_text())
    }
}

/// The form of Stripe's errors, which the idempotency layer's own are given too.
impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        // What was refused never began to run: its key stays free.
        let (kind, keep) = match self.status {
            StatusCode::PAYMENT_REQUIRED => ("card_error", Keep::Store),
            status if status.is_server_error() => ("api_error", Keep::Store),
            _ => ("invalid_request_error", Keep::Discard),
        };
        let error = json!({ "type": kind, "code": self.code, "message": self.detail });
        (self.status, keep, Json(json!({ "error": error }))).into_response()
    }
}
