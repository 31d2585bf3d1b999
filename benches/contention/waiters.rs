//! Many requests that wait for one key: how long until all are answered, what they take meanwhile, and what requests with
//! other keys notice.

use crate::figures::{grouped, median};
use crate::storm::{MANY, Storm, layer, storm};
use crate::support::{REQUEST_BYTES, request_body};
use crate::{Others, ROUNDS, beside, context, latency, latency_columns, latency_head};

/// The first key that is waited for.
const AWAITED: u64 = 1 << 50;

pub(crate) fn run() {
    let body = request_body(REQUEST_BYTES);
    println!("\nRequests that wait for one key, on one thread\n");
    println!(
        "{:>10} {:>12} {:>12} {:>14} {:>12}",
        "waiters", "all wait", "all answered", "of each, ns", "bytes each"
    );
    for count in [100, 1_000, MANY] {
        let runtime = context();
        let storms: Vec<_> = (0..ROUNDS)
            .map(|_| storm(&runtime, &layer(), AWAITED, count, &body))
            .collect();
        let of = |value: fn(&Storm) -> f64| median(storms.iter().map(value).collect());
        let (arrived, answered, bytes) = (
            of(|it| it.arrived.as_secs_f64() * 1e3),
            of(|it| it.answered.as_secs_f64() * 1e3),
            of(|it| it.bytes as f64),
        );
        println!(
            "{:>10} {arrived:9.2} ms {answered:9.2} ms {:>14} {:>12}",
            grouped(count as u64),
            grouped(((arrived + answered) * 1e6) as u64 / count as u64),
            grouped(bytes as u64)
        );
    }

    println!(
        "\nWhat requests with other keys take, alone and beside another thread on which {MANY} come, wait and are answered, again and again\n"
    );
    println!("{:26} {} {:>6}", "", latency_head(), "goal");
    let rounds: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let alone = latency(&layer(), Others::Run, &body);
            let layer = layer();
            let storms = || -> Box<dyn FnMut(u64)> {
                let (runtime, layer, body) = (context(), layer.clone(), body.clone());
                Box::new(move |number| {
                    storm(&runtime, &layer, AWAITED + number, MANY, &body);
                })
            };
            let (beside, _) = beside(storms, || latency(&layer, Others::Run, &body));
            (alone, beside)
        })
        .collect();
    println!(
        "{:26} {} {:>6}",
        "waiters",
        latency_columns(&rounds),
        "<= 2"
    );
}
