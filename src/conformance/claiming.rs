//! Who owns a key.

use std::time::Duration;

use super::bench::{Bench, PAYLOAD, fingerprint, payload, request_for};
use super::looking::is_of;
use super::times::Times;
use crate::fingerprint::Fingerprint;
use crate::key::{ClaimId, RecordKey};
use crate::store::claim::{Claim, ClaimRequest, TakeOver};
use crate::store::error::StoreErrorKind;
use crate::store::traits::Store;

const EVERY_RULE: [TakeOver; 3] = [TakeOver::Never, TakeOver::Uncommitted, TakeOver::Always];

pub(super) async fn a_new_record_is_the_first_attempt_with_its_whole_lease(bench: Bench) {
    let Times {
        lease, retention, ..
    } = bench.times;
    let key = bench.key(1);

    let owner = bench.own(key).await;

    assert_eq!(owner.attempt, 1, "the attempt of a new record");
    bench.same(
        "what the claim has left of its lease",
        owner.lease_left,
        lease,
    );
    let record = bench.there("after its claim", key).await;
    assert!(record.fingerprint().matches(&fingerprint(1)), "{record:?}");
    is_of("a new record", &record, &owner);
    assert!(record.is_live(), "a new record is in flight: {record:?}");
    assert!(!record.is_committed(), "nobody has committed: {record:?}");
    bench.same(
        "what is left of its lease",
        record.state().lease_left(),
        lease,
    );
    bench.same("its age", record.since_first_request(), Duration::ZERO);
    bench.same("what remains of it", record.remaining(), retention);
}

pub(super) async fn a_record_key_is_scope_and_key_together(bench: Bench) {
    let key = bench.key(1);
    let mut last_byte = *key.key();
    last_byte[31] ^= 0x80;
    let others = [
        bench.key(2),
        bench.key_of(2, 1),
        RecordKey::from_parts(*key.scope(), last_byte),
        RecordKey::from_parts(*bench.key_of(9, 1).scope(), *key.key()),
    ];
    bench.own(key).await;

    for other in others {
        bench
            .gone("under a key that differs in scope or key", other)
            .await;
        bench
            .own_anew("a key that differs in scope or key", other)
            .await;
    }
}

pub(super) async fn a_live_record_is_returned_as_it_is(bench: Bench) {
    let key = bench.key(1);
    let owner = bench.own(key).await;
    bench.pass(bench.times.lease / 2).await;
    let before = bench.look(key).await;

    for rule in EVERY_RULE {
        let request = bench.request(key).with_take_over(rule);
        let record = bench.find("a live record", &request).await;

        bench.is_unchanged("a claim of a live record", &before, &record);
    }
    bench.unchanged("a claim of a live record", &before).await;
    bench.renew(&owner).await;
}

pub(super) async fn a_lease_lasts_as_long_as_it_was_asked_for(bench: Bench) {
    let Times { lease, second, .. } = bench.times;
    for (number, lease) in [(1, lease), (2, second * 2)] {
        let key = bench.key(number);
        let request = request_for(key, lease, bench.times.retention);
        let owner = bench.own_as("an absent key", &request).await;
        let ends = owner.since + lease;

        bench.until(ends - bench.times.before).await;
        let record = bench
            .find("a lease about to end", &bench.request(key))
            .await;
        assert!(record.is_live(), "the lease of {lease:?} ended too early");

        bench.until(ends + bench.times.after).await;
        bench.lapsed("when its lease is over", key).await;
        let next = bench.own_as("a lapsed record", &bench.request(key)).await;
        assert_eq!(next.attempt, 2, "the attempt that takes over");
    }
}

pub(super) async fn another_fingerprint_never_owns(bench: Bench) {
    let Times {
        lease, retention, ..
    } = bench.times;
    let key = bench.key(1);
    let version = Fingerprint::from_parts(2, *fingerprint(1).digest());
    let other_version = ClaimRequest::new(key, ClaimId::unique(), version, lease, retention);
    let owner = bench.own(key).await;
    bench.abandon(&owner).await;
    let before = bench.look(key).await;

    for other in [bench.other_request(key), other_version] {
        for rule in EVERY_RULE {
            let request = other.clone().with_take_over(rule);
            let record = bench.find("another fingerprint", &request).await;

            bench.is_unchanged("a claim with another fingerprint", &before, &record);
        }
    }
    bench.renew(&owner).await;
}

pub(super) async fn take_over_never_takes_over_nothing(bench: Bench) {
    takes_over(&bench, TakeOver::Never, [false, false]).await;
}

pub(super) async fn take_over_uncommitted_takes_over_what_is_not_committed(bench: Bench) {
    takes_over(&bench, TakeOver::Uncommitted, [true, false]).await;
}

pub(super) async fn take_over_always_takes_over_what_is_committed_too(bench: Bench) {
    takes_over(&bench, TakeOver::Always, [true, true]).await;
}

/// Claims what has lapsed by time, or was abandoned: first where it is not committed, then where it is.
async fn takes_over(bench: &Bench, rule: TakeOver, taken: [bool; 2]) {
    let mut lost = Vec::new();
    for (number, (committed, taken)) in (0..).zip([false, true].into_iter().zip(taken)) {
        let by_time = bench.own(bench.key_of(1, number)).await;
        let by_verb = bench.own(bench.key_of(2, number)).await;
        if committed {
            bench.commit(&by_time).await;
            bench.commit(&by_verb).await;
        }
        bench.abandon(&by_verb).await;
        lost.push((by_time, committed, taken, "a lapsed record"));
        lost.push((by_verb, committed, taken, "an abandoned record"));
    }
    bench.lapse().await;

    for (owner, committed, taken, what) in lost {
        let what = format!("{what} (committed: {committed}), with TakeOver::{rule:?}");
        let request = bench.request(owner.key()).with_take_over(rule);
        match bench.claim(&request).await {
            Claim::Owned(owned) if taken => {
                assert_eq!(owned.attempt(), 2, "the attempt that takes over {what}");
                assert!(
                    owned.fence() > owner.fence(),
                    "the fence of {what} increases"
                );
                bench.same("its lease", owned.lease_left(), bench.times.lease);
            }
            Claim::Existing(record) if !taken => {
                is_of(&what, &record, &owner);
                assert!(!record.is_live(), "{what} is left as it is: {record:?}");
            }
            claim if taken => panic!("{what}, was not taken over: {claim:?}"),
            claim => panic!("{what}, must be left as it is: {claim:?}"),
        }
        let record = bench.there("after it was claimed", owner.key()).await;
        assert_eq!(
            record.is_committed(),
            committed,
            "whether it is committed: {what}"
        );
    }
}

pub(super) async fn taking_over_counts_the_attempt_and_keeps_the_rest(bench: Bench) {
    let key = bench.key(1);
    let first = bench.own(key).await;
    bench.commit(&first).await;
    let mut last = first;

    for attempt in 2..=5 {
        bench.pass(bench.times.second).await;
        bench.abandon(&last).await;
        let always = bench.request(key).with_take_over(TakeOver::Always);

        let owner = bench
            .own_as("an abandoned record, with TakeOver::Always", &always)
            .await;

        assert_eq!(owner.attempt, attempt, "the attempt counts up");
        let record = bench.there("after it was taken over", key).await;
        is_of("a record taken over", &record, &owner);
        assert!(record.is_live(), "the new owner has a lease: {record:?}");
        assert!(record.is_committed(), "committed stays: {record:?}");
        assert!(record.fingerprint().matches(&fingerprint(1)), "{record:?}");
        let age = first.since.elapsed();
        bench.same("its age", record.since_first_request(), age);
        bench.same(
            "what remains of it",
            record.remaining(),
            bench.times.retention - age,
        );
        last = owner;
    }
}

pub(super) async fn taking_over_keeps_the_expiry_of_the_first(bench: Bench) {
    let Times { lease, second, .. } = bench.times;
    let request = |number, retention| request_for(bench.key(number), lease, retention);
    let first = bench.own_as("an absent key", &request(1, lease * 3)).await;
    bench.lapse().await;

    for retention in [lease * 6, second] {
        let next = bench
            .own_as("a lapsed record", &request(1, retention))
            .await;
        bench.abandon(&next).await;
    }

    bench.expires_at(first.key(), first.since + lease * 3).await;
}

pub(super) async fn a_repeated_claim_is_ones_own_and_counts_the_lease_anew(bench: Bench) {
    let Times {
        lease, retention, ..
    } = bench.times;
    let key = bench.key(1);
    let request = bench.request(key);
    let first = bench.own_as("an absent key", &request).await;
    bench.commit(&first).await;
    bench.pass(lease / 2).await;

    let again = bench
        .own_as("one's own key, with the same claim id", &request)
        .await;

    assert_eq!(
        (again.fence(), again.attempt),
        (first.fence(), 1),
        "fence and attempt stay"
    );
    bench.same(
        "what the claim has left of its lease",
        again.lease_left,
        lease,
    );
    let record = bench.there("after the repeated claim", key).await;
    bench.same(
        "what is left of its lease",
        record.state().lease_left(),
        lease,
    );
    let passed = first.since.elapsed();
    bench.same("what remains of it", record.remaining(), retention - passed);
    bench.same("its age", record.since_first_request(), passed);
    assert!(record.is_committed(), "committed stays: {record:?}");
    bench.renew(&first).await;
}

pub(super) async fn a_repeated_claim_is_ones_own_after_the_lease_too(bench: Bench) {
    for (number, abandoned) in [(1, false), (2, true)] {
        let key = bench.key(number);
        let request = bench.request(key).with_take_over(TakeOver::Never);
        let first = bench.own_as("an absent key", &request).await;
        bench.commit(&first).await;
        if abandoned {
            bench.abandon(&first).await;
        } else {
            bench.lapse().await;
        }

        let again = bench
            .own_as("one's own lapsed key, with the same claim id", &request)
            .await;

        assert_eq!(
            (again.fence(), again.attempt),
            (first.fence(), 1),
            "fence and attempt stay"
        );
        bench.same(
            "what the claim has left of its lease",
            again.lease_left,
            bench.times.lease,
        );
        bench.live("after the repeated claim", key).await;
    }
}

pub(super) async fn a_repeated_claim_does_not_win_back_what_was_taken_over(bench: Bench) {
    let key = bench.key(1);
    let request = bench.request(key);
    let first = bench.own_as("an absent key", &request).await;
    bench.abandon(&first).await;
    let second = bench
        .own_as("an abandoned record", &bench.request(key))
        .await;

    let record = bench.find("a key that somebody took over", &request).await;

    is_of("a record taken over", &record, &second);
    bench.renew(&second).await;
}

pub(super) async fn a_repeated_claim_of_a_completed_record_is_answered_with_it(bench: Bench) {
    let request = bench.request(bench.key(1));
    let owner = bench.own_as("an absent key", &request).await;
    bench.complete(&owner).await;

    for rule in EVERY_RULE {
        let request = request.clone().with_take_over(rule);
        let record = bench.find("one's own completed record", &request).await;

        assert_eq!(
            payload(&record).map(AsRef::as_ref),
            Some(PAYLOAD.as_bytes()),
            "{rule:?}"
        );
    }
}

pub(super) async fn a_claim_id_means_nothing_once_its_record_is_gone(bench: Bench) {
    let Times { second, .. } = bench.times;
    let released = bench.request(bench.key(1));
    let expired = request_for(bench.key(2), second, second);
    let first_released = bench.own_as("an absent key", &released).await;
    bench.commit(&first_released).await;
    let first_expired = bench.own_as("an absent key", &expired).await;
    bench.release(&first_released).await;
    bench.pass(second + bench.times.after).await;

    for (request, first) in [(released, first_released), (expired, first_expired)] {
        // A store that remembers what was released may tell a repeated message from a new request.
        let late = bench.store().claim(&request).await;
        if matches!(&late, Err(error) if error.kind() == StoreErrorKind::NotApplied) {
            bench
                .gone("after a late claim was refused", first.key())
                .await;
            continue;
        }
        let again = bench
            .own_as("an absent key, with a claim id of old", &request)
            .await;

        assert_eq!(again.attempt, 1, "the attempt of a new record");
        assert!(
            again.fence() > first.fence(),
            "a new record has a new fence"
        );
        let record = bench.there("after its claim", first.key()).await;
        assert!(!record.is_committed(), "nobody has committed: {record:?}");
        bench.same(
            "its age",
            record.since_first_request(),
            again.since.elapsed(),
        );
    }
}
