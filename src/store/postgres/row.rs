//! A row of a claim or an inspection, read.

use std::time::Duration;

use bytes::Bytes;
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::fault::Fault;
use crate::fingerprint::Fingerprint;
use crate::key::{Fence, RecordKey};
use crate::store::claim::{Record, State};
use crate::store::statement::Parameter;

/// Longer than any record lives: ten thousand years, in microseconds. Dates of PostgreSQL go further.
const FOR_EVER: i64 = 10_000 * 366 * 24 * 60 * 60 * 1_000_000;

/// A duration in whole microseconds, rounded up: at least one, at most for ever.
pub(super) fn microseconds(duration: Duration) -> Parameter {
    let whole = i64::try_from(duration.as_nanos().div_ceil(1_000)).unwrap_or(FOR_EVER);
    Parameter::Integer(whole.clamp(1, FOR_EVER))
}

/// What a record is found by: 16 bytes of the scope, 32 of the key.
pub(super) fn key(key: &RecordKey) -> Parameter {
    bytes([&key.scope()[..], &key.key()[..]].concat())
}

pub(super) fn bytes(bytes: impl Into<Bytes>) -> Parameter {
    Parameter::Bytes(bytes.into())
}

/// A fence that no record can have is one that none has.
pub(super) fn fence(fence: Fence) -> Parameter {
    Parameter::Integer(i64::try_from(fence.get()).unwrap_or(-1))
}

pub(super) fn fingerprint(fingerprint: &Fingerprint) -> Parameter {
    bytes([&[fingerprint.version()][..], fingerprint.digest()].concat())
}

/// A number.
pub(super) fn number(row: &PgRow, column: usize) -> Result<i64, Fault> {
    row.try_get(column).map_err(|_| Fault::odd())
}

/// What cannot be negative.
fn count(row: &PgRow, column: usize) -> Result<u64, Fault> {
    u64::try_from(number(row, column)?).map_err(|_| Fault::unreadable())
}

/// Bytes, where there are any.
pub(super) fn optional_bytes(row: &PgRow, column: usize) -> Result<Option<Vec<u8>>, Fault> {
    row.try_get(column).map_err(|_| Fault::odd())
}

/// Fence and attempt.
pub(super) fn ownership(row: &PgRow) -> Result<(Fence, u32), Fault> {
    let attempt = u32::try_from(number(row, 2)?).map_err(|_| Fault::unreadable())?;
    Ok((Fence::new(count(row, 1)?), attempt))
}

/// The record of a row, with its body where the statement has asked for it.
pub(super) fn record(row: &PgRow) -> Result<Record, Fault> {
    let (fence, attempt) = ownership(row)?;
    let fingerprint = optional_bytes(row, 5)?.ok_or_else(Fault::unreadable)?;
    let Some((version, digest)) = fingerprint.split_first() else {
        return Err(Fault::unreadable());
    };
    let digest = digest.try_into().map_err(|_| Fault::unreadable())?;
    let fingerprint = Fingerprint::from_parts(*version, digest);
    let state = match number(row, 3)? {
        0 => State::InFlight {
            lease_left: Duration::from_micros(count(row, 6)?),
        },
        1 => State::Completed {
            payload: optional_bytes(row, 9)?.unwrap_or_default().into(),
        },
        _ => return Err(Fault::unreadable()),
    };
    Ok(Record::new(fingerprint, fence, attempt, state)
        .committed(number(row, 4)? == 1)
        .age(Duration::from_micros(count(row, 7)?))
        .expires_in(Duration::from_micros(count(row, 8)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_rounded_up_and_bounded() {
        for (duration, expected) in [
            (Duration::ZERO, 1),
            (Duration::from_nanos(1_001), 2),
            (Duration::from_secs(1), 1_000_000),
            (Duration::MAX, FOR_EVER),
        ] {
            assert!(
                microseconds(duration) == Parameter::Integer(expected),
                "{duration:?}"
            );
        }
    }
}
