//! Claims that go wrong.

use std::time::Duration;

use tokio::task::yield_now;
use tower_idempotency::{
    Claim, ClaimId, ClaimRequest, Fence, Fingerprint, Owned, Owner, RecordKey, Store, TakeOver,
};

use super::{Flaw, LATE, MOMENT, WINDOW, Wrong};
use crate::reference::{Entry, Records, Way};

impl Wrong {
    /// The claim as the store understands it.
    pub(super) fn sent(&self, request: &ClaimRequest) -> ClaimRequest {
        let key = self.name(request.key());
        let entry = self.entry(&key);
        let now = self.right.now();

        let mut id = request.claim_id();
        let mut fingerprint = *request.fingerprint();
        if let Some(entry) = &entry {
            match self.flaw {
                Some(Flaw::IgnoresTheFingerprint) => fingerprint = entry.fingerprint,
                Some(Flaw::IgnoresTheVersionOfTheFingerprint) => {
                    let version = entry.fingerprint.version();
                    fingerprint = Fingerprint::from_parts(version, *fingerprint.digest());
                }
                Some(Flaw::EarlierClaimIdsOwnToo)
                    if self.had(&key, id, Way::TakenOver).is_some() =>
                {
                    id = entry.claim_id;
                }
                Some(Flaw::LapsedClaimIdsAreUnknown) if entry.is_lapsed(now) => {
                    id = ClaimId::from_bytes([0; 16]);
                }
                _ => {}
            }
        }
        let take_over = match (self.flaw, request.take_over()) {
            (Some(Flaw::TakeOverNeverIsUncommitted), TakeOver::Never) => TakeOver::Uncommitted,
            (Some(Flaw::TakeOverUncommittedIsAlways), TakeOver::Uncommitted) => TakeOver::Always,
            (Some(Flaw::TakeOverUncommittedIsNever), TakeOver::Uncommitted) => TakeOver::Never,
            (Some(Flaw::TakeOverAlwaysIsUncommitted), TakeOver::Always) => TakeOver::Uncommitted,
            (_, take_over) => take_over,
        };
        let (lease, retention) = (
            self.length(request.lease()),
            self.length(request.retention()),
        );
        ClaimRequest::new(key, id, fingerprint, lease, retention).with_take_over(take_over)
    }

    pub(super) fn length(&self, time: Duration) -> Duration {
        match self.flaw {
            Some(Flaw::DurationsOverflow) => Duration::from_nanos(time.as_nanos() as u64),
            _ => time,
        }
    }

    /// The fence that this claim id had once.
    fn had(&self, key: &RecordKey, id: ClaimId, way: Way) -> Option<Fence> {
        let records = self.right.locked();
        let mut gone = records.gone.iter().filter(|(_, how)| *how == way);
        let had = gone.find(|(owner, _)| owner.key() == key && owner.claim_id() == id);
        had.map(|(owner, _)| owner.fence())
    }

    pub(super) async fn before_claim(
        &self,
        request: &ClaimRequest,
        before: Option<&Entry>,
    ) -> Option<Claim> {
        let (key, now) = (request.key(), self.right.now());
        let is_mine = before.is_some_and(|entry| entry.claim_id == request.claim_id());
        let is_lapsed = before.is_some_and(|entry| entry.is_lapsed(now));
        match self.flaw? {
            Flaw::TakesOverAMomentTooEarly if !is_mine => {
                self.change(key, |entry| {
                    if entry.leased_until.saturating_sub(now) < MOMENT {
                        entry.leased_until = entry.leased_until.min(now);
                    }
                });
            }
            Flaw::TakesOverLate if is_lapsed => {
                let entry = before?;
                return (now < entry.leased_until + MOMENT)
                    .then(|| Claim::Existing(entry.record(now)));
            }
            Flaw::RepeatedClaimOwnsWhatIsCompleted if is_mine => {
                let entry = before.filter(|entry| entry.payload.is_some())?;
                return Some(Claim::Owned(Owned::new(
                    entry.fence,
                    entry.attempt,
                    request.lease(),
                )));
            }
            Flaw::ClaimsInTwoSteps if before.is_none() => {
                let nobody = ClaimId::from_bytes([0; 16]);
                let (lease, print) = (request.lease(), *request.fingerprint());
                let half = ClaimRequest::new(*key, nobody, print, lease, lease);
                let _ = self.right.claim(&half).await;
                yield_now().await;
                self.right.locked().map.remove(key);
            }
            Flaw::TakesOverInTwoSteps if is_lapsed => {
                self.change(key, |entry| entry.attempt += 1);
                yield_now().await;
                self.change(key, |entry| entry.attempt -= 1);
            }
            Flaw::LooksThenClaims if before.is_none() => {
                std::thread::sleep(WINDOW);
                self.right.locked().map.remove(key);
            }
            Flaw::LooksThenTakesOver if is_lapsed => {
                std::thread::sleep(WINDOW);
                self.change(key, |entry| entry.leased_until = now);
            }
            Flaw::QuotaCountsEveryClaim if self.right.live().0.of_scope(key) >= self.quota => {
                return Some(Claim::OverQuota);
            }
            Flaw::LooksAtTheQuotaThenClaims if before.is_none() => {
                if self.right.live().0.of_scope(key) >= self.quota {
                    return Some(Claim::OverQuota);
                }
                std::thread::sleep(WINDOW);
            }
            Flaw::QuotaIsForAll if before.is_none() => {
                let is_over = self.right.live().0.map.len() >= self.quota;
                return is_over.then_some(Claim::OverQuota);
            }
            Flaw::QuotaCountsWhatIsGone | Flaw::QuotaCountsWhatHasExpired if before.is_none() => {
                let records = self.right.live().0;
                let gone = self.still_counted(&records, Some(key.scope()));
                let is_over = records.of_scope(key) + gone >= self.quota;
                return is_over.then_some(Claim::OverQuota);
            }
            Flaw::RoomCountsWhatIsGone | Flaw::RoomCountsWhatHasExpired if before.is_none() => {
                let records = self.right.live().0;
                let is_full =
                    records.map.len() + self.still_counted(&records, None) >= self.right.room;
                return is_full.then_some(Claim::Full);
            }
            Flaw::FullStoresRefuseAll if self.right.live().0.map.len() >= self.right.room => {
                return Some(Claim::Full);
            }
            Flaw::FullStoresDropTheOldest if before.is_none() => {
                let mut records = self.right.live().0;
                if records.map.len() >= self.right.room {
                    let oldest = records.map.values().map(|entry| entry.first).min();
                    records.map.retain(|_, entry| Some(entry.first) != oldest);
                }
            }
            Flaw::WaitingHoldsALock if self.is_locked() => return Some(Claim::Full),
            Flaw::ClaimsOwnWhatIsCorrupt => self.drop_corrupt(key),
            Flaw::LapsedCorruptRecordsAreAbsent if is_lapsed => self.drop_corrupt(key),
            _ => {}
        }
        None
    }

    /// How many records are gone that still take their place.
    fn still_counted(&self, records: &Records, scope: Option<&[u8; 16]>) -> usize {
        let expired = matches!(
            self.flaw,
            Some(Flaw::QuotaCountsWhatHasExpired | Flaw::RoomCountsWhatHasExpired)
        );
        let is_counted = |(owner, way): &&(Owner, Way)| {
            *way != Way::TakenOver
                && (*way == Way::Expired) == expired
                && scope.is_none_or(|scope| owner.key().scope() == scope)
        };
        records.gone.iter().filter(is_counted).count()
    }

    fn drop_corrupt(&self, key: &RecordKey) {
        let mut records = self.right.locked();
        if records.corrupt.remove(key) {
            records.map.remove(key);
        }
    }

    /// A fence that is drawn too early.
    pub(super) fn drawn(&self, key: &RecordKey) -> Option<Fence> {
        self.has(Flaw::DrawsFencesBeforeItLocks).then(|| {
            let fence = self.right.locked().next_fence(key);
            std::thread::sleep(WINDOW);
            fence
        })
    }

    pub(super) fn after_claim(
        &self,
        request: &ClaimRequest,
        before: Option<&Entry>,
        drawn: Option<Fence>,
        claim: Claim,
    ) -> Claim {
        let (key, now) = (request.key(), self.right.now());
        let Claim::Owned(owned) = claim else {
            if self.has(Flaw::AnyClaimCountsTheLeaseAnew) {
                self.change(key, |entry| {
                    if entry.is_live(now) {
                        entry.leased_until = now + request.lease();
                    }
                });
            }
            return claim;
        };
        let taken_over = before.filter(|before| before.claim_id != request.claim_id());
        let repeated = before.filter(|before| before.claim_id == request.claim_id());
        let id = request.claim_id();
        self.change(key, |entry| match (self.flaw, taken_over, repeated) {
            (Some(Flaw::CountsToTwo), Some(_), _) => entry.attempt = 2,
            (Some(Flaw::TakeOverForgetsCommitted), Some(_), _) => entry.committed = false,
            (Some(Flaw::TakeOverCommits), Some(_), _) => entry.committed = true,
            (Some(Flaw::TakeOverCountsTheRetentionAnew), Some(_), _) => {
                entry.retained_until = now + request.retention();
            }
            (Some(Flaw::TakeOverKeepsTheFence), Some(before), _) => entry.fence = before.fence,
            (Some(Flaw::RepeatedClaimKeepsTheLease), _, Some(before)) if before.is_live(now) => {
                entry.leased_until = before.leased_until;
            }
            _ => {}
        });
        match self.flaw {
            Some(Flaw::DrawsFencesBeforeItLocks) if repeated.is_none() => {
                let fence = drawn.unwrap_or(owned.fence());
                self.change(key, |entry| entry.fence = fence);
            }
            Some(Flaw::RepeatedClaimTakesANewFence) if repeated.is_some() => {
                let mut records = self.right.locked();
                let fence = records.next_fence(key);
                records
                    .map
                    .entry(*key)
                    .and_modify(|entry| entry.fence = fence);
            }
            Some(Flaw::ExpiresLate) if before.is_none() => {
                self.change(key, |entry| {
                    entry.retained_until = entry.retained_until.saturating_add(LATE);
                });
            }
            Some(Flaw::ClaimIdsOutliveTheirRecords) if before.is_none() => {
                let released = self.had(key, id, Way::Released);
                if let Some(fence) = released.or_else(|| self.had(key, id, Way::Expired)) {
                    self.change(key, |entry| entry.fence = fence);
                }
            }
            Some(Flaw::ReleaseKeepsTheAttempt) if before.is_none() => {
                let is_released =
                    |(owner, way): &&(Owner, Way)| owner.key() == key && *way == Way::Released;
                let released = self.right.locked().gone.iter().filter(is_released).count();
                self.change(key, |entry| entry.attempt += released as u32);
            }
            Some(Flaw::ClaimAnswersHalfItsLease) if before.is_none() => {
                return Claim::Owned(Owned::new(owned.fence(), 1, request.lease() / 2));
            }
            _ => {}
        }
        match self.entry(key) {
            Some(entry) if entry.claim_id == id => Claim::Owned(entry.owned(now)),
            _ => Claim::Owned(owned),
        }
    }
}
