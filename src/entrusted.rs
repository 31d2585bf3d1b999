//! An outcome in the hands of the handler, which commits it in a transaction of its own.

use std::sync::Mutex;

use bytes::Bytes;

use crate::lock::Lock;

/// Whether a transaction of the handler's has recorded the outcome, as far as the layer knows.
#[derive(Debug, Default)]
pub(crate) struct Entrusted(Mutex<Trust>);

/// What the layer knows.
#[derive(Clone, Debug, Default)]
pub(crate) enum Trust {
    /// The layer settles.
    #[default]
    Nothing,
    /// The handler has the statement that completes the record: whether it was committed is in the store.
    Unknown,
    /// Committed: the payload of the record.
    Committed(Bytes),
}

impl Entrusted {
    /// The handler has the statement.
    pub(crate) fn hand_out(&self) {
        self.0.with(|trust| {
            if !matches!(trust, Trust::Committed(_)) {
                *trust = Trust::Unknown;
            }
        });
    }

    /// The transaction was rolled back: nothing is recorded.
    #[cfg_attr(
        not(any(feature = "postgres", feature = "sqlite")),
        expect(dead_code, reason = "who hands out a statement is not told more")
    )]
    pub(crate) fn take_back(&self) {
        self.0.with(|trust| {
            if !matches!(trust, Trust::Committed(_)) {
                *trust = Trust::Nothing;
            }
        });
    }

    /// The transaction was committed.
    pub(crate) fn commit(&self, payload: Bytes) {
        self.0.with(|trust| *trust = Trust::Committed(payload));
    }

    pub(crate) fn get(&self) -> Trust {
        self.0.with(|trust| trust.clone())
    }

    /// Whether a record that is not in flight any more may be the handler's own doing.
    pub(crate) fn is_something(&self) -> bool {
        self.0.with(|trust| !matches!(trust, Trust::Nothing))
    }

    pub(crate) fn is_committed(&self) -> bool {
        self.0.with(|trust| matches!(trust, Trust::Committed(_)))
    }
}
