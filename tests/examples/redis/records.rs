//! What is recorded, and whom it is for.

use serde_json::json;

use super::{
    CREATE, Redis, SESSION, attempts, create, create_as, executions, is_again, lasting,
    scripts_run, slow, two,
};
use crate::support::Server;

#[tokio::test]
async fn an_answer_replays_from_the_other_process_and_after_every_restart() {
    let redis = lasting().await;
    let (a, b) = two("verifa", &redis.url(), &[]).await;
    let simulate = json!({ "response_bytes": 50_000 });
    let long = json!({ "external_ref": "long", "simulate": simulate }).to_string();

    let first = create(&a, "kept", SESSION).send().await;
    let first_long = create(&a, "long", &*long).send().await;
    let is_kept = async |server: &Server| {
        is_again(
            &create(server, "kept", SESSION).send().await,
            first.is_first(201),
        );
        is_again(
            &create(server, "long", &*long).send().await,
            first_long.is_first(201),
        );
        assert_eq!(server.executions(CREATE).await, 0);
    };
    is_kept(&b).await;

    a.kill().await;
    b.terminate();
    assert_eq!(b.ended().await.status.code(), Some(0));
    let (a, b) = two("verifa", &redis.url(), &[]).await;
    is_kept(&a).await;
    is_kept(&b).await;

    redis.restart().await;
    is_kept(&a).await;
    is_kept(&b).await;
}

#[tokio::test]
async fn another_request_with_the_key_is_refused_by_the_other_process() {
    let redis = Redis::start().await;
    let (a, b) = two("verifa", &redis.url(), &[]).await;
    let running = create(&a, "running", slow(2_000)).send();
    let meanwhile = async {
        a.started(CREATE, 1).await;
        let other = create(&b, "running", SESSION).send().await;
        let same = create(&b, "running", slow(2_000)).send().await;
        (other, same)
    };

    let (running, (other, same)) = tokio::join!(running, meanwhile);
    let later = create(&b, "running", SESSION).send().await;

    running.is_first(201);
    other.refuses(422, "idempotency_mismatch");
    same.refuses(409, "idempotency_in_progress");
    later.refuses(422, "idempotency_mismatch");
    assert_eq!(executions([&a, &b], CREATE).await, 1);
}

#[tokio::test]
async fn another_customer_with_the_key_is_another_one_in_the_other_process() {
    let redis = Redis::start().await;
    let (a, b) = two("verifa", &redis.url(), &[]).await;

    let mine = create_as("vk_mine", &a, "same", SESSION).send().await;
    let theirs = create_as("vk_theirs", &b, "same", SESSION).send().await;
    let mine_again = create_as("vk_mine", &b, "same", SESSION).send().await;
    let theirs_again = create_as("vk_theirs", &a, "same", SESSION).send().await;

    assert_ne!(
        mine.is_first(201).json()["id"],
        theirs.is_first(201).json()["id"]
    );
    is_again(&mine_again, &mine);
    is_again(&theirs_again, &theirs);
    assert_eq!(executions([&a, &b], CREATE).await, 2);
}

#[tokio::test]
async fn who_is_not_known_never_gets_to_redis() {
    let redis = Redis::start().await;
    let (a, _b) = two("verifa", &redis.url(), &[]).await;
    create(&a, "known", SESSION).send().await.is_first(201);
    let before = scripts_run(&redis).await;

    let reply = create_as("nobody", &a, "known", SESSION).send().await;

    reply.refuses(401, "unauthorized");
    assert_eq!(scripts_run(&redis).await, before);
}

#[tokio::test]
async fn what_failed_in_one_process_runs_from_scratch_in_the_other() {
    let redis = Redis::start().await;
    let (a, b) = two("verifa", &redis.url(), &[]).await;
    let failing = |outcome: &str| {
        let simulate = json!({ "outcome": outcome });
        json!({ "external_ref": "failing", "simulate": simulate }).to_string()
    };

    let [error, panic] = [failing("error"), failing("panic")];
    let first = create(&a, "error", &*error).send().await;
    let second = create(&b, "error", &*error).send().await;
    let before = attempts(&b).await;
    let third = create(&a, "panic", &*panic).send().await;
    let fourth = create(&b, "panic", &*panic).send().await;

    for reply in [first, second, third, fourth] {
        reply.refuses(500, "internal_error");
    }
    // What was not kept is forgotten, and who was lost is succeeded.
    assert_eq!((before, attempts(&b).await), (1, 2));
    assert_eq!(executions([&a, &b], CREATE).await, 4);
}

#[tokio::test]
async fn a_delivery_that_one_process_has_taken_is_not_taken_by_the_other() {
    let redis = Redis::start().await;
    let (a, b) = two("verifa", &redis.url(), &[]).await;
    let deliver = async |server: &Server, sent_at: u32| {
        let event =
            json!({ "type": "session.completed", "session_id": "ses_1", "sent_at": sent_at });
        let call = server.post("/webhooks/verifa").json(event.to_string());
        call.send().await
    };

    let first = deliver(&a, 1).await;
    let second = deliver(&b, 2).await;

    is_again(&second, first.is_first(200));
    assert_eq!(executions([&a, &b], "POST /webhooks/verifa").await, 1);
}
