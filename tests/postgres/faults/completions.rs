//! The completion as a statement, in a transaction that is not the store's.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sqlx::{Connection, Executor, PgConnection, Row};
use tower_idempotency::{
    Completed, Dialect, Owner, Parameter, PostgresStore, Settled, Statement, Store,
};

use super::verbs::{
    RETENTION, completed, find, key, own, own_key, own_store, payload, request, request_for,
};
use crate::servers::{Server, eventually, within};

fn statement(store: &PostgresStore, owner: &Owner) -> Statement {
    let statement = store
        .completion(owner, &completed("done"))
        .unwrap()
        .unwrap();
    assert_eq!(statement.dialect(), Dialect::Postgres);
    statement
}

/// Runs it; how many rows it has changed.
async fn apply(connection: &mut PgConnection, statement: &Statement) -> u64 {
    let query = sqlx::query(sqlx::AssertSqlSafe(statement.sql()));
    let query = bound(query, statement.parameters());
    query.execute(connection).await.unwrap().rows_affected()
}

async fn confirm(connection: &mut PgConnection, statement: &Statement) -> i64 {
    let query = sqlx::query(sqlx::AssertSqlSafe(statement.confirmation()));
    let query = bound(query, &statement.parameters()[..3]);
    query.fetch_one(connection).await.unwrap().get(0)
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

fn bound<'q>(mut query: Query<'q>, parameters: &'q [Parameter]) -> Query<'q> {
    for parameter in parameters {
        query = match parameter {
            Parameter::Bytes(bytes) => query.bind(&bytes[..]),
            Parameter::Integer(integer) => query.bind(*integer),
            _ => unreachable!("there are no others"),
        };
    }
    query
}

#[tokio::test]
async fn it_commits_with_the_transaction_and_is_confirmed() {
    let (store, _) = own_store().await;
    let owner = own_key(&store, 1).await;
    let statement = statement(&store, &owner);
    let mut connection = Server::shared().await.connect().await;
    assert_eq!(confirm(&mut connection, &statement).await, 0);

    let mut transaction = connection.begin().await.unwrap();
    assert_eq!(apply(&mut transaction, &statement).await, 1);
    assert!(
        store.inspect(&key(1)).await.unwrap().unwrap().is_live(),
        "nobody sees it yet"
    );
    transaction.commit().await.unwrap();

    assert_eq!(confirm(&mut connection, &statement).await, 1);
    let record = find(&store, key(1)).await;
    assert_eq!(payload(&record), b"done");
    assert!(record.remaining() > RETENTION - Duration::from_secs(60));
    // The same outcome by the verb is a repetition.
    let again = store.complete(&owner, &completed("other")).await;
    assert_eq!(again.unwrap(), Settled::Applied);
    assert_eq!(payload(&find(&store, key(1)).await), b"done");
    // And by the statement changes nothing.
    assert_eq!(apply(&mut connection, &statement).await, 0);
}

#[tokio::test]
async fn a_transaction_that_is_rolled_back_leaves_the_claim() {
    let (store, _) = own_store().await;
    let owner = own_key(&store, 1).await;
    let statement = statement(&store, &owner);
    let mut connection = Server::shared().await.connect().await;

    let mut transaction = connection.begin().await.unwrap();
    assert_eq!(apply(&mut transaction, &statement).await, 1);
    transaction.rollback().await.unwrap();

    assert_eq!(confirm(&mut connection, &statement).await, 0);
    assert!(store.inspect(&key(1)).await.unwrap().unwrap().is_live());
}

#[tokio::test]
async fn an_owner_that_is_none_any_more_changes_no_row() {
    let (store, _) = own_store().await;
    let mut connection = Server::shared().await.connect().await;
    let [taken, released, forgotten, never] = [1, 2, 3, 4].map(key);
    let owner = own(&store, &request(taken)).await;
    store.abandon(&owner).await.unwrap();
    let next = own(&store, &request(taken)).await;
    let freed = own(&store, &request(released)).await;
    store.release(&freed).await.unwrap();
    let dropped = own(&store, &request(forgotten)).await;
    store.forget(&forgotten, true).await.unwrap();
    let stranger = Owner::new(never, owner.fence(), owner.claim_id());
    let half = Owner::new(taken, next.fence(), owner.claim_id());

    for owner in [owner, freed, dropped, stranger, half] {
        let statement = statement(&store, &owner);
        assert_eq!(apply(&mut connection, &statement).await, 0);
        assert_eq!(confirm(&mut connection, &statement).await, 0);
    }
    assert_eq!(
        store.renew(&next, RETENTION, false).await.unwrap(),
        Settled::Applied
    );
}

#[tokio::test]
async fn an_abandoned_claim_may_still_be_completed() {
    let (store, _) = own_store().await;
    let owner = own_key(&store, 1).await;
    store.abandon(&owner).await.unwrap();

    let mut connection = Server::shared().await.connect().await;

    assert_eq!(apply(&mut connection, &statement(&store, &owner)).await, 1);
    assert_eq!(payload(&find(&store, key(1)).await), b"done");
}

#[tokio::test]
async fn the_confirmation_waits_for_a_transaction_that_is_still_to_commit() {
    let (store, _) = own_store().await;
    let server = Server::shared().await;
    for commits in [true, false] {
        let owner = own_key(&store, u64::from(commits)).await;
        let statement = statement(&store, &owner);
        let mut connection = server.connect().await;
        let mut transaction = connection.begin().await.unwrap();
        apply(&mut transaction, &statement).await;

        let asked = statement.clone();
        let confirmed = tokio::spawn(async move {
            let mut connection = Server::shared().await.connect().await;
            connection
                .execute("SET application_name = 'confirms'")
                .await
                .unwrap();
            confirm(&mut connection, &asked).await
        });
        let waits = "SELECT count(*) FROM pg_stat_activity \
            WHERE wait_event_type = 'Lock' AND application_name = 'confirms'";
        let waiting = async || (server.number(waits).await == 1).then_some(());
        eventually("the confirmation waits", waiting).await;
        match commits {
            true => transaction.commit().await.unwrap(),
            false => transaction.rollback().await.unwrap(),
        }

        assert_eq!(within(confirmed).await.unwrap(), i64::from(commits));
    }
}

#[tokio::test]
async fn what_does_not_fit_is_a_tombstone_and_what_lasts_for_ever_does_not_overflow() {
    let (_, schema) = own_store().await;
    let settings = PostgresStore::builder().schema(schema).max_record_bytes(4);
    let store = settings
        .connect(&Server::shared().await.url())
        .await
        .unwrap();
    let owner = own(&store, &request_for(key(1), Duration::MAX, Duration::MAX)).await;
    let outcome = Completed::new("longer".into(), Bytes::from_static(b"gone"), Duration::MAX);
    let statement = store.completion(&owner, &outcome).unwrap().unwrap();

    let mut connection = Server::shared().await.connect().await;
    assert_eq!(apply(&mut connection, &statement).await, 1);

    let record = find(&store, key(1)).await;
    assert_eq!(payload(&record), b"gone");
    assert!(record.remaining() > Duration::from_secs(1_000 * 366 * 24 * 60 * 60));
}

/// Drivers that look at the types of parameters take them as they are.
#[tokio::test]
async fn another_driver_binds_it() {
    let (store, _) = own_store().await;
    let owner = own_key(&store, 1).await;
    let statement = statement(&store, &owner);
    let url = Server::shared().await.url();
    let (mut client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let parameters = statement
        .parameters()
        .iter()
        .map(|parameter| match parameter {
            Parameter::Bytes(bytes) => {
                Box::new(bytes.to_vec()) as Box<dyn tokio_postgres::types::ToSql + Sync + Send>
            }
            Parameter::Integer(integer) => Box::new(*integer),
            _ => unreachable!("there are no others"),
        });
    let parameters = parameters.collect::<Vec<_>>();
    let borrowed = parameters.iter().map(|it| &**it as _).collect::<Vec<_>>();

    let transaction = client.transaction().await.unwrap();
    assert_eq!(
        transaction
            .execute(statement.sql(), &borrowed)
            .await
            .unwrap(),
        1
    );
    transaction.commit().await.unwrap();

    let row = client
        .query_one(statement.confirmation(), &borrowed[..3])
        .await
        .unwrap();
    assert_eq!(row.get::<_, i64>(0), 1);
    drop(Arc::new(store));
}
