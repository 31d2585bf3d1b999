//! Which records are due, so that their memory is freed without a search.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::mem;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::clock::Moment;
use super::id::Id;

/// Records in the order in which they expire, to the second.
///
/// It serves to free memory only: whether a record has expired is read from the record itself, to
/// the nanosecond.
pub(super) struct Expiry {
    stripes: [Mutex<Queue>; STRIPES],
    /// The second of the first of each stripe, written under its lock: what nobody waits for to see that nothing is due.
    seconds: [AtomicU32; STRIPES],
}

const STRIPES: usize = 64;

/// Up to so many records are dropped when one is made.
const AT_ONCE: usize = 2;

/// Records that are due.
pub(super) type SomeDue = [Option<Id>; AT_ONCE];

impl Expiry {
    pub(super) fn new() -> Self {
        Self {
            stripes: [const { Mutex::new(Queue::new()) }; STRIPES],
            seconds: [const { AtomicU32::new(Due::NEVER) }; STRIPES],
        }
    }

    /// Adds a record and says which of its stripe are due.
    pub(super) fn insert(&self, id: Id, expires: Moment, now: Moment) -> SomeDue {
        self.visit(id, |queue| {
            queue.insert(Due::new(id, expires));
            queue.two(latest_due(now))
        })
    }

    pub(super) fn remove(&self, id: Id, expires: Moment) {
        self.visit(id, |queue| queue.remove(Due::new(id, expires)));
    }

    pub(super) fn change(&self, id: Id, before: Moment, after: Moment) {
        let (before, after) = (Due::new(id, before), Due::new(id, after));
        if before != after {
            self.visit(id, |queue| {
                queue.remove(before);
                queue.insert(after);
            });
        }
    }

    /// One record that is due, those of the stripe of `near` first.
    pub(super) fn first(&self, near: Id, now: Moment) -> Option<Id> {
        let latest = latest_due(now);
        let may_be_due = |second: &AtomicU32| second.load(Ordering::Relaxed) <= latest;
        // Of a full store, where mostly none is, all are looked at for every claim that it refuses.
        if !self.seconds.iter().any(may_be_due) {
            return None;
        }
        let near_first = (0..STRIPES).map(|step| (index(near) + step) % STRIPES);
        let mut stripes = near_first.filter(|stripe| may_be_due(&self.seconds[*stripe]));
        stripes.find_map(|stripe| {
            let first = self.stripe(stripe).first();
            first.filter(|due| due.second <= latest).map(|due| due.id)
        })
    }

    fn visit<R>(&self, id: Id, visit: impl FnOnce(&mut Queue) -> R) -> R {
        let stripe = index(id);
        let mut queue = self.stripe(stripe);
        let visited = visit(&mut queue);
        let second = queue.first().map_or(Due::NEVER, |due| due.second);
        let known = &self.seconds[stripe];
        // Others read it: it is written when it changes.
        if known.load(Ordering::Relaxed) != second {
            known.store(second, Ordering::Relaxed);
        }
        visited
    }

    fn stripe(&self, stripe: usize) -> MutexGuard<'_, Queue> {
        // Every change is complete, so that a panic of another thread leaves nothing half done.
        self.stripes[stripe]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn index(id: Id) -> usize {
    id as usize % STRIPES
}

/// The records of a stripe.
///
/// A heap, in which what expires last is added at the end and which takes no more than what is in it. What is removed
/// before its turn stays in it until its turn comes, or until every fourth is such.
struct Queue {
    all: Heap,
    /// Of `all`; never the first.
    removed: Heap,
}

/// The earliest comes first.
type Heap = BinaryHeap<Reverse<Due>>;

impl Queue {
    /// So many entries are made room for at least.
    const STEP: usize = 32;

    const fn new() -> Self {
        Self {
            all: BinaryHeap::new(),
            removed: BinaryHeap::new(),
        }
    }

    fn first(&self) -> Option<Due> {
        self.all.peek().map(|first| first.0)
    }

    /// The first, and one after it, which may have been removed, as far as they are due until this second.
    fn two(&self, latest: u32) -> SomeDue {
        let is_due = |due: &Due| due.second <= latest;
        let first = self.first().filter(is_due);
        // Mostly none is.
        if first.is_none() {
            return SomeDue::default();
        }
        let after = self.all.as_slice().get(1..).unwrap_or_default();
        let second = after.iter().take(2).max().map(|due| due.0).filter(is_due);
        [first, second].map(|due| due.map(|due| due.id))
    }

    fn insert(&mut self, due: Due) {
        if self.all.len() == self.all.capacity() {
            // Little by little: there is an entry for every record.
            self.all.reserve_exact(self.all.len() / 8 + Self::STEP);
        }
        self.all.push(Reverse(due));
    }

    fn remove(&mut self, due: Due) {
        self.removed.push(Reverse(due));
        while let Some(first) = self.removed.peek()
            && self.all.peek() == Some(first)
        {
            self.removed.pop();
            self.all.pop();
        }
        let (len, capacity) = (self.all.len(), self.all.capacity());
        let is_wide = len == 0 || len * 2 + 2 * Self::STEP < capacity;
        if is_wide || self.removed.len() > (len + Self::STEP) / 4 {
            self.sweep();
        }
    }

    /// Forgets what has been removed.
    fn sweep(&mut self) {
        let [mut all, mut removed] = [&mut self.all, &mut self.removed].map(|heap| {
            let mut sorted = mem::take(heap).into_vec();
            sorted.sort_unstable();
            sorted
        });
        let mut removed = removed.drain(..).peekable();
        all.retain(|due| removed.next_if_eq(due).is_none());
        let spare = if all.is_empty() { 0 } else { Self::STEP };
        all.shrink_to(all.len() + spare);
        self.all = all.into();
    }
}

/// Ordered by time. Packed: there is one for every record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(Rust, packed(4))]
struct Due {
    /// Rounded up, so that what is due has expired.
    second: u32,
    id: Id,
}

const _: () = assert!(size_of::<Due>() == 12);

impl Due {
    /// Beyond a hundred years; never due.
    const NEVER: u32 = u32::MAX;

    fn new(id: Id, expires: Moment) -> Self {
        let second = u32::try_from(expires.div_ceil(NANOSECONDS)).unwrap_or(Self::NEVER);
        Self { second, id }
    }
}

/// The latest second of what is due.
fn latest_due(now: Moment) -> u32 {
    (now / NANOSECONDS).min(u64::from(Due::NEVER) - 1) as u32
}

const NANOSECONDS: u64 = 1_000_000_000;

#[cfg(test)]
use std::collections::BTreeSet;

#[cfg(test)]
impl Expiry {
    /// Every record and the second at which it is due.
    pub(super) fn all(&self) -> BTreeSet<(Id, u32)> {
        let stripes = (0..STRIPES).flat_map(|stripe| {
            let mut queue = self.stripe(stripe);
            queue.sweep();
            queue.all.clone()
        });
        let all: Vec<_> = stripes.map(|due| (due.0.id, due.0.second)).collect();
        let set: BTreeSet<_> = all.iter().copied().collect();
        assert_eq!(set.len(), all.len(), "a record is there twice");
        set
    }

    pub(super) fn second(expires: Moment) -> u32 {
        Due::new(0, expires).second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Moment = NANOSECONDS;
    const LAST: Moment = Moment::MAX;

    #[test]
    fn what_is_due_has_expired() {
        for (expires, due) in [
            (0, 0),
            (1, SECOND),
            (SECOND, SECOND),
            (SECOND + 1, 2 * SECOND),
        ] {
            let expiry = Expiry::new();
            expiry.insert(7, expires, 0);

            assert_eq!(expiry.first(7, due), Some(7), "{expires}");
            if due > 0 {
                assert_eq!(expiry.first(7, due - 1), None, "{expires}");
            }
        }
    }

    #[test]
    fn what_expires_at_the_end_of_time_is_never_due() {
        let expiry = Expiry::new();
        expiry.insert(7, LAST, 0);

        assert_eq!(expiry.first(7, LAST), None);

        expiry.remove(7, LAST);
        assert!(expiry.all().is_empty());
    }

    #[test]
    fn the_first_is_looked_for_in_every_stripe_and_nearby_first() {
        let expiry = Expiry::new();
        expiry.insert(3, 0, 0);
        expiry.insert(5, 0, 0);

        assert_eq!(expiry.first(5, 0), Some(5));
        assert_eq!(expiry.first(4, 0), Some(5));
        assert_eq!(expiry.first(6, 0), Some(3));
        assert_eq!(expiry.first(LAST, 0), Some(3));
    }

    #[test]
    fn who_is_added_hears_of_two_that_are_due() {
        let expiry = Expiry::new();
        let ids = (0..5).map(|round| round * STRIPES as u64);

        for id in ids.clone() {
            expiry.insert(id, SECOND * (1 + id), 0);
        }

        assert_eq!(
            expiry.insert(1, LAST, LAST),
            [None, None],
            "of another stripe"
        );
        let (first, second) = (0, STRIPES as u64);
        assert_eq!(expiry.insert(6 * second, LAST, SECOND), [Some(first), None]);
        assert_eq!(
            expiry.insert(7 * second, LAST, LAST),
            [Some(first), Some(second)]
        );
        assert_eq!(expiry.all().len(), ids.count() + 3);
    }

    #[test]
    fn a_change_moves_a_record() {
        let expiry = Expiry::new();
        expiry.insert(7, SECOND, 0);

        expiry.change(7, SECOND, 3 * SECOND);
        expiry.change(7, 3 * SECOND, 3 * SECOND - 1);

        assert_eq!(expiry.all(), BTreeSet::from([(7, 3)]));
        assert_eq!(expiry.first(7, 2 * SECOND), None);
        assert_eq!(expiry.first(7, 3 * SECOND), Some(7));
    }

    /// What has been removed takes no more memory than a quarter of the rest does, and nothing at all in the end.
    #[test]
    fn what_is_removed_makes_room_before_its_turn() {
        let expiry = Expiry::new();
        let due = |id: Id| SECOND * (1 + id % 97);
        let ids = (0..10_000).map(|round| round * STRIPES as u64);
        for id in ids.clone() {
            expiry.insert(id, due(id), 0);
        }
        let taken = || {
            let queue = expiry.stripe(0);
            (queue.all.capacity(), queue.removed.len())
        };
        assert!(taken().0 < 10_000 * 9 / 8 + Queue::STEP);

        for (gone, id) in (1..).zip(ids) {
            expiry.remove(id, due(id));

            let left = 10_000 - gone;
            let (all, removed) = taken();
            assert!(
                all <= left * 3 + 3 * Queue::STEP && removed <= (left + Queue::STEP) / 2,
                "{all}, {removed} of {left}"
            );
        }
        assert_eq!(taken(), (0, 0));
    }

    #[test]
    fn what_is_removed_and_added_again_is_there_once() {
        let expiry = Expiry::new();
        expiry.insert(7, 0, 0);
        for id in 1..9 {
            expiry.insert(7 + id * STRIPES as u64, id, 0);
        }
        for _ in 0..100 {
            expiry.insert(5 * STRIPES as u64, 5 * SECOND, 0);
            expiry.remove(5 * STRIPES as u64, 5 * SECOND);
        }
        expiry.insert(7 + STRIPES as u64 * 9, SECOND, 0);

        assert_eq!(expiry.all().len(), 10);
        expiry.remove(7, 0);
        assert_eq!(expiry.first(7, SECOND), Some(7 + STRIPES as u64));
    }
}
