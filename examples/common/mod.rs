//! What the example servers share, so that each of them is mainly its API.
//!
//! An example brings the form of its errors with it, as `impl IntoResponse for Failure`; that of
//! more than one example is in `flat.rs`.

mod account;
mod api;
mod failure;
mod sandbox;
mod serve;
mod settings;
mod stop;
mod store;
mod watched;

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) use account::Account;
pub(crate) use api::Api;
pub(crate) use failure::{Checked, Failure, catch_panics, unknown_method, unknown_path};
pub(crate) use sandbox::{Payload, Sandbox};
pub(crate) use serve::serve;
pub(crate) use settings::Settings;

/// An id like `ses_5f0c2f1be8a94d37`, never given twice by one process.
///
/// Good enough for a sandbox. Where an id is a secret, take it from the system's random source.
pub(crate) fn new_id(prefix: &str) -> String {
    format!("{prefix}_{:016x}", new_number())
}

/// The number of an id.
pub(crate) fn new_number() -> u64 {
    static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static NEXT: AtomicU64 = AtomicU64::new(0);

    SEED.hash_one(NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The present time as RFC 3339 writes it: `2026-01-31T12:00:00Z`.
pub(crate) fn now() -> String {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);

    // Years begin in March here, so that a leap day is the last day of its year:
    // https://howardhinnant.github.io/date_algorithms.html#civil_from_days
    let days = seconds / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = (month + 2) % 12 + 1;
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}
