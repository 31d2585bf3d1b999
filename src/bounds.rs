//! What is bounded: executions, waiters, bytes. Shared by all clones of a layer.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// How much of everything there is right now.
#[derive(Default)]
pub(crate) struct Bounds {
    /// Claims that have not been settled, their connections there or gone.
    pub(crate) executions: AtomicUsize,
    /// Those of them whose connection is gone.
    pub(crate) detached: AtomicUsize,
    /// Outcomes that the store has not taken yet.
    pub(crate) unsettled: AtomicUsize,
    /// The bytes of those.
    pub(crate) unsettled_bytes: AtomicUsize,
    /// Bytes of request bodies in memory.
    pub(crate) buffered: AtomicUsize,
    /// Requests that wait for another one.
    pub(crate) waiters: AtomicUsize,
    /// Whether the store was nearly full at the last look.
    pub(crate) nearly_full: AtomicBool,
    /// Whether the store's advice has been told.
    pub(crate) has_advised: AtomicBool,
    drains: AtomicUsize,
    ended: Notify,
}

type Gauge = fn(&Bounds) -> &AtomicUsize;

impl Bounds {
    /// Takes `amount` of a gauge, until the share is dropped.
    pub(crate) fn take(self: &Arc<Self>, gauge: Gauge, amount: usize) -> Share {
        gauge(self).fetch_add(amount, Ordering::SeqCst);
        self.share(gauge, amount)
    }

    /// The same, unless there would be more than `most` of it.
    pub(crate) fn take_within(
        self: &Arc<Self>,
        gauge: Gauge,
        amount: usize,
        most: usize,
    ) -> Option<Share> {
        let within = |taken: usize| taken.checked_add(amount).filter(|taken| *taken <= most);
        // In one step: two that add first and look then refuse each other the last one.
        let taken = gauge(self).fetch_update(Ordering::SeqCst, Ordering::SeqCst, within);
        taken.is_ok().then(|| self.share(gauge, amount))
    }

    /// Takes `amount` of a gauge, until the share is dropped; as long as something else keeps the bounds.
    pub(crate) fn lend(&self, gauge: Gauge, amount: usize) -> Share<&Self> {
        let mut share = self.none(gauge);
        share.grow_within(amount, usize::MAX);
        share
    }

    /// A share of nothing, which may grow as long as something else keeps the bounds.
    pub(crate) fn none(&self, gauge: Gauge) -> Share<&Self> {
        self.handed_over(gauge, 0)
    }

    /// A share that was [handed over](Share::hand_over).
    pub(crate) fn handed_over(&self, gauge: Gauge, amount: usize) -> Share<&Self> {
        Share {
            bounds: self,
            gauge,
            amount,
        }
    }

    fn share(self: &Arc<Self>, gauge: Gauge, amount: usize) -> Share {
        Share {
            bounds: Arc::clone(self),
            gauge,
            amount,
        }
    }

    fn give(&self, gauge: Gauge, amount: usize) {
        gauge(self).fetch_sub(amount, Ordering::SeqCst);
        if self.drains.load(Ordering::SeqCst) > 0 {
            self.ended.notify_waiters();
        }
    }

    /// What a drain waits for.
    pub(crate) fn left(&self) -> usize {
        self.executions.load(Ordering::SeqCst)
    }

    /// Returns when nothing is left.
    pub(crate) async fn drained(&self) {
        self.drains.fetch_add(1, Ordering::SeqCst);
        let _drain = Decrement(&self.drains);
        loop {
            // Made before the look, so that an end in between is not missed.
            let ended = self.ended.notified();
            if self.left() == 0 {
                return;
            }
            ended.await;
        }
    }
}

impl fmt::Debug for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bounds")
            .field("left", &self.left())
            .finish_non_exhaustive()
    }
}

/// A part of a gauge, given back when dropped.
pub(crate) struct Share<B: Deref<Target = Bounds> = Arc<Bounds>> {
    bounds: B,
    gauge: Gauge,
    amount: usize,
}

impl<B: Deref<Target = Bounds>> Share<B> {
    /// Takes `amount` more; `false` when there would be more than `most` in all.
    pub(crate) fn grow_within(&mut self, amount: usize, most: usize) -> bool {
        self.amount += amount;
        let before = (self.gauge)(&self.bounds).fetch_add(amount, Ordering::SeqCst);
        before.saturating_add(amount) <= most
    }

    /// Leaves it to somebody who keeps the bounds for other reasons.
    pub(crate) fn hand_over(mut self) {
        self.amount = 0;
    }
}

impl<B: Deref<Target = Bounds>> Drop for Share<B> {
    fn drop(&mut self) {
        if self.amount > 0 {
            self.bounds.give(self.gauge, self.amount);
        }
    }
}

struct Decrement<'a>(&'a AtomicUsize);

impl Drop for Decrement<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_share_is_given_back_when_dropped_or_refused() {
        let bounds = Arc::new(Bounds::default());
        let mut share = bounds.take(|bounds| &bounds.buffered, 10);

        assert!(
            bounds
                .take_within(|bounds| &bounds.buffered, 6, 15)
                .is_none()
        );
        assert_eq!(bounds.buffered.load(Ordering::SeqCst), 10);
        assert!(share.grow_within(5, 15));
        assert!(!share.grow_within(1, 15));
        drop(share);
        assert_eq!(bounds.buffered.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn of_two_that_want_the_last_one_at_once_one_gets_it() {
        const ROUNDS: usize = 5_000;
        let (bounds, arrived) = (Arc::new(Bounds::default()), AtomicUsize::new(0));
        // Spinning, so that they are there at the same moment, unless one of them does not run at all.
        let meet = |times| {
            arrived.fetch_add(1, Ordering::SeqCst);
            let mut spins = 1_u32;
            while arrived.load(Ordering::SeqCst) < 2 * times {
                spins += 1;
                if spins.is_multiple_of(10_000) {
                    thread::yield_now();
                }
            }
        };
        let contend = || {
            (0..ROUNDS).filter(|round| {
                meet(2 * round + 1);
                let share = bounds.take_within(|bounds| &bounds.waiters, 1, 1);
                meet(2 * round + 2);
                share.is_some()
            })
        };

        let taken = thread::scope(|scope| {
            let other = scope.spawn(|| contend().count());
            contend().count() + other.join().unwrap()
        });

        assert_eq!(taken, ROUNDS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_ends_with_the_last_execution() {
        let bounds = Arc::new(Bounds::default());
        let share = bounds.take(|bounds| &bounds.executions, 1);
        let drain = tokio::spawn({
            let bounds = bounds.clone();
            async move { bounds.drained().await }
        });
        tokio::task::yield_now().await;
        assert!(!drain.is_finished());

        drop(share);

        let an_hour = std::time::Duration::from_secs(3_600);
        tokio::time::timeout(an_hour, drain).await.unwrap().unwrap();
        assert_eq!(bounds.drains.load(Ordering::SeqCst), 0);
    }
}
