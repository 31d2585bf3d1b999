//! Equal requests at the same time: one runs, the others are refused or wait.

mod threads;
mod watching;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use http::{Request, Response, StatusCode};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tower::ServiceExt;
use tower_idempotency::{IdempotencyLayer, InFlight, MemoryStore, OnLost, Outcome, Store};

use crate::scripted::{Fault, Scripted, Verb};
use crate::support::{Answer, Body, Guarded, Handler, created, keyed, poll_once, send, settle};

const WAIT: Duration = Duration::from_secs(5);

fn waiting() -> IdempotencyLayer {
    IdempotencyLayer::default().in_flight(InFlight::wait(WAIT))
}

fn spawn(service: &Guarded, request: Request<Body>) -> JoinHandle<Answer> {
    let service = service.clone();
    tokio::spawn(async move { send(&service, request).await })
}

fn spawn_many(service: &Guarded, count: usize) -> Vec<JoinHandle<Answer>> {
    (0..count)
        .map(|_| spawn(service, keyed("k", "a")))
        .collect()
}

async fn all(tasks: Vec<JoinHandle<Answer>>) -> Vec<Answer> {
    join_all(tasks)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_hundred_simultaneous_requests_one_runs() {
    for _ in 0..20 {
        let (layer, handler) = (IdempotencyLayer::default(), Handler::default());
        let service = handler.at_once(&layer);
        let barrier = Arc::new(tokio::sync::Barrier::new(100));
        let tasks = (0..100).map(|_| {
            let (service, barrier) = (service.clone(), barrier.clone());
            tokio::spawn(async move {
                barrier.wait().await;
                send(&service, keyed("k", "a")).await
            })
        });

        let answers = all(tasks.collect()).await;

        assert_eq!(handler.executions(), 1);
        let executed = Outcome::Executed { recorded: true };
        assert_eq!(
            answers
                .iter()
                .filter(|answer| answer.outcome == executed)
                .count(),
            1
        );
        assert!(answers.iter().all(|answer| match answer.outcome {
            Outcome::Executed { .. } | Outcome::Replayed => answer.text() == "execution 1",
            _ => answer.code() == "idempotency_in_progress",
        }));
    }
}

#[tokio::test(start_paused = true)]
async fn two_keys_do_not_meet() {
    let (layer, handler) = (IdempotencyLayer::default(), Handler::default());
    let service = handler.held(&layer);
    let tasks = vec![
        spawn(&service, keyed("k", "a")),
        spawn(&service, keyed("l", "a")),
    ];
    settle().await;
    handler.open();
    settle().await;
    handler.open();

    assert!(all(tasks).await.iter().all(|answer| answer.status == 201));
    assert_eq!(handler.executions(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_in_progress_is_refused_with_when_to_come_back() {
    let layer = IdempotencyLayer::default().retry_after(Duration::from_secs(7));
    let handler = Handler::default();
    let service = handler.held(&layer);
    let owner = spawn(&service, keyed("k", "a"));
    settle().await;

    let refused = send(&service, keyed("k", "a")).await;

    assert_eq!(
        (refused.status.as_u16(), refused.code().as_str()),
        (409, "idempotency_in_progress")
    );
    assert_eq!(refused.header("retry-after"), Some("7"));
    assert_eq!(refused.outcome, Outcome::InProgress);
    handler.open();
    assert_eq!(owner.await.unwrap().status, 201);
}

#[tokio::test(start_paused = true)]
async fn when_to_come_back_is_at_most_what_is_left_of_the_lease() {
    let store = Scripted::new();
    let layer = IdempotencyLayer::new(Arc::clone(&store))
        .lease(Duration::from_millis(2_500))
        .retry_after(Duration::from_secs(60));
    store.always(Verb::Renew, Fault::SlowBefore(Duration::from_secs(60)));
    let handler = Handler::default();
    let service = handler.held(&layer);
    let _owner = spawn(&service, keyed("k", "a"));
    settle().await;

    assert_eq!(
        send(&service, keyed("k", "a")).await.header("retry-after"),
        Some("3")
    );
    tokio::time::sleep(Duration::from_millis(2_400)).await;
    assert_eq!(
        send(&service, keyed("k", "a")).await.header("retry-after"),
        Some("1")
    );
}

#[tokio::test(start_paused = true)]
async fn rejecting_ignores_the_wait_that_a_client_prefers() {
    let (layer, handler) = (IdempotencyLayer::default(), Handler::default());
    let service = handler.held(&layer);
    let _owner = spawn(&service, keyed("k", "a"));
    settle().await;

    assert_eq!(
        send(&service, preferring("wait=3")).await.code(),
        "idempotency_in_progress"
    );
}

#[tokio::test(start_paused = true)]
async fn every_waiter_gets_the_answer_of_the_owner() {
    let (layer, handler) = (waiting(), Handler::default());
    let service = handler.held(&layer);
    let tasks = spawn_many(&service, 50);
    settle().await;
    handler.open();

    let start = Instant::now();
    let answers = all(tasks).await;

    assert!(
        start.elapsed() < Duration::from_millis(1),
        "woken, not polled"
    );
    assert_eq!(handler.executions(), 1);
    assert_eq!(
        answers.iter().filter(|answer| answer.is_replay()).count(),
        49
    );
    assert!(answers.iter().all(|answer| answer.text() == "execution 1"));
}

#[tokio::test(start_paused = true)]
async fn of_fifty_waiters_exactly_one_takes_over_a_freed_key() {
    let (layer, handler) = (waiting(), Handler::default());
    let service = failing_first(&handler, &layer);
    let tasks = spawn_many(&service, 51);
    settle().await;
    assert_eq!(handler.executions(), 1);
    handler.open();
    settle().await;
    assert_eq!((handler.executions(), handler.finished()), (2, 1));
    handler.open();

    let answers = all(tasks).await;

    assert_eq!((handler.executions(), handler.last_attempt()), (2, 1));
    assert_eq!(
        answers.iter().filter(|answer| answer.status == 500).count(),
        1
    );
    assert_eq!(
        answers.iter().filter(|answer| answer.is_replay()).count(),
        49
    );
    assert_eq!(
        answers
            .iter()
            .filter(|answer| answer.text() == "execution 2")
            .count(),
        50
    );
}

#[tokio::test(start_paused = true)]
async fn a_waiter_takes_over_from_an_owner_that_panics() {
    let (layer, handler) = (waiting(), Handler::default());
    let service = handler.answering(&layer, {
        let handler = handler.clone();
        move |_| {
            let (handler, number) = (handler.clone(), handler.executions());
            async move {
                handler.opened().await;
                assert_ne!(number, 1, "the first attempt fails");
                created("second")
            }
        }
    });
    let owner = tokio::spawn({
        let service = service.clone();
        async move {
            AssertUnwindSafe(send(&service, keyed("k", "a")))
                .catch_unwind()
                .await
        }
    });
    settle().await;
    let waiters = spawn_many(&service, 10);
    settle().await;
    handler.open();
    settle().await;
    handler.open();

    assert!(owner.await.unwrap().is_err());
    assert!(
        all(waiters)
            .await
            .iter()
            .all(|answer| answer.text() == "second")
    );
    assert_eq!((handler.executions(), handler.last_attempt()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_is_told_at_once_that_a_lost_owner_may_not_run_again() {
    let (layer, handler) = (waiting().on_lost(OnLost::Refuse), Handler::default());
    let service = handler.answering(&layer, {
        let handler = handler.clone();
        move |_| {
            let handler = handler.clone();
            async move {
                handler.opened().await;
                panic!("the only attempt fails")
            }
        }
    });
    let owner = tokio::spawn({
        let service = service.clone();
        async move {
            AssertUnwindSafe(send(&service, keyed("k", "a")))
                .catch_unwind()
                .await
        }
    });
    settle().await;
    let waiters = spawn_many(&service, 3);
    settle().await;
    handler.open();

    let answers = all(waiters).await;

    assert!(owner.await.unwrap().is_err());
    assert!(
        answers
            .iter()
            .all(|answer| answer.code() == "idempotency_outcome_unknown")
    );
    assert_eq!(handler.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_takes_over_when_the_lease_lapses() {
    let store = Scripted::new();
    let layer = IdempotencyLayer::new(Arc::clone(&store))
        .lease(Duration::from_secs(3))
        .in_flight(InFlight::wait(WAIT));
    let handler = Handler::default();
    let service = handler.held(&layer);
    // An owner that is never polled again, as in a process that was stopped.
    let mut owner = Box::pin(service.clone().oneshot(keyed("k", "a")));
    assert!(poll_once(&mut owner).is_pending());
    let waiters = spawn_many(&service, 5);
    let start = Instant::now();
    settle().await;
    while handler.executions() < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    assert!(
        (3_000..3_050).contains(&start.elapsed().as_millis()),
        "{:?}",
        start.elapsed()
    );
    handler.open();
    handler.open();
    settle().await;
    handler.open();
    let answers = all(waiters).await;
    assert!(answers.iter().all(|answer| answer.text() == "execution 2"));
    assert_eq!((handler.executions(), handler.last_attempt()), (2, 2));
    // The first owner comes back and is fenced out: its client gets its answer, the record stays.
    handler.open();
    let late = crate::support::read(owner.await.unwrap()).await;
    assert_eq!(
        (late.text(), late.outcome),
        ("execution 1", Outcome::Executed { recorded: false })
    );
    assert_eq!(send(&service, keyed("k", "a")).await.text(), "execution 2");
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_times_out_or_hangs_up_never_harms_the_owner() {
    let (layer, handler) = (waiting(), Handler::default());
    let service = handler.held(&layer);
    let owner = spawn(&service, keyed("k", "a"));
    settle().await;
    let start = Instant::now();

    let late = send(&service, keyed("k", "a")).await;

    assert_eq!(
        (late.code().as_str(), late.header("retry-after")),
        ("idempotency_in_progress", Some("1"))
    );
    assert_eq!(start.elapsed(), WAIT);
    let leaving = spawn(&service, keyed("k", "a"));
    settle().await;
    leaving.abort();
    settle().await;
    assert_eq!(handler.executions(), 1);
    handler.open();
    assert_eq!(
        owner.await.unwrap().outcome,
        Outcome::Executed { recorded: true }
    );
    assert!(send(&service, keyed("k", "a")).await.is_replay());
    assert_eq!(handler.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_shortens_its_wait() {
    let (layer, handler) = (waiting(), Handler::default());
    let service = handler.held(&layer);
    let _owner = spawn(&service, keyed("k", "a"));
    settle().await;

    for (prefer, seconds) in [
        ("wait=2", 2),
        ("wait=0", 0),
        ("respond-async", 0),
        ("wait=1000", 5),
    ] {
        let start = Instant::now();
        let answer = send(&service, preferring(prefer)).await;
        assert_eq!(answer.code(), "idempotency_in_progress", "{prefer}");
        assert_eq!(start.elapsed().as_secs(), seconds, "{prefer}");
    }
}

#[tokio::test(start_paused = true)]
async fn waiters_are_bounded_per_key_and_in_all() {
    let layer = waiting().max_waiters_per_key(2).max_waiters(3);
    let handler = Handler::default();
    let service = handler.held(&layer);
    let owners = [
        spawn(&service, keyed("k", "a")),
        spawn(&service, keyed("l", "a")),
    ];
    settle().await;
    let mut waiters = spawn_many(&service, 2);
    settle().await;

    let start = Instant::now();
    assert_eq!(
        send(&service, keyed("k", "a")).await.code(),
        "idempotency_in_progress"
    );
    waiters.push(spawn(&service, keyed("l", "a")));
    settle().await;
    assert_eq!(
        send(&service, keyed("l", "a")).await.code(),
        "idempotency_in_progress"
    );
    assert!(start.elapsed().is_zero());

    // A place that is given up is free again.
    waiters.pop().unwrap().abort();
    settle().await;
    waiters.push(spawn(&service, keyed("l", "a")));
    settle().await;
    for _ in 0..4 {
        handler.open();
        settle().await;
    }
    assert!(all(waiters).await.iter().all(Answer::is_replay));
    assert!(
        join_all(owners)
            .await
            .into_iter()
            .all(|answer| answer.unwrap().status == 201)
    );
}

#[tokio::test(start_paused = true)]
async fn a_waiting_mismatch_is_told_at_once() {
    let (layer, handler) = (waiting(), Handler::default());
    let service = handler.held(&layer);
    let _owner = spawn(&service, keyed("k", "a"));
    settle().await;
    let start = Instant::now();

    let answer = send(&service, keyed("k", "b")).await;

    assert_eq!(
        (answer.status.as_u16(), start.elapsed()),
        (422, Duration::ZERO)
    );
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_owner_is_succeeded_by_a_waiter_and_fenced_out() {
    let (layer, handler) = (waiting(), Handler::default());
    let service = handler.held(&layer);
    let owner = spawn(&service, keyed("k", "a"));
    settle().await;
    let waiter = spawn(&service, keyed("k", "a"));
    settle().await;
    let key = layer.record_key(b"", &http::Method::POST, crate::support::PATH, "k");

    layer.store().forget(&key, true).await.unwrap();
    settle().await;

    assert_eq!(handler.executions(), 2);
    handler.open();
    assert_eq!(
        owner.await.unwrap().outcome,
        Outcome::Executed { recorded: false }
    );
    handler.open();
    assert_eq!(
        waiter.await.unwrap().outcome,
        Outcome::Executed { recorded: true }
    );
}

/// Held executions, of which the first answers 500.
fn failing_first<St: Store>(handler: &Handler, layer: &IdempotencyLayer<St>) -> Guarded {
    handler.answering(layer, {
        let handler = handler.clone();
        move |_| {
            let (handler, number) = (handler.clone(), handler.executions());
            async move {
                handler.opened().await;
                let mut response: Response<Body> = created(&format!("execution {number}"));
                if number == 1 {
                    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                }
                response
            }
        }
    })
}

fn preferring(prefer: &'static str) -> Request<Body> {
    let mut request = keyed("k", "a");
    request
        .headers_mut()
        .insert("prefer", http::HeaderValue::from_static(prefer));
    request
}
