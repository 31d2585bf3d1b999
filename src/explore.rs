//! Runs the scenarios of unit tests under the schedulers of shuttle; see [`lock`](crate::lock).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use shuttle::scheduler::{
    DfsScheduler, PctScheduler, RandomScheduler, Schedule, Scheduler, Task, TaskId,
};
use shuttle::{Config, FailurePersistence, Runner};

use crate::lock::Lock;

/// Several steps: what others do can come before it is locked, while it is, and before its owner goes on.
impl<T> Lock<T> for shuttle::sync::Mutex<T> {
    fn with<R>(&self, visit: impl FnOnce(&mut T) -> R) -> R {
        let visited = visit(&mut self.lock().unwrap_or_else(PoisonError::into_inner));
        // What comes next may be no step to the scheduler: a waker, something of tokio's.
        step();
        visited
    }
}

/// A lock under which nothing else happens: one step, where a mutex of shuttle takes several. Whoever takes another step
/// under it fails.
#[derive(Debug, Default)]
pub(crate) struct Step<T>(Mutex<T>);

impl<T> Lock<T> for Step<T> {
    fn with<R>(&self, visit: impl FnOnce(&mut T) -> R) -> R {
        step();
        visit(&mut self.0.try_lock().expect("no step is taken under a lock"))
    }
}

/// Here the scheduler chooses who goes on.
pub(crate) fn step() {
    shuttle::thread::sleep(Duration::ZERO);
}

/// Runs a scenario so often at random, and so often by PCT, which lets one thread run as long as it can and another one
/// first at few points. A schedule that fails is printed, for `shuttle::replay`; SHUTTLE_RANDOM_SEED makes other ones.
pub(crate) fn explore(schedules: usize, scenario: impl Fn() + Copy + Send + Sync + 'static) {
    run(RandomScheduler::new_from_seed(SEED, schedules), scenario);
    run(PctScheduler::new_from_seed(SEED, 3, schedules), scenario);
}

/// Runs a scenario in every order there is, and says how many there are.
///
/// Its first thread only starts others and waits for them, and whatever those do before their first [`step`] is no
/// concern of anybody.
pub(crate) fn exhaust(scenario: impl Fn() + Send + Sync + 'static) -> usize {
    let every = Begun {
        tasks: 0,
        then: DfsScheduler::new(Some(MOST), false),
    };
    let schedules = run(every, scenario);
    assert!(schedules < MOST, "too many orders to try them all");
    schedules
}

/// Fails unless some order of a scenario does, and says with what.
pub(crate) fn fault_of(scenario: impl Fn() + Send + Sync + 'static) -> String {
    let runner = Runner::new(
        RandomScheduler::new_from_seed(SEED, 10_000),
        config(FailurePersistence::None),
    );
    let panic = catch_unwind(AssertUnwindSafe(|| runner.run(scenario)))
        .expect_err("no order shows the fault");
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .expect("a panic with a text")
}

fn run(scheduler: impl Scheduler + 'static, scenario: impl Fn() + Send + Sync + 'static) -> usize {
    Runner::new(scheduler, config(FailurePersistence::Print)).run(scenario)
}

fn config(persistence: FailurePersistence) -> Config {
    let mut config = Config::new();
    config.failure_persistence = persistence;
    config
}

/// Leaves the choice to another scheduler once every task has begun.
#[derive(Debug)]
struct Begun<S> {
    tasks: usize,
    then: S,
}

impl<S: Scheduler> Scheduler for Begun<S> {
    fn new_execution(&mut self) -> Option<Schedule> {
        self.tasks = 0;
        self.then.new_execution()
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        let tasks = runnable.iter().map(|task| task.id());
        let first = tasks.clone().find(|task| usize::from(*task) == 0);
        let new = tasks.clone().find(|task| usize::from(*task) > self.tasks);
        if let Some(new) = new.filter(|_| first.is_none()) {
            self.tasks = usize::from(new);
        }
        first
            .or(new)
            .or_else(|| self.then.next_task(runnable, current, is_yielding))
    }

    fn next_u64(&mut self) -> u64 {
        self.then.next_u64()
    }
}

const SEED: u64 = 0x7ed5;
const MOST: usize = 200_000;
