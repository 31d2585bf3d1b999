//! `RedisStore` against bare commands on the same server, a private one of the binary `redis-server`
//! (`apt-get install redis-server`). CPU is that of the server, by its own account.

#[path = "../../tests/support/redis/mod.rs"]
mod servers;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use redis::aio::MultiplexedConnection;
use servers::Server;
use tower_idempotency::RedisStore;

use crate::{RECORD, RETENTION, ROUNDS, TASKS, at_once, first, median, replay};

const CALLS: u64 = 20_000;

#[derive(Clone)]
struct Bench {
    store: Arc<RedisStore>,
    connection: MultiplexedConnection,
}

/// As long as that of a record.
fn bare_name(number: u64) -> Vec<u8> {
    let mut name = b"bare:1:".to_vec();
    name.extend_from_slice(&[8; 40]);
    name.extend_from_slice(&number.to_be_bytes());
    name
}

impl Bench {
    async fn set(&self, number: u64, bytes: usize) {
        let mut set = redis::cmd("SET");
        set.arg(bare_name(number)).arg(vec![b'r'; bytes]);
        set.arg("PX").arg(RETENTION.as_millis() as u64);
        set.exec_async(&mut self.connection.clone()).await.unwrap();
    }

    async fn get(&self, number: u64) {
        let mut get = redis::cmd("GET");
        get.arg(bare_name(number));
        let value: Vec<u8> = get.query_async(&mut self.connection.clone()).await.unwrap();
        assert!(!value.is_empty());
    }

    async fn info(&self, section: &str, fields: &[&str]) -> f64 {
        let mut info = redis::cmd("INFO");
        info.arg(section);
        let info: String = info
            .query_async(&mut self.connection.clone())
            .await
            .unwrap();
        let value = |field: &&str| {
            let mut lines = info.lines();
            let line = lines.find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
            line.unwrap().parse::<f64>().unwrap()
        };
        fields.iter().map(value).sum()
    }

    async fn cpu(&self) -> f64 {
        self.info("cpu", &["used_cpu_sys", "used_cpu_user"]).await
    }

    async fn memory(&self) -> f64 {
        self.info("memory", &["used_memory"]).await
    }

    /// Bytes that each of many records takes.
    async fn grown(&self, server: &Server, call: impl AsyncFn(u64)) -> f64 {
        const RECORDS: u64 = 50_000;

        server.ask::<()>("FLUSHALL").await.unwrap();
        let before = self.memory().await;
        at_once(TASKS, RECORDS, call).await;
        (self.memory().await - before) / RECORDS as f64
    }

    /// Microseconds of the server's CPU, and of waiting, per call.
    async fn measure(&self, tasks: u64, calls: u64, call: impl AsyncFn(u64)) -> [f64; 2] {
        static NEXT: AtomicU64 = AtomicU64::new(0);

        let first = NEXT.fetch_add(calls, Ordering::Relaxed);
        let (cpu, began) = (self.cpu().await, Instant::now());
        at_once(tasks, calls, async |number| call(first + number).await).await;
        let waited = began.elapsed().as_secs_f64() * tasks as f64;
        let cpu = self.cpu().await - cpu;
        [cpu, waited].map(|seconds| seconds * 1e6 / calls as f64)
    }
}

/// Prints the medians of rounds of (ours, bare).
fn print(what: &str, bare: &str, goal: &str, rounds: &[([f64; 2], [f64; 2])]) {
    let of =
        |value: &dyn Fn(&([f64; 2], [f64; 2])) -> f64| median(rounds.iter().map(value).collect());
    let (cpu, ratio) = (of(&|it| it.0[0]), of(&|it| it.0[0] / it.1[0]));
    let (waited, waited_ratio) = (of(&|it| it.0[1]), of(&|it| it.0[1] / it.1[1]));
    println!(
        "{what:30} {cpu:8.1} {ratio:8.2} x {bare:10} {goal:>6} {waited:10.0} {waited_ratio:8.2} x"
    );
}

pub(crate) async fn run() {
    let server = Server::builder().start().await;
    let store = Arc::new(RedisStore::connect(&server.url()).await.unwrap());
    let connection = server.connect().await;
    let bench = Bench { store, connection };
    let version: Option<String> = server.info("server", "redis_version").await;
    println!(
        "Redis {}, one connection, records of {RECORD} bytes\n",
        version.unwrap()
    );
    println!(
        "{:30} {:>8} {:>10} {:10} {:>6} {:>10} {:>10}",
        "", "CPU us", "ratio", "of", "goal", "waited us", "ratio"
    );

    for (tasks, calls) in [(TASKS, CALLS), (1, CALLS / 8)] {
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let ours = bench.measure(tasks, calls, async |it| {
                first(&*bench.store, it, RECORD).await
            });
            let ours = ours.await;
            let bare = bench.measure(tasks, calls, async |it| {
                bench.set(it, 88).await;
                bench.set(it, RECORD).await;
            });
            rounds.push((ours, bare.await));
        }
        let what = format!("claim + complete, {tasks} at once");
        print(&what, "SET + SET", "6", &rounds);
    }

    for bytes in [RECORD, 4 << 10, 16 << 10, 64 << 10] {
        let keys = 1_000;
        let base = u64::MAX - bytes as u64 * 10_000;
        for number in 0..keys {
            first(&*bench.store, base + number, bytes).await;
            bench.set(base + number, bytes).await;
        }
        for tasks in [TASKS, 1] {
            if bytes != RECORD && tasks == 1 {
                continue;
            }
            let calls = if bytes > 8 << 10 { CALLS / 8 } else { CALLS };
            let mut rounds = Vec::new();
            for _ in 0..ROUNDS {
                let ours = bench.measure(tasks, calls, async |it| {
                    replay(&*bench.store, base + it % keys).await
                });
                let ours = ours.await;
                let bare =
                    bench.measure(tasks, calls, async |it| bench.get(base + it % keys).await);
                rounds.push((ours, bare.await));
            }
            let (what, goal) = (format!("replay of {bytes} B, {tasks} at once"), "5");
            let goal = if bytes == RECORD { goal } else { "" };
            print(&what, "GET", goal, &rounds);
        }
    }

    let ours = bench
        .grown(&server, async |it| first(&*bench.store, it, RECORD).await)
        .await;
    let bare = bench
        .grown(&server, async |it| bench.set(it, RECORD).await)
        .await;
    let same = bench
        .grown(&server, async |it| bench.set(it, 88 + RECORD).await)
        .await;
    println!("\nbytes per record of {RECORD}: {ours:.0}");
    println!(
        "{:>6.2} x SET of these bytes (goal 1.2, the header is 88)",
        ours / bare
    );
    println!(
        "{:>6.2} x SET of as many bytes as are stored (goal 1.05)",
        ours / same
    );
}
