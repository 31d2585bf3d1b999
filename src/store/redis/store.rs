//! The store in public: how it is connected, and what operators ask of it.

use std::fmt;

use super::builder::{RedisStoreBuilder, Verdict};
use super::client::Client;
use super::fault::{Class, Fault};
use super::form;
use super::settings;
use crate::key::RecordKey;
use crate::store::error::StoreError;

/// Records in Redis or Valkey, on one node, behind Sentinels or in a Cluster: one truth for many processes.
///
/// See the [module](crate::redis) for the set-up, what is promised and what an operator should know.
///
/// ```no_run
/// use tower_idempotency::{IdempotencyLayer, RedisStore};
///
/// # async fn f() -> Result<(), tower_idempotency::StoreError> {
/// let layer = IdempotencyLayer::new(RedisStore::connect("redis://127.0.0.1:6379").await?);
/// # let _ = layer;
/// # Ok(()) }
/// ```
pub struct RedisStore {
    pub(super) client: Client,
    pub(super) prefix: String,
    pub(super) max_record: usize,
    pub(super) may_evict: bool,
    pub(super) verdict: Verdict,
    /// What `Debug` says of the server: nothing of user and password.
    pub(super) server: String,
}

impl RedisStore {
    /// Connects by a URL, and looks at the server's settings.
    ///
    /// | URL | what it is |
    /// |---|---|
    /// | `redis://[user[:password]@]host[:6379][/database]` | one node |
    /// | `rediss://…` | the same over TLS, of which [`tls`](RedisStoreBuilder::tls) gives the certificates |
    /// | `redis+unix:///path` | the same over a Unix socket |
    /// | `redis+sentinel://[user[:password]@]host[:26379],host,…/name[/database]` | the primary that Sentinels know by this name; user and password are those of the primary |
    /// | `redis+cluster://[user[:password]@]host[:6379],host,…` | a Cluster; one node in reach is enough |
    /// | `rediss+sentinel://…`, `rediss+cluster://…` | the same over TLS |
    ///
    /// # Errors
    ///
    /// [`Fatal`](crate::StoreErrorKind::Fatal) for a wrong URL, user or password, and for settings with which the promise
    /// would be false, `NotApplied` where nobody is in reach. The source of the error says what to do; neither it nor
    /// anything else of the store shows the password.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Self::builder().connect(url).await
    }

    /// Over a connection of one's own, of the crate `redis` 1: a `MultiplexedConnection`, a `ConnectionManager`, a
    /// `ClusterConnection` or anything that is `ConnectionLike` and `Clone`.
    ///
    /// Whoever makes the connection sees to it that it is made anew when it breaks; a `MultiplexedConnection` is not
    /// ([`RedisStoreBuilder::connect_with`] does that). Nothing is sent here: [`ping`](Self::ping) looks at the settings.
    ///
    /// ```no_run
    /// # async fn f() -> redis::RedisResult<()> {
    /// use tower_idempotency::RedisStore;
    ///
    /// let client = redis::Client::open("redis://127.0.0.1")?;
    /// let store = RedisStore::new(client.get_multiplexed_async_connection().await?);
    /// # let _ = store;
    /// # Ok(()) }
    /// ```
    pub fn new<C>(connection: C) -> Self
    where
        C: redis::aio::ConnectionLike + Clone + Send + Sync + 'static,
    {
        Self::builder().connection(connection)
    }

    /// A store with other settings than the defaults.
    pub fn builder() -> RedisStoreBuilder {
        RedisStoreBuilder::default()
    }

    /// Whether the server does its part: a round trip through a script, and another look at the settings of every
    /// primary. For readiness probes, every few seconds; within the [time-out](RedisStoreBuilder::timeout) of a call each.
    /// With [`wait`](RedisStoreBuilder::wait), so many replicas have to answer too.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect). A primary of a Cluster that does not answer is no error here, unless it is the one
    /// that the script is sent to.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let key = [self.prefix.as_bytes(), b":ping"].concat();
        self.look(&key, 0, Some(|_| true)).await?;
        Ok(self.look_at_settings().await?)
    }

    /// Another look at the settings of every primary.
    pub(super) async fn look_at_settings(&self) -> Result<(), Fault> {
        let looked = async {
            let mut connection = self.client.link.get().await?.connection;
            settings::check(&mut connection, self.may_evict).await
        };
        let looked = tokio::time::timeout(self.client.at_most, looked).await;
        let looked = looked.unwrap_or_else(|_| Err(Fault::late()));
        match &looked {
            Err(fault) if fault.class != Class::Fatal => return Err(fault.clone()),
            _ => self.verdict.set(looked),
        }
        self.verdict.get().map(drop)
    }

    /// The key of a record on the server, quoted as `redis-cli` wants it.
    ///
    /// ```no_run
    /// # async fn f() -> Result<(), tower_idempotency::StoreError> {
    /// use http::Method;
    /// use tower_idempotency::{IdempotencyLayer, RedisStore};
    ///
    /// let layer = IdempotencyLayer::new(RedisStore::connect("redis://127.0.0.1").await?);
    /// let record = layer.record_key(b"user-7", &Method::POST, "/charges", "8e03978e-40d5");
    /// println!("redis-cli pttl {}", layer.store().cli_key(&record));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn cli_key(&self, key: &RecordKey) -> String {
        let name = form::name(&self.prefix, key);
        let quoted = name.iter().map(|byte| match byte {
            b'"' | b'\\' => format!("\\{}", char::from(*byte)),
            b' '..=b'~' => char::from(*byte).to_string(),
            _ => format!("\\x{byte:02x}"),
        });
        format!("\"{}\"", quoted.collect::<String>())
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("server", &self.server)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
