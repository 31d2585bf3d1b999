//! Floods of requests: what one of them costs, what others notice, and what is left of them.

use bytes::Bytes;
use tower_idempotency::IdempotencyLayer;

use crate::figures::{cpu_time, grouped, median};
use crate::flood::Flood;
use crate::support::{REQUEST_BYTES, Serves, request, request_body};
use crate::{KNOWN, ROUNDS, beside, context, guarded, latency, latency_columns, latency_head};

/// First requests that those of a flood are compared with.
pub(crate) const FIRSTS: u64 = 20_000;

pub(crate) fn run() {
    let body = request_body(REQUEST_BYTES);
    println!(
        "\nWhat one request of a flood costs, and what {FIRSTS} of them leave (fewer of 2 MiB)\n"
    );
    println!(
        "{:26} {:>6} {:>8} {:>9} {:>7} {:>6} {:>12} {:>12}",
        "", "status", "CPU ns", "first ns", "ratio", "goal", "bytes left", "by records"
    );
    for flood in Flood::ALL {
        let rounds: Vec<_> = (0..ROUNDS).map(|_| cost(flood, &body)).collect();
        let of = |value: fn(&(f64, f64)) -> f64| median(rounds.iter().map(value).collect());
        let (cpu, first, ratio) = (of(|it| it.0), of(|it| it.1), of(|it| it.0 / it.1));
        let (left, by_records) = left_by(flood);
        println!(
            "{:26} {:>6} {:>8} {first:9.0} {ratio:6.2}x {:>6} {left:>12} {by_records:>12}",
            flood.name(),
            flood.status(),
            grouped(cpu as u64),
            if flood.is_refused() { "< 1" } else { "" },
        );
    }

    println!(
        "\nWhat requests with other keys take, alone and beside the flood of another thread\n"
    );
    println!(
        "{:26} {} {:>6} {:>10}",
        "",
        latency_head(),
        "goal",
        "per second"
    );
    for flood in Flood::ALL {
        let context = context();
        let _context = context.enter();
        let Some(others) = flood.others() else {
            let layer = flood.layer();
            let replay = guarded(&layer).serve(request(Some(KNOWN), body.clone()));
            assert_eq!(replay.0, flood.status());
            println!(
                "{:26} nobody with a key is let in, replays neither",
                flood.name()
            );
            continue;
        };
        let mut rates = Vec::new();
        let rounds: Vec<_> = (0..ROUNDS)
            .map(|_| {
                let alone = latency(&flood.layer(), others, &body);
                let layer = flood.layer();
                let measure = || latency(&layer, others, &body);
                let (beside, rate) = beside(|| flood.requests(&layer), measure);
                rates.push(rate);
                (alone, beside)
            })
            .collect();
        println!(
            "{:26} {} {:>6} {:>10}",
            flood.name(),
            latency_columns(&rounds),
            "<= 2",
            grouped(median(rates) as u64)
        );
    }
}

/// CPU nanoseconds of a request of this flood, and of a first request.
fn cost(flood: Flood, body: &Bytes) -> (f64, f64) {
    let context = context();
    let _context = context.enter();
    let of = |requests: &mut dyn FnMut(u64), count: u64| {
        let before = cpu_time();
        (0..count).for_each(requests);
        (cpu_time() - before).as_nanos() as f64 / count as f64
    };
    let layer = flood.layer();
    let of_flood = of(&mut flood.requests(&layer), flood.compared());

    let mut service = guarded(&IdempotencyLayer::default());
    let mut first = |number| {
        let (status, _) = service.serve(request(Some(number), body.clone()));
        assert_eq!(status, 201);
    };
    (of_flood, of(&mut first, FIRSTS))
}

/// The bytes that a flood has allocated and not freed, and by how many its records have become more.
fn left_by(flood: Flood) -> (i64, usize) {
    let context = context();
    let _context = context.enter();
    let layer = flood.layer();
    let mut requests = flood.requests(&layer);
    // What is made once is there before anything is counted.
    (0..flood.compared()).for_each(&mut requests);
    let before = layer.store().bytes();
    let counted = flood.compared()..2 * flood.compared();
    let left = allocation_counter::measure(|| counted.for_each(&mut requests));
    (left.bytes_current, layer.store().bytes() - before)
}
