//! A row of the table, and the record that it is.

use std::time::Duration;

use bytes::Bytes;
use rusqlite::Row;
use rusqlite::types::{FromSql, ValueRef};

use super::clock::{Moment, between};
use super::fault::Fault;
use crate::fingerprint::Fingerprint;
use crate::key::{ClaimId, Fence, RecordKey};
use crate::store::claim::{ClaimRequest, Owner, Record, State, TakeOver};

/// A row without what is recorded.
pub(super) struct Head {
    pub(super) id: i64,
    pub(super) claim_id: ClaimId,
    pub(super) fence: Fence,
    pub(super) attempt: u32,
    pub(super) is_completed: bool,
    pub(super) first: Moment,
    pub(super) lease_end: Moment,
    fingerprint: Fingerprint,
    is_committed: bool,
    expires: Moment,
}

impl Head {
    /// Reads the columns of `Sql::find`.
    pub(super) fn read(row: &Row<'_>) -> Result<Self, Fault> {
        Ok(Self {
            id: integer(row, 0)?,
            fingerprint: Fingerprint::from_parts(integer(row, 1)?, bytes(row, 2)?),
            claim_id: ClaimId::from_bytes(bytes(row, 3)?),
            fence: Fence::new(integer::<i64>(row, 4)?.cast_unsigned()),
            attempt: integer(row, 5)?,
            is_completed: flag(row, 6)?,
            is_committed: flag(row, 7)?,
            first: integer(row, 8)?,
            lease_end: integer(row, 9)?,
            expires: integer(row, 10)?,
        })
    }

    /// What is recorded in the same row; nothing of a record in flight.
    pub(super) fn payload(&self, row: &Row<'_>) -> Result<Bytes, Fault> {
        match row.get_ref(11)? {
            ValueRef::Blob(payload) if self.is_completed => Ok(Bytes::copy_from_slice(payload)),
            ValueRef::Null if !self.is_completed => Ok(Bytes::new()),
            _ => Err(Fault::unreadable()),
        }
    }

    pub(super) fn record(&self, payload: Bytes, now: Moment) -> Record {
        let state = if self.is_completed {
            State::Completed { payload }
        } else {
            let lease_left = self.lease_left(now);
            State::InFlight { lease_left }
        };
        Record::new(self.fingerprint, self.fence, self.attempt, state)
            .committed(self.is_committed)
            .age(between(self.first, now))
            .expires_in(between(now, self.expires()))
    }

    pub(super) fn is_of(&self, owner: &Owner) -> bool {
        self.fence == owner.fence() && self.claim_id == owner.claim_id()
    }

    pub(super) fn is_expired(&self, now: Moment) -> bool {
        self.expires() <= now
    }

    /// What is left of the lease; zero where the record is abandoned or completed.
    pub(super) fn lease_left(&self, now: Moment) -> Duration {
        if self.is_completed {
            Duration::ZERO
        } else {
            between(now, self.lease_end)
        }
    }

    /// Whether the owner is presumed lost, and this request may take its place.
    pub(super) fn is_free_for(&self, request: &ClaimRequest, now: Moment) -> bool {
        let is_allowed = match request.take_over() {
            TakeOver::Never => false,
            TakeOver::Uncommitted => !self.is_committed,
            TakeOver::Always => true,
        };
        let is_lapsed = !self.is_completed && self.lease_end <= now;
        is_allowed && is_lapsed && self.fingerprint.matches(request.fingerprint())
    }

    /// A live lease keeps a record beyond its retention.
    fn expires(&self) -> Moment {
        if self.is_completed {
            self.expires
        } else {
            self.expires.max(self.lease_end)
        }
    }
}

/// The key of a record in the table: scope and key.
pub(super) fn key_bytes(key: &RecordKey) -> [u8; 48] {
    let mut bytes = [0; 48];
    bytes[..16].copy_from_slice(key.scope());
    bytes[16..].copy_from_slice(key.key());
    bytes
}

fn integer<T: FromSql>(row: &Row<'_>, column: usize) -> Result<T, Fault> {
    T::column_result(row.get_ref(column)?).map_err(|_| Fault::unreadable())
}

fn flag(row: &Row<'_>, column: usize) -> Result<bool, Fault> {
    match integer(row, column)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Fault::unreadable()),
    }
}

fn bytes<const N: usize>(row: &Row<'_>, column: usize) -> Result<[u8; N], Fault> {
    let blob = row.get_ref(column)?.as_blob();
    blob.ok()
        .and_then(|blob| blob.try_into().ok())
        .ok_or_else(Fault::unreadable)
}
