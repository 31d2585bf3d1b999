//! What happened to a request, for those who log and count.

use http::Extensions;

/// What the layer did with one request; an extension of every response that it had a part in.
///
/// A request that the layer does not apply to (no key, another method or endpoint) is passed through without
/// an allocation, hence without this extension: [`Outcome::of`] reads its absence as `Bypassed`.
///
/// ```
/// use tower_idempotency::Outcome;
///
/// let response = http::Response::new(());
/// assert_eq!(Outcome::of(response.extensions()), Outcome::Bypassed);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The layer did not apply.
    Bypassed,
    /// The handler ran.
    Executed {
        /// Whether the store holds the outcome: `false` for a freed key, for a store that failed, and for an
        /// owner that was fenced out.
        recorded: bool,
    },
    /// The handler ran without protection, because the store failed and
    /// [`OnStoreError::RunUnprotected`](crate::OnStoreError::RunUnprotected) says so.
    Unprotected,
    /// A recorded response was given.
    Replayed,
    /// The key is known with another fingerprint.
    Mismatch,
    /// The first request is still running.
    InProgress,
    /// Refused for another reason.
    Refused,
}

impl Outcome {
    /// What these response extensions say.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or(Self::Bypassed)
    }
}
