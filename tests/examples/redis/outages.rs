//! Redis is away for a while.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::{CREATE, Redis, SESSION, create, executions, is_again, lasting, slow, two};
use crate::support::{Reply, Server, eventually};

/// Asserts that the store was not in reach, and that this was said soon.
#[track_caller]
fn is_refused(reply: &Reply, asked: Instant) {
    reply.refuses(503, "idempotency_store_unavailable");
    let seconds = reply.header("retry-after").unwrap();
    assert!(seconds.parse::<u32>().unwrap() >= 1, "{reply:?}");
    let waited = asked.elapsed();
    assert!(waited < Duration::from_secs(10), "after {waited:?}");
}

/// Sends it until the store is in reach and the key is free.
async fn create_again(server: &Server, key: &str) -> Reply {
    let again = async || {
        let reply = create(server, key, SESSION).send().await;
        reply.status.is_success().then_some(reply)
    };
    eventually("the store is back", again).await
}

#[tokio::test]
async fn while_redis_hangs_nothing_runs_and_afterwards_everything_does() {
    let redis = Redis::start().await;
    let (a, b) = two("verifa", &redis.url(), &[]).await;
    let kept = create(&a, "kept", SESSION).send().await;

    redis.stop().await;
    let asked = Instant::now();
    let calls = [(&a, "new"), (&b, "new"), (&b, "kept")];
    let calls = calls.map(|(server, key)| create(server, key, SESSION).send());
    for reply in join_all(calls).await {
        is_refused(&reply, asked);
    }
    assert_eq!(executions([&a, &b], CREATE).await, 1);
    redis.cont();

    let new = create_again(&b, "new").await;
    is_again(&create_again(&a, "new").await, new.is_first(201));
    is_again(&create_again(&b, "kept").await, &kept);
    assert_eq!(executions([&a, &b], CREATE).await, 2);
}

#[tokio::test]
async fn a_redis_that_was_killed_is_found_again_when_it_is_back() {
    let redis = lasting().await;
    let (a, b) = two("verifa", &redis.url(), &[]).await;
    let kept = create(&a, "kept", SESSION).send().await;

    redis.kill();
    for server in [&a, &b] {
        let asked = Instant::now();
        let reply = create(server, "new", SESSION).send().await;
        is_refused(&reply, asked);
    }
    assert_eq!(executions([&a, &b], CREATE).await, 1);
    redis.restart().await;

    is_again(&create_again(&b, "kept").await, &kept);
    let new = create_again(&b, "new").await;
    is_again(&create_again(&a, "new").await, new.is_first(201));
    assert_eq!(executions([&a, &b], CREATE).await, 2);
}

#[tokio::test]
async fn an_outcome_that_redis_could_not_take_is_recorded_when_it_is_back() {
    let redis = Redis::start().await;
    let (a, b) = two("verifa", &redis.url(), &[]).await;
    let body = slow(1_000);
    let running = create(&a, "settled-late", &*body);
    let hang = async {
        a.started(CREATE, 1).await;
        redis.stop().await;
    };

    let (first, ()) = tokio::join!(running.send(), hang);
    redis.cont();
    let again = async || {
        let reply = create(&b, "settled-late", &*body).send().await;
        reply.is_replay().then_some(reply)
    };
    let replay = eventually("the outcome is recorded", again).await;

    is_again(&replay, first.is_first(201));
    assert_eq!(executions([&a, &b], CREATE).await, 1);
}

#[tokio::test]
async fn an_outcome_that_redis_has_not_taken_is_counted_at_the_end() {
    let redis = Redis::start().await;
    let (a, _b) = two("verifa", &redis.url(), &[("DRAIN_SECS", "1")]).await;
    let running = create(&a, "lost", slow(1_000)).send();
    let hang = async {
        a.started(CREATE, 1).await;
        redis.stop().await;
    };

    let (first, ()) = tokio::join!(running, hang);
    a.terminate();
    let ended = a.ended().await;

    first.is_first(201);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let left = "DRAIN_SECS have passed; executions left: 1\n";
    assert!(ended.stderr.ends_with(left), "{ended:?}");
}
