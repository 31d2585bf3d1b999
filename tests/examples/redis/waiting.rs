//! Who waits in one process for another.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::{CREATE, Redis, create, executions, is_again, scripts_run, slow, two};
use crate::support::eventually;

#[tokio::test]
async fn a_waiter_gets_the_answer_of_the_other_process_soon() {
    let redis = Redis::start().await;
    let (a, b) = two("verifa", &redis.url(), &[("IN_FLIGHT", "wait:30")]).await;
    let owner = async {
        let reply = create(&a, "key", slow(2_000)).send().await;
        (reply, Instant::now())
    };
    let waiter = async {
        a.started(CREATE, 1).await;
        let reply = create(&b, "key", slow(2_000)).send().await;
        (reply, Instant::now())
    };
    let impatient = async {
        a.started(CREATE, 1).await;
        let call = create(&b, "key", slow(2_000)).header("prefer", "wait=0");
        call.send().await
    };

    let ((first, done), (second, heard), impatient) = tokio::join!(owner, waiter, impatient);

    is_again(&second, first.is_first(201));
    impatient.refuses(409, "idempotency_in_progress");
    let late = heard.saturating_duration_since(done);
    assert!(late < Duration::from_secs(5), "{late:?} later");
    assert_eq!(executions([&a, &b], CREATE).await, 1);
}

#[tokio::test]
async fn fifty_waiters_ask_redis_as_one_and_hold_no_connection() {
    const WAITERS: u64 = 50;
    let redis = Redis::start().await;
    let (a, b) = two("verifa", &redis.url(), &[("IN_FLIGHT", "wait:30")]).await;
    let body = slow(4_000);
    let owner = create(&a, "key", &*body).send();
    let waiters = async {
        a.started(CREATE, 1).await;
        let before = scripts_run(&redis).await;
        let calls = (0..WAITERS).map(|_| create(&b, "key", &*body).send());
        let watch = async {
            let all = async || (scripts_run(&redis).await >= before + WAITERS).then_some(());
            eventually("all have asked for the key", all).await;
            let clients = redis.info("clients", "connected_clients").await;
            (Instant::now(), scripts_run(&redis).await, clients)
        };
        tokio::join!(join_all(calls), watch)
    };

    let (first, (replies, (begin, before, clients))) = tokio::join!(owner, waiters);
    let (waited, asked) = (begin.elapsed(), scripts_run(&redis).await - before);

    for reply in &replies {
        is_again(reply, first.is_first(201));
    }
    assert_eq!(executions([&a, &b], CREATE).await, 1);
    // One for each process, the one that asks here, and one more that may not have been closed yet.
    let clients: u64 = clients.unwrap().parse().unwrap();
    assert!(clients <= 4, "{clients} connections");
    // At the end each claims once more, and A has completed. One that asks does so every 200 ms at most, more often only at
    // the beginning; fifty would have asked fifty times as often.
    let polls = 10 + waited.as_millis() as u64 / 200;
    assert!(asked <= WAITERS + 1 + polls, "{asked} in {waited:?}");
    assert!(waited >= Duration::from_secs(1), "only {waited:?}");
}
