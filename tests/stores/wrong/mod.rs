//! The reference store with one mistake: what is done to it before a verb, and to its answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::yield_now;
use tower_idempotency::{
    Claim, ClaimRequest, Completed, Fence, Forgotten, Owner, Record, RecordKey, Settled, Store,
    StoreError, StoreErrorKind,
};

pub(crate) use flaw::Flaw;

use writes::Verb;

use crate::reference::{Entry, Reference, Way};

mod claims;
mod flaw;
mod operators;
mod waits;
mod writes;

pub(crate) struct Wrong {
    right: Reference,
    flaw: Option<Flaw>,
    quota: usize,
    /// How long an inspection takes.
    slow: Duration,
    is_locked: AtomicBool,
    has_woken: AtomicBool,
}

/// So long two threads have to meet between a look and the act.
const WINDOW: Duration = Duration::from_micros(300);

/// How late an expiry is.
const LATE: Duration = Duration::from_millis(400);

/// A moment of which a store may not be wrong.
const MOMENT: Duration = Duration::from_millis(5);

impl Wrong {
    pub(crate) fn new(mut right: Reference, flaw: Option<Flaw>) -> Self {
        let quota = right.quota;
        match flaw {
            Some(Flaw::LimitIsHalf) => right.limit /= 2,
            Some(Flaw::QuotaIsOneMore) => right.quota = quota.saturating_add(1),
            Some(Flaw::LooksAtTheQuotaThenClaims) => right.quota = usize::MAX,
            _ => {}
        }
        Self {
            right,
            flaw,
            quota,
            slow: Duration::ZERO,
            is_locked: AtomicBool::new(false),
            has_woken: AtomicBool::new(false),
        }
    }

    pub(crate) fn slow(self, slow: Duration) -> Self {
        Self { slow, ..self }
    }

    pub(crate) fn corrupt(&self, key: &RecordKey) {
        self.right.corrupt(key);
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    /// The record as it is, expired ones left out.
    fn entry(&self, key: &RecordKey) -> Option<Entry> {
        self.drop_expired();
        self.right.live().0.map.get(key).cloned()
    }

    fn change(&self, key: &RecordKey, change: impl FnOnce(&mut Entry)) {
        self.right.locked().map.entry(*key).and_modify(change);
    }

    /// Drops what has expired, and with some flaws other records or their fences too.
    fn drop_expired(&self) {
        let before = self.right.locked().gone.len();
        let (mut records, now) = self.right.live();
        let goes = |entry: &Entry| match self.flaw {
            Some(Flaw::LiveClaimsExpire) => entry.retained_until <= now,
            Some(Flaw::AbandonedRecordsExpire) => entry.is_lapsed(now),
            _ => false,
        };
        records.remove_all(Way::Expired, |_, entry| goes(entry));
        let expired: Vec<_> = records.gone[before..]
            .iter()
            .map(|(owner, _)| *owner)
            .collect();
        if self.has(Flaw::FencesRestartAfterExpiry) {
            for owner in &expired {
                records.fences.remove(owner.key());
            }
        }
        if self.has(Flaw::ExpiryTakesNeighboursAlong) && !expired.is_empty() {
            let soon = now + Duration::from_secs(2);
            records
                .map
                .retain(|_, entry| entry.payload.is_none() || entry.retained_until > soon);
        }
    }

    /// What is told of corrupt records, before the reference store says that they are.
    fn is_readable(&self, key: &RecordKey) -> Result<(), StoreError> {
        let corrupt = &self.right.locked().corrupt;
        let kind = match self.flaw {
            Some(Flaw::CorruptIsFatal) if corrupt.contains(key) => StoreErrorKind::Fatal,
            Some(Flaw::OneCorruptRecordFailsAll) if !corrupt.is_empty() => {
                StoreErrorKind::Unreadable
            }
            _ => return Ok(()),
        };
        Err(StoreError::new(kind, "garbage"))
    }

    /// The name under which a record is kept.
    fn name(&self, key: &RecordKey) -> RecordKey {
        let (scope, mut bytes) = (*key.scope(), *key.key());
        match self.flaw {
            Some(Flaw::KeysIgnoreTheScope) => RecordKey::from_parts([0; 16], bytes),
            Some(Flaw::KeysAreCutShort) => {
                bytes[31] &= 0x7f;
                RecordKey::from_parts(scope, bytes)
            }
            _ => *key,
        }
    }

    fn lock(&self, is_locked: bool) {
        self.is_locked.store(is_locked, Ordering::SeqCst);
    }

    fn is_locked(&self) -> bool {
        self.is_locked.load(Ordering::SeqCst)
    }

    /// Takes the record out, and puts it back after an await.
    async fn take_out(&self, key: &RecordKey) {
        let entry = self.right.locked().map.remove(key);
        yield_now().await;
        self.right
            .locked()
            .map
            .extend(entry.map(|entry| (*key, entry)));
    }
}

impl Store for Wrong {
    async fn claim(&self, request: &ClaimRequest) -> Result<Claim, StoreError> {
        self.is_readable(request.key())?;
        let request = self.sent(request);
        let before = self.entry(request.key());
        if let Some(claim) = self.before_claim(&request, before.as_ref()).await {
            return Ok(claim);
        }
        let drawn = self.drawn(request.key());
        let claim = self.right.claim(&request).await?;
        let claim = self.after_claim(&request, before.as_ref(), drawn, claim);
        yield_now().await;
        Ok(claim)
    }

    async fn renew(
        &self,
        owner: &Owner,
        lease: Duration,
        committed: bool,
    ) -> Result<Settled, StoreError> {
        let (owner, before) = self.before_write(Verb::Renew, owner)?;
        if self.has(Flaw::RenewsInTwoSteps) {
            self.take_out(owner.key()).await;
        }
        let lease = self.length(lease);
        let settled = self.right.renew(&owner, lease, committed).await;
        if let (Ok(Settled::Applied), Some(before)) = (&settled, &before) {
            self.after_renew(&owner, before, committed);
        }
        self.after_write(&owner, before.as_ref(), settled)
    }

    async fn complete(&self, owner: &Owner, completed: &Completed) -> Result<Settled, StoreError> {
        self.before_complete(owner)?;
        let (owner, before) = self.before_write(Verb::Complete, owner)?;
        if self.has(Flaw::CompletesInTwoSteps) {
            self.take_out(owner.key()).await;
        }
        let written = self.written(completed);
        let settled = self.right.complete(&owner, &written).await;
        let settled = match (settled, &before) {
            (Ok(settled), Some(before)) => {
                Ok(self.after_complete(&owner, before, completed, settled))
            }
            (settled, _) => settled,
        };
        self.after_write(&owner, before.as_ref(), settled)
    }

    async fn abandon(&self, owner: &Owner) -> Result<Settled, StoreError> {
        let (owner, before) = self.before_write(Verb::Abandon, owner)?;
        if self.has(Flaw::AbandonsInTwoSteps) {
            self.take_out(owner.key()).await;
        }
        let settled = self.right.abandon(&owner).await;
        if let (Ok(Settled::Applied), Some(before)) = (&settled, &before) {
            self.after_abandon(&owner, before);
        }
        self.after_write(&owner, before.as_ref(), settled)
    }

    async fn release(&self, owner: &Owner) -> Result<Settled, StoreError> {
        let (owner, before) = self.before_write(Verb::Release, owner)?;
        self.before_release(&owner, before.as_ref()).await;
        let settled = self.right.release(&owner).await;
        if self.has(Flaw::FencesRestartAfterRelease) {
            self.right.locked().fences.remove(owner.key());
        }
        self.after_write(&owner, before.as_ref(), settled)
    }

    async fn inspect(&self, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        if !self.slow.is_zero() {
            tokio::time::sleep(self.slow).await;
        }
        self.inspect_wrongly(&self.name(key)).await
    }

    async fn forget(&self, key: &RecordKey, force: bool) -> Result<Forgotten, StoreError> {
        self.forget_wrongly(&self.name(key), force).await
    }

    async fn erase_scope(&self, scope: &[u8; 16]) -> Result<u64, StoreError> {
        self.erase_wrongly(scope).await
    }

    async fn settled(&self, key: &RecordKey, fence: Fence, at_most: Duration) {
        self.wait_wrongly(&self.name(key), fence, at_most).await;
    }

    fn fullness(&self) -> Option<u8> {
        let fullness = self.right.fullness()?;
        Some(if self.has(Flaw::FullnessIsAShare) {
            fullness / 100
        } else {
            fullness
        })
    }
}
