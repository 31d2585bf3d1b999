//! What users write must compile.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::response::{IntoResponse, Response as AxumResponse};
use axum::routing::post as on_post;
use axum::{Extension, Json, Router};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tower_idempotency::{
    ErrorForm, Idempotency, IdempotencyLayer, InFlight, Keep, KeyPolicy, LeaseLost, MemoryStore,
    OnLost, Outcome, Scope,
};

use crate::support::{Answer, post, send};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Clone)]
struct UserId(u64);

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[derive(Deserialize)]
struct Charge {
    amount: u64,
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Receipt {
    amount: u64,
    reference: String,
}

/// Charges once per reference.
#[derive(Clone, Default)]
struct Provider(Arc<Mutex<Vec<String>>>);

impl Provider {
    async fn charge(&self, charge: Charge, reference: &str) -> Result<Receipt, Error> {
        let (amount, reference) = (charge.amount, reference.to_owned());
        self.0.lock().unwrap().push(reference.clone());
        match amount {
            0 => Err(Error::Declined),
            _ => Ok(Receipt { amount, reference }),
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("declined")]
    Declined,
    #[error(transparent)]
    LeaseLost(#[from] LeaseLost),
}

impl IntoResponse for Error {
    fn into_response(self) -> AxumResponse {
        let status = match self {
            Self::Declined => StatusCode::PAYMENT_REQUIRED,
            Self::LeaseLost(_) => StatusCode::CONFLICT,
        };
        (status, self.to_string()).into_response()
    }
}

async fn charge(
    Extension(psp): Extension<Provider>,
    key: Idempotency,
    Json(c): Json<Charge>,
) -> Result<impl IntoResponse, Error> {
    key.point_of_no_return().await?;
    let receipt = psp.charge(c, key.child("charge").as_str()).await?;
    Ok(Json(receipt))
}

async fn payout(key: Option<Idempotency>) -> String {
    format!(
        "paid out, protected: {}",
        key.is_some_and(|key| key.is_protected())
    )
}

#[expect(dead_code, reason = "it is enough that it compiles")]
async fn the_first_snippet(
    listener: tokio::net::TcpListener,
    ctrl_c: fn() -> std::future::Ready<()>,
) -> std::io::Result<()> {
    let idempotency = IdempotencyLayer::default();
    let app = Router::new()
        .route("/charges", on_post(charge))
        .layer(idempotency.clone());
    axum::serve(listener, app)
        .with_graceful_shutdown(ctrl_c())
        .await?;
    let _ = idempotency.drain(Duration::from_secs(25)).await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_payment_api_is_written_as_it_reads() {
    let psp = Provider::default();
    let idempotency = IdempotencyLayer::new(MemoryStore::default())
        .namespace("payments")
        .scope(Scope::extension(|user: &UserId| user.to_string()))
        .key(KeyPolicy::ascii(10..=255))
        .require_key(true)
        .keep(Keep::Final)
        .on_lost(OnLost::Refuse)
        .in_flight(InFlight::wait(Duration::from_secs(5)))
        .errors(ErrorForm::problem().docs("https://docs.example/idempotency"));
    let app = Router::new().route("/v1/charges", on_post(charge));
    let app = app.layer(
        idempotency
            .clone()
            .endpoints(["POST /v1/charges", "POST /v1/refunds/{id}"]),
    );
    let payouts = on_post(payout).layer(idempotency.clone().retention(7 * DAY));
    let app = app
        .route("/v1/payouts", payouts)
        .layer(Extension(psp.clone()));
    let as_user = |id| app.clone().layer(Extension(UserId(id)));
    let json = ("content-type", "application/json");
    let charging = |key, amount| post("/v1/charges", &[json, ("idempotency-key", key)], amount);

    let first = send(&as_user(1), charging("order_456_1", r#"{"amount":7}"#)).await;
    let replay = send(&as_user(1), charging("order_456_1", r#"{"amount":7}"#)).await;
    let of_another_user = send(&as_user(2), charging("order_456_1", r#"{"amount":7}"#)).await;
    let declined = send(&as_user(1), charging("order_456_2", r#"{"amount":0}"#)).await;
    let still_declined = send(&as_user(1), charging("order_456_2", r#"{"amount":0}"#)).await;
    let without_user = send(&app, charging("order_456_1", r#"{"amount":7}"#)).await;
    let short = send(&as_user(1), charging("order", r#"{"amount":7}"#)).await;
    let paid_out = post("/v1/payouts", &[("idempotency-key", "order_456_1")], "");
    let paid_out = send(&as_user(1), paid_out).await;
    let not_paid_out = send(&as_user(1), post("/v1/payouts", &[], "")).await;

    let receipt: Receipt = serde_json::from_slice(&first.body).unwrap();
    let charges = psp.0.lock().unwrap().clone();
    assert_eq!(
        receipt,
        Receipt {
            amount: 7,
            reference: charges[0].clone()
        }
    );
    assert!(replay.is_replay() && replay.body == first.body);
    assert_eq!(
        of_another_user.outcome,
        Outcome::Executed { recorded: true }
    );
    assert_eq!(
        (declined.status, declined.text()),
        (StatusCode::PAYMENT_REQUIRED, "declined")
    );
    assert!(still_declined.is_replay() && still_declined.status == declined.status);
    let code = |answer: &Answer| {
        let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        problem["code"].as_str().unwrap().to_owned()
    };
    assert_eq!(code(&without_user), "idempotency_scope_unresolved");
    assert_eq!(code(&short), "idempotency_key_invalid");
    assert_eq!(paid_out.text(), "paid out, protected: true");
    assert_eq!(code(&not_paid_out), "idempotency_key_missing");
    assert_eq!(charges.len(), 3);
    assert_eq!(
        charges
            .iter()
            .collect::<std::collections::HashSet<_>>()
            .len(),
        3
    );
}
