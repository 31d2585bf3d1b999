//! Generated histories: the layer over a store that fails by seed, checked against a model of a record's life.
//!
//! A seed makes a history: one to three processes with a layer each over one store, clients that retry and hang up, handlers
//! that succeed, fail, panic, hang, stream and pass their point of no return, processes that are killed or stand still past
//! their lease, operators who delete records, a store that is late, fails, repeats calls and loses leases, and a clock that
//! jumps. Everything that happens is entered into a book in its order, and each entry is checked (see `check.rs`).
//!
//! ```sh
//! cargo test --all-features --test histories                                       # some thousands
//! HISTORIES=1000000 cargo test --release --all-features --test histories           # a million over every store
//! SEED=4711 cargo test --all-features --test histories                             # one of them, with its trace
//! ```
//!
//! `FROM=5000000` begins with that seed. A history that fails prints its seed, its store and its trace; it replays exactly.
//!
//! Another store is one function in `under_test.rs` and one line below. It takes its time from the given clock, and does
//! not wait for anything but timers, because time is paused; one that does goes into an `Elsewhere`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod body;
mod book;
mod broken;
mod check;
mod client;
mod clock;
mod elsewhere;
mod handler;
mod hook;
mod model;
mod over_postgres;
#[path = "redis/mod.rs"]
mod over_redis;
#[path = "../support/postgres/mod.rs"]
mod postgres_servers;
mod process;
#[path = "../support/processes/mod.rs"]
mod processes;
mod random;
mod runner;
#[path = "../support/scratch.rs"]
mod scratch;
mod script;
#[path = "../support/redis/mod.rs"]
mod servers;
mod settings;
mod sqlite;
mod stores;
mod under_test;
mod world;

/// What panics on purpose: not worth a line.
pub(crate) const QUIET: &str = "on purpose";

macro_rules! histories {
    ($($store:ident)*) => {
        $(#[test]
        fn $store() {
            runner::run(stringify!($store), &under_test::$store);
        })*
    };
}

histories! {
    elsewhere
    encrypted
    memory
    polling
    postgres
    redis
    redis_cluster
    sqlite
}

#[test]
fn a_seed_replays_exactly() {
    for seed in 0..400 {
        let (first, again) = (
            runner::trace(seed, &under_test::memory),
            runner::trace(seed, &under_test::memory),
        );
        assert!(first.len() > 10, "SEED={seed}");
        let differs = first
            .iter()
            .zip(&again)
            .position(|(first, again)| first != again);
        assert_eq!(
            differs.map(|line| (&first[line], &again[line])),
            None,
            "SEED={seed}"
        );
        assert_eq!(first.len(), again.len(), "SEED={seed}");
    }
}
