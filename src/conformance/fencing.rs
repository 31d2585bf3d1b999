//! Fences, and owners of old.

use super::bench::{Bench, Held, completed_for, request_for};
use super::times::Times;
use crate::key::{ClaimId, Fence, RecordKey};
use crate::store::claim::{Forgotten, Owner, Settled};

/// How often a key changes hands.
const TIMES: u32 = 3;

/// Claims the key, which must be free, and expects a higher fence than that of the last owner.
async fn next(bench: &Bench, what: &str, last: &Held) -> Held {
    let next = bench.own_as(what, &bench.request(last.key())).await;
    let (last, fence) = (last.fence().get(), next.fence().get());
    assert!(
        fence > last,
        "the fence of {what} is {fence}, after {last}: it must increase"
    );
    next
}

pub(super) async fn fences_increase_across_take_overs(bench: Bench) {
    let mut owner = bench.own(bench.key(1)).await;
    for _ in 0..TIMES {
        bench.abandon(&owner).await;
        owner = next(&bench, "an abandoned record", &owner).await;
    }
}

pub(super) async fn fences_increase_across_release(bench: Bench) {
    let mut owner = bench.own(bench.key(1)).await;
    for _ in 0..TIMES {
        bench.release(&owner).await;
        owner = next(&bench, "a released key", &owner).await;
    }
}

pub(super) async fn fences_increase_across_forgetting(bench: Bench) {
    let mut owner = bench.own(bench.key(1)).await;
    for time in 0..TIMES {
        if time % 2 == 0 {
            bench.complete(&owner).await;
        }
        bench.forget(owner.key(), true).await;
        owner = next(&bench, "a forgotten key", &owner).await;
    }
}

pub(super) async fn fences_increase_across_erasure(bench: Bench) {
    let mut owner = bench.own(bench.key(1)).await;
    for _ in 0..TIMES {
        bench.erase(owner.key().scope()).await;
        owner = next(&bench, "a key of an erased scope", &owner).await;
    }
}

pub(super) async fn fences_increase_across_expiry(bench: Bench) {
    let Times { second, after, .. } = bench.times;
    let request = request_for(bench.key(1), second, second);
    let mut owner = bench.own_as("an absent key", &request).await;
    for _ in 0..TIMES {
        bench.complete_with(&owner, &completed_for(second)).await;
        bench.pass(second + after).await;
        owner = next(&bench, "an expired key", &owner).await;
    }
}

pub(super) async fn an_owner_is_fence_and_claim_id_together(bench: Bench) {
    let key = bench.key(1);
    let held = bench.own(key).await;
    let fence = held.fence().get();
    let fences = [fence.wrapping_sub(1), fence.wrapping_add(1), 0, u64::MAX];
    let wrong_fences = fences
        .into_iter()
        .filter(|other| *other != fence)
        .map(|other| Owner::new(key, Fence::new(other), held.owner.claim_id()));
    let wrong_id = Owner::new(key, held.fence(), ClaimId::unique());

    for other in wrong_fences {
        bench
            .refuses("somebody with another fence", &other, Settled::FencedOut)
            .await;
    }
    bench
        .refuses(
            "somebody with another claim id",
            &wrong_id,
            Settled::FencedOut,
        )
        .await;
    bench.renew(&held).await;
}

pub(super) async fn an_owner_that_was_taken_over_is_fenced_out(bench: Bench) {
    let zombie = bench.own(bench.key(1)).await;
    bench.lapse().await;
    let owner = next(&bench, "a lapsed record", &zombie).await;
    let refused = async |when: &str| {
        let whose = format!("an owner that was taken over, {when}");
        bench
            .refuses(&whose, &zombie.owner, Settled::FencedOut)
            .await;
    };

    refused("while the next one runs").await;
    bench.abandon(&owner).await;
    refused("after the next one abandoned").await;
    bench.complete(&owner).await;
    refused("after the next one completed").await;
}

pub(super) async fn an_owner_whose_key_was_released_and_claimed_is_fenced_out(bench: Bench) {
    let zombie = bench.own(bench.key(1)).await;
    bench.release(&zombie).await;
    let owner = next(&bench, "a released key", &zombie).await;

    is_fenced_out(&bench, &zombie, &owner).await;
}

pub(super) async fn an_owner_whose_key_was_forgotten_and_claimed_is_fenced_out(bench: Bench) {
    let zombie = bench.own(bench.key(1)).await;
    let forgotten = bench.forget(zombie.key(), true).await;
    assert_eq!(forgotten, Forgotten::Forgotten, "a live record, by force");
    let owner = next(&bench, "a forgotten key", &zombie).await;

    is_fenced_out(&bench, &zombie, &owner).await;
}

pub(super) async fn an_owner_whose_scope_was_erased_and_key_claimed_is_fenced_out(bench: Bench) {
    let zombie = bench.own(bench.key(1)).await;
    bench.erase(zombie.key().scope()).await;
    let owner = next(&bench, "a key of an erased scope", &zombie).await;

    is_fenced_out(&bench, &zombie, &owner).await;
}

pub(super) async fn an_owner_whose_key_expired_and_was_claimed_is_fenced_out(bench: Bench) {
    let Times { second, after, .. } = bench.times;
    let request = |number| request_for(bench.key(number), second, second);
    let silent = bench.own_as("an absent key", &request(1)).await;
    let done = bench.own_as("an absent key", &request(2)).await;
    bench.complete_with(&done, &completed_for(second)).await;
    bench.pass(second + after).await;

    for zombie in [silent, done] {
        let owner = next(&bench, "an expired key", &zombie).await;

        is_fenced_out(&bench, &zombie, &owner).await;
    }
}

/// Expects that every write of the zombie is refused before and after the new owner has ended.
async fn is_fenced_out(bench: &Bench, zombie: &Held, owner: &Held) {
    bench
        .refuses("an owner of old", &zombie.owner, Settled::FencedOut)
        .await;
    bench.complete(owner).await;
    bench
        .refuses("an owner of old", &zombie.owner, Settled::FencedOut)
        .await;
}

pub(super) async fn an_owner_without_a_record_misses_it(bench: Bench) {
    let released = bench.own(bench.key(1)).await;
    bench.release(&released).await;
    let forgotten = bench.own(bench.key(2)).await;
    bench.forget(forgotten.key(), true).await;
    let done = bench.own(bench.key(3)).await;
    bench.complete(&done).await;
    bench.forget(done.key(), false).await;
    let erased = bench.own(bench.key_of(2, 4)).await;
    bench.erase(erased.key().scope()).await;
    let never = Owner::new(bench.key(5), Fence::new(1), ClaimId::unique());

    misses(&bench, "an owner that released its key", released.owner).await;
    misses(&bench, "an owner whose key was forgotten", forgotten.owner).await;
    misses(
        &bench,
        "an owner that completed what was forgotten",
        done.owner,
    )
    .await;
    misses(&bench, "an owner whose scope was erased", erased.owner).await;
    misses(&bench, "somebody who never claimed", never).await;
}

async fn misses(bench: &Bench, whose: &str, owner: Owner) {
    let key: RecordKey = *owner.key();
    bench.refuses(whose, &owner, Settled::Missing).await;
    bench
        .gone("after the writes of an owner without a record", key)
        .await;
}
