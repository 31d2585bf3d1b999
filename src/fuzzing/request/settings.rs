//! Layers of many kinds.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Response};

use super::handler::MOST_KEPT;
use super::store::Faulty;
use crate::fuzzing::Input;
use crate::key_policy::KeyPolicy;
use crate::layer::IdempotencyLayer;
use crate::on_lost::{Lost, OnLost, Reconciled};
use crate::parameters::FingerprintPolicy;
use crate::policy::{InFlight, Keep, OnStoreError};
use crate::source::KeyFrom;
use crate::store::error::BoxError;
use crate::store::memory::MemoryStore;

/// The settings of a layer, one digit each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    in_flight: u8,
    on_lost: u8,
    pub(super) keep: u8,
    key_from: u8,
    fingerprint: u8,
    policy: u8,
    pub(super) requires_key: bool,
    pub(super) runs_unprotected: bool,
    pub(super) room: u8,
    pub(super) is_observed: bool,
    renews_in_background: bool,
}

impl Settings {
    pub(super) const RETENTION: Duration = Duration::from_secs(60 * 60);
    pub(super) const MOST_BODY: usize = 256;
    pub(super) const LEASE: Duration = Duration::from_secs(30);

    pub(super) fn new(input: &mut Input<'_>) -> Self {
        Self {
            in_flight: input.below(3),
            on_lost: input.below(5),
            keep: input.below(3),
            key_from: input.below(4),
            fingerprint: input.below(4),
            policy: input.below(3),
            requires_key: input.below(2) == 1,
            runs_unprotected: input.below(2) == 1,
            room: input.below(3),
            is_observed: input.below(2) == 1,
            renews_in_background: input.below(2) == 1,
        }
    }

    pub(super) fn layer(self, store: &Arc<Faulty>) -> IdempotencyLayer<Arc<Faulty>> {
        let wait = Duration::from_secs([0, 3, 200][usize::from(self.in_flight)]);
        let on_store_error = if self.runs_unprotected {
            OnStoreError::RunUnprotected
        } else {
            OnStoreError::Refuse
        };
        let fingerprint = match self.fingerprint {
            1 => FingerprintPolicy::default().canonical_json(),
            2 => FingerprintPolicy::none(),
            3 => FingerprintPolicy::default().exclude(["/at"]),
            _ => FingerprintPolicy::default(),
        };
        let key_from = match self.key_from {
            1 => KeyFrom::header("webhook-id"),
            2 => KeyFrom::json(["/id"]),
            3 => KeyFrom::json(["/type", "/id"]),
            _ => KeyFrom::default(),
        };
        let policy = match self.policy {
            1 => KeyPolicy::ascii(2..=9),
            2 => KeyPolicy::default().strict(),
            _ => KeyPolicy::default(),
        };
        let layer = IdempotencyLayer::new(Arc::clone(store));
        let layer = if self.renews_in_background {
            layer.renew_in_background()
        } else {
            layer
        };
        layer
            .lease(Self::LEASE)
            .retention(Self::RETENTION)
            .max_request_bytes(Self::MOST_BODY)
            .max_kept_response(MOST_KEPT)
            .in_flight(InFlight::wait(wait))
            .on_store_error(on_store_error)
            .keep(self.keep())
            .key_from(key_from)
            .key(policy)
            .fingerprint(fingerprint)
            .require_key(self.requires_key)
    }

    pub(super) fn store(self) -> Arc<Faulty> {
        let memory = MemoryStore::new();
        Faulty::new(match self.room {
            1 => memory.max_records(2),
            2 => memory.max_records_per_scope(1),
            _ => memory,
        })
    }

    pub(super) fn keep(self) -> Keep {
        match self.keep {
            1 => Keep::Final,
            2 => Keep::All,
            _ => Keep::Success,
        }
    }

    /// What becomes of what was lost; `happened` makes the response of a hook that finds one.
    pub(super) fn on_lost(
        self,
        happened: impl Fn(&Lost) -> Response<Bytes> + Send + Sync + 'static,
    ) -> OnLost {
        match self.on_lost {
            1 => OnLost::Refuse,
            2..=4 => OnLost::reconcile(move |lost| {
                let found = match self.on_lost {
                    2 => Ok(Reconciled::Done(happened(&lost))),
                    3 => Ok(Reconciled::NotDone),
                    _ => Err(BoxError::from("nobody knows")),
                };
                async {
                    tokio::task::yield_now().await;
                    found
                }
            }),
            _ => OnLost::Rerun,
        }
    }

    /// Whether nobody may find out what became of an attempt that was lost, having committed itself or not.
    pub(super) fn leaves_unknown(self, is_committed: bool) -> bool {
        self.on_lost == 1 || (self.on_lost == 0 && is_committed)
    }

    /// Whether the hook fails.
    pub(super) fn has_failing_hook(self) -> bool {
        self.on_lost == 4
    }

    /// Whether all parameters count, byte by byte.
    pub(super) fn counts_everything(self) -> bool {
        self.fingerprint == 0
    }

    /// The header that carries the key, and that replays echo.
    pub(super) fn key_header(self) -> Option<HeaderName> {
        match self.key_from {
            0 => Some(HeaderName::from_static("idempotency-key")),
            1 => Some(HeaderName::from_static("webhook-id")),
            _ => None,
        }
    }
}
