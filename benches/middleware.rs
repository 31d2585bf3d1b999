//! What the layer costs, case by case: around a `service_fn`, around a `Router` and inside of one, with bodies of 256 B,
//! 16 KiB and 1 MiB.
//!
//! ```text
//! cargo bench --bench middleware              # criterion's figures, then the ratios
//! cargo bench --bench middleware -- ratios    # the ratios alone
//! ```
//!
//! Criterion's figures are of one case after the other; the ratios are of cases that took turns, the best round of each.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]
#![expect(clippy::print_stdout, reason = "it prints a table")]

#[path = "support/ratios.rs"]
mod ratios;
#[path = "support/rounds.rs"]
mod rounds;
mod support;

use std::env;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion};
use support::{Around, Case, RECORDS_PER_STORE, prepared, request_body, runtime};

const BODIES: [(&str, usize); 3] = [("256 B", 256), ("16 KiB", 16 << 10), ("1 MiB", 1 << 20)];

fn main() {
    let runtime = runtime();
    if !env::args().any(|argument| argument == "ratios") {
        let _context = runtime.enter();
        criterion();
    }
    ratios::print(runtime);
}

fn criterion() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(50)
        .configure_from_args();
    for around in Around::ALL {
        let mut group = criterion.benchmark_group(around.name());
        for (name, bytes) in BODIES {
            // What a router adds does not depend on the body.
            if around == Around::Function || name == "256 B" {
                for case in Case::ALL {
                    measure(&mut group, case, around, name, bytes);
                }
            }
        }
        group.finish();
    }
    criterion.final_summary();
}

fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    case: Case,
    around: Around,
    name: &str,
    bytes: usize,
) {
    let body = request_body(bytes);
    group.bench_function(BenchmarkId::new(case.name(), name), |bencher| {
        bencher.iter_custom(|iterations| {
            let (mut measured, mut done) = (Duration::ZERO, 0);
            while done < iterations {
                // On a store of its own from time to time, so that none grows large.
                let mut calls = prepared(case, around, &body);
                let until = iterations.min(done + RECORDS_PER_STORE);
                let start = Instant::now();
                (done..until).for_each(|number| calls(black_box(number)));
                measured += start.elapsed();
                done = until;
            }
            measured
        });
    });
}
