//! Flat errors, the form that the idempotency layer's own have by default. An example that wants
//! them has this file as a module.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::common::Failure;

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Flat {
            error: &'static str,
            detail: String,
            status_code: u16,
        }

        let flat = Flat {
            error: self.code,
            detail: self.detail,
            status_code: self.status.as_u16(),
        };
        (self.status, Json(flat)).into_response()
    }
}
