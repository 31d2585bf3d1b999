//! A server that does something else.

use std::time::{Duration, Instant};

use tokio::time::sleep;
use tower_idempotency::{RedisStore, Store, StoreErrorKind};

use super::api::Api;
use super::verbs::{failed, key, own, own_key, request, say, within_time};
use crate::servers::{Server, eventually, within};

const TIMEOUT: Duration = Duration::from_secs(1);
const MARGIN: Duration = Duration::from_millis(1_500);

#[tokio::test]
async fn a_pause_that_is_shorter_than_the_deadline_is_waited_for() {
    let server = Server::start().await;
    let store = within_time(Duration::from_secs(20), &server.url()).await;
    let request = request(key(1));
    own_key(&store, 2).await;
    let pause = Duration::from_millis(300);
    say(&server, "CLIENT PAUSE 300 ALL").await;

    let begin = Instant::now();
    let owner = own(&store, &request).await;

    assert!(begin.elapsed() >= pause / 2, "{:?}", begin.elapsed());
    assert_eq!(own(&store, &request).await, owner);
}

/// The first try is over before the pause is; the second one is sent over another connection.
#[tokio::test]
async fn a_pause_that_is_longer_than_one_try_is_waited_for() {
    let server = Server::start().await;
    let store = within_time(Duration::from_secs(4), &server.url()).await;
    let request = request(key(1));
    say(&server, "CLIENT PAUSE 2500 ALL").await;

    let owner = own(&store, &request).await;

    assert_eq!(own(&store, &request).await, owner);
}

#[tokio::test]
async fn a_pause_that_is_longer_than_the_deadline_is_not_waited_for() {
    let server = Server::start().await;
    let store = within_time(TIMEOUT, &server.url()).await;
    let request = request(key(1));
    own_key(&store, 2).await;
    say(&server, "CLIENT PAUSE 3500 ALL").await;

    let begin = Instant::now();
    let (kind, why) = failed(store.claim(&request).await);
    let took = begin.elapsed();

    assert_eq!(kind, StoreErrorKind::Ambiguous, "{why}");
    assert!(took <= TIMEOUT + MARGIN, "{took:?}");
    let again = async || store.claim(&request).await.ok();
    let claim = eventually("the pause is over", again).await;
    let owner = super::verbs::owned(&request, Ok(claim));
    assert_eq!(own(&store, &request).await, owner);
}

#[tokio::test]
async fn a_server_busy_with_a_script_refuses_in_time_and_works_when_that_is_killed() {
    let server = Server::builder().config("lua-time-limit 10").start().await;
    let store = within_time(Duration::from_secs(10), &server.url()).await;
    let api = Api::new(within_time(Duration::from_secs(10), &server.url()).await);
    let mut other = server.connect().await;
    let endless = tokio::spawn(async move {
        let mut eval = redis::cmd("EVAL");
        eval.arg("while true do end").arg(0);
        eval.query_async::<redis::Value>(&mut other).await
    });
    let busy = async || {
        let ping = store.ping().await;
        ping.err()
            .filter(|error| error.kind() == StoreErrorKind::NotApplied)
    };
    eventually("the server is busy", busy).await;

    let begin = Instant::now();
    let (kind, why) = failed(store.claim(&request(key(1))).await);
    let took = begin.elapsed();
    let refused = api.post("k", "").await;
    let connecting = failed(RedisStore::connect(&server.url()).await);
    server.cli(&["SCRIPT", "KILL"]);

    assert_eq!(kind, StoreErrorKind::NotApplied);
    assert!(why.contains("SCRIPT KILL"), "{why}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(refused.code(), "idempotency_store_unavailable");
    assert_eq!(connecting.0, StoreErrorKind::NotApplied);
    assert!(connecting.1.contains("SCRIPT KILL"), "{}", connecting.1);
    assert!(within(endless).await.unwrap().is_err());
    own_key(&store, 1).await;
    assert_eq!(api.post("k", "").await.status, 201);
    assert_eq!(api.executions("k"), 1);
}

#[tokio::test]
async fn a_server_that_loads_its_data_refuses_in_time_and_works_afterwards() {
    // The server sleeps after each record, and listens after a thousand.
    let server = Server::builder().append_only().config("key-load-delay 10");
    let server = server.start().await;
    let store = within_time(Duration::from_secs(10), &server.url()).await;
    let owner = own_key(&store, 1).await;
    let mut filler = redis::Pipeline::new();
    for number in 0..15_000 {
        filler.cmd("SET").arg(number).arg(number).ignore();
    }
    let mut connection = server.connect().await;
    within(filler.exec_async(&mut connection)).await.unwrap();

    server.kill();

    let loading = async {
        loop {
            let (kind, why) = match store.claim(&request(key(2))).await {
                Ok(_) => return false,
                Err(error) => failed::<()>(Err(error)),
            };
            // The first one may have been sent before the server ended.
            if kind == StoreErrorKind::NotApplied && why.contains("is loading its data") {
                return true;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    let (was_loading, ()) =
        Box::pin(within(async { tokio::join!(loading, server.restart()) })).await;

    assert!(was_loading);
    let renewed = async || store.renew(&owner, super::verbs::LEASE, false).await.ok();
    let renewed = eventually("the server has loaded its data", renewed).await;
    assert_eq!(renewed, tower_idempotency::Settled::Applied);
}
