//! Why a call failed, and what that means.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::store::error::{StoreError, StoreErrorKind};

/// A failed call. Its text names no credentials, and nothing of a record.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) class: Class,
    said: Arc<str>,
}

/// What may be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Nothing was written; the same connection may do it soon.
    NotApplied,
    /// Nothing was written, and no connection was to be had.
    Unsent,
    /// Nobody knows whether it was written, and the connection is gone.
    Ambiguous,
    /// It takes an operator.
    Fatal,
    /// The record was not written by this version.
    Unreadable,
}

impl Fault {
    pub(super) fn new(class: Class, said: impl Into<Arc<str>>) -> Self {
        let said = said.into();
        Self { class, said }
    }

    pub(super) fn late() -> Self {
        Self::new(Class::Ambiguous, "PostgreSQL has not answered in time")
    }

    pub(super) fn unreached() -> Self {
        let said = "PostgreSQL cannot be reached in time: nobody answers";
        Self::new(Class::Unsent, said)
    }

    pub(super) fn busy() -> Self {
        let said = "all connections of the store are at work: raise `max_connections`";
        Self::new(Class::Unsent, said)
    }

    pub(super) fn unreadable() -> Self {
        let said = "what stands at this key is no record of this version of the store";
        Self::new(Class::Unreadable, said)
    }

    /// An answer that no server gives.
    pub(super) fn odd() -> Self {
        Self::new(Class::Fatal, "PostgreSQL has answered something else")
    }

    /// The same with the name of the server.
    pub(super) fn at(self, server: &str) -> Self {
        Self::new(self.class, format!("{server}: {self}"))
    }

    /// The same of the last of several tries: what an earlier one may have written is in doubt still.
    pub(super) fn after(mut self, is_in_doubt: bool) -> Self {
        if is_in_doubt {
            self.class = Class::Ambiguous;
        }
        self
    }

    /// Whether the server was at work on the call, or may have been.
    pub(super) fn is_slow(&self) -> bool {
        matches!(self.class, Class::NotApplied | Class::Ambiguous)
    }

    /// Of a statement that was sent.
    pub(super) fn of_call(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => {
                Self::of_code(&error.code().unwrap_or_default(), error.message())
            }
            sqlx::Error::Io(error) => Self::new(
                Class::Ambiguous,
                format!("the connection to PostgreSQL has failed ({error})"),
            ),
            sqlx::Error::Protocol(_) => {
                Self::new(Class::Ambiguous, "what came back is not of PostgreSQL")
            }
            _ => Self::odd(),
        }
    }

    /// Of an attempt to connect: nothing has been asked for yet.
    pub(super) fn of_connecting(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Io(error) => Self::new(
                Class::Unsent,
                format!("PostgreSQL cannot be reached ({error})"),
            ),
            sqlx::Error::Tls(error) => Self::new(
                Class::Fatal,
                format!("TLS fails: see \"TLS\" in the documentation of PostgresStore ({error})"),
            ),
            sqlx::Error::Configuration(error) => Self::new(
                Class::Fatal,
                format!("the settings of the connection are wrong ({error})"),
            ),
            error => {
                let mut fault = Self::of_call(error);
                if matches!(fault.class, Class::Ambiguous | Class::NotApplied) {
                    fault.class = Class::Unsent;
                }
                fault
            }
        }
    }

    fn of_code(code: &str, message: &str) -> Self {
        let is_meant = |meant: &str| code.starts_with(meant);
        let known = CODES.iter().find(|(meant, ..)| is_meant(meant));
        let (class, said) = match known {
            // What says so is the text alone.
            Some(("28000", ..)) if message.contains("no encryption") => (Class::Fatal, WANTS_TLS),
            Some(&(_, class, said)) => (class, said),
            None => (Class::Fatal, "PostgreSQL refuses the call"),
        };
        Self::new(class, format!("{said} ({code}: {message})"))
    }
}

const WANTS_TLS: &str = "PostgreSQL wants TLS, or does not let this user in from here: see \"TLS\" in the documentation of PostgresStore";
pub(super) const NO_SCHEMA: &str = "the table of the store, or a part of it, is not there: run PostgresStore::migrate, \
    or the SQL of PostgresStoreBuilder::migration_sql";
pub(super) const NO_WRITES: &str = "this server takes no writes: it is a replica, or read-only by its settings. Connect to the primary";
const POOLED: &str = "a connection pooler stands in between, and forgets statements or refuses settings: \
    use PostgresStoreBuilder::simple_protocol(true)";

/// Codes of the server, or how they begin, and what they mean here. The first that fits counts.
const CODES: &[(&str, Class, &str)] = &[
    (
        "40001",
        Class::NotApplied,
        "another transaction came between",
    ),
    ("40P01", Class::NotApplied, "a deadlock was broken"),
    (
        "55P03",
        Class::NotApplied,
        "the record is locked for too long by another transaction",
    ),
    (
        "57014",
        Class::NotApplied,
        "PostgreSQL took too long, and gave the call up",
    ),
    (
        "53",
        Class::NotApplied,
        "PostgreSQL has no room left: connections, memory or disk",
    ),
    (
        "57P03",
        Class::NotApplied,
        "PostgreSQL is starting or stopping",
    ),
    (
        "57P",
        Class::Ambiguous,
        "PostgreSQL has closed the connection",
    ),
    ("08P01", Class::Fatal, POOLED),
    (
        "08",
        Class::Ambiguous,
        "the connection to PostgreSQL has failed",
    ),
    (
        "58",
        Class::Ambiguous,
        "PostgreSQL cannot read or write its files",
    ),
    ("42P01", Class::Fatal, NO_SCHEMA),
    ("42883", Class::Fatal, NO_SCHEMA),
    ("3F000", Class::Fatal, NO_SCHEMA),
    ("42703", Class::Fatal, NO_SCHEMA),
    (
        "42501",
        Class::Fatal,
        "the user lacks a right: see \"Rights\" in the documentation of PostgresStore",
    ),
    ("42P05", Class::Fatal, POOLED),
    ("26000", Class::Fatal, POOLED),
    ("25006", Class::Fatal, NO_WRITES),
    (
        "28000",
        Class::Fatal,
        "PostgreSQL does not let this user in: pg_hba.conf says who may come",
    ),
    (
        "28",
        Class::Fatal,
        "PostgreSQL does not know this user with this password",
    ),
    ("3D000", Class::Fatal, "there is no such database"),
];

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said)
    }
}

impl Error for Fault {}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        let kind = match fault.class {
            Class::NotApplied | Class::Unsent => StoreErrorKind::NotApplied,
            Class::Ambiguous => StoreErrorKind::Ambiguous,
            Class::Fatal => StoreErrorKind::Fatal,
            Class::Unreadable => StoreErrorKind::Unreadable,
        };
        Self::new(kind, fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_what_may_be_done() {
        for (code, class, said) in [
            ("40001", Class::NotApplied, "came between"),
            ("53100", Class::NotApplied, "no room"),
            ("57P01", Class::Ambiguous, "closed the connection"),
            ("57P03", Class::NotApplied, "starting"),
            ("08006", Class::Ambiguous, "has failed"),
            ("08P01", Class::Fatal, "simple_protocol(true)"),
            ("42P01", Class::Fatal, "PostgresStore::migrate"),
            ("42501", Class::Fatal, "\"Rights\""),
            ("25006", Class::Fatal, "primary"),
            ("28P01", Class::Fatal, "password"),
            ("26000", Class::Fatal, "simple_protocol(true)"),
            ("XX000", Class::Fatal, "refuses"),
        ] {
            let fault = Fault::of_code(code, "message");

            assert_eq!(fault.class, class, "{code}");
            let text = fault.to_string();
            assert!(
                text.contains(said) && text.ends_with(&format!("({code}: message)")),
                "{text}"
            );
        }
    }

    #[test]
    fn what_was_in_doubt_stays_in_doubt() {
        let fault = Fault::of_code("42501", "message");

        assert_eq!(fault.clone().after(false).class, Class::Fatal);
        assert_eq!(fault.after(true).class, Class::Ambiguous);
    }

    #[test]
    fn nothing_is_in_doubt_before_a_connection() {
        let broken = sqlx::Error::Io(std::io::ErrorKind::UnexpectedEof.into());

        assert_eq!(Fault::of_connecting(&broken).class, Class::Unsent);
        assert_eq!(Fault::of_call(&broken).class, Class::Ambiguous);
        let said = sqlx::Error::Protocol("canary".to_owned());
        assert_eq!(Fault::of_connecting(&said).class, Class::Unsent);
        assert!(!Fault::of_call(&said).to_string().contains("canary"));
    }
}
