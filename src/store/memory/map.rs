//! The slots of a store, each looked at under the lock of its shard.

use dashmap::{DashMap, Entry};

use super::id::{BuildIdHasher, Id};
use super::slot::Slot;

/// Where the slots are. What it is handed runs under the lock of a shard: it looks at one slot and wakes nobody.
///
/// The records are generic over it: their tests run them with the [lock](crate::lock) of a scheduler.
pub(super) trait Map {
    /// Looks at a slot.
    fn look<R>(&self, id: Id, look: impl FnOnce(&Slot) -> R) -> Option<R>;

    /// Changes a slot.
    fn change<R>(&self, id: Id, change: impl FnOnce(&mut Slot) -> R) -> Option<R>;

    /// Changes a slot, or makes it where there is none.
    fn change_or_make<T, E>(
        &self,
        id: Id,
        change: impl FnOnce(&mut Slot) -> Result<T, E>,
        make: impl FnOnce() -> Result<(Slot, T), E>,
    ) -> Result<T, E>;

    /// Takes a slot out if it goes.
    fn take_if(&self, id: Id, goes: impl FnOnce(&Slot) -> bool) -> Option<Slot>;

    /// Which slots are such, one after the other.
    fn ids(&self, such: impl Fn(&Slot) -> bool) -> Vec<Id>;
}

/// By 64 bits of the key, to keep the map small; a slot knows the rest of it. The odds that any two of a million keys
/// meet are one to 37 million; the later one then finds the store full.
///
/// Of so many shards that none takes long to grow. Tables double, all about the same time: those of a power of two of
/// shards are half empty at a million records, the default bound; those of five times 64 are then full to three quarters.
pub(super) struct Shards([DashMap<Id, Slot, BuildIdHasher>; 5]);

impl Shards {
    pub(super) fn new() -> Self {
        Self([(); 5].map(|()| DashMap::with_hasher_and_shard_amount(BuildIdHasher::default(), 64)))
    }

    fn of(&self, id: Id) -> &DashMap<Id, Slot, BuildIdHasher> {
        let [.., last] = &self.0;
        self.0.get((id % 5) as usize).unwrap_or(last)
    }
}

impl Map for Shards {
    fn look<R>(&self, id: Id, look: impl FnOnce(&Slot) -> R) -> Option<R> {
        self.of(id).get(&id).map(|slot| look(&slot))
    }

    fn change<R>(&self, id: Id, change: impl FnOnce(&mut Slot) -> R) -> Option<R> {
        self.of(id).get_mut(&id).map(|mut slot| change(&mut slot))
    }

    fn change_or_make<T, E>(
        &self,
        id: Id,
        change: impl FnOnce(&mut Slot) -> Result<T, E>,
        make: impl FnOnce() -> Result<(Slot, T), E>,
    ) -> Result<T, E> {
        match self.of(id).entry(id) {
            Entry::Occupied(mut entry) => change(entry.get_mut()),
            Entry::Vacant(entry) => {
                let (slot, made) = make()?;
                entry.insert(slot);
                Ok(made)
            }
        }
    }

    fn take_if(&self, id: Id, goes: impl FnOnce(&Slot) -> bool) -> Option<Slot> {
        let taken = self.of(id).remove_if_mut(&id, |_, slot| goes(slot));
        taken.map(|(_, slot)| slot)
    }

    fn ids(&self, such: impl Fn(&Slot) -> bool) -> Vec<Id> {
        // Collected, because a shard is locked as long as one of its slots is looked at.
        let such = self.0.iter().flatten().filter(|slot| such(slot));
        such.map(|slot| *slot.key()).collect()
    }
}
