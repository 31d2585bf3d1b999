//! Writes of owners that go wrong.

use bytes::Bytes;
use tokio::task::yield_now;
use tower_idempotency::{ClaimId, Completed, Owner, Settled, StoreError, StoreErrorKind};

use super::{Flaw, LATE, WINDOW, Wrong};
use crate::reference::{Entry, Way};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Renew,
    Complete,
    Abandon,
    Release,
}

impl Wrong {
    /// The owner that the store takes this one for, and its record.
    pub(super) fn before_write(
        &self,
        verb: Verb,
        owner: &Owner,
    ) -> Result<(Owner, Option<Entry>), StoreError> {
        let key = self.name(owner.key());
        self.is_readable(&key)?;
        let mut owner = Owner::new(key, owner.fence(), owner.claim_id());
        let before = self.entry(&key);
        if let Some(entry) = &before
            && self.takes_for_owner(verb, &owner, entry)
        {
            owner = Owner::new(key, entry.fence, entry.claim_id);
        }
        Ok((owner, before))
    }

    fn takes_for_owner(&self, verb: Verb, owner: &Owner, entry: &Entry) -> bool {
        let was = |way| self.right.locked().gone.contains(&(*owner, way));
        match self.flaw {
            Some(Flaw::OwnersAreTheirFence) => entry.fence == owner.fence(),
            Some(Flaw::OwnersAreTheirClaimId) => entry.claim_id == owner.claim_id(),
            Some(Flaw::HigherFencesOwnToo) => owner.fence() >= entry.fence,
            Some(Flaw::TakenOverOwnersMayRenew) => verb == Verb::Renew && was(Way::TakenOver),
            Some(Flaw::TakenOverOwnersMayComplete) => verb == Verb::Complete && was(Way::TakenOver),
            Some(Flaw::TakenOverOwnersMayAbandon) => verb == Verb::Abandon && was(Way::TakenOver),
            Some(Flaw::TakenOverOwnersMayRelease) => verb == Verb::Release && was(Way::TakenOver),
            Some(Flaw::ReleasedOwnersMayWrite) => was(Way::Released),
            Some(Flaw::ForgottenOwnersMayWrite) => was(Way::Forgotten),
            Some(Flaw::ErasedOwnersMayWrite) => was(Way::Erased),
            Some(Flaw::ExpiredOwnersMayWrite) => was(Way::Expired),
            _ => false,
        }
    }

    /// What the owner is told.
    pub(super) fn after_write(
        &self,
        owner: &Owner,
        before: Option<&Entry>,
        settled: Result<Settled, StoreError>,
    ) -> Result<Settled, StoreError> {
        let now = self.right.now();
        let has_expired = self.right.locked().gone.contains(&(*owner, Way::Expired));
        match (self.flaw, settled) {
            (Some(Flaw::LateOwnersAreFencedOut), Ok(Settled::Applied))
                if before.is_some_and(|before| before.is_lapsed(now)) =>
            {
                Ok(Settled::FencedOut)
            }
            (Some(Flaw::MissingIsFencedOut), Ok(Settled::Missing)) if !has_expired => {
                Ok(Settled::FencedOut)
            }
            (Some(Flaw::LateWritesAreFencedOut), Ok(Settled::Missing)) if has_expired => {
                Ok(Settled::FencedOut)
            }
            (Some(Flaw::OwnersMissWhatIsCorrupt), Err(_)) => Ok(Settled::Missing),
            (_, settled) => settled,
        }
    }

    pub(super) fn after_renew(&self, owner: &Owner, before: &Entry, committed: bool) {
        self.change(owner.key(), |entry| match self.flaw {
            Some(Flaw::RenewalNeverShortens) => {
                entry.leased_until = entry.leased_until.max(before.leased_until);
            }
            Some(Flaw::RenewalClearsCommitted) => entry.committed = committed,
            _ => {}
        });
    }

    pub(super) fn after_abandon(&self, owner: &Owner, before: &Entry) {
        let now = self.right.now();
        self.change(owner.key(), |entry| match self.flaw {
            Some(Flaw::AbandonmentResetsTheAge) => entry.first = now,
            Some(Flaw::AbandonmentKeepsTheExpiry) => {
                entry.retained_until = before.retained_until.max(before.leased_until);
            }
            _ => {}
        });
    }

    pub(super) async fn before_release(&self, owner: &Owner, before: Option<&Entry>) {
        let Some(before) = before.filter(|before| before.is_owned_by(owner)) else {
            return;
        };
        match self.flaw {
            Some(Flaw::CompletedRecordsMayBeReleased) => {
                self.change(owner.key(), |entry| entry.payload = None);
            }
            Some(Flaw::ReleasesInTwoSteps) => {
                self.change(owner.key(), |entry| {
                    entry.claim_id = ClaimId::from_bytes([0; 16])
                });
                yield_now().await;
                self.change(owner.key(), |entry| entry.claim_id = before.claim_id);
            }
            _ => {}
        }
    }

    pub(super) fn before_complete(&self, owner: &Owner) -> Result<(), StoreError> {
        let is_owned = |entry: &Entry| entry.is_owned_by(owner);
        if !self.entry(owner.key()).as_ref().is_some_and(is_owned) {
            return Ok(());
        }
        match self.flaw {
            Some(Flaw::LastCompletionWins) => {
                self.change(owner.key(), |entry| entry.payload = None);
            }
            Some(Flaw::LooksThenCompletes) => {
                std::thread::sleep(WINDOW);
                self.change(owner.key(), |entry| {
                    (entry.fence, entry.claim_id) = (owner.fence(), owner.claim_id());
                });
            }
            Some(Flaw::FullStoresFailCompletions)
                if self.right.live().0.map.len() >= self.right.room =>
            {
                return Err(StoreError::new(StoreErrorKind::NotApplied, "no room"));
            }
            _ => {}
        }
        Ok(())
    }

    /// What is written of a completion.
    pub(super) fn written(&self, completed: &Completed) -> Completed {
        match self.flaw {
            Some(Flaw::PayloadsAreText) => completed
                .clone()
                .map(|bytes| Bytes::from(String::from_utf8_lossy(&bytes).into_owned())),
            Some(Flaw::PayloadsAreCutShort) => {
                let payload = completed.payload();
                let short = payload.slice(..payload.len().min(self.right.limit));
                let retention = completed.retention();
                Completed::new(payload.clone(), short, retention)
            }
            _ => {
                let (payload, tombstone) =
                    (completed.payload().clone(), completed.tombstone().clone());
                Completed::new(payload, tombstone, self.length(completed.retention()))
            }
        }
    }

    pub(super) fn after_complete(
        &self,
        owner: &Owner,
        before: &Entry,
        completed: &Completed,
        settled: Settled,
    ) -> Settled {
        let now = self.right.now();
        let is_written = matches!(settled, Settled::Applied | Settled::Tombstoned);
        if before.payload.is_some() && is_written {
            let does_not_fit = completed.payload().len() > self.right.limit;
            return match self.flaw {
                Some(Flaw::RepeatedCompletionIsFencedOut) => Settled::FencedOut,
                Some(Flaw::RepeatedCompletionIsTombstoned) if does_not_fit => Settled::Tombstoned,
                _ => settled,
            };
        }
        if !is_written {
            return settled;
        }
        let is_over = before.first.saturating_add(completed.retention()) <= now;
        let mut records = self.right.locked();
        let Some(entry) = records.map.get_mut(owner.key()) else {
            return settled;
        };
        match self.flaw {
            Some(Flaw::CompletionResetsTheAge) => entry.first = now,
            Some(Flaw::RetentionCountsFromCompletion) if !is_over => {
                entry.retained_until = now + completed.retention();
            }
            Some(Flaw::ExpiresLate) => {
                entry.retained_until = entry.retained_until.saturating_add(LATE)
            }
            Some(Flaw::RetentionOfTheClaimStays) => entry.retained_until = before.retained_until,
            Some(Flaw::WhatIsOverExpiresAtOnce) if is_over => entry.retained_until = now,
            Some(Flaw::WhatIsOverIsKeptForAnotherLease) if is_over => {
                entry.retained_until = now.max(before.leased_until) + completed.retention();
            }
            Some(Flaw::EmptyPayloadsAreNone) if completed.payload().is_empty() => {
                (entry.payload, entry.leased_until) = (None, now);
            }
            Some(Flaw::TombstonesAreForTheRetentionOfTheClaim)
                if settled == Settled::Tombstoned =>
            {
                entry.retained_until = before.retained_until;
            }
            _ => {}
        }
        settled
    }
}
