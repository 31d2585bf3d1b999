//! A clock that jumps.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// A clock for the store that a [`ChaosStore`](crate::ChaosStore) wraps: it follows another, and jumps.
///
/// Clones are one clock. Forward, a jump ends leases early and lets records expire, as on a machine whose clock was
/// wrong. Backward, leases and records live longer by as much, and a record that had expired may be there again;
/// [`MemoryStore`](crate::MemoryStore) takes both.
///
/// ```
/// use std::time::Duration;
/// use tower_idempotency::{ChaosClock, ChaosStore, MemoryStore};
///
/// let clock = ChaosClock::new();
/// let now = clock.clone();
/// let store = ChaosStore::new(MemoryStore::with_clock(move || now.now()), 7)
///     .clock_jumps(&clock, 1, Duration::from_secs(60));
///
/// clock.jump(Duration::from_secs(3_600));
/// assert!(clock.now() >= Duration::from_secs(3_600));
/// # let _ = store;
/// ```
#[derive(Clone)]
pub struct ChaosClock(Arc<Inner>);

struct Inner {
    follows: Box<dyn Fn() -> Duration + Send + Sync>,
    /// Nanoseconds that it is ahead.
    ahead: AtomicI64,
}

impl ChaosClock {
    /// A clock that follows tokio's, so that `tokio::time::pause` stops it. Make it where time is paused already.
    #[must_use]
    pub fn new() -> Self {
        let start = Instant::now();
        Self::following(move || start.elapsed())
    }

    /// A clock that follows another one: the time since any moment.
    #[must_use]
    pub fn following(now: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner {
            follows: Box::new(now),
            ahead: AtomicI64::new(0),
        }))
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> Duration {
        let ahead = self.0.ahead.load(Ordering::SeqCst);
        let (now, distance) = (
            (self.0.follows)(),
            Duration::from_nanos(ahead.unsigned_abs()),
        );
        if ahead < 0 {
            now.saturating_sub(distance)
        } else {
            now.saturating_add(distance)
        }
    }

    /// Jumps forward.
    pub fn jump(&self, by: Duration) {
        let by = nanoseconds(by);
        let jumped = |ahead: i64| Some(ahead.saturating_add(by));
        let _ = (self.0.ahead).fetch_update(Ordering::SeqCst, Ordering::SeqCst, jumped);
    }

    /// Jumps back, to the beginning at most.
    pub fn jump_back(&self, by: Duration) {
        let (by, now) = (nanoseconds(by), nanoseconds((self.0.follows)()));
        let jumped = |ahead: i64| Some(ahead.saturating_sub(by).max(-now));
        let _ = (self.0.ahead).fetch_update(Ordering::SeqCst, Ordering::SeqCst, jumped);
    }
}

fn nanoseconds(by: Duration) -> i64 {
    i64::try_from(by.as_nanos()).unwrap_or(i64::MAX)
}

impl Default for ChaosClock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ChaosClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChaosClock({:?})", self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_clock_follows_and_jumps_both_ways() {
        let clock = ChaosClock::new();
        let the_same = clock.clone();
        assert_eq!(clock.now(), Duration::ZERO);

        tokio::time::advance(MINUTE).await;
        the_same.jump(2 * MINUTE);
        assert_eq!(clock.now(), 3 * MINUTE);
        the_same.jump_back(MINUTE / 2);
        assert_eq!(clock.now(), 5 * MINUTE / 2);
        the_same.jump_back(10 * MINUTE);
        assert_eq!(clock.now(), Duration::ZERO);
        tokio::time::advance(MINUTE).await;
        assert_eq!(clock.now(), MINUTE);
    }

    #[test]
    fn the_longest_jumps_do_not_overflow() {
        let clock = ChaosClock::following(|| MINUTE);

        clock.jump(Duration::MAX);
        clock.jump(Duration::MAX);
        assert!(clock.now() > MINUTE);
        clock.jump_back(Duration::MAX);
        clock.jump_back(Duration::MAX);
        assert_eq!(clock.now(), Duration::ZERO);
    }
}
