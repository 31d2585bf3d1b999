//! Whether a store follows tokio's clock.

use std::sync::OnceLock;
use std::time::Duration;

use super::bench::{Bench, request_for};
use super::candidate::{Local, Subject};
use super::run;
use super::times::Times;

/// What is known of a store's clock, found out at the first obligation.
#[derive(Debug, Default)]
pub struct Clock {
    follows_tokio: OnceLock<bool>,
}

impl Clock {
    /// Not known yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            follows_tokio: OnceLock::new(),
        }
    }

    /// Known before.
    #[must_use]
    pub fn that_follows_tokio(it_does: bool) -> Self {
        Self {
            follows_tokio: OnceLock::from(it_does),
        }
    }

    /// Finds out once: lets tokio's clock jump over the end of a lease, and looks whether the lease is over.
    pub(super) fn follows_tokio(&self, make: &dyn Fn() -> Local<Subject>) -> bool {
        *self.follows_tokio.get_or_init(|| {
            run::runtime(false).block_on(async {
                const HOUR: Duration = Duration::from_secs(60 * 60);
                let bench = Bench::new(make().await.store, Times::THREADS);
                let request = request_for(bench.key(1), HOUR, HOUR * 24);
                bench.own_as("an absent key", &request).await;
                tokio::time::pause();
                tokio::time::advance(HOUR * 2).await;
                tokio::time::resume();
                let record = bench.inspect(bench.key(1)).await;
                record.is_none_or(|record| !record.is_live())
            })
        })
    }
}
