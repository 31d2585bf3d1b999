//! The lock of code that is explored.
//!
//! What threads can do to each other only shows in some of their interleavings, and a test that waits for those by luck
//! finds few. Code that is generic over its lock runs in production under [`std::sync::Mutex`], at no cost, and in its
//! unit tests under the mutex of [shuttle](https://docs.rs/shuttle), whose scheduler decides at every step which thread
//! goes on: at random, by the PCT algorithm, or, in small cases, every way there is. It notices a deadlock, and with it
//! a wake-up that is lost, and it prints the schedule that leads there.
//!
//! Shuttle and not loom: what is explored are futures and wakers as much as threads, several dozen steps of them, and
//! loom, which tries every way, does not come to an end there. What loom has beyond it is the memory model of relaxed
//! atomics; what is explored here shares nothing but what is under a lock.
//!
//! Invisible to both are the locks of `DashMap` and the inside of tokio: each of their calls is one step to the
//! scheduler. Tests on real threads stand for those.

use std::sync::{Mutex, PoisonError};

/// A value under a lock.
pub(crate) trait Lock<T> {
    /// Looks at the value, and changes it, while nobody else does.
    fn with<R>(&self, visit: impl FnOnce(&mut T) -> R) -> R;
}

impl<T> Lock<T> for Mutex<T> {
    fn with<R>(&self, visit: impl FnOnce(&mut T) -> R) -> R {
        // Whatever is done under such a lock is done in whole: a panic of another thread leaves nothing half done.
        visit(&mut self.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
