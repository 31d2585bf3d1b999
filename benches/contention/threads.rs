//! CPU time of a request beside other threads, against that of one thread which sends as many.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::sync::Barrier;
use std::task::{Context, Waker};
use std::thread;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::util::service_fn;
use tower::{Layer, Service};
use tower_idempotency::{IdempotencyLayer, RequestBody};

use crate::figures::{cpu_time, median};
use crate::support::{REQUEST_BYTES, Serves, request, request_body};
use crate::{KNOWN, ROUNDS, context, guarded};

/// Of all threads together, so that the store is the same in the end.
const REQUESTS: u64 = 100_000;

#[derive(Clone, Copy, PartialEq)]
enum Keys {
    None,
    /// Each is new.
    New,
    /// Each is replayed once.
    Completed,
    /// One that all replay.
    HotCompleted,
    /// One that all claim while it is in flight.
    HotInFlight,
}

impl Keys {
    const ALL: [Self; 5] = [
        Self::None,
        Self::New,
        Self::Completed,
        Self::HotCompleted,
        Self::HotInFlight,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::None => "no key",
            Self::New => "first, distinct keys",
            Self::Completed => "replay, distinct keys",
            Self::HotCompleted => "replay, one hot key",
            Self::HotInFlight => "in progress, one hot key",
        }
    }

    fn goal(self) -> &'static str {
        match self {
            Self::New => "<= 1.07",
            _ => "",
        }
    }
}

/// Nanoseconds of CPU time for a request.
fn cost(keys: Keys, threads: u64, body: &Bytes) -> f64 {
    let context = context();
    let _context = context.enter();
    let layer = IdempotencyLayer::default();
    let mut before = guarded(&layer);
    let mut serve = |key| before.serve(request(Some(key), body.clone()));
    let mut in_flight = None;
    match keys {
        Keys::None | Keys::New => {}
        Keys::Completed => (0..REQUESTS).for_each(|key| drop(serve(key))),
        Keys::HotCompleted => drop(serve(KNOWN)),
        Keys::HotInFlight => {
            let hanging = service_fn(|_: Request<RequestBody<Full<Bytes>>>| {
                pending::<Result<Response<Full<Bytes>>, Infallible>>()
            });
            let request = request(Some(KNOWN), body.clone());
            let mut first = Box::pin(layer.layer(hanging).call(request));
            let mut cx = Context::from_waker(Waker::noop());
            assert!(first.as_mut().poll(&mut cx).is_pending());
            in_flight = Some(first);
        }
    }

    let all_are_there = Barrier::new(threads as usize);
    let share = REQUESTS / threads;
    let sent = |thread: u64| {
        let _context = context.enter();
        let mut service = guarded(&layer);
        all_are_there.wait();
        let before = cpu_time();
        for number in thread * share..(thread + 1) * share {
            let key = match keys {
                Keys::None => None,
                Keys::New | Keys::Completed => Some(number),
                Keys::HotCompleted | Keys::HotInFlight => Some(KNOWN),
            };
            let (status, _) = service.serve(request(key, body.clone()));
            assert_eq!(status, if keys == Keys::HotInFlight { 409 } else { 201 });
        }
        cpu_time() - before
    };
    let cost = thread::scope(|scope| {
        let sent = &sent;
        let threads: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || sent(thread)))
            .collect();
        let all = threads.into_iter().map(|thread| thread.join().unwrap());
        all.sum::<std::time::Duration>()
    });
    drop(in_flight);
    cost.as_nanos() as f64 / REQUESTS as f64
}

pub(crate) fn run() {
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let body = request_body(REQUEST_BYTES);
    println!("\nCPU time of a request, by threads, on {cores} cores\n");
    println!(
        "{:26} {:>8} {:>8} {:>8} {:>7} {:>8}",
        "", "one, ns", "threads", "each, ns", "ratio", "goal"
    );
    for keys in Keys::ALL {
        for threads in [2, 4, 8, 16] {
            if threads > cores.max(2) {
                continue;
            }
            let rounds: Vec<_> = (0..ROUNDS)
                .map(|_| (cost(keys, 1, &body), cost(keys, threads, &body)))
                .collect();
            let of = |value: fn(&(f64, f64)) -> f64| median(rounds.iter().map(value).collect());
            let (one, each, ratio) = (of(|it| it.0), of(|it| it.1), of(|it| it.1 / it.0));
            println!(
                "{:26} {one:8.0} {threads:8} {each:8.0} {ratio:6.2}x {:>8}",
                keys.name(),
                keys.goal()
            );
        }
    }
}
