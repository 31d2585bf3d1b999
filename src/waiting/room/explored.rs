//! The hand-over of the watch, in the orders in which its steps can be taken; see [`lock`](crate::lock).

use std::mem::ManuallyDrop;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};

use shuttle::future::{JoinHandle, block_on, spawn};

use super::*;
use crate::explore::{Step, exhaust, explore, fault_of, step};

const KEY: RecordKey = RecordKey::from_parts([1; 16], [2; 32]);

/// A room, and the one record that its requests are about.
struct World<L: Lock<Keys>> {
    room: Arc<WaitingRoom<L>>,
    /// No step to the scheduler: what is explored are the steps of the room.
    record: Mutex<Record>,
}

/// A record that has one owner at a time, whose end can be watched.
#[derive(Default)]
struct Record {
    fence: u64,
    owned: bool,
    /// Who watches which owner.
    watchers: BTreeMap<u64, Waker>,
}

impl Record {
    fn is_live(&self, fence: Fence) -> bool {
        self.owned && self.fence == fence.get()
    }
}

/// A lock of one of the schedulers.
trait Explored: Lock<Keys> + Default + Send + Sync + 'static {}

impl<L: Lock<Keys> + Default + Send + Sync + 'static> Explored for L {}

impl<L: Explored> World<L> {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            room: Arc::default(),
            record: Mutex::default(),
        })
    }

    /// Owns the record, or says who does.
    fn claim(&self) -> Result<Fence, Fence> {
        self.record.with(|record| {
            if record.owned {
                return Err(Fence::new(record.fence));
            }
            record.owned = true;
            record.fence += 1;
            Ok(Fence::new(record.fence))
        })
    }

    /// Ends an owner.
    fn end(&self, fence: Fence) {
        let watcher = self.record.with(|record| {
            assert!(record.is_live(fence), "another one owns the record");
            record.owned = false;
            record.watchers.get(&fence.get()).cloned()
        });
        watcher.into_iter().for_each(Waker::wake);
    }

    /// As a store does: returns when this owner has ended.
    async fn settled(&self, fence: Fence) {
        let _watcher = Watcher::new(&self.record, fence);
        poll_fn(|cx| {
            self.record.with(|record| {
                if !record.is_live(fence) {
                    return Poll::Ready(());
                }
                record.watchers.insert(fence.get(), cx.waker().clone());
                Poll::Pending
            })
        })
        .await;
    }

    fn enter(&self, fence: Fence) -> Waiter<L> {
        self.room.enter(KEY, fence, 9).expect("there is a place")
    }

    /// Waits for an owner.
    async fn wait(&self, waiter: &Waiter<L>, fence: Fence) {
        waiter.wait(fence, self.settled(fence)).await;
        let is_live = self.record.with(|record| record.is_live(fence));
        assert!(!is_live, "woken although the owner lives");
    }

    /// A waiter for an owner, in a task of its own.
    fn waits(self: &Arc<Self>, fence: Fence) -> JoinHandle<()> {
        let (world, waiter) = (Arc::clone(self), self.enter(fence));
        spawn(async move { world.wait(&waiter, fence).await })
    }

    /// The same, until it leaves.
    fn waits_until(self: &Arc<Self>, fence: Fence, leave: &Arc<Leave>) -> JoinHandle<()> {
        let (world, waiter) = (Arc::clone(self), self.enter(fence));
        let leave = Arc::clone(leave);
        spawn(async move { leave.at_most(pin!(world.wait(&waiter, fence))).await })
    }

    /// A thread that begins with a step.
    fn then(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) + Send + 'static,
    ) -> shuttle::thread::JoinHandle<()> {
        let world = Arc::clone(self);
        shuttle::thread::spawn(move || {
            step();
            work(&world);
        })
    }

    /// A request: claims, and waits for whoever owns the record, until it has owned it itself.
    async fn request(self: Arc<Self>) {
        let mut waiter = None;
        loop {
            step();
            match self.claim() {
                Ok(fence) => {
                    step();
                    return self.end(fence);
                }
                Err(fence) => {
                    let waiter = waiter.get_or_insert_with(|| self.enter(fence));
                    self.wait(waiter, fence).await;
                }
            }
        }
    }

    /// Checks that nobody has left anything behind.
    fn is_left(&self) {
        assert!(self.record.with(|record| record.watchers.is_empty()));
        assert!(self.room.keys.with(|keys| keys.is_empty()));
    }
}

/// The only one who watches an owner.
struct Watcher<'a> {
    record: &'a Mutex<Record>,
    fence: Fence,
}

impl<'a> Watcher<'a> {
    fn new(record: &'a Mutex<Record>, fence: Fence) -> Self {
        let waker = Waker::noop().clone();
        let other = record.with(|record| record.watchers.insert(fence.get(), waker));
        assert!(other.is_none(), "two watch the same owner");
        Self { record, fence }
    }
}

impl Drop for Watcher<'_> {
    fn drop(&mut self) {
        let fence = self.fence.get();
        self.record.with(|record| record.watchers.remove(&fence));
    }
}

/// A moment at which waiters go, whenever it comes.
struct Leave {
    /// Whether what they do has a last chance then, as at a deadline, or none, as when a client hangs up.
    last_chance: bool,
    state: Mutex<(bool, Vec<Waker>)>,
}

impl Leave {
    fn new(last_chance: bool) -> Arc<Self> {
        let state = Mutex::default();
        Arc::new(Self { last_chance, state })
    }

    fn comes(&self) {
        let wakers = self.state.with(|(has_come, wakers)| {
            *has_come = true;
            mem::take(wakers)
        });
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Drives `work` until then.
    async fn at_most(&self, mut work: Pin<&mut impl Future<Output = ()>>) {
        poll_fn(|cx| {
            let has_come = self.state.with(|(has_come, wakers)| {
                wakers.push(cx.waker().clone());
                *has_come
            });
            let is_polled = self.last_chance || !has_come;
            if is_polled && work.as_mut().poll(cx).is_ready() || has_come {
                return Poll::Ready(());
            }
            Poll::Pending
        })
        .await;
    }
}

/// Everybody else hears of the end, although some leave.
fn all_others_hear_of_the_end<L: Explored>(waiting: usize, leaving: usize, last_chance: bool) {
    let world = World::<L>::new();
    let owner = world.claim().unwrap();
    let leave = Leave::new(last_chance);
    let others = (0..waiting).map(|_| world.waits(owner));
    let waiting = (0..leaving)
        .map(|_| world.waits_until(owner, &leave))
        .chain(others)
        .collect::<Vec<_>>();
    let ends = world.then(move |world| world.end(owner));
    let leaves = world.then(move |_| leave.comes());

    for waiting in waiting {
        block_on(waiting).unwrap();
    }
    ends.join().unwrap();
    leaves.join().unwrap();
    world.is_left();
}

#[test]
fn one_that_leaves_at_any_moment_hands_the_watch_over() {
    for last_chance in [true, false] {
        exhaust(move || all_others_hear_of_the_end::<Step<_>>(1, 1, last_chance));
    }
}

#[test]
fn many_that_leave_at_any_moment_hand_the_watch_over() {
    for last_chance in [true, false] {
        explore(SCHEDULES, move || {
            all_others_hear_of_the_end::<shuttle::sync::Mutex<_>>(2, 4, last_chance);
        });
    }
}

/// Requests that own the record one after the other, and one that hangs up.
fn one_takes_over_after_the_other<L: Explored>(requests: u64, hanging_up: bool) {
    let world = World::<L>::new();
    let requests = (0..requests).map(|_| spawn(Arc::clone(&world).request()));
    let requests = requests.collect::<Vec<_>>();
    let another = hanging_up.then(|| spawn(Arc::clone(&world).request()));
    let another = another.map(|another| {
        another.abort();
        block_on(another).is_ok()
    });

    let mut executions = u64::from(another == Some(true));
    for request in requests {
        block_on(request).unwrap();
        executions += 1;
    }
    assert_eq!(world.record.with(|record| record.fence), executions);
    world.is_left();
}

#[test]
fn whoever_waits_takes_over_in_the_end() {
    exhaust(|| one_takes_over_after_the_other::<Step<_>>(2, false));
    explore(SCHEDULES, || {
        one_takes_over_after_the_other::<shuttle::sync::Mutex<_>>(4, true);
    });
}

#[test]
fn who_hears_late_of_an_earlier_owner_does_not_disturb_those_who_wait_for_the_later_one() {
    explore(SCHEDULES, || {
        let world = World::<shuttle::sync::Mutex<_>>::new();
        let earlier = world.claim().unwrap();
        world.end(earlier);
        let owner = world.claim().unwrap();
        let waiting = [owner, earlier, owner, owner].map(|fence| world.waits(fence));
        let ends = world.then(move |world| world.end(owner));

        for waiting in waiting {
            block_on(waiting).unwrap();
        }
        ends.join().unwrap();
        world.is_left();
    });
}

/// Threads that enter a room of two places.
fn a_place_is_there_as_long_as_its_waiter<L: Explored>(threads: usize) {
    let world = World::<L>::new();
    let inside = Arc::new(AtomicUsize::new(0));
    let threads = (0..threads).map(|_| {
        let inside = Arc::clone(&inside);
        world.then(move |world| {
            let owner = Fence::new(1);
            let Some(waiter) = world.room.enter(KEY, owner, 2) else {
                return;
            };
            let before = inside.fetch_add(1, Ordering::Relaxed);
            assert!(before < 2, "there was no place");
            assert!(waiter.turn(owner).is_some(), "the place is gone");
            inside.fetch_sub(1, Ordering::Relaxed);
        })
    });
    for thread in threads.collect::<Vec<_>>() {
        thread.join().unwrap();
    }
    world.is_left();
}

#[test]
fn a_place_stays_when_another_waiter_goes() {
    exhaust(|| a_place_is_there_as_long_as_its_waiter::<Step<_>>(2));
    explore(SCHEDULES, || {
        a_place_is_there_as_long_as_its_waiter::<shuttle::sync::Mutex<_>>(4);
    });
}

/// What the tests above are worth: they notice one that goes without giving up its part.
#[test]
fn a_watch_that_is_not_handed_over_is_noticed() {
    let fault = fault_of(|| {
        let world = World::<Step<_>>::new();
        let owner = world.claim().unwrap();
        let leave = Leave::new(true);
        let (room, waiter) = (Arc::clone(&world), world.enter(owner));
        let leaves = Arc::clone(&leave);
        let leaving = spawn(async move {
            let mut wait = ManuallyDrop::new(Box::pin(room.wait(&waiter, owner)));
            leaves.at_most(wait.as_mut()).await;
        });
        let waiting = world.waits(owner);
        leave.comes();
        block_on(leaving).unwrap();
        world.end(owner);
        block_on(waiting).unwrap();
    });

    assert!(fault.contains("deadlock"), "{fault}");
}

const SCHEDULES: usize = 1_500;
