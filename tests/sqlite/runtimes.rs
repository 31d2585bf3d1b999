//! The threads of the store, its clock, and callers without a runtime.

use std::fs;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rusqlite::TransactionBehavior;
use tower_idempotency::{
    Claim, ClaimRequest, Settled, SqliteStore, Store, StoreError, StoreErrorKind, TakeOver,
};

use crate::support::{MINUTE, Scratch, completed, connect, key, own, replay, request, why};

/// A clock that is set by hand, and breaks.
#[derive(Clone)]
struct Hands(Arc<(AtomicU64, AtomicI64)>);

impl Hands {
    fn at(seconds: u64) -> Self {
        Self(Arc::new((
            AtomicU64::new(seconds),
            AtomicI64::new(i64::MAX),
        )))
    }

    fn set(&self, seconds: u64) {
        self.0.0.store(seconds, Ordering::SeqCst);
    }

    /// After it was asked so often.
    fn breaks_after(&self, times: i64) {
        self.0.1.store(times, Ordering::SeqCst);
    }

    fn is_mended(&self) {
        self.breaks_after(i64::MAX);
    }

    fn clock(&self) -> impl Fn() -> Duration + Send + Sync + 'static {
        let hands = self.clone();
        move || {
            let left = hands.0.1.fetch_sub(1, Ordering::SeqCst);
            assert!(left > 0, "the clock breaks on purpose");
            Duration::from_secs(hands.0.0.load(Ordering::SeqCst))
        }
    }
}

#[tokio::test]
async fn a_thread_that_ends_leaves_its_calls_in_doubt_and_another_takes_its_place() {
    let (scratch, hands) = (Scratch::new(), Hands::at(1_000));
    let builder = SqliteStore::builder().clock(hands.clock()).timeout(MINUTE);
    let store = builder.open(scratch.file("a.db")).await.unwrap();
    let owner = own(&store, &request(1, 1)).await;
    let kind = |error: StoreError| error.kind();
    let mut in_doubt = 0;

    for _ in 0..3 {
        let mut other = connect(&scratch.file("a.db"));
        let lock = other
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .unwrap();
        let renew = |_| store.renew(&owner, MINUTE, true);
        let mut calls = Box::pin(join_all((0..20).map(renew)));
        assert!(futures_util::poll!(&mut calls).is_pending());
        hands.breaks_after(10);
        drop(lock);
        let answers = calls.await.into_iter().map(|answer| answer.map_err(kind));
        // What was committed before, what was begun, and what was not.
        for (number, answer) in answers.enumerate() {
            match answer {
                Ok(settled) => assert!(number < 10 && settled == Settled::Applied),
                Err(StoreErrorKind::Ambiguous) => in_doubt += u64::from(number < 10),
                Err(kind) => assert!(number >= 10 && kind == StoreErrorKind::NotApplied),
            }
        }
        hands.breaks_after(0);
        // What only reads has changed nothing.
        let found = store.inspect(&key(1)).await.map(drop).map_err(kind);
        assert_eq!(found, Err(StoreErrorKind::NotApplied));
        hands.is_mended();
        while store.ping().await.map_err(kind) == Err(StoreErrorKind::NotApplied) {}

        let settled = store.renew(&owner, MINUTE, false).await;
        assert_eq!(settled.unwrap(), Settled::Applied);
    }
    assert!(in_doubt > 0);
}

fn take_away(scratch: &Scratch) {
    for name in ["a.db", "a.db-wal", "a.db-shm"] {
        fs::remove_file(scratch.file(name)).unwrap();
    }
}

async fn is_not_made_anew(store: &SqliteStore, scratch: &Scratch) {
    // Until the ends of threads are known.
    let error = loop {
        let error = store.forget(&key(1), false).await.unwrap_err();
        if error.kind() != StoreErrorKind::NotApplied {
            break error;
        }
    };
    assert_eq!(error.kind(), StoreErrorKind::Fatal, "{}", why(&error));
    assert!(why(&error).contains("cannot be opened"), "{}", why(&error));
    assert!(!scratch.file("a.db").exists());
}

/// The records would be gone with it.
#[tokio::test]
async fn a_file_that_was_taken_away_is_not_made_anew_by_another_thread() {
    let (scratch, hands) = (Scratch::new(), Hands::at(1_000));
    let builder = SqliteStore::builder().clock(hands.clock());
    let store = builder.open(scratch.file("a.db")).await.unwrap();
    hands.breaks_after(0);
    let forgotten = store.forget(&key(1), false).await;
    forgotten.unwrap_err();
    take_away(&scratch);
    hands.is_mended();

    is_not_made_anew(&store, &scratch).await;
}

#[tokio::test]
async fn a_file_that_was_taken_away_is_not_made_anew_by_another_connection() {
    let scratch = Scratch::new();
    let store = SqliteStore::open(scratch.file("a.db")).await.unwrap();
    let other = connect(&scratch.file("a.db"));
    // With what it meets then, the store gives its connection up.
    other
        .execute_batch("DROP TABLE idempotency_record")
        .unwrap();
    let error = store.forget(&key(1), false).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Fatal, "{}", why(&error));
    take_away(&scratch);

    is_not_made_anew(&store, &scratch).await;
}

/// Nobody else would see what is written to it, and it is gone when the store is.
#[cfg(unix)]
#[tokio::test]
async fn nothing_is_written_to_a_file_that_was_taken_away() {
    let scratch = Scratch::new();
    let store = SqliteStore::open(scratch.file("a.db")).await.unwrap();
    let owner = own(&store, &request(1, 1)).await;
    take_away(&scratch);

    let claim = store.claim(&request(2, 2)).await.unwrap_err();
    assert_eq!(claim.kind(), StoreErrorKind::Fatal, "{}", why(&claim));
    let outcome = store.complete(&owner, &completed(b"done")).await;
    assert_eq!(outcome.unwrap_err().kind(), StoreErrorKind::Fatal);
    is_not_made_anew(&store, &scratch).await;
}

/// As by another process that was started meanwhile, or from a backup.
#[cfg(unix)]
#[tokio::test]
async fn a_file_that_was_replaced_is_the_one_that_counts() {
    let scratch = Scratch::new();
    let store = SqliteStore::open(scratch.file("a.db")).await.unwrap();
    let owner = own(&store, &request(1, 1)).await;
    take_away(&scratch);
    let other = SqliteStore::open(scratch.file("a.db")).await.unwrap();
    own(&other, &request(2, 2)).await;

    let found = store.claim(&request(2, 3)).await.unwrap();
    let gone = store.renew(&owner, MINUTE, false).await.unwrap();

    assert!(matches!(found, Claim::Existing(_)), "{found:?}");
    assert_eq!(gone, Settled::Missing);
}

#[tokio::test]
async fn the_threads_end_with_the_store() {
    let (scratch, hands) = (Scratch::new(), Hands::at(1_000));
    let still_there: Weak<_> = Arc::downgrade(&hands.0);
    let builder = SqliteStore::builder().clock(hands.clock());
    let store = builder.open(scratch.file("a.db")).await.unwrap();
    own(&store, &request(1, 1)).await;
    drop(hands);
    assert!(still_there.upgrade().is_some());

    drop(store);

    // The threads hold the clock.
    let deadline = Instant::now() + MINUTE;
    while still_there.upgrade().is_some() {
        assert!(Instant::now() < deadline, "a thread goes on");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_clock_that_jumps_ends_leases_early_and_never_makes_two_owners() {
    let (scratch, hands) = (Scratch::new(), Hands::at(1_000_000));
    let builder = SqliteStore::builder().clock(hands.clock());
    let store = builder.open(scratch.file("a.db")).await.unwrap();
    let first = own(&store, &request(1, 1)).await;

    hands.set(1_000_061);
    let second = own(&store, &request(1, 2).with_take_over(TakeOver::Uncommitted)).await;
    assert!(second.fence() > first.fence());
    let late = store.complete(&first, &completed(b"late")).await;
    assert_eq!(late.unwrap(), Settled::FencedOut);

    // Back: the lease lives longer by so much, and fences rise all the same.
    hands.set(5);
    let record = store.inspect(&key(1)).await.unwrap().unwrap();
    assert!(record.is_live());
    let other = own(&store, &request(2, 2)).await;
    assert!(other.fence() > second.fence());
    let done = store.complete(&second, &completed(b"done")).await;
    assert_eq!(done.unwrap(), Settled::Applied);
    assert_eq!(replay(&store, 1).await.as_deref(), Some(&b"done"[..]));

    // Far ahead it has expired, and is purged or not.
    hands.set(1_000_000_000);
    assert!(own(&store, &request(1, 3)).await.fence() > other.fence());
}

#[tokio::test]
async fn expired_records_go_by_themselves() {
    let (scratch, hands) = (Scratch::new(), Hands::at(1_000));
    let builder = SqliteStore::builder().clock(hands.clock());
    let builder = builder
        .purge_every(Duration::from_millis(5))
        .synchronous_normal(true);
    let store = builder.open(scratch.file("a.db")).await.unwrap();
    for number in 0..1_000 {
        let owner = own(&store, &request(number, 1)).await;
        if number % 2 == 0 {
            store.complete(&owner, &completed(b"done")).await.unwrap();
        }
    }
    // A live lease keeps a record beyond its retention.
    let day = 24 * 60 * MINUTE;
    let (long, whole) = (2 * day, request(3_000, 1));
    let long = ClaimRequest::new(
        key(3_000),
        whole.claim_id(),
        *whole.fingerprint(),
        long,
        MINUTE,
    );
    let long = own(&store, &long).await;
    hands.set(1_000 + day.as_secs() + 1);
    let running = own(&store, &request(2_000, 1)).await;

    let count = || {
        let file = connect(&scratch.file("a.db"));
        let count = "SELECT count(*) FROM idempotency_record";
        file.query_row(count, [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    let deadline = Instant::now() + MINUTE;
    while count() > 2 {
        assert!(Instant::now() < deadline, "{} are left", count());
        thread::yield_now();
    }
    for owner in [running, long] {
        let settled = store.renew(&owner, MINUTE, false).await;
        assert_eq!(settled.unwrap(), Settled::Applied);
    }
}

struct Parked(Thread);

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// As an executor of somebody else's does.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Parked(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn every_verb_works_without_a_runtime() {
    block_on(async {
        let scratch = Scratch::new();
        let store = SqliteStore::open(scratch.file("a.db")).await.unwrap();
        store.ping().await.unwrap();
        let owner = own(&store, &request(1, 1)).await;
        store.renew(&owner, MINUTE, true).await.unwrap();
        store.settled(&key(1), owner.fence(), MINUTE).await;
        store.complete(&owner, &completed(b"done")).await.unwrap();
        assert_eq!(replay(&store, 1).await.as_deref(), Some(&b"done"[..]));
        let other = own(&store, &request(2, 1)).await;
        store.abandon(&other).await.unwrap();
        store.release(&other).await.unwrap();
        store.forget(&key(1), true).await.unwrap();
        assert_eq!(store.erase_scope(&[8; 16]).await.unwrap(), 0);
    });
}
