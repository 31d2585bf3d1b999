//! The longest inserts while a store grows to a million records, each timed.

use std::time::{Duration, Instant};

use tower_idempotency::MemoryStore;

use crate::figures::{grouped, per_mille, waited};
use crate::{first, payload};

const RECORDS: u64 = 1_000_000;
const ROUNDS: usize = 3;
/// Another process may have had the core meanwhile.
const LONG: Duration = Duration::from_micros(50);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) fn run() {
    println!(
        "\nclaim + complete while a store grows to {} records, in microseconds without those that the thread waited for a core\n",
        grouped(RECORDS)
    );
    println!(
        "{:>6} {:>8} {:>8} {:>8} {:>8}   the five longest, and at which record",
        "", "50 %", "99 %", "99.9 %", "99.99 %"
    );
    let mut longest = Vec::new();
    for round in 1..=ROUNDS {
        let in_order = inserts();
        let mut taken = in_order.clone();
        taken.sort_unstable();
        let mut by_length: Vec<_> = in_order.into_iter().zip(1_u64..).collect();
        by_length.sort_unstable_by(|one, other| other.cmp(one));
        let five: Vec<_> = by_length[..5]
            .iter()
            .map(|(took, record)| format!("{} ({})", micros(*took), grouped(*record)))
            .collect();
        println!(
            "{round:>6} {:8.2} {:8.2} {:8.2} {:8.2}   {}",
            per_mille(&taken, 500) / 1e3,
            per_mille(&taken, 990) / 1e3,
            per_mille(&taken, 999) / 1e3,
            f64::from(taken[taken.len() / 10_000 * 9_999]) / 1e3,
            five.join("  ")
        );
        longest.push(by_length[0].0);
    }
    let least = longest.into_iter().min().unwrap_or(u32::MAX);
    println!(
        "\nthe longest, in the round where the machine did least beside: {} us (goal: <= 1,000)",
        micros(least)
    );
}

/// What each took, in nanoseconds, without what it waited for a core.
fn inserts() -> Vec<u32> {
    let payload = payload();
    let store = MemoryStore::new().max_bytes(usize::MAX);
    let mut taken = Vec::with_capacity(RECORDS as usize);
    let mut waited_before = waited();
    for number in 0..RECORDS {
        let began = Instant::now();
        first(&store, number, DAY, &payload);
        let mut took = began.elapsed();
        if took > LONG {
            let waited = waited();
            took = took.saturating_sub(waited - waited_before);
            waited_before = waited;
        }
        taken.push(u32::try_from(took.as_nanos()).unwrap_or(u32::MAX));
    }
    taken
}

fn micros(nanoseconds: u32) -> String {
    format!("{:.0}", f64::from(nanoseconds) / 1e3)
}
