//! Records that cannot be read: never taken for absent ones.

use std::fmt::Debug;

use super::bench::{Bench, Held, PAYLOAD, Write};
use super::candidate::Corrupt;
use super::looking::is_completed;
use crate::key::RecordKey;
use crate::store::claim::{Forgotten, Settled, TakeOver};
use crate::store::error::{StoreError, StoreErrorKind};
use crate::store::traits::Store;

impl Bench {
    /// Claims two keys, completes the second, and corrupts both.
    async fn corrupted(&self, corrupt: &Corrupt) -> [Held; 2] {
        let owners = [self.own(self.key(1)).await, self.own(self.key(2)).await];
        self.complete(&owners[1]).await;
        for owner in &owners {
            corrupt(owner.key()).await;
        }
        owners
    }

    async fn is_unreadable_when_claimed(&self, key: RecordKey) {
        for rule in [TakeOver::Never, TakeOver::Uncommitted, TakeOver::Always] {
            for request in [self.request(key), self.other_request(key)] {
                let claim = self.store().claim(&request.with_take_over(rule)).await;
                is_unreadable("a claim", &claim);
            }
        }
    }
}

#[track_caller]
fn is_unreadable<T: Debug>(what: &str, answer: &Result<T, StoreError>) {
    let kind = answer.as_ref().map_err(StoreError::kind);
    assert!(
        matches!(kind, Err(StoreErrorKind::Unreadable)),
        "{what} of a corrupt record must fail with StoreErrorKind::Unreadable, it was {answer:?}"
    );
}

pub(super) async fn a_claim_of_a_corrupt_record_fails(bench: Bench, corrupt: Corrupt) {
    for owner in bench.corrupted(&corrupt).await {
        bench.is_unreadable_when_claimed(owner.key()).await;
    }
}

pub(super) async fn a_corrupt_record_is_unreadable_after_its_lease_too(
    bench: Bench,
    corrupt: Corrupt,
) {
    let owners = bench.corrupted(&corrupt).await;
    bench.lapse().await;

    for owner in owners {
        bench.is_unreadable_when_claimed(owner.key()).await;
        let record = bench.store().inspect(&owner.key()).await;
        is_unreadable("an inspection", &record);
    }
}

pub(super) async fn inspecting_a_corrupt_record_fails(bench: Bench, corrupt: Corrupt) {
    for owner in bench.corrupted(&corrupt).await {
        for _ in 0..2 {
            let record = bench.store().inspect(&owner.key()).await;
            is_unreadable("an inspection", &record);
        }
    }
}

pub(super) async fn the_owner_of_a_corrupt_record_is_not_told_that_it_is_missing(
    bench: Bench,
    corrupt: Corrupt,
) {
    let completed = bench.completed(PAYLOAD);
    for number in 0..4 {
        let owner = bench.own(bench.key(number)).await;
        corrupt(owner.key()).await;
        let (verb, settled) = match number {
            0 => (
                Write::Renew,
                bench
                    .store()
                    .renew(&owner.owner, bench.times.lease, false)
                    .await,
            ),
            1 => (
                Write::Complete,
                bench.store().complete(&owner.owner, &completed).await,
            ),
            2 => (Write::Abandon, bench.store().abandon(&owner.owner).await),
            _ => (Write::Release, bench.store().release(&owner.owner).await),
        };
        match settled {
            // Where a store need not read what it overwrites or drops.
            Ok(Settled::Applied) => {}
            settled => is_unreadable(&format!("{verb:?}"), &settled),
        }
    }
}

pub(super) async fn a_corrupt_record_is_not_unknown_to_operators(bench: Bench, corrupt: Corrupt) {
    for owner in bench.corrupted(&corrupt).await {
        match bench.store().forget(&owner.key(), true).await {
            Ok(Forgotten::Forgotten) => {
                bench.gone("after it was forgotten", owner.key()).await;
                bench.own_anew("a forgotten key", owner.key()).await;
            }
            forgotten => is_unreadable("forgetting", &forgotten),
        }
    }
}

pub(super) async fn a_corrupt_record_leaves_the_others_readable(bench: Bench, corrupt: Corrupt) {
    let done = bench.own(bench.key(10)).await;
    bench.complete(&done).await;
    let live = bench.own(bench.key(11)).await;
    bench.corrupted(&corrupt).await;

    let record = bench
        .find("a completed record", &bench.request(done.key()))
        .await;
    is_completed("a record beside corrupt ones", &record, PAYLOAD);
    bench.renew(&live).await;
    bench.own_anew("an absent key", bench.key(12)).await;
}
