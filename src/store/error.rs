//! What a store says when it could not do what it was asked.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// The error type that stores wrap: `Box<dyn Error + Send + Sync>`.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A failed call of a [`Store`](crate::Store), with what it means for the request.
///
/// ```
/// use tower_idempotency::{StoreError, StoreErrorKind};
///
/// let error = StoreError::new(StoreErrorKind::NotApplied, "connection refused");
/// assert_eq!(error.kind(), StoreErrorKind::NotApplied);
/// ```
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct StoreError {
    kind: StoreErrorKind,
    source: BoxError,
}

impl StoreError {
    /// An error of this kind, caused by `source`.
    pub fn new(kind: StoreErrorKind, source: impl Into<BoxError>) -> Self {
        let source = source.into();
        Self { kind, source }
    }

    /// Why, for a log: what caused it, and what caused that.
    pub(crate) fn reason(&self) -> Reason {
        let mut reason = self.source.to_string();
        let mut cause = self.source.source();
        while let Some(deeper) = cause {
            reason = format!("{reason}: {deeper}");
            cause = deeper.source();
        }
        reason.into()
    }

    /// What the failure means for the request.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

/// Why a call of a store failed, in its words.
pub(crate) type Reason = Arc<str>;

/// Of a store that has not answered in time.
pub(crate) fn late() -> Reason {
    "the store has not answered in time".into()
}

/// What a failed store call means for the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The call changed nothing; it is tried once more.
    NotApplied,
    /// The call may have been applied; it is repeated with the same ids.
    Ambiguous,
    /// Trying again does not help: wrong configuration, missing rights.
    Fatal,
    /// The record is there and cannot be read. Never taken for an absent one.
    Unreadable,
}

impl fmt::Display for StoreErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotApplied => "the store did not apply the call",
            Self::Ambiguous => "the store may have applied the call",
            Self::Fatal => "the store cannot serve the call",
            Self::Unreadable => "the record cannot be read",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_says_what_it_is() {
        let said = [
            (
                StoreErrorKind::NotApplied,
                "the store did not apply the call",
            ),
            (
                StoreErrorKind::Ambiguous,
                "the store may have applied the call",
            ),
            (StoreErrorKind::Fatal, "the store cannot serve the call"),
            (StoreErrorKind::Unreadable, "the record cannot be read"),
        ];
        for (kind, text) in said {
            assert_eq!(kind.to_string(), text);
        }
    }
}
