//! Resident bytes of each of a million records.

use std::env;
use std::process::Command;

use tower::Layer;
use tower_idempotency::{IdempotencyLayer, MemoryStore};

use crate::figures::{grouped, resident};
use crate::headers::{answering, bytes_of, headers};
use crate::support::{REQUEST_BYTES, RESPONSE, Serves, request, request_body, runtime};

const RECORDS: u64 = 1_000_000;
/// A key and a response's body.
const PAYLOAD: f64 = 36.0 + RESPONSE.len() as f64;

pub(crate) fn run() {
    println!(
        "\n{} records: a 36 byte key, a 512 byte response and its headers. Payload is key and body; then with the headers\n",
        grouped(RECORDS)
    );
    println!(
        "{:>7} {:>11} {:>13} {:>10} {:>8} {:>12} {:>12} {:>11}",
        "headers",
        "their bytes",
        "resident each",
        "of payload",
        "goal",
        "with headers",
        "bytes() each",
        "of resident"
    );
    for (count, goal) in [(0, ""), (3, "<= 1.35"), (10, "")] {
        let child = Command::new(env::current_exe().unwrap())
            .args(["child", &count.to_string()])
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&child.stderr);
        assert!(child.status.success(), "{told}");
        let figures: Vec<f64> = String::from_utf8_lossy(&child.stdout)
            .split_whitespace()
            .map(|figure| figure.parse().unwrap())
            .collect();
        let [resident, counted] = figures[..] else {
            panic!("the child told {figures:?}")
        };
        let headers = bytes_of(&headers(count));
        println!(
            "{count:>7} {headers:>11} {resident:>13.0} {:>9.2}x {goal:>8} {:>11.2}x {counted:>12.0} {:>10.2}x",
            resident / PAYLOAD,
            resident / (PAYLOAD + headers as f64),
            counted / resident
        );
    }
}

/// One case, in a process of its own: resident bytes of a record, and those that the store counts.
pub(crate) fn child(count: usize) {
    let runtime = runtime();
    let _context = runtime.enter();
    let body = request_body(REQUEST_BYTES);
    let store = || {
        MemoryStore::new()
            .max_records(RECORDS as usize)
            .max_bytes(usize::MAX)
    };
    let serve = |layer: &IdempotencyLayer, numbers: std::ops::Range<u64>| {
        let mut service = layer.layer(answering(headers(count)));
        for number in numbers {
            let (status, _) = service.serve(request(Some(number), body.clone()));
            assert_eq!(status, 201);
        }
    };
    // What is made once is there before.
    serve(&IdempotencyLayer::new(store()), 0..1_000);
    let layer = IdempotencyLayer::new(store());

    let before = resident();
    serve(&layer, 0..RECORDS);
    let taken = resident() - before;

    assert_eq!(layer.store().len() as u64, RECORDS);
    let counted = layer.store().bytes() as u64;
    println!(
        "{} {}",
        taken as f64 / RECORDS as f64,
        counted as f64 / RECORDS as f64
    );
}
