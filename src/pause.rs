//! The pauses between tries.

use std::time::Duration;

use tokio::time::Instant;

use crate::clock;

/// From 50 ms, doubling to 5 s.
pub(crate) struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(Duration::from_millis(50))
    }
}

impl Pause {
    /// Waits, longer each time.
    pub(crate) async fn next(&mut self) {
        clock::sleep_until(clock::later(Instant::now(), self.0)).await;
        self.0 = (self.0 * 2).min(Duration::from_secs(5));
    }
}
