//! What the layer allocates: allocations and bytes of one call, request and response included, and how many of them
//! are the layer's.
//!
//! ```text
//! cargo bench --bench allocations
//! ```

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]
#![expect(clippy::print_stdout, reason = "it prints a table")]

mod support;

use support::{Around, Case, RECORDS_PER_STORE, REQUEST_BYTES, prepared, request_body, runtime};

/// Calls that are not counted: the first ones make what all others use.
const BEFORE: u64 = 1_000;

fn main() {
    let runtime = runtime();
    let _context = runtime.enter();

    println!(
        "{:16} {:14} {:>11} {:>8} {:>12}",
        "around", "case", "allocations", "bytes", "of the layer"
    );
    for around in Around::ALL {
        for case in Case::ALL {
            let (allocations, bytes) = allocated(case, around);
            let of_the_layer = allocations - allocated(case.bare(), around).0;
            println!(
                "{:16} {:14} {allocations:11.2} {bytes:8.0} {of_the_layer:12.2}",
                around.name(),
                case.name(),
            );
        }
    }
}

/// Allocations and bytes of a call, on average: a map that grows allocates now and then.
fn allocated(case: Case, around: Around) -> (f64, f64) {
    let mut calls = prepared(case, around, &request_body(REQUEST_BYTES));
    (0..BEFORE).for_each(&mut calls);
    let info = allocation_counter::measure(|| (BEFORE..RECORDS_PER_STORE).for_each(&mut calls));
    let counted = (RECORDS_PER_STORE - BEFORE) as f64;
    (
        info.count_total as f64 / counted,
        info.bytes_total as f64 / counted,
    )
}
