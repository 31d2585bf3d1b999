//! Concurrency limits, buffers and load shedding inside the layer.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tower::buffer::Buffer;
use tower::limit::ConcurrencyLimit;
use tower::load_shed::LoadShed;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_idempotency::{IdempotencyLayer, InFlight, MemoryStore, Outcome, Store};

use super::{Inner, WAIT, is_abandoned, is_ready, record_key, waiting};
use crate::support::{Answer, Handler, created, keyed, send, settle};

/// The answers to requests that must all end.
async fn answers(requests: Vec<JoinHandle<Answer>>) -> Vec<Answer> {
    let answers = tokio::time::timeout(Duration::from_secs(60 * 60), try_join_all(requests));
    answers.await.expect("they end").unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_the_layer_keeps_no_permit() {
    let (handler, layer) = (Handler::default(), IdempotencyLayer::default());
    let mut service = layer.layer(ConcurrencyLimit::new(handler.bare(), 1));

    for (name, request, outcome) in [
        (
            "first",
            keyed("k", "a"),
            Outcome::Executed { recorded: true },
        ),
        ("replay", keyed("k", "a"), Outcome::Replayed),
        ("mismatch", keyed("k", "b"), Outcome::Mismatch),
        ("refusal", keyed("\"", "a"), Outcome::Refused),
    ] {
        let mut future = pin!(service.ready().await.unwrap().call(request));
        assert!(
            !is_ready(&mut service),
            "{name}: the request holds the permit"
        );

        // Neither the future nor the response is dropped before the permit is asked for.
        let response = poll_fn(|cx| future.as_mut().poll(cx)).await.unwrap();

        assert!(is_ready(&mut service), "{name}");
        assert_eq!(Outcome::of(response.extensions()), outcome, "{name}");
    }
    assert_eq!(handler.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_unrelated_key_is_admitted_as_soon_as_the_owner_ends() {
    let (handler, layer) = (Handler::default(), waiting());
    let service = layer.layer(ConcurrencyLimit::new(handler.bare_held(), 1));
    let owner = tokio::spawn(send(&service, keyed("k", "a")));
    settle().await;
    let waiters: Vec<_> = (0..10)
        .map(|_| tokio::spawn(send(&service, keyed("k", "a"))))
        .collect();
    settle().await;
    let unrelated = tokio::spawn(send(&service, keyed("unrelated", "a")));
    settle().await;
    assert_eq!(handler.executions(), 1);
    let before = Instant::now();

    handler.open();
    settle().await;

    assert_eq!(handler.executions(), 2, "the unrelated key runs");
    assert!(owner.is_finished() && waiters.iter().all(JoinHandle::is_finished));
    assert_eq!(before.elapsed(), Duration::ZERO);
    handler.open();
    assert_eq!(unrelated.await.unwrap().text(), "execution 2");
    for waiter in answers(waiters).await {
        assert!(waiter.is_replay() && waiter.text() == "execution 1");
    }
}

#[tokio::test(start_paused = true)]
async fn waiters_keep_no_permit_while_the_owner_runs() {
    let (handler, layer) = (Handler::default(), waiting());
    let service = layer.layer(ConcurrencyLimit::new(handler.bare_held(), 2));
    let owner = tokio::spawn(send(&service, keyed("k", "a")));
    settle().await;
    let waiters: Vec<_> = (0..10)
        .map(|_| tokio::spawn(send(&service, keyed("k", "a"))))
        .collect();
    settle().await;

    let unrelated = tokio::spawn(send(&service, keyed("unrelated", "a")));
    settle().await;

    assert_eq!(
        handler.executions(),
        2,
        "the unrelated key runs beside the owner"
    );
    assert!(!waiters.iter().any(JoinHandle::is_finished));
    handler.open();
    settle().await;
    handler.open();
    assert_eq!(owner.await.unwrap().text(), "execution 1");
    assert_eq!(unrelated.await.unwrap().text(), "execution 2");
    for waiter in answers(waiters).await {
        assert!(waiter.is_replay());
    }
    assert_eq!(handler.executions(), 2);
}

#[tokio::test(start_paused = true)]
async fn waiters_for_the_owner_of_another_process_keep_no_permit() {
    let store = Arc::new(MemoryStore::default());
    let process = |handler: &Handler| {
        let layer = IdempotencyLayer::new(Arc::clone(&store)).in_flight(InFlight::wait(WAIT));
        layer.layer(ConcurrencyLimit::new(handler.bare_held(), 1))
    };
    let (theirs, ours) = (Handler::default(), Handler::default());
    let (elsewhere, here) = (process(&theirs), process(&ours));
    let owner = tokio::spawn(send(&elsewhere, keyed("k", "a")));
    settle().await;
    let waiters: Vec<_> = (0..10)
        .map(|_| tokio::spawn(send(&here, keyed("k", "a"))))
        .collect();
    settle().await;
    let before = Instant::now();

    let unrelated = tokio::spawn(send(&here, keyed("unrelated", "a")));
    settle().await;

    assert_eq!((theirs.executions(), ours.executions()), (1, 1));
    assert_eq!(before.elapsed(), Duration::ZERO);
    theirs.open();
    // The waiters come back for their answers while the only permit is taken: they need none.
    for waiter in answers(waiters).await {
        assert!(waiter.is_replay());
    }
    assert!(before.elapsed() < Duration::from_secs(1));
    assert!(!unrelated.is_finished());
    ours.open();
    assert_eq!(unrelated.await.unwrap().text(), "execution 1");
    assert_eq!(owner.await.unwrap().status, 201);
}

#[tokio::test(start_paused = true)]
async fn of_ten_waiters_one_takes_over_within_the_limit() {
    let (handler, layer) = (Handler::default(), waiting());
    let counting = handler.clone();
    let fails_first = service_fn(move |request: Inner| {
        let (handler, number) = (counting.clone(), counting.begin(request.extensions()));
        async move {
            if number == 1 {
                handler.opened().await;
            } else {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            let mut response = created(&format!("execution {number}"));
            if number == 1 {
                *response.status_mut() = http::StatusCode::BAD_GATEWAY;
            }
            Ok::<_, Infallible>(response)
        }
    });
    let service = layer.layer(ConcurrencyLimit::new(fails_first, 2));
    let owner = tokio::spawn(send(&service, keyed("k", "a")));
    settle().await;
    let waiters: Vec<_> = (0..10)
        .map(|_| tokio::spawn(send(&service, keyed("k", "a"))))
        .collect();
    settle().await;

    handler.open();

    assert_eq!(owner.await.unwrap().status, 502);
    let answers = answers(waiters).await;
    assert!(
        answers
            .iter()
            .all(|it| it.status == 201 && it.text() == "execution 2")
    );
    assert_eq!(answers.iter().filter(|it| !it.is_replay()).count(), 1);
    assert_eq!(handler.executions(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_buffer_stands_inside() {
    let (handler, layer) = (Handler::default(), waiting());
    let service = layer.layer(Buffer::new(
        ConcurrencyLimit::new(handler.bare_held(), 1),
        1,
    ));

    let owner = tokio::spawn(send(&service, keyed("k", "a")));
    settle().await;
    let waiters: Vec<_> = (0..10)
        .map(|_| tokio::spawn(send(&service, keyed("k", "a"))))
        .collect();
    let unrelated = tokio::spawn(send(&service, keyed("unrelated", "a")));
    settle().await;
    handler.open();
    settle().await;
    handler.open();

    assert_eq!(owner.await.unwrap().status, 201);
    assert_eq!(unrelated.await.unwrap().status, 201);
    for waiter in answers(waiters).await {
        assert!(waiter.is_replay());
    }
    assert_eq!(handler.executions(), 2);
}

#[tokio::test(start_paused = true)]
async fn load_shedding_inside_abandons_and_the_retry_is_attempt_2() {
    let (handler, layer) = (Handler::default(), IdempotencyLayer::default());
    let service = layer.layer(LoadShed::new(ConcurrencyLimit::new(handler.bare_held(), 1)));
    let busy = tokio::spawn(send(&service, keyed("another", "a")));
    settle().await;

    let shed: BoxError = service.clone().oneshot(keyed("k", "a")).await.unwrap_err();
    let record = layer
        .store()
        .inspect(&record_key(&layer))
        .await
        .unwrap()
        .unwrap();
    handler.open();
    assert_eq!(busy.await.unwrap().status, 201);
    let retry = tokio::spawn(send(&service, keyed("k", "a")));
    settle().await;
    handler.open();

    assert!(shed.is::<tower::load_shed::error::Overloaded>());
    assert!(is_abandoned(&record), "{record:?}");
    assert_eq!(retry.await.unwrap().status, 201);
    assert_eq!((handler.executions(), handler.last_attempt()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn load_shedding_outside_sheds_before_anything_is_claimed() {
    let (handler, layer) = (Handler::default(), IdempotencyLayer::default());
    let guarded = layer.layer(ConcurrencyLimit::new(handler.bare_held(), 1));
    let service = LoadShed::new(guarded);
    let busy = tokio::spawn(send(&service, keyed("another", "a")));
    settle().await;

    let shed: BoxError = service.clone().oneshot(keyed("k", "a")).await.unwrap_err();

    assert!(shed.is::<tower::load_shed::error::Overloaded>());
    assert!(
        layer
            .store()
            .inspect(&record_key(&layer))
            .await
            .unwrap()
            .is_none()
    );
    handler.open();
    assert_eq!(busy.await.unwrap().status, 201);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_gets_ready_when_its_lease_is_lost_does_not_start() {
    let layer = waiting().max_execution(Duration::from_secs(20));
    let handler = Handler::default();
    let owner = handler.answering(&layer, {
        let handler = handler.clone();
        move |_| {
            let handler = handler.clone();
            async move {
                handler.opened().await;
                let mut freed = created("");
                *freed.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
                freed
            }
        }
    });
    let permits = Arc::new(tokio::sync::Semaphore::new(1));
    let limited = ConcurrencyLimit::with_semaphore(handler.bare(), Arc::clone(&permits));
    let limited = layer.layer(limited);
    let first = tokio::spawn(send(&owner, keyed("k", "a")));
    settle().await;
    let late = tokio::spawn(send(&limited, keyed("k", "a")));
    settle().await;
    let permit = permits.acquire().await.unwrap();
    handler.open();
    assert_eq!(first.await.unwrap().status, 500);

    tokio::time::sleep(Duration::from_secs(100)).await;
    let successor = send(&handler.at_once(&layer), keyed("k", "a")).await;
    drop(permit);

    assert_eq!(successor.outcome, Outcome::Executed { recorded: true });
    let late = late.await.unwrap();
    assert_eq!(late.code(), "idempotency_in_progress");
    assert_eq!((handler.executions(), handler.last_attempt()), (2, 2));
    assert_eq!(layer.drain(WAIT).await.left, 0);
}
