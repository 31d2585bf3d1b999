//! What records take of memory: bytes of each, what is left of those that expire, and the longest stall while there come to
//! be a million.
//!
//! ```text
//! cargo bench --bench memory              # all
//! cargo bench --bench memory -- records   # one: records, expiry or growth
//! ```
//!
//! Resident bytes are those of the process, before and after, each case in a process of its own; they are made by the whole
//! layer around a service, so that what requests leave behind in the allocator is in them. Expiry and growth are those of
//! the store alone: a claim and its completion. Its clock is the benchmark's there, no time passes by itself.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]
#![expect(clippy::print_stdout, reason = "it prints tables")]

mod expiry;
#[path = "../support/figures.rs"]
mod figures;
mod growth;
#[path = "../support/headers.rs"]
mod headers;
mod records;
#[path = "../support/mod.rs"]
mod support;

use std::env;
use std::time::Duration;

use bytes::Bytes;
use tower_idempotency::{
    Claim, ClaimId, ClaimRequest, Completed, Fingerprint, MemoryStore, Owner, RecordKey, Settled,
    Store,
};

use support::now;

const LEASE: Duration = Duration::from_secs(30);

/// Claims and completes a new key with a payload of half a kilobyte.
fn first(store: &MemoryStore, number: u64, retention: Duration, payload: &Bytes) {
    let mut digest = [9; 32];
    digest[..8].copy_from_slice(&number.to_be_bytes());
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    let (key, id) = (
        RecordKey::from_parts([8; 16], digest),
        ClaimId::from_bytes(id),
    );
    let fingerprint = Fingerprint::from_parts(1, [3; 32]);
    let request = ClaimRequest::new(key, id, fingerprint, LEASE, retention);
    let Ok(Claim::Owned(owned)) = now(store.claim(&request)) else {
        panic!("there is no room for {number}")
    };
    let owner = Owner::new(key, owned.fence(), id);
    let completed = Completed::new(payload.clone(), Bytes::from_static(b"t"), retention);
    let settled = now(store.complete(&owner, &completed)).unwrap();
    assert_eq!(settled, Settled::Applied);
}

fn payload() -> Bytes {
    vec![b'r'; support::RESPONSE.len()].into()
}

fn main() {
    // Cargo adds options of its own.
    let named: Vec<String> = env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    if let [part, headers] = &named[..]
        && part == "child"
    {
        return records::child(headers.parse().unwrap());
    }
    let is_wanted = |part: &str| named.is_empty() || named.iter().any(|name| name == part);
    if is_wanted("records") {
        records::run();
    }
    if is_wanted("expiry") {
        expiry::run();
    }
    if is_wanted("growth") {
        growth::run();
    }
}
