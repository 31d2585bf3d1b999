//! The owner's view of its lease: when it ends at the latest, and whether the handler has committed itself.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::clock;
use crate::entrusted::Entrusted;

/// A lease, seen from the process that holds it.
///
/// Its deadline is measured from before a claim or renewal was sent, so that it lies before the store's own.
#[derive(Debug)]
pub(crate) struct Lease {
    length: Duration,
    claimed_at: Instant,
    /// Nanoseconds from `claimed_at`.
    ends_at: AtomicU64,
    lost: AtomicBool,
    /// Decided once: whether the handler has committed itself, or its key is freed.
    committed: OnceLock<bool>,
    confirmed: AtomicBool,
    told: AtomicBool,
    /// Whether a transaction of the handler's ends the record.
    pub(crate) entrusted: Entrusted,
    signal: Notify,
}

impl Lease {
    /// A lease claimed at `claimed_at`, of which the store said that so much was left.
    pub(crate) fn new(length: Duration, claimed_at: Instant, left: Duration) -> Self {
        let length = length.min(clock::FOREVER);
        Self {
            length,
            claimed_at,
            ends_at: AtomicU64::new(as_nanos(length.min(left))),
            lost: AtomicBool::new(false),
            committed: OnceLock::new(),
            confirmed: AtomicBool::new(false),
            told: AtomicBool::new(false),
            entrusted: Entrusted::default(),
            signal: Notify::new(),
        }
    }

    pub(crate) fn length(&self) -> Duration {
        self.length
    }

    pub(crate) fn claimed_at(&self) -> Instant {
        self.claimed_at
    }

    /// When to renew: with two thirds of the lease left.
    pub(crate) fn renew_at(&self) -> Instant {
        let margin = self.length - self.length / 3;
        self.ends_at()
            .checked_sub(margin)
            .unwrap_or(self.claimed_at)
    }

    /// Whether less than a third is left.
    pub(crate) fn is_short(&self) -> bool {
        clock::later(Instant::now(), self.length / 3) > self.ends_at()
    }

    /// A renewal that was sent at `sent_at` has been applied.
    pub(crate) fn renewed(&self, sent_at: Instant, committed: bool) {
        if committed {
            self.confirmed.store(true, Ordering::Release);
        }
        // A signal that has been raised stays raised.
        if !self.is_lost() {
            let sent_at = sent_at.saturating_duration_since(self.claimed_at);
            let ends_at = as_nanos(sent_at.saturating_add(self.length));
            self.ends_at.fetch_max(ends_at, Ordering::AcqRel);
        }
    }

    /// Raises the signal.
    pub(crate) fn lose(&self) {
        self.lost.store(true, Ordering::Release);
        self.signal.notify_waiters();
    }

    /// Whether another attempt may own the record by now. Once true, it stays so.
    pub(crate) fn is_lost(&self) -> bool {
        if Instant::now() >= self.ends_at() {
            self.lost.store(true, Ordering::Release);
        }
        self.lost.load(Ordering::Acquire)
    }

    /// Whether nobody has told of the loss yet.
    pub(crate) fn is_first_to_tell(&self) -> bool {
        !self.told.swap(true, Ordering::Relaxed)
    }

    /// Returns when the lease is lost.
    pub(crate) async fn lost(&self) {
        loop {
            let signal = self.signal.notified();
            if self.is_lost() {
                return;
            }
            // In order: which comes first must not be drawn, or a test with a seed would not replay.
            tokio::select! {
                biased;
                () = signal => {}
                () = clock::sleep_until(self.ends_at()) => {}
            }
        }
    }

    /// The handler passes its point of no return, whether the store hears of it or not; `false` where its key is being
    /// freed.
    pub(crate) fn commit(&self) -> bool {
        *self.committed.get_or_init(|| true)
    }

    /// The key is freed, and no handler commits itself any more; `false` where one has.
    pub(crate) fn free(&self) -> bool {
        !*self.committed.get_or_init(|| false)
    }

    pub(crate) fn is_committed(&self) -> bool {
        self.committed.get() == Some(&true)
    }

    /// Whether the store has to be told of the commitment.
    pub(crate) fn is_unconfirmed(&self) -> bool {
        self.is_committed() && !self.confirmed.load(Ordering::Acquire)
    }

    fn ends_at(&self) -> Instant {
        let ends_at = Duration::from_nanos(self.ends_at.load(Ordering::Acquire));
        clock::later(self.claimed_at, ends_at)
    }
}

fn as_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_lost_on_time_and_stays_lost() {
        let lease = Lease::new(LEASE, Instant::now(), LEASE);

        tokio::time::advance(LEASE - Duration::from_millis(1)).await;
        assert!(!lease.is_lost());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(lease.is_lost());
        lease.renewed(Instant::now(), false);
        assert!(lease.is_lost());
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_counts_from_when_it_was_sent() {
        let lease = Lease::new(LEASE, Instant::now(), LEASE);
        let start = Instant::now();
        tokio::time::advance(LEASE / 3).await;
        let sent_at = Instant::now();
        tokio::time::advance(Duration::from_secs(5)).await;

        lease.renewed(sent_at, false);
        lease.lost().await;

        assert_eq!(start.elapsed(), LEASE / 3 + LEASE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_of_which_little_is_left_ends_early() {
        let lease = Lease::new(LEASE, Instant::now(), Duration::from_secs(2));
        let start = Instant::now();

        lease.lost().await;

        assert_eq!(start.elapsed(), Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_short_below_a_third() {
        for (left, short) in [
            (LEASE, false),
            (LEASE / 3, false),
            (LEASE / 3 - Duration::from_millis(1), true),
        ] {
            assert_eq!(
                Lease::new(LEASE, Instant::now(), left).is_short(),
                short,
                "{left:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_signal_reaches_whoever_waits() {
        let lease = std::sync::Arc::new(Lease::new(LEASE, Instant::now(), LEASE));
        let waiting = tokio::spawn({
            let lease = lease.clone();
            async move { lease.lost().await }
        });
        tokio::task::yield_now().await;

        lease.lose();

        waiting.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_handler_commits_itself_or_its_key_is_freed() {
        let [first, second] = [(); 2].map(|()| Lease::new(LEASE, Instant::now(), LEASE));

        assert!(first.commit() && !first.free() && first.commit() && first.is_committed());
        assert!(second.free() && !second.commit() && second.free() && !second.is_committed());
    }
}
