//! Which records are due, so that their memory is freed without a search.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::clock::Moment;
use super::id::Id;

/// Records in the order in which they expire, to the second.
///
/// It serves to free memory only: whether a record has expired is read from the record itself, to
/// the nanosecond.
pub(super) struct Expiry {
    stripes: [Mutex<BTreeSet<Due>>; STRIPES],
}

const STRIPES: usize = 64;

/// Up to so many records are dropped when one is made.
const AT_ONCE: usize = 2;

/// Records that are due.
pub(super) type SomeDue = [Option<Id>; AT_ONCE];

impl Expiry {
    pub(super) fn new() -> Self {
        Self {
            stripes: [const { Mutex::new(BTreeSet::new()) }; STRIPES],
        }
    }

    /// Adds a record and says which of its stripe are due.
    pub(super) fn insert(&self, id: Id, expires: Moment, now: Moment) -> SomeDue {
        let mut stripe = self.stripe(id);
        stripe.insert(Due::new(id, expires));
        let mut due = stripe
            .iter()
            .take_while(|due| due.is_at(now))
            .map(|due| due.id);
        [(); AT_ONCE].map(|()| due.next())
    }

    pub(super) fn remove(&self, id: Id, expires: Moment) {
        self.stripe(id).remove(&Due::new(id, expires));
    }

    pub(super) fn change(&self, id: Id, before: Moment, after: Moment) {
        let (before, after) = (Due::new(id, before), Due::new(id, after));
        if before != after {
            let mut stripe = self.stripe(id);
            stripe.remove(&before);
            stripe.insert(after);
        }
    }

    /// One record that is due, those of the stripe of `near` first.
    pub(super) fn first(&self, near: Id, now: Moment) -> Option<Id> {
        (0..STRIPES as u64).find_map(|step| {
            let stripe = self.stripe(near.wrapping_add(step));
            stripe
                .first()
                .filter(|due| due.is_at(now))
                .map(|due| due.id)
        })
    }

    fn stripe(&self, id: Id) -> MutexGuard<'_, BTreeSet<Due>> {
        // Every change is complete, so that a panic of another thread leaves nothing half done.
        self.stripes[id as usize % STRIPES]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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

    fn is_at(&self, now: Moment) -> bool {
        self.second != Self::NEVER && u64::from(self.second) <= now / NANOSECONDS
    }
}

const NANOSECONDS: u64 = 1_000_000_000;

#[cfg(test)]
impl Expiry {
    /// Every record and the second at which it is due.
    pub(super) fn all(&self) -> BTreeSet<(Id, u32)> {
        let stripes = (0..STRIPES as u64).map(|stripe| self.stripe(stripe).clone());
        stripes.flatten().map(|due| (due.id, due.second)).collect()
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
}
