//! The life of a record, in the orders in which its requests can come to it; see [`lock`](crate::lock).

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;

use shuttle::future::{block_on, spawn};
use shuttle::rand::{Rng, thread_rng};
use shuttle::thread::{self, JoinHandle};

use super::checked::Checked;
use super::visitor::{KEY, LIFE, Visitor, completed, visited};
use super::*;
use crate::explore::{Step, exhaust, explore, fault_of, step};
use crate::lock::Lock;
use crate::store::claim::State;
use crate::store::memory::id::BuildIdHasher;

type Slots = HashMap<Id, Slot, BuildIdHasher>;

/// A map with one lock around it all.
#[derive(Default)]
struct Locked<L>(L);

impl<L: Lock<Slots>> Map for Locked<L> {
    fn look<R>(&self, id: Id, look: impl FnOnce(&Slot) -> R) -> Option<R> {
        self.0.with(|slots| slots.get(&id).map(look))
    }

    fn change<R>(&self, id: Id, change: impl FnOnce(&mut Slot) -> R) -> Option<R> {
        self.0.with(|slots| slots.get_mut(&id).map(change))
    }

    fn change_or_make<T, E>(
        &self,
        id: Id,
        change: impl FnOnce(&mut Slot) -> Result<T, E>,
        make: impl FnOnce() -> Result<(Slot, T), E>,
    ) -> Result<T, E> {
        self.0.with(|slots| match slots.get_mut(&id) {
            Some(slot) => change(slot),
            None => {
                let (slot, made) = make()?;
                slots.insert(id, slot);
                Ok(made)
            }
        })
    }

    fn take_if(&self, id: Id, goes: impl FnOnce(&Slot) -> bool) -> Option<Slot> {
        self.0.with(|slots| {
            let goes = slots.get(&id).is_some_and(goes);
            if goes { slots.remove(&id) } else { None }
        })
    }

    fn ids(&self, such: impl Fn(&Slot) -> bool) -> Vec<Id> {
        self.0.with(|slots| {
            let such = slots.iter().filter(|(_, slot)| such(slot));
            such.map(|(id, _)| *id).collect()
        })
    }
}

/// Visitors of one record do whatever they like with it.
fn whatever_happens<M: Map + Default + Send + Sync + 'static>() {
    let time = Arc::default();
    let records = Arc::new(visited(M::default(), &time));
    let visitors = [(); 3].map(|()| {
        let (records, time) = (Arc::clone(&records), Arc::clone(&time));
        thread::spawn(move || {
            let mut visitor = Visitor::of(KEY);
            for _ in 0..6 {
                visitor.acts(&records, &time, thread_rng().r#gen());
            }
        })
    });
    for visitor in visitors {
        visitor.join().unwrap();
    }
    audit(&records);
    records.slots.check_all();
}

#[test]
fn a_record_has_one_owner_at_a_time_whatever_happens() {
    explore(3_000, whatever_happens::<Locked<shuttle::sync::Mutex<_>>>);
}

/// Records of which one has an owner.
struct World<L> {
    records: Records<Checked<Locked<L>>>,
    time: Arc<AtomicU64>,
    owner: Owner,
    /// Whether some owner has completed the record.
    completed: AtomicBool,
}

impl<L: Lock<Slots> + Default + Send + Sync + 'static> World<L> {
    fn new() -> Arc<Self> {
        let time = Arc::default();
        let (records, request) = (visited(Locked::default(), &time), request(KEY, LIFE));
        let owner = owner_of(&records.claim(&request, 0), &request).unwrap();
        Arc::new(Self {
            records,
            time,
            owner,
            completed: AtomicBool::new(false),
        })
    }

    fn now(&self) -> Moment {
        self.time.load(Ordering::Relaxed)
    }

    fn pass(&self, time: Duration) {
        let nanoseconds = time.as_nanos() as u64;
        self.time.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    fn claim(&self) -> Option<Owner> {
        let request = request(KEY, LIFE);
        owner_of(&self.records.claim(&request, self.now()), &request)
    }

    fn complete(&self, owner: &Owner) {
        let completed = completed(owner.fence());
        let settled = self.records.complete(owner, &completed, self.now());
        if matches!(settled, Settled::Applied | Settled::Tombstoned) {
            self.completed.store(true, Ordering::Relaxed);
        }
    }

    fn is_completed(&self) -> bool {
        let record = self.records.inspect(&KEY, self.now());
        record.is_some_and(|record| matches!(record.state(), State::Completed { .. }))
    }

    /// A thread that does this.
    fn starts(self: &Arc<Self>, act: Act) -> JoinHandle<()> {
        let world = Arc::clone(self);
        thread::spawn(move || {
            step();
            act.run(&world);
        })
    }
}

/// What a thread does to the record.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Complete,
    Abandon,
    Release,
    Commit,
    Claim,
    ClaimAndComplete,
    /// Claims when the lease is over.
    Outlive,
    Forget,
    Erase,
}

impl Act {
    fn run<L>(self, world: &World<L>)
    where
        L: Lock<Slots> + Default + Send + Sync + 'static,
    {
        let (records, owner, now) = (&world.records, &world.owner, world.now());
        match self {
            Self::Complete => world.complete(owner),
            Self::Abandon => _ = records.abandon(owner, now),
            Self::Release => _ = records.release(owner, now),
            Self::Commit => _ = records.renew(owner, SECOND * 2, true, now),
            Self::Claim => _ = world.claim(),
            Self::ClaimAndComplete => {
                if let Some(owner) = world.claim() {
                    world.complete(&owner);
                }
            }
            Self::Outlive => {
                world.pass(SECOND * 2);
                world.claim();
            }
            Self::Forget => _ = records.forget(&KEY, true, now),
            Self::Erase => _ = records.erase_scope(KEY.scope(), now),
        }
    }
}

/// Threads come at once to a record of this age in seconds.
fn come_at_once<const N: usize>(age: u32, acts: [Act; N]) {
    exhaust(move || {
        let world = World::<Step<_>>::new();
        world.pass(SECOND * age);
        for thread in acts.map(|act| world.starts(act)) {
            thread.join().unwrap();
        }
        let is_kept = world.now() < LIFE.as_nanos() as u64 && !acts.contains(&Act::Forget);
        if is_kept {
            let was_completed = world.completed.load(Ordering::Relaxed);
            assert_eq!(world.is_completed(), was_completed, "an outcome is lost");
        }
        world.records.slots.check_so_far();
        audit(&world.records);
    });
}

#[test]
fn of_any_who_come_at_once_none_undoes_what_another_did() {
    let acts = [
        Act::Complete,
        Act::Abandon,
        Act::Release,
        Act::Commit,
        Act::Claim,
        Act::Forget,
    ];
    for (one, act) in acts.into_iter().enumerate() {
        // Its owner lives, or is presumed lost.
        for age in [0, 2] {
            come_at_once(age, [act, Act::ClaimAndComplete, Act::Outlive]);
        }
        for (two, other) in acts.into_iter().enumerate().skip(one) {
            for third in acts.into_iter().skip(two + usize::from(one == two)) {
                // Or it has expired.
                for age in [0, 2, 5] {
                    come_at_once(age, [act, other, third]);
                }
            }
        }
    }
}

/// Some wait for an owner, who ends like this.
fn hear_of_the_end<L: Lock<Slots> + Default + Send + Sync + 'static>(end: Act) {
    let world = World::<L>::new();
    let waiting = [(); 2].map(|()| {
        let world = Arc::clone(&world);
        spawn(async move {
            let (time, fence) = (Arc::clone(&world.time), world.owner.fence());
            let now = move || Duration::from_nanos(time.load(Ordering::Relaxed));
            let (clock, at_most) = (Clock::custom(now), clock::FOREVER);
            world.records.settled(&KEY, fence, &clock, at_most).await;
            let left = world.records.lease_left(&KEY, fence, world.now());
            assert_eq!(left, None);
        })
    });
    let end = world.starts(end);
    for waiting in waiting {
        block_on(waiting).unwrap();
    }
    end.join().unwrap();
}

#[test]
fn whoever_waits_hears_of_the_end_however_it_comes() {
    for end in [
        Act::Complete,
        Act::Abandon,
        Act::Release,
        Act::Outlive,
        Act::Forget,
        Act::Erase,
    ] {
        exhaust(move || hear_of_the_end::<Step<_>>(end));
        explore(500, move || hear_of_the_end::<shuttle::sync::Mutex<_>>(end));
    }
}

/// A map that looks for a slot in one step and makes it in another.
#[derive(Default)]
struct Torn(Locked<Step<Slots>>);

impl Map for Torn {
    fn look<R>(&self, id: Id, look: impl FnOnce(&Slot) -> R) -> Option<R> {
        self.0.look(id, look)
    }

    fn change<R>(&self, id: Id, change: impl FnOnce(&mut Slot) -> R) -> Option<R> {
        self.0.change(id, change)
    }

    fn change_or_make<T, E>(
        &self,
        id: Id,
        change: impl FnOnce(&mut Slot) -> Result<T, E>,
        make: impl FnOnce() -> Result<(Slot, T), E>,
    ) -> Result<T, E> {
        if let Some(changed) = self.0.change(id, change) {
            return changed;
        }
        let (slot, made) = make()?;
        self.0.0.with(|slots| slots.insert(id, slot));
        Ok(made)
    }

    fn take_if(&self, id: Id, goes: impl FnOnce(&Slot) -> bool) -> Option<Slot> {
        self.0.take_if(id, goes)
    }

    fn ids(&self, such: impl Fn(&Slot) -> bool) -> Vec<Id> {
        self.0.ids(such)
    }
}

/// What the tests above are worth: they notice a lock that does not hold.
#[test]
fn a_claim_in_two_steps_is_noticed() {
    fault_of(whatever_happens::<Torn>);
}
