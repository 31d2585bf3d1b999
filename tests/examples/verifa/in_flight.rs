//! While the first request is running, and when its client or its handler is gone.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout};

use super::{CREATE, SESSION, create, create_settled, failing, raw_create, slow, verifa};
use crate::support::{Reply, eventually};

#[tokio::test]
async fn a_retry_that_comes_too_soon_is_told_when_to_come_back() {
    let server = verifa(&[]).await;
    let first = create(&server, "slow", slow(2_000)).send();
    let too_soon = async {
        server.started(CREATE, 1).await;
        let reply = create(&server, "slow", slow(2_000)).send().await;
        let other = create(&server, "slow", SESSION).send().await;
        // Who rejects does not wait, whatever the client prefers.
        let begin = Instant::now();
        let patient = create(&server, "slow", slow(2_000))
            .header("prefer", "wait=20")
            .send()
            .await;
        (reply, other, patient, begin.elapsed())
    };

    let (first, (reply, other, patient, waited)) = tokio::join!(first, too_soon);

    reply.refuses(409, "idempotency_in_progress");
    assert_eq!(reply.header("retry-after"), Some("1"));
    other.refuses(422, "idempotency_mismatch");
    patient.refuses(409, "idempotency_in_progress");
    assert!(
        waited < Duration::from_millis(2_000),
        "it waited for {waited:?}"
    );
    create(&server, "slow", slow(2_000))
        .send()
        .await
        .replays(first.is_first(201), "slow");
    assert_eq!(server.executions(CREATE).await, 1);
}

#[tokio::test]
async fn simultaneous_requests_run_once() {
    let server = verifa(&[]).await;
    let requests = (0..20).map(|_| create(&server, "at-once", slow(500)).send());

    let replies = join_all(requests).await;

    assert_eq!(
        replies
            .iter()
            .filter(|reply| reply.status == 201 && !reply.is_replay())
            .count(),
        1
    );
    for reply in replies.iter().filter(|reply| reply.status != 201) {
        reply.refuses(409, "idempotency_in_progress");
    }
    assert_eq!(server.executions(CREATE).await, 1);
}

#[tokio::test]
async fn who_waits_gets_the_first_answer() {
    let server = verifa(&[("IN_FLIGHT", "wait:20")]).await;
    let requests = (0..20).map(|number| {
        let call = create(&server, "at-once", slow(500));
        if number % 2 == 0 {
            call.send()
        } else {
            call.http2(&server).send()
        }
    });

    let replies = join_all(requests).await;

    let (replays, first): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.is_replay());
    assert_eq!((first.len(), replays.len()), (1, 19));
    first[0].is_first(201);
    for replay in replays {
        replay.replays(first[0], "at-once");
    }
    assert_eq!(server.executions(CREATE).await, 1);
}

#[tokio::test]
async fn a_client_may_wait_for_a_shorter_time() {
    let server = verifa(&[("IN_FLIGHT", "wait:20")]).await;
    let first = create(&server, "slow", slow(2_000)).send();
    let impatient = async {
        server.started(CREATE, 1).await;
        let begin = Instant::now();
        let reply = create(&server, "slow", slow(2_000))
            .header("prefer", "wait=0")
            .send()
            .await;
        (reply, begin.elapsed())
    };

    let (first, (reply, waited)) = tokio::join!(first, impatient);

    first.is_first(201);
    reply.refuses(409, "idempotency_in_progress");
    assert!(waited < Duration::from_secs(2), "it waited for {waited:?}");
}

#[tokio::test]
async fn the_server_waits_no_longer_than_it_was_told() {
    let server = verifa(&[("IN_FLIGHT", "wait:1")]).await;
    let first = create(&server, "slow", slow(2_500)).send();
    let waiting = async {
        server.started(CREATE, 1).await;
        let begin = Instant::now();
        let reply = create(&server, "slow", slow(2_500))
            .header("prefer", "wait=20")
            .send()
            .await;
        (reply, begin.elapsed())
    };

    let (first, (reply, waited)) = tokio::join!(first, waiting);

    first.is_first(201);
    reply.refuses(409, "idempotency_in_progress");
    assert!(
        waited >= Duration::from_millis(900),
        "it waited for {waited:?}"
    );
    assert!(
        waited < Duration::from_millis(2_500),
        "it waited for {waited:?}"
    );
}

#[tokio::test]
async fn a_waiter_that_hangs_up_harms_nobody() {
    let server = verifa(&[("IN_FLIGHT", "wait:20")]).await;
    let first = create(&server, "owner", slow(1_500)).send();
    let waiters = async {
        server.started(CREATE, 1).await;
        let leaving = create(&server, "owner", slow(1_500)).send();
        let _ = timeout(Duration::from_millis(200), leaving).await;
        create(&server, "owner", slow(1_500)).send().await
    };

    let (first, waiter) = tokio::join!(first, waiters);

    waiter.replays(first.is_first(201), "owner");
    assert_eq!(server.executions(CREATE).await, 1);
}

#[tokio::test]
async fn a_client_that_hangs_up_finds_its_answer_later() {
    let server = verifa(&[]).await;
    let body = slow(1_500);
    let mut connection = server.connect().await;
    let request = raw_create(server.address, "hang-up", &body);
    connection.write_all(request.as_bytes()).await.unwrap();
    server.started(CREATE, 1).await;

    drop(connection);
    let too_soon = create(&server, "hang-up", &*body).send().await;
    let retry = create_settled(&server, "hang-up", &body).await;

    too_soon.refuses(409, "idempotency_in_progress");
    assert_eq!(retry.status, 201);
    assert!(retry.is_replay(), "{retry:?}");
    assert_eq!(server.executions(CREATE).await, 1);
}

#[tokio::test]
async fn a_stream_that_is_reset_finds_its_answer_later() {
    let server = verifa(&[]).await;
    let body = slow(1_500);
    let first = create(&server, "reset", &*body).http2(&server).send();
    tokio::select! {
        // Dropping the request makes the client reset its stream.
        reply = first => panic!("it was answered: {reply:?}"),
        () = server.started(CREATE, 1) => {}
    }

    let retry = create_settled(&server, "reset", &body).await;

    assert_eq!(retry.status, 201);
    assert!(retry.is_replay(), "{retry:?}");
    assert_eq!(server.executions(CREATE).await, 1);
}

#[tokio::test]
async fn what_was_not_kept_runs_again_from_scratch() {
    let server = verifa(&[]).await;
    let body = failing("error", 1);

    let first = create(&server, "error", &*body).send().await;
    let second = create(&server, "error", &*body).send().await;
    let third = create(&server, "error", &*body).send().await;

    first.refuses(500, "internal_error");
    third.replays(second.is_first(201), "error");
    let ledger = server.get("/_ledger").send().await.json();
    assert_eq!(ledger["executions"][CREATE], 2);
    assert_eq!(ledger["attempts"][CREATE], 1);
}

#[tokio::test]
async fn a_refused_body_leaves_the_key_free() {
    let server = verifa(&[]).await;

    let refused = create(&server, "mended", r#"{"country": "US"}"#)
        .send()
        .await;
    let mended = create(&server, "mended", SESSION).send().await;

    refused.refuses(400, "validation_error");
    mended.is_first(201);
}

#[tokio::test]
async fn a_panic_is_answered_and_the_retry_is_the_second_attempt() {
    let server = verifa(&[]).await;
    let body = failing("panic", 1);

    let first = create(&server, "panic", &*body).send().await;
    let other = create(&server, "panic", SESSION).send().await;
    let second = create(&server, "panic", &*body).send().await;
    let third = create(&server, "panic", &*body).send().await;

    first.refuses(500, "internal_error");
    other.refuses(422, "idempotency_mismatch");
    third.replays(second.is_first(201), "panic");
    let ledger = server.get("/_ledger").send().await.json();
    assert_eq!(ledger["executions"][CREATE], 2);
    assert_eq!(ledger["attempts"][CREATE], 2);
}

#[tokio::test]
async fn nobody_repeats_what_was_lost_where_that_is_refused() {
    let server = verifa(&[("ON_LOST", "refuse")]).await;
    let body = failing("panic", 1);

    let first = create(&server, "panic", &*body).send().await;
    let second = create(&server, "panic", &*body).send().await;

    first.refuses(500, "internal_error");
    second.refuses(409, "idempotency_outcome_unknown");
    assert_eq!(server.executions(CREATE).await, 1);
}

#[tokio::test]
async fn a_waiter_takes_over_from_an_owner_that_failed() {
    let server = verifa(&[("IN_FLIGHT", "wait:20")]).await;
    let simulate = json!({ "delay_ms": 300, "outcome": "error", "times": 1 });
    let body = json!({ "external_ref": "failing", "simulate": simulate }).to_string();
    let requests = (0..10).map(|_| create(&server, "baton", &*body).send());

    let replies = join_all(requests).await;

    let with = |status: u16| replies.iter().filter(move |reply| reply.status == status);
    assert_eq!((with(500).count(), with(201).count()), (1, 9));
    assert_eq!(with(201).filter(|reply| reply.is_replay()).count(), 8);
    assert_eq!(server.executions(CREATE).await, 2);
}

#[tokio::test]
async fn a_key_can_be_used_again_when_it_has_expired() {
    let server = verifa(&[("RETENTION_SECS", "1")]).await;
    let begin = Instant::now();
    let first = create(&server, "short", SESSION).send().await;

    let again = async || {
        let reply = create(&server, "short", SESSION).send().await;
        (!reply.is_replay()).then_some(reply)
    };
    let second = eventually("the key has expired", again).await;

    assert!(
        begin.elapsed() >= Duration::from_secs(1),
        "{:?}",
        begin.elapsed()
    );
    second.is_first(201);
    assert_ne!(second.json()["id"], first.is_first(201).json()["id"]);
    assert_eq!(server.executions(CREATE).await, 2);
}

#[tokio::test]
async fn a_lease_is_renewed_while_the_handler_runs() {
    let server = verifa(&[("LEASE_SECS", "1"), ("RETENTION_SECS", "1")]).await;
    let first = create(&server, "long", slow(2_500)).send();
    let retries = async {
        server.started(CREATE, 1).await;
        create_settled(&server, "long", &slow(2_500)).await
    };

    let (first, retry) = tokio::join!(first, retries);

    // Whatever the retry found, nothing ran beside the first one.
    first.is_first(201);
    assert_eq!(retry.status, 201);
    let executions = server.executions(CREATE).await;
    assert_eq!(executions, if retry.is_replay() { 1 } else { 2 });
}

#[tokio::test]
async fn an_answer_too_large_to_keep_reaches_its_first_caller() {
    let server = verifa(&[]).await;
    let body = |bytes: u64| {
        let simulate = json!({ "response_bytes": bytes });
        json!({ "external_ref": "large", "simulate": simulate }).to_string()
    };

    let kept = create(&server, "kept", body(100_000)).send().await;
    let replay = create(&server, "kept", body(100_000)).send().await;
    let large = create(&server, "large", body(3 << 20)).send().await;
    let retry = create(&server, "large", body(3 << 20)).send().await;

    let padding = |reply: &Reply| reply.json()["padding"].as_str().map(str::len);
    assert_eq!(padding(kept.is_first(201)), Some(100_000));
    replay.replays(&kept, "kept");
    assert_eq!(padding(large.is_first(201)), Some(3 << 20));
    retry.refuses(409, "idempotency_response_unavailable");
    assert_eq!(server.executions(CREATE).await, 2);
}
