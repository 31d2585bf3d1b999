//! Records in memory, and until when they are those of the store.

use std::hash::RandomState;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};
use tokio::time::Instant;

use crate::key::RecordKey;
use crate::lock::Lock;
use crate::store::claim::{Claim, Record, State};

#[cfg(test)]
mod explored;

/// Completed records, by what the store has answered.
pub(super) struct Kept<L = Mutex<u64>> {
    records: Cache<RecordKey, Arc<Entry>, Bytewise, RandomState>,
    /// How many deletions have begun or ended. Under its lock an answer is kept, and only if the number is the one at
    /// which it was asked for: so what a deletion drops afterwards is all that was read before.
    deletions: L,
    largest: usize,
    pub(super) max_staleness: Duration,
}

struct Entry {
    record: Record,
    /// When the store was asked for it.
    asked: Instant,
    bytes: usize,
}

/// When the store was asked for a record, and after how many deletions.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    at: Instant,
    deletions: u64,
}

/// What is deleted from the store.
#[derive(Clone, Copy)]
pub(super) enum Deleted<'a> {
    Record(&'a RecordKey),
    Scope(&'a [u8; 16]),
}

/// A deletion on its way, however it ends.
pub(super) struct Deletion<'a, L: Lock<u64>> {
    kept: &'a Kept<L>,
    deleted: Deleted<'a>,
}

/// Each with a lock and an equal part of the room; more of them would leave no room for large records.
const SHARDS: usize = 16;

/// What part of the room one record may take: it fits into half a shard.
const LARGEST: usize = 2 * SHARDS;

impl<L: Lock<u64> + Default> Kept<L> {
    pub(super) fn new(max_bytes: usize, max_staleness: Duration) -> Self {
        let options = OptionsBuilder::new()
            .shards(SHARDS)
            .weight_capacity(max_bytes as u64)
            // By which small rooms have fewer shards.
            .estimated_items_capacity(max_bytes / 1_024)
            // What comes again comes soon, so that half of the room is for the newest.
            .hot_allocation(0.5)
            // No memory for the names of what has gone.
            .ghost_allocation(0.0)
            .build()
            .expect("both capacities are set");
        let lifecycle = DefaultLifecycle::default();
        Self {
            records: Cache::with_options(options, Bytewise, RandomState::new(), lifecycle),
            deletions: L::default(),
            largest: max_bytes / LARGEST,
            max_staleness,
        }
    }
}

impl<L: Lock<u64>> Kept<L> {
    /// The record as the store would show it now, if it is kept and not too old.
    pub(super) fn get(&self, key: &RecordKey) -> Option<Record> {
        let entry = self.records.get(key)?;
        let record = &entry.record;
        let elapsed = entry.asked.elapsed();
        if elapsed >= record.remaining().min(self.max_staleness) {
            return None;
        }
        let age = record.since_first_request().saturating_add(elapsed);
        let expires_in = record.remaining().saturating_sub(elapsed);
        Some(record.clone().age(age).expires_in(expires_in))
    }

    /// To be called before the store is asked.
    pub(super) fn ask(&self) -> Asked {
        let deletions = self.deletions.with(|deletions| *deletions);
        let at = Instant::now();
        Asked { at, deletions }
    }

    /// Keeps a completed record, unless something was deleted since the store was asked. Any other answer contradicts what
    /// is kept of this key, if anything.
    pub(super) fn learn(&self, key: &RecordKey, asked: Asked, claim: &Claim) {
        let Some(entry) = self.entry(claim, asked.at) else {
            self.records.remove(key);
            return;
        };
        self.deletions.with(|deletions| {
            // Answers may come in another order than they were given.
            let fence = entry.record.fence();
            if self.get(key).is_some_and(|kept| kept.fence() > fence) {
                return;
            }
            if *deletions == asked.deletions {
                self.records.insert(*key, Arc::new(entry));
            } else {
                self.records.remove(key);
            }
        });
    }

    /// Of a completed record that may be kept. Its payload is copied: it may be part of a larger buffer, of all that the
    /// store has sent for one.
    fn entry(&self, claim: &Claim, asked: Instant) -> Option<Entry> {
        let Claim::Existing(record) = claim else {
            return None;
        };
        let State::Completed { payload } = record.state() else {
            return None;
        };
        let bytes = payload.len().saturating_add(Entry::HEAD);
        // A store need not say when a record expires.
        if bytes > self.largest || record.remaining().is_zero() {
            return None;
        }
        let payload = Bytes::copy_from_slice(payload);
        let state = State::Completed { payload };
        let record = Record::new(
            *record.fingerprint(),
            record.fence(),
            record.attempt(),
            state,
        )
        .committed(record.is_committed())
        .age(record.since_first_request())
        .expires_in(record.remaining());
        Some(Entry {
            record,
            asked,
            bytes,
        })
    }

    /// Drops what is deleted from the store, now and when the deletion has ended: who asks the store meanwhile may still
    /// read it.
    pub(super) fn deletion<'a>(&'a self, deleted: Deleted<'a>) -> Deletion<'a, L> {
        self.delete(deleted);
        let kept = self;
        Deletion { kept, deleted }
    }

    fn delete(&self, deleted: Deleted<'_>) {
        self.deletions.with(|deletions| *deletions += 1);
        match deleted {
            Deleted::Record(key) => {
                self.records.remove(key);
            }
            Deleted::Scope(scope) => self.records.retain(|key, _| key.scope() != scope),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn bytes(&self) -> usize {
        usize::try_from(self.records.weight()).unwrap_or(usize::MAX)
    }
}

impl<L: Lock<u64>> Drop for Deletion<'_, L> {
    fn drop(&mut self) {
        self.kept.delete(self.deleted);
    }
}

impl Entry {
    /// Bytes of memory without the payload: the slot (72 to 144, by how far its shard has grown), the slot's place in the
    /// map (6 to 12), the record and what the allocator adds.
    const HEAD: usize = 400;
}

/// Counts bytes.
#[derive(Clone)]
struct Bytewise;

impl Weighter<RecordKey, Arc<Entry>> for Bytewise {
    fn weight(&self, _: &RecordKey, entry: &Arc<Entry>) -> u64 {
        entry.bytes as u64
    }
}
