//! Connections that are cut or hang, before or after the server has applied a verb.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tower_idempotency::{Forgotten, PostgresStore, Settled, State, Store, StoreErrorKind};

use super::verbs::{
    EachVerb, LEASE, completed, failed, fallible, find, key, migrated, own, own_key, patient,
    payload, request,
};
use crate::servers::{Held, Proxy, Server, own_schema, within};

/// A store by way of a proxy, with every statement prepared.
async fn world() -> (Proxy, PostgresStore) {
    world_within(Duration::from_secs(20)).await
}

async fn world_within(time: Duration) -> (Proxy, PostgresStore) {
    let server = Server::shared().await;
    let proxy = Proxy::start(server.address()).await;
    let url = format!(
        "postgres://postgres@{}/app?sslmode=disable",
        proxy.address()
    );
    let settings = PostgresStore::builder()
        .schema(own_schema())
        .max_connections(1);
    let store = migrated(settings.timeout(time), &url).await;
    EachVerb::new(&store, 1_000).await.all_pass().await;
    (proxy, store)
}

#[tokio::test]
async fn a_claim_whose_reply_is_cut_is_repeated_as_the_same_claim() {
    let (proxy, store) = world().await;
    let request = request(key(1));
    proxy.cut_replies(1);

    let owner = own(&store, &request).await;

    assert_eq!(proxy.cuts(), 1);
    assert_eq!(own(&store, &request).await, owner, "it was one claim");
    let record = find(&store, key(1)).await;
    assert_eq!((record.fence(), record.attempt()), (owner.fence(), 1));
}

#[tokio::test]
async fn the_writes_of_an_owner_whose_replies_are_cut_are_applied_once() {
    let (proxy, store) = world().await;
    let mut owners = Vec::new();
    for number in 1..=5 {
        owners.push(own_key(&store, number).await);
    }
    // A new connection would be cut when it is told of the statement, before anything is applied.
    let cut = async |first| {
        EachVerb::new(&store, first).await.all_pass().await;
        proxy.cut_replies(1);
    };

    cut(1020).await;
    let renewed = store.renew(&owners[0], LEASE * 2, true).await;
    cut(1040).await;
    let done = store.complete(&owners[1], &completed("done")).await;
    cut(1060).await;
    let abandoned = store.abandon(&owners[2]).await;
    cut(1080).await;
    let released = store.release(&owners[3]).await;
    cut(1100).await;
    let forgotten = store.forget(owners[4].key(), true).await;

    assert_eq!(proxy.cuts(), 5);
    for settled in [renewed, done, abandoned, released] {
        assert_eq!(settled.unwrap(), Settled::Applied);
    }
    assert_eq!(forgotten.unwrap(), Forgotten::Forgotten);
    let record = find(&store, key(1)).await;
    assert!(record.is_committed() && record.state().lease_left() > LEASE);
    assert_eq!(payload(&find(&store, key(2)).await), b"done");
    let own_again = own(&store, &request(key(3))).await;
    assert!(own_again.fence() > owners[2].fence());
    assert_eq!(
        store.claim(&request(key(4))).await.map(|_| ()).ok(),
        Some(())
    );
}

#[tokio::test]
async fn a_completion_that_leaves_a_tombstone_says_so_when_its_reply_is_cut() {
    let server = Server::shared().await;
    let proxy = Proxy::start(server.address()).await;
    let url = format!(
        "postgres://postgres@{}/app?sslmode=disable",
        proxy.address()
    );
    let settings = PostgresStore::builder()
        .schema(own_schema())
        .max_record_bytes(4);
    let store = migrated(
        settings.timeout(Duration::from_secs(20)).max_connections(1),
        &url,
    )
    .await;
    EachVerb::new(&store, 1_000).await.all_pass().await;
    let owner = own_key(&store, 1).await;
    proxy.cut_replies(1);

    let settled = store.complete(&owner, &completed("longer")).await;

    assert_eq!((proxy.cuts(), settled.unwrap()), (1, Settled::Tombstoned));
    assert_eq!(payload(&find(&store, key(1)).await), b"gone");
}

#[tokio::test]
async fn a_backend_that_is_terminated_in_a_call_costs_nothing() {
    let server = Server::start().await;
    let store = patient(&server.url()).await;
    let owner = own_key(&store, 1).await;
    let mut lock = server.connect().await;
    let locked = "BEGIN; SELECT 1 FROM idempotency.record FOR UPDATE";
    sqlx::Executor::execute(&mut lock, sqlx::raw_sql(locked))
        .await
        .unwrap();
    let store = Arc::new(store);
    let done = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.complete(&owner, &completed("done")).await }
    });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    let waiting = async || (server.number(waits).await == 1).then_some(());
    crate::servers::eventually("the completion waits", waiting).await;

    let terminate =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    server.sql(terminate).await;
    drop(lock);

    assert_eq!(within(done).await.unwrap().unwrap(), Settled::Applied);
    assert_eq!(payload(&find(&store, key(1)).await), b"done");
}

#[tokio::test]
async fn a_server_that_says_nothing_costs_each_verb_its_time() {
    let server = Server::shared().await;
    let proxy = Proxy::start(server.address()).await;
    let url = format!(
        "postgres://postgres@{}/app?sslmode=disable",
        proxy.address()
    );
    let settings = PostgresStore::builder().schema(own_schema());
    let settings = settings.timeout(Duration::from_secs(2));
    let store = migrated(settings, &url).await;
    let each = EachVerb::new(&store, 1_000).await;
    proxy.hold(Held::Replies);

    // The connection that was there has been sent the first; no other one was to be had.
    let mut expected = StoreErrorKind::Ambiguous;
    for verb in fallible() {
        let begin = Instant::now();
        let (kind, why) = failed(each.call(verb).await);
        assert_eq!(kind, expected, "{verb}: {why}");
        assert!(why.contains("reached in time"), "{why}");
        assert!(begin.elapsed() < Duration::from_secs(10), "{verb}");
        expected = StoreErrorKind::NotApplied;
    }
    proxy.release();
    assert!(
        store.inspect(&key(77)).await.unwrap().is_none(),
        "it goes on"
    );
}

/// A connection that has gone without a word: the first try does not take all the time.
#[tokio::test]
async fn a_connection_that_hangs_is_left_for_another_one() {
    let (proxy, store) = world_within(Duration::from_secs(6)).await;
    let owner = own_key(&store, 1).await;
    proxy.hold(Held::Requests);
    let store = Arc::new(store);
    let done = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.complete(&owner, &completed("done")).await }
    });
    // More than the first half of its time.
    tokio::time::sleep(Duration::from_millis(3_200)).await;
    proxy.cut().await;
    proxy.release();

    assert_eq!(within(done).await.unwrap().unwrap(), Settled::Applied);
    let record = store.inspect(&key(1)).await.unwrap().unwrap();
    assert!(matches!(record.state(), State::Completed { .. }));
}

#[tokio::test]
async fn refused_connections_are_not_applied() {
    let (proxy, store) = world().await;
    proxy.refuse().await;
    proxy.cut().await;

    // What was sent over a connection that is gone may have been applied, for all that is known.
    let (kind, _) = failed(store.claim(&request(key(1))).await);
    assert_eq!(kind, StoreErrorKind::Ambiguous);
    let (kind, why) = failed(store.claim(&request(key(1))).await);
    assert_eq!(kind, StoreErrorKind::NotApplied);
    assert!(why.contains("cannot be reached"), "{why}");

    proxy.accept().await;
    own_key(&store, 1).await;
}
