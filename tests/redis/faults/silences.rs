//! Connections that hang, are refused, or are slow.

use std::time::{Duration, Instant};

use tower_idempotency::{RedisStore, Store, StoreErrorKind};

use super::api::Api;
use super::verbs::{EachVerb, expected, failed, fallible, key, own, request, within_time};
use crate::servers::{Held, Proxy, Server, eventually, within};

/// What a call may take; half of it is enough for any answer.
const TIMEOUT: Duration = Duration::from_secs(1);
/// The same where it is not to be reached.
const LONG: Duration = Duration::from_secs(5);
/// So much later a call may end on a busy machine.
const MARGIN: Duration = Duration::from_millis(1_500);

async fn world(timeout: Duration) -> (Server, Proxy, RedisStore) {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address()).await;
    let store = within_time(timeout, &format!("redis://{}", proxy.address())).await;
    (server, proxy, store)
}

/// Of a verb that has failed, kind, reason and time.
async fn timed<T: std::fmt::Debug>(
    verb: impl Future<Output = Result<T, tower_idempotency::StoreError>>,
) -> (StoreErrorKind, String, Duration) {
    let begin = Instant::now();
    let (kind, why) = failed(within(verb).await);
    (kind, why, begin.elapsed())
}

#[tokio::test]
async fn a_wire_that_hangs_is_waited_for_until_the_deadline_and_works_afterwards() {
    for held in [Held::Requests, Held::Replies, Held::Both] {
        let (_server, proxy, store) = world(TIMEOUT).await;
        let request = request(key(1));
        own(&store, &super::verbs::request(key(2))).await;

        proxy.hold(held);
        let (kind, why, took) = timed(store.claim(&request)).await;
        proxy.release();
        let owner = own(&store, &request).await;

        assert_eq!(kind, StoreErrorKind::Ambiguous, "{held:?} {why}");
        assert!(took <= TIMEOUT + MARGIN, "{held:?} {took:?}");
        assert_eq!(own(&store, &request).await, owner);
    }
}

#[tokio::test]
async fn no_verb_is_waited_for_beyond_its_deadline() {
    let (_server, proxy, store) = world(TIMEOUT).await;
    let verbs = EachVerb::new(&store, 1).await;
    proxy.hold(Held::Replies);

    let begin = Instant::now();
    let all = fallible().map(|verb| verbs.call(verb));
    let all = within(futures_util::future::join_all(all)).await;
    let took = begin.elapsed();

    for (verb, answer) in fallible().zip(all) {
        let (kind, why) = failed(answer);
        assert_eq!(kind, StoreErrorKind::Ambiguous, "{verb} {why}");
    }
    assert!(took <= TIMEOUT + MARGIN, "{took:?}");
    proxy.release();
    assert_eq!(verbs.call("claim").await.unwrap(), "found");
}

#[tokio::test]
async fn a_server_that_stops_is_waited_for_until_the_deadline_and_works_afterwards() {
    let server = Server::start().await;
    let store = within_time(TIMEOUT, &server.url()).await;
    own(&store, &request(key(1))).await;

    server.stop().await;
    let (kind, why, took) = timed(store.claim(&request(key(2)))).await;
    server.cont();

    assert_eq!(kind, StoreErrorKind::Ambiguous, "{why}");
    assert!(took <= TIMEOUT + MARGIN, "{took:?}");
    own(&store, &request(key(3))).await;
}

#[tokio::test]
async fn who_is_refused_hears_of_it_long_before_the_deadline() {
    let (_server, proxy, store) = world(LONG).await;
    proxy.refuse().await;
    proxy.cut().await;
    // This one may have been sent before the cut was noticed.
    failed(store.claim(&request(key(1))).await);

    for _ in 0..5 {
        let (kind, why, took) = timed(store.claim(&request(key(2)))).await;

        assert_eq!(kind, StoreErrorKind::NotApplied, "{why}");
        assert!(why.starts_with(": Redis cannot be reached"), "{why}");
        assert!(took < LONG / 2, "{took:?}");
    }

    proxy.accept().await;
    let claimed = async || store.claim(&request(key(3))).await.ok();
    eventually("the proxy is connected to", claimed).await;
}

#[tokio::test]
async fn the_layer_refuses_while_nobody_is_in_reach_and_runs_nothing() {
    let (_server, proxy, store) = world(LONG).await;
    let api = Api::new(store);
    proxy.refuse().await;
    proxy.cut().await;

    let refused = api.post("k", "").await;

    assert_eq!(refused.code(), "idempotency_store_unavailable");
    assert!(refused.retry_after && refused.status == 503);
    let reasons = api.reasons();
    assert!(
        reasons.iter().any(|why| why.contains("Redis")),
        "{reasons:?}"
    );
    proxy.accept().await;
    let served = async || (api.post("k", "").await.status == 201).then_some(());
    eventually("the key is free", served).await;
    assert_eq!(api.executions("k"), 1);
}

#[tokio::test]
async fn a_slow_wire_is_slow_and_nothing_else() {
    let (_server, proxy, store) = world(LONG).await;
    let verbs = EachVerb::new(&store, 1).await;
    let delay = Duration::from_millis(100);
    proxy.delay(delay);

    for verb in fallible() {
        let begin = Instant::now();
        let answer = within(verbs.call(verb)).await;

        assert_eq!(answer.unwrap(), expected(verb), "{verb}");
        assert!(begin.elapsed() >= 2 * delay, "{verb}");
    }
}
