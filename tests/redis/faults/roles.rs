//! A server that takes no writes.

use std::fs;
use std::time::{Duration, Instant};

use tower_idempotency::{RedisStore, Settled, Store, StoreErrorKind};

use super::api::Api;
use super::verbs::{
    completed, failed, find, key, own_key, patient, payload, request, say, tell, within_time,
};
use crate::servers::{Server, eventually};

const TIMEOUT: Duration = Duration::from_secs(10);

/// Expects that a claim is refused as not applied, long before its deadline, and says why.
async fn refused(store: &RedisStore) -> String {
    let begin = Instant::now();
    let (kind, why) = failed(store.claim(&request(key(99))).await);
    assert_eq!(kind, StoreErrorKind::NotApplied, "{why}");
    assert!(begin.elapsed() < TIMEOUT / 2, "{:?}", begin.elapsed());
    why
}

async fn works_again(store: &RedisStore) {
    let claimed = async || store.claim(&request(key(98))).await.ok();
    eventually("the server takes writes", claimed).await;
}

#[tokio::test]
async fn a_primary_that_becomes_a_replica_refuses_until_it_is_one_again() {
    let server = Server::start().await;
    let store = within_time(TIMEOUT, &server.url()).await;
    let owner = own_key(&store, 1).await;
    // Nobody is there: it keeps what it has.
    say(&server, "REPLICAOF 127.0.0.1 1").await;

    let connections = async || server.info("stats", "total_connections_received").await;
    let first = refused(&store).await;
    let second = refused(&store).await;
    let renewal = failed(store.renew(&owner, super::verbs::LEASE, false).await);

    assert!(
        first.contains("replica") && second.contains("replica"),
        "{first} {second}"
    );
    assert_eq!(renewal.0, StoreErrorKind::NotApplied);
    assert!(connections().await.is_some());
    say(&server, "REPLICAOF NO ONE").await;
    works_again(&store).await;
    let completion = store.complete(&owner, &completed("done")).await;
    assert_eq!(completion.unwrap(), Settled::Applied);
}

#[tokio::test]
async fn a_replica_that_lost_its_primary_and_answers_nothing_refuses() {
    let server = Server::builder()
        .config("replica-serve-stale-data no")
        .start()
        .await;
    let store = within_time(TIMEOUT, &server.url()).await;
    own_key(&store, 1).await;
    say(&server, "REPLICAOF 127.0.0.1 1").await;

    for _ in 0..3 {
        let why = refused(&store).await;
        assert!(why.contains("replica"), "{why}");
    }

    say(&server, "REPLICAOF NO ONE").await;
    works_again(&store).await;
}

#[tokio::test]
async fn the_layer_runs_nothing_while_the_server_takes_no_writes() {
    let server = Server::start().await;
    let api = Api::new(within_time(TIMEOUT, &server.url()).await);
    let first = api.post("before", "").await;
    say(&server, "REPLICAOF 127.0.0.1 1").await;

    let refused = api.post("k", "").await;

    assert_eq!(
        (refused.status, refused.code()),
        (503, "idempotency_store_unavailable")
    );
    assert_eq!(api.executions("k"), 0);
    say(&server, "REPLICAOF NO ONE").await;
    works_again(api.layer.store()).await;
    assert_eq!(api.post("k", "").await.status, 201);
    assert_eq!(api.post("before", "").await.body, first.body);
}

#[tokio::test]
async fn who_connects_to_a_replica_is_told_where_to_connect() {
    let server = Server::start().await;
    let replica = Server::start().await;
    replica.replica_of(&server).await;

    let (kind, why) = failed(RedisStore::connect(&replica.url()).await);

    assert_eq!(kind, StoreErrorKind::NotApplied);
    assert!(
        why.contains("replica") && why.contains("redis+sentinel://"),
        "{why}"
    );
}

#[tokio::test]
async fn a_primary_without_the_replicas_that_it_wants_refuses_and_replays() {
    let server = Server::start().await;
    let store = within_time(TIMEOUT, &server.url()).await;
    let done = own_key(&store, 1).await;
    store.complete(&done, &completed("done")).await.unwrap();
    say(&server, "CONFIG SET min-replicas-to-write 1").await;

    let why = refused(&store).await;

    assert!(why.contains("min-replicas-to-write"), "{why}");
    assert_eq!(payload(&find(&store, key(1)).await), b"done");
    say(&server, "CONFIG SET min-replicas-to-write 0").await;
    works_again(&store).await;
}

#[tokio::test]
async fn a_server_that_cannot_write_its_snapshot_refuses_and_replays() {
    let server = Server::start().await;
    let store = patient(&server.url()).await;
    let done = own_key(&store, 1).await;
    store.complete(&done, &completed("done")).await.unwrap();
    // The place of the snapshot is taken.
    fs::create_dir_all(server.folder().join("dump.rdb/taken")).unwrap();
    let _: String = tell(&server, &[b"CONFIG", b"SET", b"save", b"3600 1"]).await;
    say(&server, "BGSAVE").await;
    let has_failed = async || {
        let status = server.info("persistence", "rdb_last_bgsave_status").await;
        status.filter(|status| status == "err")
    };
    eventually("the snapshot has failed", has_failed).await;

    let why = refused(&store).await;

    assert!(why.contains("MISCONF"), "{why}");
    assert_eq!(payload(&find(&store, key(1)).await), b"done");
    let _: String = tell(&server, &[b"CONFIG", b"SET", b"save", b""]).await;
    works_again(&store).await;
}
