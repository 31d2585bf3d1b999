//! How long things take while an obligation is examined.

use std::time::Duration;

/// The times of one examination, on a clock that stands still or on a real one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// Of a claim, where nothing else is said.
    pub(super) lease: Duration,
    /// Of a record, where nothing else is said: nobody waits for its end.
    pub(super) retention: Duration,
    /// A small part of the lease.
    pub(super) second: Duration,
    /// So long before its end, a lease or a record must still be there.
    pub(super) before: Duration,
    /// So long after its end, it must be over.
    pub(super) after: Duration,
    /// How far from what is expected a duration may be.
    pub(super) tolerance: Duration,
    /// How long store and machine may take for everything but waiting, if times are to mean something.
    pub(super) slack: Duration,
    /// Whether time passes only where an obligation says so.
    pub(super) stands_still: bool,
}

impl Times {
    /// For a store that follows tokio's clock, which is paused. Stores may round to milliseconds.
    pub(super) const PAUSED: Self = Self {
        lease: Duration::from_secs(30),
        retention: Duration::from_secs(60 * 60),
        second: Duration::from_secs(1),
        before: Duration::from_millis(2),
        after: Duration::from_millis(1),
        tolerance: Duration::from_millis(1),
        slack: Duration::ZERO,
        stands_still: true,
    };

    /// For a store that follows tokio's clock, and sleeps by it.
    pub(super) const SLEEPY: Self = Self {
        stands_still: true,
        ..Self::real(50)
    };

    /// For claims on many threads, which never wait for a lease to end.
    pub(super) const THREADS: Self = Self {
        stands_still: false,
        ..Self::PAUSED
    };

    /// For a store with a clock of its own: short, and longer where machine or store are slow.
    pub(super) const REAL: [Self; 4] = [Self::real(1), Self::real(2), Self::real(4), Self::real(8)];

    const fn real(patience: u64) -> Self {
        Self {
            lease: Duration::from_millis(600 * patience),
            retention: Self::PAUSED.retention,
            second: Duration::from_millis(100 * patience),
            before: Duration::from_millis(100 * patience),
            after: Duration::from_millis(20 * patience),
            tolerance: Duration::from_millis(75 * patience),
            slack: Duration::from_millis(50 * patience),
            stands_still: false,
        }
    }
}
