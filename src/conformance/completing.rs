//! What is left of a record that has ended.

use bytes::Bytes;

use super::bench::{Bench, PAYLOAD, TOMBSTONE, Write, completed_with, fingerprint};
use super::looking::{is_completed, is_of};
use super::times::Times;
use crate::store::claim::Settled;

pub(super) async fn a_completed_record_is_returned_with_its_payload(bench: Bench) {
    let Times {
        second, retention, ..
    } = bench.times;
    let key = bench.key(1);
    let first = bench.own(key).await;
    bench.abandon(&first).await;
    let owner = bench
        .own_as("an abandoned record", &bench.request(key))
        .await;
    bench.commit(&owner).await;
    bench.pass(second).await;

    bench.complete(&owner).await;

    bench.lapse().await;
    for request in [bench.request(key), bench.other_request(key)] {
        let record = bench.find("a completed record", &request).await;
        is_completed("a completed record", &record, PAYLOAD);
        assert!(record.fingerprint().matches(&fingerprint(1)), "{record:?}");
        is_of("a completed record", &record, &owner);
        assert!(record.is_committed(), "committed stays: {record:?}");
        assert!(
            !record.is_live(),
            "a completed record is not live: {record:?}"
        );
        let age = first.since.elapsed();
        bench.same("its age", record.since_first_request(), age);
        bench.same("what remains of it", record.remaining(), retention - age);
    }
}

pub(super) async fn a_repeated_completion_is_applied_and_changes_nothing(bench: Bench) {
    let key = bench.key(1);
    let owner = bench.own(key).await;
    bench.complete(&owner).await;
    let before = bench.look(key).await;
    bench.lapse().await;

    let other = completed_with(Bytes::from_static(b"another"), bench.times.retention * 2);
    let settled = bench.complete_with(&owner, &other).await;

    assert_eq!(
        settled,
        Settled::Applied,
        "a repeated completion of the same owner"
    );
    bench.unchanged("a repeated completion", &before).await;
}

pub(super) async fn a_completed_record_refuses_every_other_verb_of_its_owner(bench: Bench) {
    let key = bench.key(1);
    let owner = bench.own(key).await;
    bench.complete(&owner).await;
    let before = bench.look(key).await;

    for verb in [Write::Renew, Write::Commit, Write::Abandon, Write::Release] {
        let settled = bench.write(verb, &owner.owner).await;

        assert_eq!(
            settled,
            Settled::FencedOut,
            "{verb:?} of a completed record"
        );
        bench
            .unchanged(&format!("{verb:?} of a completed record"), &before)
            .await;
    }
}

pub(super) async fn a_payload_is_kept_byte_for_byte(bench: Bench) {
    let bytes = |length: u32| (0..length).map(|byte| byte as u8).collect::<Bytes>();
    // Where the largest does not fit, its tombstone is kept.
    for (number, written) in (0..).zip([bytes(0), bytes(1), bytes(5_000), bytes(200_000)]) {
        let owner = bench.own(bench.key(number)).await;
        let completed = completed_with(written.clone(), bench.times.retention);

        let kept: &[u8] = match bench.complete_with(&owner, &completed).await {
            Settled::Tombstoned if written.len() > 5_000 => TOMBSTONE,
            settled => {
                assert_eq!(settled, Settled::Applied, "{} bytes", written.len());
                &written
            }
        };

        let record = bench
            .find("a completed record", &bench.request(owner.key()))
            .await;
        is_completed("the record as a claim finds it", &record, kept);
        let record = bench.there("after its completion", owner.key()).await;
        is_completed("the record as it is inspected", &record, kept);
    }
}
