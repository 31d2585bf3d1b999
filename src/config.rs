//! All knobs of a layer, with their defaults.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Method;

use crate::endpoint::{Endpoint, original_uri};
use crate::event::{Event, Warning};
use crate::form::{ErrorForm, Form};
use crate::key::{Namespace, RecordKey};
use crate::key_policy::KeyPolicy;
use crate::lines::Head;
use crate::on_lost::OnLost;
use crate::parameters::FingerprintPolicy;
use crate::policy::{InFlight, Keep, Mode, OnStoreError};
use crate::refusal::{Refusal, RefusalCode};
use crate::scope::Scope;
use crate::shield::shielded;
use crate::snapshot::HeaderRules;
use crate::source::KeyFrom;
use crate::store::claim::TakeOver;

#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) enabled: Option<Arc<AtomicBool>>,
    /// The endpoint that this configuration is for.
    pub(crate) endpoint: Option<Arc<Endpoint>>,
    pub(crate) endpoints: Option<Arc<[Endpoint]>>,
    pub(crate) fingerprint: FingerprintPolicy,
    pub(crate) form: Arc<dyn Form>,
    pub(crate) headers: HeaderRules,
    pub(crate) hold_for: Duration,
    pub(crate) in_flight: InFlight,
    pub(crate) keep: Keep,
    pub(crate) key: KeyPolicy,
    pub(crate) key_from: KeyFrom,
    pub(crate) lease: Duration,
    pub(crate) max_buffered_bytes: usize,
    pub(crate) max_detached: usize,
    pub(crate) max_execution: Option<Duration>,
    pub(crate) max_kept_response: usize,
    pub(crate) max_request_bytes: usize,
    pub(crate) max_unsettled: usize,
    pub(crate) max_unsettled_bytes: usize,
    pub(crate) max_waiters: usize,
    pub(crate) max_waiters_per_key: usize,
    pub(crate) methods: Vec<Method>,
    pub(crate) mode: Mode,
    pub(crate) namespace: Namespace,
    pub(crate) observer: Option<Arc<dyn Fn(&Event) + Send + Sync>>,
    pub(crate) on_lost: OnLost,
    pub(crate) on_store_error: OnStoreError,
    pub(crate) renew_in_background: bool,
    pub(crate) require_key: bool,
    pub(crate) retention: Duration,
    pub(crate) retry_after: Duration,
    pub(crate) scope: Scope,
    pub(crate) settle_for: Duration,
    pub(crate) store_timeout: Duration,
}

impl Config {
    /// The same configuration, as this endpoint has it.
    pub(crate) fn at(&self, endpoint: &Endpoint) -> Self {
        let mut config = self.clone();
        let rules = endpoint.rules.clone();
        config.in_flight = rules.in_flight.unwrap_or(config.in_flight);
        config.keep = rules.keep.unwrap_or(config.keep);
        config.on_lost = rules.on_lost.unwrap_or(config.on_lost);
        config.on_store_error = rules.on_store_error.unwrap_or(config.on_store_error);
        config.require_key = rules.require_key.unwrap_or(config.require_key);
        config.retention = rules.retention.unwrap_or(config.retention);
        config.endpoint = Some(Arc::new(endpoint.clone()));
        config
    }

    /// Whether the layer is switched on.
    pub(crate) fn is_enabled(&self) -> bool {
        let enabled = self.enabled.as_ref();
        enabled.is_none_or(|enabled| enabled.load(Ordering::Relaxed))
    }

    /// Tells of an event. A panic of the observer is no concern of the request.
    pub(crate) fn report(&self, event: impl FnOnce() -> Event) {
        if let Some(observer) = &self.observer {
            let event = event().at(self.mode, self.endpoint.clone());
            shielded(|| observer(&event));
        }
    }

    pub(crate) fn warn(&self, warning: Warning, record_key: Option<RecordKey>) {
        self.report(|| Event::warning_of(warning, record_key));
    }

    /// The lease that is used: at most the retention.
    pub(crate) fn lease(&self) -> Duration {
        self.lease.min(self.retention)
    }

    /// The largest request body: what does not fit alone into the bytes of all is too large at any time.
    pub(crate) fn max_body(&self) -> usize {
        self.max_request_bytes.min(self.max_buffered_bytes)
    }

    /// What may be taken over from a lost owner.
    pub(crate) fn take_over(&self) -> TakeOver {
        match (&self.on_lost, self.mode) {
            (OnLost::Rerun, _) => TakeOver::Uncommitted,
            // Who only looks asks nobody.
            (OnLost::Refuse, _) | (OnLost::Reconcile(_), Mode::Shadow) => TakeOver::Never,
            (OnLost::Reconcile(_), Mode::Enforce) => TakeOver::Always,
        }
    }

    pub(crate) fn record_key(
        &self,
        principal: &[u8],
        method: &Method,
        path: &str,
        key: &str,
    ) -> RecordKey {
        let endpoint = self.scope.is_by_endpoint().then_some((method, path));
        RecordKey::derive(&self.namespace, principal, endpoint, key)
    }

    /// The record key of a request; `None` where it is to pass through.
    pub(crate) fn record_key_for(
        &self,
        head: &Head<'_>,
        key: &str,
    ) -> Result<Option<RecordKey>, RefusalCode> {
        let parts = head.parts;
        let Some(principal) = self.scope.principal(head)? else {
            return Ok(None);
        };
        let path = original_uri(&parts.uri, &parts.extensions).path();
        Ok(Some(self.record_key(
            principal.as_ref(),
            &parts.method,
            path,
            key,
        )))
    }

    /// A refusal with this code; it asks to come back where that may help.
    pub(crate) fn refusal(&self, code: RefusalCode) -> Refusal {
        match code {
            RefusalCode::InProgress
            | RefusalCode::Overloaded
            | RefusalCode::QuotaExceeded
            | RefusalCode::ReconcileFailed
            | RefusalCode::StoreFull
            | RefusalCode::StoreUnavailable => self.refuse_for_now(code, None),
            _ => Refusal::new(code),
        }
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
            enabled: None,
            endpoint: None,
            endpoints: None,
            fingerprint: FingerprintPolicy::default(),
            form: Arc::new(ErrorForm::flat()),
            headers: HeaderRules::default(),
            hold_for: Duration::from_secs(2),
            in_flight: InFlight::default(),
            keep: Keep::default(),
            key: KeyPolicy::default(),
            key_from: KeyFrom::default(),
            lease: Duration::from_secs(30),
            max_buffered_bytes: 256 << 20,
            max_detached: 1_024,
            max_execution: Some(Duration::from_secs(15 * 60)),
            max_kept_response: 1 << 20,
            max_request_bytes: 2 << 20,
            max_unsettled: 1_024,
            max_unsettled_bytes: 64 << 20,
            max_waiters: 10_000,
            max_waiters_per_key: 1_000,
            methods: vec![Method::POST],
            mode: Mode::default(),
            namespace: Namespace::new(String::new()),
            observer: None,
            on_lost: OnLost::default(),
            on_store_error: OnStoreError::default(),
            renew_in_background: false,
            require_key: false,
            retention: Duration::from_secs(24 * 60 * 60),
            retry_after: Duration::from_secs(1),
            scope: Scope::default(),
            settle_for: Duration::from_secs(5 * 60),
            store_timeout: Duration::from_secs(2),
        }
    }
}
