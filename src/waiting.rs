//! Requests that wait for another one to end: where, for how long, and how many.

mod room;

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;

use crate::bounds::{Bounds, Share};
use crate::clock;
use crate::config::Config;
use crate::drive::{caught, until};
use crate::key::{Fence, RecordKey};
use crate::policy::Mode;
use crate::store::traits::Store;

use room::Waiter;
pub(crate) use room::WaitingRoom;

/// How long a request waits for others that are at its key.
pub(crate) struct Patience<'a> {
    config: &'a Config,
    bounds: &'a Arc<Bounds>,
    room: &'a Arc<WaitingRoom>,
    at_most: Duration,
    deadline: Option<Instant>,
    /// Boxed, because few requests wait.
    place: Option<Box<(Waiter, Share)>>,
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
            self.place = waiter.zip(in_all).map(Box::new);
        }
        let deadline = self
            .deadline
            .get_or_insert_with(|| clock::later(Instant::now(), self.at_most));
        self.place.is_some() && Instant::now() < *deadline
    }

    /// Waits for the owner with this fence to end, or for the time to be over: then it is worth one last claim,
    /// because whoever watches the store may have missed the end.
    pub(crate) async fn wait(&mut self, store: &impl Store, fence: Fence) {
        let (Some(place), Some(deadline)) = (&self.place, self.deadline) else {
            return;
        };
        let waiter = &place.0;
        if self.waited_for.replace(fence) == Some(fence) {
            // The store called too early; it may do so again.
            let pause = clock::later(Instant::now(), Duration::from_millis(20));
            clock::sleep_until(pause.min(deadline)).await;
        }
        let watching = async {
            // Beyond the deadline, so that a watcher at its own end passes the watch on instead of ending it.
            let at_most =
                deadline.saturating_duration_since(Instant::now()) + Duration::from_secs(1);
            // A store that panics has called too early.
            let _ = caught(store.settled(waiter.key(), fence, at_most)).await;
        };
        until(deadline, waiter.wait(fence, watching)).await;
    }
}
