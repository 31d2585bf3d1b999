//! What time it is for the store: microseconds since 1970, in the range of SQLite's integers.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Microseconds since 1970.
pub(super) type Moment = i64;

/// Longer than anything lasts, and so far from the end of the range that three of them have a sum.
const FOR_EVER: i64 = 1 << 60;

/// The clock of a store.
#[derive(Clone)]
pub(super) enum Clock {
    /// That of the machine, so that all processes on one file have the same.
    Machine,
    Custom(Arc<dyn Fn() -> Duration + Send + Sync>),
}

impl Clock {
    pub(super) fn now(&self) -> Moment {
        let since_1970 = match self {
            Self::Machine => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
            Self::Custom(now) => now(),
        };
        bounded(since_1970.as_micros())
    }

    /// The same time, for SQLite to tell when it runs a statement. It counts in milliseconds: the end of this one, so that
    /// what is over by this clock is over.
    pub(super) fn sql(&self) -> String {
        match self {
            Self::Machine => {
                "(CAST(round(unixepoch('subsec') * 1000) AS INTEGER) + 1) * 1000".to_owned()
            }
            Self::Custom(_) => self.now().to_string(),
        }
    }
}

/// A duration in whole microseconds, rounded up: at least one.
pub(super) fn microseconds(duration: Duration) -> i64 {
    bounded(duration.as_nanos().div_ceil(1_000)).max(1)
}

/// From one moment to a later one; nothing when that is over.
pub(super) fn between(from: Moment, to: Moment) -> Duration {
    let microseconds = to.saturating_sub(from);
    Duration::from_micros(u64::try_from(microseconds).unwrap_or(0))
}

fn bounded(microseconds: u128) -> i64 {
    i64::try_from(microseconds)
        .unwrap_or(FOR_EVER)
        .min(FOR_EVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_whole_microseconds_that_can_be_added() {
        for (duration, expected) in [
            (Duration::ZERO, 1),
            (Duration::from_nanos(1), 1),
            (Duration::from_nanos(1_001), 2),
            (Duration::from_secs(30), 30_000_000),
            (Duration::MAX, FOR_EVER),
        ] {
            assert_eq!(microseconds(duration), expected, "{duration:?}");
        }
        let end_of_time = Clock::Custom(Arc::new(|| Duration::MAX)).now();
        assert!(end_of_time.checked_add(2 * FOR_EVER).is_some());
    }

    #[test]
    fn what_is_over_is_nothing() {
        assert_eq!(between(5, 7), Duration::from_micros(2));
        assert_eq!(between(7, 5), Duration::ZERO);
    }
}
