//! The ratios that the README quotes.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]
#![expect(clippy::print_stdout, reason = "it prints a table")]

#[path = "support/rounds.rs"]
mod rounds;
mod support;

use rounds::{Part, floor, in_turn};
use support::{Around, Case, REQUEST_BYTES, request_body};

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _context = runtime.enter();
    let body = request_body(REQUEST_BYTES);
    for around in Around::ALL {
        let times = in_turn([
            Part::new(move || floor(around)),
            Part::of(Case::Bare, around, &body),
            Part::of(Case::BareWithKey, around, &body),
            Part::of(Case::NotCovered, around, &body),
            Part::of(Case::NoKey, around, &body),
            Part::of(Case::First, around, &body),
            Part::of(Case::Replay, around, &body),
            Part::of(Case::Mismatch, around, &body),
            Part::of(Case::InProgress, around, &body),
            Part::of(Case::Tombstone, around, &body),
        ]);
        let [
            floor,
            bare,
            bare_key,
            not,
            no,
            first,
            replay,
            mismatch,
            busy,
            tomb,
        ] = times;
        println!("{}: {times:.0?}", around.name());
        println!(
            "not covered {:.3} no key {:.3} | first overhead/floor {:.2} | replay/bare {:.2} | mismatch/floor {:.2} 409 {:.2} tomb {:.2}",
            not / bare_key,
            no / bare,
            (first - bare_key) / (floor - bare_key),
            replay / bare_key,
            mismatch / floor,
            busy / floor,
            tomb / floor
        );
    }
}
