//! Several processes on one file.

use std::collections::HashSet;
use std::iter;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::time::Instant;
use tower_idempotency::{SqliteStore, Store};

use crate::support::{MINUTE, Scratch, completed, key, own, request};
use crate::worker::{Told, Worker, are_there};

/// Nobody has made the file before.
#[tokio::test]
async fn four_processes_on_one_file_are_as_one() {
    let scratch = Scratch::new();
    let path = scratch.file("a.db");
    let workers: Vec<Worker> = (1..=4).map(|number| Worker::start(&path, number)).collect();
    // Not fairly, but each of them gets on.
    let told = workers.into_iter().map(|mut worker| {
        thread::spawn(move || {
            let mut told: Vec<Told> = iter::from_fn(|| worker.next()).take(200).collect();
            assert_eq!(told.len(), 200, "a worker has ended");
            told.extend(worker.kill());
            told
        })
    });
    let told: Vec<_> = told.collect();
    let told: Vec<Told> = told
        .into_iter()
        .flat_map(|told| told.join().unwrap())
        .collect();

    let claims = told.iter().filter(|told| !told.is_completed);
    let mut fences = HashSet::new();
    for claim in claims {
        assert!(fences.insert(claim.fence), "twice: {claim:?}");
    }
    let store = SqliteStore::open(&path).await.unwrap();
    are_there(&store, &told).await;
}

/// Two stores as of two processes: what the other one does is found by looking.
#[tokio::test]
async fn who_waits_hears_of_another_process() {
    let scratch = Scratch::new();
    let one = SqliteStore::open(scratch.file("a.db")).await.unwrap();
    let other = SqliteStore::open(scratch.file("a.db")).await.unwrap();
    let owner = own(&one, &request(1, 1)).await;

    let key = key(1);
    let mut waits = std::pin::pin!(other.settled(&key, owner.fence(), 10 * MINUTE));
    assert!(futures_util::poll!(&mut waits).is_pending());
    one.complete(&owner, &completed(b"done")).await.unwrap();

    let waited = tokio::time::timeout(MINUTE / 2, waits).await;
    waited.expect("it looks again");
}

/// In one process nothing has to be looked for: it is told while no timer runs.
#[tokio::test]
async fn who_waits_is_told_by_its_own_store() {
    let scratch = Scratch::new();
    let store = SqliteStore::open(scratch.file("a.db")).await.unwrap();
    for (number, verb) in (0..5).zip(["complete", "release", "abandon", "forget", "erase"]) {
        let (owner, key) = (own(&store, &request(number, 1)).await, key(number));
        let mut waits = std::pin::pin!(store.settled(&key, owner.fence(), MINUTE));
        assert!(futures_util::poll!(&mut waits).is_pending());
        // Paused time stands still while such a thread runs.
        let (done, is_done) = mpsc::channel();
        let still = tokio::task::spawn_blocking(move || is_done.recv_timeout(MINUTE));
        tokio::time::pause();
        let began = Instant::now();

        let ended = async {
            // It has looked by then.
            store.inspect(&key).await.unwrap();
            match verb {
                "complete" => drop(store.complete(&owner, &completed(b"done")).await.unwrap()),
                "release" => drop(store.release(&owner).await.unwrap()),
                "abandon" => drop(store.abandon(&owner).await.unwrap()),
                "forget" => drop(store.forget(&key, true).await.unwrap()),
                _ => drop(store.erase_scope(key.scope()).await.unwrap()),
            }
        };
        tokio::join!(ended, waits);

        assert_eq!(began.elapsed(), Duration::ZERO, "{verb}");
        tokio::time::resume();
        done.send(()).unwrap();
        still.await.unwrap().unwrap();
    }
}
