//! Why the layer answers by itself, and what it says by default.

use std::fmt;
use std::time::Duration;

use http::{HeaderValue, StatusCode};

use crate::store::error::Reason;

/// Why the layer answers by itself.
///
/// | code | status | when |
/// |---|---|---|
/// | `idempotency_key_missing` | 400 | a key is required and there is none |
/// | `idempotency_key_invalid` | 400 | it is malformed, against the policy, or sent twice |
/// | `idempotency_mismatch` | 422 | it is known with another fingerprint |
/// | `idempotency_in_progress` | 409, `Retry-After` | the first request with it is still running |
/// | `idempotency_outcome_unknown` | 409 | the first was lost and may not run again |
/// | `idempotency_reconcile_failed` | 503, `Retry-After` | the first was lost, and nobody could tell what became of it |
/// | `idempotency_response_unavailable` | 409, `Location` | the first is done, its response was not kept |
/// | `idempotency_quota_exceeded` | 429, `Retry-After` | this principal holds too many live keys |
/// | `idempotency_store_unavailable` | 503, `Retry-After` | the store failed |
/// | `idempotency_store_full` | 503, `Retry-After` | the store has no room |
/// | `idempotency_overloaded` | 503, `Retry-After` | a bound of the layer is reached |
/// | `idempotency_record_unreadable` | 503 | the record is corrupt, or of a later release |
/// | `idempotency_scope_unresolved` | 500 | the scope cannot tell who sends the request |
/// | `idempotency_internal` | 500 | a closure of the application failed |
/// | `request_body_unreadable` | 400 | the request body broke off |
/// | `request_too_large` | 413 | the request body is larger than the layer reads |
///
/// A [form](crate::ErrorForm) may rename a code and answer it with another status.
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
    /// The first request was lost, and the reconcile hook could not tell what became of it.
    ReconcileFailed,
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
    // The last one, by which they are counted.
    RequestTooLarge,
}

impl RefusalCode {
    /// How many there are.
    pub(crate) const COUNT: usize = Self::RequestTooLarge as usize + 1;

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
            Self::ReconcileFailed => (
                "idempotency_reconcile_failed",
                StatusCode::SERVICE_UNAVAILABLE,
                "It could not be found out what became of the first request with this idempotency key.",
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

#[cfg(test)]
impl RefusalCode {
    pub(crate) const ALL: [Self; Self::COUNT] = [
        Self::KeyMissing,
        Self::KeyInvalid,
        Self::Mismatch,
        Self::InProgress,
        Self::OutcomeUnknown,
        Self::ReconcileFailed,
        Self::ResponseUnavailable,
        Self::QuotaExceeded,
        Self::StoreUnavailable,
        Self::StoreFull,
        Self::Overloaded,
        Self::RecordUnreadable,
        Self::ScopeUnresolved,
        Self::Internal,
        Self::RequestBodyUnreadable,
        Self::RequestTooLarge,
    ];
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An answer of the layer itself, before a [`Form`](crate::Form) gives it its body.
#[derive(Clone, Debug)]
pub struct Refusal {
    code: RefusalCode,
    retry_after: Option<Duration>,
    location: Option<HeaderValue>,
    /// For events, never for the client.
    reason: Option<Reason>,
}

impl Refusal {
    pub(crate) const fn new(code: RefusalCode) -> Self {
        Self {
            code,
            retry_after: None,
            location: None,
            reason: None,
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

    pub(crate) fn because(mut self, reason: Reason) -> Self {
        self.reason = Some(reason);
        self
    }

    pub(crate) fn reason(&self) -> Option<Reason> {
        self.reason.clone()
    }

    /// Why.
    #[must_use]
    pub fn code(&self) -> RefusalCode {
        self.code
    }

    /// The status that belongs to the code; a form may set another.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.code.texts().1
    }

    /// One sentence for people, in English; a form may set another.
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
}
