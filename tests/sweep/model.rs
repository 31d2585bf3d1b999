//! What a record must be like after the executions that there were.

use tower_idempotency::{Record, State};

/// What becomes of the record when an execution has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The answer is replayed.
    Kept,
    /// It is known to have happened, and what was answered is not.
    Tombstone,
    /// The key is free: the next request is a first one.
    Freed,
    /// The next request is one attempt more.
    Lost,
    /// Nobody runs again.
    Unknown,
}

/// An execution that has started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Execution {
    pub(crate) attempt: u32,
    pub(crate) is_committed: bool,
    pub(crate) end: End,
}

/// What a request for the same key must meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meets {
    /// It runs, as this attempt.
    Run(u32),
    /// It gets the answer of this execution, counted from 1.
    Replay(usize),
    Unavailable,
    Unknown,
    /// The key is another request's.
    Different,
}

impl Meets {
    /// After these executions, of which the first may have been another request's.
    pub(crate) fn after(executions: &[Execution], first_is_different: bool) -> Self {
        let Some(last) = executions.last() else {
            return Self::Run(1);
        };
        match last.end {
            End::Kept | End::Tombstone | End::Lost | End::Unknown
                if first_is_different && executions.len() == 1 =>
            {
                Self::Different
            }
            End::Kept => Self::Replay(executions.len()),
            End::Tombstone => Self::Unavailable,
            End::Freed => Self::Run(1),
            End::Lost => Self::Run(last.attempt + 1),
            End::Unknown => Self::Unknown,
        }
    }

    /// Whether such a record is there.
    pub(crate) fn fits(self, record: Option<&Record>) -> bool {
        match (self, record) {
            (Self::Run(1), None) => true,
            // Also a claim whose handler never started, and that could not be given back.
            (Self::Run(attempt), Some(record)) => {
                !is_completed(record) && record.attempt() + 1 == attempt
            }
            (Self::Unknown, Some(record)) => !is_completed(record),
            (Self::Replay(_) | Self::Unavailable, Some(record)) => is_completed(record),
            (Self::Different, record) => record.is_some(),
            (_, None) => false,
        }
    }
}

fn is_completed(record: &Record) -> bool {
    matches!(record.state(), State::Completed { .. })
}
