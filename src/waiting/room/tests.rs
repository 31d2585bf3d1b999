use std::future::{pending, ready};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Wake;

use super::*;

const KEY: RecordKey = RecordKey::from_parts([1; 16], [2; 32]);

/// A waker that notes whether the room was locked when it was woken or dropped.
struct Waking {
    room: Arc<WaitingRoom>,
    woken: AtomicUsize,
    locked: Arc<AtomicBool>,
}

impl Waking {
    fn at(room: &Arc<WaitingRoom>) -> Arc<Self> {
        Self::noting(room, &Arc::default())
    }

    fn noting(room: &Arc<WaitingRoom>, locked: &Arc<AtomicBool>) -> Arc<Self> {
        Arc::new(Self {
            room: Arc::clone(room),
            woken: AtomicUsize::new(0),
            locked: Arc::clone(locked),
        })
    }

    fn look(&self) {
        if self.room.keys.try_lock().is_err() {
            self.locked.store(true, Ordering::Relaxed);
        }
    }
}

impl Wake for Waking {
    fn wake(self: Arc<Self>) {
        self.look();
        self.woken.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Waking {
    fn drop(&mut self) {
        self.look();
    }
}

fn is_asleep(wait: Pin<&mut impl Future>, waking: Arc<Waking>) -> bool {
    let waker = Waker::from(waking);
    wait.poll(&mut Context::from_waker(&waker)).is_pending()
}

#[test]
fn a_room_that_is_left_by_all_leaves_nothing_behind() {
    let room = Arc::new(<WaitingRoom>::default());
    let enter = |fence, most| room.enter(KEY, Fence::new(fence), most);
    let first = enter(1, 2).expect("there is a place");
    let second = enter(2, 2).expect("there is another");
    assert!(enter(2, 2).is_none());

    drop(first);
    assert!(enter(2, 2).is_some(), "a place is free again");
    drop(second);

    assert!(enter(2, 0).is_none());
    assert!(room.keys.lock().unwrap().is_empty());
}

#[test]
fn a_waiter_that_moves_to_another_task_is_woken_there() {
    let room = Arc::new(<WaitingRoom>::default());
    let owner = Fence::new(1);
    let [watcher, waiter] = [(); 2].map(|()| room.enter(KEY, owner, 2).unwrap());
    let mut watch = Box::pin(watcher.wait(owner, pending()));
    let mut wait = pin!(waiter.wait(owner, ready(())));
    let there = Waking::at(&room);
    assert!(is_asleep(watch.as_mut(), Waking::at(&room)));
    assert!(is_asleep(wait.as_mut(), Waking::at(&room)));
    assert!(is_asleep(wait.as_mut(), Arc::clone(&there)));

    drop(watch);

    assert_eq!(there.woken.load(Ordering::Relaxed), 1);
    assert!(!is_asleep(wait.as_mut(), there));
}

#[test]
fn who_has_slept_hears_of_the_end_without_a_look_of_its_own() {
    let room = Arc::new(<WaitingRoom>::default());
    let owner = Fence::new(1);
    let [watcher, waiter] = [(); 2].map(|()| room.enter(KEY, owner, 2).unwrap());
    let (ends, ended) = tokio::sync::oneshot::channel();
    let mut watch = pin!(watcher.wait(owner, async { ended.await.unwrap() }));
    let mut wait = pin!(waiter.wait(owner, async { panic!("looks at the store") }));
    assert!(is_asleep(watch.as_mut(), Waking::at(&room)));
    assert!(is_asleep(wait.as_mut(), Waking::at(&room)));

    ends.send(()).unwrap();

    assert!(!is_asleep(watch, Waking::at(&room)));
    assert!(!is_asleep(wait, Waking::at(&room)));
}

#[test]
fn who_sleeps_hears_of_the_end_from_another_who_knows_a_later_owner() {
    let room = Arc::new(<WaitingRoom>::default());
    let (owner, later) = (Fence::new(1), Fence::new(2));
    let [watcher, waiter, another] = [(); 3].map(|()| room.enter(KEY, owner, 3).unwrap());
    let mut watch = pin!(watcher.wait(owner, pending()));
    let mut wait = pin!(waiter.wait(owner, pending()));
    let mut wait_for_later = pin!(another.wait(later, pending()));
    let waking = Waking::at(&room);
    assert!(is_asleep(watch.as_mut(), Waking::at(&room)));
    assert!(is_asleep(wait.as_mut(), Arc::clone(&waking)));

    assert!(is_asleep(wait_for_later.as_mut(), Waking::at(&room)));

    assert_eq!(waking.woken.load(Ordering::Relaxed), 1);
    assert!(!is_asleep(wait, waking));
    assert!(is_asleep(watch, Waking::at(&room)), "it asks the store");
}

#[test]
fn who_sleeps_hears_of_the_end_from_the_owner_itself() {
    let room = Arc::new(<WaitingRoom>::default());
    let (earlier, owner) = (Fence::new(1), Fence::new(2));
    let [watcher, waiter] = [(); 2].map(|()| room.enter(KEY, owner, 2).unwrap());
    let mut watch = pin!(watcher.wait(owner, pending()));
    let mut wait = pin!(waiter.wait(owner, pending()));
    let waking = Waking::at(&room);
    assert!(is_asleep(watch.as_mut(), Waking::at(&room)));
    assert!(is_asleep(wait.as_mut(), Arc::clone(&waking)));

    room.ended(&KEY, earlier);
    assert_eq!(waking.woken.load(Ordering::Relaxed), 0, "another one");
    room.ended(&KEY, owner);
    assert_eq!(waking.woken.load(Ordering::Relaxed), 1);

    assert!(!is_asleep(wait, waking));
    assert!(is_asleep(watch, Waking::at(&room)), "it asks the store");
    let nobody = RecordKey::from_parts([0; 16], [0; 32]);
    room.ended(&nobody, owner);
}

#[test]
fn no_waker_is_woken_or_dropped_under_the_lock() {
    let room = Arc::new(<WaitingRoom>::default());
    let locked = Arc::default();
    let waking = || Waking::noting(&room, &locked);
    let (owner, later) = (Fence::new(1), Fence::new(2));
    let waiters = [(); 4].map(|()| room.enter(KEY, owner, 4).unwrap());
    // Nobody else has what they sleep with.
    let sleeping = || {
        let mut watch = Box::pin(waiters[0].wait(owner, pending()));
        assert!(is_asleep(watch.as_mut(), waking()));
        let waits = waiters[1..].iter().map(|waiter| {
            let mut wait = Box::pin(waiter.wait(owner, ready(())));
            assert!(is_asleep(wait.as_mut(), waking()));
            assert!(is_asleep(wait.as_mut(), waking()), "replaced");
            wait
        });
        let waits = waits.collect::<Vec<_>>();
        (watch, waits)
    };

    let (watch, mut waits) = sleeping();
    waits.pop();
    drop(watch);
    assert!(
        !is_asleep(waits[0].as_mut(), waking()),
        "watches to the end"
    );
    assert!(!is_asleep(waits[1].as_mut(), waking()), "woken");

    let (_watch, mut waits) = sleeping();
    assert!(waiters[0].turn(later).is_some());
    assert!(!is_asleep(waits[0].as_mut(), waking()), "woken");

    drop(waits);
    assert!(!locked.load(Ordering::Relaxed));
}
