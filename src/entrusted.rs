//! An outcome in the hands of the handler, which commits it in a transaction of its own.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use crate::lock::Lock;

/// Whether a transaction of the handler's has recorded the outcome, as far as the layer knows.
#[derive(Debug, Default)]
pub(crate) struct Entrusted {
    trust: Mutex<Trust>,
    /// Set before the first statement is handed out: without it there is nothing to lock for.
    is_touched: AtomicBool,
}

/// What the layer knows.
#[derive(Clone, Debug, Default)]
pub(crate) enum Trust {
    /// The layer settles.
    #[default]
    Nothing,
    /// The handler has so many statements that complete the record: whether one was committed is in the store.
    Unknown(usize),
    /// Committed: the payload of the record.
    Committed(Bytes),
}

impl Entrusted {
    /// The handler has a statement.
    pub(crate) fn hand_out(&self) {
        self.is_touched.store(true, Ordering::SeqCst);
        self.with(|trust| match trust {
            Trust::Nothing => *trust = Trust::Unknown(1),
            Trust::Unknown(out) => *out += 1,
            Trust::Committed(_) => {}
        });
    }

    /// The transaction of one statement was rolled back. That of another may have been committed.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) fn take_back(&self) {
        self.with(|trust| match trust {
            Trust::Unknown(out) if *out > 1 => *out -= 1,
            Trust::Unknown(_) => *trust = Trust::Nothing,
            Trust::Nothing | Trust::Committed(_) => {}
        });
    }

    /// The transaction was committed.
    pub(crate) fn commit(&self, payload: Bytes) {
        self.is_touched.store(true, Ordering::SeqCst);
        self.with(|trust| *trust = Trust::Committed(payload));
    }

    pub(crate) fn get(&self) -> Trust {
        if !self.is_touched.load(Ordering::SeqCst) {
            return Trust::Nothing;
        }
        self.with(|trust| trust.clone())
    }

    /// Whether a record that is not in flight any more may be the handler's own doing.
    pub(crate) fn is_something(&self) -> bool {
        !matches!(self.get(), Trust::Nothing)
    }

    pub(crate) fn is_committed(&self) -> bool {
        matches!(self.get(), Trust::Committed(_))
    }

    fn with<R>(&self, visit: impl FnOnce(&mut Trust) -> R) -> R {
        self.trust.with(visit)
    }
}
