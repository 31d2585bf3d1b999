//! What no layer can do without, and what the goals are ratios of: a hash over the request, a map entry, a box, a look
//! at the clock, the bare call.
//!
//! ```text
//! cargo bench --bench floors
//! ```
//!
//! The floor of a first request is the bare call, one SHA-256 over the request and a map entry that is made and found
//! again. Parts take turns, the best round of each counts; read the figures as ratios within one run.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]
#![expect(clippy::print_stdout, reason = "it prints a table")]

#[path = "support/rounds.rs"]
mod rounds;
mod support;

use std::hint::black_box;
use std::pin::Pin;
use std::time::Instant;

use dashmap::DashMap;
use rounds::{Part, floor, in_turn};
use sha2::{Digest, Sha256};
use support::{Around, Calls, Case, REQUEST_BYTES, request_body, runtime};

fn main() {
    let runtime = runtime();
    let _context = runtime.enter();
    let body = request_body(REQUEST_BYTES);
    let of = |case, around| Part::of(case, around, &body);

    let parts = [
        ("SHA-256 of 256 B", Part::new(sha_256)),
        (
            "SHA-256 of 256 B and a prefix of 64 B",
            Part::new(sha_256_with_prefix),
        ),
        ("DashMap, an entry made", Part::new(map_insert)),
        ("DashMap, an entry found among 1,000", Part::new(map_get)),
        ("Box::pin of a future of 1 KiB", Part::new(boxed)),
        ("Instant::now", Part::new(clock)),
        ("bare service_fn", of(Case::Bare, Around::Function)),
        (
            "bare service_fn, with a key",
            of(Case::BareWithKey, Around::Function),
        ),
        ("bare Router", of(Case::Bare, Around::Router)),
        (
            "bare Router, with a key",
            of(Case::BareWithKey, Around::Router),
        ),
        (
            "the floor of a first request",
            Part::new(|| floor(Around::Function)),
        ),
    ];
    let names = parts.each_ref().map(|(name, _)| *name);
    let times = in_turn(parts.map(|(_, part)| part));
    let floor = times[times.len() - 1];
    for (name, time) in names.iter().zip(times) {
        println!("{name:38} {time:7.0} ns {:6.2} of the floor", time / floor);
    }
}

fn sha_256() -> Calls {
    let body = request_body(REQUEST_BYTES);
    Box::new(move |_| {
        black_box(Sha256::digest(black_box(&body)));
    })
}

fn sha_256_with_prefix() -> Calls {
    let body = request_body(REQUEST_BYTES);
    Box::new(move |number| {
        let hash = Sha256::new_with_prefix(prefix(number));
        black_box(hash.chain_update(black_box(&body)).finalize());
    })
}

fn prefix(number: u64) -> [u8; 64] {
    let mut prefix = [7; 64];
    prefix[..8].copy_from_slice(&number.to_le_bytes());
    prefix
}

fn map_insert() -> Calls {
    let map = DashMap::<[u8; 64], u64>::new();
    Box::new(move |number| {
        map.insert(black_box(prefix(number)), number);
    })
}

fn map_get() -> Calls {
    let map: DashMap<[u8; 64], u64> = (0..1_000).map(|number| (prefix(number), number)).collect();
    Box::new(move |number| {
        black_box(map.get(&prefix(number % 1_000)).map(|entry| *entry));
    })
}

fn boxed() -> Calls {
    Box::new(|_| {
        let held = black_box([0_u8; 1024]);
        let future: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async move {
            std::future::pending::<()>().await;
            black_box(held);
        });
        drop(black_box(future));
    })
}

fn clock() -> Calls {
    Box::new(|_| {
        black_box(Instant::now());
    })
}
