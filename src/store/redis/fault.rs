//! Why a call failed, and what that means.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use redis::{ErrorKind, RedisError};

use crate::store::error::{StoreError, StoreErrorKind};

/// A failed call. Its text names no credentials.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) class: Class,
    said: Arc<str>,
    source: Option<RedisError>,
    /// Whether a right is missing, or the command has been taken away.
    pub(super) is_denied: bool,
}

/// What may be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Nothing was written; the same server may do it soon.
    NotApplied,
    /// Nothing was written, and this connection will not do it.
    Elsewhere,
    /// Nobody knows whether it was written, and this connection may be broken.
    Ambiguous,
    /// It was written, and not enough replicas have said so.
    Unconfirmed,
    /// The server has no memory left.
    Full,
    /// The server does not know the script.
    NoScript,
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
            is_denied: false,
        }
    }

    /// A server that has not answered in time.
    pub(super) fn late() -> Self {
        Self::new(Class::Ambiguous, "Redis has not answered in time")
    }

    /// A server that has not been reached in time.
    pub(super) fn unreached() -> Self {
        let said = "Redis cannot be reached in time: nobody answers";
        Self::new(Class::Elsewhere, said)
    }

    /// Whether the task behind a Cluster's connection is gone: it has no kind of its own for that.
    pub(super) fn is_of_lost_task(&self) -> bool {
        let said = self
            .source
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        said == "broken pipe" || said.starts_with("redis_cluster: Unable to")
    }

    /// The same with the name of the server.
    pub(super) fn at(mut self, server: &str) -> Self {
        self.said = format!("{server}: {self}").into();
        self.source = None;
        self
    }

    /// The same of an attempt to connect: nothing has been asked for yet.
    pub(super) fn unsent(mut self) -> Self {
        if self.class == Class::Ambiguous {
            self.class = Class::Elsewhere;
        }
        self
    }

    /// The same of the last of several tries: what an earlier one may have written is in doubt still.
    pub(super) fn after(mut self, is_in_doubt: bool) -> Self {
        if is_in_doubt && self.class != Class::Unconfirmed {
            self.class = Class::Ambiguous;
        }
        self
    }

    /// The same of a claim that has been taken back: it must not be tried again under its id.
    pub(super) fn taken_back(mut self) -> Self {
        self.class = Class::Fatal;
        self
    }

    /// The same of a connection that sends by itself again, and tells of the last time alone. What a script has answered
    /// it would have answered the first time.
    pub(super) fn of_several_sendings(self) -> Self {
        let is_in_doubt = matches!(self.class, Class::NotApplied | Class::Elsewhere);
        self.after(is_in_doubt)
    }

    /// The same of what was to be heard of the replicas: the primary has written.
    pub(super) fn unconfirmed(mut self) -> Self {
        self.class = Class::Unconfirmed;
        self
    }

    pub(super) fn unreadable() -> Self {
        let said = "what stands at this key is no record of this version of the store";
        Self::new(Class::Unreadable, said)
    }

    /// An answer that no server gives.
    pub(super) fn odd() -> Self {
        Self::new(Class::Fatal, "Redis has answered something else")
    }
}

/// The codes of servers, and what they mean here.
const CODES: &[(&str, Class, &str)] = &[
    (
        "NOSCRIPT",
        Class::NoScript,
        "Redis does not know the script",
    ),
    (
        "OOM",
        Class::Full,
        "Redis has no memory left: raise `maxmemory`",
    ),
    ("LOADING", Class::NotApplied, "Redis is loading its data"),
    (
        "BUSY",
        Class::NotApplied,
        "Redis is busy with a script: SCRIPT KILL ends it",
    ),
    (
        "TRYAGAIN",
        Class::NotApplied,
        "the Cluster is moving this key",
    ),
    (
        "CLUSTERDOWN",
        Class::NotApplied,
        "the Cluster is down: CLUSTER INFO says why",
    ),
    (
        "NOREPLICAS",
        Class::NotApplied,
        "fewer replicas are in reach than `min-replicas-to-write`",
    ),
    (
        "MISCONF",
        Class::NotApplied,
        "Redis cannot write to its disk, and refuses writes",
    ),
    (
        "READONLY",
        Class::Elsewhere,
        "this Redis is a replica, and takes no writes",
    ),
    (
        "MASTERDOWN",
        Class::Elsewhere,
        "this Redis is a replica without its primary",
    ),
    (
        "MOVED",
        Class::Fatal,
        "this Redis is a node of a Cluster: connect by redis+cluster://",
    ),
    ("ASK", Class::NotApplied, "the Cluster is moving this key"),
    (
        "CROSSSLOT",
        Class::Fatal,
        "a proxy or a wrong prefix has spread one record over two slots",
    ),
    (
        "WRONGTYPE",
        Class::Fatal,
        "the key holds something else: another program uses this prefix",
    ),
    (
        "NOPERM",
        Class::Fatal,
        "the user lacks a right: see \"ACL\" in the documentation of RedisStore",
    ),
    (
        "NOAUTH",
        Class::Fatal,
        "Redis wants a password, and the URL has none",
    ),
    (
        "WRONGPASS",
        Class::Fatal,
        "Redis does not know this user with this password",
    ),
];

impl From<RedisError> for Fault {
    fn from(error: RedisError) -> Self {
        let (class, said) = classify(&error);
        let is_denied = matches!(error.code(), Some("NOPERM" | "ERR"));
        // What does not parse is said over several lines, byte by byte; a command that is not known with what it was
        // sent with, passwords too.
        let is_too_much = error.kind() == ErrorKind::Parse
            || error.to_string().contains("with args beginning with");
        let source = (!is_too_much).then_some(error);
        Self {
            class,
            said: said.into(),
            source,
            is_denied,
        }
    }
}

fn classify(error: &RedisError) -> (Class, &'static str) {
    if let Some(code) = error.code() {
        // Before Redis 7 a script fails with ERR, and the code of the command in the text; for lack of a right later, too.
        let text = error.detail().filter(|_| code == "ERR").unwrap_or_default();
        let code = match text.starts_with("The user executing the script can't") {
            true => "NOPERM",
            false => code,
        };
        let is_meant = |known: &str| {
            let mut words = text.split_whitespace();
            code == known || words.any(|word| word.trim_start_matches('-') == known)
        };
        let known = CODES.iter().find(|(known, ..)| is_meant(known));
        return known.map_or(
            (Class::Fatal, "Redis refuses the call"),
            |&(_, class, said)| (class, said),
        );
    }
    match error.kind() {
        ErrorKind::Io if error.is_connection_refusal() => {
            (Class::Elsewhere, "Redis cannot be reached")
        }
        ErrorKind::Io => (Class::Ambiguous, "the connection to Redis has failed"),
        ErrorKind::Parse => (Class::Ambiguous, "what came back is not of Redis"),
        ErrorKind::AuthenticationFailed => (
            Class::Fatal,
            "Redis does not know this user with this password",
        ),
        ErrorKind::ClusterConnectionNotFound => (
            Class::NotApplied,
            "no node of the Cluster that holds this key can be reached",
        ),
        ErrorKind::MasterNameNotFoundBySentinel => (
            Class::Elsewhere,
            "no Sentinel in reach knows a primary of this name",
        ),
        ErrorKind::NoValidReplicasFoundBySentinel => (
            Class::Elsewhere,
            "the Sentinels know no server that answers",
        ),
        ErrorKind::InvalidClientConfig | ErrorKind::EmptySentinelList => {
            (Class::Fatal, "the settings of the connection are wrong")
        }
        _ => (Class::Fatal, "Redis has answered something else"),
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said)?;
        match &self.source {
            Some(source) => write!(f, " ({source})"),
            None => Ok(()),
        }
    }
}

impl Error for Fault {}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        let kind = match fault.class {
            Class::NotApplied | Class::Elsewhere | Class::Full | Class::NoScript => {
                StoreErrorKind::NotApplied
            }
            Class::Ambiguous | Class::Unconfirmed => StoreErrorKind::Ambiguous,
            Class::Fatal => StoreErrorKind::Fatal,
            Class::Unreadable => StoreErrorKind::Unreadable,
        };
        Self::new(kind, fault)
    }
}

#[cfg(test)]
mod tests;
