//! What a handler may fail with, and which of it a retry may mend.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::BoxError;

/// `Keep::Final` reads the status: what a retry cannot mend is kept and replayed, what it may mend frees the key.
#[derive(Debug)]
pub(crate) enum Failure {
    /// 400, kept.
    Invalid(&'static str),
    /// 401; the layer never sees it.
    Unauthorized,
    /// 404, kept.
    NoAccount,
    /// 502, freed: whether the provider has charged is not known.
    Provider(BoxError),
    /// 503, freed: nothing was written.
    Database(sqlx::Error),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, error) = match self {
            Self::Invalid(what) => (StatusCode::BAD_REQUEST, what),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "no such token"),
            Self::NoAccount => (StatusCode::NOT_FOUND, "no such account"),
            // What went wrong inside is for the log, not for clients.
            Self::Provider(error) => {
                eprintln!("the provider: {error}");
                (StatusCode::BAD_GATEWAY, "the provider did not answer")
            }
            Self::Database(error) => {
                eprintln!("the database: {error}");
                (StatusCode::SERVICE_UNAVAILABLE, "the database failed")
            }
        };
        (status, Json(json!({ "error": error }))).into_response()
    }
}

/// 402: a final answer as any other, and kept.
pub(crate) fn payment_required(error: &str) -> Response {
    (
        StatusCode::PAYMENT_REQUIRED,
        Json(json!({ "error": error })),
    )
        .into_response()
}

/// An amount of money: more than nothing, and far from what could overflow.
pub(crate) fn amount(cents: i64) -> Result<i64, Failure> {
    let is_amount = (1..=100_000_000).contains(&cents);
    is_amount
        .then_some(cents)
        .ok_or(Failure::Invalid("cents: 1 to 100000000"))
}
