//! What an owner may do to its record.

use std::time::Duration;

use super::bench::{Bench, PAYLOAD, Write, fingerprint};
use super::looking::{is_completed, is_of};
use super::times::Times;
use crate::store::claim::TakeOver;

pub(super) async fn renewing_counts_the_lease_anew(bench: Bench) {
    let Times { lease, second, .. } = bench.times;
    let key = bench.key(1);
    let owner = bench.own(key).await;

    for lease in [lease, lease * 3, second * 2] {
        bench.pass(second).await;

        bench.renew_for(&owner, lease).await;

        let record = bench.there("after a renewal", key).await;
        bench.same(
            "what is left of the lease",
            record.state().lease_left(),
            lease,
        );
        is_of("a renewed record", &record, &owner);
        assert!(!record.is_committed(), "nobody has committed: {record:?}");
    }
    bench.pass(second * 2 + bench.times.after).await;
    bench.lapsed("when the renewed lease is over", key).await;
}

pub(super) async fn what_is_committed_stays_committed(bench: Bench) {
    let key = bench.key(1);
    let first = bench.own(key).await;
    let stays = async |when| {
        let record = bench.there(when, key).await;
        assert!(record.is_committed(), "the record is not committed {when}");
    };

    bench.commit(&first).await;
    stays("after the renewal that says so").await;
    bench.renew(&first).await;
    stays("after a renewal that does not say so").await;
    bench.abandon(&first).await;
    stays("after it was abandoned").await;
    let always = bench.request(key).with_take_over(TakeOver::Always);
    let second = bench
        .own_as("an abandoned record, with TakeOver::Always", &always)
        .await;
    stays("after it was taken over").await;
    bench.renew(&second).await;
    stays("after the next owner's renewal").await;
    bench.complete(&second).await;
    stays("after it was completed").await;
}

pub(super) async fn an_owner_may_come_back_until_somebody_takes_over(bench: Bench) {
    let mut owners = Vec::new();
    for number in 0..4 {
        owners.push(bench.own(bench.key(number)).await);
    }
    let [renewing, completing, releasing, abandoned] = owners[..] else {
        unreachable!("there are four");
    };
    bench.abandon(&abandoned).await;
    bench.lapse().await;

    bench
        .applies(Write::Renew, "an owner whose lease has ended", &renewing)
        .await;
    bench
        .applies(
            Write::Complete,
            "an owner whose lease has ended",
            &completing,
        )
        .await;
    bench
        .applies(Write::Release, "an owner whose lease has ended", &releasing)
        .await;
    bench
        .applies(
            Write::Renew,
            "an owner that abandoned its record",
            &abandoned,
        )
        .await;

    bench.live("after its late renewal", renewing.key()).await;
    let record = bench
        .there("after its late completion", completing.key())
        .await;
    is_completed("a record completed late", &record, PAYLOAD);
    bench.gone("after its late release", releasing.key()).await;
    bench.live("after its late renewal", abandoned.key()).await;
}

pub(super) async fn an_abandoned_record_keeps_all_but_its_lease(bench: Bench) {
    let key = bench.key(1);
    let owner = bench.own(key).await;
    bench.commit(&owner).await;
    bench.pass(bench.times.second).await;

    bench.abandon(&owner).await;

    bench.lapsed("although it was abandoned", key).await;
    let record = bench.there("after it was abandoned", key).await;
    assert!(record.fingerprint().matches(&fingerprint(1)), "{record:?}");
    is_of("an abandoned record", &record, &owner);
    assert!(record.is_committed(), "committed stays: {record:?}");
    let age = owner.since.elapsed();
    bench.same("its age", record.since_first_request(), age);
    bench.same(
        "what remains of it",
        record.remaining(),
        bench.times.retention - age,
    );
    bench
        .applies(Write::Abandon, "an owner, once more", &owner)
        .await;
    bench
        .applies(Write::Release, "an owner that abandoned its record", &owner)
        .await;
}

pub(super) async fn a_released_record_is_forgotten(bench: Bench) {
    let key = bench.key(1);
    let first = bench.own(key).await;
    bench.abandon(&first).await;
    let second = bench
        .own_as("an abandoned record", &bench.request(key))
        .await;
    bench.commit(&second).await;
    bench.pass(bench.times.second).await;

    bench.release(&second).await;

    bench.gone("after it was released", key).await;
    let next = bench.own_anew("a released key", key).await;
    let record = bench.there("after its claim", key).await;
    is_of("the record of a released key", &record, &next);
    assert!(!record.is_committed(), "nobody has committed: {record:?}");
    assert!(record.fingerprint().matches(&fingerprint(2)), "{record:?}");
    bench.same("its age", record.since_first_request(), Duration::ZERO);
    bench.same(
        "what remains of it",
        record.remaining(),
        bench.times.retention,
    );
}
