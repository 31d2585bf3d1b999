//! Along the number of records that there are.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tower::Layer;
use tower_idempotency::{IdempotencyLayer, MemoryStore};

use crate::figures::{available, grouped};
use crate::support::{REQUEST_BYTES, Serves, function, request, request_body};
use crate::{Axis, cost};

/// Resident bytes of a record, about.
const RECORD: u64 = 800;
/// No store is filled for longer than this.
const PATIENCE: Duration = Duration::from_secs(60);
/// Odd, so that replays visit all records in another order than they were made.
const STRIDE: u64 = 7_368_787;

pub(crate) fn records() -> Axis {
    let body = request_body(REQUEST_BYTES);
    let mut axis = Axis::begin(
        "records",
        &["first", "replay"],
        Some(("replay of first", |round| round[1] / round[0])),
    );
    let mut took = Duration::ZERO;
    for count in [1_000, 10_000, 100_000, 1_000_000, 10_000_000] {
        let (room, needed) = (available(), count * RECORD);
        if needed > room / 10 * 8 {
            println!(
                "{:>14} left out: they need about {} MB, and {} MB are free",
                grouped(count),
                needed >> 20,
                room >> 20
            );
            continue;
        }
        if took * 10 > PATIENCE {
            println!("{:>14} left out: they would take too long", grouped(count));
            continue;
        }
        let began = Instant::now();
        // So many calls that the store hardly grows by them; small ones are made anew each time.
        let calls = (count / 10).clamp(100, 10_000);
        let mut rounds = Vec::new();
        if count < 1_000_000 {
            for _ in 0..if count > 10_000 { 11 } else { 51 } {
                let mut filled = filled(count, &body);
                rounds.push(round(&mut filled, count, count, calls, &body));
            }
        } else {
            let mut filled = filled(count, &body);
            took = began.elapsed();
            for number in 0..11 {
                let next = count + number * calls;
                rounds.push(round(&mut filled, count, next, calls, &body));
            }
        }
        axis.row(count, &rounds);
    }
    axis
}

/// A service whose layer has so many records.
fn filled(count: u64, body: &Bytes) -> impl Serves + use<> {
    let store = MemoryStore::new()
        .max_records(2 * count as usize)
        .max_bytes(usize::MAX);
    let mut service = IdempotencyLayer::new(store).layer(function());
    for number in 0..count {
        let (status, _) = service.serve(request(Some(number), body.clone()));
        assert_eq!(status, 201);
    }
    service
}

/// First requests from this key on, and replays of records that are all over the store.
fn round(service: &mut impl Serves, count: u64, next: u64, calls: u64, body: &Bytes) -> Vec<f64> {
    let mut serve = |number| {
        let (status, _) = service.serve(request(Some(number), body.clone()));
        assert_eq!(status, 201);
    };
    // Few calls are timed by the clock: a thread that has slept, for its CPU time to be told, is slow at first.
    let cost = if calls <= 1_000 { by_clock } else { cost };
    let first = cost(calls, &mut |number| serve(next + number));
    let replay = cost(calls, &mut |number| serve((next + number) * STRIDE % count));
    vec![first, replay]
}

fn by_clock(calls: u64, call: &mut dyn FnMut(u64)) -> f64 {
    let began = Instant::now();
    (0..calls).for_each(call);
    began.elapsed().as_nanos() as f64 / calls as f64
}
