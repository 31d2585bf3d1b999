//! When waiting for an owner ends. Never late by more than the default of the trait would be.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tower_idempotency::{Fence, Owner, Store};

use super::{
    LEASE, RETENTION, SECOND, abandon, complete, completed, key, own, pass, release, request,
    request_for,
};

/// How late a store that looks from time to time may be.
const LATE: Duration = Duration::from_millis(501);

/// Waits for the owner of the first key, who ends after five seconds.
async fn returns_after<St: Store, F: Future + Send>(
    store: St,
    end: impl FnOnce(Arc<St>, Owner) -> F + Send + 'static,
) {
    let store = Arc::new(store);
    let (_, owner) = own(&store, &request(key(1))).await;
    let start = Instant::now();
    let waiter = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.settled(owner.key(), owner.fence(), RETENTION).await }
    });
    // Long before the end, so that the waiter has looked more than once.
    tokio::time::sleep(SECOND * 5).await;

    end(store, owner).await;

    waiter.await.unwrap();
    assert!(
        start.elapsed() <= SECOND * 5 + LATE,
        "{:?}",
        start.elapsed()
    );
}

pub(crate) async fn waiting_ends_when_the_record_is_completed(store: impl Store) {
    returns_after(store, |store, owner| async move {
        complete(&store, &owner, &completed("done")).await
    })
    .await;
}

pub(crate) async fn waiting_ends_when_the_record_is_released(store: impl Store) {
    returns_after(store, |store, owner| async move {
        release(&store, &owner).await
    })
    .await;
}

pub(crate) async fn waiting_ends_when_the_record_is_abandoned(store: impl Store) {
    returns_after(store, |store, owner| async move {
        abandon(&store, &owner).await
    })
    .await;
}

pub(crate) async fn waiting_ends_when_the_record_is_forgotten(store: impl Store) {
    returns_after(store, |store, owner| async move {
        store.forget(owner.key(), true).await
    })
    .await;
}

pub(crate) async fn waiting_ends_when_the_scope_is_erased(store: impl Store) {
    returns_after(store, |store, owner| async move {
        store.erase_scope(owner.key().scope()).await
    })
    .await;
}

pub(crate) async fn waiting_ends_with_the_lease(store: impl Store) {
    let (_, owner) = own(&store, &request(key(1))).await;
    let start = Instant::now();

    store.settled(&key(1), owner.fence(), RETENTION).await;

    assert!(start.elapsed() <= LEASE + LATE, "{:?}", start.elapsed());
}

pub(crate) async fn waiting_ends_at_its_bound(store: impl Store) {
    let (_, owner) = own(&store, &request_for(key(1), Duration::MAX, Duration::MAX)).await;

    for bound in [Duration::ZERO, SECOND / 7, SECOND * 7] {
        let start = Instant::now();

        store.settled(&key(1), owner.fence(), bound).await;

        assert!(
            start.elapsed() <= bound + SECOND / 100,
            "{bound:?}: {:?}",
            start.elapsed()
        );
    }
}

pub(crate) async fn nothing_is_waited_for_where_nothing_is_in_flight(store: impl Store) {
    let (_, first) = own(&store, &request(key(1))).await;
    pass(LEASE).await;
    let (_, second) = own(&store, &request(key(1))).await;
    let (_, done) = own(&store, &request(key(2))).await;
    complete(&store, &done, &completed("done")).await;
    let (_, abandoned) = own(&store, &request(key(3))).await;
    abandon(&store, &abandoned).await;
    let start = Instant::now();

    for (number, fence) in [
        (1, first.fence()),
        (1, Fence::new(second.fence().get() + 1)),
        (2, done.fence()),
        (3, abandoned.fence()),
        (4, second.fence()),
    ] {
        store.settled(&key(number), fence, RETENTION).await;

        assert!(
            start.elapsed() <= SECOND / 100,
            "{number}: {:?}",
            start.elapsed()
        );
    }
}

pub(crate) async fn all_who_wait_return(store: impl Store) {
    let store = Arc::new(store);
    let (_, owner) = own(&store, &request(key(1))).await;
    let start = Instant::now();
    let mut waiters = tokio::task::JoinSet::new();
    for seconds in 0..100 {
        let store = Arc::clone(&store);
        waiters.spawn(async move {
            tokio::time::sleep(SECOND * seconds / 10).await;
            store.settled(&key(1), owner.fence(), RETENTION).await;
        });
    }
    tokio::time::sleep(SECOND * 11).await;

    complete(&store, &owner, &completed("done")).await;

    waiters.join_all().await;
    assert!(
        start.elapsed() <= SECOND * 11 + LATE,
        "{:?}",
        start.elapsed()
    );
}
