//! What time it is for a store.

use std::time::Duration;

use tokio::time::Instant;

/// Nanoseconds since the store was made.
pub(super) type Moment = u64;

/// The clock of one store.
pub(super) enum Clock {
    Tokio {
        start: Instant,
    },
    Custom {
        start: Duration,
        now: Box<dyn Fn() -> Duration + Send + Sync>,
    },
}

impl Clock {
    /// How often a waiter looks at a clock that no timer follows.
    const STEP: Duration = Duration::from_millis(50);

    pub(super) fn tokio() -> Self {
        Self::Tokio {
            start: Instant::now(),
        }
    }

    pub(super) fn custom(now: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self::Custom {
            start: now(),
            now: Box::new(now),
        }
    }

    pub(super) fn now(&self) -> Moment {
        nanoseconds(match self {
            Self::Tokio { start } => start.elapsed(),
            Self::Custom { start, now } => now().saturating_sub(*start),
        })
    }

    /// How long to sleep for what is so far away by this clock.
    pub(super) fn sleep(&self, left: Duration) -> Duration {
        match self {
            Self::Tokio { .. } => left,
            Self::Custom { .. } => left.min(Self::STEP),
        }
    }
}

/// The moment `after` from `start`, or the last one that there is.
pub(super) fn later(start: Moment, after: Duration) -> Moment {
    start.saturating_add(nanoseconds(after))
}

/// From `start` to `end`; nothing when that is over.
pub(super) fn between(start: Moment, end: Moment) -> Duration {
    Duration::from_nanos(end.saturating_sub(start))
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
