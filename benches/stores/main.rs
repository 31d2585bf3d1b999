//! What the verbs of a store cost, against bare statements of its server or its file in the same run.
//!
//! ```text
//! cargo bench --bench stores                 # all
//! cargo bench --bench stores -- redis        # one
//! ```
//!
//! Rounds of each kind follow each other in turn, and the median of their ratios is shown. Read the figures as ratios
//! within one run.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]
#![expect(clippy::print_stdout, reason = "it prints a table")]

mod postgres;
#[path = "../../tests/support/processes/mod.rs"]
mod processes;
mod redis;
mod sqlite;

use std::env;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tower_idempotency::{
    Claim, ClaimId, ClaimRequest, Completed, Fingerprint, Owner, RecordKey, Settled, Store,
};

/// A response of half a kilobyte and its headers, in the wire form.
const RECORD: usize = 548;
const TASKS: u64 = 64;
const ROUNDS: usize = 5;
const RETENTION: Duration = Duration::from_secs(24 * 60 * 60);
const LEASE: Duration = Duration::from_secs(30);

fn record_key(number: u64) -> RecordKey {
    let mut key = [9; 32];
    key[..8].copy_from_slice(&number.to_be_bytes());
    RecordKey::from_parts([8; 16], key)
}

fn request(number: u64) -> ClaimRequest {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    let fingerprint = Fingerprint::from_parts(1, [3; 32]);
    ClaimRequest::new(
        record_key(number),
        ClaimId::from_bytes(id),
        fingerprint,
        LEASE,
        RETENTION,
    )
}

/// Claims and completes a new key.
async fn first(store: &impl Store, number: u64, bytes: usize) {
    let Claim::Owned(owned) = store.claim(&request(number)).await.unwrap() else {
        panic!("{number} is new")
    };
    let owner = Owner::new(
        record_key(number),
        owned.fence(),
        request(number).claim_id(),
    );
    let completed = Completed::new(
        vec![b'r'; bytes].into(),
        Bytes::from_static(b"t"),
        RETENTION,
    );
    let settled = store.complete(&owner, &completed).await.unwrap();
    assert_eq!(settled, Settled::Applied);
}

/// Claims a completed key.
async fn replay(store: &impl Store, number: u64) {
    let claim = store.claim(&request(number)).await.unwrap();
    assert!(matches!(claim, Claim::Existing(_)));
}

/// Calls with each number below `calls`, so many at once.
async fn at_once(tasks: u64, calls: u64, call: impl AsyncFn(u64)) {
    let call = &call;
    join_all((0..tasks).map(|task| async move {
        for number in (task..calls).step_by(tasks as usize) {
            call(number).await;
        }
    }))
    .await;
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // Cargo adds options of its own.
    let named: Vec<String> = env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let is_wanted = |store: &str| named.is_empty() || named.iter().any(|name| name == store);
    if is_wanted("postgres") {
        postgres::run().await;
    }
    if is_wanted("redis") {
        redis::run().await;
    }
    if is_wanted("sqlite") {
        sqlite::run().await;
    }
}
