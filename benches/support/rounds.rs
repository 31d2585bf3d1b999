//! Times that can be compared: what is compared takes turns, and the best round of each counts. What disturbs a round
//! only ever makes it longer.

use std::time::Instant;

use bytes::Bytes;
use dashmap::DashMap;
use sha2::{Digest, Sha256};

use crate::support::{
    Around, Calls, Case, RECORDS_PER_STORE, REQUEST_BYTES, prepared, request_body,
};

const ROUNDS: u64 = 300;
const CALLS: u64 = 500;

/// What takes part: made anew before its store grows large.
pub(crate) struct Part {
    make: Box<dyn Fn() -> Calls>,
    calls: Calls,
    done: u64,
    best: f64,
}

impl Part {
    pub(crate) fn new(make: impl Fn() -> Calls + 'static) -> Self {
        Self {
            calls: make(),
            make: Box::new(make),
            done: 0,
            best: f64::INFINITY,
        }
    }

    pub(crate) fn of(case: Case, around: Around, body: &Bytes) -> Self {
        let body = body.clone();
        Self::new(move || prepared(case, around, &body))
    }

    /// Nanoseconds of one call, in the best round.
    pub(crate) fn best(self) -> f64 {
        self.best
    }

    fn round(&mut self, calls: u64) {
        if self.done + calls > RECORDS_PER_STORE {
            self.calls = (self.make)();
            self.done = 0;
        }
        let start = Instant::now();
        (self.done..self.done + calls).for_each(&mut self.calls);
        let each = start.elapsed().as_nanos() as f64 / calls as f64;
        self.done += calls;
        self.best = self.best.min(each);
    }
}

/// Nanoseconds of one call of each part.
pub(crate) fn in_turn<const N: usize>(mut parts: [Part; N]) -> [f64; N] {
    in_turn_of(ROUNDS, CALLS, &mut parts);
    parts.map(Part::best)
}

/// The same with other numbers of rounds, and of calls in each.
pub(crate) fn in_turn_of(rounds: u64, calls: u64, parts: &mut [Part]) {
    for _ in 0..rounds {
        parts.iter_mut().for_each(|part| part.round(calls));
    }
}

/// What a first request cannot do without: the bare call, one SHA-256 over the request, and a map entry that is made
/// and found again.
pub(crate) fn floor(around: Around) -> Calls {
    let (map, body) = (DashMap::<[u8; 32], u64>::new(), request_body(REQUEST_BYTES));
    let mut bare = prepared(Case::BareWithKey, around, &body);
    Box::new(move |number| {
        let mut prefix = [7; 64];
        prefix[..8].copy_from_slice(&number.to_le_bytes());
        let hash = Sha256::new_with_prefix(prefix).chain_update(&body);
        let digest: [u8; 32] = hash.finalize().into();
        map.insert(digest, number);
        bare(number);
        *map.get_mut(&digest).unwrap() += 1;
    })
}
