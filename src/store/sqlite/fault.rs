//! Why a call failed, and what that means.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rusqlite::ErrorCode;

use crate::store::error::{StoreError, StoreErrorKind};

const READ_ONLY: &str =
    "the file is read-only: let the user of this process write to the file and to its directory";

/// A failed call.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) class: Class,
    said: Arc<str>,
    source: Option<Arc<rusqlite::Error>>,
    /// Whether the connection may be to blame: another one is opened then.
    pub(super) is_of_connection: bool,
}

/// What may be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Nothing was written; it may work soon.
    NotApplied,
    /// Nothing was written: the disk is full, or the file as large as it may be.
    Full,
    /// Nobody knows whether it was written.
    Ambiguous,
    /// It takes an operator.
    Fatal,
    /// What stands at the key was not written by this version.
    Unreadable,
}

impl Fault {
    pub(super) fn new(class: Class, said: impl Into<Arc<str>>) -> Self {
        Self {
            class,
            said: said.into(),
            source: None,
            is_of_connection: false,
        }
    }

    pub(super) fn unreadable() -> Self {
        let said = "what stands at this key is no record of this version of the store";
        Self::new(Class::Unreadable, said)
    }

    pub(super) fn read_only() -> Self {
        Self::new(Class::Fatal, READ_ONLY)
    }

    /// The same with the file that it is about.
    pub(super) fn at(mut self, path: &Path) -> Self {
        self.said = format!("{}: {}", path.display(), self.said).into();
        self
    }

    /// The same of a COMMIT: it may have been written before it failed.
    pub(super) fn of_commit(mut self) -> Self {
        let code = self
            .source
            .as_deref()
            .and_then(rusqlite::Error::sqlite_error_code);
        let was_not_begun = matches!(
            code,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DiskFull | ErrorCode::ReadOnly)
        );
        if !was_not_begun {
            self.class = Class::Ambiguous;
        }
        self
    }
}

/// What a code means, what to do, and whether the connection may be to blame.
fn meaning(code: Option<ErrorCode>) -> (Class, &'static str, bool) {
    match code {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => (
            Class::NotApplied,
            "another connection holds the write lock: keep its transactions short",
            false,
        ),
        Some(ErrorCode::FileLockingProtocolFailed | ErrorCode::OutOfMemory) => {
            (Class::NotApplied, "SQLite cannot go on for now", true)
        }
        Some(ErrorCode::DiskFull) => (
            Class::Full,
            "there is no room left: free space on the disk, or raise `max_page_count`",
            false,
        ),
        // Before a COMMIT nothing is written.
        Some(ErrorCode::SystemIoFailure) => (
            Class::NotApplied,
            "the file cannot be read or written: look at the disk",
            true,
        ),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => (Class::Fatal, READ_ONLY, true),
        Some(ErrorCode::CannotOpen) => (
            Class::Fatal,
            "the file cannot be opened: its directory has to exist, and the user of this process to have the right to \
             read and write there",
            true,
        ),
        Some(ErrorCode::DatabaseCorrupt) => (
            Class::Fatal,
            "the file is damaged: restore it from a backup, or try `.recover` of the program `sqlite3`",
            true,
        ),
        Some(ErrorCode::NotADatabase) => (
            Class::Fatal,
            "the file is not an SQLite database: name another path",
            true,
        ),
        _ => (Class::Fatal, "SQLite refuses the statement", true),
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        let (class, said, is_of_connection) = meaning(error.sqlite_error_code());
        Self {
            class,
            said: said.into(),
            source: Some(Arc::new(error)),
            is_of_connection,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said)
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        let kind = match fault.class {
            Class::NotApplied | Class::Full => StoreErrorKind::NotApplied,
            Class::Ambiguous => StoreErrorKind::Ambiguous,
            Class::Fatal => StoreErrorKind::Fatal,
            Class::Unreadable => StoreErrorKind::Unreadable,
        };
        Self::new(kind, fault)
    }
}
