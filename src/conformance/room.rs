//! A store that keeps so many records in all, and no more.

use std::time::Duration;

use super::bench::{Bench, Held, PAYLOAD, payload, request_for};
use super::looking::{is_completed, is_of};
use super::times::Times;
use crate::store::claim::{Claim, Settled};
use crate::store::traits::Store;

/// In all scopes together.
pub(super) const RECORDS: usize = 5;

/// So long may what has expired take room.
pub(super) const LATE: Duration = Duration::from_secs(1);

impl Bench {
    /// Claims as many keys as there is room for, in two scopes.
    async fn fill(&self) -> Vec<Held> {
        let mut owners = Vec::new();
        for number in 0..RECORDS as u64 {
            owners.push(self.own(self.key_of(1 + number as u8 % 2, number)).await);
        }
        owners
    }

    async fn is_full(&self, when: &str) {
        let request = self.request(self.key_of(3, 1_000));
        match self.claim(&request).await {
            Claim::Full => {}
            claim => panic!("a new key must find the store Full {when}: {claim:?}"),
        }
    }
}

pub(super) async fn a_full_store_refuses_new_keys_and_serves_the_others(bench: Bench) {
    let owners = bench.fill().await;
    let [done, lost, live] = [owners[0], owners[1], owners[2]];
    bench.complete(&done).await;
    bench.abandon(&lost).await;

    for _ in 0..3 {
        bench.is_full("when it is").await;
    }

    let record = bench
        .find("a completed record", &bench.request(done.key()))
        .await;
    is_completed("a record of a full store", &record, PAYLOAD);
    let next = bench
        .own_as("an abandoned record", &bench.request(lost.key()))
        .await;
    assert_eq!(next.attempt, 2, "the attempt that takes over");
    bench
        .find("a key in flight", &bench.request(live.key()))
        .await;
    bench.renew(&live).await;
}

pub(super) async fn nothing_is_dropped_for_room_before_it_expires(bench: Bench) {
    let owners = bench.fill().await;
    for (number, owner) in owners.iter().enumerate() {
        match number % 3 {
            0 => bench.complete(owner).await,
            1 => bench.abandon(owner).await,
            _ => {}
        }
    }
    bench.pass(bench.times.second).await;

    for _ in 0..RECORDS * 2 {
        bench.is_full("while nothing has expired").await;
    }

    for owner in owners {
        let record = bench
            .there("although it has not expired", owner.key())
            .await;
        is_of("a record of a full store", &record, &owner);
    }
}

pub(super) async fn a_record_that_is_gone_makes_room(bench: Bench) {
    let owners = bench.fill().await;

    bench.release(&owners[0]).await;
    bench.own(bench.key(100)).await;
    bench.is_full("after one was released and claimed").await;

    bench.forget(owners[1].key(), true).await;
    bench.own(bench.key(101)).await;
    bench.is_full("after one was forgotten and claimed").await;

    let erased = bench.erase(owners[0].key().scope()).await;
    for number in 200..200 + erased {
        bench.own(bench.key(number)).await;
    }
    bench.is_full("after some were erased and claimed").await;
}

pub(super) async fn a_record_that_has_expired_makes_room(bench: Bench) {
    let Times { second, after, .. } = bench.times;
    for number in 0..RECORDS as u64 {
        let retention = if number == 0 {
            bench.times.retention
        } else {
            second * 2
        };
        let request = request_for(bench.key(number), second * 2, retention);
        bench.own_as("an absent key", &request).await;
    }
    bench.is_full("while nothing has expired").await;
    bench.pass(second * 2 + after + LATE).await;

    for number in 100..99 + RECORDS as u64 {
        bench.own(bench.key(number)).await;
    }
    bench.is_full("after what expired was replaced").await;
    bench
        .there("although it has not expired", bench.key(0))
        .await;
}

pub(super) async fn completing_never_fails_for_lack_of_room(bench: Bench) {
    let owners = bench.fill().await;
    bench.is_full("when it is").await;

    for owner in owners {
        let completed = bench.completed(PAYLOAD);
        let settled = bench.complete_with(&owner, &completed).await;

        let expected = match settled {
            Settled::Applied => completed.payload(),
            Settled::Tombstoned => completed.tombstone(),
            settled => panic!("a completion in a full store is applied, it was {settled:?}"),
        };
        let record = bench.there("after its completion", owner.key()).await;
        assert_eq!(
            payload(&record),
            Some(expected),
            "what was written, {settled:?}"
        );
    }
}

pub(super) async fn a_store_that_knows_how_full_it_is_says_so(bench: Bench) {
    let Some(empty) = bench.store().fullness() else {
        return;
    };
    assert!(empty < 80, "an empty store says that it is {empty} % full");
    bench.fill().await;

    let full = bench.store().fullness();

    assert_eq!(full, Some(100), "a full store says how full it is, of 100");
}
