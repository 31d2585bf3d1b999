//! The value of a record: a fixed header, then what the layer has recorded. Integers are big-endian.
//!
//! ```text
//!  0  version      1
//!  1  state        1 in flight, 2 done, 3 released, 4 done and longer than the window
//!  2  flags        bit 0: committed
//!  3  attempt      u32
//!  7  fence        u64
//! 15  claim id     16 bytes
//! 31  deadline     u64, of the lease; once done, when that was
//! 39  first        u64, the first request
//! 47  expires      u64
//! 55  fingerprint  its version, and 32 bytes
//! 88  what is recorded
//! ```
//!
//! Times are milliseconds since 1970 by the server's clock. The scripts beside this file write it; a reader that does not
//! know the version says so, and touches nothing.

use std::time::Duration;

use bytes::{Buf, Bytes};

use crate::fingerprint::Fingerprint;
use crate::key::{Fence, RecordKey};
use crate::store::claim::{ClaimRequest, Owner, Record, State, TakeOver};

/// Bytes before what is recorded.
pub(super) const HEADER: usize = 88;
/// So much of what is recorded comes along with a claim's answer; more is fetched.
pub(super) const WINDOW: usize = 8 * 1024;

const VERSION: u8 = 1;
const IN_FLIGHT: u8 = 1;
const DONE: u8 = 2;
const RELEASED: u8 = 3;
const DONE_AND_LONG: u8 = 4;

/// What a value is.
pub(super) enum Kept {
    /// A record, with all that belongs to it.
    Record(Record),
    /// A completed record of which only the beginning is here.
    Long,
    /// What is left for a while of a key that was freed, so that its fences go on rising.
    Released,
}

/// Reads a value at this time of the server; `None` for one that this version has not written.
pub(super) fn read(now: u64, mut value: Bytes) -> Option<Kept> {
    if value.len() < HEADER || value.get_u8() != VERSION {
        return None;
    }
    let state = value.get_u8();
    let committed = value.get_u8() & 1 == 1;
    let (attempt, fence) = (value.get_u32(), Fence::new(value.get_u64()));
    value.advance(16);
    let [deadline, first, expires] = [value.get_u64(), value.get_u64(), value.get_u64()];
    let version = value.get_u8();
    let mut digest = [0; 32];
    value.copy_to_slice(&mut digest);
    let state = match state {
        IN_FLIGHT => State::InFlight {
            lease_left: between(now, deadline),
        },
        DONE => State::Completed { payload: value },
        DONE_AND_LONG if value.len() > WINDOW => State::Completed { payload: value },
        DONE_AND_LONG => return Some(Kept::Long),
        RELEASED => return Some(Kept::Released),
        _ => return None,
    };
    let expires = match state {
        State::InFlight { .. } => expires.max(deadline),
        State::Completed { .. } => expires,
    };
    let fingerprint = Fingerprint::from_parts(version, digest);
    let record = Record::new(fingerprint, fence, attempt, state)
        .committed(committed)
        .age(between(first, now))
        .expires_in(between(now, expires));
    Some(Kept::Record(record))
}

fn between(from: u64, to: u64) -> Duration {
    Duration::from_millis(to.saturating_sub(from))
}

/// An owner, as it stands in the header.
pub(super) fn owner(owner: &Owner) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&owner.fence().get().to_be_bytes());
    bytes[8..].copy_from_slice(owner.claim_id().as_bytes());
    bytes
}

/// A fingerprint, as it stands in the header.
pub(super) fn fingerprint(fingerprint: &Fingerprint) -> [u8; 33] {
    let mut bytes = [0; 33];
    bytes[0] = fingerprint.version();
    bytes[1..].copy_from_slice(fingerprint.digest());
    bytes
}

/// What a claim asks for, as claim.lua reads it: what may be taken over, lease and retention.
pub(super) fn terms(request: &ClaimRequest, lease: u64) -> [u8; 17] {
    let mut bytes = [0; 17];
    bytes[0] = match request.take_over() {
        TakeOver::Never => 0,
        TakeOver::Uncommitted => 1,
        TakeOver::Always => 2,
    };
    bytes[1..9].copy_from_slice(&lease.to_be_bytes());
    bytes[9..].copy_from_slice(&milliseconds(request.retention()).to_be_bytes());
    bytes
}

/// A duration in whole milliseconds, rounded up: at least one, and at most what a script can count.
pub(super) fn milliseconds(duration: Duration) -> u64 {
    const FOR_EVER: u64 = 1 << 50;

    let whole = duration.as_nanos().div_ceil(1_000_000);
    u64::try_from(whole).unwrap_or(FOR_EVER).clamp(1, FOR_EVER)
}

/// What a record is called on the server: the prefix, a colon and the two digests.
pub(super) fn name(prefix: &str, key: &RecordKey) -> Vec<u8> {
    let mut name = Vec::with_capacity(prefix.len() + 1 + 48);
    name.extend_from_slice(prefix.as_bytes());
    name.push(b':');
    name.extend_from_slice(key.scope());
    name.extend_from_slice(key.key());
    name
}

/// A pattern of all names of a scope, and their length.
pub(super) fn names(prefix: &str, scope: &[u8; 16]) -> (Vec<u8>, usize) {
    let mut pattern = Vec::with_capacity(2 * (prefix.len() + 17) + 1);
    for &byte in prefix.as_bytes().iter().chain(b":").chain(scope) {
        if matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\') {
            pattern.push(b'\\');
        }
        pattern.push(byte);
    }
    pattern.push(b'*');
    (pattern, prefix.len() + 1 + 48)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    /// As the scripts write it.
    fn value(state: u8, flags: u8, times: [u64; 3], recorded: &[u8]) -> Vec<u8> {
        let mut value = vec![VERSION, state, flags];
        value.extend_from_slice(&7_u32.to_be_bytes());
        value.extend_from_slice(&9_u64.to_be_bytes());
        value.extend_from_slice(&[5; 16]);
        for time in times {
            value.extend_from_slice(&time.to_be_bytes());
        }
        value.push(3);
        value.extend_from_slice(&[6; 32]);
        value.extend_from_slice(recorded);
        value
    }

    fn record(now: u64, value: Vec<u8>) -> Record {
        match read(now, value.into()) {
            Some(Kept::Record(record)) => record,
            _ => panic!("no record"),
        }
    }

    #[test]
    fn a_record_in_flight_has_what_the_header_says() {
        let record = record(1_100, value(IN_FLIGHT, 1, [1_500, 1_000, 2_000], b""));

        assert_eq!((record.attempt(), record.fence()), (7, Fence::new(9)));
        assert!(record.is_committed());
        assert_eq!(record.fingerprint().version(), 3);
        assert_eq!(record.fingerprint().digest(), &[6; 32]);
        assert_eq!(record.state().lease_left(), Duration::from_millis(400));
        assert_eq!(record.since_first_request(), Duration::from_millis(100));
        assert_eq!(record.remaining(), Duration::from_millis(900));
    }

    #[test]
    fn a_live_lease_keeps_a_record_beyond_its_retention() {
        let live = record(1_100, value(IN_FLIGHT, 0, [1_500, 1_000, 1_200], b""));
        let done = record(1_100, value(DONE, 0, [1_500, 1_000, 1_200], b"x"));

        assert_eq!(live.remaining(), Duration::from_millis(400));
        assert_eq!(done.remaining(), Duration::from_millis(100));
    }

    #[test]
    fn a_completed_record_has_its_payload() {
        let long = vec![1; WINDOW + 1];
        for (state, recorded) in [(DONE, &b""[..]), (DONE, b"done"), (DONE_AND_LONG, &long)] {
            let record = record(1, value(state, 0, [0; 3], recorded));
            let State::Completed { payload } = record.state() else {
                panic!("not completed");
            };
            assert_eq!(payload, recorded);
        }
    }

    #[test]
    fn the_beginning_of_a_long_record_is_none() {
        for recorded in [&[][..], &[1; WINDOW]] {
            let kept = read(1, value(DONE_AND_LONG, 0, [0; 3], recorded).into());
            assert!(matches!(kept, Some(Kept::Long)));
        }
    }

    #[test]
    fn what_another_version_has_written_is_not_read() {
        let good = value(RELEASED, 0, [0; 3], b"");
        assert!(matches!(read(1, good.clone().into()), Some(Kept::Released)));
        for state in [0, 5, 255] {
            assert!(read(1, value(state, 0, [0; 3], b"").into()).is_none());
        }
        for length in 0..HEADER {
            assert!(read(1, Bytes::copy_from_slice(&good[..length])).is_none());
        }
        let mut later = good;
        later[0] = VERSION + 1;
        assert!(read(1, later.into()).is_none());
    }

    #[test]
    fn durations_are_whole_milliseconds_that_a_script_can_count() {
        for (duration, expected) in [
            (Duration::ZERO, 1),
            (Duration::from_nanos(1), 1),
            (Duration::from_micros(1_001), 2),
            (Duration::from_secs(30), 30_000),
            (Duration::MAX, 1 << 50),
        ] {
            assert_eq!(milliseconds(duration), expected, "{duration:?}");
        }
    }

    #[test]
    fn a_pattern_means_its_scope_and_no_other() {
        let scope = *b"a*b?c[d]e\\f-g^hi";

        let (pattern, length) = names("x*", &scope);

        assert_eq!(pattern, b"x\\*:a\\*b\\?c\\[d\\]e\\\\f-g^hi*");
        assert_eq!(
            name("x*", &RecordKey::from_parts(scope, [1; 32])).len(),
            length
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            mut bytes in prop::collection::vec(any::<u8>(), 0..200),
            now in any::<u64>(),
        ) {
            let _ = read(now, bytes.clone().into());
            if bytes.len() > 2 {
                bytes[0] = VERSION;
                bytes[1] %= 5;
            }
            let _ = read(now, bytes.into());
        }
    }
}
