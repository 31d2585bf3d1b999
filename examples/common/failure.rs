//! What can go wrong, before an API gives it its form.

use std::any::Any;
use std::fmt::Display;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;

/// An error answer. Each example implements `IntoResponse` for it: that is its API's form.
pub(crate) struct Failure {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) detail: String,
}

impl Failure {
    /// 400: something that the client can mend.
    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "validation_error", detail)
    }

    pub(crate) fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    pub(crate) fn internal(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", detail)
    }

    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self {
            status,
            code,
            detail,
        }
    }
}

/// The fallback of a router.
pub(crate) async fn unknown_path() -> Failure {
    Failure::not_found("There is no such path.")
}

/// The fallback of a router's methods; axum adds `Allow`.
pub(crate) async fn unknown_method() -> Failure {
    let status = StatusCode::METHOD_NOT_ALLOWED;
    Failure::new(
        status,
        "method_not_allowed",
        "This path does not take this method.",
    )
}

/// An extractor of axum's whose refusal is in the API's form.
pub(crate) struct Checked<E>(pub(crate) E);

impl<S, E> FromRequestParts<S> for Checked<E>
where
    S: Send + Sync,
    E: FromRequestParts<S, Rejection: Display>,
{
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let extracted = E::from_request_parts(parts, state).await;
        extracted
            .map(Self)
            .map_err(|refusal| Failure::invalid(format!("{refusal}.")))
    }
}

type Answer = fn(Box<dyn Any + Send>) -> Response;

/// Answers a handler's panic with 500; without it the client would see a cut connection.
///
/// It belongs outside the idempotency layer, which notes a panic and then lets it pass.
pub(crate) fn catch_panics() -> CatchPanicLayer<Answer> {
    CatchPanicLayer::custom(|_| Failure::internal("The handler panicked.").into_response())
}
