//! Instructions and allocations of one call, counted by valgrind's callgrind: stable where time is not.
//!
//! ```text
//! cargo bench --bench instructions
//! ```
//!
//! valgrind knows no SHA instructions, so that a hash is many times what it is on the machine itself: it is left out. So
//! is what the allocator does inside, which depends on what it finds free; its calls are counted beside.
//! With `--check FILE` the counts are compared with those of a file, with `--write FILE` they are kept in one; see
//! `benches/guard/run.sh`.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]
#![expect(clippy::print_stdout, reason = "it prints a table")]

#[path = "support/callgrind.rs"]
mod callgrind;
#[path = "support/costs.rs"]
mod costs;
mod support;

use std::env;
use std::process::ExitCode;

use callgrind::Counts;
use costs::Costs;
use support::{Around, Calls, Case, REQUEST_BYTES, prepared, request_body, runtime};

/// Calls that are not counted: the first ones make what all others use, and the tables of the store are between two of
/// their growths then.
const BEFORE: u64 = 5_000;
const COUNTED: u64 = 1_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["--child", around, case, calls] = arguments[..] {
        let around = Around::ALL.into_iter().find(|it| it.name() == around);
        let case = Case::ALL.into_iter().find(|it| it.name() == case);
        run(case.unwrap(), around.unwrap(), calls.parse().unwrap());
        return ExitCode::SUCCESS;
    }
    if !callgrind::is_there() {
        println!("skipped: valgrind is missing. Install it: apt-get install valgrind");
        return ExitCode::SUCCESS;
    }
    let costs = table();
    match arguments[..] {
        ["--write", file] => costs.write(file),
        ["--check", file] if !costs.agree_with(file) => return ExitCode::FAILURE,
        _ => {}
    }
    ExitCode::SUCCESS
}

fn table() -> Costs {
    println!(
        "{:14} {:14} {:>12} {:>12} {:>11} {:>12}",
        "around", "case", "instructions", "over bare", "allocations", "over bare"
    );
    let mut costs = Costs::default();
    for around in Around::ALL {
        for case in Case::ALL {
            let counts = counted(case, around);
            costs.add(around.name(), case.name(), counts);
            let bare = costs.of(around.name(), case.bare().name());
            println!(
                "{:14} {:14} {:12.0} {:+12.0} {:11.2} {:+12.2}",
                around.name(),
                case.name(),
                counts.instructions,
                counts.instructions - bare.instructions,
                counts.allocations,
                counts.allocations - bare.allocations,
            );
        }
    }
    costs
}

/// Of one call, without hashing and without what the allocator does inside.
fn counted(case: Case, around: Around) -> Counts {
    let program = env::current_exe().unwrap();
    let of = |calls: u64| {
        let calls = calls.to_string();
        let arguments = ["--child", around.name(), case.name(), &calls];
        callgrind::counted("counted_calls", &program, &arguments, "sha2::")
    };
    // Of calls callgrind also counts those before its function is entered.
    let (more, less) = (of(2 * COUNTED), of(COUNTED));
    Counts {
        instructions: (more.instructions - less.instructions) / COUNTED as f64,
        allocations: (more.allocations - less.allocations) / COUNTED as f64,
    }
}

fn run(case: Case, around: Around, counted: u64) {
    let runtime = runtime();
    let _context = runtime.enter();
    let mut calls = prepared(case, around, &request_body(REQUEST_BYTES));
    (0..BEFORE).for_each(&mut calls);
    counted_calls(&mut calls, counted);
}

#[inline(never)]
fn counted_calls(calls: &mut Calls, counted: u64) {
    (BEFORE..BEFORE + counted).for_each(calls);
}
