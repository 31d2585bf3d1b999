//! The store in public: how it is opened, and what operators ask of it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use tokio::time::Instant;

use super::builder::SqliteStoreBuilder;
use super::fault::Fault;
use super::row::key_bytes;
use super::settings::Settings;
use super::thread::Thread;
use super::waiters::Waiters;
use crate::clock;
use crate::key::RecordKey;
use crate::store::error::StoreError;

/// Records in an SQLite file: durable on one machine, with nothing to install, for one process or several.
///
/// See the [module](crate::sqlite) for what is promised and what an operator should know.
///
/// ```no_run
/// use tower_idempotency::{IdempotencyLayer, SqliteStore};
///
/// # async fn f() -> Result<(), tower_idempotency::StoreError> {
/// let layer = IdempotencyLayer::new(SqliteStore::open("/var/lib/payments/idempotency.db").await?);
/// # let _ = layer;
/// # Ok(()) }
/// ```
///
/// It has two threads of its own, one that reads and one that writes, and they end with it. It needs no runtime: outside
/// of one it works as well, but without a time-out.
pub struct SqliteStore {
    pub(super) writer: Thread,
    pub(super) reader: Thread,
    pub(super) waiters: Arc<Waiters>,
    pub(super) settings: Arc<Settings>,
}

impl SqliteStore {
    /// Opens the file, or makes it; its directory has to exist. Tables that are not there are made, beside whatever else
    /// the file has.
    ///
    /// # Errors
    ///
    /// [`Fatal`](crate::StoreErrorKind::Fatal) for a path where no such file can be, a file that is read-only, damaged or
    /// of a later version, and a disk that a write-ahead log is not safe on; `NotApplied` where another connection has
    /// locked the file for too long, or the disk is full. The source of the error names the path and says what to do.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::builder().open(path).await
    }

    /// A store with other settings than the defaults.
    pub fn builder() -> SqliteStoreBuilder {
        SqliteStoreBuilder::default()
    }

    /// Whether the file can be read, and the write lock be had. For readiness probes.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), within the [time-out](SqliteStoreBuilder::timeout) of a verb.
    pub async fn ping(&self) -> Result<(), StoreError> {
        Ok(self.check(self.deadline()).await?)
    }

    /// The key of a record in the table, as SQL wants it: `X'…'`.
    ///
    /// ```no_run
    /// # async fn f() -> Result<(), tower_idempotency::StoreError> {
    /// use http::Method;
    /// use tower_idempotency::{IdempotencyLayer, SqliteStore};
    ///
    /// let layer = IdempotencyLayer::new(SqliteStore::open("idempotency.db").await?);
    /// let record = layer.record_key(b"user-7", &Method::POST, "/charges", "8e03978e-40d5");
    /// println!("SELECT * FROM idempotency_record WHERE key = {}", layer.store().sql_key(&record));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn sql_key(&self, key: &RecordKey) -> String {
        let digits = key_bytes(key).map(|byte| format!("{byte:02x}"));
        format!("X'{}'", digits.concat())
    }

    pub(super) async fn check(&self, deadline: Instant) -> Result<(), Fault> {
        self.writer.ask(deadline, |records| records.check()).await?;
        self.reader.ask(deadline, |records| records.check()).await
    }

    pub(super) fn deadline(&self) -> Instant {
        clock::later(Instant::now(), self.settings.timeout)
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("path", &self.settings.path)
            .finish_non_exhaustive()
    }
}
