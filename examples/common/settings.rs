//! The environment of an example server.

use std::env::{self, VarError};
use std::net::SocketAddr;
use std::process;
use std::time::Duration;

use tower_idempotency::{IdempotencyLayer, InFlight, MemoryStore, OnLost};

pub(crate) struct Settings {
    pub(crate) address: SocketAddr,
    /// The layer, as far as the environment says how it is to be.
    pub(crate) idempotency: IdempotencyLayer,
    pub(crate) drain: Duration,
}

impl Settings {
    /// Reads the environment. A bad value ends the program: one line on stderr, status 2.
    pub(crate) fn from_environment() -> Self {
        Self::read().unwrap_or_else(|problem| {
            eprintln!("{problem}");
            process::exit(2)
        })
    }

    fn read() -> Result<Self, String> {
        let retention = seconds("RETENTION_SECS", "86400", 1)?;
        let idempotency = IdempotencyLayer::new(store()?)
            .retention(retention)
            // At most the retention: the layer sees to that.
            .lease(seconds("LEASE_SECS", "30", 1)?)
            .in_flight(in_flight()?)
            .on_lost(on_lost()?);
        Ok(Self {
            address: variable("ADDR", "127.0.0.1:3000", "IP:PORT", |value| {
                value.parse().ok()
            })?,
            idempotency,
            drain: seconds("DRAIN_SECS", "25", 0)?,
        })
    }
}

fn store() -> Result<MemoryStore, String> {
    variable("STORE_URL", "memory:", "memory:", |value| {
        (value == "memory:").then(MemoryStore::new)
    })
}

fn in_flight() -> Result<InFlight, String> {
    let takes = "reject or wait:SECONDS";
    variable("IN_FLIGHT", "reject", takes, |value| {
        match value.strip_prefix("wait:") {
            Some(at_most) => whole_seconds(at_most, 1).map(InFlight::wait),
            None => (value == "reject").then(InFlight::reject),
        }
    })
}

fn on_lost() -> Result<OnLost, String> {
    let takes = "rerun or refuse";
    variable("ON_LOST", "rerun", takes, |value| match value {
        "rerun" => Some(OnLost::Rerun),
        "refuse" => Some(OnLost::Refuse),
        _ => None,
    })
}

/// The value of a variable, or its default, as `parse` understands it.
///
/// The problem does not repeat the value: the URL of a store may hold a password.
fn variable<T>(
    name: &str,
    default: &str,
    takes: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, String> {
    let parsed = match env::var(name) {
        Ok(value) => parse(&value),
        Err(VarError::NotPresent) => parse(default),
        Err(VarError::NotUnicode(_)) => None,
    };
    parsed.ok_or_else(|| format!("{name} takes {takes} (default: {default})"))
}

fn seconds(name: &str, default: &str, least: u32) -> Result<Duration, String> {
    let takes = format!("a whole number of seconds, {least} to {}", u32::MAX);
    variable(name, default, &takes, |value| whole_seconds(value, least))
}

fn whole_seconds(value: &str, least: u32) -> Option<Duration> {
    let seconds: u32 = value.parse().ok()?;
    // `parse` takes a plus sign too.
    (seconds >= least && !value.starts_with('+')).then(|| Duration::from_secs(seconds.into()))
}
