//! The environment of an example server.

use std::env::{self, VarError};
use std::net::SocketAddr;
use std::process;
use std::time::Duration;

use tower_idempotency::{BoxStore, IdempotencyLayer, InFlight, OnLost};

use super::store::StoreUrl;

pub(crate) struct Settings {
    pub(crate) address: SocketAddr,
    /// The layer, as far as the environment says how it is to be.
    pub(crate) idempotency: IdempotencyLayer<BoxStore>,
    pub(crate) drain: Duration,
}

/// Why a program ends before it has begun.
pub(crate) struct Problem {
    line: String,
    status: i32,
}

impl Problem {
    /// It takes somebody to mend it.
    pub(crate) fn new(line: String) -> Self {
        Self { line, status: 2 }
    }

    /// It may work if the program is started again.
    pub(crate) fn passing(line: String) -> Self {
        Self { line, status: 1 }
    }
}

impl Settings {
    /// Reads the environment and opens the store. A problem ends the program: one line on stderr, status 2, or 1 where the
    /// store is not in reach.
    pub(crate) async fn from_environment() -> Self {
        Self::read().await.unwrap_or_else(|problem| {
            eprintln!("{}", problem.line);
            process::exit(problem.status)
        })
    }

    async fn read() -> Result<Self, Problem> {
        let address = variable("ADDR", "127.0.0.1:3000", "IP:PORT", |value| {
            value.parse().ok()
        })?;
        let store = variable("STORE_URL", "memory:", StoreUrl::TAKES, StoreUrl::parse)?;
        let retention = seconds("RETENTION_SECS", "86400", 1)?;
        let lease = seconds("LEASE_SECS", "30", 1)?;
        let (in_flight, on_lost) = (in_flight()?, on_lost()?);
        let drain = seconds("DRAIN_SECS", "25", 0)?;

        let idempotency = IdempotencyLayer::new(store.open().await?)
            .retention(retention)
            // At most the retention: the layer sees to that.
            .lease(lease)
            .in_flight(in_flight)
            .on_lost(on_lost);
        Ok(Self {
            address,
            idempotency,
            drain,
        })
    }
}

fn in_flight() -> Result<InFlight, Problem> {
    let takes = "reject or wait:SECONDS";
    variable("IN_FLIGHT", "reject", takes, |value| {
        match value.strip_prefix("wait:") {
            Some(at_most) => whole_seconds(at_most, 1).map(InFlight::wait),
            None => (value == "reject").then(InFlight::reject),
        }
    })
}

fn on_lost() -> Result<OnLost, Problem> {
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
) -> Result<T, Problem> {
    let parsed = match env::var(name) {
        Ok(value) => parse(&value),
        Err(VarError::NotPresent) => parse(default),
        Err(VarError::NotUnicode(_)) => None,
    };
    parsed.ok_or_else(|| Problem::new(format!("{name} takes {takes} (default: {default})")))
}

fn seconds(name: &str, default: &str, least: u32) -> Result<Duration, Problem> {
    let takes = format!("a whole number of seconds, {least} to {}", u32::MAX);
    variable(name, default, &takes, |value| whole_seconds(value, least))
}

fn whole_seconds(value: &str, least: u32) -> Option<Duration> {
    let seconds: u32 = value.parse().ok()?;
    // `parse` takes a plus sign too.
    (seconds >= least && !value.starts_with('+')).then(|| Duration::from_secs(seconds.into()))
}
