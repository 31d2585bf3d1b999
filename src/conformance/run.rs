//! One obligation, from an empty store to its end.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use tokio::runtime::{Builder, Runtime};

use super::bench::Bench;
use super::candidate::{Local, Subject};
use super::clock::Clock;
use super::obligations::Obligation;
use super::times::Times;

/// Examines a store that `make` makes; `any` makes one whose clock is looked at.
pub(super) fn check(
    obligation: &Obligation,
    clock: &Clock,
    any: &dyn Fn() -> Local<Subject>,
    make: &dyn Fn() -> Local<Subject>,
) {
    let attempts: &[Times] = if obligation.wants_threads() {
        &[Times::THREADS]
    } else if clock.follows_tokio(any) {
        &[Times::PAUSED, Times::SLEEPY]
    } else {
        &Times::REAL
    };
    // A failure counts where store and machine were quick enough for times to mean something. Otherwise all is done
    // once more, and everything lasts longer.
    for (attempt, times) in (1..).zip(attempts) {
        match examine(obligation, *times, make) {
            Ok(()) => return,
            Err(failed) if failed.was_late && attempt < attempts.len() => {}
            Err(failed) => resume_unwind(failed.panic),
        }
    }
}

struct Failed {
    panic: Box<dyn Any + Send>,
    /// Whether store or machine took so long that times mean nothing.
    was_late: bool,
}

fn examine(
    obligation: &Obligation,
    times: Times,
    make: &dyn Fn() -> Local<Subject>,
) -> Result<(), Failed> {
    let (runtime, mut bench) = (runtime(obligation.wants_threads()), None);
    let examined = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let subject = make().await;
            if times.stands_still {
                tokio::time::pause();
            }
            let bench = bench.insert(Bench::new(subject.store, times)).clone();
            obligation.examine(bench, subject.corrupt).await;
        });
    }));
    examined.map_err(|panic| {
        // By the clock of this runtime.
        let _entered = runtime.enter();
        let was_late = bench.is_some_and(|bench| bench.spent() > times.slack);
        Failed { panic, was_late }
    })
}

pub(super) fn runtime(threads: bool) -> Runtime {
    let mut runtime = if threads {
        Builder::new_multi_thread()
    } else {
        Builder::new_current_thread()
    };
    runtime
        .worker_threads(4)
        .enable_all()
        .build()
        .expect("a runtime can be built")
}
