//! Outcomes that the store does not take, in masses.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tower_idempotency::{IdempotencyLayer, Outcome, StoreErrorKind};

use crate::leaves_nothing;
use crate::scripted::{Fault, Scripted, Verb};
use crate::support::{Answer, Guarded, Handler, plain, send};

const LONG: Duration = Duration::from_secs(60 * 60);
const UNRECORDED: Outcome = Outcome::Executed { recorded: false };

/// A flood over a store that settles nothing, so many at a time; when it settles again, all that was answered is replayed.
fn flood(
    at_a_time: usize,
    most: usize,
    bound: fn(IdempotencyLayer<Arc<Scripted>>) -> IdempotencyLayer<Arc<Scripted>>,
) {
    leaves_nothing(5_000, async |size| {
        let store = Scripted::new();
        let layer = bound(IdempotencyLayer::new(Arc::clone(&store)));
        let handler = Handler::default();
        let service = handler.at_once(&layer);
        store.always(Verb::Complete, Fault::Before(StoreErrorKind::NotApplied));
        let mut answered = Vec::new();
        for first in (0..size).step_by(at_a_time) {
            let answers = ask(&service, first..first + at_a_time).await;
            for (key, answer) in answers {
                match answer.outcome {
                    UNRECORDED => answered.push((key, answer)),
                    _ => assert_eq!(answer.code(), "idempotency_overloaded"),
                }
            }
            let left = layer.drain(Duration::ZERO).await.left;
            assert!(left < most + at_a_time, "{left} are unsettled");
        }
        assert!(
            size < most || answered.len() >= most,
            "{} are answered",
            answered.len()
        );
        assert_eq!(handler.executions() as usize, answered.len());

        store.heal();

        assert_eq!(layer.drain(LONG).await.left, 0);
        assert_eq!(store.memory.len(), answered.len());
        for (key, first) in answered {
            let retry = send(&service, plain(&key, "a")).await;
            assert_eq!((retry.outcome, retry.body), (Outcome::Replayed, first.body));
        }
        assert_eq!(send(&service, plain("more", "a")).await.status, 201);
    });
}

async fn ask(service: &Guarded, keys: std::ops::Range<usize>) -> Vec<(String, Answer)> {
    let requests = keys.map(|key| async move {
        let key = format!("k{key}");
        let answer = send(service, plain(&key, "a")).await;
        (key, answer)
    });
    join_all(requests).await
}

#[test]
fn no_more_are_taken_than_may_be_unsettled() {
    flood(1, 100, |layer| layer.max_unsettled(100));
}

#[test]
fn of_those_that_come_at_once_each_may_be_one_beyond() {
    flood(50, 100, |layer| layer.max_unsettled(100));
}
