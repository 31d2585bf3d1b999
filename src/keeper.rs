//! One task that takes turns at the work of many, also while the threads of their handlers are blocked.
//!
//! Nobody wakes the task: a runtime runs what a thread has woken on that very thread first, and it may be about to
//! block. So the task looks around by itself, and is spawned from a thread that runs no handlers.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::clock;

/// The work of many, in one task: started with the first work, ended when there is none left.
#[derive(Default)]
pub(crate) struct Keeper {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    works: HashMap<u64, Work>,
    last: u64,
    is_driven: bool,
}

struct Work {
    next: Next,
    /// So late a turn may be.
    slack: Duration,
    turn: Box<dyn Fn() -> Turn + Send + Sync>,
    has_ended: Arc<AtomicBool>,
}

enum Next {
    At(Instant),
    UnderWay,
}

/// One turn of some work; when the next one is due, if there is one.
pub(crate) type Turn = Pin<Box<dyn Future<Output = Option<Instant>> + Send>>;

/// Work goes on until this is dropped.
pub(crate) struct Keeping {
    keeper: Arc<Keeper>,
    number: u64,
    has_ended: Arc<AtomicBool>,
}

impl Keeper {
    /// Takes a turn of some work at `first`, or a little later, and again as each turn says, until what this gives is
    /// dropped. `None` outside a runtime.
    pub(crate) fn keep(
        self: &Arc<Self>,
        first: Instant,
        slack: Duration,
        turn: impl Fn() -> Turn + Send + Sync + 'static,
    ) -> Option<Keeping> {
        let runtime = Handle::try_current().ok()?;
        let has_ended = Arc::<AtomicBool>::default();
        let work = Work {
            next: Next::At(first),
            slack,
            turn: Box::new(turn),
            has_ended: Arc::clone(&has_ended),
        };
        let mut kept = self.lock();
        kept.last += 1;
        let number = kept.last;
        kept.works.insert(number, work);
        let is_driven = std::mem::replace(&mut kept.is_driven, true);
        drop(kept);
        if !is_driven {
            // Without the lock: a runtime that has ended drops the driver on the spot.
            let driver = Driver(Arc::clone(self));
            runtime
                .clone()
                .spawn_blocking(move || runtime.spawn(driver.drive()));
        }
        Some(Keeping {
            keeper: Arc::clone(self),
            number,
            has_ended,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        self.has_ended.store(true, Ordering::Release);
        // What it holds is dropped after the lock.
        let _work = self.keeper.lock().works.remove(&self.number);
    }
}

impl Kept {
    /// The turns that are due, and how long the others may wait.
    fn due(&mut self, now: Instant) -> (Vec<(u64, Turn)>, Duration) {
        let mut due = Vec::new();
        let mut pause = Duration::MAX;
        for (number, work) in &mut self.works {
            pause = pause.min(work.slack);
            if matches!(work.next, Next::At(moment) if moment <= now) {
                work.next = Next::UnderWay;
                let turn = unless(Arc::clone(&work.has_ended), (work.turn)());
                due.push((*number, turn));
            }
        }
        (due, pause)
    }
}

/// A turn that is not gone on with once its work has ended.
fn unless(has_ended: Arc<AtomicBool>, mut turn: Turn) -> Turn {
    Box::pin(poll_fn(move |cx| {
        if has_ended.load(Ordering::Acquire) {
            return Poll::Ready(None);
        }
        turn.as_mut().poll(cx)
    }))
}

/// The task, as long as there is work and its runtime lives.
struct Driver(Arc<Keeper>);

impl Driver {
    async fn drive(self) {
        let mut under_way = FuturesUnordered::new();
        loop {
            let now = Instant::now();
            let pause = {
                let mut kept = self.0.lock();
                if kept.works.is_empty() && under_way.is_empty() {
                    kept.is_driven = false;
                    return;
                }
                let (due, pause) = kept.due(now);
                let turns = due.into_iter();
                under_way.extend(turns.map(|(number, turn)| async move { (number, turn.await) }));
                pause
            };
            let look_around = clock::sleep_until(clock::later(now, pause));
            tokio::select! {
                biased;
                Some((number, next)) = under_way.next() => self.after(number, next),
                () = look_around => {}
            }
        }
    }

    fn after(&self, number: u64, next: Option<Instant>) {
        let mut kept = self.0.lock();
        let _ended = match (next, kept.works.get_mut(&number)) {
            (Some(next), Some(work)) => {
                work.next = Next::At(next);
                None
            }
            _ => kept.works.remove(&number),
        };
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let mut kept = self.0.lock();
        kept.is_driven = false;
        for work in kept.works.values_mut() {
            if matches!(work.next, Next::UnderWay) {
                work.next = Next::At(Instant::now());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Work whose turns are counted, one every `period`.
    fn counted(keeper: &Arc<Keeper>, period: Duration, turns: &Arc<Mutex<u32>>) -> Option<Keeping> {
        let turns = Arc::clone(turns);
        let first = Instant::now() + period;
        keeper.keep(first, period / 4, move || {
            *turns.lock().unwrap() += 1;
            Box::pin(async move { Some(Instant::now() + period) })
        })
    }

    #[tokio::test(start_paused = true)]
    async fn work_goes_on_until_it_is_dropped() {
        let (keeper, turns) = (Arc::<Keeper>::default(), Arc::new(Mutex::new(0)));
        let kept = counted(&keeper, 4 * SECOND, &turns);

        tokio::time::sleep(41 * SECOND).await;
        let counted = *turns.lock().unwrap();
        assert!((8..=10).contains(&counted), "{counted}");

        drop(kept);
        tokio::time::sleep(41 * SECOND).await;
        assert_eq!(*turns.lock().unwrap(), counted);
        assert_eq!(Arc::strong_count(&turns), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_one_task_as_long_as_there_is_work() {
        let (keeper, turns) = (Arc::<Keeper>::default(), Arc::new(Mutex::new(0)));
        let metrics = Handle::current().metrics();

        for _ in 0..3 {
            let kept = [1, 2, 3].map(|period| counted(&keeper, period * SECOND, &turns));
            tokio::time::sleep(10 * SECOND).await;
            assert_eq!(metrics.num_alive_tasks(), 1);
            assert!(*turns.lock().unwrap() > 10);

            drop(kept);
            tokio::time::sleep(SECOND).await;
            assert_eq!(metrics.num_alive_tasks(), 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_under_way_ends_with_its_work() {
        let (keeper, held) = (Arc::<Keeper>::default(), Arc::new(()));
        let of_turn = Arc::clone(&held);
        let kept = keeper.keep(Instant::now(), SECOND, move || {
            let held = Arc::clone(&of_turn);
            Box::pin(async move {
                tokio::time::sleep(5 * SECOND).await;
                drop(held);
                panic!("it is gone on with");
            })
        });
        tokio::time::sleep(SECOND).await;
        assert_eq!(Arc::strong_count(&held), 3);

        drop(kept);
        tokio::time::sleep(10 * SECOND).await;

        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[test]
    fn another_runtime_takes_over_when_the_first_has_gone() {
        let (keeper, turns) = (Arc::<Keeper>::default(), Arc::new(Mutex::new(0)));
        let runtime = || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_time().start_paused(true).build().unwrap()
        };
        let first = runtime();
        let _kept = first.block_on(async {
            let kept = counted(&keeper, SECOND, &turns);
            tokio::time::sleep(5 * SECOND).await;
            kept
        });
        drop(first);
        assert!(!keeper.lock().is_driven);

        runtime().block_on(async {
            let before = *turns.lock().unwrap();
            let kept = counted(&keeper, SECOND, &turns);
            tokio::time::sleep(5 * SECOND).await;
            drop(kept);
            assert!(*turns.lock().unwrap() > before);
        });
    }

    #[test]
    fn a_runtime_that_has_ended_is_not_waited_for() {
        let (keeper, turns) = (Arc::<Keeper>::default(), Arc::new(Mutex::new(0)));
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.enable_time().build().unwrap();
        let ended = runtime.handle().clone();
        drop(runtime);

        let _entered = ended.enter();
        let kept = counted(&keeper, SECOND, &turns);

        assert!(kept.is_some() && !keeper.lock().is_driven);
    }

    #[test]
    fn outside_a_runtime_nothing_is_kept() {
        let keeper = Arc::<Keeper>::default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let now = runtime.block_on(async { Instant::now() });

        let kept = keeper.keep(now, SECOND, || Box::pin(async { None }));

        assert!(kept.is_none() && keeper.lock().works.is_empty());
    }
}
