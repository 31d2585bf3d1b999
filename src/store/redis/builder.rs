//! The settings of the store, and how it is connected.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{RedisResult, TlsCertificates};

use super::client::Client;
use super::connection::{Connection, Wait};
use super::fault::{Class, Fault};
use super::link::{Connector, Link};
use super::settings;
use super::store::RedisStore;
use super::target::{Access, Target};
use crate::store::error::StoreError;

/// What the last look at the settings has shown: what an operator should know, or why nothing may be claimed.
#[derive(Clone)]
pub(super) struct Verdict(Arc<Mutex<Result<Vec<&'static str>, Fault>>>);

impl Verdict {
    fn unknown() -> Self {
        Self(Arc::new(Mutex::new(Ok(Vec::new()))))
    }

    pub(super) fn set(&self, verdict: Result<Vec<&'static str>, Fault>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = verdict;
    }

    pub(super) fn get(&self) -> Result<Vec<&'static str>, Fault> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// The settings of a [`RedisStore`]; from [`RedisStore::builder`].
///
/// | setting | default |
/// |---|---|
/// | [`prefix`](Self::prefix) | `idem:1` |
/// | [`timeout`](Self::timeout) | 1.5 seconds |
/// | [`connect_timeout`](Self::connect_timeout) | 2 seconds |
/// | [`max_record_bytes`](Self::max_record_bytes) | 256 KiB |
/// | [`wait`](Self::wait) | for no replica |
/// | [`allow_eviction`](Self::allow_eviction) | no |
/// | [`tls`](Self::tls) | the certificates that the system trusts |
/// | [`sentinel_password`](Self::sentinel_password) | none |
///
/// ```no_run
/// use std::time::Duration;
/// use tower_idempotency::RedisStore;
///
/// # async fn f() -> Result<(), tower_idempotency::StoreError> {
/// let store = RedisStore::builder()
///     .prefix("payments:idem")
///     .timeout(Duration::from_millis(800))
///     .connect("redis+sentinel://10.0.0.1,10.0.0.2,10.0.0.3/mymaster")
///     .await?;
/// # let _ = store;
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use]
pub struct RedisStoreBuilder {
    prefix: String,
    timeout: Duration,
    connect_timeout: Duration,
    max_record: usize,
    wait: Option<Wait>,
    may_evict: bool,
    access: Access,
}

impl Default for RedisStoreBuilder {
    fn default() -> Self {
        Self {
            prefix: "idem:1".to_owned(),
            timeout: Duration::from_millis(1_500),
            connect_timeout: Duration::from_secs(2),
            max_record: 256 << 10,
            wait: None,
            may_evict: false,
            access: Access::default(),
        }
    }
}

impl RedisStoreBuilder {
    /// Sets what all keys begin with; a colon follows. `idem:1` by default.
    ///
    /// Stores with different prefixes share nothing.
    ///
    /// # Panics
    ///
    /// If it is empty, or has braces: in a Cluster they would put all records on one node.
    #[track_caller]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        let prefix = prefix.into();
        assert!(
            !prefix.is_empty() && !prefix.contains(['{', '}']),
            "RedisStoreBuilder::prefix is empty or has braces, which would put all records on one node of a Cluster"
        );
        self.prefix = prefix;
        self
    }

    /// Sets how long a round trip may take in all, connecting and repeating included; 1.5 seconds by default. All verbs are
    /// one, but for a response of more than 8 KiB, which is fetched by another.
    ///
    /// A call that fails without having been applied, or of which that is not known, is repeated up to twice within this
    /// time, with the same ids. The first try gets half of it. Keep it below the layer's
    /// [`store_timeout`](crate::IdempotencyLayer::store_timeout).
    ///
    /// # Panics
    ///
    /// If it is zero.
    #[track_caller]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        assert!(!timeout.is_zero(), "RedisStoreBuilder::timeout is zero");
        self.timeout = timeout;
        self
    }

    /// Sets how long [`connect`](Self::connect) may take, and each later attempt to connect; 2 seconds by default. A call
    /// does not wait for that longer than its own [`timeout`](Self::timeout).
    ///
    /// # Panics
    ///
    /// If it is zero.
    #[track_caller]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        assert!(
            !timeout.is_zero(),
            "RedisStoreBuilder::connect_timeout is zero"
        );
        self.connect_timeout = timeout;
        self
    }

    /// Sets how many bytes of a response are kept; 256 KiB by default. A longer one leaves a tombstone.
    ///
    /// Redis does nothing else while it copies one: about 0.3 ms for 64 KiB, 5 ms for 1 MiB.
    pub fn max_record_bytes(mut self, bytes: usize) -> Self {
        self.max_record = bytes;
        self
    }

    /// Waits after each claim, mark and completion until so many replicas have it (`WAIT`); for none by default.
    ///
    /// It narrows what an asynchronous failover may lose, and does not close the gap: a replica without the write may still
    /// be promoted. Where not enough replicas answer in time, a claim is taken back and refused, a mark is not made
    /// known, and an outcome is written again later. Replays and refusals need no replica.
    ///
    /// The calls of one process wait behind each other, because they share a connection: keep `at_most` well below the
    /// [`timeout`](Self::timeout), and see `min-replicas-to-write` of Redis, which costs nothing.
    ///
    /// # Panics
    ///
    /// If either is zero.
    #[track_caller]
    pub fn wait(mut self, replicas: usize, at_most: Duration) -> Self {
        assert!(
            replicas > 0 && at_most.as_millis() > 0,
            "RedisStoreBuilder::wait needs at least one replica and one millisecond"
        );
        self.wait = Some(Wait { replicas, at_most });
        self
    }

    /// Allows a `maxmemory-policy` other than `noeviction`; refused by default.
    ///
    /// Redis then drops records that have not expired when its memory is full, and the requests behind them run twice.
    pub fn allow_eviction(mut self, allow: bool) -> Self {
        self.may_evict = allow;
        self
    }

    /// Sets the certificates for `rediss://`: the authority to trust, and what this program shows of itself.
    ///
    /// TLS is rustls, which wants the program to choose a provider of cryptography before it connects:
    /// `rustls::crypto::ring::default_provider().install_default()`.
    pub fn tls(mut self, certificates: TlsCertificates) -> Self {
        self.access.certificates = Some(certificates);
        self
    }

    /// Sets user and password of the Sentinels themselves; none by default.
    pub fn sentinel_password(mut self, user: Option<&str>, password: &str) -> Self {
        self.access.sentinel = Some((user.map(str::to_owned), password.to_owned()));
        self
    }

    /// Connects by a URL: see [`RedisStore::connect`].
    ///
    /// # Errors
    ///
    /// As [`RedisStore::connect`].
    pub async fn connect(self, url: &str) -> Result<RedisStore, StoreError> {
        let target = Target::parse(url)?;
        // What waits for replicas must not be taken for a node that hangs.
        let waits = self.wait.map_or(Duration::ZERO, |wait| wait.at_most);
        let patience = (self.connect_timeout.min(self.timeout) / 6).saturating_add(waits);
        let connector = target.connector(&self.access, patience)?;
        self.connected(connector, target.to_string()).await
    }

    /// Connects by a closure of one's own, which is called again when the connection breaks or turns out to be to a
    /// replica: once at a time, with growing pauses.
    ///
    /// ```no_run
    /// # async fn f() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_idempotency::RedisStore;
    ///
    /// let client = redis::Client::open("redis://127.0.0.1")?;
    /// let connect = move || {
    ///     let client = client.clone();
    ///     async move { client.get_multiplexed_async_connection().await }
    /// };
    /// let store = RedisStore::builder().connect_with(connect).await?;
    /// # let _ = store;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`RedisStore::connect`].
    pub async fn connect_with<C, F>(
        self,
        connector: impl Fn() -> F + Send + Sync + 'static,
    ) -> Result<RedisStore, StoreError>
    where
        C: ConnectionLike + Clone + Send + Sync + 'static,
        F: Future<Output = RedisResult<C>> + Send + 'static,
    {
        let connector: Connector = Arc::new(move || {
            let made = connector();
            Box::pin(async move { Ok(Connection::new(made.await?)) })
        });
        self.connected(connector, "a connector".to_owned()).await
    }

    /// Over a connection that is there: see [`RedisStore::new`].
    pub fn connection<C>(self, connection: C) -> RedisStore
    where
        C: ConnectionLike + Clone + Send + Sync + 'static,
    {
        let link = Link::Given(Connection::new(connection));
        self.store(link, Verdict::unknown(), "a connection".to_owned())
    }

    async fn connected(
        self,
        connector: Connector,
        server: String,
    ) -> Result<RedisStore, StoreError> {
        let (verdict, may_evict) = (Verdict::unknown(), self.may_evict);
        let told = verdict.clone();
        // Each connection is looked at: after a failover it is another server's. Under settings that break the promise
        // nothing is claimed; what runs already is ended.
        let checked: Connector = Arc::new(move || {
            let (made, verdict) = (connector(), told.clone());
            Box::pin(async move {
                let mut connection = made.await?;
                match settings::check(&mut connection, may_evict).await {
                    Err(fault) if fault.class != Class::Fatal => return Err(fault),
                    looked => verdict.set(looked),
                }
                Ok(connection)
            })
        });
        let link = Link::made_by(checked, self.connect_timeout);
        let connected = link.get().await.and_then(|_| verdict.get());
        connected.map_err(|fault| fault.at(&server))?;
        Ok(self.store(link, verdict, server))
    }

    fn store(self, link: Link, verdict: Verdict, server: String) -> RedisStore {
        RedisStore {
            client: Client {
                link,
                at_most: self.timeout,
                wait: self.wait,
            },
            prefix: self.prefix,
            max_record: self.max_record,
            may_evict: self.may_evict,
            verdict,
            server,
        }
    }
}

impl fmt::Debug for RedisStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStoreBuilder")
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("max_record_bytes", &self.max_record)
            .field("wait", &self.wait)
            .field("allow_eviction", &self.may_evict)
            .finish_non_exhaustive()
    }
}
