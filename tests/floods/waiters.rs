//! Ten thousand requests for one key.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::JoinHandle;
use tower_idempotency::{IdempotencyLayer, InFlight, Outcome, StoreErrorKind};

use crate::leaves_nothing;
use crate::scripted::{Fault, Scripted, Verb};
use crate::support::{Answer, Guarded, Handler, created, plain, send};

const MANY: usize = 10_000;
const HOUR: Duration = Duration::from_secs(60 * 60);

fn world() -> (Arc<Scripted>, IdempotencyLayer<Arc<Scripted>>, Handler) {
    let store = Scripted::new();
    let layer = IdempotencyLayer::new(Arc::clone(&store)).in_flight(InFlight::wait(HOUR));
    (store, layer, Handler::default())
}

fn requests(service: &Guarded, count: usize) -> Vec<JoinHandle<Answer>> {
    let requests = (0..count).map(|_| tokio::spawn(send(service, plain("k", "a"))));
    requests.collect()
}

async fn answers(requests: Vec<JoinHandle<Answer>>) -> Vec<Answer> {
    let answers = join_all(requests).await.into_iter();
    answers.map(|answer| answer.unwrap()).collect()
}

fn count(answers: &[Answer], outcome: Outcome) -> usize {
    let with = answers.iter().filter(|answer| answer.outcome == outcome);
    with.count()
}

/// Returns when everybody waits: the clock stands still until then.
async fn idle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

const RECORDED: Outcome = Outcome::Executed { recorded: true };

#[test]
fn all_are_served_by_one_execution() {
    leaves_nothing(MANY, async |size| {
        let (store, layer, handler) = world();
        let service = handler.held(&layer.clone().max_waiters_per_key(size));
        let requests = requests(&service, size);
        idle().await;
        assert_eq!(
            (store.calls(Verb::Claim), store.calls(Verb::Settled)),
            (size, 1)
        );

        handler.open();
        let answers = answers(requests).await;

        assert_eq!(count(&answers, RECORDED), 1);
        assert_eq!(count(&answers, Outcome::Replayed), size - 1);
        assert_eq!(handler.executions(), 1);
        // One more each, to see what has become of it.
        assert_eq!(store.calls(Verb::Claim), 2 * size - 1);
        assert_eq!(layer.drain(HOUR).await.left, 0);
    });
}

#[test]
fn a_thousand_wait_and_the_others_are_refused_at_once() {
    leaves_nothing(MANY, async |size| {
        let (_, layer, handler) = world();
        let service = handler.held(&layer);
        let requests = requests(&service, size);
        idle().await;
        let refused = size.saturating_sub(1 + 1_000);
        let answered = requests.iter().filter(|request| request.is_finished());
        assert_eq!(answered.count(), refused);

        handler.open();
        let answers = answers(requests).await;

        assert_eq!(count(&answers, Outcome::InProgress), refused);
        assert_eq!(count(&answers, Outcome::Replayed), size - 1 - refused);
        assert_eq!(handler.executions(), 1);
    });
}

/// The first owners end in some other way; then one is kept. Each time exactly one waiter takes over.
fn hands_over(losses: u32, attempt: u32, lose: fn() -> http::Response<crate::support::Body>) {
    leaves_nothing(MANY, async |size| {
        let (_, layer, handler) = world();
        let service = {
            let counted = handler.clone();
            handler.answering(&layer.max_waiters_per_key(size), move |_| {
                let number = counted.executions();
                async move {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    match number {
                        1.. if number <= losses => lose(),
                        _ => created("done"),
                    }
                }
            })
        };

        let requests = requests(&service, size);
        let mut answers = Vec::new();
        for request in requests {
            // One whose handler panicked has no answer.
            answers.extend(request.await.ok());
        }

        assert_eq!(count(&answers, RECORDED), 1);
        assert_eq!(
            count(&answers, Outcome::Replayed),
            size - 1 - losses as usize
        );
        assert_eq!(
            (handler.executions(), handler.last_attempt()),
            (losses + 1, attempt)
        );
    });
}

#[test]
fn of_those_that_wait_for_a_freed_key_one_takes_over() {
    hands_over(5, 1, || {
        let mut failed = created("failed");
        *failed.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
        failed
    });
}

#[test]
fn of_those_that_wait_for_a_handler_that_panics_one_takes_over() {
    hands_over(5, 6, || std::panic::resume_unwind(Box::new("lost")));
}

#[test]
fn of_those_that_wait_for_an_owner_that_dies_one_takes_over() {
    leaves_nothing(MANY, async |size| {
        let (store, layer, handler) = world();
        let layer = layer.max_waiters_per_key(size).settle_for(Duration::ZERO);
        let service = handler.at_once(&layer);
        // Its process is gone: it neither settles nor renews.
        for verb in [Verb::Complete, Verb::Renew] {
            store.always(verb, Fault::Before(StoreErrorKind::NotApplied));
        }
        assert_eq!(send(&service, plain("k", "a")).await.status, 201);
        assert_eq!(layer.drain(HOUR).await.left, 0);
        store.heal();

        let answers = answers(requests(&service, size)).await;

        assert_eq!(count(&answers, RECORDED), 1);
        assert_eq!(count(&answers, Outcome::Replayed), size - 1);
        assert_eq!((handler.executions(), handler.last_attempt()), (2, 2));
    });
}

#[test]
fn those_who_hang_up_leave_their_places_to_others() {
    leaves_nothing(MANY, async |size| {
        let (_, layer, handler) = world();
        let service = handler.held(&layer.max_waiters_per_key(size / 2).max_waiters(size / 2));
        let first = requests(&service, 1);
        idle().await;
        for _ in 0..4 {
            let waiting = requests(&service, size / 2);
            idle().await;
            assert!(waiting.iter().all(|request| !request.is_finished()));
            waiting.iter().for_each(JoinHandle::abort);
            idle().await;
        }
        let last = requests(&service, size / 2);
        idle().await;

        handler.open();

        assert_eq!(count(&answers(last).await, Outcome::Replayed), size / 2);
        assert_eq!(count(&answers(first).await, RECORDED), 1);
        assert_eq!(handler.executions(), 1);
    });
}
