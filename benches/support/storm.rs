//! Many requests that wait for one key.

#![allow(
    dead_code,
    reason = "every benchmark includes this file and uses a part of it"
)]

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tower::util::service_fn;
use tower::{Layer, ServiceExt};
use tower_idempotency::{IdempotencyLayer, InFlight, Outcome, RequestBody};

use crate::support::{RESPONSE, request};

/// As many as may wait for one key here.
pub(crate) const MANY: usize = 10_000;

/// A layer whose requests wait.
pub(crate) fn layer() -> IdempotencyLayer {
    IdempotencyLayer::default()
        .in_flight(InFlight::wait(Duration::from_secs(600)))
        .max_waiters_per_key(MANY)
}

/// What one storm took.
pub(crate) struct Storm {
    /// Until all waited.
    pub(crate) arrived: Duration,
    /// From the end of the first until all were answered.
    pub(crate) answered: Duration,
    /// Bytes for each while they waited.
    pub(crate) bytes: i64,
}

/// So many requests for one key, on a runtime of this thread: the first runs until all others wait for it.
pub(crate) fn storm(
    runtime: &Runtime,
    layer: &IdempotencyLayer,
    key: u64,
    count: usize,
    body: &Bytes,
) -> Storm {
    let gate = Arc::new(Semaphore::new(0));
    let handler = {
        let gate = Arc::clone(&gate);
        move |_: Request<RequestBody<Full<Bytes>>>| {
            let gate = Arc::clone(&gate);
            async move {
                drop(gate.acquire().await);
                let mut response = Response::new(Full::from(Bytes::from_static(&RESPONSE)));
                *response.status_mut() = StatusCode::CREATED;
                Ok::<_, Infallible>(response)
            }
        }
    };
    let service = layer.layer(service_fn(handler));

    let mut requests = Vec::with_capacity(count + 1);
    let began = Instant::now();
    let waiting = Arc::new(AtomicUsize::new(0));
    let allocated = allocation_counter::measure(|| {
        runtime.block_on(async {
            for _ in 0..=count {
                let answer = service.clone().oneshot(request(Some(key), body.clone()));
                requests.push(tokio::spawn(answered(answer, Arc::clone(&waiting))));
            }
            while waiting.load(Ordering::Relaxed) <= count {
                tokio::task::yield_now().await;
            }
        });
    });
    let arrived = began.elapsed();

    let began = Instant::now();
    gate.add_permits(1);
    let answers = runtime.block_on(join_all(requests));
    let replayed = answers
        .into_iter()
        .filter(|outcome| matches!(outcome, Ok(Outcome::Replayed)));
    assert_eq!(replayed.count(), count, "one runs, all others wait for it");
    Storm {
        arrived,
        answered: began.elapsed(),
        bytes: allocated.bytes_current / count as i64,
    }
}

/// What becomes of a request, which says when it begins to wait: with this store it does so at its first poll.
async fn answered<R>(
    answer: impl Future<Output = Result<Response<R>, Infallible>>,
    waiting: Arc<AtomicUsize>,
) -> Outcome
where
    R: Body<Data = Bytes, Error = Infallible>,
{
    let mut answer = pin!(answer);
    let first = poll_fn(|cx| Poll::Ready(answer.as_mut().poll(cx))).await;
    assert!(first.is_pending());
    waiting.fetch_add(1, Ordering::Relaxed);
    let Ok(answer) = answer.await;
    let outcome = Outcome::of(answer.extensions());
    let Ok(body) = answer.into_body().collect().await;
    assert_eq!(body.to_bytes().len(), RESPONSE.len());
    outcome
}
