//! A store that keeps no payload beyond a limit, but its tombstone.

use bytes::Bytes;

use super::bench::{Bench, Held, TOMBSTONE, completed_with};
use super::looking::{is_completed, is_of};
use super::times::Times;
use crate::store::claim::Settled;

/// A payload of so many bytes fits.
pub(super) const FITS: usize = 64 * 1024;

/// And one of so many does not.
const DOES_NOT_FIT: usize = 16 * FITS;

/// Completes a new key, with so many bytes.
async fn complete(bench: &Bench, number: u64, bytes: usize) -> (Held, Settled) {
    let owner = bench.own(bench.key(number)).await;
    let payload = Bytes::from(vec![7; bytes]);
    let completed = completed_with(payload, bench.times.retention);
    (owner, bench.complete_with(&owner, &completed).await)
}

pub(super) async fn a_payload_that_fits_is_kept(bench: Bench) {
    let (owner, settled) = complete(&bench, 1, FITS).await;

    assert_eq!(settled, Settled::Applied, "completed with {FITS} bytes");
    let record = bench.there("after its completion", owner.key()).await;
    is_completed("a record whose payload fits", &record, [7; FITS]);
}

pub(super) async fn a_payload_that_does_not_fit_leaves_its_tombstone(bench: Bench) {
    let (owner, settled) = complete(&bench, 1, DOES_NOT_FIT).await;

    assert_eq!(
        settled,
        Settled::Tombstoned,
        "completed with {DOES_NOT_FIT} bytes"
    );
    for request in [bench.request(owner.key()), bench.other_request(owner.key())] {
        let record = bench.find("a completed record", &request).await;
        is_completed("a record whose payload did not fit", &record, TOMBSTONE);
        is_of("a record whose payload did not fit", &record, &owner);
    }
    bench.refuses_all_but_completion(&owner).await;
}

pub(super) async fn a_completion_repeated_after_its_tombstone_is_applied(bench: Bench) {
    let (owner, _) = complete(&bench, 1, DOES_NOT_FIT).await;
    let before = bench.look(owner.key()).await;

    for bytes in [DOES_NOT_FIT, 10] {
        let payload = Bytes::from(vec![7; bytes]);
        let completed = completed_with(payload, bench.times.retention);
        let settled = bench.complete_with(&owner, &completed).await;

        assert_eq!(
            settled,
            Settled::Applied,
            "a repeated completion of the same owner"
        );
        bench.unchanged("a repeated completion", &before).await;
    }
}

pub(super) async fn a_tombstone_is_kept_for_the_retention(bench: Bench) {
    let Times { second, .. } = bench.times;
    let owner = bench.own(bench.key(1)).await;
    let payload = Bytes::from(vec![7; DOES_NOT_FIT]);
    let completed = completed_with(payload, second * 4);

    let settled = bench.complete_with(&owner, &completed).await;

    assert_eq!(
        settled,
        Settled::Tombstoned,
        "completed with {DOES_NOT_FIT} bytes"
    );
    bench
        .expires_at(owner.key(), owner.since + second * 4)
        .await;
}

impl Bench {
    async fn refuses_all_but_completion(&self, owner: &Held) {
        use super::bench::Write;

        for verb in [Write::Renew, Write::Commit, Write::Abandon, Write::Release] {
            let settled = self.write(verb, &owner.owner).await;
            assert_eq!(
                settled,
                Settled::FencedOut,
                "{verb:?} of a completed record"
            );
        }
    }
}
