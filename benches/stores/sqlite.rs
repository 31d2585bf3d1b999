//! `SqliteStore` against what one would write by hand, on files of the same directory: INSERT OR IGNORE and UPDATE, each
//! committed by itself, and SELECT by key, by one connection under a lock. And what a purge costs the others.
//!
//! The directory is that of temporary files; `TMPDIR` names another. Where its disk does not wait, nor do they.

#[path = "../../tests/support/scratch.rs"]
mod scratch;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use scratch::Scratch;
use tower_idempotency::{ClaimRequest, SqliteStore, Store};

use crate::{RECORD, ROUNDS, TASKS, at_once, first, median, replay, request};

const CALLS: u64 = 4_096;
const REPLAYS: u64 = 40_000;
const REPLAYED: u64 = 1_000;
const EXPIRED: u64 = 20_000;

/// The same durability by hand.
#[derive(Clone)]
struct Bare(Arc<Mutex<Connection>>);

impl Bare {
    fn open(scratch: &Scratch) -> Self {
        let connection = Connection::open(scratch.file("bare.db")).unwrap();
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                 CREATE TABLE record (key BLOB PRIMARY KEY, body BLOB) STRICT",
            )
            .unwrap();
        Self(Arc::new(Mutex::new(connection)))
    }

    /// On the threads that are there for it.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> T + Send + 'static,
    ) -> T {
        let connection = Arc::clone(&self.0);
        let ran = tokio::task::spawn_blocking(move || work(&connection.lock().unwrap()));
        ran.await.unwrap()
    }

    async fn first(&self, number: u64) {
        let key = number.to_be_bytes();
        let inserted = self.run(move |connection| {
            let insert = "INSERT OR IGNORE INTO record (key) VALUES (?1)";
            connection
                .prepare_cached(insert)
                .unwrap()
                .execute([key])
                .unwrap()
        });
        assert_eq!(inserted.await, 1);
        self.run(move |connection| {
            let update = "UPDATE record SET body = ?2 WHERE key = ?1";
            let body = vec![b'r'; RECORD];
            connection
                .prepare_cached(update)
                .unwrap()
                .execute(params![key, body])
                .unwrap()
        })
        .await;
    }
}

/// Calls per second.
async fn measure(tasks: u64, calls: u64, call: impl AsyncFn(u64)) -> f64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);

    let (base, began) = (NEXT.fetch_add(calls, Ordering::Relaxed), Instant::now());
    at_once(tasks, calls, async |number| call(base + number).await).await;
    calls as f64 / began.elapsed().as_secs_f64()
}

pub(crate) async fn run() {
    let scratch = Scratch::new();
    let store = SqliteStore::open(scratch.file("ours.db")).await.unwrap();
    let bare = Bare::open(&scratch);
    println!(
        "\nSQLite {}, records of {RECORD} bytes\n",
        rusqlite::version()
    );
    println!(
        "{:34} {:>10} {:>10} {:>8} {:>6}",
        "", "per second", "by hand", "ratio", "goal"
    );

    for (tasks, calls, goal) in [(TASKS, CALLS, ">= 8"), (1, CALLS / 16, ">= 0.7")] {
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let ours = measure(tasks, calls, async |it| first(&store, it, RECORD).await).await;
            let by_hand = measure(tasks, calls, async |it| bare.first(it).await).await;
            rounds.push((ours, by_hand));
        }
        let of = |value: fn(&(f64, f64)) -> f64| median(rounds.iter().map(value).collect());
        let (ours, by_hand, ratio) = (of(|it| it.0), of(|it| it.1), of(|it| it.0 / it.1));
        let what = format!("claim + complete, {tasks} at once");
        println!("{what:34} {ours:10.0} {by_hand:10.0} {ratio:7.2}x {goal:>6}");
    }

    for number in 0..REPLAYED {
        first(&store, u64::MAX - number, RECORD).await;
    }
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let replays = measure(TASKS, REPLAYS, async |it| {
            replay(&store, u64::MAX - it % REPLAYED).await;
        });
        rounds.push(replays.await);
    }
    let (what, replays) = (format!("replay, {TASKS} at once"), median(rounds));
    println!(
        "{what:34} {replays:10.0} {:>10} {:>8} {:>6}",
        "", "", ">= 20,000"
    );

    purging(&scratch).await;
}

/// Claims while many records go that have expired.
async fn purging(scratch: &Scratch) {
    let open = |every: Duration| {
        let builder = SqliteStore::builder().purge_every(every);
        builder.open(scratch.file("purged.db"))
    };
    let store = open(Duration::MAX).await.unwrap();
    at_once(TASKS, EXPIRED, async |number| {
        let brief = request(number);
        let millisecond = Duration::from_millis(1);
        let (id, fingerprint) = (brief.claim_id(), *brief.fingerprint());
        let brief = ClaimRequest::new(*brief.key(), id, fingerprint, millisecond, millisecond);
        store.claim(&brief).await.unwrap();
    })
    .await;
    let alone = measure(TASKS, CALLS, async |it| {
        first(&store, EXPIRED + it, RECORD).await
    })
    .await;
    drop(store);

    let store = open(Duration::from_millis(1)).await.unwrap();
    let began = Instant::now();
    let meanwhile = measure(TASKS, CALLS, async |it| {
        first(&store, EXPIRED + it, RECORD).await
    });
    let (meanwhile, mut left) = (meanwhile.await, u64::MAX);
    while left > 0 {
        let file = Connection::open(scratch.file("purged.db")).unwrap();
        let expired = "SELECT count(*) FROM idempotency_record WHERE NOT completed";
        let count: i64 = file.query_row(expired, [], |row| row.get(0)).unwrap();
        left = count.cast_unsigned();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = began.elapsed();
    let what = format!("the same during a purge of {EXPIRED}");
    println!(
        "{what:34} {meanwhile:10.0} {alone:10.0} {:7.2}x",
        meanwhile / alone
    );
    println!("the purge took {took:.1?}");
}
