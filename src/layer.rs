//! The layer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http::request::Parts;
use tower::Layer;

use crate::claiming::Core;
use crate::config::Config;
use crate::drive::within;
use crate::key::RecordKey;
use crate::lines::Head;
use crate::refusal::{Refusal, RefusalCode};
use crate::service::{Coverage, IdempotencyService};
use crate::store::boxed::BoxStore;
#[cfg(feature = "memory")]
use crate::store::memory::MemoryStore;
use crate::store::traits::Store;

/// Makes the requests it covers safe to retry. See the [crate documentation](crate).
///
/// Cheap to clone; clones share the store, the bounds and the [drain](Self::drain), and each may be configured
/// further: one layer for the whole service, a clone of it with another retention for one route.
#[must_use = "a layer does nothing until it wraps a service"]
pub struct IdempotencyLayer<
    #[cfg(feature = "memory")] St = MemoryStore,
    #[cfg(not(feature = "memory"))] St,
> {
    coverage: Arc<Coverage<St>>,
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
        Self::with_core(Core {
            store: Arc::new(store),
            config: Config::default(),
            bounds: Arc::default(),
            waiting: Arc::default(),
            keeper: Arc::default(),
        })
    }

    /// The same layer, the type of its store erased.
    pub fn boxed(self) -> IdempotencyLayer<BoxStore> {
        let core = self.core().clone();
        IdempotencyLayer::with_core(Core {
            store: Arc::new(BoxStore::shared(core.store)),
            config: core.config,
            bounds: core.bounds,
            waiting: core.waiting,
            keeper: core.keeper,
        })
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &St {
        &self.core().store
    }

    /// The record key of a request, for [`Store::inspect`] and [`Store::forget`]: of this principal (empty for
    /// [`Scope::shared`](crate::Scope::shared) and for requests without credentials), method, original path and unquoted key.
    ///
    /// Where the principal is a digest ([`Scope::credentials`](crate::Scope::credentials) and
    /// [`Scope::headers`](crate::Scope::headers)) use [`record_key_for`](Self::record_key_for).
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
        let config = self.config();
        let named = config.key_from.named(&config.key, key);
        config.record_key(principal, method, path, &named.unwrap_or(key.into()))
    }

    /// The record key of a request with this head and unquoted key, its scope resolved as the layer would.
    ///
    /// # Errors
    ///
    /// What the layer would refuse the request with; `idempotency_scope_unresolved` for one that it would pass by.
    pub fn record_key_for(&self, parts: &Parts, key: &str) -> Result<RecordKey, Refusal> {
        let config = self.config();
        let named = config.key_from.named(&config.key, key);
        named
            .and_then(|key| config.record_key_for(&Head::of(parts, None), &key))
            .and_then(|found| found.ok_or(RefusalCode::ScopeUnresolved))
            .map_err(Refusal::new)
    }

    /// Waits until every claimed execution has ended and every outcome is in the store, or for `deadline`.
    ///
    /// Call it after the server has stopped: what its connections left behind goes on until it is recorded. Outside of a
    /// Tokio runtime there is no deadline.
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
        let _ = within(deadline, self.core().bounds.drained()).await;
        Drained {
            left: self.core().bounds.left(),
        }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.core().config
    }

    #[track_caller]
    pub(crate) fn with(self, change: impl FnOnce(&mut Config)) -> Self {
        let mut core = self.core().clone();
        change(&mut core.config);
        Self::with_core(core)
    }

    fn core(&self) -> &Core<St> {
        &self.coverage.core
    }

    #[track_caller]
    fn with_core(core: Core<St>) -> Self {
        match Coverage::new(core) {
            Ok(coverage) => Self {
                coverage: Arc::new(coverage),
            },
            Err(error) => panic!("endpoints: {error}"),
        }
    }
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
        self.coverage.tell_of_clamps();
        IdempotencyService::new(inner, Arc::clone(&self.coverage))
    }
}

impl<St> Clone for IdempotencyLayer<St> {
    fn clone(&self) -> Self {
        Self {
            coverage: Arc::clone(&self.coverage),
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
        } = &self.coverage.core.config;
        f.debug_struct("IdempotencyLayer")
            .field("retention", retention)
            .field("lease", lease)
            .field("keep", keep)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "memory"))]
mod tests {
    //! Records whose fingerprint is of another version: 0 is known to tests alone.

    use std::convert::Infallible;
    use std::sync::atomic::{AtomicU32, Ordering};

    use bytes::Bytes;
    use http::{Request, StatusCode};
    use http_body_util::Full;
    use tower::{ServiceExt, service_fn};

    use super::*;
    use crate::body::{Buffered, RequestBody};
    use crate::context::Idempotency;
    use crate::event::Outcome;
    use crate::fingerprint::Fingerprint;
    use crate::framing::fingerprint_of_version;
    use crate::key::ClaimId;
    use crate::parameters::FingerprintPolicy;
    use crate::snapshot::HeaderRules;
    use crate::store::claim::{Claim, ClaimRequest, Completed, Forgotten, Owner, Record, Settled};
    use crate::store::error::StoreError;
    use crate::store::wire;

    const MINUTE: Duration = Duration::from_secs(60);

    fn request(body: &'static str) -> Request<Full<Bytes>> {
        let request = Request::post("/charges?a=1").header("idempotency-key", "k");
        request.body(Full::from(body)).expect("a request")
    }

    fn version_0(body: &'static str) -> Fingerprint {
        let (parts, _) = request(body).into_parts();
        let policy = FingerprintPolicy::default();
        fingerprint_of_version(0, &policy, &parts, body.as_bytes()).expect("a fingerprint")
    }

    /// Claims as a release would whose fingerprints are of another version.
    async fn claim(layer: &IdempotencyLayer, fingerprint: Fingerprint) -> Owner {
        let key = layer.record_key(b"", &Method::POST, "/charges", "k");
        let request = ClaimRequest::new(key, ClaimId::unique(), fingerprint, MINUTE, 2 * MINUTE);
        match layer.store().claim(&request).await {
            Ok(Claim::Owned(owned)) => Owner::new(key, owned.fence(), request.claim_id()),
            other => panic!("{other:?}"),
        }
    }

    async fn complete(layer: &IdempotencyLayer, owner: &Owner) {
        let body = Buffered::new(Bytes::from_static(b"of before"), None);
        let (headers, rules) = (http::HeaderMap::new(), HeaderRules::default());
        let kept = rules.kept(&headers);
        let payload = wire::response(StatusCode::CREATED, &kept, &body);
        let tombstone = wire::tombstone(StatusCode::CREATED, &kept);
        let completed = Completed::new(payload, tombstone, 2 * MINUTE);
        let settled = layer.store().complete(owner, &completed).await;
        assert!(matches!(settled, Ok(Settled::Applied)));
    }

    /// The status and outcome of a request; the status of an execution says its attempt.
    async fn send<St: Store>(layer: &IdempotencyLayer<St>, body: &'static str) -> (u16, Outcome) {
        let handler = async |request: Request<RequestBody<Full<Bytes>>>| {
            let attempt = request.extensions().get().map_or(0, Idempotency::attempt);
            let mut response = http::Response::new(Full::<Bytes>::default());
            *response.status_mut() = match attempt {
                1 => StatusCode::CREATED,
                _ => StatusCode::ACCEPTED,
            };
            Ok::<_, Infallible>(response)
        };
        let Ok(response) = layer
            .layer(service_fn(handler))
            .oneshot(request(body))
            .await;
        (
            response.status().as_u16(),
            Outcome::of(response.extensions()),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn an_older_fingerprint_is_recomputed_and_compared() {
        let layer = IdempotencyLayer::default();
        let owner = claim(&layer, version_0("a")).await;

        assert_eq!(send(&layer, "a").await, (409, Outcome::InProgress));
        assert_eq!(send(&layer, "b").await, (422, Outcome::Mismatch));
        complete(&layer, &owner).await;
        assert_eq!(send(&layer, "a").await, (201, Outcome::Replayed));
        assert_eq!(send(&layer, "b").await, (422, Outcome::Mismatch));
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_with_an_older_fingerprint_is_taken_over_when_its_owner_is_lost() {
        let layer = IdempotencyLayer::default();
        claim(&layer, version_0("a")).await;

        tokio::time::advance(MINUTE).await;

        assert_eq!(send(&layer, "b").await, (422, Outcome::Mismatch));
        let executed = Outcome::Executed { recorded: true };
        assert_eq!(send(&layer, "a").await, (202, executed));
        assert_eq!(send(&layer, "a").await, (202, Outcome::Replayed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_fingerprint_of_a_later_release_makes_its_record_unreadable() {
        let layer = IdempotencyLayer::default();
        claim(&layer, Fingerprint::from_parts(2, [7; 32])).await;

        assert_eq!(send(&layer, "a").await, (503, Outcome::Refused));
    }

    /// Whatever is claimed, another release holds it: two stores, each claimed in the terms of one version.
    struct NeverInItsTerms {
        of_version: [IdempotencyLayer; 2],
        claims: AtomicU32,
    }

    impl Store for NeverInItsTerms {
        async fn claim(&self, request: &ClaimRequest) -> Result<Claim, StoreError> {
            self.claims.fetch_add(1, Ordering::Relaxed);
            let other = 1 - usize::from(request.fingerprint().version());
            self.of_version[other].store().claim(request).await
        }

        async fn renew(&self, _: &Owner, _: Duration, _: bool) -> Result<Settled, StoreError> {
            unreachable!("nothing is owned")
        }

        async fn complete(&self, _: &Owner, _: &Completed) -> Result<Settled, StoreError> {
            unreachable!("nothing is owned")
        }

        async fn abandon(&self, _: &Owner) -> Result<Settled, StoreError> {
            unreachable!("nothing is owned")
        }

        async fn release(&self, _: &Owner) -> Result<Settled, StoreError> {
            unreachable!("nothing is owned")
        }

        async fn inspect(&self, _: &RecordKey) -> Result<Option<Record>, StoreError> {
            unreachable!("nobody looks")
        }

        async fn forget(&self, _: &RecordKey, _: bool) -> Result<Forgotten, StoreError> {
            unreachable!("nobody forgets")
        }

        async fn erase_scope(&self, _: &[u8; 16]) -> Result<u64, StoreError> {
            unreachable!("nobody erases")
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_whose_version_changes_at_every_claim_is_not_followed_for_ever() {
        let of_version = [IdempotencyLayer::default(), IdempotencyLayer::default()];
        claim(&of_version[0], version_0("a")).await;
        assert_eq!(send(&of_version[1], "a").await.0, 201);
        let layer = IdempotencyLayer::new(NeverInItsTerms {
            of_version,
            claims: AtomicU32::new(0),
        });

        assert_eq!(send(&layer, "a").await, (503, Outcome::Refused));

        assert_eq!(layer.store().claims.load(Ordering::Relaxed), 9);
    }
}
