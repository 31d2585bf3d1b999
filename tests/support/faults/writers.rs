//! Processes that are killed while they claim and complete, over one server that is not.

use std::collections::{HashMap, HashSet};
use std::env;
use std::io::Write;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::sleep;
use tower_idempotency::{Claim, ClaimId, ClaimRequest, Owner, Settled, State, Store};

use super::verbs::{RETENTION, completed, key, payload, request_for};
use crate::servers::within;

const LEASE: Duration = Duration::from_millis(200);
/// Writers meet at so many keys at a time.
const OPEN: u64 = 8;

/// How the writers of one kind of server are told what to do, and when they are killed.
#[derive(Clone, Copy)]
pub(crate) struct Writers {
    /// The variable with the URL that a writer connects to.
    pub(crate) url: &'static str,
    /// The variable with the first number of its keys.
    pub(crate) first: &'static str,
    /// A writer says fewer lines than this,
    pub(crate) lines: u64,
    /// and is killed in fewer microseconds than this after the last of them.
    pub(crate) micros: u64,
}

impl Writers {
    /// The URL and the first number, where this process is a writer.
    pub(crate) fn told(self) -> Option<(String, u64)> {
        let (url, first) = (env::var(self.url).ok()?, env::var(self.first).ok()?);
        Some((url, first.parse().unwrap()))
    }

    /// Starts and kills as many as `KILLS` says, 200 without it; all that they have said.
    pub(crate) async fn start_and_kill_all(self, url: &str) -> Log {
        let kills = env::var("KILLS").map_or(200, |kills| kills.parse().unwrap());
        let log = Arc::<Mutex<Log>>::default();
        let killed = Arc::new(AtomicU64::new(0));

        let lanes = (0..3).map(|_| {
            let (url, log, killed) = (url.to_owned(), Arc::clone(&log), Arc::clone(&killed));
            tokio::spawn(async move {
                loop {
                    let kill = killed.fetch_add(1, Ordering::Relaxed);
                    if kill >= kills {
                        return;
                    }
                    // At the keys that are not done yet, and at some that are.
                    let first = log.lock().unwrap().done.len() as u64 / OPEN * OPEN;
                    self.start_and_kill(&url, first, kill, &log).await;
                }
            })
        });
        for lane in lanes.collect::<Vec<_>>() {
            lane.await.unwrap();
        }

        std::mem::take(&mut *log.lock().unwrap())
    }

    /// Starts a writer, kills it a little after it has said so many lines, and keeps all that it has said.
    async fn start_and_kill(self, url: &str, first: u64, kill: u64, log: &Mutex<Log>) {
        let mut writer = Command::new(env::current_exe().unwrap());
        let name = "faults::writers::no_kill_of_a_writer_loses_or_doubles_anything";
        writer.args(["--exact", name, "--nocapture"]);
        writer.env(self.url, url).env(self.first, first.to_string());
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
                (None, "begins") => Some(kill % self.lines),
                (left, _) => left.map(|left| left - 1),
            };
            log.lock().unwrap().read(&line);
        }
        sleep(Duration::from_micros(kill * 7_919 % self.micros)).await;
        within(writer.kill()).await.unwrap();
        while let Some(line) = within(lines.next_line()).await.unwrap() {
            log.lock().unwrap().read(&line);
        }
    }
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
///
/// `now` is microseconds by the clock of the server.
pub(crate) async fn write(store: &impl Store, mut now: impl AsyncFnMut() -> u64, first: u64) -> ! {
    say("\nbegins");
    let (mut first, mut done) = (first, HashSet::new());
    loop {
        for number in first..first + OPEN {
            if done.contains(&number) {
                continue;
            }
            let request = request_of_this_process(number);
            let before = now().await;
            match store.claim(&request).await.unwrap() {
                Claim::Owned(owned) => {
                    let (fence, attempt) = (owned.fence().get(), owned.attempt());
                    let after = now().await;
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

/// What writers have said until they were killed.
#[derive(Default)]
pub(crate) struct Log {
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

    /// Expects that nothing was lost or done twice, and that a store of afterwards finds all that was acknowledged.
    pub(crate) async fn holds(self, store: &impl Store) {
        self.check();
        for (number, fence) in self.done {
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
    fn check(&self) {
        let mut taken_over = 0;
        for (number, ran) in &self.ran {
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
            if let (Some(done), Some(last)) = (self.done.get(number), ran.last()) {
                assert_eq!(*done, last.fence, "{number} {ran:?}");
            }
        }
        let done = self.done.len();
        eprintln!("{done} outcomes, {taken_over} keys taken over");
        assert!(done > 0 && taken_over > 0, "{done} {taken_over}");
    }
}
