//! The environment.

use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::BoxError;

pub(crate) struct Settings {
    database: Option<String>,
    database_folder: Option<PathBuf>,
    /// Where the API listens.
    pub(crate) address: SocketAddr,
    /// Where the provider listens.
    pub(crate) provider: SocketAddr,
    /// The provider's charges.
    pub(crate) charges: PathBuf,
    pub(crate) lease: Duration,
}

impl Settings {
    /// The error says which variable takes what; it does not repeat the value, which may hold a password.
    pub(crate) fn from_environment() -> Result<Self, String> {
        let address = "an address like 127.0.0.1:3000";
        let lease = variable(
            "LEASE_SECS",
            "30",
            "a whole number of seconds, 1 or more",
            |value| value.parse().ok().filter(|seconds| *seconds > 0),
        )?;
        Ok(Self {
            database: env::var("DATABASE_URL").ok(),
            database_folder: env::var("DATABASE_FOLDER").ok().map(PathBuf::from),
            address: variable("ADDR", "127.0.0.1:3000", address, |value| {
                value.parse().ok()
            })?,
            provider: variable("PROVIDER_ADDR", "127.0.0.1:3001", address, |value| {
                value.parse().ok()
            })?,
            charges: variable(
                "PROVIDER_FILE",
                "ledger-provider.jsonl",
                "a path",
                |value| Some(value.into()),
            )?,
            lease: Duration::from_secs(lease),
        })
    }

    /// The provider has none.
    pub(crate) fn database(&self) -> Result<&str, BoxError> {
        let url = self.database.as_deref();
        url.ok_or_else(|| "DATABASE_URL takes postgres://USER@HOST/DATABASE".into())
    }

    /// Only the storm needs it.
    pub(crate) fn database_folder(&self) -> Result<&Path, BoxError> {
        let folder = self.database_folder.as_deref();
        folder.ok_or_else(|| "DATABASE_FOLDER takes the data directory of the database".into())
    }
}

/// The value of a variable, or its default, as `parse` understands it.
pub(crate) fn variable<T>(
    name: &str,
    default: &str,
    takes: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, String> {
    let value = env::var(name).unwrap_or_else(|_| default.to_owned());
    parse(&value).ok_or_else(|| format!("{name} takes {takes} (default: {default})"))
}
