//! The layer, and its knobs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http::request::Parts;
use tower::Layer;

use crate::bounds::Bounds;
use crate::config::Config;
use crate::drive::within;
use crate::endpoint::{Endpoint, Endpoints};
use crate::form::Form;
use crate::guard::Core;
use crate::key::RecordKey;
use crate::policy::{InFlight, Keep, KeyPolicy, OnLost, OnStoreError};
use crate::refusal::{Refusal, RefusalCode};
use crate::scope::Scope;
use crate::service::IdempotencyService;
use crate::store::boxed::BoxStore;
#[cfg(feature = "memory")]
use crate::store::memory::MemoryStore;
use crate::store::traits::Store;
use crate::waiting::WaitingRoom;

/// Makes the requests it covers safe to retry. See the [crate documentation](crate).
///
/// Cheap to clone; clones share the store, the bounds and the [drain](Self::drain), and each may be configured
/// further: one layer for the whole service, a clone of it with another retention for one route.
#[must_use = "a layer does nothing until it wraps a service"]
pub struct IdempotencyLayer<
    #[cfg(feature = "memory")] St = MemoryStore,
    #[cfg(not(feature = "memory"))] St,
> {
    core: Arc<Core<St>>,
}

#[cfg(feature = "memory")]
impl Default for IdempotencyLayer<MemoryStore> {
    /// POST requests, the header `Idempotency-Key`, records in memory for 24 hours.
    fn default() -> Self {
        Self::new(MemoryStore::new())
    }
}

impl<St: Store> IdempotencyLayer<St> {
    /// A layer that keeps its records in this store, everything else by default.
    pub fn new(store: St) -> Self {
        Self::with_core(
            Arc::new(store),
            Config::default(),
            Arc::default(),
            Arc::default(),
        )
    }

    /// The same layer, the type of its store erased.
    pub fn boxed(self) -> IdempotencyLayer<BoxStore> {
        let Core {
            store,
            config,
            bounds,
            waiting,
        } = &*self.core;
        let store = Arc::new(BoxStore::shared(Arc::clone(store)));
        IdempotencyLayer::with_core(
            store,
            config.clone(),
            Arc::clone(bounds),
            Arc::clone(waiting),
        )
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &St {
        &self.core.store
    }

    /// The record key of a request, for [`Store::inspect`] and [`Store::forget`]: of this principal (empty for
    /// [`Scope::shared`] and for requests without credentials), method, original path and unquoted key.
    ///
    /// ```
    /// # tokio_test();
    /// # fn tokio_test() { tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// use http::Method;
    /// use tower_idempotency::{Forgotten, IdempotencyLayer, Scope, Store};
    ///
    /// let layer = IdempotencyLayer::default().scope(Scope::shared());
    /// let key = layer.record_key(b"", &Method::POST, "/v1/charges", "order_456");
    ///
    /// assert!(layer.store().inspect(&key).await.unwrap().is_none());
    /// assert_eq!(layer.store().forget(&key, false).await.unwrap(), Forgotten::Unknown);
    /// # }) }
    /// ```
    #[must_use]
    pub fn record_key(
        &self,
        principal: &[u8],
        method: &Method,
        path: &str,
        key: &str,
    ) -> RecordKey {
        self.core.config.record_key(principal, method, path, key)
    }

    /// The record key of a request with this head and unquoted key, its scope resolved as the layer would.
    ///
    /// # Errors
    ///
    /// What the layer would refuse the request with.
    pub fn record_key_for(&self, parts: &Parts, key: &str) -> Result<RecordKey, Refusal> {
        if !self.core.config.key.allows(key) {
            return Err(Refusal::new(RefusalCode::KeyInvalid));
        }
        self.core.config.record_key_for(parts, key)
    }

    /// Waits until every claimed execution has ended and every outcome is in the store, or for `deadline`.
    ///
    /// Call it after the server has stopped: what its connections left behind goes on until it is recorded.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # async fn shutdown(layer: tower_idempotency::IdempotencyLayer) {
    /// let drained = layer.drain(Duration::from_secs(25)).await;
    /// if drained.left > 0 {
    ///     eprintln!("{} executions were cut off", drained.left);
    /// }
    /// # }
    /// ```
    pub async fn drain(&self, deadline: Duration) -> Drained {
        let _ = within(deadline, self.core.bounds.drained()).await;
        Drained {
            left: self.core.bounds.left(),
        }
    }

    /// Which methods are covered where no endpoints are listed. Default: POST.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// use http::Method;
    ///
    /// let layer = IdempotencyLayer::default().methods([Method::POST, Method::PATCH]);
    /// # let _ = layer;
    /// ```
    ///
    /// # Panics
    ///
    /// For CONNECT, which has no response to record.
    #[track_caller]
    pub fn methods(self, methods: impl IntoIterator<Item = Method>) -> Self {
        let methods: Vec<_> = methods.into_iter().collect();
        assert!(
            !methods.contains(&Method::CONNECT),
            "methods take any method but CONNECT, which is never covered"
        );
        self.with(|config| config.methods = methods)
    }

    /// Which endpoints are covered: `"METHOD /path"`, templates in axum's syntax, matched on the original path.
    /// Default: all that the layer wraps.
    ///
    /// Everything else passes through untouched. The list says which methods are covered;
    /// [`methods`](Self::methods) does not count beside it. A trailing slash makes another path.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// let layer = IdempotencyLayer::default().endpoints(["POST /v1/charges", "POST /v1/refunds/{id}"]);
    /// # let _ = layer;
    /// ```
    ///
    /// # Panics
    ///
    /// For what is no endpoint, and for two templates that the router cannot tell apart.
    #[track_caller]
    pub fn endpoints<I>(self, endpoints: I) -> Self
    where
        I: IntoIterator,
        I::Item: TryInto<Endpoint>,
        <I::Item as TryInto<Endpoint>>::Error: fmt::Display,
    {
        let mut list = Vec::new();
        for endpoint in endpoints {
            match endpoint.try_into() {
                Ok(endpoint) => list.push(endpoint),
                Err(error) => panic!("{error}"),
            }
        }
        match Endpoints::new(list) {
            Ok(endpoints) => self.with(|config| config.endpoints = Some(endpoints)),
            Err(error) => panic!("{error}"),
        }
    }

    /// A part of every record key. Default: empty.
    ///
    /// Needed for two services on one store, and for layers inside `nest` without feature `axum`, which see equal
    /// paths for different routes.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// let layer = IdempotencyLayer::default().namespace("payments");
    /// # let _ = layer;
    /// ```
    pub fn namespace(self, namespace: impl Into<String>) -> Self {
        let namespace = namespace.into();
        self.with(|config| config.namespace = namespace)
    }

    /// Who sends a request. Default: [`Scope::credentials`].
    ///
    /// ```
    /// # use tower_idempotency::{IdempotencyLayer, Scope};
    /// # #[derive(Clone)] struct UserId(String);
    /// let layer = IdempotencyLayer::default().scope(Scope::extension(|user: &UserId| user.0.clone()));
    /// # let _ = layer;
    /// ```
    pub fn scope(self, scope: Scope) -> Self {
        self.with(|config| config.scope = scope)
    }

    /// Which keys are accepted. Default: 1 to 255 visible ASCII characters.
    ///
    /// ```
    /// # use tower_idempotency::{IdempotencyLayer, KeyPolicy};
    /// let layer = IdempotencyLayer::default().key(KeyPolicy::ascii(10..=255));
    /// # let _ = layer;
    /// ```
    pub fn key(self, policy: KeyPolicy) -> Self {
        self.with(|config| config.key = policy)
    }

    /// Whether a covered request without a key is refused with 400 `idempotency_key_missing`. Default: no, it passes
    /// through.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// let layer = IdempotencyLayer::default().require_key(true);
    /// # let _ = layer;
    /// ```
    pub fn require_key(self, required: bool) -> Self {
        self.with(|config| config.require_key = required)
    }

    /// Which outcomes are kept. Default: [`Keep::Success`].
    ///
    /// ```
    /// # use tower_idempotency::{IdempotencyLayer, Keep};
    /// let layer = IdempotencyLayer::default().keep(Keep::Final);
    /// # let _ = layer;
    /// ```
    pub fn keep(self, keep: Keep) -> Self {
        self.with(|config| config.keep = keep)
    }

    /// Who runs after an owner was lost. Default: [`OnLost::Rerun`].
    ///
    /// ```
    /// # use tower_idempotency::{IdempotencyLayer, OnLost};
    /// let layer = IdempotencyLayer::default().on_lost(OnLost::Refuse);
    /// # let _ = layer;
    /// ```
    pub fn on_lost(self, on_lost: OnLost) -> Self {
        self.with(|config| config.on_lost = on_lost)
    }

    /// What a retry meets while the first request runs. Default: [`InFlight::reject`].
    ///
    /// ```
    /// # use tower_idempotency::{IdempotencyLayer, InFlight};
    /// # use std::time::Duration;
    /// let layer = IdempotencyLayer::default().in_flight(InFlight::wait(Duration::from_secs(5)));
    /// # let _ = layer;
    /// ```
    pub fn in_flight(self, in_flight: InFlight) -> Self {
        self.with(|config| config.in_flight = in_flight)
    }

    /// What happens where the store fails at the claim. Default: [`OnStoreError::Refuse`].
    ///
    /// ```
    /// # use tower_idempotency::{IdempotencyLayer, OnStoreError};
    /// let layer = IdempotencyLayer::default().on_store_error(OnStoreError::RunUnprotected);
    /// # let _ = layer;
    /// ```
    pub fn on_store_error(self, on_store_error: OnStoreError) -> Self {
        self.with(|config| config.on_store_error = on_store_error)
    }

    /// The form of the layer's own answers. Default: [`ErrorForm::flat`](crate::ErrorForm::flat).
    ///
    /// ```
    /// # use tower_idempotency::{ErrorForm, IdempotencyLayer};
    /// let layer = IdempotencyLayer::default().errors(ErrorForm::flat());
    /// # let _ = layer;
    /// ```
    pub fn errors(self, form: impl Form) -> Self {
        let form = Arc::new(form);
        self.with(|config| config.form = form)
    }

    /// How long a record lives, counted from the first request. Default: 24 hours.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// # use std::time::Duration;
    /// let layer = IdempotencyLayer::default().retention(Duration::from_secs(7 * 24 * 60 * 60));
    /// # let _ = layer;
    /// ```
    ///
    /// # Panics
    ///
    /// For zero.
    #[track_caller]
    pub fn retention(self, retention: Duration) -> Self {
        let retention = positive("retention", retention);
        self.with(|config| config.retention = retention)
    }

    /// How long an owner may stay silent before it is presumed lost; renewed at a third while the handler runs.
    /// Default: 30 seconds. At most the retention: the smaller of the two is used.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// # use std::time::Duration;
    /// let layer = IdempotencyLayer::default().lease(Duration::from_secs(10));
    /// # let _ = layer;
    /// ```
    ///
    /// # Panics
    ///
    /// For zero.
    #[track_caller]
    pub fn lease(self, lease: Duration) -> Self {
        let lease = positive("lease", lease);
        self.with(|config| config.lease = lease)
    }

    /// How long an execution is kept alive, from its claim; then renewal stops, the lease-lost signal rises, and the
    /// record becomes abandoned at the end of its lease. Default: 15 minutes; `None` for no limit.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// # use std::time::Duration;
    /// let layer = IdempotencyLayer::default().max_execution(Duration::from_secs(60));
    /// let layer = layer.max_execution(None);
    /// # let _ = layer;
    /// ```
    ///
    /// # Panics
    ///
    /// For zero.
    #[track_caller]
    pub fn max_execution(self, limit: impl Into<Option<Duration>>) -> Self {
        let limit = limit.into();
        // Not in a closure, which would hide the caller from the message.
        if let Some(limit) = limit {
            positive("max_execution", limit);
        }
        self.with(|config| config.max_execution = limit)
    }

    /// The `Retry-After` of 409, 429 and 503 answers, in whole seconds and at least one; at most what is left of a
    /// lease that is waited for. Default: 1 second.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// # use std::time::Duration;
    /// let layer = IdempotencyLayer::default().retry_after(Duration::from_secs(2));
    /// # let _ = layer;
    /// ```
    pub fn retry_after(self, after: Duration) -> Self {
        self.with(|config| config.retry_after = after)
    }

    /// How long a response is held, from its head on, before it flows to the client and leaves a tombstone. Default:
    /// 2 seconds.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// # use std::time::Duration;
    /// let layer = IdempotencyLayer::default().hold_for(Duration::from_millis(500));
    /// # let _ = layer;
    /// ```
    pub fn hold_for(self, hold_for: Duration) -> Self {
        self.with(|config| config.hold_for = hold_for)
    }

    /// How long a call of the store may take, repeats included. Default: 2 seconds.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// # use std::time::Duration;
    /// let layer = IdempotencyLayer::default().store_timeout(Duration::from_millis(500));
    /// # let _ = layer;
    /// ```
    ///
    /// # Panics
    ///
    /// For zero.
    #[track_caller]
    pub fn store_timeout(self, timeout: Duration) -> Self {
        let timeout = positive("store_timeout", timeout);
        self.with(|config| config.store_timeout = timeout)
    }

    /// How long settling goes on, beside the request, where the store failed at it. Default: 5 minutes.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// # use std::time::Duration;
    /// let layer = IdempotencyLayer::default().settle_for(Duration::from_secs(60));
    /// # let _ = layer;
    /// ```
    pub fn settle_for(self, settle_for: Duration) -> Self {
        self.with(|config| config.settle_for = settle_for)
    }

    /// The largest request body that is read, in bytes; 413 `request_too_large` beyond. Default: 2 MiB.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// let layer = IdempotencyLayer::default().max_request_bytes(64 * 1024);
    /// # let _ = layer;
    /// ```
    pub fn max_request_bytes(self, most: usize) -> Self {
        self.with(|config| config.max_request_bytes = most)
    }

    /// The largest response body that is kept, in bytes: a larger one reaches the client whole and leaves a tombstone.
    /// Default: 1 MiB. A store may keep less.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// let layer = IdempotencyLayer::default().max_kept_response(64 * 1024);
    /// # let _ = layer;
    /// ```
    pub fn max_kept_response(self, most: usize) -> Self {
        self.with(|config| config.max_kept_response = most)
    }

    /// How many bytes of request bodies may be in memory in all; 503 `idempotency_overloaded` beyond. Default: 256 MiB.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// let layer = IdempotencyLayer::default().max_buffered_bytes(16 << 20);
    /// # let _ = layer;
    /// ```
    pub fn max_buffered_bytes(self, most: usize) -> Self {
        self.with(|config| config.max_buffered_bytes = most)
    }

    /// How many requests may wait for one key; 409 beyond. Default: 1,000.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// let layer = IdempotencyLayer::default().max_waiters_per_key(100);
    /// # let _ = layer;
    /// ```
    pub fn max_waiters_per_key(self, most: usize) -> Self {
        self.with(|config| config.max_waiters_per_key = most)
    }

    /// How many requests may wait in all; 409 beyond. Default: 10,000.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// let layer = IdempotencyLayer::default().max_waiters(1_000);
    /// # let _ = layer;
    /// ```
    pub fn max_waiters(self, most: usize) -> Self {
        self.with(|config| config.max_waiters = most)
    }

    /// How many executions may go on whose clients have gone; new claims are refused with 503
    /// `idempotency_overloaded` beyond. Default: 1,024.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// let layer = IdempotencyLayer::default().max_detached(256);
    /// # let _ = layer;
    /// ```
    ///
    /// # Panics
    ///
    /// For zero, which would refuse every claim.
    #[track_caller]
    pub fn max_detached(self, most: usize) -> Self {
        assert!(most > 0, "max_detached takes at least 1");
        self.with(|config| config.max_detached = most)
    }

    /// How many outcomes may wait for a store that fails (and 64 MiB of them); new claims are refused with 503
    /// `idempotency_overloaded` beyond. Default: 1,024.
    ///
    /// ```
    /// # use tower_idempotency::IdempotencyLayer;
    /// let layer = IdempotencyLayer::default().max_unsettled(256);
    /// # let _ = layer;
    /// ```
    ///
    /// # Panics
    ///
    /// For zero, which would refuse every claim.
    #[track_caller]
    pub fn max_unsettled(self, most: usize) -> Self {
        assert!(most > 0, "max_unsettled takes at least 1");
        self.with(|config| config.max_unsettled = most)
    }

    fn with(self, change: impl FnOnce(&mut Config)) -> Self {
        let Core {
            store,
            config,
            bounds,
            waiting,
        } = &*self.core;
        let mut config = config.clone();
        change(&mut config);
        Self::with_core(
            Arc::clone(store),
            config,
            Arc::clone(bounds),
            Arc::clone(waiting),
        )
    }

    fn with_core(
        store: Arc<St>,
        config: Config,
        bounds: Arc<Bounds>,
        waiting: Arc<WaitingRoom>,
    ) -> Self {
        Self {
            core: Arc::new(Core {
                store,
                config,
                bounds,
                waiting,
            }),
        }
    }
}

#[track_caller]
fn positive(knob: &str, duration: Duration) -> Duration {
    assert!(
        !duration.is_zero(),
        "{knob} takes a duration of more than zero"
    );
    duration
}

/// What [`IdempotencyLayer::drain`] left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "one figure, to be taken apart by a pattern"
)]
pub struct Drained {
    /// How many executions and unsettled outcomes there still were at the deadline.
    pub left: usize,
}

impl<S, St> Layer<S> for IdempotencyLayer<St> {
    type Service = IdempotencyService<S, St>;

    fn layer(&self, inner: S) -> Self::Service {
        IdempotencyService::new(inner, Arc::clone(&self.core))
    }
}

impl<St> Clone for IdempotencyLayer<St> {
    fn clone(&self) -> Self {
        Self {
            core: Arc::clone(&self.core),
        }
    }
}

impl<St> fmt::Debug for IdempotencyLayer<St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Config {
            lease,
            retention,
            keep,
            ..
        } = &self.core.config;
        f.debug_struct("IdempotencyLayer")
            .field("retention", retention)
            .field("lease", lease)
            .field("keep", keep)
            .finish_non_exhaustive()
    }
}
