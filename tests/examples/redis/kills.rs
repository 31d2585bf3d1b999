//! One of two processes is killed while its handler runs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use hyper::body::Bytes;
use tokio::time::Instant;

use super::{CREATE, Redis, SESSION, attempts, create, is_again, slow, two};
use crate::support::{Reply, Server, eventually};

/// Of the store, whose clock counts whole milliseconds.
const LEASE: Duration = Duration::from_millis(2_990);

/// Leaves a key to its lease: kills a process as soon as it runs the request. Says when the request was sent.
async fn kill_at_work(server: Server, key: &str, body: &str) -> Instant {
    let sent = Instant::now();
    let call = create(&server, key, body);
    tokio::select! {
        reply = call.try_send() => panic!("it was answered: {reply:?}"),
        () = server.started(CREATE, 1) => {}
    }
    server.kill().await;
    sent
}

#[tokio::test]
async fn of_many_retries_one_takes_over_once_the_lease_is_over() {
    let redis = Redis::start().await;
    let (a, b) = two("verifa", &redis.url(), &[("LEASE_SECS", "3")]).await;
    let body = slow(2_000);
    let sent = kill_at_work(a, "orphan", &body).await;

    let too_soon = create(&b, "orphan", &*body).send().await;
    let takers = join_all((0..20).map(async |_| {
        let again = async || {
            let reply = create(&b, "orphan", &*body).send().await;
            (reply.status != 409).then_some(reply)
        };
        eventually("the lease is over", again).await
    }));
    let taken_over = async {
        b.started(CREATE, 1).await;
        sent.elapsed()
    };
    let (replies, taken_over) = tokio::join!(takers, taken_over);

    too_soon.refuses(409, "idempotency_in_progress");
    assert!(taken_over >= LEASE, "after {taken_over:?}");
    let (replays, firsts): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.is_replay());
    assert_eq!((firsts.len(), replays.len()), (1, 19));
    for replay in replays {
        is_again(replay, firsts[0].is_first(201));
    }
    assert_eq!((b.executions(CREATE).await, attempts(&b).await), (1, 2));
}

#[tokio::test]
async fn of_many_waiters_one_takes_over_and_the_others_wait_on() {
    let redis = Redis::start().await;
    let environment = [("LEASE_SECS", "3"), ("IN_FLIGHT", "wait:20")];
    let (a, b) = two("verifa", &redis.url(), &environment).await;
    let body = slow(2_000);
    let sent = kill_at_work(a, "orphan", &body).await;

    let replies = join_all((0..20).map(|_| create(&b, "orphan", &*body).send())).await;

    assert!(sent.elapsed() >= LEASE, "after {:?}", sent.elapsed());
    let (replays, firsts): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.is_replay());
    assert_eq!((firsts.len(), replays.len()), (1, 19));
    for replay in replays {
        is_again(replay, firsts[0].is_first(201));
    }
    assert_eq!((b.executions(CREATE).await, attempts(&b).await), (1, 2));
}

#[tokio::test]
async fn another_request_never_takes_over() {
    let redis = Redis::start().await;
    let (a, b) = two("verifa", &redis.url(), &[("LEASE_SECS", "3")]).await;
    let sent = kill_at_work(a, "orphan", &slow(2_000)).await;

    // Until the lease is over for certain, and beyond: it had no time to be renewed twice.
    while sent.elapsed() < LEASE * 2 {
        let other = create(&b, "orphan", SESSION).send().await;
        other.refuses(422, "idempotency_mismatch");
    }
    let same = create(&b, "orphan", slow(2_000)).send().await;

    same.is_first(201);
    assert_eq!((b.executions(CREATE).await, attempts(&b).await), (1, 2));
}

#[tokio::test]
async fn nobody_repeats_what_was_lost_where_that_is_refused() {
    let redis = Redis::start().await;
    let environment = [("LEASE_SECS", "3"), ("ON_LOST", "refuse")];
    let (a, b) = two("verifa", &redis.url(), &environment).await;
    let body = slow(2_000);
    kill_at_work(a, "orphan", &body).await;

    let again = async || {
        let reply = create(&b, "orphan", &*body).send().await;
        let is_known = |reply: &Reply| reply.json()["error"] != "idempotency_in_progress";
        is_known(&reply).then_some(reply)
    };
    let reply = eventually("the lease is over", again).await;

    reply.refuses(409, "idempotency_outcome_unknown");
    assert_eq!(b.executions(CREATE).await, 0);
}

/// Whom clients send to, and what they were told.
struct Service {
    processes: Mutex<[Arc<Server>; 2]>,
    kept: Mutex<HashMap<String, Bytes>>,
}

impl Service {
    fn process(&self, number: usize) -> Arc<Server> {
        Arc::clone(&self.processes.lock().unwrap()[number % 2])
    }

    /// Sends every key a few times, to one process and the other, and sees that no answer changes.
    async fn send(&self, first: usize) {
        for number in first.. {
            let key = format!("key-{}", number / 9);
            let process = self.process(number);
            let reply = create(&process, &key, slow(200)).try_send().await;
            // The first answer may be of a process that had no turn for longer than its lease: what counts is a replay.
            if let Ok(reply) = reply
                && reply.is_replay()
            {
                let mut kept = self.kept.lock().unwrap();
                let before = kept.entry(key).or_insert_with(|| reply.body.clone());
                assert_eq!(*before, reply.body);
            }
        }
    }
}

#[tokio::test]
async fn kills_at_work_change_no_answer() {
    const TAKEN_OVER: u32 = 3;
    let redis = Redis::start().await;
    let url = redis.url();
    let environment = [("LEASE_SECS", "1"), ("IN_FLIGHT", "wait:20")];
    let (a, b) = two("verifa", &url, &environment).await;
    let service = Arc::new(Service {
        processes: Mutex::new([a, b].map(Arc::new)),
        kept: Mutex::default(),
    });
    let clients = (0..8).map(|first| {
        let service = Arc::clone(&service);
        tokio::spawn(async move { service.send(first).await })
    });
    let clients: Vec<_> = clients.collect();

    let mut taken_over = 0;
    for number in 0.. {
        let doomed = service.process(number);
        // It is at work, and will leave something.
        doomed.started(CREATE, 4).await;
        taken_over += u32::from(attempts(&doomed).await > 1);
        if taken_over == TAKEN_OVER {
            break;
        }
        doomed.signal("KILL");
        let environment = [&[("STORE_URL", &*url)], &environment[..]].concat();
        let next = Arc::new(Server::start("verifa", &environment).await);
        service.processes.lock().unwrap()[number % 2] = next;
        assert!(number < 200, "no kill leaves anything");
    }

    let has_ended = clients.iter().any(|client| client.is_finished());
    clients.iter().for_each(|client| client.abort());
    assert!(!has_ended, "an answer changed");
    assert!(!service.kept.lock().unwrap().is_empty());
}
