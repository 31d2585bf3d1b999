//! The same on several servers: a Cluster, and Sentinels.

use futures_util::future::join_all;

use super::{CREATE, SESSION, attempts, create, executions, is_again, slow, two};
use crate::servers::{Cluster, Sentinel};
use crate::support::{Server, eventually};

/// So many that each server of a Cluster has some.
const KEYS: usize = 30;

/// Requests that come at once, one that is lost with its process, and what is left of them.
async fn two_processes_behave_as_one_on(url: &str) {
    let environment = [("IN_FLIGHT", "wait:20"), ("LEASE_SECS", "3")];
    let (a, b) = two("verifa", url, &environment).await;
    let calls = (0..4 * KEYS).map(|number| {
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
    assert_eq!(executions([&a, &b], CREATE).await, KEYS as u64);
    let other = create(&b, "key-0", slow(1)).send().await;
    other.refuses(422, "idempotency_mismatch");

    let before = b.executions(CREATE).await;
    let (body, already) = (slow(2_000), a.executions(CREATE).await);
    tokio::select! {
        reply = create(&a, "orphan", &*body).try_send() => panic!("it was answered: {reply:?}"),
        () = a.started(CREATE, already + 1) => {}
    }
    a.kill().await;
    let taken_over = create(&b, "orphan", &*body).send().await;

    taken_over.is_first(201);
    assert_eq!(b.executions(CREATE).await, before + 1);
    assert_eq!(attempts(&b).await, 2);
    let replay = create(&b, "key-0", SESSION).send().await;
    assert!(replay.is_replay(), "{replay:?}");
}

#[tokio::test]
async fn on_a_cluster() {
    let cluster = Cluster::start().await;
    two_processes_behave_as_one_on(&cluster.url()).await;
    for node in cluster.nodes() {
        let has_some = node.info("keyspace", "db0").await;
        assert!(has_some.is_some(), "no key on {}", node.port());
    }
}

#[tokio::test]
async fn by_sentinels() {
    let watched = Sentinel::start().await;
    two_processes_behave_as_one_on(&watched.url()).await;
}

#[tokio::test]
async fn a_failover_is_followed_by_both_without_a_restart() {
    let watched = Sentinel::start().await;
    let (a, b) = two("verifa", &watched.url(), &[]).await;
    let kept = create(&a, "kept", SESSION).send().await;
    // A failover does not wait for what is on its way to the replica.
    let copied = async || watched.replica().info("keyspace", "db0").await;
    eventually("the replica has the record", copied).await;

    watched.failover().await;
    let again = async |server: &Server, key: &str| {
        let again = async || {
            let reply = create(server, key, SESSION).send().await;
            reply.status.is_success().then_some(reply)
        };
        eventually("the new primary is found", again).await
    };

    is_again(&again(&b, "kept").await, kept.is_first(201));
    let new = again(&b, "new").await;
    is_again(&again(&a, "new").await, new.is_first(201));
    assert_eq!(executions([&a, &b], CREATE).await, 2);
}
