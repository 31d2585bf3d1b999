//! The settings of the store, and how it is opened.

use std::fmt;
use std::path::{self, Path};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::clock::Clock;
use super::connection::Role;
use super::fault::{Class, Fault};
use super::settings::Settings;
use super::sql::Sql;
use super::store::SqliteStore;
use super::thread::Thread;
use super::waiters::Waiters;
use crate::clock;
use crate::store::error::StoreError;

/// The settings of a [`SqliteStore`]; from [`SqliteStore::builder`].
///
/// | setting | default |
/// |---|---|
/// | [`prefix`](Self::prefix) | `idempotency` |
/// | [`synchronous_normal`](Self::synchronous_normal) | no: each commit waits for the disk |
/// | [`timeout`](Self::timeout) | 1.5 seconds |
/// | [`busy_timeout`](Self::busy_timeout) | 5 seconds |
/// | [`max_queued`](Self::max_queued) | 4,096 calls |
/// | [`purge_every`](Self::purge_every) | 10 seconds |
/// | [`clock`](Self::clock) | that of the machine |
///
/// ```no_run
/// use std::time::Duration;
/// use tower_idempotency::SqliteStore;
///
/// # async fn f() -> Result<(), tower_idempotency::StoreError> {
/// let store = SqliteStore::builder()
///     .prefix("payments")
///     .timeout(Duration::from_millis(800))
///     .open("/var/lib/payments/payments.db")
///     .await?;
/// # let _ = store;
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use]
pub struct SqliteStoreBuilder {
    prefix: String,
    is_normal: bool,
    timeout: Duration,
    busy_timeout: Duration,
    queue: usize,
    purge_every: Duration,
    clock: Clock,
}

impl Default for SqliteStoreBuilder {
    fn default() -> Self {
        Self {
            prefix: "idempotency".to_owned(),
            is_normal: false,
            timeout: Duration::from_millis(1_500),
            busy_timeout: Duration::from_secs(5),
            queue: 4_096,
            purge_every: Duration::from_secs(10),
            clock: Clock::Machine,
        }
    }
}

impl SqliteStoreBuilder {
    /// Sets what the names of the tables begin with: `{prefix}_record` and `{prefix}_store`. `idempotency` by default.
    ///
    /// Stores with different prefixes share nothing but the file.
    ///
    /// # Panics
    ///
    /// If it is not 1 to 40 ASCII letters, digits and underscores, or begins with a digit or with `sqlite_`.
    #[track_caller]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        let prefix = prefix.into();
        let is_name = prefix
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let begins_well = !prefix.starts_with(|first: char| first.is_ascii_digit())
            && !prefix.to_ascii_lowercase().starts_with("sqlite_");
        assert!(
            is_name && begins_well && (1..=40).contains(&prefix.len()),
            "SqliteStoreBuilder::prefix takes 1 to 40 ASCII letters, digits and underscores, neither a digit nor `sqlite_` first"
        );
        self.prefix = prefix;
        self
    }

    /// Does without waiting for the disk at each commit (`synchronous = NORMAL`); no by default (`FULL`).
    ///
    /// A killed process loses nothing either way. With `NORMAL` a power cut loses the commits since the last checkpoint: a
    /// request whose claim or outcome is lost runs a second time.
    pub fn synchronous_normal(mut self, is_normal: bool) -> Self {
        self.is_normal = is_normal;
        self
    }

    /// Sets how long a verb may take in all; 1.5 seconds by default. Keep it below the layer's
    /// [`store_timeout`](crate::IdempotencyLayer::store_timeout).
    ///
    /// A call that has not been begun by then is withdrawn, and has changed nothing.
    ///
    /// # Panics
    ///
    /// If it is zero.
    #[track_caller]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        assert!(!timeout.is_zero(), "SqliteStoreBuilder::timeout is zero");
        self.timeout = timeout;
        self
    }

    /// Sets how long the thread that writes waits for other connections to give back the write lock, before it fails what
    /// it has; 5 seconds by default, and an hour at most. [`open`](Self::open) waits so long too.
    ///
    /// # Panics
    ///
    /// If it is zero.
    #[track_caller]
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        assert!(
            !timeout.is_zero(),
            "SqliteStoreBuilder::busy_timeout is zero"
        );
        self.busy_timeout = timeout.min(Duration::from_secs(60 * 60));
        self
    }

    /// Sets how many calls may wait to be written, and how many to be read; 4,096 by default. One more is refused.
    ///
    /// # Panics
    ///
    /// If it is zero.
    #[track_caller]
    pub fn max_queued(mut self, calls: usize) -> Self {
        assert!(calls > 0, "SqliteStoreBuilder::max_queued is zero");
        self.queue = calls;
        self
    }

    /// Sets how often expired records are looked for; every 10 seconds by default. They go 200 at a time, between the
    /// calls, and where there are more, at once after a short pause. `Duration::MAX`: never, for files that another
    /// process purges.
    ///
    /// # Panics
    ///
    /// If it is zero.
    #[track_caller]
    pub fn purge_every(mut self, period: Duration) -> Self {
        assert!(!period.is_zero(), "SqliteStoreBuilder::purge_every is zero");
        self.purge_every = period;
        self
    }

    /// Sets another clock, for tests: the time since 1970, or since any moment if the file has only this store.
    ///
    /// It is asked on the threads of the store.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime, UNIX_EPOCH};
    /// use tower_idempotency::SqliteStore;
    ///
    /// let an_hour_ahead = || {
    ///     let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    ///     now + Duration::from_secs(60 * 60)
    /// };
    /// let builder = SqliteStore::builder().clock(an_hour_ahead);
    /// # let _ = builder;
    /// ```
    pub fn clock(mut self, now: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        self.clock = Clock::Custom(Arc::new(now));
        self
    }

    /// Opens the file, or makes it: see [`SqliteStore::open`].
    ///
    /// # Errors
    ///
    /// As [`SqliteStore::open`].
    pub async fn open(self, path: impl AsRef<Path>) -> Result<SqliteStore, StoreError> {
        let path = path.as_ref();
        let absolute = path::absolute(path).map_err(|error| {
            let said = format!("\"{}\" is no path: {error}", path.display());
            Fault::new(Class::Fatal, said)
        })?;
        let patience = self.timeout.saturating_add(self.busy_timeout);
        let settings = Arc::new(Settings {
            path: absolute,
            sql: Sql::new(&self.prefix),
            clock: self.clock,
            is_normal: self.is_normal,
            busy_timeout: self.busy_timeout,
            timeout: self.timeout,
            queue: self.queue,
            purge_every: self.purge_every,
        });
        let waiters = Arc::<Waiters>::default();
        let store = SqliteStore {
            writer: Thread::start(Role::Writer, &settings, &waiters)?,
            reader: Thread::start(Role::Reader, &settings, &waiters)?,
            waiters,
            settings,
        };
        store.check(clock::later(Instant::now(), patience)).await?;
        Ok(store)
    }
}

impl fmt::Debug for SqliteStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStoreBuilder")
            .field("prefix", &self.prefix)
            .field("synchronous_normal", &self.is_normal)
            .field("timeout", &self.timeout)
            .field("busy_timeout", &self.busy_timeout)
            .field("max_queued", &self.queue)
            .field("purge_every", &self.purge_every)
            .finish_non_exhaustive()
    }
}
