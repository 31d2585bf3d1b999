//! What the records of a store add up to: their number, their bytes, their expiry, their scopes.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::clock::Moment;
use super::expiry::{Expiry, SomeDue};
use super::id::Id;
use super::quota::Quota;

/// Everything that is counted. Changed only while the record's shard of the map is locked, so that
/// it always agrees with the map.
pub(super) struct Ledger {
    pub(super) max_records: usize,
    pub(super) max_bytes: usize,
    pub(super) quota: Option<Quota>,
    pub(super) expiry: Expiry,
    gauges: Gauges,
}

/// What every claim writes: apart from what is only read, so that others have that at hand.
#[derive(Default)]
#[repr(align(128))]
struct Gauges {
    records: AtomicUsize,
    bytes: AtomicUsize,
}

/// What one record adds to those of its scope.
#[derive(Clone, Copy)]
pub(super) struct Account {
    pub(super) expires: Moment,
    pub(super) bytes: usize,
}

impl Account {
    /// Bytes of memory for a record without its payload: the entry of the map (29 to 57 while it grows, up to twice as
    /// much where records come and go), the entry of the expiry (12 to 26), the head and what the allocator adds (113).
    const RECORD: usize = 224;

    /// Bytes of payload that a claim makes sure of: the tombstone fits.
    const RESERVE: usize = 512;

    /// Bytes of a record in flight.
    pub(super) const CLAIMED: usize = Self::RECORD + Self::RESERVE;

    /// What a record in flight adds.
    pub(super) fn claimed(expires: Moment) -> Self {
        let bytes = Self::CLAIMED;
        Self { expires, bytes }
    }

    /// What a completed record adds.
    pub(super) fn completed(expires: Moment, payload: usize) -> Self {
        let bytes = Self::completed_bytes(payload);
        Self { expires, bytes }
    }

    /// Bytes of a completed record.
    pub(super) fn completed_bytes(payload: usize) -> usize {
        Self::RECORD.saturating_add(payload)
    }
}

/// Why a record cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    Quota {
        /// A record of the scope that may go for another.
        expired: Option<Id>,
    },
    Room,
}

impl Ledger {
    pub(super) fn new(max_records: usize, max_bytes: usize) -> Self {
        Self {
            max_records,
            max_bytes,
            quota: None,
            expiry: Expiry::new(),
            gauges: Gauges::default(),
        }
    }

    pub(super) fn records(&self) -> usize {
        self.gauges.records.load(Ordering::Relaxed)
    }

    pub(super) fn bytes(&self) -> usize {
        self.gauges.bytes.load(Ordering::Relaxed)
    }

    /// How much of the room is taken, of 100.
    pub(super) fn fullness(&self) -> u8 {
        let of = |taken: usize, most: usize| taken.saturating_mul(100) / most;
        let records = of(self.records(), self.max_records);
        u8::try_from(records.max(of(self.bytes(), self.max_bytes))).unwrap_or(u8::MAX)
    }

    /// Adds a record, if there is room, and says which others are due.
    pub(super) fn enter(
        &self,
        id: Id,
        scope: &[u8; 16],
        account: Account,
        now: Moment,
    ) -> Result<SomeDue, Lack> {
        if !take(&self.gauges.records, 1, self.max_records) {
            return Err(Lack::Room);
        }
        if !self.take_bytes(account.bytes) {
            self.gauges.records.fetch_sub(1, Ordering::Relaxed);
            return Err(Lack::Room);
        }
        if let Some(quota) = &self.quota {
            let added = quota.insert(*scope, id, account.expires, now);
            let bytes = added.map_err(|expired| {
                self.gauges.records.fetch_sub(1, Ordering::Relaxed);
                self.give_bytes(account.bytes);
                Lack::Quota { expired }
            })?;
            self.gauges.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        Ok(self.expiry.insert(id, account.expires, now))
    }

    /// Removes a record.
    pub(super) fn leave(&self, id: Id, scope: &[u8; 16], account: Account) {
        self.expiry.remove(id, account.expires);
        if let Some(quota) = &self.quota {
            self.give_bytes(quota.remove(*scope, id, account.expires));
        }
        self.give_bytes(account.bytes);
        self.gauges.records.fetch_sub(1, Ordering::Relaxed);
    }

    /// Follows a record that expires at another time.
    #[inline]
    pub(super) fn moved(&self, id: Id, scope: &[u8; 16], before: Moment, after: Moment) {
        if before != after {
            self.expiry.change(id, before, after);
            if let Some(quota) = &self.quota {
                quota.change(*scope, id, before, after);
            }
        }
    }

    /// Follows a record that has changed, over the bounds where it must.
    pub(super) fn change(&self, id: Id, scope: &[u8; 16], before: Account, after: Account) {
        self.moved(id, scope, before.expires, after.expires);
        if after.bytes > before.bytes {
            self.gauges
                .bytes
                .fetch_add(after.bytes - before.bytes, Ordering::Relaxed);
        } else if after.bytes < before.bytes {
            self.give_bytes(before.bytes - after.bytes);
        }
    }

    /// Takes bytes, unless there would be too many in all.
    pub(super) fn take_bytes(&self, bytes: usize) -> bool {
        take(&self.gauges.bytes, bytes, self.max_bytes)
    }

    pub(super) fn give_bytes(&self, bytes: usize) {
        self.gauges.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

fn take(gauge: &AtomicUsize, amount: usize, most: usize) -> bool {
    let taken = |now: usize| now.checked_add(amount).filter(|sum| *sum <= most);
    gauge
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken)
        .is_ok()
}
