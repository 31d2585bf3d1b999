//! Time that costs nothing until it is needed, and that never panics outside a runtime.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::Unconstrained;
use tokio::time::{Instant, Sleep};

/// Longer than any timer has to run; keeps `Instant + Duration` from overflowing.
pub(crate) const FOREVER: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);

/// The moment `after` from `start`, at most thirty years away.
pub(crate) fn later(start: Instant, after: Duration) -> Instant {
    start + after.min(FOREVER)
}

/// Whether a timer can be made here: tokio's panic outside a runtime.
pub(crate) fn has_timers() -> bool {
    Handle::try_current().is_ok()
}

/// A timer; see [`has_timers`].
///
/// Unconstrained: what runs beside a timer may use up the budget of their task at every poll, and a timer without
/// budget never ends.
pub(crate) fn timer(deadline: Instant) -> Unconstrained<Sleep> {
    tokio::task::unconstrained(tokio::time::sleep_until(deadline))
}

/// Waits until `deadline`; for ever where no timer can be made.
pub(crate) async fn sleep_until(deadline: Instant) {
    if has_timers() {
        timer(deadline).await;
    } else {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_duration_does_not_overflow() {
        assert!(later(Instant::now(), Duration::MAX) > Instant::now());
    }
}
