//! The time of a history: that of the process that runs.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

/// One time for all processes, of which one runs while the others stand still.
#[derive(Clone, Default)]
pub(crate) struct WorldClock(Arc<Mutex<(Duration, Option<Instant>)>>);

impl WorldClock {
    pub(crate) fn now(&self) -> Duration {
        let (base, since) = *self.0.lock().unwrap();
        base + since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Stands still at this time.
    pub(crate) fn stop(&self, at: Duration) {
        *self.0.lock().unwrap() = (at, None);
    }

    /// Follows the clock of a runtime that was made at this time. To be called within it.
    pub(crate) fn follow(&self, made_at: Duration, since: Instant) {
        *self.0.lock().unwrap() = (made_at, Some(since));
    }
}
