//! Many at once.

use futures_util::future::join_all;

use super::{CREATE, Redis, SESSION, create, executions, is_again, slow, two};

#[tokio::test]
async fn a_storm_over_two_processes_runs_once() {
    let redis = Redis::start().await;
    let (a, b) = two("verifa", &redis.url(), &[]).await;
    let body = slow(3_000);
    let calls = (0..100).map(|number| {
        let server = if number % 2 == 0 { &a } else { &b };
        create(server, "storm", &*body).send()
    });

    let replies = join_all(calls).await;

    let is_first = |number: &usize| replies[*number].status == 201 && !replies[*number].is_replay();
    let firsts: Vec<usize> = (0..100).filter(is_first).collect();
    assert_eq!(firsts.len(), 1, "{firsts:?}");
    let mut refused = [0, 0];
    for (number, reply) in replies.iter().enumerate() {
        match reply.status.as_u16() {
            // The first one, or one so late that it had ended.
            201 if number == firsts[0] => {}
            201 => is_again(reply, &replies[firsts[0]]),
            _ => {
                reply.refuses(409, "idempotency_in_progress");
                assert_eq!(reply.header("retry-after"), Some("1"));
                refused[number % 2] += 1;
            }
        }
    }
    assert!(refused.iter().all(|refused| *refused > 0), "{refused:?}");
    assert_eq!(executions([&a, &b], CREATE).await, 1);
}

/// Expects that a hundred requests of one key, to two processes on the store of this URL, wait for one answer and get it.
pub(crate) async fn everybody_gets_the_one_answer(url: &str) {
    let (a, b) = two("verifa", url, &[("IN_FLIGHT", "wait:20")]).await;
    let body = slow(500);
    let calls = (0..100).map(|number| {
        let server = if number % 2 == 0 { &a } else { &b };
        create(server, "storm", &*body).send()
    });

    let replies = join_all(calls).await;

    let (replays, firsts): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.is_replay());
    assert_eq!((firsts.len(), replays.len()), (1, 99));
    for replay in replays {
        is_again(replay, firsts[0].is_first(201));
    }
    assert_eq!(executions([&a, &b], CREATE).await, 1);
}

#[tokio::test]
async fn in_a_storm_everybody_who_waits_gets_the_one_answer() {
    let redis = Redis::start().await;
    everybody_gets_the_one_answer(&redis.url()).await;
}

#[tokio::test]
async fn a_storm_of_many_keys_runs_each_once() {
    let redis = Redis::start().await;
    let (a, b) = two("verifa", &redis.url(), &[("IN_FLIGHT", "wait:20")]).await;
    let calls = (0..160).map(|number| {
        let server = if number % 2 == 0 { &a } else { &b };
        let key = format!("key-{}", number / 4);
        create(server, &key, SESSION).send()
    });

    let replies = join_all(calls).await;

    for of_one_key in replies.chunks(4) {
        let (replays, firsts): (Vec<_>, Vec<_>) =
            of_one_key.iter().partition(|reply| reply.is_replay());
        assert_eq!((firsts.len(), replays.len()), (1, 3), "{of_one_key:?}");
        for replay in replays {
            is_again(replay, firsts[0].is_first(201));
        }
    }
    assert_eq!(executions([&a, &b], CREATE).await, 40);
}
