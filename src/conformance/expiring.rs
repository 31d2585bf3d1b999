//! When records are absent again.

use std::time::Duration;

use super::bench::{Bench, Held, PAYLOAD, Write, completed_for, request_for};
use super::looking::{is_completed, is_of};
use super::times::Times;
use crate::store::claim::{Forgotten, Settled};

/// Claims a new key for the usual lease, and this retention.
async fn own_for(bench: &Bench, number: u64, retention: Duration) -> Held {
    let request = request_for(bench.key(number), bench.times.lease, retention);
    bench.own_as("an absent key", &request).await
}

async fn complete_for(bench: &Bench, owner: &Held, retention: Duration) {
    let settled = bench.complete_with(owner, &completed_for(retention)).await;
    assert_eq!(settled, Settled::Applied, "a completion by the owner");
}

pub(super) async fn what_is_left_falls_as_time_passes(bench: Bench) {
    let Times {
        lease, retention, ..
    } = bench.times;
    let owner = bench.own(bench.key(1)).await;

    for _ in 0..4 {
        bench.pass(lease / 6).await;

        let record = bench.there("while its lease lives", owner.key()).await;
        let passed = owner.since.elapsed();
        bench.same("its age", record.since_first_request(), passed);
        bench.same(
            "what is left of its lease",
            record.state().lease_left(),
            lease - passed,
        );
        bench.same("what remains of it", record.remaining(), retention - passed);
    }
}

pub(super) async fn retention_counts_from_the_first_request(bench: Bench) {
    let Times { lease, second, .. } = bench.times;
    let first = own_for(&bench, 1, lease * 3).await;
    bench.lapse().await;
    let owner = bench
        .own_as("a lapsed record", &bench.request(first.key()))
        .await;
    bench.pass(second).await;
    complete_for(&bench, &owner, lease * 3).await;

    bench.expires_at(first.key(), first.since + lease * 3).await;
}

pub(super) async fn the_retention_of_the_completion_counts(bench: Bench) {
    let Times { lease, second, .. } = bench.times;
    for (number, retention) in [(1, second * 4), (2, lease * 3)] {
        let owner = own_for(&bench, number, lease * 2).await;
        bench.pass(second).await;

        complete_for(&bench, &owner, retention).await;

        bench.expires_at(owner.key(), owner.since + retention).await;
    }
}

pub(super) async fn a_retention_that_has_passed_ends_with_the_lease(bench: Bench) {
    let Times { lease, second, .. } = bench.times;
    let owner = bench.own(bench.key(1)).await;
    bench.pass(second * 2).await;

    complete_for(&bench, &owner, second).await;

    let record = bench
        .find("a completed record", &bench.request(owner.key()))
        .await;
    is_completed("what expires with its lease", &record, PAYLOAD);
    bench.expires_at(owner.key(), owner.since + lease).await;
}

pub(super) async fn a_retention_and_a_lease_that_have_passed_leave_nothing(bench: Bench) {
    let owner = bench.own(bench.key(1)).await;
    bench.lapse().await;

    complete_for(&bench, &owner, bench.times.second).await;

    bench
        .gone("with neither retention nor lease left", owner.key())
        .await;
    bench
        .own_anew("a key that has expired at its completion", owner.key())
        .await;
}

pub(super) async fn a_live_claim_never_expires(bench: Bench) {
    let Times { lease, second, .. } = bench.times;
    let owner = own_for(&bench, 1, second).await;
    for _ in 0..3 {
        bench.pass(lease / 2).await;
        bench
            .live("beyond its retention, while it is renewed", owner.key())
            .await;
        bench.renew(&owner).await;
    }
    let renewed = tokio::time::Instant::now();

    bench.expires_at(owner.key(), renewed + lease).await;
    bench.own_anew("an expired key", owner.key()).await;
}

pub(super) async fn an_abandoned_record_is_kept_for_its_retention(bench: Bench) {
    let Times { lease, second, .. } = bench.times;
    let abandoned = own_for(&bench, 1, lease * 2).await;
    bench.pass(second).await;
    bench.abandon(&abandoned).await;
    bench.pass(second * 2).await;
    let lapsed = own_for(&bench, 2, lease * 2).await;
    bench.lapse().await;
    bench.lapsed("when its lease is over", lapsed.key()).await;

    bench
        .expires_at(abandoned.key(), abandoned.since + lease * 2)
        .await;
    bench
        .expires_at(lapsed.key(), lapsed.since + lease * 2)
        .await;
}

pub(super) async fn abandoning_a_record_beyond_its_retention_leaves_nothing(bench: Bench) {
    let Times { second, .. } = bench.times;
    let owner = own_for(&bench, 1, second).await;
    bench.pass(second * 2).await;
    bench
        .live("beyond its retention, as its lease lives", owner.key())
        .await;

    bench.abandon(&owner).await;

    bench
        .gone("with neither retention nor lease left", owner.key())
        .await;
    bench.own_anew("an expired key", owner.key()).await;
}

pub(super) async fn an_expired_record_is_an_absent_one(bench: Bench) {
    let Times {
        lease,
        second,
        after,
        retention,
        ..
    } = bench.times;
    let keys = [bench.key(1), bench.key(2), bench.key(3), bench.key_of(2, 4)];
    for key in keys {
        let request = request_for(key, second, lease);
        let owner = bench.own_as("an absent key", &request).await;
        bench.commit(&owner).await;
        if key != keys[1] {
            complete_for(&bench, &owner, lease).await;
        }
    }
    bench.pass(lease + after).await;

    for key in keys {
        bench.gone("after its retention", key).await;
    }
    for (key, force) in [(keys[0], false), (keys[1], true)] {
        let forgotten = bench.forget(key, force).await;
        assert_eq!(
            forgotten,
            Forgotten::Unknown,
            "an expired record cannot be forgotten"
        );
    }
    let erased = bench.erase(keys[3].scope()).await;
    assert_eq!(
        erased, 0,
        "expired records of an erased scope are not counted"
    );
    for key in keys {
        bench.own_anew("an expired key", key).await;
        let record = bench.there("after its claim", key).await;
        bench.same("its age", record.since_first_request(), Duration::ZERO);
        bench.same("what remains of it", record.remaining(), retention);
        assert!(!record.is_committed(), "nobody has committed: {record:?}");
    }
}

pub(super) async fn a_late_write_of_an_expired_record_is_applied_or_finds_it_missing(bench: Bench) {
    let Times { second, after, .. } = bench.times;
    let mut owners = Vec::new();
    for (number, verb) in (0..).zip(Write::ALL) {
        let request = request_for(bench.key(number), second, second);
        owners.push((verb, bench.own_as("an absent key", &request).await));
    }
    bench.pass(second + after).await;

    for (verb, owner) in owners {
        bench.gone("after its retention", owner.key()).await;
        let there = match (bench.write(verb, &owner.owner).await, verb) {
            (Settled::Missing, _) | (Settled::Applied, Write::Abandon | Write::Release) => false,
            (Settled::Applied, _) => true,
            (settled, _) => panic!(
                "a late {verb:?} of an expired record must be Applied or Missing, it was {settled:?}"
            ),
        };
        let record = bench.inspect(owner.key()).await;
        assert_eq!(
            record.is_some(),
            there,
            "whether there is a record after a late {verb:?}"
        );
        if let Some(record) = record {
            is_of("a record that came back", &record, &owner);
        }
    }
}

pub(super) async fn every_record_expires_at_its_own_time(bench: Bench) {
    let Times {
        second,
        before,
        after,
        stands_still,
        ..
    } = bench.times;
    let (records, unit) = if stands_still {
        (211, second)
    } else {
        (23, second * 2)
    };
    let mut owners = Vec::new();
    for number in 0..records {
        // Neither in the order of the claims nor all different.
        let retention = unit * (1 + number * 89 % records / 2);
        let request = request_for(bench.key(number.into()), second, retention);
        let owner = bench.own_as("an absent key", &request).await;
        if number % 3 == 0 {
            complete_for(&bench, &owner, retention).await;
        }
        owners.push((owner, owner.since + retention));
    }
    let start = tokio::time::Instant::now();

    for step in 0..=records / 2 + 1 {
        bench.until(start + unit * step + unit / 2).await;
        for (owner, then) in &owners {
            let earliest = tokio::time::Instant::now();
            let record = bench.inspect(owner.key()).await;
            let is_late = earliest >= *then + after;
            assert!(
                record.is_none() || !is_late,
                "a record outlived its retention"
            );
            let is_early = tokio::time::Instant::now() + before <= *then;
            assert!(
                record.is_some() || !is_early,
                "a record went before its time"
            );
        }
        // Dropping what is due takes nothing else along.
        bench.own(bench.key_of(2, step.into())).await;
    }
}

pub(super) async fn the_longest_durations_do_not_overflow(bench: Bench) {
    let Times {
        second,
        lease,
        stands_still,
        ..
    } = bench.times;
    // The second is a multiple of 2^64 nanoseconds.
    for (scope, longest) in [(1, Duration::MAX), (2, Duration::from_secs(1 << 55))] {
        let key = |number| bench.key_of(scope, number);
        let request = request_for(key(1), longest, longest);
        let renewed = bench.own_as("an absent key, for ever", &request).await;
        let done = bench
            .own_as("an absent key", &request_for(key(2), lease, longest))
            .await;
        let brief = request_for(key(3), longest, second);
        let abandoned = bench.own_as("an absent key, for ever", &brief).await;
        bench.pass(second + bench.times.after).await;

        bench.renew_for(&renewed, longest).await;
        complete_for(&bench, &done, longest).await;
        bench.live("with a lease without end", key(3)).await;
        bench.abandon(&abandoned).await;
        bench
            .own_as("one's own key, with the same claim id", &request)
            .await;

        if stands_still {
            bench.pass(Duration::from_secs(60 * 60 * 24 * 365)).await;
        }
        bench.live("with a lease without end", key(1)).await;
        let record = bench
            .find("a record kept for ever", &bench.request(key(2)))
            .await;
        is_completed("a record kept for ever", &record, PAYLOAD);
        bench
            .gone("with neither retention nor lease left", key(3))
            .await;
    }
}
