//! All knobs of a layer, with their defaults.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{Extensions, HeaderName, Method, Uri};

use crate::endpoint::{Endpoints, original_uri};
use crate::form::{ErrorForm, Form};
use crate::key::RecordKey;
use crate::policy::{InFlight, Keep, KeyPolicy, OnLost, OnStoreError};
use crate::refusal::{Refusal, RefusalCode};
use crate::scope::Scope;
use crate::store::claim::TakeOver;

/// The header that carries the key.
pub(crate) static KEY_HEADER: HeaderName = HeaderName::from_static("idempotency-key");

#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) endpoints: Option<Endpoints>,
    pub(crate) form: Arc<dyn Form>,
    pub(crate) hold_for: Duration,
    pub(crate) in_flight: InFlight,
    pub(crate) keep: Keep,
    pub(crate) key: KeyPolicy,
    pub(crate) lease: Duration,
    pub(crate) max_buffered_bytes: usize,
    pub(crate) max_detached: usize,
    pub(crate) max_execution: Option<Duration>,
    pub(crate) max_kept_response: usize,
    pub(crate) max_request_bytes: usize,
    pub(crate) max_unsettled: usize,
    pub(crate) max_waiters: usize,
    pub(crate) max_waiters_per_key: usize,
    pub(crate) methods: Vec<Method>,
    pub(crate) namespace: String,
    pub(crate) on_lost: OnLost,
    pub(crate) on_store_error: OnStoreError,
    pub(crate) require_key: bool,
    pub(crate) retention: Duration,
    pub(crate) retry_after: Duration,
    pub(crate) scope: Scope,
    pub(crate) settle_for: Duration,
    pub(crate) store_timeout: Duration,
}

impl Config {
    /// The bytes of outcomes that the store has not taken yet; more are not accepted.
    pub(crate) const MAX_UNSETTLED_BYTES: usize = 64 << 20;

    /// Whether a request is one that the layer looks at.
    pub(crate) fn covers(&self, method: &Method, uri: &Uri, extensions: &Extensions) -> bool {
        match &self.endpoints {
            Some(endpoints) => endpoints.cover(method, original_uri(uri, extensions).path()),
            None => self.methods.contains(method),
        }
    }

    /// The lease that is used: at most the retention.
    pub(crate) fn lease(&self) -> Duration {
        self.lease.min(self.retention)
    }

    /// What may be taken over from a lost owner.
    pub(crate) fn take_over(&self) -> TakeOver {
        match self.on_lost {
            OnLost::Rerun => TakeOver::Uncommitted,
            OnLost::Refuse => TakeOver::Never,
        }
    }

    pub(crate) fn record_key(
        &self,
        principal: &[u8],
        method: &Method,
        path: &str,
        key: &str,
    ) -> RecordKey {
        RecordKey::derive(&self.namespace, principal, Some((method, path)), key)
    }

    pub(crate) fn record_key_for(&self, parts: &Parts, key: &str) -> Result<RecordKey, Refusal> {
        let principal = self.scope.principal(parts).map_err(Refusal::new)?;
        let path = original_uri(&parts.uri, &parts.extensions).path();
        Ok(self.record_key(principal.as_ref(), &parts.method, path, key))
    }

    /// A refusal that asks to come back, at the latest when the lease that is in the way has ended.
    pub(crate) fn refuse_for_now(
        &self,
        code: RefusalCode,
        lease_left: Option<Duration>,
    ) -> Refusal {
        let after = lease_left.map_or(self.retry_after, |left| self.retry_after.min(left));
        // Whole seconds, rounded up: an earlier retry would meet the same answer.
        let seconds = after
            .as_secs()
            .saturating_add(u64::from(after.subsec_nanos() > 0));
        Refusal::new(code).retry_after_about(Duration::from_secs(seconds.max(1)))
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            endpoints: None,
            form: Arc::new(ErrorForm::flat()),
            hold_for: Duration::from_secs(2),
            in_flight: InFlight::default(),
            keep: Keep::default(),
            key: KeyPolicy::default(),
            lease: Duration::from_secs(30),
            max_buffered_bytes: 256 << 20,
            max_detached: 1_024,
            max_execution: Some(Duration::from_secs(15 * 60)),
            max_kept_response: 1 << 20,
            max_request_bytes: 2 << 20,
            max_unsettled: 1_024,
            max_waiters: 10_000,
            max_waiters_per_key: 1_000,
            methods: vec![Method::POST],
            namespace: String::new(),
            on_lost: OnLost::default(),
            on_store_error: OnStoreError::default(),
            require_key: false,
            retention: Duration::from_secs(24 * 60 * 60),
            retry_after: Duration::from_secs(1),
            scope: Scope::default(),
            settle_for: Duration::from_secs(5 * 60),
            store_timeout: Duration::from_secs(2),
        }
    }
}
