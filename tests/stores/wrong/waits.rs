//! Waiting that goes wrong.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};
use tower_idempotency::{Fence, RecordKey, Store};

use super::{Flaw, Wrong};
use crate::reference::Way;

impl Wrong {
    pub(super) async fn wait_wrongly(&self, key: &RecordKey, fence: Fence, at_most: Duration) {
        let ends = Instant::now() + at_most.min(Duration::from_secs(1_000_000));
        match self.flaw {
            Some(Flaw::WaitingIgnoresItsBound) => {
                self.right
                    .settled(key, fence, Duration::from_secs(1_000_000))
                    .await;
            }
            Some(Flaw::WaitingIgnoresTheLease) if self.entry(key).is_some() => {
                let _ = timeout_at(ends, self.right.ended.notified()).await;
            }
            Some(Flaw::WaitingIgnoresTheFence) => {
                let fence = self.entry(key).map_or(fence, |entry| entry.fence);
                self.right.settled(key, fence, at_most).await;
            }
            Some(Flaw::WaitingHoldsALock) => {
                self.lock(true);
                self.right.settled(key, fence, at_most).await;
                self.lock(false);
            }
            _ => self.right.settled(key, fence, at_most).await,
        }
        if Instant::now() < ends && self.was_not_told(key, fence) {
            sleep_until(ends).await;
        }
    }

    /// Whether what ended the wait wakes nobody.
    fn was_not_told(&self, key: &RecordKey, fence: Fence) -> bool {
        let entry = self.entry(key);
        let is_gone = |way| {
            let records = self.right.locked();
            let mut gone = records.gone.iter().filter(|(_, how)| *how == way);
            gone.any(|(owner, _)| owner.key() == key && owner.fence() == fence)
        };
        match self.flaw {
            Some(Flaw::CompletionWakesNobody) => entry.is_some_and(|entry| entry.payload.is_some()),
            Some(Flaw::AbandonmentWakesNobody) => {
                entry.is_some_and(|entry| entry.payload.is_none())
            }
            Some(Flaw::ReleaseWakesNobody) => is_gone(Way::Released),
            Some(Flaw::ForgettingWakesNobody) => is_gone(Way::Forgotten),
            Some(Flaw::ErasureWakesNobody) => is_gone(Way::Erased),
            Some(Flaw::OnlyOneIsWoken) => self.has_woken.swap(true, Ordering::SeqCst),
            _ => false,
        }
    }
}
