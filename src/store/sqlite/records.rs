//! The records, within a transaction: every verb, at the time when it is run.
//!
//! What a verb decides, it decides here and not in SQL. Each writes with one statement, and may draw a fence before: what
//! a statement that fails leaves behind is a fence that nobody has.

use std::cell::RefCell;
use std::time::Duration;

use bytes::Bytes;
use rusqlite::{Connection, Params, Row, params};

use super::clock::{Moment, between, microseconds};
use super::connection;
use super::fault::{Class, Fault};
use super::row::{Head, key_bytes};
use super::sql::Sql;
use super::waiters::Ended;
use crate::key::{Fence, RecordKey};
use crate::store::claim::{
    Claim, ClaimRequest, Completed, Forgotten, Owned, Owner, Record, Settled,
};

/// So many records go at once: the more, the longer others wait.
pub(super) const ERASED_AT_ONCE: u64 = 500;
/// The same of those that have expired.
pub(super) const PURGED_AT_ONCE: usize = 200;

/// The records as a transaction has them.
pub(super) struct Records<'a> {
    connection: &'a Connection,
    sql: &'a Sql,
    now: Moment,
    /// What somebody may wait for the end of.
    ended: &'a RefCell<Vec<Ended>>,
}

impl<'a> Records<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        sql: &'a Sql,
        now: Moment,
        ended: &'a RefCell<Vec<Ended>>,
    ) -> Self {
        Self {
            connection,
            sql,
            now,
            ended,
        }
    }

    pub(super) fn check(&self) -> Result<(), Fault> {
        connection::check(self.connection, self.sql)
    }

    pub(super) fn claim(&self, request: &ClaimRequest) -> Result<Claim, Fault> {
        let Some((head, payload)) = self.whole(request.key())? else {
            return self.claim_anew(request).map(Claim::Owned);
        };
        if !head.is_completed && head.claim_id == request.claim_id() {
            let owned = self.own(head.id, head.fence, head.attempt, request);
            return owned.map(Claim::Owned);
        }
        if head.is_free_for(request, self.now) {
            self.ended(request.key());
            let attempt = head.attempt.saturating_add(1);
            let owned = self.own(head.id, self.next_fence()?, attempt, request);
            return owned.map(Claim::Owned);
        }
        Ok(Claim::Existing(head.record(payload, self.now)))
    }

    fn claim_anew(&self, request: &ClaimRequest) -> Result<Owned, Fault> {
        let fence = self.next_fence()?;
        let (key, fingerprint) = (key_bytes(request.key()), request.fingerprint());
        let lease_end = self.now + microseconds(request.lease());
        let expires = self.now + microseconds(request.retention());
        self.write(
            &self.sql.put,
            params![
                key,
                fingerprint.version(),
                fingerprint.digest(),
                request.claim_id().as_bytes(),
                fence.get().cast_signed(),
                self.now,
                lease_end,
                expires
            ],
        )?;
        Ok(Owned::new(fence, 1, between(self.now, lease_end)))
    }

    /// Makes the request the owner of a row that is there, or leaves it that, and counts its lease anew.
    fn own(
        &self,
        row: i64,
        fence: Fence,
        attempt: u32,
        request: &ClaimRequest,
    ) -> Result<Owned, Fault> {
        let (id, lease_end) = (request.claim_id(), self.now + microseconds(request.lease()));
        self.write(
            &self.sql.own,
            params![
                row,
                id.as_bytes(),
                fence.get().cast_signed(),
                attempt,
                lease_end
            ],
        )?;
        Ok(Owned::new(fence, attempt, between(self.now, lease_end)))
    }

    fn next_fence(&self) -> Result<Fence, Fault> {
        let mut statement = self.connection.prepare_cached(&self.sql.next_fence)?;
        let fence: i64 = statement.query_row([], |row| row.get(0))?;
        Ok(Fence::new(fence.cast_unsigned()))
    }

    pub(super) fn renew(
        &self,
        owner: &Owner,
        lease: Duration,
        committed: bool,
    ) -> Result<Settled, Fault> {
        self.settle(owner, Settled::FencedOut, |head| {
            let lease_end = self.now + microseconds(lease);
            self.write(&self.sql.renew, params![head.id, lease_end, committed])
        })
    }

    pub(super) fn complete(&self, owner: &Owner, completed: &Completed) -> Result<Settled, Fault> {
        self.settle(owner, Settled::Applied, |head| {
            self.ended(owner.key());
            let retained = head
                .first
                .saturating_add(microseconds(completed.retention()));
            let expires = if retained > self.now {
                retained
            } else {
                head.lease_end.max(self.now)
            };
            let payload: &[u8] = completed.payload();
            self.write(&self.sql.complete, params![head.id, expires, payload])
        })
    }

    pub(super) fn abandon(&self, owner: &Owner) -> Result<Settled, Fault> {
        self.settle(owner, Settled::FencedOut, |head| {
            self.ended(owner.key());
            self.write(&self.sql.lapse, params![head.id, self.now])
        })
    }

    pub(super) fn release(&self, owner: &Owner) -> Result<Settled, Fault> {
        self.settle(owner, Settled::FencedOut, |head| {
            self.ended(owner.key());
            self.write(&self.sql.remove, params![head.id])
        })
    }

    pub(super) fn inspect(&self, key: &RecordKey) -> Result<Option<Record>, Fault> {
        let found = self.whole(key)?;
        Ok(found.map(|(head, payload)| head.record(payload, self.now)))
    }

    /// The record, if it is completed.
    pub(super) fn completed(&self, key: &RecordKey) -> Result<Option<Record>, Fault> {
        let found = self.whole(key)?.filter(|(head, _)| head.is_completed);
        Ok(found.map(|(head, payload)| head.record(payload, self.now)))
    }

    /// What is left of the lease of the owner with this fence, if anything.
    pub(super) fn live_lease(
        &self,
        key: &RecordKey,
        fence: Fence,
    ) -> Result<Option<Duration>, Fault> {
        let found = self.find(key)?.filter(|head| head.fence == fence);
        let left = found.map(|head| head.lease_left(self.now));
        Ok(left.filter(|left| !left.is_zero()))
    }

    pub(super) fn forget(&self, key: &RecordKey, force: bool) -> Result<Forgotten, Fault> {
        match self.find(key) {
            Ok(None) => return Ok(Forgotten::Unknown),
            Ok(Some(head)) if !force && !head.lease_left(self.now).is_zero() => {
                return Ok(Forgotten::InFlight);
            }
            // What cannot be read goes by force.
            Err(fault) if fault.class != Class::Unreadable || !force => return Err(fault),
            Ok(Some(_)) | Err(_) => {}
        }
        self.ended(key);
        self.write(&self.sql.forget, params![key_bytes(key)])?;
        Ok(Forgotten::Forgotten)
    }

    /// Drops some records of a scope; says how many, and how many of them had not expired.
    pub(super) fn erase_some(&self, scope: &[u8; 16]) -> Result<(u64, u64), Fault> {
        self.ended.borrow_mut().push(Ended::Scope(*scope));
        let [first, last] = [[0; 32], [255; 32]].map(|key| RecordKey::from_parts(*scope, key));
        let mut statement = self.connection.prepare_cached(&self.sql.erase)?;
        let mut rows = statement.query(params![
            key_bytes(&first),
            key_bytes(&last),
            ERASED_AT_ONCE.cast_signed(),
            self.now
        ])?;
        let (mut erased, mut live) = (0, 0);
        while let Some(row) = rows.next()? {
            erased += 1;
            live += u64::from(row.get::<_, bool>(0)?);
        }
        Ok((erased, live))
    }

    /// Drops some records that have expired; says how many.
    pub(super) fn purge_some(&self) -> Result<usize, Fault> {
        self.run(
            &self.sql.purge,
            params![self.now, PURGED_AT_ONCE.cast_signed()],
        )
    }

    /// Lets an owner change its record.
    fn settle(
        &self,
        owner: &Owner,
        if_completed: Settled,
        change: impl FnOnce(&Head) -> Result<(), Fault>,
    ) -> Result<Settled, Fault> {
        match self.find(owner.key())? {
            None => Ok(Settled::Missing),
            Some(head) if !head.is_of(owner) => Ok(Settled::FencedOut),
            Some(head) if head.is_completed => Ok(if_completed),
            Some(head) => change(&head).map(|()| Settled::Applied),
        }
    }

    /// The record, without what is recorded. One that has expired is absent.
    fn find(&self, key: &RecordKey) -> Result<Option<Head>, Fault> {
        let head = self.look(key, Head::read)?;
        Ok(head.filter(|head| !head.is_expired(self.now)))
    }

    /// The same with what is recorded.
    fn whole(&self, key: &RecordKey) -> Result<Option<(Head, Bytes)>, Fault> {
        let whole = self.look(key, |row| {
            let head = Head::read(row)?;
            let payload = head.payload(row)?;
            Ok((head, payload))
        })?;
        Ok(whole.filter(|(head, _)| !head.is_expired(self.now)))
    }

    fn look<T>(
        &self,
        key: &RecordKey,
        read: impl FnOnce(&Row<'_>) -> Result<T, Fault>,
    ) -> Result<Option<T>, Fault> {
        let mut statement = self.connection.prepare_cached(&self.sql.find)?;
        let mut rows = statement.query(params![key_bytes(key)])?;
        rows.next()?.map(read).transpose()
    }

    /// Changes the row that has just been found.
    fn write(&self, sql: &str, parameters: impl Params) -> Result<(), Fault> {
        self.run(sql, parameters).map(drop)
    }

    fn run(&self, sql: &str, parameters: impl Params) -> Result<usize, Fault> {
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement.execute(parameters)?)
    }

    fn ended(&self, key: &RecordKey) {
        self.ended.borrow_mut().push(Ended::Key(*key));
    }
}
