//! A server that goes and comes back, and runs out of places.

use std::time::Duration;

use sqlx::PgConnection;
use tower_idempotency::{PostgresStore, Settled, Store, StoreErrorKind};

use super::verbs::{completed, failed, find, key, migrated, own_key, patient, payload, request};
use crate::servers::{Server, within};

#[tokio::test]
async fn connections_that_a_restart_has_broken_are_made_anew() {
    let server = Server::with(&["fsync=on"]).await;
    let store = patient(&server.url()).await;
    let owner = own_key(&store, 1).await;
    // All connections are in use once, and idle then.
    let claims = (10..40).map(|number| own_key(&store, number));
    futures_util::future::join_all(claims).await;

    server.restart().await;

    for _ in 0..8 {
        assert_eq!(
            store
                .renew(&owner, Duration::from_secs(60), false)
                .await
                .unwrap(),
            Settled::Applied
        );
    }
    store.complete(&owner, &completed("done")).await.unwrap();
    assert_eq!(payload(&find(&store, key(1)).await), b"done");
}

#[tokio::test]
async fn a_server_that_is_down_is_not_applied_and_then_works_again() {
    let server = Server::start().await;
    let store = PostgresStore::builder().timeout(Duration::from_secs(5));
    let store = migrated(store, &server.url()).await;
    server.kill();

    // The process behind the connection that is idle may live a little longer than the server.
    let is_down = async || store.ping().await.err();
    crate::servers::eventually("nobody answers", is_down).await;
    let (kind, why) = failed(store.claim(&request(key(1))).await);
    assert_eq!(kind, StoreErrorKind::NotApplied, "{why}");

    server.restart().await;
    let works = async || store.claim(&request(key(2))).await.ok();
    crate::servers::eventually("it works again", works).await;
}

#[tokio::test]
async fn a_server_without_places_refuses_and_nothing_else_is_lost() {
    let server = Server::with(&[
        "fsync=off",
        "max_connections=8",
        "superuser_reserved_connections=0",
    ])
    .await;
    let settings = PostgresStore::builder().timeout(Duration::from_secs(5));
    let store = migrated(settings.clone().no_purge(), &server.url()).await;
    let owner = own_key(&store, 1).await;
    let mut others: Vec<PgConnection> = Vec::new();
    for _ in 0..7 {
        others.push(server.connect().await);
    }

    let why = failed(settings.connect(&server.url()).await);

    assert_eq!(why.0, StoreErrorKind::NotApplied);
    assert!(why.1.contains("53300"), "{}", why.1);
    // It has its own already.
    let settled = within(store.complete(&owner, &completed("done"))).await;
    assert_eq!(settled.unwrap(), Settled::Applied);
}

#[tokio::test]
async fn calls_that_find_all_connections_at_work_wait_and_say_why_they_fail() {
    let server = Server::start().await;
    let settings = PostgresStore::builder().timeout(Duration::from_secs(2));
    let store = migrated(settings.max_connections(1), &server.url()).await;
    own_key(&store, 1).await;
    let mut lock = server.connect().await;
    let locked = "BEGIN; LOCK TABLE idempotency.record";
    sqlx::Executor::execute(&mut lock, sqlx::raw_sql(locked))
        .await
        .unwrap();

    let (kind, why) = failed(store.inspect(&key(1)).await);
    assert_eq!(kind, StoreErrorKind::NotApplied);
    assert!(why.contains("locked for too long"), "{why}");

    let keys = [1, 2, 3, 4, 5, 6].map(key);
    let all = futures_util::future::join_all(keys.iter().map(|key| store.inspect(key)));
    let refused = within(all).await.into_iter().map(failed);
    let without = refused.filter(|(_, why)| why.contains("raise `max_connections`"));
    let kinds = without.map(|(kind, _)| kind).collect::<Vec<_>>();
    assert!(!kinds.is_empty() && kinds.iter().all(|kind| *kind == StoreErrorKind::NotApplied));
}
