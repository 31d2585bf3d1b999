//! The pauses of one that looks again and again, with no connection held meanwhile.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::{Instant, sleep};

const FIRST_STEP: Duration = Duration::from_millis(25);
const LONGEST_STEP: Duration = Duration::from_millis(250);

/// Growing pauses, up to a bound in all.
pub(crate) struct Pauses {
    start: Instant,
    at_most: Duration,
    step: Duration,
}

impl Pauses {
    pub(crate) fn new(at_most: Duration) -> Self {
        let (start, step) = (Instant::now(), FIRST_STEP);
        Self {
            start,
            at_most,
            step,
        }
    }

    /// Waits a while, not much longer than until the lease ends; `false` at the bound.
    pub(crate) async fn pause(&mut self, lease_left: Duration) -> bool {
        let left = self.at_most.saturating_sub(self.start.elapsed());
        if left.is_zero() {
            return false;
        }
        // A server may count in milliseconds: one later the lease is over.
        let lease_end = lease_left.saturating_add(Duration::from_millis(1));
        sleep(jittered(self.step).min(lease_end).min(left)).await;
        self.step = (self.step * 2).min(LONGEST_STEP);
        true
    }
}

/// Up to 20 % more or less, so that processes do not ask all at once.
fn jittered(step: Duration) -> Duration {
    let percent = 80 + RandomState::new().hash_one(()) % 41;
    step * percent as u32 / 100
}
