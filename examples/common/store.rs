//! Where an example server keeps its records.

use std::error::Error;
use std::iter;

use tower_idempotency::{
    BoxStore, MemoryStore, PostgresStore, RedisStore, SqliteStore, Store, StoreError,
    StoreErrorKind,
};

use super::settings::Problem;

/// What `STORE_URL` names.
pub(crate) enum StoreUrl {
    Memory,
    /// One node, Sentinels or a Cluster, with or without TLS: the store reads it.
    Redis(String),
    /// The path of a file, which is made where there is none.
    Sqlite(String),
    Postgres(String),
}

impl StoreUrl {
    pub(crate) const TAKES: &str = "memory:, redis://HOST:PORT, rediss://HOST:PORT, \
        redis+sentinel://HOST:PORT,HOST:PORT/NAME, redis+cluster://HOST:PORT,HOST:PORT, \
        postgres://HOST:PORT/DATABASE or sqlite:PATH";

    pub(crate) fn parse(url: &str) -> Option<Self> {
        match url.split_once(':')? {
            ("memory", "") => Some(Self::Memory),
            (scheme, _) if scheme.starts_with("redis") => Some(Self::Redis(url.to_owned())),
            // As in the URLs of other programs, `//` may precede the path.
            ("sqlite", path) => {
                let path = path.strip_prefix("//").unwrap_or(path);
                (!path.is_empty()).then(|| Self::Sqlite(path.to_owned()))
            }
            (scheme, _) if scheme.starts_with("postgres") => Some(Self::Postgres(url.to_owned())),
            _ => None,
        }
    }

    /// Opens the store, and says on stderr what an operator should change about it.
    pub(crate) async fn open(self) -> Result<BoxStore, Problem> {
        let store = match self {
            Self::Memory => BoxStore::new(MemoryStore::new()),
            Self::Redis(url) => BoxStore::new(connect(&url).await.map_err(|error| why(&error))?),
            Self::Sqlite(path) => {
                let opened = SqliteStore::open(path).await;
                BoxStore::new(opened.map_err(|error| why(&error))?)
            }
            Self::Postgres(url) => {
                BoxStore::new(migrated(&url).await.map_err(|error| why(&error))?)
            }
        };
        for advice in store.advice() {
            eprintln!("STORE_URL: warning: {advice}");
        }
        Ok(store)
    }
}

async fn connect(url: &str) -> Result<RedisStore, StoreError> {
    // TLS wants the program to choose its cryptography. Nobody has chosen before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    RedisStore::connect(url).await
}

/// Makes what is missing in the database first.
async fn migrated(url: &str) -> Result<PostgresStore, StoreError> {
    PostgresStore::migrate(url).await?;
    PostgresStore::connect(url).await
}

/// All that is behind the error, in one line; none of it shows the password.
fn why(error: &StoreError) -> Problem {
    let behind = iter::successors(error.source(), |&error| error.source());
    let said: Vec<String> = behind.map(ToString::to_string).collect();
    let line = format!("STORE_URL: {}", said.join(": "));
    // What is no Redis may be quoted with its line ends.
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    match error.kind() {
        StoreErrorKind::Fatal => Problem::new(line),
        _ => Problem::passing(line),
    }
}
