//! One process is killed, or stopped, at one moment; another one takes the retries.

use crate::process::{POLICIES, Policy, Process, Reply};
use crate::world::{Held, LEASE, When, World, within};

fn replay(body: &str) -> Reply {
    (201, true, body.to_owned())
}

fn first(body: &str) -> Reply {
    (201, false, body.to_owned())
}

fn is_refusal(reply: &Reply, code: &str) -> bool {
    reply.0 == 409 && reply.2.contains(code)
}

/// Sends a request to one process and kills it at this moment; gives another process.
async fn killed(world: &World, policy: Policy, mut held: Held, body: &str) -> Process {
    let process = Process::start(world, policy).await;
    let other = Process::start(world, policy).await;
    let client = tokio::spawn(process.post("k", body));
    held.reached().await;

    process.kill().await;

    assert_eq!(within(client).await.unwrap(), None, "the connection broke");
    other
}

/// Ten retries at once.
async fn retries(process: &Process, body: &str) -> Vec<Reply> {
    let retries = (0..10).map(|_| tokio::spawn(process.post("k", body)));
    let retries = within(futures_util::future::join_all(retries)).await;
    retries.into_iter().map(|it| it.unwrap().unwrap()).collect()
}

/// Of ten retries exactly one runs, as this attempt; afterwards its answer is replayed.
async fn one_runs(process: &Process, body: &str, attempt: u32) {
    let answer = format!("attempt {attempt}");
    let replies = retries(process, body).await;
    let ran = replies.iter().filter(|reply| **reply == first(&answer));
    assert_eq!(ran.count(), 1, "{replies:?}");
    for reply in &replies {
        let meanwhile = is_refusal(reply, "idempotency_in_progress");
        let afterwards = *reply == replay(&answer);
        assert!(
            *reply == first(&answer) || meanwhile || afterwards,
            "{reply:?}"
        );
    }
    assert_eq!(process.ask("k", body).await, replay(&answer));
}

async fn all_are_refused(process: &Process, body: &str, code: &str) {
    for reply in retries(process, body).await {
        assert!(is_refusal(&reply, code), "{reply:?}");
    }
}

#[tokio::test]
async fn a_kill_while_the_handler_runs_leaves_the_key_to_the_next_once_its_lease_is_over() {
    for policy in POLICIES {
        let world = World::start().await;
        let held = world.hold("started", When::Before);
        let other = killed(&world, policy, held, "x").await;

        all_are_refused(&other, "x", "idempotency_in_progress").await;
        world.pass(LEASE);

        world.say("not done");
        match policy {
            Policy::Rerun | Policy::Reconcile => one_runs(&other, "x", 2).await,
            Policy::Refuse => all_are_refused(&other, "x", "idempotency_outcome_unknown").await,
        }
        assert_eq!(other.ask("k", "y").await.0, 422, "the fingerprint stays");
    }
}

#[tokio::test]
async fn a_kill_behind_the_point_of_no_return_is_never_run_again() {
    for policy in [Policy::Rerun, Policy::Refuse] {
        let world = World::start().await;
        let held = world.hold("marked", When::Before);
        let other = killed(&world, policy, held, "mark").await;

        all_are_refused(&other, "mark", "idempotency_in_progress").await;
        world.pass(LEASE);

        all_are_refused(&other, "mark", "idempotency_outcome_unknown").await;
        world.pass(LEASE);
        all_are_refused(&other, "mark", "idempotency_outcome_unknown").await;
        assert_eq!(world.times("started"), 1);
    }
}

#[tokio::test]
async fn a_kill_while_the_mark_is_written_counts_as_marked_where_the_store_has_it() {
    for when in [When::Before, When::After] {
        let world = World::start().await;
        let held = world.hold("renew", when);
        let other = killed(&world, Policy::Rerun, held, "mark").await;
        world.pass(LEASE);

        match when {
            When::Before => one_runs(&other, "mark", 2).await,
            When::After => {
                all_are_refused(&other, "mark", "idempotency_outcome_unknown").await;
            }
        }
    }
}

#[tokio::test]
async fn a_kill_while_the_outcome_is_recorded_keeps_it_where_the_store_has_it() {
    for when in [When::Before, When::After] {
        let world = World::start().await;
        let held = world.hold("complete", when);
        let other = killed(&world, Policy::Rerun, held, "x").await;

        match when {
            When::Before => {
                all_are_refused(&other, "x", "idempotency_in_progress").await;
                world.pass(LEASE);
                one_runs(&other, "x", 2).await;
            }
            When::After => {
                assert_eq!(other.ask("k", "x").await, replay("attempt 1"));
                assert_eq!(world.times("started"), 1);
            }
        }
    }
}

#[tokio::test]
async fn a_kill_while_the_key_is_claimed_stands_in_the_way_for_a_lease_at_most() {
    for when in [When::Before, When::After] {
        let world = World::start().await;
        let held = world.hold("claim", when);
        let other = killed(&world, Policy::Rerun, held, "x").await;

        match when {
            When::Before => one_runs(&other, "x", 1).await,
            When::After => {
                all_are_refused(&other, "x", "idempotency_in_progress").await;
                world.pass(LEASE);
                one_runs(&other, "x", 2).await;
            }
        }
        assert_eq!(world.times("started"), 1);
    }
}

#[tokio::test]
async fn a_process_that_was_stopped_past_its_lease_is_fenced_out_and_its_client_is_answered() {
    let world = World::start().await;
    let zombie = Process::start(&world, Policy::Rerun).await;
    let other = Process::start(&world, Policy::Rerun).await;
    let mut held = world.hold("started", When::Before);
    let client = tokio::spawn(zombie.post("k", "x"));
    held.reached().await;
    zombie.signal("-STOP").await;
    world.pass(LEASE);
    one_runs(&other, "x", 2).await;

    held.release();
    zombie.signal("-CONT").await;

    assert_eq!(within(client).await.unwrap(), Some(first("attempt 1")));
    for process in [&zombie, &other] {
        assert_eq!(process.ask("k", "x").await, replay("attempt 2"));
    }
}

#[tokio::test]
async fn a_process_that_was_stopped_past_its_lease_may_end_what_nobody_took_over() {
    let world = World::start().await;
    let zombie = Process::start(&world, Policy::Refuse).await;
    let other = Process::start(&world, Policy::Refuse).await;
    let mut held = world.hold("started", When::Before);
    let client = tokio::spawn(zombie.post("k", "x"));
    held.reached().await;
    zombie.signal("-STOP").await;
    world.pass(LEASE);
    all_are_refused(&other, "x", "idempotency_outcome_unknown").await;

    held.release();
    zombie.signal("-CONT").await;

    assert_eq!(within(client).await.unwrap(), Some(first("attempt 1")));
    assert_eq!(other.ask("k", "x").await, replay("attempt 1"));
}
