//! Runs histories, many or one.

use std::env;
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::QUIET;
use crate::broken::Bug;
use crate::check::Violation;
use crate::under_test::Mount;
use crate::world::World;

/// Of each store, where the environment does not say otherwise.
const HISTORIES: u64 = 1_500;

/// Runs the histories that the environment asks for.
pub(crate) fn run(store: &str, mount: &Mount) {
    quiet();
    if let Some(seed) = number("SEED") {
        let (violation, trace) = told(seed, mount);
        eprintln!("{trace}");
        if let Some(violation) = violation {
            panic!("{violation}");
        }
        return;
    }
    let first = number("FROM").unwrap_or(0);
    let last = first + number("HISTORIES").unwrap_or(HISTORIES);
    let (next, has_failed) = (AtomicU64::new(first), AtomicBool::new(false));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !has_failed.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= last {
                        break;
                    }
                    if let Some(seen) = violation(seed, mount, Bug::None) && !has_failed.swap(true, Ordering::Relaxed) {
                        let (violation, trace) = told(seed, mount);
                        eprintln!("{trace}");
                        let violation = violation.map(|violation| violation.to_string());
                        let violation = violation.unwrap_or_else(|| format!("it does not replay: {seen}"));
                        eprintln!("{violation}\n\nSEED={seed} cargo test --all-features --test histories {store}");
                    }
                }
            });
        }
    });
    assert!(
        !has_failed.load(Ordering::Relaxed),
        "a history has failed, see above"
    );
}

/// What does not hold of one history.
pub(crate) fn violation(seed: u64, mount: &Mount, bug: Bug) -> Option<Violation> {
    World::new(seed, mount, bug, false).live()
}

/// One history with what it tells.
fn told(seed: u64, mount: &Mount) -> (Option<Violation>, String) {
    let world = World::new(seed, mount, Bug::None, true);
    let (book, chaos) = (world.book.clone(), world.chaos.clone());
    let violation = world.live();
    let trace = book.trace().join("\n");
    (violation, format!("{trace}\n\n{chaos}"))
}

/// The trace of one history.
pub(crate) fn trace(seed: u64, mount: &Mount) -> Vec<String> {
    quiet();
    let (_, trace) = told(seed, mount);
    trace.lines().map(str::to_owned).collect()
}

fn number(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name}={value} is no number")),
    )
}

/// Says nothing of panics on purpose.
pub(crate) fn quiet() {
    static ONCE: Once = Once::new();

    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            let payload = panic.payload();
            let on_purpose = payload.downcast_ref() == Some(&QUIET)
                || payload
                    .downcast_ref::<String>()
                    .is_some_and(|text| text.starts_with("chaos: "));
            if !on_purpose {
                before(panic);
            }
        }));
    });
}
