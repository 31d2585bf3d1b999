//! Connections that the program brings along.

use std::time::Duration;

use redis::Client;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use tower_idempotency::{RedisStore, Settled, Store, StoreErrorKind};

use super::verbs::{EachVerb, LEASE, failed, key, own, own_key, request, say};
use crate::servers::{Server, eventually, within};

fn client(server: &Server) -> Client {
    Client::open(server.url()).unwrap()
}

#[tokio::test]
async fn a_multiplexed_connection_serves_until_it_breaks() {
    let server = Server::start().await;
    let connection = client(&server).get_multiplexed_async_connection().await;
    let store = RedisStore::new(connection.unwrap());

    EachVerb::new(&store, 1).await.all_pass().await;

    say(&server, "CLIENT KILL TYPE normal").await;
    let (kind, why) = failed(within(store.claim(&request(key(99)))).await);
    assert_eq!(kind, StoreErrorKind::Ambiguous, "{why}");
}

#[tokio::test]
async fn a_connection_manager_survives_a_restart() {
    let server = Server::builder().append_only().start().await;
    let patient =
        ConnectionManagerConfig::new().set_response_timeout(Some(Duration::from_secs(20)));
    let manager = client(&server)
        .get_connection_manager_with_config(patient)
        .await;
    let store = RedisStore::builder().timeout(Duration::from_secs(20));
    let store = store.connection(manager.unwrap());
    let claim = request(key(1));
    let owner = own(&store, &claim).await;

    server.restart().await;

    let renewed = async || store.renew(&owner, LEASE, false).await.ok();
    let renewed = eventually("the manager has connected", renewed).await;
    assert_eq!(renewed, Settled::Applied);
    assert_eq!(own(&store, &claim).await, owner);
}

/// The settings of the server are looked at by `ping` alone: nothing is sent before.
#[tokio::test]
async fn of_a_connection_that_is_brought_along_a_ping_looks_at_the_server() {
    let server = Server::builder()
        .config("maxmemory-policy allkeys-lru")
        .start()
        .await;
    let manager: ConnectionManager = client(&server).get_connection_manager().await.unwrap();
    let store = RedisStore::new(manager.clone());
    let allowed = RedisStore::builder()
        .allow_eviction(true)
        .connection(manager);

    assert!(store.advice().is_empty());
    let (kind, why) = failed(store.ping().await);
    assert_eq!(kind, StoreErrorKind::Fatal);
    assert!(
        why.contains("CONFIG SET maxmemory-policy noeviction"),
        "{why}"
    );

    allowed.ping().await.unwrap();
    assert!(
        allowed
            .advice()
            .iter()
            .any(|it| it.contains("as was allowed"))
    );
    own_key(&allowed, 1).await;
}
