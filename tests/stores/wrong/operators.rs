//! What goes wrong for operators.

use std::time::Duration;

use tokio::task::yield_now;
use tower_idempotency::{Forgotten, Record, RecordKey, Store, StoreError};

use super::{Flaw, LATE, Wrong};
use crate::reference::Way;

impl Wrong {
    pub(super) async fn inspect_wrongly(
        &self,
        key: &RecordKey,
    ) -> Result<Option<Record>, StoreError> {
        self.is_readable(key)?;
        let entry = self.entry(key);
        match self.flaw {
            Some(Flaw::InspectsInTwoSteps) => self.take_out(key).await,
            Some(Flaw::InspectionCountsTheLeaseAnew) => {
                let renewed = self.right.now() + Duration::from_secs(30);
                self.change(key, |entry| entry.leased_until = renewed);
            }
            Some(Flaw::TimesAreThoseOfTheClaim) => {
                return Ok(entry.map(|entry| entry.record(entry.first)));
            }
            // It does not say so.
            Some(Flaw::ExpiresLate) => {
                let record = self.right.inspect(key).await?;
                return Ok(record.map(|record| {
                    let remaining = record.remaining().saturating_sub(LATE);
                    record.expires_in(remaining)
                }));
            }
            _ => {}
        }
        match self.right.inspect(key).await {
            Err(_) if self.has(Flaw::InspectionFindsNothingCorrupt) => Ok(None),
            record => record,
        }
    }

    pub(super) async fn forget_wrongly(
        &self,
        key: &RecordKey,
        force: bool,
    ) -> Result<Forgotten, StoreError> {
        let (now, entry) = (self.right.now(), self.entry(key));
        let is_lapsed = entry.is_some_and(|entry| entry.is_lapsed(now));
        let is_corrupt = self.right.locked().corrupt.contains(key);
        match self.flaw {
            Some(Flaw::LapsedRecordsWantForce) if is_lapsed && !force => {
                return Ok(Forgotten::InFlight);
            }
            Some(Flaw::CorruptIsUnknown) if is_corrupt => return Ok(Forgotten::Unknown),
            _ => {}
        }
        let forgotten = self
            .right
            .forget(key, force || self.has(Flaw::ForceIsIgnored))
            .await?;
        if self.has(Flaw::FencesRestartAfterForgetting) {
            self.right.locked().fences.remove(key);
        }
        Ok(match forgotten {
            Forgotten::Unknown if self.has(Flaw::UnknownIsForgotten) => Forgotten::Forgotten,
            forgotten => forgotten,
        })
    }

    pub(super) async fn erase_wrongly(&self, scope: &[u8; 16]) -> Result<u64, StoreError> {
        self.drop_expired();
        let (mut aside, now) = (Vec::new(), self.right.now());
        let all = self
            .right
            .locked()
            .map
            .keys()
            .filter(|key| key.scope() == scope)
            .count();
        let mut left = all.saturating_sub(100);
        self.right.locked().map.retain(|key, entry| {
            let is_spared = match self.flaw {
                Some(Flaw::ErasesInTwoSteps) => true,
                Some(Flaw::ErasureSparesWhatIsInFlight) => entry.is_live(now),
                Some(Flaw::ErasureEndsAtAHundred) => key.scope() == scope && left > 0,
                _ => false,
            };
            if is_spared {
                left = left.saturating_sub(1);
                aside.push((*key, entry.clone()));
            }
            !is_spared
        });
        if self.has(Flaw::ErasesInTwoSteps) {
            yield_now().await;
            self.right.locked().map.extend(aside.drain(..));
        }
        let mut erased = self.right.erase_scope(scope).await?;
        let mut records = self.right.locked();
        records.map.extend(aside);
        if self.has(Flaw::FencesRestartAfterErasure) {
            records.fences.retain(|key, _| key.scope() != scope);
        }
        if self.has(Flaw::ErasureCountsWhatHasExpired) {
            let expired = records.gone.iter().filter(|(_, way)| *way == Way::Expired);
            erased += expired
                .filter(|(owner, _)| owner.key().scope() == scope)
                .count() as u64;
        }
        Ok(erased)
    }
}
