//! Migrations: several at once, under load, and beside an old version.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use sqlx::{Connection, Executor};
use tower_idempotency::{PostgresStore, Store};

use super::verbs::{EachVerb, completed, find, key, own, own_key, own_store, request, sql_of};
use crate::servers::{Server, eventually, own_schema, within};

#[tokio::test]
async fn many_at_once_make_one_schema() {
    let url = Server::shared().await.url();
    let settings = PostgresStore::builder().schema(own_schema());

    let migrated = (0..12).map(|number| {
        let settings = settings.clone().table(format!("record_{}", number % 3));
        let url = url.clone();
        async move { settings.migrate(&url).await }
    });
    for migrated in futures_util::future::join_all(migrated).await {
        migrated.unwrap();
    }

    for number in 0..3 {
        let store = settings
            .clone()
            .table(format!("record_{number}"))
            .connect(&url)
            .await;
        EachVerb::new(&store.unwrap(), 1).await.all_pass().await;
    }
}

#[tokio::test]
async fn the_printed_sql_is_all_that_it_takes_and_may_be_run_again() {
    let server = Server::start().await;
    let sql = PostgresStore::builder().migration_sql();

    server.sql(&sql).await;
    let store = PostgresStore::connect(&server.url()).await.unwrap();
    let owner = own_key(&store, 1).await;
    // Within a transaction of a tool for migrations.
    server.sql(&format!("BEGIN; {sql} COMMIT")).await;

    store.complete(&owner, &completed("done")).await.unwrap();
}

/// A migration that needs a lock waits for it in short tries, between which requests go on.
#[tokio::test]
async fn a_migration_waits_for_a_long_transaction_and_is_in_nobodys_way() {
    let (store, schema) = own_store().await;
    let server = Server::shared().await;
    server
        .sql(&format!("DROP INDEX {schema}.record_expires"))
        .await;
    let mut connection = server.connect().await;
    let mut transaction = connection.begin().await.unwrap();
    let locks = format!("UPDATE {schema}.record SET state = 0 WHERE false");
    transaction
        .execute(sqlx::raw_sql(sqlx::AssertSqlSafe(locks)))
        .await
        .unwrap();

    let settings = PostgresStore::builder().schema(&schema);
    let migrating =
        tokio::spawn(async move { settings.migrate(&Server::shared().await.url()).await });
    let waits = format!(
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = '{schema}.record'::regclass"
    );
    let waiting = async || (server.number(&waits).await > 0).then_some(());
    eventually("the migration waits", waiting).await;
    for number in 0..30 {
        let owner = own_key(&store, number).await;
        store.complete(&owner, &completed("done")).await.unwrap();
    }
    assert!(!migrating.is_finished());
    transaction.commit().await.unwrap();

    within(migrating).await.unwrap().unwrap();
    let index = format!(
        "SELECT count(*) FROM pg_indexes WHERE schemaname = '{schema}' AND indexname = 'record_expires'"
    );
    assert_eq!(server.number(&index).await, 1);
}

/// Columns that a later version adds, and its function, while this one is at work.
#[tokio::test]
async fn an_old_version_and_a_new_one_share_a_table() {
    let (store, schema) = own_store().await;
    let (store, server) = (Arc::new(store), Server::shared().await);
    let (is_over, done) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let workers = (0..4).map(|worker| {
        let (store, is_over, done) = (Arc::clone(&store), Arc::clone(&is_over), Arc::clone(&done));
        tokio::spawn(async move {
            let mut number = worker * 1_000_000;
            while !is_over.load(Ordering::Relaxed) {
                number += 1;
                let owner = own_key(&store, number).await;
                store.complete(&owner, &completed("done")).await.unwrap();
                done.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    let workers = workers.collect::<Vec<_>>();
    let more = async |than: u64| {
        let enough = async || (done.load(Ordering::Relaxed) > than + 40).then_some(());
        eventually("requests go on", enough).await;
    };

    for change in 0..5 {
        more(done.load(Ordering::Relaxed)).await;
        let add = format!(
            "SET lock_timeout = '5s'; ALTER TABLE {schema}.record ADD COLUMN later_{change} text DEFAULT 'x'"
        );
        server.sql(&add).await;
    }
    let v2 = PostgresStore::builder().schema(&schema).migration_sql();
    let (from, to) = (
        v2.find("CREATE FUNCTION").unwrap(),
        v2.find("$claim$;").unwrap() + 8,
    );
    let v2 = v2[from..to]
        .replace("_claim_v1", "_claim_v2")
        .replace(", 1, 0, false,", ", 1, 0, true,");
    server.sql(&v2).await;
    more(done.load(Ordering::Relaxed)).await;
    is_over.store(true, Ordering::Relaxed);
    for worker in workers {
        within(worker).await.unwrap();
    }

    // What one has claimed the other finds.
    let claim = |number| {
        format!(
            "SELECT answer FROM {schema}.record_claim_v2({}, decode(repeat('ab', 16), 'hex'), \
             decode('01' || repeat('01', 32), 'hex'), 60000000, 60000000, 1)",
            sql_of(&key(number))
        )
    };
    assert_eq!(server.number(&claim(90_000_077)).await, 1);
    assert!(find(&store, key(90_000_077)).await.is_committed());
    let owner = own(&store, &request(key(90_000_078))).await;
    assert_eq!(server.number(&claim(90_000_078)).await, 0);
    store.complete(&owner, &completed("done")).await.unwrap();
    assert!(Duration::ZERO < find(&store, key(90_000_078)).await.remaining());
}
