//! The store in public, and what operators ask of it.

use std::fmt;
use std::time::Duration;

use tokio::time::sleep;

use super::builder::PostgresStoreBuilder;
use super::client::Client;
use super::fault::{Class, Fault, NO_SCHEMA, NO_WRITES};
use super::names::Names;
use super::purge::Purge;
use super::row;
use super::statements::Statements;
use crate::key::RecordKey;
use crate::store::error::StoreError;
use crate::store::statement::Parameter;

/// Records in PostgreSQL: durable, one truth for many processes, and beside what handlers write.
///
/// See the [module](crate::postgres) for the set-up, what is promised and what an operator should know.
///
/// ```no_run
/// use tower_idempotency::{IdempotencyLayer, PostgresStore};
///
/// # async fn f() -> Result<(), tower_idempotency::StoreError> {
/// let url = "postgres://user:password@10.0.0.1/app";
/// PostgresStore::migrate(url).await?;
/// let layer = IdempotencyLayer::new(PostgresStore::connect(url).await?);
/// # let _ = layer;
/// # Ok(()) }
/// ```
pub struct PostgresStore {
    pub(super) inner: std::sync::Arc<Inner>,
    /// Ends with the store.
    pub(super) _purge: Option<Purge>,
}

/// What the store and its purge share.
pub(super) struct Inner {
    pub(super) client: Client,
    pub(super) statements: Statements,
    pub(super) names: Names,
    pub(super) max_record: usize,
    pub(super) advice: Vec<&'static str>,
    /// What `Debug` says of the server: nothing of user and password.
    pub(super) server: String,
}

impl PostgresStore {
    /// Connects by a URL, and looks whether all is there: `postgres://[user[:password]@]host[:5432]/database`.
    ///
    /// What the URL leaves out is taken from `PGHOST`, `PGPORT`, `PGUSER`, `PGPASSWORD`, `PGDATABASE` and `~/.pgpass`.
    /// `?sslmode=verify-full` wants TLS, and one of the `tls-` features of `sqlx` 0.9 in the program's own `Cargo.toml`.
    ///
    /// # Errors
    ///
    /// [`Fatal`](crate::StoreErrorKind::Fatal) for a wrong URL, user or password, for a replica, a missing table or a
    /// missing right; `NotApplied` where nobody is in reach. The source of the error says what to do; neither it nor
    /// anything else of the store shows the password.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Self::builder().connect(url).await
    }

    /// Makes schema, table and functions where they are missing: see [`PostgresStoreBuilder::migrate`].
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn migrate(url: &str) -> Result<(), StoreError> {
        Self::builder().migrate(url).await
    }

    /// A store with other settings than the defaults.
    pub fn builder() -> PostgresStoreBuilder {
        PostgresStoreBuilder::default()
    }

    /// Whether the server does its part: a round trip, and another look whether all is there. For readiness probes; within
    /// the [time-out](PostgresStoreBuilder::timeout) of a call.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.inner.check().await?;
        Ok(())
    }

    /// Deletes all that has expired more than five minutes ago, and what freed keys have left; says how many rows. In
    /// batches of 1,000, fewer where that takes too long, with pauses of 50 ms, so that requests hardly notice.
    ///
    /// The store does it by itself, unless [told otherwise](PostgresStoreBuilder::no_purge).
    ///
    /// # Errors
    ///
    /// As those of any call. What was deleted before stays deleted.
    pub async fn purge(&self) -> Result<u64, StoreError> {
        Ok(self.inner.purge().await?)
    }

    /// A query for the row of a record, for `psql`.
    ///
    /// ```no_run
    /// # async fn f() -> Result<(), tower_idempotency::StoreError> {
    /// use http::Method;
    /// use tower_idempotency::{IdempotencyLayer, PostgresStore};
    ///
    /// let layer = IdempotencyLayer::new(PostgresStore::connect("postgres://10.0.0.1/app").await?);
    /// let record = layer.record_key(b"user-7", &Method::POST, "/charges", "8e03978e-40d5");
    /// println!("{}", layer.store().psql_query(&record));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn psql_query(&self, key: &RecordKey) -> String {
        let digests = [&key.scope()[..], &key.key()[..]].concat();
        let hex = digests.iter().map(|byte| format!("{byte:02x}"));
        let names = &self.inner.names;
        names.fill(&format!(
            "SELECT * FROM {{record}} WHERE key = decode('{}', 'hex');",
            hex.collect::<String>()
        ))
    }
}

/// So many rows are deleted at once.
const BATCH: i64 = 1_000;
/// And so long nothing is then.
const PAUSE: Duration = Duration::from_millis(50);

impl Inner {
    /// Whether all is there; what an operator should know.
    pub(super) async fn check(&self) -> Result<Vec<&'static str>, Fault> {
        let answer = self.client.call(&self.statements.check, &[]).await?;
        let is = |column| Ok::<_, Fault>(row::number(answer.row()?, column)? == 1);
        let refuses = |said: &str| Err(Fault::new(Class::Fatal, said));
        if !is(0)? {
            return refuses(NO_SCHEMA);
        }
        if !is(1)? {
            return refuses(
                "the user may not SELECT, INSERT, UPDATE and DELETE in the table of the store, and use its sequence and functions: \
                 see \"Rights\" in the documentation of PostgresStore",
            );
        }
        if is(2)? {
            return refuses(NO_WRITES);
        }
        let mut advice = Vec::new();
        if is(3)? {
            advice.push(
                "`synchronous_commit` is off: a crash of PostgreSQL loses outcomes that were acknowledged. Turn it on for this user",
            );
        }
        if is(4)? {
            advice.push("`fsync` is off: a crash of the machine loses all records. Turn it on");
        }
        Ok(advice)
    }

    pub(super) async fn purge(&self) -> Result<u64, Fault> {
        let (mut purged, mut at_most) = (0, BATCH);
        loop {
            let parameters = [Parameter::Integer(at_most)];
            let asked = self.client.call(&self.statements.purge, &parameters);
            let (batch, is_slow) = match asked.await {
                Ok(answer) => (row::number(answer.row()?, 0)?, answer.was_in_doubt),
                Err(fault) if fault.is_slow() && at_most > 1 => (0, true),
                Err(fault) => return Err(fault),
            };
            purged += u64::try_from(batch).unwrap_or_default();
            // Long responses take their time: fewer of them, once the server has done or given up what it is still at.
            if is_slow && at_most > 1 {
                at_most /= 10;
                sleep(self.client.at_most).await;
                continue;
            }
            if batch < at_most {
                return Ok(purged);
            }
            sleep(PAUSE).await;
        }
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("server", &self.inner.server)
            .field("schema", &self.inner.names.schema())
            .field("table", &self.inner.names.table())
            .finish_non_exhaustive()
    }
}
