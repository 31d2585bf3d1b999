//! Requests that wait for another one to end: one of them watches the store, the others wait for it.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::bounds::{Bounds, Share};
use crate::clock;
use crate::config::Config;
use crate::drive::{caught, until};
use crate::key::{Fence, RecordKey};
use crate::policy::Mode;
use crate::store::traits::Store;

/// Where the requests of one layer wait.
#[derive(Default)]
pub(crate) struct WaitingRoom {
    keys: Mutex<HashMap<RecordKey, Arc<Keyed>>>,
}

/// The waiters of one record key.
struct Keyed {
    waiters: AtomicUsize,
    /// The owner that is waited for. Its semaphore holds the one permit of whoever watches the store; it is
    /// closed when that owner has ended.
    watched: Mutex<(Fence, Arc<Semaphore>)>,
}

/// One waiter of a record key.
struct Waiter {
    room: Arc<WaitingRoom>,
    key: RecordKey,
    keyed: Arc<Keyed>,
}

impl WaitingRoom {
    /// A place among the waiters of this key; `None` where there are `most` already.
    fn enter(self: &Arc<Self>, key: RecordKey, fence: Fence, most: usize) -> Option<Waiter> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if most == 0 {
            return None;
        }
        let keyed = keys
            .entry(key)
            .or_insert_with(|| Arc::new(Keyed::new(fence)));
        if keyed.waiters.load(Ordering::Relaxed) >= most {
            return None;
        }
        keyed.waiters.fetch_add(1, Ordering::Relaxed);
        Some(Waiter {
            room: Arc::clone(self),
            key,
            keyed: Arc::clone(keyed),
        })
    }
}

impl fmt::Debug for WaitingRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WaitingRoom(..)")
    }
}

impl Keyed {
    fn new(fence: Fence) -> Self {
        let watched = Mutex::new((fence, Arc::new(Semaphore::new(1))));
        Self {
            waiters: AtomicUsize::new(0),
            watched,
        }
    }

    /// What is closed when the owner with this fence has ended.
    fn watch(&self, fence: Fence) -> Arc<Semaphore> {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if watched.0 != fence || watched.1.is_closed() {
            *watched = (fence, Arc::new(Semaphore::new(1)));
        }
        Arc::clone(&watched.1)
    }
}

impl Waiter {
    /// Returns when it is time to claim again, at the latest at the deadline.
    ///
    /// Whoever gets the permit watches the store for all; when it goes, the next one inherits the permit.
    async fn wait(&self, store: &impl Store, fence: Fence, deadline: Instant) {
        let watch = self.keyed.watch(fence);
        let settled = async {
            // Closed: somebody else has seen the owner end.
            let Ok(_permit) = watch.acquire().await else {
                return;
            };
            let at_most = deadline.saturating_duration_since(Instant::now());
            // Beyond the deadline, so that a watcher at its own end passes the watch on instead of ending it.
            let at_most = at_most + Duration::from_secs(1);
            // One that panics has called too early.
            let _ = caught(store.settled(&self.key, fence, at_most)).await;
            watch.close();
        };
        until(deadline, settled).await;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut keys = self
            .room
            .keys
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if self.keyed.waiters.fetch_sub(1, Ordering::Relaxed) == 1 {
            keys.remove(&self.key);
        }
    }
}

/// How long a request waits for others that are at its key.
pub(crate) struct Patience<'a> {
    config: &'a Config,
    bounds: &'a Arc<Bounds>,
    room: &'a Arc<WaitingRoom>,
    at_most: Duration,
    deadline: Option<Instant>,
    place: Option<(Waiter, Share)>,
    waited_for: Option<Fence>,
}

impl<'a> Patience<'a> {
    pub(crate) fn new(
        config: &'a Config,
        bounds: &'a Arc<Bounds>,
        room: &'a Arc<WaitingRoom>,
        headers: &HeaderMap,
    ) -> Self {
        let at_most = match config.mode {
            Mode::Enforce => config.in_flight.patience(headers),
            Mode::Shadow => Duration::ZERO,
        };
        Self {
            config,
            bounds,
            room,
            at_most,
            deadline: None,
            place: None,
            waited_for: None,
        }
    }

    /// Takes a place among the waiters; `false` where there is none, or no time.
    pub(crate) fn begins(&mut self, key: RecordKey, fence: Fence) -> bool {
        if self.at_most.is_zero() || !clock::has_timers() {
            return false;
        }
        if self.place.is_none() {
            let Config {
                max_waiters,
                max_waiters_per_key,
                ..
            } = *self.config;
            let in_all = self
                .bounds
                .take_within(|bounds| &bounds.waiters, 1, max_waiters);
            let waiter = self.room.enter(key, fence, max_waiters_per_key);
            self.place = waiter.zip(in_all);
        }
        let deadline = self
            .deadline
            .get_or_insert_with(|| clock::later(Instant::now(), self.at_most));
        self.place.is_some() && Instant::now() < *deadline
    }

    /// Waits for the owner with this fence to end, or for the time to be over: then it is worth one last claim,
    /// because whoever watches the store may have missed the end.
    pub(crate) async fn wait(&mut self, store: &impl Store, fence: Fence) {
        let (Some((waiter, _)), Some(deadline)) = (&self.place, self.deadline) else {
            return;
        };
        if self.waited_for.replace(fence) == Some(fence) {
            // The store called too early; it may do so again.
            let pause = clock::later(Instant::now(), Duration::from_millis(20));
            clock::sleep_until(pause.min(deadline)).await;
        }
        waiter.wait(store, fence, deadline).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_that_is_left_by_all_leaves_nothing_behind() {
        let room = Arc::new(WaitingRoom::default());
        let key = RecordKey::from_parts([1; 16], [2; 32]);
        let first = room.enter(key, Fence::new(1), 2).expect("there is a place");
        let second = room.enter(key, Fence::new(2), 2).expect("there is another");
        assert!(room.enter(key, Fence::new(2), 2).is_none());

        drop(first);
        assert!(
            room.enter(key, Fence::new(2), 2).is_some(),
            "a place is free again"
        );
        drop(second);

        assert!(room.enter(key, Fence::new(2), 0).is_none());
        assert!(room.keys.lock().unwrap().is_empty());
    }
}
