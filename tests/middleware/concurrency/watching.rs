//! Who watches the store for the others, and what becomes of them when nobody does.

use std::task::Poll;

use super::*;

#[tokio::test(start_paused = true)]
async fn one_waiter_watches_the_store_and_the_next_inherits_it() {
    let store = Scripted::new();
    let layer = IdempotencyLayer::new(Arc::clone(&store))
        .in_flight(InFlight::wait(Duration::from_secs(20)));
    let handler = Handler::default();
    let service = handler.held(&layer);
    let owner = spawn(&service, keyed("k", "a"));
    settle().await;
    let mut waiters = spawn_many(&service, 30);
    settle().await;
    assert_eq!(store.calls(Verb::Settled), 1);

    waiters.remove(0).abort();
    settle().await;

    assert_eq!(store.calls(Verb::Settled), 2);
    handler.open();
    assert!(all(waiters).await.iter().all(Answer::is_replay));
    assert_eq!(owner.await.unwrap().status, 201);
    assert_eq!(store.calls(Verb::Settled), 2);
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_times_out_passes_the_watch_on() {
    let store = Scripted::new();
    let layer = IdempotencyLayer::new(Arc::clone(&store))
        .in_flight(InFlight::wait(Duration::from_secs(20)));
    let handler = Handler::default();
    let service = handler.held(&layer);
    let owner = spawn(&service, keyed("k", "a"));
    settle().await;
    let short = spawn(&service, preferring("wait=1"));
    settle().await;
    let claims = store.calls(Verb::Claim);
    let waiters = spawn_many(&service, 10);

    assert_eq!(short.await.unwrap().code(), "idempotency_in_progress");
    settle().await;

    assert_eq!(store.calls(Verb::Settled), 2);
    assert_eq!(
        store.calls(Verb::Claim),
        claims + 11,
        "one last claim of the one that went; the others wait on without"
    );
    handler.open();
    assert!(all(waiters).await.iter().all(Answer::is_replay));
    assert_eq!(owner.await.unwrap().status, 201);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_calls_too_early_is_not_claimed_from_in_a_loop() {
    let store = Scripted::new();
    store.always(Verb::Settled, Fault::Early);
    let layer = IdempotencyLayer::new(Arc::clone(&store)).in_flight(InFlight::wait(WAIT));
    let handler = Handler::default();
    let service = handler.held(&layer);
    let owner = spawn(&service, keyed("k", "a"));
    settle().await;

    assert_eq!(
        send(&service, keyed("k", "a")).await.code(),
        "idempotency_in_progress"
    );

    assert!(
        store.calls(Verb::Claim) < 300,
        "{}",
        store.calls(Verb::Claim)
    );
    handler.open();
    assert_eq!(owner.await.unwrap().status, 201);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_hears_late_of_an_earlier_owner_does_not_make_the_others_watch_twice() {
    let store = Scripted::new();
    let layer = IdempotencyLayer::new(Arc::clone(&store)).in_flight(InFlight::wait(WAIT));
    let handler = Handler::default();
    let service = failing_first(&handler, &layer);
    let first = spawn(&service, keyed("k", "a"));
    settle().await;
    store.next(Verb::Claim, Fault::SlowAfter(Duration::from_secs(1)));
    let late = spawn(&service, keyed("k", "a"));
    settle().await;
    handler.open();
    assert_eq!(first.await.unwrap().status, 500);
    let second = spawn(&service, keyed("k", "a"));
    settle().await;
    let waiter = spawn(&service, keyed("k", "a"));
    settle().await;

    tokio::time::sleep(Duration::from_secs(1)).await;
    settle().await;

    assert_eq!(
        (handler.executions(), store.calls(Verb::Settled)),
        (2, 1),
        "one watches the second owner"
    );
    handler.open();
    assert!(all(vec![late, waiter]).await.iter().all(Answer::is_replay));
    assert_eq!(second.await.unwrap().text(), "execution 2");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_while_it_is_watched_has_called_too_early() {
    let store = Scripted::new();
    store.next(Verb::Settled, Fault::Panic);
    let layer = IdempotencyLayer::new(Arc::clone(&store)).in_flight(InFlight::wait(WAIT));
    let handler = Handler::default();
    let service = handler.held(&layer);
    let owner = spawn(&service, keyed("k", "a"));
    settle().await;
    let waiters = spawn_many(&service, 3);
    tokio::time::sleep(Duration::from_secs(1)).await;
    handler.open();

    assert!(all(waiters).await.iter().all(Answer::is_replay));
    assert_eq!(owner.await.unwrap().status, 201);
}

/// Layers that know nothing of each other, as those of two processes.
fn of_one_store() -> [IdempotencyLayer<Arc<MemoryStore>>; 2] {
    let store = Arc::new(MemoryStore::new());
    [(); 2].map(|()| IdempotencyLayer::new(Arc::clone(&store)).in_flight(InFlight::wait(WAIT)))
}

#[tokio::test(start_paused = true)]
async fn behind_a_watcher_that_is_never_polled_again_a_waiter_hears_of_an_owner_beside_it() {
    for fails in [false, true] {
        let (layer, handler) = (waiting(), Handler::default());
        let service = match fails {
            true => failing_first(&handler, &layer),
            false => handler.held(&layer),
        };
        let owner = spawn(&service, keyed("k", "a"));
        settle().await;
        let mut watcher = Box::pin(service.clone().oneshot(keyed("k", "a")));
        assert!(poll_once(&mut watcher).is_pending());
        let waiters = spawn_many(&service, 3);
        settle().await;
        let start = Instant::now();

        handler.open();
        assert_eq!(owner.await.unwrap().status, if fails { 500 } else { 201 });
        settle().await;
        handler.open();
        let answers = all(waiters).await;

        let executed = Outcome::Executed { recorded: true };
        let executed = answers.iter().filter(|answer| answer.outcome == executed);
        assert_eq!(executed.count(), usize::from(fails));
        let replays = answers.iter().filter(|answer| answer.is_replay());
        assert_eq!(replays.count(), 3 - usize::from(fails));
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn behind_a_watcher_that_is_never_polled_again_a_waiter_for_another_process_has_its_answer_at_its_deadline()
 {
    let ([layer, other], handler) = (of_one_store(), Handler::default());
    let service = handler.held(&layer);
    let owner = spawn(&handler.held(&other), keyed("k", "a"));
    settle().await;
    let mut watcher = Box::pin(service.clone().oneshot(keyed("k", "a")));
    assert!(poll_once(&mut watcher).is_pending());
    let waiters = spawn_many(&service, 3);
    settle().await;
    handler.open();
    assert_eq!(owner.await.unwrap().status, 201);
    let start = Instant::now();

    let answers = all(waiters).await;

    assert!(answers.iter().all(Answer::is_replay), "{answers:?}");
    assert_eq!(start.elapsed(), WAIT);
    assert_eq!(handler.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn behind_a_watcher_that_is_never_polled_again_a_waiter_for_another_process_takes_over_at_its_deadline()
 {
    let ([layer, other], handler) = (of_one_store(), Handler::default());
    let service = failing_first(&handler, &layer);
    let owner = spawn(&failing_first(&handler, &other), keyed("k", "a"));
    settle().await;
    let mut watcher = Box::pin(service.clone().oneshot(keyed("k", "a")));
    assert!(poll_once(&mut watcher).is_pending());
    let waiters = spawn_many(&service, 3);
    settle().await;
    handler.open();
    assert_eq!(owner.await.unwrap().status, 500);
    tokio::time::sleep(WAIT).await;
    settle().await;
    assert_eq!(handler.executions(), 2);
    handler.open();

    let answers = all(waiters).await;

    let executed = Outcome::Executed { recorded: true };
    let executed = answers.iter().filter(|answer| answer.outcome == executed);
    assert_eq!((executed.count(), handler.executions()), (1, 2));
    assert!(answers.iter().all(|answer| match answer.outcome {
        Outcome::Executed { .. } | Outcome::Replayed => answer.text() == "execution 2",
        _ => answer.code() == "idempotency_in_progress",
    }));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_times_out_is_told_when_to_come_back_from_now_and_not_from_when_it_came() {
    let layer = waiting()
        .lease(Duration::from_secs(30))
        .retry_after(Duration::from_secs(60));
    let handler = Handler::default();
    let service = handler.held(&layer);
    let owner = spawn(&service, keyed("k", "a"));
    settle().await;

    let at_once = send(&service, preferring("wait=0")).await;
    let late = send(&service, keyed("k", "a")).await;

    assert_eq!(at_once.header("retry-after"), Some("30"));
    assert_eq!(
        (late.code().as_str(), late.header("retry-after")),
        ("idempotency_in_progress", Some("25"))
    );
    assert_eq!(late.outcome, Outcome::InProgress);
    handler.open();
    assert_eq!(owner.await.unwrap().status, 201);
}

#[test]
fn outside_a_runtime_nobody_waits() {
    let (layer, handler) = (waiting(), Handler::default());
    let service = handler.held(&layer);
    let mut owner = Box::pin(service.clone().oneshot(keyed("k", "a")));
    assert!(poll_once(&mut owner).is_pending());
    let mut retry = Box::pin(service.oneshot(keyed("k", "a")));

    let answer = poll_once(&mut retry);

    assert!(matches!(answer, Poll::Ready(Ok(response)) if response.status() == 409));
    handler.open();
    assert!(matches!(poll_once(&mut owner), Poll::Ready(Ok(response)) if response.status() == 201));
}
