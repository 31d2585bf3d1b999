//! The longest inserts while a store grows to a million records, each timed.

use std::time::{Duration, Instant};

use tower_idempotency::MemoryStore;

use crate::figures::{grouped, per_mille};
use crate::{first, payload};

const RECORDS: u64 = 1_000_000;
const ROUNDS: usize = 3;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) fn run() {
    println!(
        "\nclaim + complete while a store grows to {} records, in microseconds\n",
        grouped(RECORDS)
    );
    println!(
        "{:>6} {:>8} {:>8} {:>8} {:>8}   the five longest",
        "", "50 %", "99 %", "99.9 %", "99.99 %"
    );
    let mut longest = Vec::new();
    for round in 1..=ROUNDS {
        let taken = inserts();
        let at = |part: usize| f64::from(taken[taken.len() / 10_000 * part]) / 1e3;
        let five: Vec<_> = taken.iter().rev().take(5).map(|it| micros(*it)).collect();
        println!(
            "{round:>6} {:8.2} {:8.2} {:8.2} {:8.2}   {}",
            per_mille(&taken, 500) / 1e3,
            per_mille(&taken, 990) / 1e3,
            per_mille(&taken, 999) / 1e3,
            at(9_999),
            five.join(" ")
        );
        longest.extend(taken.last().copied());
    }
    let least = longest.into_iter().min().unwrap_or(u32::MAX);
    println!(
        "\nthe longest, in the round where the machine did least beside: {} us (goal: <= 1,000)",
        micros(least)
    );
}

/// What each took, in nanoseconds, sorted.
fn inserts() -> Vec<u32> {
    let payload = payload();
    let store = MemoryStore::new().max_bytes(usize::MAX);
    let mut taken = Vec::with_capacity(RECORDS as usize);
    for number in 0..RECORDS {
        let began = Instant::now();
        first(&store, number, DAY, &payload);
        let took = began.elapsed().as_nanos();
        taken.push(u32::try_from(took).unwrap_or(u32::MAX));
    }
    taken.sort_unstable();
    taken
}

fn micros(nanoseconds: u32) -> String {
    format!("{:.0}", f64::from(nanoseconds) / 1e3)
}
