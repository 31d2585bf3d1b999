//! The layer's own answers.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};

/// Why the layer answers by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusalCode {
    /// A key is required and there is none.
    KeyMissing,
    /// The key is malformed, against the policy, or was sent twice.
    KeyInvalid,
    /// The key is known with another fingerprint.
    Mismatch,
    /// The first request with this key is still running.
    InProgress,
    /// The first request was lost and may not run again.
    OutcomeUnknown,
    /// The operation is done and its response was not kept.
    ResponseUnavailable,
    /// This principal holds too many live keys.
    QuotaExceeded,
    /// The store failed.
    StoreUnavailable,
    /// The store has no room.
    StoreFull,
    /// A bound of the layer is reached.
    Overloaded,
    /// The record cannot be read.
    RecordUnreadable,
    /// The scope cannot tell who sends the request.
    ScopeUnresolved,
    /// A closure of the application failed.
    Internal,
    /// The request body broke off.
    RequestBodyUnreadable,
    /// The request body is larger than the layer reads.
    RequestTooLarge,
}

impl RefusalCode {
    /// The code as it stands in an answer.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.texts().0
    }

    const fn texts(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Self::KeyMissing => (
                "idempotency_key_missing",
                StatusCode::BAD_REQUEST,
                "This request requires an idempotency key.",
            ),
            Self::KeyInvalid => (
                "idempotency_key_invalid",
                StatusCode::BAD_REQUEST,
                "Idempotency key is malformed, of a wrong length, or sent more than once.",
            ),
            Self::Mismatch => (
                "idempotency_mismatch",
                StatusCode::UNPROCESSABLE_ENTITY,
                "Idempotency key has already been used with different parameters.",
            ),
            Self::InProgress => (
                "idempotency_in_progress",
                StatusCode::CONFLICT,
                "A request with this idempotency key is still in progress.",
            ),
            Self::OutcomeUnknown => (
                "idempotency_outcome_unknown",
                StatusCode::CONFLICT,
                "The first request with this idempotency key was interrupted; its outcome is unknown.",
            ),
            Self::ResponseUnavailable => (
                "idempotency_response_unavailable",
                StatusCode::CONFLICT,
                "The request with this idempotency key has completed; its response was not kept.",
            ),
            Self::QuotaExceeded => (
                "idempotency_quota_exceeded",
                StatusCode::TOO_MANY_REQUESTS,
                "Too many idempotency keys are in use.",
            ),
            Self::StoreUnavailable => (
                "idempotency_store_unavailable",
                StatusCode::SERVICE_UNAVAILABLE,
                "Idempotency records are unavailable; the request was not processed.",
            ),
            Self::StoreFull => (
                "idempotency_store_full",
                StatusCode::SERVICE_UNAVAILABLE,
                "There is no room for another idempotency key; the request was not processed.",
            ),
            Self::Overloaded => (
                "idempotency_overloaded",
                StatusCode::SERVICE_UNAVAILABLE,
                "Too many requests are in progress; the request was not processed.",
            ),
            Self::RecordUnreadable => (
                "idempotency_record_unreadable",
                StatusCode::SERVICE_UNAVAILABLE,
                "The record of this idempotency key cannot be read.",
            ),
            Self::ScopeUnresolved => (
                "idempotency_scope_unresolved",
                StatusCode::INTERNAL_SERVER_ERROR,
                "The sender of this request cannot be told; the request was not processed.",
            ),
            Self::Internal => (
                "idempotency_internal",
                StatusCode::INTERNAL_SERVER_ERROR,
                "The request was not processed because of an internal error.",
            ),
            Self::RequestBodyUnreadable => (
                "request_body_unreadable",
                StatusCode::BAD_REQUEST,
                "The request body could not be read to its end.",
            ),
            Self::RequestTooLarge => (
                "request_too_large",
                StatusCode::PAYLOAD_TOO_LARGE,
                "The request body is too large.",
            ),
        }
    }
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An answer of the layer itself, before a [`Form`] gives it its body.
#[derive(Clone, Debug)]
pub struct Refusal {
    code: RefusalCode,
    retry_after: Option<Duration>,
    location: Option<HeaderValue>,
}

impl Refusal {
    pub(crate) const fn new(code: RefusalCode) -> Self {
        Self {
            code,
            retry_after: None,
            location: None,
        }
    }

    pub(crate) const fn retry_after_about(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    pub(crate) fn at(mut self, location: Option<HeaderValue>) -> Self {
        self.location = location;
        self
    }

    /// Why.
    #[must_use]
    pub fn code(&self) -> RefusalCode {
        self.code
    }

    /// The status that belongs to the code.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.code.texts().1
    }

    /// One sentence for people.
    #[must_use]
    pub fn detail(&self) -> &str {
        self.code.texts().2
    }

    /// When to try again, in whole seconds and at least one; the layer sets `Retry-After` by it.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The `Location` of the response that was not kept; the layer sets the header.
    #[must_use]
    pub fn location(&self) -> Option<&HeaderValue> {
        self.location.as_ref()
    }

    /// The answer in this form, or in the flat one if the form panics or makes a success of it.
    pub(crate) fn render(&self, form: &dyn Form) -> Response<Bytes> {
        let mut response = catch_unwind(AssertUnwindSafe(|| form.render(self)))
            .ok()
            .filter(|response| {
                response.status().is_client_error() || response.status().is_server_error()
            })
            .unwrap_or_else(|| ErrorForm::flat().render(self));
        if let Some(after) = self.retry_after {
            response
                .headers_mut()
                .insert(RETRY_AFTER, after.as_secs().into());
        }
        if let Some(location) = &self.location {
            response.headers_mut().insert(LOCATION, location.clone());
        }
        response
    }
}

/// Gives a refusal its status and body; a closure will do.
///
/// Only 4xx and 5xx are accepted: where a form sets another status or panics, the flat form answers. The
/// layer adds `Retry-After` and `Location`.
///
/// ```
/// use bytes::Bytes;
/// use tower_idempotency::{IdempotencyLayer, Refusal};
///
/// let layer = IdempotencyLayer::default().errors(|refusal: &Refusal| {
///     let mut response = http::Response::new(Bytes::from(refusal.code().as_str()));
///     *response.status_mut() = refusal.status();
///     response
/// });
/// # let _ = layer;
/// ```
pub trait Form: Send + Sync + 'static {
    /// The answer.
    fn render(&self, refusal: &Refusal) -> Response<Bytes>;
}

impl<F> Form for F
where
    F: Fn(&Refusal) -> Response<Bytes> + Send + Sync + 'static,
{
    fn render(&self, refusal: &Refusal) -> Response<Bytes> {
        self(refusal)
    }
}

/// The built-in forms of error bodies.
#[derive(Clone, Debug)]
pub struct ErrorForm {
    _flat: (),
}

impl ErrorForm {
    /// `{"error": CODE, "detail": TEXT, "status_code": N}`, as the Verifa API answers. The default.
    #[must_use]
    pub const fn flat() -> Self {
        Self { _flat: () }
    }
}

impl Form for ErrorForm {
    fn render(&self, refusal: &Refusal) -> Response<Bytes> {
        // Written out, because the order of the members is part of the form.
        let detail = serde_json::Value::from(refusal.detail());
        let (code, status) = (refusal.code(), refusal.status());
        let body = format!(
            r#"{{"error":"{code}","detail":{detail},"status_code":{}}}"#,
            status.as_u16()
        );
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = status;
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flat_form_is_compact_and_in_order() {
        let response = Refusal::new(RefusalCode::Mismatch).render(&ErrorForm::flat());

        assert_eq!(response.status(), 422);
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(
            response.body(),
            r#"{"error":"idempotency_mismatch","detail":"Idempotency key has already been used with different parameters.","status_code":422}"#
        );
    }

    #[test]
    fn a_form_that_makes_a_success_of_a_refusal_is_not_used() {
        let refusal = Refusal::new(RefusalCode::InProgress);
        let form = |_: &Refusal| Response::new(Bytes::from_static(b"all is well"));

        assert_eq!(refusal.render(&form).status(), 409);
    }

    #[test]
    fn a_form_that_panics_is_not_used() {
        let refusal = Refusal::new(RefusalCode::InProgress);
        let form = |_: &Refusal| -> Response<Bytes> { panic!("a form that panics") };

        assert_eq!(refusal.render(&form).status(), 409);
    }

    #[test]
    fn when_to_try_again_and_where_are_headers_in_every_form() {
        let refusal = Refusal::new(RefusalCode::ResponseUnavailable)
            .retry_after_about(Duration::from_secs(3))
            .at(Some(HeaderValue::from_static("/made/7")));
        let form = |_: &Refusal| {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::GONE;
            response
        };

        let response = refusal.render(&form);

        assert_eq!(response.status(), 410);
        assert_eq!(response.headers()["retry-after"], "3");
        assert_eq!(response.headers()["location"], "/made/7");
    }
}
