//! The records of the reference store, and what happens to them at a given time.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use tower_idempotency::{
    Claim, ClaimId, ClaimRequest, Fence, Fingerprint, Owned, Owner, Record, RecordKey, State,
    StoreError, StoreErrorKind, TakeOver,
};

#[derive(Default)]
pub(crate) struct Records {
    pub(crate) map: HashMap<RecordKey, Entry>,
    /// The highest fence of every key, whatever became of its records.
    pub(crate) fences: HashMap<RecordKey, u64>,
    pub(crate) corrupt: HashSet<RecordKey>,
    /// Owners whose records are gone, which a store need not remember. The wrong ones do.
    pub(crate) gone: Vec<(Owner, Way)>,
}

/// How a record, or its owner, came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    TakenOver,
    Released,
    Forgotten,
    Erased,
    Expired,
}

/// One record. Times are those since the store was made.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) claim_id: ClaimId,
    pub(crate) fence: Fence,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) attempt: u32,
    pub(crate) committed: bool,
    pub(crate) first: Duration,
    pub(crate) retained_until: Duration,
    pub(crate) leased_until: Duration,
    pub(crate) payload: Option<Bytes>,
}

impl Records {
    /// `(quota, room)`: how many records there may be of one scope, and in all.
    pub(super) fn claim(
        &mut self,
        request: &ClaimRequest,
        now: Duration,
        (quota, room): (usize, usize),
    ) -> Claim {
        let key = *request.key();
        let Some(mut entry) = self.map.get(&key).cloned() else {
            if self.of_scope(&key) >= quota {
                return Claim::OverQuota;
            }
            if self.map.len() >= room {
                return Claim::Full;
            }
            let entry = Entry {
                claim_id: request.claim_id(),
                fence: self.next_fence(&key),
                fingerprint: *request.fingerprint(),
                attempt: 1,
                committed: false,
                first: now,
                retained_until: now.saturating_add(request.retention()),
                leased_until: now.saturating_add(request.lease()),
                payload: None,
            };
            return self.owned(key, entry, now);
        };
        let is_mine = entry.payload.is_none() && entry.claim_id == request.claim_id();
        if !is_mine {
            if !entry.is_free_for(request, now) {
                return Claim::Existing(entry.record(now));
            }
            let lost = Owner::new(key, entry.fence, entry.claim_id);
            self.gone.push((lost, Way::TakenOver));
            entry.claim_id = request.claim_id();
            entry.fence = self.next_fence(&key);
            entry.attempt += 1;
        }
        entry.leased_until = now.saturating_add(request.lease());
        self.owned(key, entry, now)
    }

    fn owned(&mut self, key: RecordKey, entry: Entry, now: Duration) -> Claim {
        let owned = entry.owned(now);
        self.map.insert(key, entry);
        Claim::Owned(owned)
    }

    pub(crate) fn next_fence(&mut self, key: &RecordKey) -> Fence {
        let fence = self.fences.entry(*key).or_insert(0);
        *fence += 1;
        Fence::new(*fence)
    }

    pub(crate) fn of_scope(&self, key: &RecordKey) -> usize {
        let scope = key.scope();
        self.map.keys().filter(|key| key.scope() == scope).count()
    }

    pub(crate) fn remove_all(
        &mut self,
        way: Way,
        mut which: impl FnMut(&RecordKey, &Entry) -> bool,
    ) -> u64 {
        let removed = self.map.extract_if(|key, entry| which(key, entry));
        let removed: Vec<_> = removed.collect();
        for (key, entry) in &removed {
            self.corrupt.remove(key);
            self.gone
                .push((Owner::new(*key, entry.fence, entry.claim_id), way));
        }
        removed.len() as u64
    }

    pub(crate) fn readable(&self, key: &RecordKey) -> Result<(), StoreError> {
        match self.corrupt.contains(key) {
            true => Err(StoreError::new(StoreErrorKind::Unreadable, "garbage")),
            false => Ok(()),
        }
    }
}

impl Entry {
    pub(crate) fn is_owned_by(&self, owner: &Owner) -> bool {
        self.fence == owner.fence() && self.claim_id == owner.claim_id()
    }

    /// Whether this is the same request, whose owner is presumed lost, and may run.
    fn is_free_for(&self, request: &ClaimRequest, now: Duration) -> bool {
        let is_allowed = match request.take_over() {
            TakeOver::Always => true,
            TakeOver::Uncommitted => !self.committed,
            _ => false,
        };
        self.is_lapsed(now) && self.fingerprint.matches(request.fingerprint()) && is_allowed
    }

    pub(crate) fn is_live(&self, now: Duration) -> bool {
        !self.lease_left(now).is_zero()
    }

    pub(crate) fn is_lapsed(&self, now: Duration) -> bool {
        self.payload.is_none() && !self.is_live(now)
    }

    /// What is left of its lease, while it is in flight.
    pub(super) fn lease_left(&self, now: Duration) -> Duration {
        match self.payload {
            Some(_) => Duration::ZERO,
            None => self.leased_until.saturating_sub(now),
        }
    }

    pub(super) fn expires(&self) -> Duration {
        match self.payload {
            Some(_) => self.retained_until,
            None => self.retained_until.max(self.leased_until),
        }
    }

    pub(crate) fn owned(&self, now: Duration) -> Owned {
        Owned::new(self.fence, self.attempt, self.lease_left(now))
    }

    pub(crate) fn record(&self, now: Duration) -> Record {
        let state = match &self.payload {
            Some(payload) => State::Completed {
                payload: payload.clone(),
            },
            None => State::InFlight {
                lease_left: self.lease_left(now),
            },
        };
        Record::new(self.fingerprint, self.fence, self.attempt, state)
            .committed(self.committed)
            .age(now - self.first)
            .expires_in(self.expires().saturating_sub(now))
    }
}
