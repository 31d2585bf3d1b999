//! Verbs whose futures are dropped at an await, and that are sent once more.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use super::bench::{Bench, PAYLOAD, fingerprint, succeeded};
use super::looking::{is_completed, is_of};
use crate::store::claim::{ClaimRequest, Forgotten, Settled};
use crate::store::traits::Store;

/// More polls than a verb takes, where each is an answer of a server.
const MOST: u32 = 100;

/// Polls a future so often, and drops it. Whether it came to its end.
async fn drop_after<F: Future>(polls: u32, future: F) -> bool {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if left == 0 => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Does the same with a verb that is dropped at each of its awaits, one after the other.
async fn at_every_await(mut one: impl AsyncFnMut(u32) -> bool) {
    for polls in 0..MOST {
        if one(polls).await {
            break;
        }
    }
}

/// Expects that this claim, a new one or one's own, owns its key, and that the record lives on as any other.
async fn still_serves(bench: &Bench, request: &ClaimRequest) {
    let owner = bench.own_as("a key, after a dropped verb", request).await;
    let other = bench
        .find(
            "a key in flight, after a dropped verb",
            &bench.request(owner.key()),
        )
        .await;
    is_of("the record, after a dropped verb", &other, &owner);
    bench.complete(&owner).await;
    let record = bench.there("after its completion", owner.key()).await;
    is_completed("the record, after a dropped verb", &record, PAYLOAD);
}

pub(super) async fn a_claim_may_be_dropped_and_repeated(bench: Bench) {
    at_every_await(async |polls| {
        let request = bench.request(bench.key(polls.into()));
        let ended = drop_after(polls, bench.store().claim(&request)).await;

        let owner = bench
            .own_as("a key whose claim was dropped and repeated", &request)
            .await;

        assert_eq!(
            owner.attempt, 1,
            "a claim, dropped and repeated, is one attempt"
        );
        let record = bench
            .there("after its claim was repeated", owner.key())
            .await;
        is_of("the record, after its claim was repeated", &record, &owner);
        assert!(record.fingerprint().matches(&fingerprint(1)), "{record:?}");
        bench.same("the lease", record.state().lease_left(), bench.times.lease);
        still_serves(&bench, &request).await;
        ended
    })
    .await;
}

pub(super) async fn a_take_over_may_be_dropped_and_repeated(bench: Bench) {
    at_every_await(async |polls| {
        let lost = bench.own(bench.key(polls.into())).await;
        bench.abandon(&lost).await;
        let request = bench.request(lost.key());
        let ended = drop_after(polls, bench.store().claim(&request)).await;

        let owner = bench
            .own_as("a record whose take-over was repeated", &request)
            .await;

        assert_eq!(
            owner.attempt, 2,
            "a take-over, dropped and repeated, is one attempt"
        );
        bench
            .refuses(
                "an owner that was taken over",
                &lost.owner,
                Settled::FencedOut,
            )
            .await;
        still_serves(&bench, &request).await;
        ended
    })
    .await;
}

pub(super) async fn a_renewal_may_be_dropped_and_repeated(bench: Bench) {
    at_every_await(async |polls| {
        let request = bench.request(bench.key(polls.into()));
        let owner = bench.own_as("an absent key", &request).await;
        let lease = bench.times.lease * 2;
        let ended = drop_after(polls, bench.store().renew(&owner.owner, lease, true)).await;

        let again = bench.store().renew(&owner.owner, lease, true).await;

        assert_eq!(
            succeeded("renew", again),
            Settled::Applied,
            "a renewal, dropped and repeated"
        );
        let record = bench.there("after the renewal", owner.key()).await;
        is_of("a renewed record", &record, &owner);
        assert!(record.is_committed(), "the renewal committed: {record:?}");
        bench.same("the lease", record.state().lease_left(), lease);
        still_serves(&bench, &request).await;
        ended
    })
    .await;
}

pub(super) async fn a_completion_may_be_dropped_and_repeated(bench: Bench) {
    at_every_await(async |polls| {
        let owner = bench.own(bench.key(polls.into())).await;
        let completed = bench.completed(PAYLOAD);
        let ended = drop_after(polls, bench.store().complete(&owner.owner, &completed)).await;

        bench.complete(&owner).await;

        let record = bench
            .find("a completed record", &bench.request(owner.key()))
            .await;
        is_completed("a record whose completion was repeated", &record, PAYLOAD);
        is_of("a record whose completion was repeated", &record, &owner);
        ended
    })
    .await;
}

pub(super) async fn an_abandonment_may_be_dropped_and_repeated(bench: Bench) {
    at_every_await(async |polls| {
        let owner = bench.own(bench.key(polls.into())).await;
        let ended = drop_after(polls, bench.store().abandon(&owner.owner)).await;

        bench.abandon(&owner).await;

        bench
            .lapsed("although its owner abandoned it", owner.key())
            .await;
        let request = bench.request(owner.key());
        let next = bench.own_as("an abandoned record", &request).await;
        assert_eq!(
            next.attempt, 2,
            "the attempt stays where a record is abandoned"
        );
        still_serves(&bench, &request).await;
        ended
    })
    .await;
}

pub(super) async fn a_release_may_be_dropped_and_repeated(bench: Bench) {
    at_every_await(async |polls| {
        let owner = bench.own(bench.key(polls.into())).await;
        let ended = drop_after(polls, bench.store().release(&owner.owner)).await;

        // `Missing` where the dropped one was applied.
        let settled = succeeded("release", bench.store().release(&owner.owner).await);

        assert!(
            matches!(settled, Settled::Applied | Settled::Missing),
            "a release, dropped and repeated, was {settled:?}"
        );
        bench.gone("after it was released", owner.key()).await;
        let request = bench.request(owner.key());
        let next = bench.own_as("a released key", &request).await;
        assert_eq!(next.attempt, 1, "the attempt of a released key");
        still_serves(&bench, &request).await;
        ended
    })
    .await;
}

pub(super) async fn what_operators_do_may_be_dropped_and_repeated(bench: Bench) {
    let neighbour = bench.own(bench.key_of(4, 1)).await;
    let beside = bench.look(neighbour.key()).await;
    at_every_await(async |polls| {
        let request = bench.request(bench.key(polls.into()));
        let owner = bench.own_as("an absent key", &request).await;
        let before = bench.look(owner.key()).await;
        let inspected = drop_after(polls, bench.store().inspect(request.key())).await;
        bench.unchanged("a dropped inspection", &before).await;
        let key = owner.key();

        let forgotten = drop_after(polls, bench.store().forget(&key, true)).await;
        let again = bench.forget(key, true).await;
        assert!(
            matches!(again, Forgotten::Forgotten | Forgotten::Unknown),
            "forgetting by force, dropped and repeated, was {again:?}"
        );
        bench.gone("after it was forgotten", key).await;

        let request = bench.request(bench.key_of(2, polls.into()));
        bench.own_as("an absent key", &request).await;
        let erased = drop_after(polls, bench.store().erase_scope(request.key().scope())).await;
        let again = bench.erase(request.key().scope()).await;
        assert!(again <= 1, "{again} records were erased, of one");
        bench
            .gone("after its scope was erased", *request.key())
            .await;
        still_serves(&bench, &bench.request(bench.key_of(3, polls.into()))).await;
        bench
            .unchanged("what was done to other keys and scopes", &beside)
            .await;
        inspected && forgotten && erased
    })
    .await;
}

pub(super) async fn waiting_may_be_dropped(bench: Bench) {
    let request = bench.request(bench.key(1));
    let owner = bench.own_as("an absent key", &request).await;
    let before = bench.look(owner.key()).await;

    for polls in 0..3 {
        let (key, fence) = (owner.key(), owner.fence());
        let waiting = bench.store().settled(&key, fence, bench.times.second);
        drop_after(polls, waiting).await;

        bench.unchanged("waiting that was dropped", &before).await;
        let other = bench.request(key);
        bench
            .find("a key in flight, after somebody waited", &other)
            .await;
    }
    still_serves(&bench, &request).await;
}
