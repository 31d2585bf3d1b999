//! Transfers: all that happens is in one database.
//!
//! Both accounts, the row of the transfer and the record of the request are written by one transaction. There is no
//! moment at which the money has moved and the record does not know: whatever is killed, whenever, a retry either finds
//! the recorded answer, or nothing has happened and it runs from scratch. No step, no point of no return and no reconcile
//! hook is needed for that.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response, Result};
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::json;
use sqlx::PgConnection;
use tower_idempotency::Idempotency;

use crate::customer::Customer;
use crate::failure::{Failure, amount, payment_required};
use crate::serve::Ledger;

#[derive(Deserialize)]
pub(crate) struct Transfer {
    from: i64,
    to: i64,
    cents: i64,
}

/// `POST /v1/transfers`: 201, or 402 where the account has too little.
pub(crate) async fn transfer(
    State(ledger): State<Ledger>,
    Extension(customer): Extension<Customer>,
    key: Idempotency,
    Json(transfer): Json<Transfer>,
) -> Result<Response> {
    // An `Err` rolls back. Its answer is settled by the rules of the layer: a 404 is kept, a 503 frees the key.
    let done = key.transaction(&ledger.pool, async |tx| {
        move_money(tx, &key, &customer, &transfer).await
    });
    Ok(done.await?.into_response())
}

async fn move_money(
    tx: &mut PgConnection,
    key: &Idempotency,
    customer: &Customer,
    Transfer { from, to, cents }: &Transfer,
) -> Result<Response, Failure> {
    let cents = amount(*cents)?;
    if from == to {
        return Err(Failure::Invalid("from and to are one account"));
    }
    // Always in this order, so that two transfers in opposite directions do not wait for each other for ever.
    let accounts: Vec<(i64, String)> = sqlx::query_as(
        "SELECT id, customer FROM account WHERE id IN ($1, $2) ORDER BY id FOR UPDATE",
    )
    .bind(from)
    .bind(to)
    .fetch_all(&mut *tx)
    .await?;
    let is_theirs = |(id, owner): &(i64, String)| id == from && *owner == customer.0;
    if accounts.len() != 2 || !accounts.iter().any(is_theirs) {
        return Err(Failure::NoAccount);
    }

    let taken = sqlx::query("UPDATE account SET cents = cents - $2 WHERE id = $1 AND cents >= $2");
    let taken = taken.bind(from).bind(cents).execute(&mut *tx).await?;
    if taken.rows_affected() == 0 {
        // `Ok`: the refusal is the outcome, committed with the record. A retry hears it again, even after more money has
        // come: who wants to try again takes a new key.
        return Ok(payment_required("insufficient funds"));
    }
    let given = sqlx::query("UPDATE account SET cents = cents + $2 WHERE id = $1");
    given.bind(to).bind(cents).execute(&mut *tx).await?;
    let id: i64 = sqlx::query_scalar(
        "INSERT INTO transfer (operation, from_account, to_account, cents) \
         VALUES ($1::uuid, $2, $3, $4) RETURNING id",
    )
    .bind(key.child("transfer").as_str())
    .bind(from)
    .bind(to)
    .bind(cents)
    .fetch_one(tx)
    .await?;

    let body = json!({ "id": id, "from": from, "to": to, "cents": cents });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}
