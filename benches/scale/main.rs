//! How the cost of a request grows: with the number of records, the size of the key and of the body, the headers of the
//! response, and the requests that wait for one key.
//!
//! ```text
//! cargo bench --bench scale                    # figures into target/scale.tsv
//! cargo bench --bench scale -- FILE            # into another file
//! bash benches/scale/plot.sh                   # benches/scale/scale.tsv, and scale.svg made of it
//! ```
//!
//! CPU nanoseconds of one call, request and response included, around a bare `service_fn`; waiters by the clock. Rounds of
//! each kind follow each other in turn, and their medians are shown. Read the figures as ratios within one run. Ten
//! million records take about 8 GB: where there is less, or the machine is too slow for it, they are left out.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]
#![expect(clippy::print_stdout, reason = "it prints tables")]

mod axes;
#[path = "../support/figures.rs"]
mod figures;
#[path = "../support/headers.rs"]
mod headers;
mod records;
#[path = "../support/storm.rs"]
mod storm;
#[path = "../support/mod.rs"]
mod support;

use std::env;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use figures::{cpu_time, grouped, median};
use support::runtime;

/// CPU nanoseconds of one call.
fn cost(calls: u64, call: &mut dyn FnMut(u64)) -> f64 {
    let before = cpu_time();
    (0..calls).for_each(call);
    (cpu_time() - before).as_nanos() as f64 / calls as f64
}

/// A name, and what comes of the figures of a round.
type Ratio = Option<(&'static str, fn(&[f64]) -> f64)>;

/// What was measured along one axis: a row for each place on it, a column for each case.
struct Axis {
    name: &'static str,
    cases: &'static [&'static str],
    /// What the last column of the table is, and how it comes from the others.
    ratio: Ratio,
    rows: Vec<(u64, Vec<f64>)>,
}

impl Axis {
    fn begin(name: &'static str, cases: &'static [&'static str], ratio: Ratio) -> Self {
        print!("\n{name:>14}");
        for case in cases {
            print!(" {case:>12}");
        }
        println!(" {:>28}", ratio.map_or("", |(name, _)| name));
        Self {
            name,
            cases,
            ratio,
            rows: Vec::new(),
        }
    }

    /// The medians of these rounds, each with a figure for each case.
    fn row(&mut self, at: u64, rounds: &[Vec<f64>]) {
        let of = |case: usize| median(rounds.iter().map(|round| round[case]).collect());
        let figures: Vec<_> = (0..self.cases.len()).map(of).collect();
        print!("{:>14}", grouped(at));
        for figure in &figures {
            print!(" {:>9} ns", grouped(figure.round() as u64));
        }
        match self.ratio {
            Some((_, ratio)) => {
                let ratios = rounds.iter().map(|round| ratio(round));
                println!(" {:>27.2}x", median(ratios.collect()));
            }
            None => println!(),
        }
        self.rows.push((at, figures));
    }

    /// One line for each figure.
    fn write(&self, out: &mut String) {
        for (at, figures) in &self.rows {
            for (case, figure) in self.cases.iter().zip(figures) {
                writeln!(out, "{}\t{at}\t{case}\t{figure:.1}", self.name).unwrap();
            }
        }
    }
}

/// Where cargo builds, whatever that is called.
fn default_file() -> PathBuf {
    let built = env::current_exe().unwrap();
    // target/release/deps/scale-…
    built.ancestors().nth(3).unwrap().join("scale.tsv")
}

fn main() {
    // Cargo adds options of its own.
    let named = env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    let file = named.map_or_else(default_file, PathBuf::from);
    let runtime = runtime();

    let axes = {
        let _context = runtime.enter();
        [
            axes::key_bytes(),
            axes::response_headers(),
            axes::body_bytes(),
            axes::waiters(&runtime),
            records::records(),
        ]
    };

    let mut figures = String::from("axis\tat\tcase\tns\n");
    axes.iter().for_each(|axis| axis.write(&mut figures));
    if let Err(error) = fs::write(&file, figures) {
        panic!("{} cannot be written: {error}", file.display());
    }
    println!("\n{}", file.display());
}
