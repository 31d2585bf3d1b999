//! A quota under many claims at once, on several threads.

use super::bench::Bench;
use super::contending::at_once;
use super::quota::RECORDS;
use crate::store::claim::Claim;

const MANY: u64 = 50;
const ROUNDS: u8 = 20;

pub(super) async fn of_many_claims_at_once_no_more_are_owned_than_the_quota_allows(bench: Bench) {
    for round in 0..ROUNDS {
        let claims = (0..MANY).map(|number| {
            let bench = bench.clone();
            let request = bench.request(bench.key_of(round, number));
            async move { bench.claim(&request).await }
        });

        let mut owned = 0;
        for claim in at_once(claims.collect()).await {
            match claim {
                Claim::Owned(_) => owned += 1,
                Claim::OverQuota => {}
                claim => panic!("a new key must be owned or OverQuota: {claim:?}"),
            }
        }

        assert_eq!(
            owned, RECORDS,
            "how many of {MANY} new keys of a scope were owned"
        );
    }
}
