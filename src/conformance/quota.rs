//! A store that keeps so many records of one scope, and no more.

use super::bench::{Bench, PAYLOAD, completed_for, request_for};
use super::looking::is_completed;
use super::room::LATE;
use super::times::Times;
use crate::store::claim::{Claim, ClaimRequest};

/// Of each scope.
pub(super) const RECORDS: usize = 5;

impl Bench {
    pub(super) async fn is_over_quota(&self, when: &str, request: &ClaimRequest) {
        match self.claim(request).await {
            Claim::OverQuota => {}
            claim => panic!("a new key must be OverQuota {when}, it was answered with {claim:?}"),
        }
    }
}

pub(super) async fn a_scope_at_its_quota_is_refused_and_no_other(bench: Bench) {
    for number in 0..RECORDS as u64 {
        let owner = bench.own(bench.key(number)).await;
        match number % 3 {
            0 => bench.complete(&owner).await,
            1 => bench.abandon(&owner).await,
            _ => {}
        }
    }

    for number in 100..103 {
        let request = bench.request(bench.key(number));
        bench
            .is_over_quota("in a scope at its quota", &request)
            .await;
        bench
            .gone("after its claim was refused", *request.key())
            .await;
    }
    for number in 0..RECORDS as u64 {
        bench
            .there("in a scope at its quota", bench.key(number))
            .await;
        bench
            .own_as(
                "a key of another scope",
                &bench.request(bench.key_of(2, number)),
            )
            .await;
    }
}

pub(super) async fn a_scope_at_its_quota_keeps_its_keys(bench: Bench) {
    let done = bench.own(bench.key(0)).await;
    let lost = bench.own(bench.key(1)).await;
    let request = bench.request(bench.key(2));
    let live = bench.own_as("an absent key", &request).await;
    for number in 3..RECORDS as u64 {
        bench.own(bench.key(number)).await;
    }
    bench.complete(&done).await;
    bench.abandon(&lost).await;

    let record = bench
        .find("a completed record", &bench.request(done.key()))
        .await;
    is_completed("a record of a scope at its quota", &record, PAYLOAD);
    let next = bench
        .own_as("an abandoned record", &bench.request(lost.key()))
        .await;
    assert_eq!(next.attempt, 2, "the attempt that takes over");
    let again = bench
        .own_as("one's own key, with the same claim id", &request)
        .await;
    assert_eq!(again.fence(), live.fence(), "the fence of a repeated claim");
    bench
        .find("a key in flight", &bench.request(live.key()))
        .await;
}

pub(super) async fn a_key_that_is_gone_counts_no_more(bench: Bench) {
    let mut owners = Vec::new();
    for number in 0..RECORDS as u64 {
        owners.push(bench.own(bench.key(number)).await);
    }

    bench.release(&owners[0]).await;
    bench.own(bench.key(100)).await;
    bench
        .is_over_quota(
            "after one was released and claimed",
            &bench.request(bench.key(101)),
        )
        .await;

    bench.forget(owners[1].key(), true).await;
    bench.own(bench.key(102)).await;
    bench
        .is_over_quota(
            "after one was forgotten and claimed",
            &bench.request(bench.key(103)),
        )
        .await;

    bench.erase(owners[0].key().scope()).await;
    for number in 200..200 + RECORDS as u64 {
        bench.own(bench.key(number)).await;
    }
    bench
        .is_over_quota(
            "after all were erased and claimed",
            &bench.request(bench.key(300)),
        )
        .await;
}

pub(super) async fn a_key_that_has_expired_counts_no_more(bench: Bench) {
    let Times { second, after, .. } = bench.times;
    for number in 0..RECORDS as u64 {
        let request = request_for(bench.key(number), second * 2, second * 2);
        let owner = bench.own_as("an absent key", &request).await;
        if number % 2 == 0 {
            bench
                .complete_with(&owner, &completed_for(second * 2))
                .await;
        }
    }
    bench
        .is_over_quota("in a scope at its quota", &bench.request(bench.key(100)))
        .await;
    bench.pass(second * 2 + after + LATE).await;

    for number in 200..200 + RECORDS as u64 {
        bench.own(bench.key(number)).await;
    }
    bench
        .is_over_quota(
            "in a scope at its quota again",
            &bench.request(bench.key(300)),
        )
        .await;
}
