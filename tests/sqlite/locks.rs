//! Another connection that holds the write lock.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tower_idempotency::{
    Completed, Settled, SqliteStore, SqliteStoreBuilder, Store, StoreError, StoreErrorKind,
};

use crate::support::{MINUTE, Scratch, completed, connect, key, own, replay, request, why};

const BRIEF: Duration = Duration::from_millis(200);

async fn world(builder: SqliteStoreBuilder) -> (Scratch, SqliteStore, Connection) {
    let scratch = Scratch::new();
    let store = builder.open(scratch.file("a.db")).await.unwrap();
    let other = connect(&scratch.file("a.db"));
    (scratch, store, other)
}

fn locked(other: &mut Connection) -> Transaction<'_> {
    other
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .unwrap()
}

#[track_caller]
fn is_not_applied<T: std::fmt::Debug>(answer: Result<T, StoreError>, what: &str) {
    let error = answer.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::NotApplied, "{}", why(&error));
    assert!(why(&error).contains(what), "{}", why(&error));
}

#[tokio::test]
async fn a_lock_that_is_held_for_too_long_refuses_what_is_written_and_nothing_else() {
    let builder = SqliteStore::builder().busy_timeout(BRIEF).timeout(MINUTE);
    let (_scratch, store, mut other) = world(builder).await;
    let owner = own(&store, &request(1, 1)).await;
    store.complete(&owner, &completed(b"done")).await.unwrap();
    let running = own(&store, &request(2, 1)).await;

    let lock = locked(&mut other);
    is_not_applied(store.claim(&request(3, 1)).await, "holds the write lock");
    is_not_applied(
        store.complete(&running, &completed(b"x")).await,
        "holds the write lock",
    );
    is_not_applied(store.ping().await, "holds the write lock");
    assert_eq!(replay(&store, 1).await.as_deref(), Some(&b"done"[..]));
    drop(lock);

    assert!(store.inspect(&key(3)).await.unwrap().is_none());
    own(&store, &request(3, 1)).await;
    store.ping().await.unwrap();
}

/// What is given up before it is begun is not applied later behind the caller's back.
#[tokio::test]
async fn a_call_that_is_late_is_withdrawn() {
    let builder = SqliteStore::builder().busy_timeout(MINUTE).timeout(BRIEF);
    let (_scratch, store, mut other) = world(builder).await;

    let lock = locked(&mut other);
    is_not_applied(store.claim(&request(1, 1)).await, "not been free in time");
    drop(lock);
    // Behind it in the queue.
    while store.ping().await.is_err() {}

    assert!(store.inspect(&key(1)).await.unwrap().is_none());
}

#[tokio::test]
async fn a_call_for_which_the_lock_comes_in_time_is_applied() {
    let (_scratch, store, mut other) = world(SqliteStore::builder().timeout(MINUTE)).await;
    let owner = own(&store, &request(1, 1)).await;

    let lock = locked(&mut other);
    let done = completed(b"done");
    let mut complete = std::pin::pin!(store.complete(&owner, &done));
    assert!(futures_util::poll!(&mut complete).is_pending());
    drop(lock);

    assert_eq!(complete.await.unwrap(), Settled::Applied);
}

#[tokio::test]
async fn more_calls_than_may_wait_are_refused() {
    let builder = SqliteStore::builder().max_queued(4).timeout(MINUTE);
    let (_scratch, store, mut other) = world(builder).await;
    let owner = own(&store, &request(1, 1)).await;

    let lock = locked(&mut other);
    let done = completed(b"done");
    let mut calls = std::pin::pin!(join_all((0..40).map(|_| store.complete(&owner, &done))));
    assert!(futures_util::poll!(&mut calls).is_pending());
    drop(lock);

    let (applied, refused): (Vec<_>, Vec<_>) = calls.await.into_iter().partition(Result::is_ok);
    assert!(applied.len() >= 4, "{} of 40", applied.len());
    assert!(!refused.is_empty());
    for refused in refused {
        is_not_applied(refused, "too many calls");
    }
}

/// SQLite by itself begins its log anew only while nobody reads.
#[tokio::test]
async fn the_log_does_not_grow_for_ever_where_somebody_always_reads() {
    let builder = SqliteStore::builder().synchronous_normal(true);
    let builder = builder.timeout(MINUTE);
    let (scratch, store, _) = world(builder).await;
    let (path, is_over) = (scratch.file("a.db"), Arc::<AtomicBool>::default());
    let readers = [(); 4].map(|()| {
        let (mut reader, is_over) = (connect(&path), Arc::clone(&is_over));
        thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                let transaction = reader.transaction().unwrap();
                let sql = "SELECT count(*) FROM idempotency_store";
                let rows: i64 = transaction.query_row(sql, [], |row| row.get(0)).unwrap();
                assert_eq!(rows, 1);
                thread::sleep(Duration::from_millis(4));
            }
        })
    });

    let [long, short] = [256 << 10, 1].map(|length| Bytes::from(vec![7; length]));
    let (mut length, mut shortened, began) = (0, 0, Instant::now());
    for number in 0.. {
        // Where those who read are not done in time, it is tried again later; the log is long by then.
        let payload = if length < 20 << 20 { &long } else { &short };
        let outcome = Completed::new(payload.clone(), Bytes::new(), MINUTE);
        let owner = own(&store, &request(number, number)).await;
        store.complete(&owner, &outcome).await.unwrap();
        let log = fs::metadata(scratch.file("a.db-wal")).unwrap();
        shortened += u32::from(log.len() < length);
        length = log.len();
        if shortened == 3 || began.elapsed() > MINUTE {
            break;
        }
    }
    is_over.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().unwrap();
    }

    assert_eq!(shortened, 3, "{length}");
}
