//! Payments: money is charged elsewhere, and no transaction of ours reaches there.
//!
//! What makes it safe to retry, whatever was killed and whenever:
//!
//! 1. The provider is called by a **child key**, derived from the client's: the same in every attempt. A call that was
//!    made before, and whose answer nobody heard, charges nothing again. Without a provider that recognises a repeated
//!    key nothing here can help.
//! 2. The call is a **step**: its value is recorded, and later attempts have it without another call. A step alone
//!    would not do: a process can be killed between the charge and the record of it. Then the child key does.
//! 3. Payment, balance and the record of the request are **one transaction**, as in a transfer.
//!
//! What is left is an attempt that was lost after the charge and before the transaction: `became_of`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response, Result};
use axum::{Extension, Json};
use bytes::Bytes;
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::json;
use sqlx::PgConnection;
use tower_idempotency::{BoxError, Idempotency, Lost, Reconciled};

use crate::accounts::cents_of;
use crate::customer::Customer;
use crate::failure::{Failure, amount, payment_required};
use crate::provider::{Charge, Outcome, Provider};
use crate::serve::Ledger;

/// The name of the step, and of the key that the provider gets.
const CHARGE: &str = "charge";

#[derive(Deserialize)]
pub(crate) struct Payment {
    account: i64,
    cents: i64,
    card: String,
}

/// `POST /v1/payments`: 201, or 402 where the card was declined.
pub(crate) async fn pay(
    State(ledger): State<Ledger>,
    Extension(customer): Extension<Customer>,
    key: Idempotency,
    Json(payment): Json<Payment>,
) -> Result<Response> {
    // All that we could refuse comes before any money moves. These answers, 400 and 404, are kept by `Keep::Final`.
    let cents = amount(payment.cents)?;
    cents_of(&ledger.pool, payment.account, &customer).await?;

    // Where the provider does not answer, or is not in reach, this is 502: the key is freed, and the client's retry
    // asks again by the same child key.
    let child = key.child(CHARGE);
    let charging = async || {
        let charged = ledger.provider.charge(child.as_str(), cents, &payment.card);
        charged.await.map_err(Failure::Provider)
    };
    let charge = key.try_step(CHARGE, charging).await?;

    match charge.outcome {
        // Nothing of ours has changed, so that no transaction is needed: `Keep::Final` keeps a 402.
        Outcome::Declined => Ok(declined()),
        Outcome::Charged => {
            let booked = key.transaction(&ledger.pool, async |tx| {
                book(tx, &payment, &charge).await.map_err(Failure::from)
            });
            Ok(booked.await?.into_response())
        }
    }
}

/// The payment and the balance; the record is completed by whoever gave us the transaction.
async fn book(
    tx: &mut PgConnection,
    payment: &Payment,
    charge: &Charge,
) -> Result<Response, sqlx::Error> {
    let credited = sqlx::query("UPDATE account SET cents = cents + $2 WHERE id = $1");
    let credited = credited.bind(payment.account).bind(charge.cents);
    credited.execute(&mut *tx).await?;
    let id: i64 = sqlx::query_scalar(
        "INSERT INTO payment (operation, account, charge, cents) VALUES ($1::uuid, $2, $3, $4) RETURNING id",
    )
    .bind(&charge.key)
    .bind(payment.account)
    .bind(&charge.id)
    .bind(charge.cents)
    .fetch_one(tx)
    .await?;

    let body = json!({
        "id": id, "account": payment.account, "cents": charge.cents, "charge": charge.id,
    });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

fn declined() -> Response {
    payment_required("the card was declined")
}

/// The hook of `OnLost::Reconcile`: an attempt was lost, its process killed or its lease lapsed, and the next equal
/// request asks what became of it.
///
/// It was not booked, or its record would be complete: booking completes it. So only the provider can know more, and
/// there are three answers:
///
/// * The card was declined. Nothing of ours is to be written, and this is the answer: `Done`.
/// * The card was charged. Money has moved and the books do not say so. Not `Done`: that would record an answer without
///   the payment. `NotDone` lets the handler run as the next attempt: its step, or the provider by the same child key,
///   gives it this very charge, and it books it.
/// * The provider has heard of nothing: `NotDone`, too. Should a call of the lost attempt still be on its way, it has the
///   same child key, and both calls are one charge.
///
/// Where the provider is not in reach that is an error: the client gets 503, and its next retry asks again.
pub(crate) async fn became_of(lost: Lost, provider: Provider) -> Result<Reconciled, BoxError> {
    let charge = provider.find(lost.child(CHARGE).as_str()).await?;
    match charge.map(|charge| charge.outcome) {
        Some(Outcome::Declined) => Ok(Reconciled::Done(whole(declined()).await?)),
        Some(Outcome::Charged) | None => Ok(Reconciled::NotDone),
    }
}

async fn whole(response: Response) -> Result<http::Response<Bytes>, BoxError> {
    let (head, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(http::Response::from_parts(head, body))
}
