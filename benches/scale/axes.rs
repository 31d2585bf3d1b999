//! Along the sizes of requests and responses, and the number of those who wait.

use std::hint::black_box;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use http_body_util::Full;
use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;
use tower::Layer;
use tower_idempotency::IdempotencyLayer;

use crate::headers::{answering, headers};
use crate::storm::{MANY, layer, storm};
use crate::support::{REQUEST_BYTES, Serves, function, request, request_body};
use crate::{Axis, Ratio, cost};

const ROUNDS: usize = 11;
const CALLS: u64 = 10_000;
/// Bytes that are hashed in a round.
const HASHED: u64 = 16 << 20;
/// Without a layer, and with one.
const CASES: &[&str] = &["bare", "first", "replay"];
const OF_BARE: Ratio = Some(("first of bare", |round| round[1] / round[0]));

/// A round: calls of a service without a layer, then first requests with as many keys on a new store, then their replays.
fn round(
    calls: u64,
    mut bare: impl Serves,
    mut guarded: impl Serves,
    request: impl Fn(u64) -> Request<Full<Bytes>>,
) -> Vec<f64> {
    let served = |service: &mut dyn FnMut(Request<Full<Bytes>>) -> (u16, Bytes)| {
        cost(calls, &mut |number| {
            let (status, body) = service(request(number));
            assert_eq!(status, 201);
            black_box(body);
        })
    };
    let bare = served(&mut |request| bare.serve(request));
    let first = served(&mut |request| guarded.serve(request));
    let replay = served(&mut |request| guarded.serve(request));
    vec![bare, first, replay]
}

/// A request with a key of so many characters.
fn keyed(number: u64, length: usize, body: &Bytes) -> Request<Full<Bytes>> {
    let mut key = vec![b'0'; length];
    let mut left = number;
    for digit in key.iter_mut().rev() {
        *digit = b'0' + (left % 10) as u8;
        left /= 10;
    }
    let mut request = request(None, body.clone());
    let key = HeaderValue::from_bytes(&key).unwrap();
    let name = HeaderName::from_static("idempotency-key");
    request.headers_mut().insert(name, key);
    request
}

pub(crate) fn key_bytes() -> Axis {
    let body = request_body(REQUEST_BYTES);
    let mut axis = Axis::begin("key bytes", CASES, OF_BARE);
    for length in [8, 16, 36, 64, 128, 255] {
        let rounds: Vec<_> = (0..ROUNDS)
            .map(|_| {
                let guarded = IdempotencyLayer::default().layer(function());
                let request = |number| keyed(number, length, &body);
                round(CALLS, function(), guarded, request)
            })
            .collect();
        axis.row(length as u64, &rounds);
    }
    axis
}

pub(crate) fn response_headers() -> Axis {
    let body = request_body(REQUEST_BYTES);
    let mut axis = Axis::begin("headers", CASES, OF_BARE);
    for count in [0, 1, 3, 5, 10, 20, 30] {
        let rounds: Vec<_> = (0..ROUNDS)
            .map(|_| {
                let guarded = IdempotencyLayer::default().layer(answering(headers(count)));
                let request = |number| request(Some(number), body.clone());
                round(CALLS, answering(headers(count)), guarded, request)
            })
            .collect();
        axis.row(count as u64, &rounds);
    }
    axis
}

pub(crate) fn body_bytes() -> Axis {
    let cases = &["bare", "first", "replay", "SHA-256"];
    let of_hash = |round: &[f64]| (round[1] - round[0]) / round[3];
    let mut axis = Axis::begin(
        "body bytes",
        cases,
        Some(("first over bare, of SHA-256", of_hash)),
    );
    for length in [
        256,
        1 << 10,
        4 << 10,
        16 << 10,
        64 << 10,
        256 << 10,
        1 << 20,
    ] {
        let body = request_body(length);
        let calls = (HASHED / length as u64).min(CALLS);
        let rounds: Vec<_> = (0..ROUNDS)
            .map(|_| {
                let guarded = IdempotencyLayer::default().layer(function());
                let request = |number| request(Some(number), body.clone());
                let mut round = round(calls, function(), guarded, request);
                round.push(cost(calls, &mut |_| {
                    black_box(Sha256::digest(black_box(&body)));
                }));
                round
            })
            .collect();
        axis.row(length as u64, &rounds);
    }
    axis
}

/// By the clock, for each of them: from the first that comes to the last that is answered.
pub(crate) fn waiters(runtime: &Runtime) -> Axis {
    let body = request_body(REQUEST_BYTES);
    let mut axis = Axis::begin("waiters", &["each"], None);
    for count in [1, 10, 100, 1_000, MANY] {
        let rounds: Vec<_> = (0..ROUNDS)
            .map(|_| {
                let (layer, storms) = (layer(), (MANY / 10 / count).max(1) as u64);
                let all: f64 = (0..storms)
                    .map(|key| {
                        let storm = storm(runtime, &layer, key, count, &body);
                        (storm.arrived + storm.answered).as_nanos() as f64
                    })
                    .sum();
                vec![all / (storms * count as u64) as f64]
            })
            .collect();
        axis.row(count as u64, &rounds);
    }
    axis
}
