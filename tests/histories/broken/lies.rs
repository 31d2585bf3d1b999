//! Stores that lie.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tower_idempotency::{
    BoxStore, Claim, ClaimId, ClaimRequest, Completed, Fence, Forgotten, Owned, Owner, Record,
    RecordKey, Settled, State, Store, StoreError, TakeOver,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    ChangesOutcomes,
    CompletesForAnyone,
    FencesFall,
    ForgetsClaimIds,
    ForgetsFingerprints,
    ForgetsMarks,
    ForgetsRenewals,
    GivesWhatLives,
    KeepsReleased,
    KeepsTooLong,
    LosesRecords,
    MixesScopes,
    RefusesToComplete,
    ReleasesAtTakeOver,
    SkipsAttempts,
}

pub(super) struct Lying {
    lie: Lie,
    store: BoxStore,
    calls: AtomicU64,
    /// The owner that was made last of each key.
    owners: Mutex<Vec<Owner>>,
}

/// Where fences fall, they fall from here.
const TOP: u64 = 1_000_000;

impl Lying {
    pub(super) fn new(lie: Lie, store: BoxStore) -> Self {
        Self {
            lie,
            store,
            calls: AtomicU64::new(0),
            owners: Mutex::default(),
        }
    }

    /// What to do at every so many calls.
    fn every(&self, calls: u64) -> bool {
        self.calls.fetch_add(1, Ordering::SeqCst) % calls == calls - 1
    }

    fn fence(&self, fence: Fence) -> Fence {
        match self.lie {
            Lie::FencesFall => Fence::new(TOP - fence.get()),
            _ => fence,
        }
    }

    fn key(&self, key: &RecordKey) -> RecordKey {
        match self.lie {
            // All keys of all scopes are one.
            Lie::MixesScopes => RecordKey::from_parts([7; 16], [7; 32]),
            _ => *key,
        }
    }

    fn owner(&self, owner: &Owner) -> Owner {
        Owner::new(
            self.key(owner.key()),
            self.fence(owner.fence()),
            owner.claim_id(),
        )
    }

    fn latest(&self, key: &RecordKey) -> Option<Owner> {
        let owners = self.owners.lock().unwrap();
        owners
            .iter()
            .rev()
            .find(|owner| owner.key() == key)
            .copied()
    }

    fn shown(&self, record: &Record) -> Record {
        let state = match record.state() {
            State::Completed { payload } if self.lie == Lie::ChangesOutcomes => {
                let mut payload = payload.to_vec();
                *payload.last_mut().expect("a payload has a version") ^= 1;
                State::Completed {
                    payload: Bytes::from(payload),
                }
            }
            state => state.clone(),
        };
        Record::new(
            *record.fingerprint(),
            self.fence(record.fence()),
            record.attempt(),
            state,
        )
        .committed(record.is_committed())
        .age(record.since_first_request())
        .expires_in(record.remaining())
    }

    /// The claim as it is made.
    async fn changed(&self, request: &ClaimRequest) -> Result<ClaimRequest, StoreError> {
        let key = self.key(request.key());
        let (mut id, mut print) = (request.claim_id(), *request.fingerprint());
        let mut retention = request.retention();
        let record = self.store.inspect(&key).await?;
        let has_lapsed =
            |record: &Record| matches!(record.state(), State::InFlight { .. }) && !record.is_live();
        match (self.lie, record) {
            (Lie::ForgetsClaimIds, _) => {
                let mut bytes = *id.as_bytes();
                bytes[0] = bytes[0].wrapping_add(self.every(2).into());
                id = ClaimId::from_bytes(bytes);
            }
            (Lie::ForgetsFingerprints, Some(record)) => print = *record.fingerprint(),
            (Lie::GivesWhatLives, Some(record)) if record.is_live() && self.every(3) => {
                if let Some(owner) = self.latest(&key) {
                    self.store.abandon(&owner).await?;
                }
            }
            (Lie::KeepsTooLong, _) => retention *= 2,
            (Lie::LosesRecords, Some(_)) if self.every(5) => {
                self.store.forget(&key, true).await?;
            }
            (Lie::ReleasesAtTakeOver, Some(record)) if has_lapsed(&record) => {
                self.store.forget(&key, true).await?;
            }
            _ => {}
        }
        let take_over: TakeOver = request.take_over();
        let changed = ClaimRequest::new(key, id, print, request.lease(), retention);
        Ok(changed.with_take_over(take_over))
    }
}

impl Store for Lying {
    async fn claim(&self, request: &ClaimRequest) -> Result<Claim, StoreError> {
        let request = self.changed(request).await?;
        Ok(match self.store.claim(&request).await? {
            Claim::Owned(owned) => {
                let owner = Owner::new(*request.key(), owned.fence(), request.claim_id());
                self.owners.lock().unwrap().push(owner);
                let skips = self.lie == Lie::SkipsAttempts && owned.attempt() > 1;
                let attempt = owned.attempt() + u32::from(skips);
                Claim::Owned(Owned::new(
                    self.fence(owned.fence()),
                    attempt,
                    owned.lease_left(),
                ))
            }
            Claim::Existing(record) => Claim::Existing(self.shown(&record)),
            other => other,
        })
    }

    async fn renew(
        &self,
        owner: &Owner,
        lease: Duration,
        committed: bool,
    ) -> Result<Settled, StoreError> {
        let owner = self.owner(owner);
        match self.lie {
            Lie::ForgetsRenewals if !committed => Ok(Settled::Applied),
            Lie::ForgetsMarks => self.store.renew(&owner, lease, false).await,
            _ => self.store.renew(&owner, lease, committed).await,
        }
    }

    async fn complete(&self, owner: &Owner, completed: &Completed) -> Result<Settled, StoreError> {
        let mut owner = self.owner(owner);
        if self.lie == Lie::RefusesToComplete && self.every(3) {
            return Ok(Settled::FencedOut);
        }
        let settled = self.store.complete(&owner, completed).await?;
        if self.lie == Lie::CompletesForAnyone && settled == Settled::FencedOut {
            owner = self.latest(owner.key()).unwrap_or(owner);
            return self.store.complete(&owner, completed).await;
        }
        Ok(settled)
    }

    async fn abandon(&self, owner: &Owner) -> Result<Settled, StoreError> {
        self.store.abandon(&self.owner(owner)).await
    }

    async fn release(&self, owner: &Owner) -> Result<Settled, StoreError> {
        let owner = self.owner(owner);
        match self.lie {
            Lie::KeepsReleased => self.store.abandon(&owner).await,
            _ => self.store.release(&owner).await,
        }
    }

    async fn inspect(&self, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        let record = self.store.inspect(&self.key(key)).await?;
        Ok(record.map(|record| self.shown(&record)))
    }

    async fn forget(&self, key: &RecordKey, force: bool) -> Result<Forgotten, StoreError> {
        self.store.forget(&self.key(key), force).await
    }

    async fn erase_scope(&self, scope: &[u8; 16]) -> Result<u64, StoreError> {
        self.store.erase_scope(scope).await
    }

    async fn settled(&self, key: &RecordKey, fence: Fence, at_most: Duration) {
        self.store
            .settled(&self.key(key), self.fence(fence), at_most)
            .await;
    }
}
