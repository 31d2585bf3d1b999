//! Errors that handlers meet.

/// The answer of [`Idempotency::point_of_no_return`](crate::Idempotency::point_of_no_return) where the mark
/// could not be made: do not go on.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct LeaseLost {
    reason: Reason,
}

impl LeaseLost {
    pub(crate) const FENCED_OUT: Self = Self {
        reason: Reason::FencedOut,
    };
    pub(crate) const NOT_WRITTEN: Self = Self {
        reason: Reason::NotWritten,
    };
    pub(crate) const UNPROTECTED: Self = Self {
        reason: Reason::Unprotected,
    };
}

#[derive(Clone, Debug, thiserror::Error)]
enum Reason {
    #[error("another attempt may own this operation by now")]
    FencedOut,
    #[error("the store did not confirm the mark in time")]
    NotWritten,
    #[error("the request runs without protection, because the store failed")]
    Unprotected,
}

/// A text that is no endpoint: not `METHOD /path`, or a template that the router refuses.
#[derive(Clone, Debug, thiserror::Error)]
#[error("\"{endpoint}\" is not an endpoint: {problem}")]
pub struct InvalidEndpoint {
    pub(crate) endpoint: String,
    pub(crate) problem: String,
}
