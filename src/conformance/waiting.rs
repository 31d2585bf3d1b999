//! When waiting for an owner ends. Early is allowed; late by no more than the default of the trait would be.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::bench::{Bench, Held, request_for};
use super::times::Times;
use crate::key::{Fence, RecordKey};
use crate::store::traits::Store;

/// How late a store that looks from time to time may be.
const LATE: Duration = Duration::from_millis(501);

/// How late timers may be.
const TIMERS: Duration = Duration::from_millis(20);

impl Bench {
    /// Does what must be over after so long.
    async fn within<T>(&self, what: &str, at_most: Duration, wait: impl Future<Output = T>) {
        let (start, at_most) = (Instant::now(), at_most + self.times.tolerance + TIMERS);
        // A bit longer than allowed, so that no store keeps the test for ever.
        let ended = timeout(at_most + self.times.second, wait).await;
        let took = start.elapsed();
        if self.times.stands_still {
            self.has_passed(took);
        }
        assert!(
            ended.is_ok() && took <= at_most,
            "waiting for {what} must end after {at_most:?}, it took {took:?} at least",
        );
    }

    /// Claims a new key for a lease that does not end while anything here waits.
    async fn own_for_long(&self) -> Held {
        let long = self.times.retention;
        let request = request_for(self.key(1), long, long);
        self.own_as("an absent key", &request).await
    }
}

/// Waits for an owner that ends while somebody waits.
async fn returns_when<F: Future<Output = ()>>(
    bench: Bench,
    what: &str,
    end: impl FnOnce(Bench, Held) -> F,
) {
    let owner = bench.own_for_long().await;
    let waiter = tokio::spawn({
        let (bench, bound) = (bench.clone(), bench.times.retention);
        async move {
            let (key, fence) = (owner.key(), owner.fence());
            bench.store().settled(&key, fence, bound).await;
        }
    });
    // So long that the waiter has looked more than once.
    bench.wait(bench.times.second * 4).await;

    end(bench.clone(), owner).await;

    bench.within(what, LATE, waiter).await;
}

pub(super) async fn waiting_ends_when_the_record_is_completed(bench: Bench) {
    let end = async |bench: Bench, owner| bench.complete(&owner).await;
    returns_when(bench, "an owner that completes", end).await;
}

pub(super) async fn waiting_ends_when_the_record_is_released(bench: Bench) {
    let end = async |bench: Bench, owner| bench.release(&owner).await;
    returns_when(bench, "an owner that releases its key", end).await;
}

pub(super) async fn waiting_ends_when_the_record_is_abandoned(bench: Bench) {
    let end = async |bench: Bench, owner| bench.abandon(&owner).await;
    returns_when(bench, "an owner that abandons its record", end).await;
}

pub(super) async fn waiting_ends_when_the_record_is_forgotten(bench: Bench) {
    let end = async |bench: Bench, owner: Held| {
        bench.forget(owner.key(), true).await;
    };
    returns_when(bench, "an owner whose key is forgotten", end).await;
}

pub(super) async fn waiting_ends_when_the_scope_is_erased(bench: Bench) {
    let end = async |bench: Bench, owner: Held| {
        bench.erase(owner.key().scope()).await;
    };
    returns_when(bench, "an owner whose scope is erased", end).await;
}

pub(super) async fn waiting_ends_with_the_lease(bench: Bench) {
    let Times {
        lease, retention, ..
    } = bench.times;
    let owner = bench.own(bench.key(1)).await;

    let (key, fence) = (owner.key(), owner.fence());
    let wait = bench.store().settled(&key, fence, retention);
    bench.within("a lease to end", lease + LATE, wait).await;
}

pub(super) async fn waiting_ends_at_its_bound(bench: Bench) {
    let Times { second, .. } = bench.times;
    let owner = bench.own_for_long().await;

    for bound in [Duration::ZERO, second / 5, second * 5] {
        let (key, fence) = (owner.key(), owner.fence());
        let wait = bench.store().settled(&key, fence, bound);
        bench.within("an owner that goes on", bound, wait).await;
    }
}

pub(super) async fn nothing_is_waited_for_where_nothing_is_in_flight(bench: Bench) {
    let retention = bench.times.retention;
    let lapsed = bench.own(bench.key(1)).await;
    let first = bench.own(bench.key(2)).await;
    bench.abandon(&first).await;
    bench.lapse().await;
    let second = bench
        .own_as("an abandoned record", &bench.request(first.key()))
        .await;
    let done = bench.own(bench.key(3)).await;
    bench.complete(&done).await;
    let abandoned = bench.own(bench.key(4)).await;
    bench.abandon(&abandoned).await;
    let released = bench.own(bench.key(5)).await;
    bench.release(&released).await;
    let later = Fence::new(second.fence().get() + 1);
    let unknown: RecordKey = bench.key(6);

    for (what, key, fence) in [
        ("a lapsed record", lapsed.key(), lapsed.fence()),
        ("an owner that was taken over", first.key(), first.fence()),
        ("a fence that is not there yet", second.key(), later),
        ("a completed record", done.key(), done.fence()),
        ("an abandoned record", abandoned.key(), abandoned.fence()),
        ("a released record", released.key(), released.fence()),
        ("a key that nobody claimed", unknown, second.fence()),
    ] {
        let wait = bench.store().settled(&key, fence, retention);
        bench.within(what, Duration::ZERO, wait).await;
    }
}

pub(super) async fn all_who_wait_return(bench: Bench) {
    const WAITERS: u32 = 100;
    let Times {
        second, retention, ..
    } = bench.times;
    let owner = bench.own_for_long().await;
    let mut waiters = JoinSet::new();
    for number in 0..WAITERS {
        let bench = bench.clone();
        waiters.spawn(async move {
            let (key, fence) = (owner.key(), owner.fence());
            tokio::time::sleep(second * 4 * number / WAITERS).await;
            bench.store().settled(&key, fence, retention).await;
        });
    }
    bench.wait(second * 4).await;

    bench.complete(&owner).await;

    let all = waiters.join_all();
    bench.within("an owner that many wait for", LATE, all).await;
}
