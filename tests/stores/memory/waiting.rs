//! Clocks, and whoever waits by them.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;
use tower_idempotency::{BoxStore, Claim, Forgotten, MemoryStore, Owner, Settled, Store, TakeOver};

use crate::support::{
    LEASE, MOMENT, RETENTION, SECOND, abandon, complete, completed, find, inspect, key, own,
    release, renew, request,
};

#[tokio::test(start_paused = true)]
async fn waiting_ends_at_once_when_the_owner_ends() {
    ends_at_once(MemoryStore::new()).await;
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_at_once_behind_an_arc_and_a_box_too() {
    ends_at_once(Arc::new(MemoryStore::new())).await;
    ends_at_once(BoxStore::new(MemoryStore::new())).await;
}

async fn ends_at_once(store: impl Store) {
    let store = Arc::new(store);
    for way in 0..5 {
        let (_, owner) = own(&store, &request(key(way))).await;
        let start = Instant::now();
        let waiter = tokio::spawn({
            let store = Arc::clone(&store);
            async move { store.settled(owner.key(), owner.fence(), RETENTION).await }
        });
        tokio::time::sleep(SECOND * 5).await;
        assert!(!waiter.is_finished(), "too early");

        match way {
            0 => drop(complete(&store, &owner, &completed("done")).await),
            1 => drop(release(&store, &owner).await),
            2 => drop(abandon(&store, &owner).await),
            3 => drop(store.forget(owner.key(), true).await),
            _ => drop(store.erase_scope(owner.key().scope()).await),
        }

        waiter.await.unwrap();
        assert_eq!(start.elapsed(), SECOND * 5);
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_to_the_millisecond_with_the_lease_that_was_renewed_last() {
    let store = Arc::new(MemoryStore::new());
    let (_, owner) = own(&store, &request(key(1))).await;
    let start = Instant::now();
    let waiter = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.settled(owner.key(), owner.fence(), RETENTION).await }
    });
    for _ in 0..5 {
        tokio::time::sleep(LEASE / 2).await;
        renew(&store, &owner).await;
    }

    waiter.await.unwrap();

    assert!(start.elapsed() >= LEASE / 2 * 7, "{:?}", start.elapsed());
    assert!(
        start.elapsed() <= LEASE / 2 * 7 + MOMENT * 2,
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn waiting_goes_on_for_an_owner_that_came_back() {
    let store = Arc::new(MemoryStore::new());
    let (_, owner) = own(&store, &request(key(1))).await;
    let start = Instant::now();
    let waiter = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.settled(owner.key(), owner.fence(), RETENTION).await }
    });
    tokio::time::sleep(SECOND).await;

    abandon(&store, &owner).await;
    renew(&store, &owner).await;
    tokio::time::sleep(SECOND).await;
    assert!(!waiter.is_finished());
    complete(&store, &owner, &completed("done")).await;

    waiter.await.unwrap();
    assert_eq!(start.elapsed(), SECOND * 2);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_one_owner_does_not_wait_for_the_next() {
    let now = Arc::new(AtomicU64::new(0));
    let store = Arc::new(MemoryStore::with_clock({
        let now = Arc::clone(&now);
        move || Duration::from_secs(now.load(Ordering::SeqCst))
    }));
    let (_, first) = own(&store, &request(key(1))).await;
    let waiter = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.settled(&key(1), first.fence(), RETENTION).await }
    });
    tokio::task::yield_now().await;
    let start = Instant::now();

    now.store(60, Ordering::SeqCst);
    own(&store, &request(key(1))).await;

    waiter.await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn another_clock_is_looked_at_every_50_milliseconds() {
    // An origin that is further away than nanoseconds can count.
    let now = Arc::new(AtomicU64::new(1_000_000_000_000));
    let store = MemoryStore::with_clock({
        let now = Arc::clone(&now);
        move || Duration::from_secs(now.load(Ordering::SeqCst))
    });
    let (_, owner) = own(&store, &request(key(1))).await;
    assert_eq!(
        inspect(&store, key(1)).await.unwrap().state().lease_left(),
        LEASE
    );
    let start = Instant::now();

    let (key_one, fence) = (key(1), owner.fence());
    let turn = async {
        tokio::time::sleep(SECOND * 100).await;
        now.fetch_add(30, Ordering::SeqCst);
    };
    tokio::join!(store.settled(&key_one, fence, RETENTION), turn);

    assert!(
        start.elapsed() >= SECOND * 100,
        "the lease is on the store's clock"
    );
    assert!(
        start.elapsed() <= SECOND * 100 + MOMENT * 51,
        "{:?}",
        start.elapsed()
    );
    now.fetch_add(60 * 60, Ordering::SeqCst);
    assert!(inspect(&store, key(1)).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_goes_back_does_no_harm() {
    let now = Arc::new(AtomicU64::new(1_000));
    let store = MemoryStore::with_clock({
        let now = Arc::clone(&now);
        move || Duration::from_secs(now.load(Ordering::SeqCst))
    });
    now.store(1_100, Ordering::SeqCst);
    let (_, owner) = own(&store, &request(key(1))).await;

    now.store(10, Ordering::SeqCst);

    assert_eq!(
        inspect(&store, key(1)).await.unwrap().since_first_request(),
        Duration::ZERO
    );
    assert!(find(&store, &request(key(1))).await.is_live());
    assert_eq!(
        complete(&store, &owner, &completed("done")).await,
        Settled::Applied
    );
}

#[test]
fn outside_a_runtime_every_verb_is_done_at_its_first_poll() {
    let store = MemoryStore::new();
    let claim = request(key(1));
    let Claim::Owned(owned) = at_once(store.claim(&claim)).unwrap() else {
        panic!()
    };
    let owner = Owner::new(key(1), owned.fence(), claim.claim_id());

    at_once(store.settled(&key(1), owned.fence(), RETENTION));
    assert_eq!(
        at_once(store.renew(&owner, LEASE, true)).unwrap(),
        Settled::Applied
    );
    assert_eq!(at_once(store.abandon(&owner)).unwrap(), Settled::Applied);
    let again = request(key(1)).with_take_over(TakeOver::Always);
    assert!(matches!(
        at_once(store.claim(&again)).unwrap(),
        Claim::Owned(_)
    ));
    assert!(at_once(store.inspect(&key(1))).unwrap().is_some());
    assert_eq!(
        at_once(store.forget(&key(1), false)).unwrap(),
        Forgotten::InFlight
    );
    assert_eq!(at_once(store.erase_scope(key(1).scope())).unwrap(), 1);
}

fn at_once<F: Future>(verb: F) -> F::Output {
    match pin!(verb).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("a verb waits"),
    }
}

#[tokio::test]
async fn a_renewal_that_is_overtaken_does_not_shorten_the_lease() {
    let time = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&time);
    let store = MemoryStore::with_clock(move || Duration::from_secs(clock.load(Ordering::SeqCst)));
    let (_, owner) = own(&store, &request(key(1))).await;
    time.store(20, Ordering::SeqCst);
    renew(&store, &owner).await;

    // As if its clock had been read before.
    time.store(10, Ordering::SeqCst);
    renew(&store, &owner).await;
    time.store(20, Ordering::SeqCst);

    let record = inspect(&store, key(1)).await.unwrap();
    assert_eq!(record.state().lease_left(), LEASE);
}
