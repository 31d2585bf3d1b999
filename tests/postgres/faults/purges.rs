//! What has expired is deleted, and nothing else.

use std::time::Duration;

use tower_idempotency::{PostgresStore, RecordKey, Store};

use super::verbs::{
    RETENTION, completed, key, own, own_key, own_store, request, request_for, sql_of,
};
use crate::servers::{Server, eventually, within};

async fn count(schema: &str) -> i64 {
    let count = format!("SELECT count(*) FROM {schema}.record");
    Server::shared().await.number(&count).await
}

/// So many records whose end is as long ago.
async fn fill(schema: &str, records: u64, minutes: u32) {
    let fill = format!(
        "INSERT INTO {schema}.record SELECT sha256(i::text::bytea), '', '', i, 1, 1, false, t, t, t, 'body' \
         FROM generate_series(1, {records}) i, (SELECT clock_timestamp() - interval '{minutes} minutes' AS t) t"
    );
    Server::shared().await.sql(&fill).await;
}

async fn age(schema: &str, number: u64, column: &str, minutes: u32) {
    let age = format!(
        "UPDATE {schema}.record SET {column} = clock_timestamp() - interval '{minutes} minutes' WHERE key = {}",
        sql_of(&key(number))
    );
    Server::shared().await.sql(&age).await;
}

#[tokio::test]
async fn only_what_has_expired_long_ago_is_purged() {
    let (store, schema) = own_store().await;
    let live = own_key(&store, 1).await;
    let done = own_key(&store, 2).await;
    store.complete(&done, &completed("done")).await.unwrap();
    let lapsed = own_key(&store, 3).await;
    store.abandon(&lapsed).await.unwrap();
    let freed = own_key(&store, 4).await;
    store.release(&freed).await.unwrap();
    // Beyond its retention, and still at work.
    own(
        &store,
        &request_for(key(5), RETENTION, Duration::from_millis(1)),
    )
    .await;
    age(&schema, 5, "expires_at", 60).await;
    // Just expired.
    own_key(&store, 6).await;
    age(&schema, 6, "expires_at", 4).await;
    age(&schema, 6, "lease_until", 60).await;
    assert_eq!((store.purge().await.unwrap(), count(&schema).await), (0, 6));

    age(&schema, 4, "expires_at", 6).await;
    age(&schema, 6, "expires_at", 6).await;
    fill(&schema, 2_500, 6).await;

    assert_eq!(
        (store.purge().await.unwrap(), count(&schema).await),
        (2_502, 4)
    );
    store.complete(&live, &completed("done")).await.unwrap();
}

#[tokio::test]
async fn fences_rise_over_what_was_purged() {
    let (store, schema) = own_store().await;
    let owner = own_key(&store, 1).await;
    store.release(&owner).await.unwrap();
    // As a claim does that was drawn before.
    let ahead = format!("UPDATE {schema}.record SET fence = fence + 1000");
    Server::shared().await.sql(&ahead).await;
    let next = own(&store, &request(key(1))).await;
    assert_eq!(next.fence().get(), owner.fence().get() + 1_001);

    store.release(&next).await.unwrap();
    age(&schema, 1, "expires_at", 6).await;
    store.purge().await.unwrap();

    assert!(own_key(&store, 1).await.fence() > owner.fence());
}

#[tokio::test]
async fn two_who_purge_are_not_in_each_others_way_nor_in_that_of_claims() {
    let (store, schema) = own_store().await;
    fill(&schema, 8_000, 6).await;
    let url = Server::shared().await.url();
    let other = PostgresStore::builder()
        .schema(&schema)
        .timeout(Duration::from_secs(20));
    let other = other.connect(&url).await.unwrap();

    let claims = async {
        for number in 0..200 {
            let owner = own_key(&store, number).await;
            store.complete(&owner, &completed("done")).await.unwrap();
        }
    };
    let (first, second, ()) = tokio::join!(store.purge(), other.purge(), claims);

    // What one has in its hands the other leaves alone.
    store.purge().await.unwrap();
    assert!(first.unwrap() + second.unwrap() <= 8_000);
    assert_eq!(count(&schema).await, 200);
}

#[tokio::test]
async fn the_store_purges_by_itself_until_it_is_dropped() {
    let (_, schema) = own_store().await;
    let url = Server::shared().await.url();
    fill(&schema, 10, 6).await;
    let settings = PostgresStore::builder()
        .schema(&schema)
        .purge(Duration::from_millis(50));

    let store = settings.connect(&url).await.unwrap();

    let purged = async || (count(&schema).await == 0).then_some(());
    eventually("the records are purged", purged).await;
    drop(store);
    // It has ended, or is about to: nobody connects as it does any more.
    fill(&schema, 10, 6).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(count(&schema).await, 10);
}

#[tokio::test]
async fn a_store_that_is_told_not_to_purges_nothing() {
    let (_, schema) = own_store().await;
    fill(&schema, 10, 6).await;
    let settings = PostgresStore::builder().schema(&schema);
    let settings = settings.purge(Duration::from_millis(20)).no_purge();

    let store = settings
        .connect(&Server::shared().await.url())
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;

    assert_eq!(count(&schema).await, 10);
    assert_eq!(store.purge().await.unwrap(), 10);
}

/// As with long responses: so many at once take longer than a call may.
#[tokio::test]
async fn what_takes_long_to_delete_is_deleted_a_little_at_a_time() {
    let (_, schema) = own_store().await;
    let server = Server::shared().await;
    fill(&schema, 150, 6).await;
    let slowly = format!(
        "CREATE FUNCTION {schema}.slowly() RETURNS trigger LANGUAGE plpgsql AS $$ \
         BEGIN PERFORM pg_sleep(0.01); RETURN OLD; END $$; \
         CREATE TRIGGER slowly BEFORE DELETE ON {schema}.record FOR EACH ROW EXECUTE FUNCTION {schema}.slowly()"
    );
    server.sql(&slowly).await;
    let settings = PostgresStore::builder().schema(&schema).no_purge();
    let settings = settings.timeout(Duration::from_secs(1));
    let store = settings.connect(&server.url()).await.unwrap();

    within(store.purge()).await.unwrap();

    assert_eq!(count(&schema).await, 0);
}

/// What was freed before is not looked through again.
#[tokio::test]
async fn a_large_scope_is_erased_and_its_neighbours_are_not() {
    const RECORDS: u64 = 20_000;
    let (store, schema) = own_store().await;
    let server = Server::shared().await;
    let scope = [9; 16];
    let fill = format!(
        "INSERT INTO {schema}.record SELECT decode(repeat('09', 16), 'hex') || sha256(i::text::bytea), \
         '', '', i, 1, 1, false, t, t, t + interval '1 day', 'body' \
         FROM generate_series(1, {RECORDS}) i, (SELECT clock_timestamp() AS t) t"
    );
    server.sql(&fill).await;
    let (mut before, mut after) = (scope, scope);
    (before[15], after[15]) = (8, 10);
    let neighbours = [
        RecordKey::from_parts(before, [255; 32]),
        RecordKey::from_parts(after, [0; 32]),
    ];
    let ends = [[0; 32], [255; 32]].map(|key| RecordKey::from_parts(scope, key));
    for key in neighbours.iter().chain(&ends) {
        own(&store, &request(*key)).await;
    }

    let erased = within(store.erase_scope(&scope)).await.unwrap();

    assert_eq!(erased, RECORDS + 2);
    assert_eq!(store.erase_scope(&scope).await.unwrap(), 0);
    for key in &neighbours {
        assert!(store.inspect(key).await.unwrap().is_some());
    }
    // Its sessions tell their counts when they end.
    drop(store);
    let sum = async |column: &str| {
        let sum = format!(
            "SELECT {column} FROM pg_stat_user_tables WHERE schemaname = '{schema}' AND relname = 'record'"
        );
        server.number(&sum).await
    };
    let is_told = async || (sum("n_tup_upd").await > RECORDS as i64).then_some(());
    eventually("the rows are counted", is_told).await;
    let fetched = sum("idx_tup_fetch").await;
    assert!(fetched < 5 * RECORDS as i64, "{fetched} rows were read");
}
