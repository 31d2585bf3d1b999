//! Processes that are killed while they claim and complete, over one server that is not.
//!
//! A thousand of them: `KILLS=1000 cargo test --all-features --test postgres -- faults::writers --nocapture`

use std::collections::{HashMap, HashSet};
use std::env;
use std::io::Write;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::{ConnectOptions, PgConnection, Row};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::sleep;
use tower_idempotency::{
    Claim, ClaimId, ClaimRequest, Owner, PostgresStore, Settled, State, Store,
};

use super::verbs::{RETENTION, completed, key, patient, payload, request_for};
use crate::servers::{Server, within};

/// What a writer connects to, and the first number of its keys.
const URL: &str = "POSTGRES_FAULTS_WRITER";
const FIRST: &str = "POSTGRES_FAULTS_FIRST";

const LEASE: Duration = Duration::from_millis(200);
/// Writers meet at so many keys at a time.
const OPEN: u64 = 8;

/// Microseconds by the clock of the server.
async fn now(connection: &mut PgConnection) -> u64 {
    let now = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    let row = sqlx::query(now).fetch_one(connection).await.unwrap();
    u64::try_from(row.get::<i64, _>(0)).unwrap()
}

/// Says what was acknowledged, before anything else is done.
#[expect(
    clippy::print_stdout,
    reason = "the process that has started it reads what was done there"
)]
fn say(line: &str) {
    println!("{line}");
    std::io::stdout().flush().unwrap();
}

/// Claims and completes, key by key, until it is killed.
async fn write(url: &str, first: u64) -> ! {
    let store = PostgresStore::connect(url).await.unwrap();
    let clock: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
    let mut clock = clock.connect().await.unwrap();
    say("\nbegins");
    let (mut first, mut done) = (first, HashSet::new());
    loop {
        for number in first..first + OPEN {
            if done.contains(&number) {
                continue;
            }
            let request = request_of_this_process(number);
            let before = now(&mut clock).await;
            match store.claim(&request).await.unwrap() {
                Claim::Owned(owned) => {
                    let (fence, attempt) = (owned.fence().get(), owned.attempt());
                    let after = now(&mut clock).await;
                    say(&format!("ran {number} {fence} {attempt} {before} {after}"));
                    let owner = Owner::new(*request.key(), owned.fence(), request.claim_id());
                    let outcome = completed(format!("{fence}"));
                    // The execution.
                    sleep(Duration::from_millis(2)).await;
                    if store.complete(&owner, &outcome).await.unwrap() == Settled::Applied {
                        say(&format!("done {number} {fence}"));
                        done.insert(number);
                    }
                }
                Claim::Existing(record) => {
                    if matches!(record.state(), State::Completed { .. }) {
                        done.insert(number);
                    }
                }
                claim => panic!("{claim:?}"),
            }
        }
        if done.len() as u64 == OPEN {
            first += OPEN;
            done.clear();
        }
    }
}

/// Process ids come again; the time of a claim does not.
fn request_of_this_process(number: u64) -> ClaimRequest {
    let request = request_for(key(number), LEASE, RETENTION);
    let since = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    let id = since ^ u128::from(std::process::id()) << 96;
    let id = ClaimId::from_bytes(id.to_be_bytes());
    ClaimRequest::new(*request.key(), id, *request.fingerprint(), LEASE, RETENTION)
}

/// An execution, as its process has said.
#[derive(Clone, Copy, Debug)]
struct Ran {
    fence: u64,
    attempt: u32,
    /// By the server's clock: the claim was applied between the two.
    before: u64,
    after: u64,
}

#[derive(Default)]
struct Log {
    ran: HashMap<u64, Vec<Ran>>,
    done: HashMap<u64, u64>,
}

impl Log {
    fn read(&mut self, line: &str) {
        let words = line.split(' ').collect::<Vec<_>>();
        let number = |place: usize| words[place].parse::<u64>().unwrap();
        match words[0] {
            "ran" => self.ran.entry(number(1)).or_default().push(Ran {
                fence: number(2),
                attempt: number(3) as u32,
                before: number(4),
                after: number(5),
            }),
            "done" => {
                let twice = self.done.insert(number(1), number(2));
                assert_eq!(twice, None, "an outcome twice: {line}");
            }
            // What the harness of the tests says.
            _ => {}
        }
    }
}

/// Starts a writer, kills it a little after it has said so many lines, and keeps all that it has said.
async fn start_and_kill(url: &str, first: u64, kill: u64, log: &Mutex<Log>) {
    let mut writer = Command::new(env::current_exe().unwrap());
    let name = "faults::writers::no_kill_of_a_writer_loses_or_doubles_anything";
    writer.args(["--exact", name, "--nocapture"]);
    writer.env(URL, url).env(FIRST, first.to_string());
    writer
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut writer = writer.kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    let mut left = None;
    while left != Some(0) {
        let Some(line) = within(lines.next_line()).await.unwrap() else {
            panic!("a writer has ended by itself");
        };
        left = match (left, &*line) {
            (None, "begins") => Some(kill % 13),
            (left, _) => left.map(|left| left - 1),
        };
        log.lock().unwrap().read(&line);
    }
    sleep(Duration::from_micros(kill * 7_919 % 4_000)).await;
    within(writer.kill()).await.unwrap();
    while let Some(line) = within(lines.next_line()).await.unwrap() {
        log.lock().unwrap().read(&line);
    }
}

/// This is a writer as well: where a server is named, it writes.
#[tokio::test]
async fn no_kill_of_a_writer_loses_or_doubles_anything() {
    if let (Ok(url), Ok(first)) = (env::var(URL), env::var(FIRST)) {
        write(&url, first.parse().unwrap()).await;
    }
    let kills = env::var("KILLS").map_or(200, |kills| kills.parse().unwrap());
    let server = Server::with(&["fsync=off", "max_connections=300"]).await;
    PostgresStore::migrate(&server.url()).await.unwrap();
    let log = Arc::<Mutex<Log>>::default();
    let killed = Arc::new(AtomicU64::new(0));

    let lanes = (0..3).map(|_| {
        let (url, log, killed) = (server.url(), Arc::clone(&log), Arc::clone(&killed));
        tokio::spawn(async move {
            loop {
                let kill = killed.fetch_add(1, Ordering::Relaxed);
                if kill >= kills {
                    return;
                }
                // At the keys that are not done yet, and at some that are.
                let first = log.lock().unwrap().done.len() as u64 / OPEN * OPEN;
                start_and_kill(&url, first, kill, &log).await;
            }
        })
    });
    for lane in lanes.collect::<Vec<_>>() {
        lane.await.unwrap();
    }

    let log = std::mem::take(&mut *log.lock().unwrap());
    check(&log);
    let store = patient(&server.url()).await;
    for (number, fence) in log.done {
        let record = store.inspect(&key(number)).await.unwrap();
        let record = record.expect("it was acknowledged");
        assert_eq!(payload(&record), fence.to_string().as_bytes());
    }
}

/// Expects that no fence was given twice, and no key run twice within a lease or after its outcome.
#[expect(
    clippy::print_stderr,
    reason = "for those who look how often the kills hit"
)]
fn check(log: &Log) {
    let mut taken_over = 0;
    for (number, ran) in &log.ran {
        let mut ran = ran.clone();
        ran.sort_by_key(|ran| ran.fence);
        for pair in ran.windows(2) {
            let (first, next) = (pair[0], pair[1]);
            assert!(first.fence < next.fence, "{number} {pair:?}");
            assert!(first.attempt < next.attempt, "{number} {pair:?}");
            let earliest = first.before + LEASE.as_micros() as u64;
            assert!(next.after >= earliest, "{number} {pair:?}");
            taken_over += 1;
        }
        if let (Some(done), Some(last)) = (log.done.get(number), ran.last()) {
            assert_eq!(*done, last.fence, "{number} {ran:?}");
        }
    }
    let done = log.done.len();
    eprintln!("{done} outcomes, {taken_over} keys taken over");
    assert!(done > 0 && taken_over > 0, "{done} {taken_over}");
}
