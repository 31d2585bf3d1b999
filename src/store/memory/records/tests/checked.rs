//! What must hold of every change to a record, whoever makes it.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicI64;

use super::*;
use crate::lock::Lock;
use crate::store::claim::State;

/// A map that checks every change while nobody else can make one.
pub(super) struct Checked<M> {
    pub(super) map: M,
    time: Arc<AtomicU64>,
    /// The latest fence of each record, those included that are gone.
    fences: Mutex<HashMap<Id, Fence>>,
    fault: Mutex<Option<String>>,
    /// How many owners have lost their record while they lived, less those that were meant to.
    taken: AtomicI64,
}

impl<M> Checked<M> {
    pub(super) fn new(map: M, time: &Arc<AtomicU64>) -> Self {
        Self {
            map,
            time: Arc::clone(time),
            fences: Mutex::default(),
            fault: Mutex::default(),
            taken: AtomicI64::default(),
        }
    }

    /// The latest fence that anybody has seen.
    pub(super) fn fence(&self, id: Id) -> Fence {
        let none = Fence::new(0);
        self.fences.with(|fences| *fences.entry(id).or_insert(none))
    }

    /// Notes whether the record of an owner that may live was to be taken.
    pub(super) fn takes(&self, is_meant: bool) {
        self.taken.fetch_sub(i64::from(is_meant), Ordering::Relaxed);
    }

    /// Fails if anything was wrong so far.
    pub(super) fn check_so_far(&self) {
        let fault = self.fault.with(|fault| fault.clone());
        assert_eq!(fault, None);
    }

    /// Fails if anything was wrong at all.
    pub(super) fn check_all(&self) {
        self.check_so_far();
        let taken = self.taken.load(Ordering::Relaxed);
        assert!(taken <= 0, "{taken} owners have lost their records");
    }

    fn record(&self, slot: &Slot) -> Record {
        slot.record(self.time.load(Ordering::Relaxed))
    }

    /// Checks what has become of a record. A fault is told by the next visit: nobody panics under a lock.
    fn check(&self, id: Id, before: Option<&Record>, slot: &Slot) {
        let after = self.record(slot);
        let fault = match before {
            None => fault_of_new(&after, self.fence(id)),
            Some(before) if before.fence() == after.fence() => fault_of_change(before, &after),
            Some(before) => fault_of_succession(before, &after, self.fence(id)),
        };
        if let Some(fault) = fault {
            let fault = format!("{fault}: from {before:?} to {after:?}");
            self.fault.with(|first| first.get_or_insert(fault).clone());
        }
        self.fences.with(|fences| fences.insert(id, after.fence()));
    }
}

fn fault_of_new(after: &Record, latest: Fence) -> Option<&'static str> {
    let is_first = after.attempt() == 1 && !after.is_committed();
    let rules = [
        (after.fence() > latest, "its fence is behind"),
        (is_first && is_in_flight(after), "it is not new"),
    ];
    first_broken(&rules)
}

fn fault_of_change(before: &Record, after: &Record) -> Option<&'static str> {
    let outcome = match (before.state(), after.state()) {
        (State::Completed { payload: before }, State::Completed { payload }) => before == payload,
        (State::Completed { .. }, _) => false,
        (_, State::Completed { payload }) => payload.starts_with(&mark_of(after.fence())),
        _ => true,
    };
    let rules = [
        (outcome, "an outcome is lost, or of another owner"),
        (
            after.attempt() == before.attempt(),
            "its attempt has changed",
        ),
        (
            after.is_committed() >= before.is_committed(),
            "its mark is lost",
        ),
    ];
    first_broken(&rules)
}

fn fault_of_succession(before: &Record, after: &Record, latest: Fence) -> Option<&'static str> {
    let rules = [
        (after.fence() > latest, "its fence is behind"),
        (!before.is_live(), "an owner is succeeded while it lives"),
        (is_in_flight(before), "an outcome is lost"),
        (is_in_flight(after), "it begins at its end"),
        (
            after.attempt() == before.attempt() + 1,
            "its attempts do not count up",
        ),
        (
            after.is_committed() == before.is_committed(),
            "its mark has changed",
        ),
    ];
    first_broken(&rules)
}

fn is_in_flight(record: &Record) -> bool {
    matches!(record.state(), State::InFlight { .. })
}

fn first_broken(rules: &[(bool, &'static str)]) -> Option<&'static str> {
    let mut broken = rules.iter().filter(|(holds, _)| !holds);
    broken.next().map(|(_, fault)| *fault)
}

/// What an outcome of the owner with this fence begins with.
pub(super) fn mark_of(fence: Fence) -> [u8; 8] {
    fence.get().to_le_bytes()
}

impl<M: Map> Map for Checked<M> {
    fn look<R>(&self, id: Id, look: impl FnOnce(&Slot) -> R) -> Option<R> {
        self.map.look(id, look)
    }

    fn change<R>(&self, id: Id, change: impl FnOnce(&mut Slot) -> R) -> Option<R> {
        self.map.change(id, |slot| {
            let before = self.record(slot);
            let changed = change(slot);
            self.check(id, Some(&before), slot);
            changed
        })
    }

    fn change_or_make<T, E>(
        &self,
        id: Id,
        change: impl FnOnce(&mut Slot) -> Result<T, E>,
        make: impl FnOnce() -> Result<(Slot, T), E>,
    ) -> Result<T, E> {
        let change = |slot: &mut Slot| {
            let before = self.record(slot);
            let changed = change(slot);
            self.check(id, Some(&before), slot);
            changed
        };
        let make = || {
            let (slot, made) = make()?;
            self.check(id, None, &slot);
            Ok((slot, made))
        };
        self.map.change_or_make(id, change, make)
    }

    fn take_if(&self, id: Id, goes: impl FnOnce(&Slot) -> bool) -> Option<Slot> {
        self.map.take_if(id, |slot| {
            let goes = goes(slot);
            let is_taken = goes && self.record(slot).is_live();
            self.taken.fetch_add(i64::from(is_taken), Ordering::Relaxed);
            goes
        })
    }

    fn ids(&self, such: impl Fn(&Slot) -> bool) -> Vec<Id> {
        self.map.ids(such)
    }
}
