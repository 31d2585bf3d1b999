//! The records: a map, and a ledger of what they add up to.
//!
//! One lock order: the shard of a record in the map, then what the ledger holds of it (its scope or its
//! stripe of the expiry, one at a time). Whoever drops a record that is due finds it in the ledger, lets
//! go, and looks again under the lock of its shard. Clocks and wakers, which are not ours, run under
//! no lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dashmap::{DashMap, Entry};
use tokio::sync::Notify;

use super::clock::Moment;
use super::expiry::SomeDue;
use super::id::{BuildIdHasher, Id, Secret};
use super::ledger::{Account, Lack, Ledger};
use super::sealed::Draft;
use super::slot::{Slot, Waiters};
use crate::key::{Fence, RecordKey};
use crate::store::claim::{Claim, ClaimRequest, Completed, Forgotten, Owner, Record, Settled};

/// All records of a store. Every verb of the store, at a given time.
pub(super) struct Records {
    /// By 64 bits of the key, to keep the map small; a slot knows the whole key. The odds that any two
    /// of a million keys meet are one to 37 million; the later one then finds the store full.
    slots: DashMap<Id, Slot, BuildIdHasher>,
    secret: Secret,
    pub(super) ledger: Ledger,
    /// Of all records together, so that fences increase although records go.
    fences: AtomicU64,
}

/// So many that none takes long to grow.
const SHARDS: usize = 256;

impl Records {
    pub(super) fn new(max_records: usize, max_bytes: usize) -> Self {
        Self {
            slots: DashMap::with_hasher_and_shard_amount(BuildIdHasher::default(), SHARDS),
            secret: Secret::random(),
            ledger: Ledger::new(max_records, max_bytes),
            fences: AtomicU64::new(0),
        }
    }

    pub(super) fn claim(&self, request: &ClaimRequest, now: Moment) -> Claim {
        let id = self.id(request.key());
        loop {
            match self.try_claim(id, request, now) {
                Ok(claim) => return claim,
                Err(Obstacle::Expired) => {
                    self.drop_expired(id, now);
                }
                Err(Obstacle::Lack(Lack::Room)) => {
                    if !self.drop_due(id, now) {
                        return Claim::Full;
                    }
                }
                Err(Obstacle::Lack(Lack::Quota)) => {
                    if !self.drop_due_of(request.key().scope(), now) {
                        return Claim::OverQuota;
                    }
                }
            }
        }
    }

    pub(super) fn renew(
        &self,
        owner: &Owner,
        lease: Duration,
        committed: bool,
        now: Moment,
    ) -> Settled {
        self.settle(owner, 0, now, |slot| {
            slot.renew(owner, lease, committed, now)
        })
    }

    pub(super) fn complete(&self, owner: &Owner, completed: &Completed, now: Moment) -> Settled {
        let retention = completed.retention();
        let payload = completed.payload();
        // The claim has made sure of some; this is what the payload takes beyond.
        let beyond = Account::completed(payload.len()).saturating_sub(Account::CLAIMED);
        let (draft, settled, taken) = if self.make_room(owner, beyond, now) {
            (Draft::new(payload), Settled::Applied, beyond)
        } else {
            (Draft::new(completed.tombstone()), Settled::Tombstoned, 0)
        };
        self.settle(owner, taken, now, |slot| {
            slot.complete(owner, draft, settled, retention, now)
        })
    }

    pub(super) fn abandon(&self, owner: &Owner, now: Moment) -> Settled {
        self.settle(owner, 0, now, |slot| slot.abandon(owner, now))
    }

    pub(super) fn release(&self, owner: &Owner, now: Moment) -> Settled {
        let mut settled = Settled::Missing;
        self.drop_if(self.id(owner.key()), |slot| {
            if slot.is_of(owner.key()) {
                if slot.is_in_flight_of(owner) {
                    settled = Settled::Applied;
                } else if !slot.is_expired(now) {
                    settled = Settled::FencedOut;
                }
            }
            settled == Settled::Applied
        });
        settled
    }

    pub(super) fn inspect(&self, key: &RecordKey, now: Moment) -> Option<Record> {
        let slot = self.slots.get(&self.id(key))?;
        (slot.is_of(key) && !slot.is_expired(now)).then(|| slot.record(now))
    }

    pub(super) fn forget(&self, key: &RecordKey, force: bool, now: Moment) -> Forgotten {
        let mut forgotten = Forgotten::Unknown;
        self.drop_if(self.id(key), |slot| {
            if slot.is_of(key) && !slot.is_expired(now) {
                let refused = !force && !slot.lease_left(now).is_zero();
                forgotten = if refused {
                    Forgotten::InFlight
                } else {
                    Forgotten::Forgotten
                };
            }
            forgotten == Forgotten::Forgotten
        });
        forgotten
    }

    pub(super) fn erase_scope(&self, scope: &[u8; 16], now: Moment) -> u64 {
        let of_scope = self.slots.iter().filter(|slot| slot.scope() == *scope);
        // Collected, because a shard is locked as long as one of its slots is looked at.
        let ids = of_scope.map(|slot| *slot.key()).collect::<Vec<_>>();
        let mut erased = 0;
        for id in ids {
            self.drop_if(id, |slot| {
                let same = slot.scope() == *scope;
                erased += u64::from(same && !slot.is_expired(now));
                same
            });
        }
        erased
    }

    /// What is notified when the live lease of this owner ends otherwise than by time.
    pub(super) fn join(&self, key: &RecordKey, fence: Fence, now: Moment) -> Option<Arc<Notify>> {
        let mut slot = self
            .slots
            .get_mut(&self.id(key))
            .filter(|slot| slot.is_of(key))?;
        slot.waiters_of(fence, now).map(Waiters::join)
    }

    /// What is left of the lease of this owner, if anything.
    pub(super) fn lease_left(
        &self,
        key: &RecordKey,
        fence: Fence,
        now: Moment,
    ) -> Option<Duration> {
        let slot = self
            .slots
            .get(&self.id(key))
            .filter(|slot| slot.is_of(key))?;
        slot.live_lease(fence, now)
    }

    fn id(&self, key: &RecordKey) -> Id {
        self.secret.id(key)
    }

    fn next_fence(&self) -> Fence {
        Fence::new(self.fences.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// One look at the record, and what it leads to.
    fn try_claim(&self, id: Id, request: &ClaimRequest, now: Moment) -> Result<Claim, Obstacle> {
        let (claim, waiters, due) = match self.slots.entry(id) {
            Entry::Occupied(entry) if entry.get().is_expired(now) => return Err(Obstacle::Expired),
            Entry::Occupied(entry) if !entry.get().is_of(request.key()) => return Ok(Claim::Full),
            Entry::Occupied(mut entry) => {
                let slot = entry.get_mut();
                let before = slot.account();
                let (claim, waiters) = slot.claim(request, now, || self.next_fence());
                self.ledger.change(id, &before, &slot.account());
                (claim, waiters, SomeDue::default())
            }
            Entry::Vacant(entry) => {
                let (slot, owned) = Slot::claimed(request, self.next_fence(), now);
                let due = self
                    .ledger
                    .enter(id, &slot.account(), now)
                    .map_err(Obstacle::Lack)?;
                entry.insert(slot);
                (Claim::Owned(owned), Waiters::default(), due)
            }
        };
        waiters.wake();
        for id in due.into_iter().flatten() {
            self.drop_expired(id, now);
        }
        Ok(claim)
    }

    /// Lets an owner change its record, for which it has taken so many bytes already.
    fn settle(
        &self,
        owner: &Owner,
        taken: usize,
        now: Moment,
        change: impl FnOnce(&mut Slot) -> (Settled, Waiters),
    ) -> Settled {
        let id = self.id(owner.key());
        let (settled, waiters) = match self.slots.get_mut(&id) {
            Some(mut slot) if slot.is_of(owner.key()) => {
                let mut before = slot.account();
                before.bytes += taken;
                let (settled, waiters) = change(&mut slot);
                self.ledger.change(id, &before, &slot.account());
                let gone = settled == Settled::FencedOut && slot.is_expired(now);
                (if gone { Settled::Missing } else { settled }, waiters)
            }
            _ => {
                self.ledger.give_bytes(taken);
                (Settled::Missing, Waiters::default())
            }
        };
        waiters.wake();
        settled
    }

    /// Takes bytes, and drops what is due for them. Nothing fits even where the bounds are exceeded.
    fn make_room(&self, owner: &Owner, bytes: usize, now: Moment) -> bool {
        while bytes > 0 && !self.ledger.take_bytes(bytes) {
            if !self.drop_due(self.id(owner.key()), now) {
                return false;
            }
        }
        true
    }

    /// Drops a record that is due, wherever it is.
    fn drop_due(&self, near: Id, now: Moment) -> bool {
        while let Some(id) = self.ledger.expiry.first(near, now) {
            if self.drop_expired(id, now) {
                return true;
            }
        }
        false
    }

    /// Drops a record of this scope that has expired.
    fn drop_due_of(&self, scope: &[u8; 16], now: Moment) -> bool {
        let first = || self.ledger.quota.as_ref()?.first(*scope, now);
        while let Some(id) = first() {
            if self.drop_expired(id, now) {
                return true;
            }
        }
        false
    }

    /// Drops a record unless it has got a new life since it was found to be due.
    fn drop_expired(&self, id: Id, now: Moment) -> bool {
        self.drop_if(id, |slot| slot.is_expired(now))
    }

    fn drop_if(&self, id: Id, goes: impl FnOnce(&Slot) -> bool) -> bool {
        let dropped = self.slots.remove_if_mut(&id, |_, slot| {
            let goes = goes(slot);
            if goes {
                self.ledger.leave(id, &slot.account());
            }
            goes
        });
        let is_dropped = dropped.is_some();
        if let Some((_, slot)) = dropped {
            slot.into_waiters().wake();
        }
        is_dropped
    }
}

/// What is in the way of a claim.
enum Obstacle {
    /// A record that has expired.
    Expired,
    Lack(Lack),
}

#[cfg(test)]
mod tests;
