//! How figures are taken and put together.

#![allow(
    dead_code,
    reason = "every benchmark includes this file and uses a part of it"
)]

use std::fs;
use std::thread;
use std::time::Duration;

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// So many per thousand of the values, which are sorted, are at most this.
pub(crate) fn per_mille(sorted: &[u32], part: usize) -> f64 {
    f64::from(sorted[(sorted.len() * part / 1_000).min(sorted.len() - 1)])
}

/// The CPU time of this thread. What the machine does beside is not in it.
pub(crate) fn cpu_time() -> Duration {
    // The kernel adds up a thread's time when it stops.
    thread::sleep(Duration::from_millis(1));
    let [nanoseconds, _] = numbers(SCHEDSTAT, "");
    Duration::from_nanos(nanoseconds)
}

/// How long this thread has waited for a core.
pub(crate) fn waited() -> Duration {
    let [_, nanoseconds] = numbers(SCHEDSTAT, "");
    Duration::from_nanos(nanoseconds)
}

const SCHEDSTAT: &str = "/proc/thread-self/schedstat";

/// Bytes of this process that are in memory.
pub(crate) fn resident() -> u64 {
    let [kibibytes] = numbers("/proc/self/status", "VmRSS:");
    kibibytes << 10
}

/// Bytes of memory that may be taken without pushing anything out.
pub(crate) fn available() -> u64 {
    let [kibibytes] = numbers("/proc/meminfo", "MemAvailable:");
    kibibytes << 10
}

/// The first numbers of the first line that begins so.
fn numbers<const N: usize>(path: &str, begins: &str) -> [u64; N] {
    let Ok(text) = fs::read_to_string(path) else {
        panic!("{path} cannot be read: this benchmark needs Linux")
    };
    let line = text.lines().find_map(|line| line.strip_prefix(begins));
    let line = line.unwrap_or_default();
    let mut numbers = line.split_whitespace().map(str::parse);
    [(); N].map(|()| match numbers.next() {
        Some(Ok(number)) => number,
        _ => panic!("{path} is not of the expected form"),
    })
}

/// A number with a comma between thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
