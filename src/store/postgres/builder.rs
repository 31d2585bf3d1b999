//! The settings of the store, and how it is connected.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;

use super::client::Client;
use super::fault::{Class, Fault};
use super::migration;
use super::names::Names;
use super::pool::Pool;
use super::purge::Purge;
use super::statements::Statements;
use super::store::{Inner, PostgresStore};
use crate::store::error::StoreError;

/// The settings of a [`PostgresStore`]; from [`PostgresStore::builder`].
///
/// | setting | default |
/// |---|---|
/// | [`schema`](Self::schema) · [`table`](Self::table) | `idempotency` · `record` |
/// | [`max_connections`](Self::max_connections) | 4 |
/// | [`timeout`](Self::timeout) | 1.5 seconds |
/// | [`max_record_bytes`](Self::max_record_bytes) | 16 MiB |
/// | [`simple_protocol`](Self::simple_protocol) | no |
/// | [`purge`](Self::purge) | every minute |
///
/// ```no_run
/// use std::time::Duration;
/// use tower_idempotency::PostgresStore;
///
/// # async fn f() -> Result<(), tower_idempotency::StoreError> {
/// let store = PostgresStore::builder()
///     .schema("payments")
///     .timeout(Duration::from_millis(800))
///     .connect("postgres://user:password@10.0.0.1/app")
///     .await?;
/// # let _ = store;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct PostgresStoreBuilder {
    names: Names,
    max_connections: usize,
    timeout: Duration,
    max_record: usize,
    is_simple: bool,
    purge: Option<Duration>,
}

impl Default for PostgresStoreBuilder {
    fn default() -> Self {
        Self {
            names: Names::default(),
            max_connections: 4,
            timeout: Duration::from_millis(1_500),
            max_record: 16 << 20,
            is_simple: false,
            purge: Some(Duration::from_secs(60)),
        }
    }
}

/// The longest time-out of a call. Records that are done stay for longer, so that a claim that hangs finds what has come
/// before it.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60);

impl PostgresStoreBuilder {
    /// Sets the schema that the table is in; `idempotency` by default.
    ///
    /// # Panics
    ///
    /// If it has other characters than `a`-`z`, `0`-`9` and `_`, begins with a digit, or is empty or longer than 48.
    #[track_caller]
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.names.set_schema(schema.into());
        self
    }

    /// Sets the name of the table; `record` by default. Its functions, sequence and index are called after it.
    ///
    /// Stores with different tables share nothing.
    ///
    /// # Panics
    ///
    /// As [`schema`](Self::schema).
    #[track_caller]
    pub fn table(mut self, table: impl Into<String>) -> Self {
        self.names.set_table(table.into());
        self
    }

    /// Sets how many connections the store may have; 4 by default. They are its own: handlers that use up their pool
    /// never keep a lease from being renewed. None is held while a handler runs, or while a request waits for another.
    ///
    /// # Panics
    ///
    /// If it is zero, or more than 10,000.
    #[track_caller]
    pub fn max_connections(mut self, connections: usize) -> Self {
        assert!(
            (1..=10_000).contains(&connections),
            "PostgresStoreBuilder::max_connections is {connections}, not 1 to 10,000"
        );
        self.max_connections = connections;
        self
    }

    /// Sets how long a call may take in all, connecting and repeating included; 1.5 seconds by default. All verbs are one
    /// call. It is the server's `statement_timeout` for it, too.
    ///
    /// A call that fails without having been applied, or of which that is not known, is repeated up to twice within this
    /// time, with the same ids. The first try gets half of it. Keep it below the layer's
    /// [`store_timeout`](crate::IdempotencyLayer::store_timeout).
    ///
    /// # Panics
    ///
    /// If it is less than a millisecond, or more than a minute.
    #[track_caller]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        assert!(
            timeout.as_millis() > 0 && timeout <= LONGEST_TIMEOUT,
            "PostgresStoreBuilder::timeout is {timeout:?}, not a millisecond to a minute"
        );
        self.timeout = timeout;
        self
    }

    /// Sets how many bytes of a response are kept; 16 MiB by default. A longer one leaves a tombstone.
    pub fn max_record_bytes(mut self, bytes: usize) -> Self {
        self.max_record = bytes;
        self
    }

    /// Whether each call is one simple query, its parameters written out; not so by default.
    ///
    /// For poolers such as PgBouncer in transaction mode, behind which each call may meet another connection: they forget
    /// prepared statements, and refuse settings of a connection. It costs the planning of each statement. Where a server
    /// logs statements, parameters are in its log then: digests and recorded responses.
    pub fn simple_protocol(mut self, simple: bool) -> Self {
        self.is_simple = simple;
        self
    }

    /// Deletes records that have expired, and what freed keys leave, so often; every minute by default. It begins at
    /// [`connect`](Self::connect), and ends when the store is dropped. Several processes may do it at once.
    ///
    /// # Panics
    ///
    /// If it is zero.
    #[track_caller]
    pub fn purge(mut self, every: Duration) -> Self {
        assert!(!every.is_zero(), "PostgresStoreBuilder::purge is zero");
        self.purge = Some(every);
        self
    }

    /// Leaves it to others to delete what has expired: see ["Purge"](crate::postgres#purge).
    pub fn no_purge(mut self) -> Self {
        self.purge = None;
        self
    }

    /// Connects by a URL: see [`PostgresStore::connect`].
    ///
    /// # Errors
    ///
    /// As [`PostgresStore::connect`].
    pub async fn connect(self, url: &str) -> Result<PostgresStore, StoreError> {
        let options = options_of(url)?;
        self.connect_with(options).await
    }

    /// Connects by options of the crate `sqlx` 0.9, for what is not in a URL.
    ///
    /// ```no_run
    /// # async fn f() -> Result<(), tower_idempotency::StoreError> {
    /// use sqlx::postgres::PgConnectOptions;
    /// use tower_idempotency::PostgresStore;
    ///
    /// let options = PgConnectOptions::new().socket("/run/postgresql").database("app");
    /// let store = PostgresStore::builder().connect_with(options).await?;
    /// # let _ = store;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`PostgresStore::connect`].
    pub async fn connect_with(
        self,
        options: PgConnectOptions,
    ) -> Result<PostgresStore, StoreError> {
        let server = named(&options);
        let mut inner = Inner {
            client: self.client(options),
            statements: Statements::of(&self.names),
            names: self.names,
            max_record: self.max_record,
            advice: Vec::new(),
            server,
        };
        inner.advice = inner
            .check()
            .await
            .map_err(|fault| fault.at(&inner.server))?;
        let inner = Arc::new(inner);
        let purge = self.purge.map(|every| Purge::start(&inner, every));
        Ok(PostgresStore {
            inner,
            _purge: purge,
        })
    }

    /// Makes what is missing of schema, table, index, sequence and functions in the database of this URL, and changes
    /// nothing else: by the same SQL as [`migration_sql`](Self::migration_sql).
    ///
    /// Run it at each start, or when a release says so. Several processes may do it at once. Running services are not in
    /// its way, nor it in theirs: it never waits for a lock longer than 100 ms, and tries again for 20 seconds. A
    /// server that is not in reach yet is an error at once. Where nothing is missing the user needs no right to make anything.
    ///
    /// ```no_run
    /// # async fn f() -> Result<(), tower_idempotency::StoreError> {
    /// use tower_idempotency::PostgresStore;
    ///
    /// let (settings, url) = (PostgresStore::builder().schema("payments"), "postgres://owner:password@10.0.0.1/app");
    /// settings.migrate(url).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`PostgresStore::connect`].
    pub async fn migrate(&self, url: &str) -> Result<(), StoreError> {
        self.migrate_with(options_of(url)?).await
    }

    /// The same by options of the crate `sqlx` 0.9.
    ///
    /// # Errors
    ///
    /// As [`PostgresStore::connect`].
    pub async fn migrate_with(&self, options: PgConnectOptions) -> Result<(), StoreError> {
        let server = named(&options);
        let options = options.disable_statement_logging();
        let options = options.extra_float_digits(None);
        let migrated = migration::run(&options, &self.migration_sql()).await;
        Ok(migrated.map_err(|fault| fault.at(&server))?)
    }

    /// What [`migrate`](Self::migrate) runs, for those who run such things by themselves: one statement, for `psql`, or for
    /// a migration of any tool. It may be run again and again.
    ///
    /// ```
    /// use tower_idempotency::PostgresStore;
    ///
    /// let sql = PostgresStore::builder().schema("payments").migration_sql();
    /// assert!(sql.contains(r#"CREATE TABLE "payments"."record""#));
    /// ```
    #[must_use]
    pub fn migration_sql(&self) -> String {
        migration::sql(&self.names)
    }

    fn client(&self, options: PgConnectOptions) -> Client {
        // No statement is logged: where they are simple, a key and a response are in them.
        let mut options = options.disable_statement_logging();
        if options.get_application_name().is_none() {
            options = options.application_name("tower-idempotency");
        }
        let milliseconds = self.timeout.as_millis();
        // So short that each of three tries is told, instead of being late.
        let locks = (milliseconds / 4).max(1);
        let (options, each_time) = if self.is_simple {
            let each_time = format!(
                "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = {milliseconds}; \
                 SET LOCAL lock_timeout = {locks}; \
                 SET LOCAL bytea_output = hex; "
            );
            // Poolers refuse it.
            (options.extra_float_digits(None), Some(each_time))
        } else {
            let settings = [
                ("statement_timeout", milliseconds.to_string()),
                ("lock_timeout", locks.to_string()),
                ("default_transaction_isolation", "read committed".to_owned()),
                // Plans are kept: one that was made while the table was small must not read all of it later.
                ("enable_seqscan", "off".to_owned()),
                ("enable_bitmapscan", "off".to_owned()),
                ("plan_cache_mode", "force_generic_plan".to_owned()),
                ("jit", "off".to_owned()),
            ];
            (options.options(settings), None)
        };
        Client {
            pool: Pool::new(options, self.max_connections),
            at_most: self.timeout,
            each_time,
        }
    }
}

/// Reads a URL. The error says nothing of what is in it.
fn options_of(url: &str) -> Result<PgConnectOptions, Fault> {
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        let said = "the URL is wrong: it must begin with postgres:// or postgresql://";
        return Err(Fault::new(Class::Fatal, said));
    }
    PgConnectOptions::from_str(url).map_err(|_| {
        let said = "the URL is wrong: postgres://user:password@host:5432/database";
        Fault::new(Class::Fatal, said)
    })
}

/// What may be said of a server: nothing of user and password.
fn named(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or(options.get_username());
    match options.get_socket() {
        Some(socket) => format!("{}/{database}", socket.display()),
        None => format!("{}:{}/{database}", options.get_host(), options.get_port()),
    }
}
