//! What operators do.

use super::bench::{Bench, Write, request_for};
use crate::store::claim::{Forgotten, Settled};

pub(super) async fn inspecting_changes_nothing(bench: Bench) {
    let key = bench.key(1);
    let owner = bench.own(key).await;
    let before = bench.look(key).await;

    for _ in 0..3 {
        bench.pass(bench.times.second).await;
        bench.unchanged("inspecting", &before).await;
    }
    bench
        .gone("under a key that nobody claimed", bench.key(2))
        .await;
    bench
        .own_anew("a key that was inspected", bench.key(2))
        .await;
    bench.renew(&owner).await;
}

pub(super) async fn a_live_record_is_forgotten_by_force_only(bench: Bench) {
    let key = bench.key(1);
    let owner = bench.own(key).await;
    let before = bench.look(key).await;

    let forgotten = bench.forget(key, false).await;
    assert_eq!(
        forgotten,
        Forgotten::InFlight,
        "a live record, without force"
    );
    bench
        .unchanged("forgetting a live record without force", &before)
        .await;

    let forgotten = bench.forget(key, true).await;
    assert_eq!(forgotten, Forgotten::Forgotten, "a live record, by force");
    bench.gone("after it was forgotten", key).await;
    bench
        .refuses(
            "an owner whose key was forgotten",
            &owner.owner,
            Settled::Missing,
        )
        .await;
    bench.own_anew("a forgotten key", key).await;
}

pub(super) async fn abandoned_and_completed_records_are_forgotten_without_force(bench: Bench) {
    let [abandoned, completed, lapsed] = [1, 2, 3].map(|number| bench.key(number));
    bench.abandon(&bench.own(abandoned).await).await;
    bench.complete(&bench.own(completed).await).await;
    bench.own(lapsed).await;
    bench.lapse().await;

    for (what, key) in [
        ("abandoned", abandoned),
        ("completed", completed),
        ("lapsed", lapsed),
    ] {
        let forgotten = bench.forget(key, false).await;
        assert_eq!(
            forgotten,
            Forgotten::Forgotten,
            "the {what} record, without force"
        );
        bench.gone("after it was forgotten", key).await;
        bench.own_anew("a forgotten key", key).await;
    }
}

pub(super) async fn an_unknown_record_cannot_be_forgotten(bench: Bench) {
    bench.own(bench.key(1)).await;

    for force in [false, true] {
        let forgotten = bench.forget(bench.key(2), force).await;
        assert_eq!(forgotten, Forgotten::Unknown, "a key that nobody claimed");
    }
    bench
        .live("after another key was forgotten", bench.key(1))
        .await;
}

pub(super) async fn a_scope_is_erased_with_what_is_in_flight(bench: Bench) {
    let records = if bench.times.stands_still { 300 } else { 120 };
    let long = bench.times.retention;
    let request = |scope, number| request_for(bench.key_of(scope, number), long, long);
    let mut owners = Vec::new();
    for number in 0..records {
        let owner = bench.own_as("an absent key", &request(1, number)).await;
        match number % 3 {
            0 => bench.complete(&owner).await,
            1 => bench.abandon(&owner).await,
            _ => {}
        }
        owners.push(owner);
        bench.own_as("an absent key", &request(2, number)).await;
    }

    let erased = bench.erase(bench.key_of(3, 0).scope()).await;
    assert_eq!(erased, 0, "records of a scope without any");
    let erased = bench.erase(bench.key_of(1, 0).scope()).await;
    assert_eq!(erased, records, "records of the erased scope");

    for owner in owners {
        bench.gone("after its scope was erased", owner.key()).await;
        let settled = bench.write(Write::Renew, &owner.owner).await;
        assert_eq!(
            settled,
            Settled::Missing,
            "renewal by an owner whose scope was erased"
        );
    }
    for number in 0..records {
        bench
            .live("after another scope was erased", bench.key_of(2, number))
            .await;
    }
    let erased = bench.erase(bench.key_of(1, 0).scope()).await;
    assert_eq!(erased, 0, "records of a scope that was erased before");
    bench
        .own_anew("a key of an erased scope", bench.key_of(1, 0))
        .await;
}
