//! What was done to which call.

use std::fmt;

use super::fault::{Fate, Wakeup};
use crate::key::RecordKey;

/// A call to which something happened.
pub(super) struct Entry {
    pub(super) call: u64,
    pub(super) verb: &'static str,
    pub(super) key: Option<RecordKey>,
    pub(super) what: What,
}

pub(super) enum What {
    Fate(Fate),
    Wakeup(Wakeup),
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call {}: {}", self.call, self.verb)?;
        if let Some(key) = &self.key {
            write!(f, " {key:?}")?;
        }
        match self.what {
            What::Fate(fate) => write!(f, "{fate}"),
            What::Wakeup(wakeup) => write!(f, "{wakeup}"),
        }
    }
}
