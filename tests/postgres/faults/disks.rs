//! A disk that is full.

use tower_idempotency::{Claim, Owner, PostgresStore, Settled, Store, StoreError, StoreErrorKind};

use super::verbs::{completed, key, migrated, request};
use crate::servers::Server;

fn is_refused(error: &StoreError) {
    assert_eq!(error.kind(), StoreErrorKind::NotApplied);
    let said = std::error::Error::source(error).unwrap().to_string();
    assert!(said.contains("no room left"), "{said}");
}

#[tokio::test]
async fn a_full_disk_refuses_new_keys_and_serves_the_others() {
    let server = Server::on_small_disk("6m").await;
    let store = migrated(PostgresStore::builder().no_purge(), &server.url()).await;
    server
        .sql("CREATE TABLE ballast AS SELECT repeat('x', 1000) FROM generate_series(1, 1000)")
        .await;
    let claim = async |number: u64| {
        let request = request(key(number));
        let claim = store.claim(&request).await?;
        let Claim::Owned(owned) = claim else {
            panic!("{number} is new, it was {claim:?}");
        };
        Ok(Owner::new(key(number), owned.fence(), request.claim_id()))
    };
    let running = claim(0).await.unwrap();

    // As in a service: what is owned is completed where that is possible. What is large does not compress.
    let large: Vec<u8> = (0..60_000_u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let mut recorded = Vec::new();
    let refused = loop {
        let number = recorded.len() as u64 + 1;
        match claim(number).await {
            Ok(owner) => {
                let settled = store.complete(&owner, &completed(large.clone())).await;
                recorded.push(settled.inspect_err(is_refused).is_ok());
            }
            Err(error) => {
                is_refused(&error);
                break number;
            }
        }
        assert!(recorded.len() < 100_000, "the disk is never full");
    };

    assert!(recorded.contains(&true) && recorded.contains(&false));
    is_refused(&claim(refused).await.unwrap_err());
    assert!(store.inspect(&key(refused)).await.unwrap().is_none());
    for (number, is_recorded) in (1..).zip(&recorded) {
        let record = store.inspect(&key(number)).await.unwrap().unwrap();
        assert_eq!(!record.is_live(), *is_recorded, "{number}");
    }

    server.sql("DROP TABLE ballast").await;
    let settled = store.complete(&running, &completed("ran")).await;
    assert_eq!(settled.unwrap(), Settled::Applied);
    claim(refused).await.unwrap();
}
