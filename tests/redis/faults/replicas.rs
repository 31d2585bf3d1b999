//! Writes that wait for a replica.

use std::time::{Duration, Instant};

use tower_idempotency::{Claim, Outcome, RedisStore, Settled, Store, StoreErrorKind, Warning};

use super::api::Api;
use super::rights::RIGHTS;
use super::verbs::{LEASE, completed, failed, key, own_key, request, say};
use crate::servers::{Server, within};

const TIMEOUT: Duration = Duration::from_secs(5);
/// Of three tries at most, for a replica on a busy machine.
const WAIT: Duration = Duration::from_millis(300);

/// A primary, its replica, and a store that waits for it.
async fn world() -> (Server, Server, RedisStore) {
    let server = Server::start().await;
    let replica = Server::start().await;
    replica.replica_of(&server).await;
    let store = RedisStore::builder().timeout(TIMEOUT);
    let store = store.wait(1, WAIT);
    let store = within(store.connect(&server.url())).await.unwrap();
    (server, replica, store)
}

#[tokio::test]
async fn what_a_replica_has_is_acknowledged() {
    let (server, replica, store) = world().await;
    let owner = own_key(&store, 1).await;
    store.renew(&owner, LEASE, true).await.unwrap();
    let completion = store.complete(&owner, &completed("done")).await;

    assert_eq!(completion.unwrap(), Settled::Applied);
    for server in [&server, &replica] {
        let name = super::verbs::name(owner.key());
        let state: Vec<u8> = super::verbs::tell(server, &[b"GETRANGE", &name, b"1", b"2"]).await;
        assert_eq!(state, [2, 1], "done, and committed");
    }
}

#[tokio::test]
async fn a_claim_that_no_replica_has_is_refused_and_runs_nothing() {
    let (_server, replica, store) = world().await;
    let api = Api::new(store);
    api.post("before", "").await;
    replica.stop().await;

    let begin = Instant::now();
    let (kind, why) = failed(api.layer.store().claim(&request(key(1))).await);
    let took = begin.elapsed();
    let refused = api.post("k", "").await;
    let reasons = api.reasons();
    replica.cont();

    // It was taken back: nothing stands in the way of the next.
    assert_eq!(kind, StoreErrorKind::Fatal);
    assert!(why.contains("0 of 1 replicas"), "{why}");
    assert!(took <= TIMEOUT, "{took:?}");
    assert_eq!(
        (refused.status, refused.code()),
        (503, "idempotency_store_unavailable")
    );
    assert!(
        reasons.iter().any(|why| why.contains("0 of 1 replicas")),
        "{reasons:?}"
    );
    assert_eq!(api.executions("k"), 0);
    let drained = within(api.layer.drain(Duration::from_secs(20))).await;
    assert_eq!(drained.left, 0, "the claim is given back");
    assert_eq!(api.post("k", "").await.status, 201);
    assert_eq!(api.executions("k"), 1);
}

#[tokio::test]
async fn what_is_only_read_needs_no_replica() {
    let (_server, replica, store) = world().await;
    let api = Api::new(store);
    let first = api.post("k", "").await;
    let owner = own_key(api.layer.store(), 1).await;
    replica.stop().await;

    let replay = api.post("k", "").await;
    let other = api.layer.store().claim(&request(key(1))).await;
    replica.cont();

    assert_eq!((replay.is_replay, replay.body), (true, first.body));
    assert!(matches!(other, Ok(Claim::Existing(record)) if record.fence() == owner.fence()));
}

#[tokio::test]
async fn a_completion_that_is_repeated_is_waited_for_again() {
    let (server, replica, store) = world().await;
    let owner = own_key(&store, 1).await;
    replica.stop().await;
    let first = store.complete(&owner, &completed("done")).await;
    // Another connection has written nothing by itself.
    say(&server, "CLIENT KILL TYPE normal").await;
    let second = store.complete(&owner, &completed("done")).await;
    replica.cont();

    assert_eq!(failed(first).0, StoreErrorKind::Ambiguous);
    assert_eq!(failed(second).0, StoreErrorKind::Ambiguous);
    let third = store.complete(&owner, &completed("done")).await;
    assert_eq!(third.unwrap(), Settled::Applied);
}

#[tokio::test]
async fn an_outcome_that_no_replica_has_is_recorded_when_it_is_back() {
    let (_server, replica, store) = world().await;
    let api = Api::new(store);

    let first = api.post_while("k", "wait", replica.stop()).await;
    let is_told = api.warned(Warning::NotRecorded);
    replica.cont();
    let drained = within(api.layer.drain(Duration::from_secs(20))).await;
    let is_given_up = api.warned(Warning::GivenUp);
    let retry = api.post("k", "wait").await;

    assert_eq!(first.outcome, Outcome::Executed { recorded: false });
    assert!(is_told && !is_given_up);
    assert_eq!(drained.left, 0);
    assert_eq!((retry.is_replay, retry.body), (true, first.body));
    assert_eq!(api.executions("k"), 1);
}

#[tokio::test]
async fn a_mark_that_no_replica_has_is_not_made_known() {
    let (_server, replica, store) = world().await;
    let api = Api::with(store, |layer| layer.store_timeout(Duration::from_secs(2)));

    let first = api.post_while("k", "wait, mark", replica.stop()).await;
    replica.cont();

    assert_eq!(&first.body[..], b"k 1 not marked");
}

/// The claim is applied, and nobody hears of the replicas: it is taken back.
#[tokio::test]
async fn a_user_who_may_not_wait_is_told_so_and_runs_nothing() {
    let user = format!("on >secret ~idem:1:* {RIGHTS}");
    let server = Server::builder().user("app", &user).start().await;
    let store = RedisStore::builder().timeout(TIMEOUT).wait(1, WAIT);
    let store = store
        .connect(&server.url_as("app", "secret"))
        .await
        .unwrap();
    let second = Duration::from_secs(1);
    let api = Api::with(store, |layer| layer.lease(second).store_timeout(second));

    let refused = api.post("k", "").await;
    let reasons = api.reasons();
    let drained = within(api.layer.drain(Duration::from_secs(20))).await;

    assert_eq!(refused.code(), "idempotency_store_unavailable");
    assert!(
        reasons.iter().any(|why| why.contains("'wait'")),
        "{reasons:?}"
    );
    assert_eq!((api.executions("k"), drained.left), (0, 0));
}
