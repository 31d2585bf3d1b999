//! A process is killed behind its point of no return; the next one asks what became of it.

use futures_util::future::join_all;

use crate::process::{Policy, Process, Reply};
use crate::world::{LEASE, When, World, within};

/// A process beside one that was killed behind its mark, once the lease is over.
async fn lost(world: &World) -> Process {
    let killed = Process::start(world, Policy::Reconcile).await;
    let mut held = world.hold("marked", When::Before);
    let client = tokio::spawn(killed.post("k", "mark"));
    held.reached().await;
    killed.kill().await;
    assert_eq!(within(client).await.unwrap(), None);
    world.pass(LEASE);
    Process::start(world, Policy::Reconcile).await
}

async fn retries(processes: [&Process; 2]) -> Vec<Reply> {
    let retries = (0..10).map(|number| tokio::spawn(processes[number % 2].post("k", "mark")));
    let replies = within(join_all(retries)).await;
    replies.into_iter().map(|it| it.unwrap().unwrap()).collect()
}

#[tokio::test]
async fn what_has_happened_is_recorded_once_and_replayed_by_every_process() {
    let world = World::start().await;
    let (first, second) = (
        lost(&world).await,
        Process::start(&world, Policy::Reconcile).await,
    );
    world.say("done");

    let replies = retries([&first, &second]).await;

    let found = (201, true, "found".to_owned());
    for reply in replies {
        let busy = reply.0 == 409 && reply.2.contains("idempotency_in_progress");
        assert!(reply == found || busy, "{reply:?}");
    }
    for process in [&first, &second] {
        assert_eq!(process.ask("k", "mark").await, found);
    }
    assert_eq!((world.times("asked"), world.times("started")), (1, 1));
}

#[tokio::test]
async fn what_has_not_happened_runs_exactly_once_among_all_retries() {
    let world = World::start().await;
    let (first, second) = (
        lost(&world).await,
        Process::start(&world, Policy::Reconcile).await,
    );
    world.say("not done");

    let replies = retries([&first, &second]).await;

    let ran = (201, false, "attempt 2".to_owned());
    assert_eq!(replies.iter().filter(|reply| **reply == ran).count(), 1);
    for process in [&first, &second] {
        let replay = (201, true, "attempt 2".to_owned());
        assert_eq!(process.ask("k", "mark").await, replay);
    }
    assert_eq!((world.times("asked"), world.times("started")), (1, 2));
}

#[tokio::test]
async fn what_nobody_knows_is_asked_for_again() {
    let world = World::start().await;
    let process = lost(&world).await;

    for _ in 0..2 {
        let (status, _, body) = process.ask("k", "mark").await;
        assert_eq!(status, 503);
        assert!(body.contains("idempotency_reconcile_failed"), "{body}");
    }

    world.say("done");
    assert_eq!(process.ask("k", "mark").await.2, "found");
    assert_eq!((world.times("asked"), world.times("started")), (3, 1));
}

#[tokio::test]
async fn a_kill_while_the_hook_asks_leaves_it_to_the_next_once_the_lease_is_over() {
    let world = World::start().await;
    let process = lost(&world).await;
    let next = Process::start(&world, Policy::Reconcile).await;
    world.say("done");
    let mut held = world.hold("asked", When::Before);
    let client = tokio::spawn(process.post("k", "mark"));
    held.reached().await;

    process.kill().await;

    assert_eq!(within(client).await.unwrap(), None);
    let (status, _, body) = next.ask("k", "mark").await;
    assert_eq!(status, 409);
    assert!(body.contains("idempotency_in_progress"), "{body}");
    world.pass(LEASE);
    assert_eq!(next.ask("k", "mark").await.2, "found");
    assert_eq!((world.times("asked"), world.times("started")), (2, 1));
}
