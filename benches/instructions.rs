//! Instructions of one call, counted by valgrind's callgrind: stable where time is not.
//!
//! ```text
//! cargo bench --bench instructions
//! ```
//!
//! valgrind knows no SHA instructions, so that a hash is many times what it is on the machine itself; the last column
//! leaves out whatever hashes.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]
#![expect(clippy::print_stdout, reason = "it prints a table")]

mod support;

use std::env;
use std::process::Command;

use support::{Around, Calls, Case, REQUEST_BYTES, prepared, request_body};

/// Calls that are not counted: the first ones make what all others use.
const BEFORE: u64 = 1_000;
const COUNTED: u64 = 1_000;

fn main() {
    let arguments: Vec<String> = env::args().collect();
    match &arguments[..] {
        [_, flag, around, case] if flag == "--child" => {
            let around = Around::ALL.into_iter().find(|it| it.name() == around);
            let case = Case::ALL.into_iter().find(|it| it.name() == case);
            run(case.unwrap(), around.unwrap());
        }
        _ => table(),
    }
}

fn table() {
    for around in Around::ALL {
        for case in Case::ALL {
            println!(
                "{:16} {:14} {:11}",
                around.name(),
                case.name(),
                counted(case, around)
            );
        }
    }
}

fn counted(case: Case, around: Around) -> u64 {
    let out = env::temp_dir().join(format!("callgrind.{}", std::process::id()));
    let child = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--collect-atstart=no",
            "--toggle-collect=*counted_calls*",
        ])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(env::current_exe().unwrap())
        .args(["--child", around.name(), case.name()])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&child.stderr);
    let total = told
        .lines()
        .find_map(|line| line.split_once("Collected : "))
        .unwrap()
        .1;
    total.trim().parse::<u64>().unwrap() / COUNTED
}

fn run(case: Case, around: Around) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _context = runtime.enter();
    let mut calls = prepared(case, around, &request_body(REQUEST_BYTES));
    (0..BEFORE).for_each(&mut calls);
    counted_calls(&mut calls);
}

#[inline(never)]
fn counted_calls(calls: &mut Calls) {
    (BEFORE..BEFORE + COUNTED).for_each(calls);
}
