//! Records that come and expire steadily: what there is of them, and what an insert costs that drops others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tower_idempotency::MemoryStore;

use crate::figures::{cpu_time, grouped, median, resident};
use crate::{first, payload};

/// So many live at a time.
const LIVE: u64 = 200_000;
const RETENTION: Duration = Duration::from_secs(1_000);
const GENERATIONS: u64 = 6;
const ROUNDS: u64 = 9;
const ROUND: u64 = 20_000;

/// A store and its clock.
struct World {
    store: MemoryStore,
    nanoseconds: Arc<AtomicU64>,
    payload: Bytes,
    inserted: u64,
}

impl World {
    fn new() -> Self {
        let nanoseconds = Arc::<AtomicU64>::default();
        let clock = Arc::clone(&nanoseconds);
        let now = move || Duration::from_nanos(clock.load(Ordering::Relaxed));
        Self {
            store: MemoryStore::with_clock(now),
            nanoseconds,
            payload: payload(),
            inserted: 0,
        }
    }

    /// So many new records, each so much later than the one before.
    fn insert(&mut self, count: u64, apart: Duration) {
        let apart = u64::try_from(apart.as_nanos()).unwrap_or(u64::MAX);
        for number in self.inserted..self.inserted + count {
            self.nanoseconds.fetch_add(apart, Ordering::Relaxed);
            first(&self.store, number, RETENTION, &self.payload);
        }
        self.inserted += count;
    }

    /// The same; CPU nanoseconds of each.
    fn cost(&mut self, apart: Duration) -> f64 {
        let before = cpu_time();
        self.insert(ROUND, apart);
        (cpu_time() - before).as_nanos() as f64 / ROUND as f64
    }
}

pub(crate) fn run() {
    let apart = RETENTION / LIVE as u32;
    println!(
        "\nSteady load: {} records within a retention, each insert {apart:?} after the one before\n",
        grouped(LIVE)
    );
    println!(
        "{:>11} {:>12} {:>14} {:>14}",
        "retentions", "records", "bytes()", "resident"
    );
    let mut world = World::new();
    let before = resident();
    for generation in 1..=GENERATIONS {
        world.insert(LIVE, apart);
        println!(
            "{generation:>11} {:>12} {:>14} {:>14}",
            grouped(world.store.len() as u64),
            grouped(world.store.bytes() as u64),
            grouped(resident().saturating_sub(before))
        );
    }

    // The same number of records, none of which expires.
    let mut growing = World::new();
    growing.insert(LIVE, Duration::ZERO);
    let rounds: Vec<_> = (0..ROUNDS)
        .map(|_| (world.cost(apart), growing.cost(Duration::ZERO)))
        .collect();
    let of = |value: fn(&(f64, f64)) -> f64| median(rounds.iter().map(value).collect());
    println!(
        "\nclaim + complete: {:.0} ns where each drops one that has expired, {:.0} ns where the store only grows, into new memory",
        of(|it| it.0),
        of(|it| it.1)
    );

    // All are due at once, and whoever comes drops two: nothing is swept.
    let due = world.store.len() as u64;
    world.insert(1, RETENTION + Duration::from_secs(1));
    let mut needed = 1;
    while world.store.len() as u64 > needed && needed < 2 * due {
        world.insert(1_000, Duration::ZERO);
        needed += 1_000;
    }
    println!(
        "{} that are due at once are gone after {} inserts; bytes() then {}",
        grouped(due),
        grouped(needed),
        grouped(world.store.bytes() as u64)
    );
}
