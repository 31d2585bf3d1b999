//! The records: a map, and a ledger of what they add up to.
//!
//! One lock order: the shard of a record in the map, then what the ledger holds of it (its scope or its
//! stripe of the expiry, one at a time). Whoever drops a record that is due finds it in the ledger, lets
//! go, and looks again under the lock of its shard. Clocks and wakers, which are not ours, run under
//! no lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::clock::{Clock, Moment};
use super::expiry::SomeDue;
use super::id::{Id, Secret};
use super::ledger::{Account, Lack, Ledger};
use super::map::{Map, Shards};
use super::sealed::{Draft, Head};
use super::slot::{Changed, Claimed, Ends, Slot, Waiters};
use crate::clock;
use crate::drive;
use crate::key::{Fence, RecordKey};
use crate::store::claim::{
    Claim, ClaimRequest, Completed, Forgotten, Owned, Owner, Record, Settled,
};

/// All records of a store. Every verb of the store, at a given time.
pub(super) struct Records<M = Shards> {
    slots: M,
    secret: Secret,
    pub(super) ledger: Ledger,
    fences: Fences,
}

impl Records {
    pub(super) fn new(max_records: usize, max_bytes: usize) -> Self {
        Self::with(Shards::new(), Secret::random(), max_records, max_bytes)
    }
}

impl<M: Map> Records<M> {
    fn with(slots: M, secret: Secret, max_records: usize, max_bytes: usize) -> Self {
        Self {
            slots,
            secret,
            ledger: Ledger::new(max_records, max_bytes),
            fences: Fences([const { AtomicU64::new(0) }; FENCES]),
        }
    }

    pub(super) fn claim(&self, request: &ClaimRequest, now: Moment) -> Claim {
        let id = self.id(request.key());
        let claimed = self.try_claim(id, request, now);
        claimed.unwrap_or_else(|obstacle| self.claim_past(obstacle, id, request, now))
    }

    /// Removes what is in the way of a claim, as long as anything is and goes.
    #[cold]
    fn claim_past(
        &self,
        mut obstacle: Obstacle,
        id: Id,
        request: &ClaimRequest,
        now: Moment,
    ) -> Claim {
        loop {
            match obstacle {
                Obstacle::Expired => {
                    self.drop_expired(id, now);
                }
                Obstacle::Lack(Lack::Room) => {
                    if !self.drop_due(id, now) {
                        return Claim::Full;
                    }
                }
                Obstacle::Lack(Lack::Quota { expired }) => match expired {
                    Some(expired) => _ = self.drop_expired(expired, now),
                    None => return Claim::OverQuota,
                },
            }
            match self.try_claim(id, request, now) {
                Ok(claim) => return claim,
                Err(next) => obstacle = next,
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
        let beyond = Account::completed_bytes(payload.len()).saturating_sub(Account::CLAIMED);
        let (payload, settled, taken) = if self.make_room(owner, beyond, now) {
            (payload, Settled::Applied, beyond)
        } else {
            (completed.tombstone(), Settled::Tombstoned, 0)
        };
        let draft = Draft::new(payload, &Head::likely(owner.fence(), now, retention));
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
            if slot.is_of(owner.key()) && !slot.is_expired(now) {
                settled = if slot.is_in_flight_of(owner) {
                    Settled::Applied
                } else {
                    Settled::FencedOut
                };
            }
            settled == Settled::Applied
        });
        settled
    }

    pub(super) fn inspect(&self, key: &RecordKey, now: Moment) -> Option<Record> {
        self.slots.look(self.id(key), |slot| {
            (slot.is_of(key) && !slot.is_expired(now)).then(|| slot.record(now))
        })?
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
        let ids = self.slots.ids(|slot| slot.scope() == *scope);
        let mut dropped: Vec<_> = (ids.into_iter())
            .filter_map(|id| self.take_if(id, |slot| slot.scope() == *scope))
            .collect();
        // Ids are secret: without an order of its own, who is woken first would be drawn.
        dropped.sort_unstable_by_key(Slot::order);
        let live = dropped.iter().filter(|slot| !slot.is_expired(now));
        let erased = live.count() as u64;
        (dropped.into_iter()).for_each(|slot| slot.into_waiters().wake());
        erased
    }

    /// Returns when the live lease of this owner has ended, at the latest after so long.
    pub(super) async fn settled(
        &self,
        key: &RecordKey,
        fence: Fence,
        clock: &Clock,
        at_most: Duration,
    ) {
        let Some(waiters) = self.join(key, fence, clock.now()) else {
            return;
        };
        let deadline = clock::later(Instant::now(), at_most);
        loop {
            // Made before the look, so that an end in between is not missed.
            let ended = waiters.notified();
            let Some(left) = self.lease_left(key, fence, clock.now()) else {
                return;
            };
            let now = Instant::now();
            if now >= deadline {
                return;
            }
            let look_again = clock::later(now, clock.sleep(left));
            drive::until(look_again.min(deadline), ended).await;
        }
    }

    /// What is notified when the live lease of this owner ends otherwise than by time.
    fn join(&self, key: &RecordKey, fence: Fence, now: Moment) -> Option<Arc<Notify>> {
        self.slots.change(self.id(key), |slot| {
            let waiters = slot.is_of(key).then(|| slot.waiters_of(fence, now))?;
            waiters.map(Waiters::join)
        })?
    }

    /// What is left of the lease of this owner, if anything.
    fn lease_left(&self, key: &RecordKey, fence: Fence, now: Moment) -> Option<Duration> {
        self.slots.look(self.id(key), |slot| {
            slot.is_of(key).then(|| slot.live_lease(fence, now))?
        })?
    }

    fn id(&self, key: &RecordKey) -> Id {
        self.secret.id(key)
    }

    /// One look at the record, and what it leads to.
    fn try_claim(&self, id: Id, request: &ClaimRequest, now: Moment) -> Result<Claim, Obstacle> {
        let key = request.key();
        let found = self.slots.change_or_make(
            id,
            |slot| {
                let next_fence = || self.fences.next(key);
                let claimed = slot.claim(request, now, next_fence);
                let claimed = claimed.ok_or(Obstacle::Expired)?;
                if let Some((before, after)) = claimed.moved {
                    self.ledger.moved(id, key.scope(), before, after);
                }
                Ok(Found::There(claimed))
            },
            || {
                let ends = Ends::of(request, now);
                let due = self.ledger.enter(id, key.scope(), ends.account(), now);
                let due = due.map_err(Obstacle::Lack)?;
                let (slot, owned) = Slot::claimed(request, self.fences.next(key), ends, now);
                Ok((slot, Found::Nothing(owned, due)))
            },
        )?;
        match found {
            Found::Nothing(owned, due) => {
                for id in due.into_iter().flatten() {
                    self.drop_expired(id, now);
                }
                Ok(Claim::Owned(owned))
            }
            Found::There(claimed) => {
                claimed.waiters.wake();
                Ok(claimed.claim)
            }
        }
    }

    /// Lets an owner change its record, for which it has taken so many bytes already.
    fn settle(
        &self,
        owner: &Owner,
        taken: usize,
        now: Moment,
        change: impl FnOnce(&mut Slot) -> Changed,
    ) -> Settled {
        let (id, key) = (self.id(owner.key()), owner.key());
        let changed = self.slots.change(id, |slot| {
            let account = slot.account();
            // One that has expired is absent, whether it has been dropped yet or not.
            (slot.is_of(key) && account.expires > now).then(|| {
                let changed = change(slot);
                let before = Account {
                    bytes: account.bytes + taken,
                    ..account
                };
                let after = changed.after.unwrap_or(account);
                self.ledger.change(id, key.scope(), before, after);
                (changed.settled, changed.waiters)
            })
        });
        let (settled, waiters) = changed.flatten().unwrap_or_else(|| {
            self.ledger.give_bytes(taken);
            (Settled::Missing, Waiters::default())
        });
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

    /// Drops a record unless it has got a new life since it was found to be due.
    fn drop_expired(&self, id: Id, now: Moment) -> bool {
        self.drop_if(id, |slot| slot.is_expired(now))
    }

    fn drop_if(&self, id: Id, goes: impl FnOnce(&Slot) -> bool) -> bool {
        let dropped = self.take_if(id, goes);
        let is_dropped = dropped.is_some();
        if let Some(slot) = dropped {
            slot.into_waiters().wake();
        }
        is_dropped
    }

    /// Takes a record out of the map and of the ledger, if it goes.
    fn take_if(&self, id: Id, goes: impl FnOnce(&Slot) -> bool) -> Option<Slot> {
        self.slots.take_if(id, |slot| {
            let goes = goes(slot);
            if goes {
                self.ledger.leave(id, &slot.scope(), slot.account());
            }
            goes
        })
    }
}

/// The latest fences: those of one key are of one number, so that they increase although records go. There are many
/// numbers, so that claims at once seldom want the same.
struct Fences([AtomicU64; FENCES]);

const FENCES: usize = 256;

impl Fences {
    fn next(&self, key: &RecordKey) -> Fence {
        // Not by the identifier: that is secret, and the same claims get the same fences.
        let [first, ..] = *key.key();
        let latest = &self.0[usize::from(first)];
        Fence::new(latest.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// What a claim has found.
enum Found {
    /// So that it made a record, and heard which others are due.
    Nothing(Owned, SomeDue),
    There(Claimed),
}

/// What is in the way of a claim.
enum Obstacle {
    /// A record that has expired.
    Expired,
    Lack(Lack),
}

#[cfg(test)]
mod tests;
