//! How often what happens.

use std::time::Duration;

use super::clock::ChaosClock;
use super::store::ChaosStore;
use crate::store::traits::Store;

impl<St: Store> ChaosStore<St> {
    /// Delays so many of a hundred calls before they are applied, and as many before they are answered; 20 and 3 seconds
    /// by default, which is longer than the layer waits for a store.
    ///
    /// `up_to` also bounds what comes late otherwise: duplicates, ends of leases, wakeups.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tower_idempotency::{ChaosStore, MemoryStore};
    /// let store = ChaosStore::new(MemoryStore::new(), 7).delays(50, Duration::from_millis(100));
    /// # let _ = store;
    /// ```
    ///
    /// # Panics
    ///
    /// For more than 100 percent, or a bound of less than a millisecond.
    #[must_use]
    #[track_caller]
    pub fn delays(mut self, percent: u8, up_to: Duration) -> Self {
        self.odds.delays = of_a_hundred("delays", percent);
        self.odds.up_to = some_time("delays", up_to);
        self
    }

    /// Fails so many of a hundred calls; 10 by default.
    ///
    /// ```
    /// # use tower_idempotency::{ChaosStore, MemoryStore};
    /// let store = ChaosStore::new(MemoryStore::new(), 7).failures(50);
    /// # let _ = store;
    /// ```
    ///
    /// # Panics
    ///
    /// For more than 100 percent.
    #[must_use]
    #[track_caller]
    pub fn failures(mut self, percent: u8) -> Self {
        self.odds.failures = of_a_hundred("failures", percent);
        self
    }

    /// Applies so many of a hundred calls twice; 5 by default.
    ///
    /// ```
    /// # use tower_idempotency::{ChaosStore, MemoryStore};
    /// let store = ChaosStore::new(MemoryStore::new(), 7).duplicates(0);
    /// # let _ = store;
    /// ```
    ///
    /// # Panics
    ///
    /// For more than 100 percent.
    #[must_use]
    #[track_caller]
    pub fn duplicates(mut self, percent: u8) -> Self {
        self.odds.duplicates = of_a_hundred("duplicates", percent);
        self
    }

    /// Ends the lease early after so many of a hundred claims and renewals; 2 by default.
    ///
    /// The owner is not told: another attempt may start although the first one still runs.
    ///
    /// ```
    /// # use tower_idempotency::{ChaosStore, MemoryStore};
    /// let store = ChaosStore::new(MemoryStore::new(), 7).lost_leases(0);
    /// # let _ = store;
    /// ```
    ///
    /// # Panics
    ///
    /// For more than 100 percent.
    #[must_use]
    #[track_caller]
    pub fn lost_leases(mut self, percent: u8) -> Self {
        self.odds.lost_leases = of_a_hundred("lost_leases", percent);
        self
    }

    /// Panics in so many of a hundred calls; 1 by default.
    ///
    /// ```
    /// # use tower_idempotency::{ChaosStore, MemoryStore};
    /// let store = ChaosStore::new(MemoryStore::new(), 7).panics(0);
    /// # let _ = store;
    /// ```
    ///
    /// # Panics
    ///
    /// For more than 100 percent.
    #[must_use]
    #[track_caller]
    pub fn panics(mut self, percent: u8) -> Self {
        self.odds.panics = of_a_hundred("panics", percent);
        self
    }

    /// Lets so many of a hundred calls of [`settled`](Store::settled) return early or late; 20 by default.
    ///
    /// ```
    /// # use tower_idempotency::{ChaosStore, MemoryStore};
    /// let store = ChaosStore::new(MemoryStore::new(), 7).wrong_wakeups(100);
    /// # let _ = store;
    /// ```
    ///
    /// # Panics
    ///
    /// For more than 100 percent.
    #[must_use]
    #[track_caller]
    pub fn wrong_wakeups(mut self, percent: u8) -> Self {
        self.odds.wrong_wakeups = of_a_hundred("wrong_wakeups", percent);
        self
    }

    /// Lets this clock jump before so many of a hundred calls are applied, by at most `up_to`, three of four times forward.
    /// Default: no jumps. The clock is that of the wrapped store: see [`ChaosClock`].
    ///
    /// # Panics
    ///
    /// For more than 100 percent, or a bound of less than a millisecond.
    #[must_use]
    #[track_caller]
    pub fn clock_jumps(mut self, clock: &ChaosClock, percent: u8, up_to: Duration) -> Self {
        self.odds.jumps = of_a_hundred("clock_jumps", percent);
        self.odds.jump = some_time("clock_jumps", up_to);
        self.clock = Some(clock.clone());
        self
    }
}

#[track_caller]
fn of_a_hundred(knob: &str, percent: u8) -> u8 {
    assert!(
        percent <= 100,
        "ChaosStore::{knob}: {percent} of a hundred calls: give 0 to 100"
    );
    percent
}

#[track_caller]
fn some_time(knob: &str, up_to: Duration) -> Duration {
    assert!(
        up_to >= Duration::from_millis(1),
        "ChaosStore::{knob}: up to {up_to:?}: give at least a millisecond"
    );
    up_to
}
