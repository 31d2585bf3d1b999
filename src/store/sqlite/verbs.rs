//! The verbs.

use std::time::Duration;

use tokio::time::Instant;

use super::clock::microseconds;
use super::fault::{Class, Fault};
use super::records::{ERASED_AT_ONCE, Records};
use super::store::SqliteStore;
use crate::clock;
use crate::drive;
use crate::key::{Fence, RecordKey};
use crate::store::claim::{Claim, ClaimRequest, Completed, Forgotten, Owner, Record, Settled};
use crate::store::error::StoreError;
use crate::store::statement::Statement;
use crate::store::traits::Store;

/// The first look of one that waits, for what other processes have done; then twice as long, up to the longest.
const FIRST_STEP: Duration = Duration::from_millis(25);
const LONGEST_STEP: Duration = Duration::from_millis(250);

impl SqliteStore {
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnMut(&Records<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        Ok(self.reader.ask(self.deadline(), work).await?)
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnMut(&Records<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        Ok(self.writer.ask(self.deadline(), work).await?)
    }
}

impl Store for SqliteStore {
    async fn claim(&self, request: &ClaimRequest) -> Result<Claim, StoreError> {
        let (deadline, key) = (self.deadline(), *request.key());
        let completed = self.reader.ask(deadline, move |it| it.completed(&key));
        if let Some(record) = completed.await? {
            return Ok(Claim::Existing(record));
        }
        let request = request.clone();
        match self
            .writer
            .ask(deadline, move |it| it.claim(&request))
            .await
        {
            Err(fault) if fault.class == Class::Full => Ok(Claim::Full),
            claimed => Ok(claimed?),
        }
    }

    async fn renew(
        &self,
        owner: &Owner,
        lease: Duration,
        committed: bool,
    ) -> Result<Settled, StoreError> {
        let owner = *owner;
        self.write(move |it| it.renew(&owner, lease, committed))
            .await
    }

    async fn complete(&self, owner: &Owner, completed: &Completed) -> Result<Settled, StoreError> {
        let (owner, completed) = (*owner, completed.clone());
        self.write(move |it| it.complete(&owner, &completed)).await
    }

    async fn abandon(&self, owner: &Owner) -> Result<Settled, StoreError> {
        let owner = *owner;
        self.write(move |it| it.abandon(&owner)).await
    }

    async fn release(&self, owner: &Owner) -> Result<Settled, StoreError> {
        let owner = *owner;
        self.write(move |it| it.release(&owner)).await
    }

    async fn inspect(&self, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        let key = *key;
        self.read(move |it| it.inspect(&key)).await
    }

    async fn forget(&self, key: &RecordKey, force: bool) -> Result<Forgotten, StoreError> {
        let key = *key;
        self.write(move |it| it.forget(&key, force)).await
    }

    /// Some hundreds at a time, so that others need not wait for all of them.
    async fn erase_scope(&self, scope: &[u8; 16]) -> Result<u64, StoreError> {
        let (scope, mut live) = (*scope, 0);
        loop {
            let (erased, some) = self.write(move |it| it.erase_some(&scope)).await?;
            live += some;
            if erased < ERASED_AT_ONCE {
                return Ok(live);
            }
        }
    }

    /// Told by this store as soon as it is committed. What another process does is found by looking again and again.
    async fn settled(&self, key: &RecordKey, fence: Fence, at_most: Duration) {
        if !clock::has_timers() {
            return;
        }
        let (key, waiter) = (*key, self.waiters.join(key));
        let (deadline, mut step) = (clock::later(Instant::now(), at_most), FIRST_STEP);
        loop {
            // Made before the look, so that an end in between is not missed.
            let ended = waiter.notified();
            let left = match self.read(move |it| it.live_lease(&key, fence)).await {
                Ok(Some(left)) => left,
                Ok(None) => return,
                // A file that cannot be read is looked at again: the waiter's own deadline ends it.
                Err(_) => step,
            };
            let now = Instant::now();
            if now >= deadline {
                return;
            }
            let look_again = clock::later(now, step.min(left));
            drive::until(look_again.min(deadline), ended).await;
            step = (step * 2).min(LONGEST_STEP);
        }
    }

    fn completion(
        &self,
        owner: &Owner,
        completed: &Completed,
    ) -> Result<Option<Statement>, StoreError> {
        let retention = microseconds(completed.retention());
        let statement =
            super::completion::statement(&self.settings, owner, completed.payload(), retention);
        Ok(Some(statement))
    }
}
