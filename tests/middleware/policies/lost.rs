//! Who runs after an owner was lost.

use super::*;
use crate::scripted::{Fault, Scripted, Verb};

#[tokio::test(start_paused = true)]
async fn a_lost_request_runs_again_and_sees_that_it_is_the_second_attempt() {
    for lost in LOST {
        let spy = Spy::new();
        let (service, executions) = losing(&IdempotencyLayer::new(spy.clone()), lost, false);
        lose(&service, lost).await;

        let second = again(&service).await;
        let third = again(&service).await;

        assert_eq!(second.text(), "attempt 2", "{lost:?}");
        assert_eq!(second.outcome, Outcome::Executed { recorded: true });
        assert!(third.is_replay());
        assert_eq!(executions.count(), 2);
        assert_eq!(
            spy.verbs(),
            ["claim", "abandon", "claim", "complete", "claim"]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_request_is_not_run_again_where_the_layer_says_so_until_it_is_forgotten() {
    for lost in LOST {
        let layer = IdempotencyLayer::default().on_lost(OnLost::Refuse);
        let (service, executions) = losing(&layer, lost, false);
        lose(&service, lost).await;

        for _ in 0..3 {
            assert_eq!(
                again(&service).await.code(),
                "idempotency_outcome_unknown",
                "{lost:?}"
            );
            tokio::time::advance(Duration::from_secs(60)).await;
        }
        assert_eq!(executions.count(), 1);
        forget(&layer).await;

        assert_eq!(again(&service).await.text(), "attempt 1");
    }
}

/// A service whose first execution takes a minute and whose lease lapses before that.
fn slow<St: Store>(layer: IdempotencyLayer<St>) -> (Handler, crate::support::Guarded) {
    let layer = layer.lease(6 * SECOND).max_execution(10 * SECOND);
    let handler = Handler::default();
    let counted = handler.clone();
    let service = handler.answering(&layer, move |request| {
        let number = counted.executions();
        async move {
            if number == 1 {
                tokio::time::sleep(60 * SECOND).await;
            }
            let key = request.extensions().get::<Idempotency>().unwrap();
            created(if key.is_lease_lost() {
                "late"
            } else {
                "in time"
            })
        }
    });
    (handler, service)
}

#[tokio::test(start_paused = true)]
async fn an_owner_beyond_its_time_may_still_complete_while_nobody_may_take_over() {
    let (handler, service) = slow(IdempotencyLayer::default().on_lost(OnLost::Refuse));
    let running = tokio::spawn(service.clone().oneshot(keyed("k", "x")));
    tokio::time::sleep(8 * SECOND).await;
    let alive = send(&service, keyed("k", "x")).await;
    tokio::time::sleep(22 * SECOND).await;

    let lapsed = send(&service, keyed("k", "x")).await;
    let late = read(running.await.unwrap().unwrap()).await;

    assert_eq!(alive.outcome, Outcome::InProgress);
    assert_eq!(lapsed.code(), "idempotency_outcome_unknown");
    assert_eq!(late.text(), "late");
    assert_eq!(late.outcome, Outcome::Executed { recorded: true });
    assert!(send(&service, keyed("k", "x")).await.is_replay());
    assert_eq!(handler.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_owner_beyond_its_time_is_fenced_out_by_whoever_took_over() {
    let (handler, service) = slow(IdempotencyLayer::default());
    let running = tokio::spawn(service.clone().oneshot(keyed("k", "x")));
    tokio::time::sleep(30 * SECOND).await;

    let second = send(&service, keyed("k", "x")).await;
    let late = read(running.await.unwrap().unwrap()).await;

    assert_eq!((second.text(), handler.last_attempt()), ("in time", 2));
    assert_eq!(late.text(), "late");
    assert_eq!(late.outcome, Outcome::Executed { recorded: false });
    assert_eq!(send(&service, keyed("k", "x")).await.text(), "in time");
    assert_eq!(handler.executions(), 2);
}

/// Tokio lets no timer fire for a task that has used up its budget, and gives it nothing of a channel.
async fn busy_all_the_time<St: Store>(layer: IdempotencyLayer<St>) {
    let handler = Handler::default();
    let done = Arc::new(AtomicBool::new(false));
    let is_done = Arc::clone(&done);
    let service = handler.answering(&layer, move |_| {
        let is_done = Arc::clone(&is_done);
        async move {
            while !is_done.load(Ordering::SeqCst) {
                tokio::task::consume_budget().await;
            }
            created("done")
        }
    });
    let running = tokio::spawn(service.clone().oneshot(keyed("k", "x")));
    // The runtime is never idle, so that time does not pass by itself.
    for _ in 0..90 {
        settle().await;
        tokio::time::advance(SECOND).await;
    }

    let record = layer.record_key(b"", &Method::POST, PATH, "k");
    let record = layer.store().inspect(&record).await.unwrap();
    done.store(true, Ordering::SeqCst);
    let answer = read(running.await.unwrap().unwrap()).await;

    assert!(record.unwrap().is_live());
    assert_eq!(answer.outcome, Outcome::Executed { recorded: true });
}

#[tokio::test(start_paused = true)]
async fn an_owner_whose_handler_is_busy_all_the_time_keeps_its_lease() {
    busy_all_the_time(IdempotencyLayer::default()).await;
}

#[tokio::test(start_paused = true)]
async fn an_owner_whose_handler_is_busy_keeps_its_lease_in_a_store_that_waits_for_timers_or_tasks()
{
    for fault in [Fault::SlowBefore(SECOND), Fault::Elsewhere] {
        let store = Scripted::new();
        store.always(Verb::Renew, fault);
        store.always(Verb::Complete, fault);
        busy_all_the_time(IdempotencyLayer::new(Arc::clone(&store))).await;
        assert!(store.calls(Verb::Renew) >= 8, "{fault:?}");
    }
}
