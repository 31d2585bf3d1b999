//! The room in which requests wait, and how the watch over an owner passes from one to the next.
//!
//! Of those who wait for an owner one watches, the others sleep. Who sees the owner end wakes all others, and so does the
//! owner where it is of the same process: the one that watches may be kept from its turn for long. Who goes
//! before that, wakes one of them, who watches in turn: whoever goes while nobody watches does so, because the one that
//! was woken may go as well before it has heard of it.
//!
//! Every step is taken under the one lock of the room. Wakers, which are not ours, are woken and dropped under none. The
//! code is generic over its [lock](crate::lock), and its tests explore in which order the steps can be taken.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use crate::key::{Fence, RecordKey};
use crate::lock::Lock;

/// Where the requests of one layer wait.
#[derive(Default)]
pub(crate) struct WaitingRoom<L = Mutex<Keys>> {
    keys: L,
}

/// The keys that are waited at.
pub(crate) type Keys = HashMap<RecordKey, Waiters>;

/// The waiters of one record key.
pub(crate) struct Waiters {
    count: usize,
    /// The place of the one that came last.
    last: Place,
    watch: Watch,
}

/// A waiter among those of its key, by when it came.
type Place = u64;

/// The watch over one owner.
struct Watch {
    /// Of all watches at this key; one of another number is over.
    number: u64,
    /// The owner.
    fence: Fence,
    /// Whether somebody watches.
    watched: bool,
    asleep: Asleep,
}

type Asleep = BTreeMap<Place, Waker>;

impl<L: Lock<Keys>> WaitingRoom<L> {
    /// A place among the waiters of this key; `None` where there are `most` already.
    pub(super) fn enter(
        self: &Arc<Self>,
        key: RecordKey,
        fence: Fence,
        most: usize,
    ) -> Option<Waiter<L>> {
        let place = self.keys.with(|keys| {
            let there = keys.get(&key).map_or(0, |waiters| waiters.count);
            (there < most).then(|| {
                let waiters = keys.entry(key).or_insert_with(|| Waiters::of(fence));
                waiters.count += 1;
                waiters.last += 1;
                waiters.last
            })
        })?;
        Some(Waiter {
            room: Arc::clone(self),
            key,
            place,
        })
    }

    /// The owner with this fence has ended: nobody sleeps until the one that watches hears of it.
    pub(crate) fn ended(&self, key: &RecordKey, fence: Fence) {
        let over = self.keys.with(|keys| {
            let watch = &mut keys.get_mut(key)?.watch;
            (watch.fence == fence).then(|| watch.begin(fence))
        });
        wake(over.unwrap_or_default());
    }
}

impl Waiters {
    fn of(fence: Fence) -> Self {
        Self {
            count: 0,
            last: 0,
            watch: Watch::over(fence, 0),
        }
    }
}

impl<L> fmt::Debug for WaitingRoom<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WaitingRoom(..)")
    }
}

/// One waiter of a record key.
pub(super) struct Waiter<L: Lock<Keys> = Mutex<Keys>> {
    room: Arc<WaitingRoom<L>>,
    key: RecordKey,
    place: Place,
}

impl<L: Lock<Keys>> Waiter<L> {
    pub(super) fn key(&self) -> &RecordKey {
        &self.key
    }

    /// Returns when the owner with this fence has ended, as `watching` does: it runs for one of all those who wait for
    /// that owner, and for another one when that one is dropped.
    pub(super) async fn wait(&self, fence: Fence, watching: impl Future<Output = ()>) {
        let Some(mut turn) = self.turn(fence) else {
            return;
        };
        if poll_fn(|cx| turn.poll(cx)).await {
            watching.await;
            turn.ends_watch();
        }
    }

    /// A part in the watch over this owner; `None` where there has been a later one.
    fn turn(&self, fence: Fence) -> Option<Turn<'_, L>> {
        let (watch, over) = self.room.keys.with(|keys| {
            let watch = &mut keys.get_mut(&self.key)?.watch;
            let over = if watch.fence < fence {
                watch.begin(fence)
            } else {
                Asleep::new()
            };
            (watch.fence == fence).then_some((watch.number, over))
        })?;
        wake(over);
        Some(Turn {
            waiter: self,
            watch,
            watches: false,
        })
    }
}

impl<L: Lock<Keys>> Drop for Waiter<L> {
    fn drop(&mut self) {
        let _last = self.room.keys.with(|keys| {
            let Entry::Occupied(mut waiters) = keys.entry(self.key) else {
                return None;
            };
            waiters.get_mut().count -= 1;
            (waiters.get().count == 0).then(|| waiters.remove())
        });
    }
}

impl Watch {
    fn over(fence: Fence, number: u64) -> Self {
        Self {
            number,
            fence,
            watched: false,
            asleep: Asleep::new(),
        }
    }

    /// Ends this watch and begins another one. Whoever sleeps in the one that is over is to be woken.
    #[must_use = "they sleep for ever"]
    fn begin(&mut self, fence: Fence) -> Asleep {
        let next = Self::over(fence, self.number + 1);
        mem::replace(self, next).asleep
    }
}

/// The part that one waiter has in a watch, given up when dropped.
struct Turn<'a, L: Lock<Keys>> {
    waiter: &'a Waiter<L>,
    watch: u64,
    watches: bool,
}

impl<L: Lock<Keys>> Turn<'_, L> {
    /// Whether to watch, as soon as nobody else does; `false` when the watch is over.
    fn poll(&mut self, cx: &Context<'_>) -> Poll<bool> {
        let (place, waker) = (self.waiter.place, cx.waker().clone());
        let step = self.step(|watch| {
            if watch.watched {
                (Poll::Pending, watch.asleep.insert(place, waker))
            } else {
                watch.watched = true;
                (Poll::Ready(true), watch.asleep.remove(&place))
            }
        });
        let (poll, _before) = step.unwrap_or((Poll::Ready(false), None));
        self.watches = poll == Poll::Ready(true);
        poll
    }

    /// The owner has ended.
    fn ends_watch(&self) {
        let over = self.step(|watch| watch.begin(watch.fence));
        wake(over.unwrap_or_default());
    }

    /// One step under the lock; `None` where the watch is over.
    fn step<R>(&self, step: impl FnOnce(&mut Watch) -> R) -> Option<R> {
        let Waiter { room, key, .. } = self.waiter;
        room.keys.with(|keys| {
            let watch = &mut keys.get_mut(key)?.watch;
            (watch.number == self.watch).then(|| step(watch))
        })
    }
}

impl<L: Lock<Keys>> Drop for Turn<'_, L> {
    fn drop(&mut self) {
        let left = self.step(|watch| {
            let mine = watch.asleep.remove(&self.waiter.place);
            watch.watched &= !self.watches;
            let next = watch.asleep.values().next().filter(|_| !watch.watched);
            (mine, next.cloned())
        });
        if let Some((_, Some(next))) = left {
            next.wake();
        }
    }
}

fn wake(asleep: Asleep) {
    asleep.into_values().for_each(Waker::wake);
}

#[cfg(test)]
mod explored;
#[cfg(test)]
mod tests;
