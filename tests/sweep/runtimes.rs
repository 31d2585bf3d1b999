//! Runtimes that end with requests at any point: nothing panics while it is dropped, nothing is dropped twice, and in
//! the next runtime the store is as good as before.
//!
//! In a process of its own, where any report of a panic is the end: tokio would swallow one that a dropped task makes, and
//! a second one while the first unwinds aborts.

use std::cell::Cell;
use std::env;
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind, set_hook};
use std::process::{Command, abort};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tower_idempotency::{Drained, MemoryStore, Outcome, StoreErrorKind};

use crate::client::Got;
use crate::frames::Step;
use crate::model::End;
use crate::rounds::poll_up_to;
use crate::row::{Before, Does, Row};
use crate::scripted::{Fault, Scripted, Verb};
use crate::world::{LEASE, LONG, World};

#[derive(Clone, Copy, Debug)]
enum Flavour {
    CurrentThread,
    MultiThread,
}

impl Flavour {
    fn build(self) -> Runtime {
        let mut builder = match self {
            Self::CurrentThread => Builder::new_current_thread(),
            Self::MultiThread => Builder::new_multi_thread(),
        };
        builder.worker_threads(2).enable_time().build().unwrap()
    }
}

/// Where the request is when its runtime is dropped.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Request {
    /// Its client has hung up: what is left of it is a task.
    HungUp,
    /// A task.
    Inside,
    /// The same, and nobody waits for the runtime to end.
    InsideInBackground,
    /// It is dropped outside of any runtime, just before its own.
    Outside,
    /// It is dropped after the runtime.
    Outlives,
}

/// How a runtime ends.
#[derive(Clone, Copy, Debug)]
struct Dropped {
    flavour: Flavour,
    request: Request,
    /// While a panic unwinds.
    unwinds: bool,
}

fn rows() -> Vec<(&'static str, fn() -> Row)> {
    const NOT_APPLIED: Fault = Fault::Before(StoreErrorKind::NotApplied);
    fn beside_hanging(verb: Verb) -> Row {
        let row = Row::of(Does::kept()).always(verb, Fault::SlowBefore(LONG));
        row.by(|layer| layer.store_timeout(Duration::from_millis(20)))
    }
    vec![
        ("kept", || Row::of(Does::kept())),
        ("in frames", || {
            let frames = [Step::Wait(Duration::from_millis(1)), Step::Data("more")];
            Row::of(Does::body(End::Kept, frames))
        }),
        ("a stream", || Row::of(Does::stream([Step::Data("more")]))),
        ("freed", || Row::of(Does::freed())),
        ("failing", || Row::of(Does::failing())),
        ("panicking", || Row::of(Does::panicking())),
        ("committed", || Row::of(Does::failing().committed())),
        ("after another", || {
            Row::after(Before::Executed, Does::failing())
        }),
        ("waiting", || {
            let slow = Does::kept().taking(Duration::from_millis(4));
            Row::after(Before::Running, slow).waiting()
        }),
        ("claims hang", || beside_hanging(Verb::Claim)),
        ("claims fail", || {
            let applied = Fault::After(StoreErrorKind::Ambiguous);
            Row::of(Does::kept()).always(Verb::Claim, applied)
        }),
        ("not completed", || {
            Row::of(Does::kept()).always(Verb::Complete, NOT_APPLIED)
        }),
        ("completing hangs", || beside_hanging(Verb::Complete)),
        ("not released", || {
            Row::of(Does::freed()).always(Verb::Release, NOT_APPLIED)
        }),
        ("not abandoned", || {
            Row::of(Does::failing()).always(Verb::Abandon, NOT_APPLIED)
        }),
        ("renewed in the background", || {
            Row::of(Does::kept()).by(|layer| layer.lease(LEASE / 1_000).renew_in_background())
        }),
    ]
}

#[test]
fn a_current_thread_runtime_can_be_dropped_at_any_point() {
    let name = "runtimes::a_current_thread_runtime_can_be_dropped_at_any_point";
    in_a_process_of_its_own(name, || every_point(Flavour::CurrentThread));
}

#[test]
fn a_multi_thread_runtime_can_be_dropped_at_any_point() {
    let name = "runtimes::a_multi_thread_runtime_can_be_dropped_at_any_point";
    in_a_process_of_its_own(name, || every_point(Flavour::MultiThread));
}

/// Runs `test` in a process that ends with the first panic that is reported, and shows what that has said.
fn in_a_process_of_its_own(name: &str, test: impl FnOnce()) {
    const CHILD: &str = "IN_A_PROCESS_OF_ITS_OWN";
    if env::var_os(CHILD).is_some() {
        set_hook(Box::new(|panic| {
            eprintln!("{panic}");
            abort();
        }));
        std::thread::spawn(|| {
            std::thread::sleep(5 * LONG);
            eprintln!("something waits for ever");
            abort();
        });
        return test();
    }
    let mut child = Command::new(env::current_exe().unwrap());
    let child = child.args(["--exact", name, "--nocapture"]).env(CHILD, "1");
    let output = child.output().unwrap();

    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().take(5).collect::<Vec<_>>();
    assert!(output.status.success(), "{}: {last:?}", output.status);
    let ran = String::from_utf8_lossy(&output.stdout);
    assert!(ran.contains("1 passed"), "{ran}");
}

fn every_point(flavour: Flavour) {
    let requests = [
        Request::HungUp,
        Request::Inside,
        Request::InsideInBackground,
        Request::Outside,
        Request::Outlives,
    ];
    for (name, row) in rows() {
        for (request, unwinds) in requests.iter().flat_map(|it| [(*it, false), (*it, true)]) {
            let dropped = Dropped {
                flavour,
                request,
                unwinds,
            };
            for polls in 0.. {
                // The last one is where it has stopped.
                eprintln!("{name}, {polls} polls, {dropped:?}");
                if drops_well(row(), dropped, polls) {
                    break;
                }
                assert!(polls < 200, "it never ends");
            }
        }
    }
}

/// Whether the request came to its end before.
fn drops_well(row: Row, dropped: Dropped, polls: usize) -> bool {
    let clock = Arc::<AtomicU64>::default();
    let seconds = Arc::clone(&clock);
    let memory =
        MemoryStore::with_clock(move || Duration::from_secs(seconds.load(Ordering::SeqCst)));
    let world = World::over(row, Scripted::over(memory, 1));
    let got = drop_a_runtime(&world, dropped, polls);

    world.store.heal();
    let told = || format!("{:?}", world.happened.executions());
    let begin = Instant::now();
    let next = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    let next = next.unwrap();
    // The threads of a runtime that nobody waited for may still be at it.
    while world.layer.drain(LONG).now_or_never() != Some(Drained { left: 0 })
        || !next.block_on(world.has_room("first"))
    {
        assert!(begin.elapsed() < LONG, "{}: something is left", told());
        std::thread::yield_now();
    }
    // Every lease has ended.
    clock.fetch_add(LEASE.as_secs() + 1, Ordering::SeqCst);
    next.block_on(async {
        let last = world.happened.executions().last().copied();
        world.happened.is_calm.store(true, Ordering::SeqCst);

        let retry = world.again().await;
        let recorded = Outcome::Executed { recorded: true };
        let is_right = match retry.outcome() {
            Some(Outcome::Replayed) => true,
            Some(Outcome::Refused) => {
                last.is_some_and(|last| matches!(last.end, End::Tombstone | End::Unknown))
            }
            Some(outcome) if outcome == recorded => {
                let attempt = world.happened.executions().last().unwrap().attempt;
                let was_recorded = got
                    .as_ref()
                    .is_some_and(|got| got.outcome() == Some(recorded));
                !was_recorded
                    && last.is_none_or(|last| last.end == End::Freed || last.attempt < attempt)
            }
            _ => false,
        };
        assert!(is_right, "{}: {retry:?}", told());
        world.has_all_room(&told).await;
        world.forget().await;
    });
    got.is_some()
}

/// Polls the request so often and drops its runtime, perhaps while a panic unwinds; what it has got.
fn drop_a_runtime(world: &World, dropped: Dropped, polls: usize) -> Option<Got> {
    let got = Cell::new(None);
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let mut outlives = Box::pin(world.request());
        let runtime = dropped.flavour.build();
        let mut outside = Box::pin(world.request());
        got.set(runtime.block_on(async {
            let _goes_on = world.prepare().await;
            world.begin_faults();
            match dropped.request {
                Request::HungUp => {
                    let mut request = Box::pin(world.request());
                    poll_up_to(&mut request, polls, false).await
                }
                Request::Inside | Request::InsideInBackground => {
                    let (reached, has_reached) = oneshot::channel();
                    let mut request = Box::pin(world.request());
                    tokio::spawn(async move {
                        let got = poll_up_to(&mut request, polls, false).await;
                        let goes_on = got.is_none();
                        let _ = reached.send(got);
                        if goes_on {
                            pending::<()>().await;
                        }
                    });
                    has_reached.await.unwrap()
                }
                Request::Outside => poll_up_to(&mut outside, polls, false).await,
                Request::Outlives => poll_up_to(&mut outlives, polls, false).await,
            }
        }));
        if dropped.unwinds {
            resume_unwind(Box::new("another panic"));
        }
        if dropped.request == Request::InsideInBackground {
            runtime.shutdown_background();
        }
        // What is left goes in the reverse order.
    }));
    got.into_inner()
}
