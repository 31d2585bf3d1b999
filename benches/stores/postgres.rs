//! `PostgresStore` against bare statements on the same server, over as many connections of the same driver: a private one of the
//! binary `postgres` (`apt-get install postgresql`), with and without fsync. Rates count waiting, not CPU.

#[path = "../../tests/support/postgres/mod.rs"]
mod servers;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use servers::Server;
use sqlx::{Executor, PgConnection};
use tokio::sync::Mutex;
use tower_idempotency::{Cached, PostgresStore};

use crate::{RECORD, ROUNDS, TASKS, at_once, first, median, replay};

const CALLS: u64 = 6_000;
const CONNECTIONS: usize = 4;
/// So many records expire at once.
const PURGED: u64 = 1_000_000;

const TABLE: &str = "CREATE TABLE bare (key bytea PRIMARY KEY, done boolean NOT NULL, expires_at timestamptz NOT NULL, \
    body bytea) WITH (fillfactor = 80); CREATE INDEX ON bare (expires_at)";
const INSERT: &str = "INSERT INTO bare (key, done, expires_at) \
    VALUES ($1, false, clock_timestamp() + interval '1 day') ON CONFLICT DO NOTHING";
const UPDATE: &str = "UPDATE bare SET done = true, body = $2 WHERE key = $1";
const SELECT: &str = "SELECT body FROM bare WHERE key = $1 AND expires_at > clock_timestamp()";

struct Bench {
    server: Server,
    store: Arc<PostgresStore>,
    connections: Vec<Mutex<PgConnection>>,
}

/// As long as that of a record.
fn bare_key(number: u64) -> Vec<u8> {
    [&[8; 40][..], &number.to_be_bytes()].concat()
}

impl Bench {
    async fn new(fsync: &str) -> Self {
        let server = Server::with(&[fsync, "shared_buffers=512MB", "max_wal_size=4GB"]).await;
        PostgresStore::migrate(&server.url()).await.unwrap();
        let store = PostgresStore::builder()
            .max_connections(CONNECTIONS)
            .no_purge();
        let store = Arc::new(store.connect(&server.url()).await.unwrap());
        server.sql(TABLE).await;
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(Mutex::new(server.connect().await));
        }
        Self {
            server,
            store,
            connections,
        }
    }

    /// Over one of the connections.
    async fn bare(&self, statement: &'static str, key: u64, connection: u64) {
        let mut query = sqlx::query(statement).bind(bare_key(key));
        if statement == UPDATE {
            query = query.bind(vec![b'r'; RECORD]);
        }
        let mut connection = self.connections[connection as usize % CONNECTIONS]
            .lock()
            .await;
        connection.execute(query).await.unwrap();
    }

    async fn bare_first(&self, number: u64) {
        self.bare(INSERT, number, number).await;
        self.bare(UPDATE, number, number).await;
    }

    /// Calls a second.
    async fn rate(&self, tasks: u64, calls: u64, call: impl AsyncFn(u64)) -> f64 {
        static NEXT: AtomicU64 = AtomicU64::new(0);

        let first = NEXT.fetch_add(calls, Ordering::Relaxed);
        let began = Instant::now();
        at_once(tasks, calls, async |number| call(first + number).await).await;
        calls as f64 / began.elapsed().as_secs_f64()
    }
}

/// Prints the medians of rounds of (ours, bare).
fn print(what: &str, bare: &str, goal: &str, rounds: &[(f64, f64)]) {
    let ours = median(rounds.iter().map(|it| it.0).collect());
    let ratio = median(rounds.iter().map(|it| it.0 / it.1).collect());
    println!("{what:34} {ours:10.0} {ratio:8.2} x {bare:16} {goal:>6}");
}

pub(crate) async fn run() {
    for fsync in ["fsync=on", "fsync=off"] {
        println!("PostgreSQL, {fsync}, {CONNECTIONS} connections, records of {RECORD} bytes\n");
        println!(
            "{:34} {:>10} {:>10} {:16} {:>6}",
            "", "a second", "ratio", "of", "goal"
        );
        let bench = Bench::new(fsync).await;
        firsts_and_replays(&bench).await;
        if fsync == "fsync=off" {
            during_a_purge(&bench).await;
        }
        println!();
    }
}

async fn firsts_and_replays(bench: &Bench) {
    for (tasks, calls) in [(TASKS, CALLS), (1, CALLS / 8)] {
        let (mut firsts, mut replays, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        let cached = Cached::new(Arc::clone(&bench.store));
        for _ in 0..ROUNDS {
            let ours = bench.rate(tasks, calls, async |it| {
                first(&bench.store, it, RECORD).await
            });
            let ours = ours.await;
            let bare = bench.rate(tasks, calls, async |it| bench.bare_first(it).await);
            firsts.push((ours, bare.await));

            let key = u64::MAX / 2 - tasks;
            if replays.is_empty() {
                first(&bench.store, key, RECORD).await;
                bench.bare_first(key).await;
            }
            let ours = bench.rate(tasks, calls, async |_| replay(&bench.store, key).await);
            let ours = ours.await;
            let bare = bench.rate(tasks, calls, async |it| bench.bare(SELECT, key, it).await);
            let bare = bare.await;
            replays.push((ours, bare));
            let ours = bench.rate(tasks, calls, async |_| replay(&cached, key).await);
            kept.push((ours.await, bare));
        }
        print(
            &format!("claim + complete, {tasks} at once"),
            "INSERT + UPDATE",
            "0.75",
            &firsts,
        );
        print(
            &format!("replay, {tasks} at once"),
            "SELECT by key",
            "0.50",
            &replays,
        );
        print(
            &format!("replay, `Cached`, {tasks} at once"),
            "SELECT by key",
            "",
            &kept,
        );
    }
}

/// Claims while a million records are deleted, against claims while none are.
async fn during_a_purge(bench: &Bench) {
    let ours = async || {
        let rate = bench.rate(TASKS, CALLS, async |it| {
            first(&bench.store, it, RECORD).await
        });
        rate.await
    };
    let mut quiet = Vec::new();
    for _ in 0..ROUNDS {
        quiet.push(ours().await);
    }
    let fill = format!(
        "INSERT INTO idempotency.record SELECT sha256(i::text::bytea), '', '', i, 1, 1, false, t, t, t, \
         repeat('r', {RECORD})::bytea FROM generate_series(1, {PURGED}) i, \
         (SELECT clock_timestamp() - interval '1 day' AS t) t; ANALYZE idempotency.record"
    );
    bench.server.sql_for_long(&fill).await;
    let purging = PostgresStore::builder().max_connections(1).no_purge();
    let purging = Arc::new(purging.connect(&bench.server.url()).await.unwrap());
    let is_over = Arc::new(AtomicBool::new(false));
    let purge = tokio::spawn({
        let is_over = Arc::clone(&is_over);
        async move {
            let purged = purging.purge().await;
            is_over.store(true, Ordering::Relaxed);
            purged
        }
    });
    let mut busy = Vec::new();
    while !is_over.load(Ordering::Relaxed) && busy.len() < 2 * ROUNDS {
        busy.push(ours().await);
    }
    let rounds: Vec<_> = busy
        .iter()
        .map(|busy| (*busy, median(quiet.clone())))
        .collect();
    print(
        "claim + complete during a purge",
        "without a purge",
        "0.70",
        &rounds,
    );
    if is_over.load(Ordering::Relaxed) {
        println!("{:?} records purged", purge.await.unwrap().unwrap());
    } else {
        purge.abort();
    }
}
