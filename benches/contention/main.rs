//! What requests cost each other: threads side by side, a key that all want, ten thousand that wait for one, and floods
//! of what is refused.
//!
//! ```text
//! cargo bench --bench contention             # all
//! cargo bench --bench contention -- floods   # one: threads, waiters or floods
//! ```
//!
//! CPU time is that of the threads themselves (Linux counts it), so that two threads are comparable with one. Latencies
//! are those of one thread beside another that floods; where there is no second core for it, they show the scheduler.
//! Rounds of each kind follow each other in turn, and medians of their ratios are shown. The bounds themselves are asserted
//! by `tests/floods`.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]
#![expect(clippy::print_stdout, reason = "it prints tables")]

#[path = "../support/figures.rs"]
mod figures;
mod flood;
mod floods;
#[path = "../support/storm.rs"]
mod storm;
#[path = "../support/mod.rs"]
mod support;
mod threads;
mod waiters;

use std::env;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use bytes::Bytes;
use tower::Layer;
use tower_idempotency::IdempotencyLayer;

use figures::{median, per_mille};
use support::{Serves, function, request, runtime as context};

const ROUNDS: usize = 7;

/// A service of this layer, for one thread.
fn guarded(layer: &IdempotencyLayer) -> impl Serves {
    layer.layer(function())
}

/// What requests with other keys get meanwhile.
#[derive(Clone, Copy)]
enum Others {
    /// Their first requests.
    Run,
    /// Replays: where there is no room for new ones.
    Replay,
}

/// Half of them take at most so many nanoseconds, and 99 of 100.
struct Latency {
    p50: f64,
    p99: f64,
}

const PROBES: u64 = 50_000;
/// The key that is replayed.
const KNOWN: u64 = 1;
/// The first key of those that are new.
const OTHERS: u64 = 1 << 40;

/// How long requests with other keys take.
fn latency(layer: &IdempotencyLayer, others: Others, body: &Bytes) -> Latency {
    let context = context();
    let _context = context.enter();
    let mut service = guarded(layer);
    let mut taken = Vec::with_capacity(PROBES as usize);
    for number in 0..PROBES {
        let key = match others {
            Others::Run => OTHERS + number,
            Others::Replay => KNOWN,
        };
        let request = request(Some(key), body.clone());
        let began = Instant::now();
        let (status, _) = service.serve(request);
        let took = began.elapsed().as_nanos();
        assert_eq!(status, 201);
        taken.push(u32::try_from(took).unwrap_or(u32::MAX));
    }
    taken.sort_unstable();
    Latency {
        p50: per_mille(&taken, 500),
        p99: per_mille(&taken, 990),
    }
}

/// Runs `measure` while another thread makes such requests, and says how many a second.
fn beside<T>(
    requests: impl FnOnce() -> Box<dyn FnMut(u64)> + Send,
    measure: impl FnOnce() -> T,
) -> (T, f64) {
    let (has_begun, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let flood = scope.spawn(|| {
            let context = context();
            let _context = context.enter();
            let mut requests = requests();
            let (mut sent, began) = (0, Instant::now());
            while !is_over.load(Ordering::Relaxed) {
                requests(sent);
                sent += 1;
                has_begun.store(true, Ordering::Relaxed);
            }
            sent as f64 / began.elapsed().as_secs_f64()
        });
        while !has_begun.load(Ordering::Relaxed) {
            assert!(!flood.is_finished(), "there is no flood");
            thread::yield_now();
        }
        let measured = measure();
        is_over.store(true, Ordering::Relaxed);
        (measured, flood.join().unwrap())
    })
}

/// The latencies of rounds, alone and beside something, as a part of a row.
fn latency_columns(rounds: &[(Latency, Latency)]) -> String {
    let of = |value: fn(&(Latency, Latency)) -> f64| median(rounds.iter().map(value).collect());
    format!(
        "{:8.0} {:8.0} {:6.2}x {:8.0} {:8.0} {:6.2}x",
        of(|it| it.0.p50),
        of(|it| it.1.p50),
        of(|it| it.1.p50 / it.0.p50),
        of(|it| it.0.p99),
        of(|it| it.1.p99),
        of(|it| it.1.p99 / it.0.p99),
    )
}

/// What they are.
fn latency_head() -> String {
    format!(
        "{:>8} {:>8} {:>7} {:>8} {:>8} {:>7}",
        "p50 ns", "beside", "ratio", "p99 ns", "beside", "ratio"
    )
}

fn main() {
    // Cargo adds options of its own.
    let named: Vec<String> = env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let is_wanted = |part: &str| named.is_empty() || named.iter().any(|name| name == part);
    if is_wanted("threads") {
        threads::run();
    }
    if is_wanted("waiters") {
        waiters::run();
    }
    if is_wanted("floods") {
        floods::run();
    }
}
