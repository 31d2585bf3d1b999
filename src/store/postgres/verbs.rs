//! The verbs.

use std::sync::Arc;
use std::time::Duration;

use super::client::Answer;
use super::fault::{Class, Fault};
use super::row::{self, bytes, fence, microseconds};
use super::store::PostgresStore;
use crate::key::{Fence, RecordKey};
use crate::store::claim::{
    Claim, ClaimRequest, Completed, Forgotten, Owned, Owner, Record, Settled, TakeOver,
};
use crate::store::error::StoreError;
use crate::store::polling::Pauses;
use crate::store::statement::{Dialect, Parameter, Statement};
use crate::store::traits::Store;

/// How an owner stands whose write has met nothing.
enum Standing {
    /// There is no record.
    Missing,
    /// It has completed the record itself.
    Done,
    /// It has freed the key itself.
    Freed,
    /// Somebody else owns the record, or it has ended.
    FencedOut,
}

impl PostgresStore {
    async fn call(&self, sql: &Arc<str>, parameters: &[Parameter]) -> Result<Answer, Fault> {
        self.inner.client.call(sql, parameters).await
    }

    async fn standing(&self, owner: &Owner) -> Result<Standing, Fault> {
        let asked = self
            .call(&self.inner.statements.standing, &ids(owner))
            .await?;
        let Some(row) = asked.row else {
            return Ok(Standing::Missing);
        };
        let is_own = row::number(&row, 1)? == 1;
        Ok(match (row::number(&row, 0)?, is_own) {
            (2, true) => Standing::Freed,
            (2, false) => Standing::Missing,
            (1, true) => Standing::Done,
            (0 | 1, _) => Standing::FencedOut,
            _ => return Err(Fault::unreadable()),
        })
    }

    /// A write of an owner: one round trip where it is applied, one more to see why not.
    async fn write(
        &self,
        sql: &Arc<str>,
        owner: &Owner,
        more: &[Parameter],
    ) -> Result<Result<(), (Standing, bool)>, Fault> {
        let parameters = [&ids(owner), more].concat();
        let answer = self.call(sql, &parameters).await?;
        if answer.changed > 0 {
            return Ok(Ok(()));
        }
        Ok(Err((self.standing(owner).await?, answer.was_in_doubt)))
    }

    async fn find(&self, sql: &Arc<str>, key: &RecordKey) -> Result<Option<Record>, Fault> {
        let found = self.call(sql, &[row::key(key)]).await?.row;
        found.map(|row| row::record(&row)).transpose()
    }

    /// What is written of an outcome, and whether that is all of it.
    fn recorded<'a>(&self, completed: &'a Completed) -> (&'a bytes::Bytes, bool) {
        if completed.payload().len() <= self.inner.max_record {
            (completed.payload(), true)
        } else {
            (completed.tombstone(), false)
        }
    }
}

fn ids(owner: &Owner) -> [Parameter; 3] {
    let id = bytes(owner.claim_id().as_bytes().to_vec());
    [row::key(owner.key()), fence(owner.fence()), id]
}

/// What became of a write that is not applied twice.
fn settled(written: &Result<(), (Standing, bool)>) -> Settled {
    match written {
        Ok(()) => Settled::Applied,
        Err((Standing::Missing | Standing::Freed, _)) => Settled::Missing,
        Err((Standing::Done | Standing::FencedOut, _)) => Settled::FencedOut,
    }
}

impl Store for PostgresStore {
    async fn claim(&self, request: &ClaimRequest) -> Result<Claim, StoreError> {
        let take_over = match request.take_over() {
            TakeOver::Never => 0,
            TakeOver::Uncommitted => 1,
            TakeOver::Always => 2,
        };
        let parameters = [
            row::key(request.key()),
            bytes(request.claim_id().as_bytes().to_vec()),
            row::fingerprint(request.fingerprint()),
            microseconds(request.lease()),
            microseconds(request.retention()),
            Parameter::Integer(take_over),
        ];
        let answer = self.call(&self.inner.statements.claim, &parameters).await?;
        let row = answer.row()?;
        match row::number(row, 0)? {
            0 => Ok(Claim::Existing(row::record(row)?)),
            1 => {
                let (fence, attempt) = row::ownership(row)?;
                Ok(Claim::Owned(Owned::new(fence, attempt, request.lease())))
            }
            2 => {
                let said = "this claim comes after its own end";
                Err(Fault::new(Class::NotApplied, said).into())
            }
            _ => Err(Fault::odd().into()),
        }
    }

    async fn renew(
        &self,
        owner: &Owner,
        lease: Duration,
        committed: bool,
    ) -> Result<Settled, StoreError> {
        let more = [microseconds(lease), Parameter::Integer(committed.into())];
        let written = self
            .write(&self.inner.statements.renew, owner, &more)
            .await?;
        Ok(settled(&written))
    }

    async fn complete(&self, owner: &Owner, completed: &Completed) -> Result<Settled, StoreError> {
        let (body, is_all) = self.recorded(completed);
        let more = [bytes(body.clone()), microseconds(completed.retention())];
        let written = self
            .write(&self.inner.statements.complete, owner, &more)
            .await?;
        Ok(match written {
            Ok(()) | Err((Standing::Done, true)) if !is_all => Settled::Tombstoned,
            Ok(()) | Err((Standing::Done, _)) => Settled::Applied,
            written => settled(&written),
        })
    }

    async fn abandon(&self, owner: &Owner) -> Result<Settled, StoreError> {
        let written = self
            .write(&self.inner.statements.abandon, owner, &[])
            .await?;
        Ok(settled(&written))
    }

    async fn release(&self, owner: &Owner) -> Result<Settled, StoreError> {
        let written = self
            .write(&self.inner.statements.release, owner, &[])
            .await?;
        Ok(match written {
            // Its own first try has freed it.
            Err((Standing::Freed, true)) => Settled::Applied,
            written => settled(&written),
        })
    }

    async fn inspect(&self, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        Ok(self.find(&self.inner.statements.inspect, key).await?)
    }

    async fn forget(&self, key: &RecordKey, force: bool) -> Result<Forgotten, StoreError> {
        let parameters = [row::key(key), Parameter::Integer(force.into())];
        let answer = self
            .call(&self.inner.statements.forget, &parameters)
            .await?;
        if answer.changed > 0 {
            return Ok(Forgotten::Forgotten);
        }
        let found = self.find(&self.inner.statements.look, key).await?;
        Ok(match found {
            None if answer.was_in_doubt => Forgotten::Forgotten,
            None => Forgotten::Unknown,
            Some(_) => Forgotten::InFlight,
        })
    }

    /// In batches of 200. What another process claims meanwhile may stay.
    async fn erase_scope(&self, scope: &[u8; 16]) -> Result<u64, StoreError> {
        // Shorter than all of its keys, and so before them.
        let mut after = scope.to_vec();
        let last = bytes([&scope[..], &[u8::MAX; 32]].concat());
        let mut erased = 0;
        loop {
            let range = [bytes(after), last.clone()];
            let answer = self.call(&self.inner.statements.erase, &range).await?;
            let row = answer.row()?;
            erased += u64::try_from(row::number(row, 1)?).unwrap_or_default();
            let Some(end) = row::optional_bytes(row, 2)? else {
                return Ok(erased);
            };
            after = end;
        }
    }

    async fn settled(&self, key: &RecordKey, fence: Fence, at_most: Duration) {
        let mut pauses = Pauses::new(at_most);
        let mut lease_left = Duration::MAX;
        while pauses.pause(lease_left).await {
            lease_left = match self.find(&self.inner.statements.look, key).await {
                Ok(Some(record)) if record.fence() == fence && record.is_live() => {
                    record.state().lease_left()
                }
                Ok(_) => return,
                // A server that fails is asked again: the waiter's own deadline ends it.
                Err(_) => Duration::MAX,
            };
        }
    }

    fn advice(&self) -> Vec<&'static str> {
        self.inner.advice.clone()
    }

    fn completion(
        &self,
        owner: &Owner,
        completed: &Completed,
    ) -> Result<Option<Statement>, StoreError> {
        let (body, _) = self.recorded(completed);
        let more = [bytes(body.clone()), microseconds(completed.retention())];
        let statements = &self.inner.statements;
        Ok(Some(Statement::new(
            Dialect::Postgres,
            Arc::clone(&statements.complete),
            Arc::clone(&statements.confirmation),
            [&ids(owner)[..], &more].concat(),
        )))
    }
}
