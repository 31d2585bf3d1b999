//! One task per runtime that takes turns at the work of many, also while the threads of their handlers are blocked.
//!
//! No thread of the runtime wakes the task: it runs what it has woken itself first, and may be about to block. So the task
//! looks around by itself. Timers are in the hands of a thread, too: where it goes on to run a handler that blocks, no
//! timer of the runtime ends. So a thread of our own stirs a runtime of several, and another one takes them over.

use std::collections::{BTreeMap, HashMap};
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::runtime::{Handle, Id, RuntimeFlavor};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::clock;
use crate::drive::until;

/// So long the thread sleeps at most: it outlives the work by no more.
const SECOND: Duration = Duration::from_secs(1);

/// The work of many: one task in each runtime that has some.
#[derive(Default)]
pub(crate) struct Keeper {
    rounds: Mutex<HashMap<Id, Weak<Round>>>,
}

/// The work in one runtime: its task is started with the first, and ends when there is none left.
#[derive(Default)]
struct Round {
    kept: Mutex<Kept>,
    /// Wakes the thread, which wakes the task.
    sooner: Condvar,
    /// Wakes the task.
    stir: Notify,
}

#[derive(Default)]
struct Kept {
    /// In order: which turn comes first must not be drawn, or a test with a seed would not replay.
    works: BTreeMap<u64, Work>,
    last: u64,
    /// So late a turn may be, of the strictest.
    slack: Duration,
    is_driven: bool,
    has_thread: bool,
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
    round: Arc<Round>,
    number: u64,
    has_ended: Arc<AtomicBool>,
}

impl Keeper {
    /// Takes a turn of some work at `first`, or a little later, and again as each turn says, until what this gives is
    /// dropped. `None` outside a runtime, and where no thread can be had.
    pub(crate) fn keep(
        &self,
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
        let round = self.round(runtime.id());
        let (number, is_driven) = round.take_on(work);
        let keeping = Keeping {
            round,
            number,
            has_ended,
        };
        (is_driven || keeping.round.start(runtime)).then_some(keeping)
    }

    fn round(&self, runtime: Id) -> Arc<Round> {
        let mut rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(round) = rounds.get(&runtime).and_then(Weak::upgrade) {
            return round;
        }
        let round = Arc::default();
        rounds.retain(|_, round| round.strong_count() > 0);
        rounds.insert(runtime, Arc::downgrade(&round));
        round
    }
}

impl Round {
    /// Its number, and whether the task is there.
    fn take_on(&self, work: Work) -> (u64, bool) {
        let mut kept = self.lock();
        let is_driven = std::mem::replace(&mut kept.is_driven, true);
        let is_sooner = work.slack < kept.slack;
        if is_sooner || !is_driven {
            kept.slack = work.slack;
        }
        kept.last += 1;
        let number = kept.last;
        kept.works.insert(number, work);
        if is_driven && is_sooner {
            if kept.has_thread {
                self.sooner.notify_one();
            } else {
                self.stir.notify_one();
            }
        }
        (number, is_driven)
    }

    /// Starts the task. Without the lock: a runtime that has ended drops it on the spot.
    fn start(self: &Arc<Self>, runtime: Handle) -> bool {
        let driver = Driver {
            round: Arc::clone(self),
            alive: Arc::new(()),
            has_ended: false,
        };
        let has_thread = runtime.runtime_flavor() == RuntimeFlavor::MultiThread;
        self.lock().has_thread = has_thread;
        if !has_thread {
            runtime.spawn(driver.drive());
            return true;
        }
        let (round, alive) = (Arc::clone(self), Arc::downgrade(&driver.alive));
        let stirring = move || {
            runtime.spawn(driver.drive());
            let mut kept = round.lock();
            while alive.strong_count() > 0 {
                let pause = kept.slack.min(SECOND);
                let waited = round.sooner.wait_timeout(kept, pause);
                drop(waited.unwrap_or_else(PoisonError::into_inner));
                round.stir.notify_one();
                // It may be known to a thread that is blocked: another one is to come and take it.
                runtime.spawn(async {});
                kept = round.lock();
            }
        };
        let thread = thread::Builder::new().name("idempotency-keeper".into());
        thread.spawn(stirring).is_ok()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        self.has_ended.store(true, Ordering::Release);
        // What it holds is dropped after the lock.
        let _work = self.round.lock().works.remove(&self.number);
    }
}

impl Kept {
    /// The turns that are due, and how long the others may wait.
    fn due(&mut self, now: Instant) -> (Vec<(u64, Turn)>, Duration) {
        let slack = self.works.values().map(|work| work.slack).min();
        self.slack = slack.unwrap_or(self.slack);
        let is_due = |work: &Work| matches!(work.next, Next::At(moment) if moment <= now);
        let due = self.works.iter_mut().filter(|(_, work)| is_due(work));
        let turns = due.map(|(number, work)| {
            work.next = Next::UnderWay;
            let turn = unless(Arc::clone(&work.has_ended), (work.turn)());
            (*number, turn)
        });
        (turns.collect(), self.slack)
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
struct Driver {
    round: Arc<Round>,
    alive: Arc<()>,
    has_ended: bool,
}

impl Driver {
    async fn drive(mut self) {
        let mut under_way = FuturesUnordered::new();
        loop {
            let now = Instant::now();
            let (due, slack) = {
                let mut kept = self.round.lock();
                if kept.works.is_empty() && under_way.is_empty() {
                    kept.is_driven = false;
                    self.has_ended = true;
                    return;
                }
                kept.due(now)
            };
            let turns = due.into_iter();
            under_way.extend(turns.map(|(number, turn)| async move { (number, turn.await) }));
            // Of those that end, none is a reason to look at the others.
            let ending = async {
                while let Some((number, next)) = under_way.next().await {
                    self.after(number, next);
                }
                pending().await
            };
            let looked_for = async {
                tokio::select! {
                    biased;
                    () = ending => {}
                    () = self.round.stir.notified() => {}
                }
            };
            until(clock::later(now, slack), looked_for).await;
        }
    }

    fn after(&self, number: u64, next: Option<Instant>) {
        // What has ended is dropped after the lock.
        let _ended = {
            let mut kept = self.round.lock();
            match (next, kept.works.get_mut(&number)) {
                (Some(next), Some(work)) => {
                    work.next = Next::At(next);
                    None
                }
                _ => kept.works.remove(&number),
            }
        };
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        let mut kept = self.round.lock();
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
    fn counted(keeper: &Keeper, period: Duration, turns: &Arc<Mutex<u32>>) -> Option<Keeping> {
        let turns = Arc::clone(turns);
        let first = Instant::now() + period;
        keeper.keep(first, period / 4, move || {
            *turns.lock().unwrap() += 1;
            Box::pin(async move { Some(Instant::now() + period) })
        })
    }

    #[tokio::test(start_paused = true)]
    async fn work_goes_on_until_it_is_dropped() {
        let (keeper, turns) = (Keeper::default(), Arc::new(Mutex::new(0)));
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
        let (keeper, turns) = (Keeper::default(), Arc::new(Mutex::new(0)));
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
        let (keeper, held) = (Keeper::default(), Arc::new(()));
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

    #[tokio::test(start_paused = true)]
    async fn work_of_less_slack_is_looked_at_in_time() {
        for hangs in [false, true] {
            let (keeper, turns) = (Keeper::default(), Arc::new(Mutex::new(0)));
            let before = keeper.keep(Instant::now(), 100 * SECOND, move || {
                Box::pin(async move {
                    if hangs {
                        pending::<()>().await;
                    }
                    Some(Instant::now() + 1000 * SECOND)
                })
            });
            tokio::time::sleep(SECOND).await;
            // Of what has ended, its turn may still hang.
            let _before = before.filter(|_| !hangs);

            let _kept = counted(&keeper, SECOND, &turns);
            tokio::time::sleep(10 * SECOND).await;

            assert!(*turns.lock().unwrap() >= 7, "{hangs} {turns:?}");
        }
    }

    fn current_thread() -> tokio::runtime::Runtime {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().start_paused(true).build().unwrap()
    }

    #[test]
    fn each_runtime_has_a_task_of_its_own() {
        let (keeper, turns) = (Keeper::default(), Arc::new(Mutex::new(0)));
        let [first, second] = [(); 2].map(|()| current_thread());
        let _of_first = first.block_on(async { counted(&keeper, SECOND, &turns) });
        let begin = async { counted(&keeper, SECOND, &turns) };
        let _of_second = second.block_on(begin);

        // The first one is there, and nobody drives it.
        second.block_on(async { tokio::time::sleep(10 * SECOND).await });
        let with_it = *turns.lock().unwrap();
        assert!((7..=10).contains(&with_it), "{with_it}");

        drop(first);
        second.block_on(async { tokio::time::sleep(10 * SECOND).await });
        assert!(*turns.lock().unwrap() >= with_it + 7);
    }

    #[test]
    fn what_is_known_of_a_runtime_goes_with_it() {
        let (keeper, turns) = (Keeper::default(), Arc::new(Mutex::new(0)));

        for _ in 0..10 {
            let runtime = current_thread();
            let kept = runtime.block_on(async { counted(&keeper, SECOND, &turns) });
            assert!(kept.is_some());
        }

        assert_eq!(keeper.rounds.lock().unwrap().len(), 1);
    }

    #[test]
    fn a_runtime_that_has_ended_is_not_waited_for() {
        let (keeper, turns) = (Keeper::default(), Arc::new(Mutex::new(0)));
        for flavor in [RuntimeFlavor::CurrentThread, RuntimeFlavor::MultiThread] {
            let mut runtime = match flavor {
                RuntimeFlavor::MultiThread => tokio::runtime::Builder::new_multi_thread(),
                _ => tokio::runtime::Builder::new_current_thread(),
            };
            let runtime = runtime.enable_time().build().unwrap();
            let ended = runtime.handle().clone();
            drop(runtime);

            let _entered = ended.enter();
            let kept = counted(&keeper, SECOND, &turns).unwrap();

            while kept.round.lock().is_driven {
                thread::yield_now();
            }
        }
    }

    #[test]
    fn outside_a_runtime_nothing_is_kept() {
        let keeper = Keeper::default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let now = runtime.block_on(async { Instant::now() });

        let kept = keeper.keep(now, SECOND, || Box::pin(async { None }));

        assert!(kept.is_none() && keeper.rounds.lock().unwrap().is_empty());
    }
}
