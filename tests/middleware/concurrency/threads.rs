//! The same on several threads: what no scheduler of a test decides.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const REQUESTS: usize = 24;
const ROUNDS: usize = 100;

/// A service that runs one request at a time, and keeps none of their outcomes.
fn alone(layer: &IdempotencyLayer) -> (Handler, Guarded) {
    let (handler, inside) = (Handler::default(), Arc::new(AtomicUsize::new(0)));
    let service = handler.answering(layer, move |_| {
        let inside = Arc::clone(&inside);
        async move {
            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two at a time");
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            inside.fetch_sub(1, Ordering::SeqCst);
            let mut response = created("not kept");
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        }
    });
    (handler, service)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_waits_takes_over_in_the_end_whoever_hangs_up() {
    let layer = IdempotencyLayer::default()
        .in_flight(InFlight::wait(Duration::from_secs(600)))
        .max_waiters_per_key(REQUESTS);
    let (handler, service) = alone(&layer);

    for round in 0..ROUNDS {
        let mut waiting = spawn_many(&service, REQUESTS);
        // The first to come, who are the first to watch.
        for leaving in waiting.drain(..REQUESTS / 3) {
            // At another moment each time.
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
            leaving.abort();
        }

        let answers = tokio::time::timeout(Duration::from_secs(60), all(waiting)).await;

        let answers = answers.expect("somebody waits for ever");
        assert!(answers.iter().all(|answer| answer.text() == "not kept"));
    }

    assert!(handler.executions() as usize >= ROUNDS * REQUESTS * 2 / 3);
    assert_eq!(layer.drain(Duration::from_secs(60)).await.left, 0);
    assert!(layer.store().is_empty());
}
