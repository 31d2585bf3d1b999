//! What the layer costs around a bare `service_fn`: a 256 B JSON request, a 512 B JSON response, a 36 byte key.
//!
//! ```text
//! cargo bench --bench middleware
//! ```
//!
//! `floor` is what a first request cannot do without: the bare call, one SHA-256 over the request, and a map
//! entry that is made and found again. Read the figures as ratios within one run.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

use std::convert::Infallible;
use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use dashmap::DashMap;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use sha2::{Digest, Sha256};
use tower::util::service_fn;
use tower::{Layer, Service};
use tower_idempotency::{IdempotencyLayer, MemoryStore};

/// So many records are made before the next store takes over, so that no store has to evict.
const RECORDS_PER_STORE: u64 = 50_000;

static REQUEST: [u8; 256] = [b'a'; 256];
static RESPONSE: [u8; 512] = [b'b'; 512];

fn request(key: Option<u128>, body: &'static [u8]) -> Request<Full<Bytes>> {
    let request = Request::post("/v1/charges").header("content-type", "application/json");
    let request = match key {
        Some(key) => request.header("idempotency-key", uuid(key)),
        None => request,
    };
    request.body(Full::from(Bytes::from_static(body))).unwrap()
}

/// 36 characters, as a UUID has them.
fn uuid(key: u128) -> String {
    format!("{key:036}")
}

macro_rules! handler {
    () => {
        service_fn(|request: Request<_>| async move {
            let body = collected(request.into_body()).await;
            black_box(body);
            let response = Response::builder()
                .status(201)
                .header("content-type", "application/json");
            Ok::<_, Infallible>(
                response
                    .body(Full::from(Bytes::from_static(&RESPONSE)))
                    .unwrap(),
            )
        })
    };
}

async fn collected<B: Body<Data = Bytes>>(body: B) -> Bytes {
    let Ok(collected) = body.collect().await else {
        unreachable!("these bodies do not break")
    };
    collected.to_bytes()
}

/// The output of a future that is ready at its first poll, as everything is here.
fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("nothing waits in this benchmark"),
    }
}

fn call<S, B>(service: &mut S, request: Request<Full<Bytes>>) -> Bytes
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes>,
{
    now(async {
        let Ok(response) = service.call(request).await;
        collected(response.into_body()).await
    })
}

fn layer() -> IdempotencyLayer {
    IdempotencyLayer::new(MemoryStore::new())
}

fn middleware(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _context = runtime.enter();
    let mut group = criterion.benchmark_group("middleware");

    group.bench_function("bare", |bencher| {
        let mut service = handler!();
        bencher.iter(|| call(&mut service, request(None, &REQUEST)));
    });
    group.bench_function("bare with key", |bencher| {
        let mut service = handler!();
        bencher.iter(|| call(&mut service, request(Some(7), &REQUEST)));
    });
    group.bench_function("no key", |bencher| {
        let mut service = layer().layer(handler!());
        bencher.iter(|| call(&mut service, request(None, &REQUEST)));
    });
    group.bench_function("floor", |bencher| {
        bencher.iter_custom(|iterations| {
            fresh(iterations, || {
                let map = DashMap::<[u8; 32], u64>::new();
                let mut service = handler!();
                move |number| {
                    let mut hash = Sha256::new();
                    hash.update([7; 64]);
                    hash.update(REQUEST);
                    let mut digest: [u8; 32] = hash.finalize().into();
                    digest[..16].copy_from_slice(&number.to_le_bytes());
                    map.insert(digest, 1);
                    let body = call(&mut service, request(Some(number), &REQUEST));
                    *map.get_mut(&digest).unwrap() += 1;
                    body
                }
            })
        });
    });
    group.bench_function("first", |bencher| {
        bencher.iter_custom(|iterations| {
            fresh(iterations, || {
                let mut service = layer().layer(handler!());
                move |number| call(&mut service, request(Some(number), &REQUEST))
            })
        });
    });
    for (name, body) in [("replay", &REQUEST), ("mismatch", &[b'c'; 256])] {
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            let mut service = layer().layer(handler!());
            call(&mut service, request(Some(7), &REQUEST));
            bencher.iter(|| call(&mut service, request(Some(7), body)));
        });
    }
    group.finish();
}

/// Runs `iterations` with numbers of their own, on state that `make` renews from time to time, unmeasured.
fn fresh<F: FnMut(u128) -> Bytes>(iterations: u64, mut make: impl FnMut() -> F) -> Duration {
    let mut measured = Duration::ZERO;
    let mut done = 0;
    while done < iterations {
        let until = iterations.min(done + RECORDS_PER_STORE);
        let mut run = make();
        let start = Instant::now();
        for number in done..until {
            black_box(run(u128::from(number)));
        }
        measured += start.elapsed();
        done = until;
    }
    measured
}

criterion_group!(benches, middleware);
criterion_main!(benches);
