//! A process that claims and completes, and tells of each answer when it has it.

use std::collections::HashMap;
use std::env;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tower_idempotency::{
    Claim, ClaimRequest, Completed, Fence, Owner, Settled, SqliteStore, State, Store,
};

use crate::support::{MINUTE, Scratch, key, request};

const FILE: &str = "SQLITE_WORKER_FILE";
const NUMBER: &str = "SQLITE_WORKER_NUMBER";
const TASKS: u64 = 4;
/// Keys that all workers want.
pub(crate) const SHARED: u64 = 8;

/// What a worker has been told: `claimed` or `completed`, the key and the fence.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) is_completed: bool,
    pub(crate) key: u64,
    pub(crate) fence: u64,
}

/// A running worker; killed when dropped.
pub(crate) struct Worker {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Worker {
    pub(crate) fn start(file: &Path, number: u64) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "worker::a_worker_tells_what_it_was_told",
                "--nocapture",
            ])
            .env(FILE, file)
            .env(NUMBER, number.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The next thing; `None` when it has ended.
    pub(crate) fn next(&mut self) -> Option<Told> {
        loop {
            let mut line = String::new();
            // The last one may be cut off by the kill.
            if self.lines.read_line(&mut line).unwrap() == 0 || !line.ends_with('\n') {
                return None;
            }
            if let [is_completed @ ("claimed" | "completed"), key, fence] =
                line.split_whitespace().collect::<Vec<_>>()[..]
            {
                return Some(Told {
                    is_completed: is_completed == "completed",
                    key: key.parse().unwrap(),
                    fence: fence.parse().unwrap(),
                });
            }
        }
    }

    /// SIGKILL; what it has told before.
    pub(crate) fn kill(mut self) -> Vec<Told> {
        self.child.kill().unwrap();
        let told = std::iter::from_fn(|| self.next()).collect();
        self.child.wait().unwrap();
        told
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asserts that everything is there that was told.
pub(crate) async fn are_there(store: &SqliteStore, told: &[Told]) {
    for told in told {
        let record = store.inspect(&key(told.key)).await.unwrap();
        let record = record.unwrap_or_else(|| panic!("{told:?} is lost"));
        if told.key < SHARED {
            assert!(record.fence().get() >= told.fence, "{told:?}: {record:?}");
            continue;
        }
        assert_eq!(record.fence().get(), told.fence, "{told:?}: {record:?}");
        match record.state() {
            State::Completed { payload: found } => {
                assert_eq!(*found, payload(told.key, told.fence))
            }
            state => assert!(!told.is_completed, "{told:?}: {state:?}"),
        }
    }
}

fn payload(key: u64, fence: u64) -> Bytes {
    format!("{key} by {fence}").into()
}

fn short(number: u64, claimant: u64) -> ClaimRequest {
    let whole = request(number, claimant);
    // Over before the next worker comes, or nearly.
    let lease = Duration::from_millis(1);
    ClaimRequest::new(
        key(number),
        whole.claim_id(),
        *whole.fingerprint(),
        lease,
        60 * MINUTE,
    )
}

#[expect(
    clippy::print_stdout,
    reason = "the test that has started it reads that"
)]
async fn work(store: Arc<SqliteStore>, worker: u64, task: u64) {
    for round in 0.. {
        let claimant = (worker << 32) | (task << 24) | round;
        // Own keys, and one that others want too, which is claimed and left.
        let (own, wanted) = (1_000_000 + claimant, round % SHARED);
        for number in [own, wanted] {
            let request = match number == own {
                true => request(number, claimant),
                false => short(number, claimant),
            };
            let Ok(Claim::Owned(owned)) = store.claim(&request).await else {
                continue;
            };
            let fence = owned.fence().get();
            println!("claimed {number} {fence}");
            if number == own {
                let owner = Owner::new(key(number), Fence::new(fence), request.claim_id());
                let payload = payload(number, fence);
                let completed = Completed::new(payload, Bytes::from_static(b"t"), 60 * MINUTE);
                if let Ok(Settled::Applied) = store.complete(&owner, &completed).await {
                    println!("completed {number} {fence}");
                }
            }
        }
    }
}

/// This is the worker as well: where a file is named, it works until it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_tells_what_it_was_told() {
    if let (Ok(file), Ok(number)) = (env::var(FILE), env::var(NUMBER)) {
        let store = SqliteStore::builder().timeout(MINUTE).busy_timeout(MINUTE);
        let store = Arc::new(store.open(file).await.unwrap());
        let number = number.parse().unwrap();
        let tasks = (0..TASKS).map(|task| tokio::spawn(work(Arc::clone(&store), number, task)));
        futures_util::future::join_all(tasks).await;
        return;
    }
    let scratch = Scratch::new();
    let mut worker = Worker::start(&scratch.file("a.db"), 1);
    let first: Vec<Told> = std::iter::from_fn(|| worker.next()).take(20).collect();
    let rest = worker.kill();

    let mut claims = HashMap::new();
    for told in first.into_iter().chain(rest) {
        if told.is_completed {
            assert_eq!(claims.get(&told.key), Some(&told.fence), "{told:?}");
        } else {
            claims.insert(told.key, told.fence);
        }
    }
    assert!(claims.len() > 5, "{claims:?}");
}
