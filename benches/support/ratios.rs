//! The ratios that the README quotes.

use std::hint::black_box;
use std::rc::Rc;

use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;
use tower::{Layer, Service};
use tower_idempotency::{IdempotencyLayer, MemoryStore};

use crate::rounds::{Part, floor, in_turn};
use crate::support::{
    Around, Calls, Case, REQUEST_BYTES, collected, function, request, request_body,
};

pub(crate) fn print(runtime: Runtime) {
    let runtime = Rc::new(runtime);
    spawning(&runtime);
    let _context = runtime.enter();
    for around in Around::ALL {
        cases(around);
    }
    large_bodies();
}

fn show(around: &str, case: &str, ratio: f64, of: &str) {
    println!("{around:14} {case:22} {ratio:6.2}  {of}");
}

fn cases(around: Around) {
    let body = request_body(REQUEST_BYTES);
    let part = |case| Part::of(case, around, &body);
    let [
        floor,
        bare,
        with_key,
        not_covered,
        no_key,
        first,
        replay,
        mismatch,
        in_progress,
        tombstone,
    ] = in_turn([
        Part::new(move || floor(around)),
        part(Case::Bare),
        part(Case::BareWithKey),
        part(Case::NotCovered),
        part(Case::NoKey),
        part(Case::First),
        part(Case::Replay),
        part(Case::Mismatch),
        part(Case::InProgress),
        part(Case::Tombstone),
    ]);
    println!(
        "\n{}: bare {bare:.0} ns, with a key {with_key:.0} ns, floor of a first request {floor:.0} ns",
        around.name()
    );
    let show = |case: Case, ratio, of| show(around.name(), case.name(), ratio, of);
    show(Case::NotCovered, not_covered / with_key, "of the bare call");
    show(Case::NoKey, no_key / bare, "of the bare call");
    show(Case::First, first / with_key, "of the bare call");
    show(
        Case::First,
        (first - with_key) / (floor - with_key),
        "of hash and map, over the bare call",
    );
    show(Case::Replay, replay / with_key, "of the bare call");
    for (case, time) in [
        (Case::Mismatch, mismatch),
        (Case::InProgress, in_progress),
        (Case::Tombstone, tombstone),
    ] {
        show(case, time / floor, "of the floor of a first request");
    }
}

/// A request of 1 MiB, against the hash alone.
fn large_bodies() {
    const BYTES: usize = 1 << 20;
    let body = request_body(BYTES);
    let mut parts = [
        Part::new(|| {
            let body = request_body(BYTES);
            Box::new(move |_| {
                black_box(Sha256::digest(black_box(&body)));
            })
        }),
        Part::of(Case::First, Around::Function, &body),
        Part::of(Case::Replay, Around::Function, &body),
    ];
    crate::rounds::in_turn_of(40, 4, &mut parts);
    let [hash, first, replay] = parts.map(Part::best);
    println!("\n1 MiB: SHA-256 {hash:.0} ns");
    show("1 MiB", "first", first / hash, "of SHA-256 alone");
    show("1 MiB", "replay", replay / hash, "of SHA-256 alone");
}

/// The overhead of a first request, against that of a layer that spawns each.
fn spawning(runtime: &Rc<Runtime>) {
    let part = |how: How| {
        let runtime = Rc::clone(runtime);
        Part::new(move || driven(&runtime, how))
    };
    let [bare, ours, spawned] = in_turn([How::Bare, How::AsItIs, How::Spawned].map(part));
    println!("\non a runtime: bare {bare:.0} ns");
    let overhead = (ours - bare) / (spawned - bare);
    show(
        "service_fn",
        "first",
        overhead,
        "of the overhead of always spawning",
    );
}

#[derive(Clone, Copy)]
enum How {
    Bare,
    AsItIs,
    Spawned,
}

fn driven(runtime: &Rc<Runtime>, how: How) -> Calls {
    let runtime = Rc::clone(runtime);
    let body = request_body(REQUEST_BYTES);
    let layer = IdempotencyLayer::new(MemoryStore::new());
    let (mut bare, mut service) = (function(), layer.layer(function()));
    Box::new(move |number| {
        let request = request(Some(number), body.clone());
        runtime.block_on(async {
            let answer = match how {
                How::Bare => collected(bare.call(request).await.unwrap().into_body()).await,
                How::AsItIs => collected(service.call(request).await.unwrap().into_body()).await,
                How::Spawned => {
                    let response = tokio::spawn(service.call(request)).await.unwrap();
                    collected(response.unwrap().into_body()).await
                }
            };
            black_box(answer);
        });
    })
}
