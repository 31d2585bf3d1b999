//! Claims that meet an owner whose own transaction holds the record.

use std::time::Duration;

use sqlx::{Connection, Executor};
use tokio::time::Instant;
use tower_idempotency::{Claim, Store, StoreErrorKind};

use super::verbs::{
    LEASE, completed, failed, find, key, own, own_key, own_store, payload, request, request_for,
    sql_of,
};
use crate::servers::{Server, eventually};

async fn complete_in(transaction: &mut sqlx::PgConnection, schema: &str) {
    let sql = format!(
        "UPDATE {schema}.record SET state = 1, body = 'done' WHERE key = {}",
        sql_of(&key(1))
    );
    transaction
        .execute(sqlx::raw_sql(sqlx::AssertSqlSafe(sql)))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_lapsed_owner_whose_transaction_is_open_is_at_work() {
    let (store, schema) = own_store().await;
    let owner = own_key(&store, 1).await;
    store.abandon(&owner).await.unwrap();
    let mut connection = Server::shared().await.connect().await;
    let mut transaction = connection.begin().await.unwrap();
    complete_in(&mut transaction, &schema).await;

    let begin = Instant::now();
    let record = find(&store, key(1)).await;

    assert!(
        begin.elapsed() < Duration::from_secs(5),
        "it does not wait for the transaction"
    );
    assert!(
        record.is_live() && record.fence() == owner.fence(),
        "{record:?}"
    );
    transaction.commit().await.unwrap();
    assert_eq!(payload(&find(&store, key(1)).await), b"done");
}

#[tokio::test]
async fn a_lapsed_owner_whose_transaction_is_rolled_back_is_taken_over() {
    let (store, schema) = own_store().await;
    let owner = own_key(&store, 1).await;
    store.abandon(&owner).await.unwrap();
    let mut connection = Server::shared().await.connect().await;
    let mut transaction = connection.begin().await.unwrap();
    complete_in(&mut transaction, &schema).await;
    find(&store, key(1)).await;

    transaction.rollback().await.unwrap();

    let next = own(&store, &request(key(1))).await;
    assert!(next.fence() > owner.fence());
}

/// The owner commits while the claim waits for it: the claim sees what has come.
#[tokio::test]
async fn a_claim_that_waits_sees_what_was_committed() {
    let (store, schema) = own_store().await;
    for _ in 0..20 {
        store.forget(&key(1), true).await.unwrap();
        let owner = own_key(&store, 1).await;
        store.abandon(&owner).await.unwrap();
        let mut connection = Server::shared().await.connect().await;
        let mut transaction = connection.begin().await.unwrap();
        complete_in(&mut transaction, &schema).await;

        let request = request(key(1));
        let commits = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            transaction.commit().await.unwrap();
        };
        let (claim, ()) = tokio::join!(store.claim(&request), commits);

        match claim.unwrap() {
            Claim::Existing(record) if record.is_live() => {
                assert_eq!(record.fence(), owner.fence())
            }
            Claim::Existing(record) => assert_eq!(payload(&record), b"done"),
            claim => panic!("it runs twice: {claim:?}"),
        }
    }
}

/// Claims of other keys never wait for it.
#[tokio::test]
async fn one_record_that_is_locked_holds_nobody_else_up() {
    let (store, schema) = own_store().await;
    own_key(&store, 1).await;
    let mut connection = Server::shared().await.connect().await;
    let mut transaction = connection.begin().await.unwrap();
    complete_in(&mut transaction, &schema).await;

    let found = find(&store, key(1)).await;
    assert!(found.is_live());
    for number in 2..20 {
        let owner = own_key(&store, number).await;
        store.complete(&owner, &completed("done")).await.unwrap();
    }
    let first = key(1);
    let settled = store.settled(&first, found.fence(), LEASE);
    assert!(
        tokio::time::timeout(Duration::from_millis(300), settled)
            .await
            .is_err()
    );
    assert!(store.inspect(&key(1)).await.unwrap().unwrap().is_live());
    transaction.rollback().await.unwrap();
}

/// A record beyond its retention lives as long as its lease.
#[tokio::test]
async fn a_live_claim_beyond_its_retention_is_found() {
    let (store, _) = own_store().await;
    let first = request_for(key(1), LEASE, Duration::from_millis(1));
    let owner = own(&store, &first).await;
    tokio::time::sleep(Duration::from_millis(20)).await;

    let record = find(&store, key(1)).await;

    assert!(
        record.is_live() && record.fence() == owner.fence(),
        "{record:?}"
    );
}

/// Its owner comes back, or another claim was faster, just before the expired record is taken.
#[tokio::test]
async fn an_expired_record_that_changes_meanwhile_is_looked_at_again() {
    let (store, schema) = own_store().await;
    let server = Server::shared().await;
    let soon = Duration::from_millis(1);
    for (number, change) in [
        (1, "lease_until = clock_timestamp() + interval '1 hour'"),
        (
            2,
            "fence = fence + 7, lease_until = clock_timestamp() + interval '1 hour'",
        ),
        (
            3,
            "state = 1, body = 'done', expires_at = clock_timestamp() + interval '1 hour'",
        ),
    ] {
        own(&store, &request_for(key(number), soon, soon)).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        let mut connection = server.connect().await;
        let mut transaction = connection.begin().await.unwrap();
        let sql = format!(
            "UPDATE {schema}.record SET {change} WHERE key = {}",
            sql_of(&key(number))
        );
        transaction
            .execute(sqlx::raw_sql(sqlx::AssertSqlSafe(sql)))
            .await
            .unwrap();

        let another = request(key(number));
        let commits = async {
            let waits = format!(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%{schema}%'"
            );
            let waiting = async || (server.number(&waits).await == 1).then_some(());
            eventually("the claim waits", waiting).await;
            transaction.commit().await.unwrap();
        };
        let (claim, ()) = tokio::join!(store.claim(&another), commits);

        let Claim::Existing(record) = claim.unwrap() else {
            panic!("{change}: it runs twice")
        };
        assert_eq!(record.is_live(), number < 3, "{change}");
    }
}

/// A claim that was on its way for longer than its request: nobody waits for what it would own.
#[tokio::test]
async fn a_claim_that_comes_after_its_own_end_is_refused() {
    let (store, _) = own_store().await;
    let request = request(key(1));
    let owner = own(&store, &request).await;
    store.release(&owner).await.unwrap();

    let (kind, why) = failed(store.claim(&request).await);

    assert_eq!(kind, StoreErrorKind::NotApplied);
    assert!(why.contains("after its own end"), "{why}");
    assert!(store.inspect(&key(1)).await.unwrap().is_none());
    assert!(own_key(&store, 1).await.fence() > owner.fence());
}
