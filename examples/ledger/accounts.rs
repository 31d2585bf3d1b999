//! Accounts.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response, Result};
use axum::{Extension, Json};
use serde_json::json;
use sqlx::PgPool;
use tower_idempotency::Idempotency;

use crate::customer::Customer;
use crate::failure::Failure;
use crate::serve::Ledger;

/// `POST /v1/accounts`: a new account of the customer. The smallest transaction there is.
pub(crate) async fn open(
    State(ledger): State<Ledger>,
    Extension(customer): Extension<Customer>,
    key: Idempotency,
) -> Result<Response> {
    let opened = key.transaction(&ledger.pool, async |tx| {
        let id: i64 = sqlx::query_scalar(
            "INSERT INTO account (operation, customer) VALUES ($1::uuid, $2) RETURNING id",
        )
        .bind(key.child("account").as_str())
        .bind(&customer.0)
        .fetch_one(tx)
        .await?;
        let account = Json(json!({ "id": id, "cents": 0 }));
        Ok::<_, Failure>((StatusCode::CREATED, account).into_response())
    });
    Ok(opened.await?.into_response())
}

/// `GET /v1/accounts/{id}`.
pub(crate) async fn show(
    State(ledger): State<Ledger>,
    Extension(customer): Extension<Customer>,
    Path(id): Path<i64>,
) -> Result<Response, Failure> {
    let cents = cents_of(&ledger.pool, id, &customer).await?;
    Ok(Json(json!({ "id": id, "cents": cents })).into_response())
}

/// What is on an account of this customer.
pub(crate) async fn cents_of(pool: &PgPool, id: i64, customer: &Customer) -> Result<i64, Failure> {
    let cents = sqlx::query_scalar("SELECT cents FROM account WHERE id = $1 AND customer = $2")
        .bind(id)
        .bind(&customer.0)
        .fetch_optional(pool)
        .await?;
    cents.ok_or(Failure::NoAccount)
}
