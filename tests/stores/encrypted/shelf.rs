//! A store into which one can see, and put what one likes.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use tower_idempotency::{
    Claim, ClaimRequest, Completed, Fence, Forgotten, MemoryStore, Owner, Record, RecordKey,
    Settled, State, Store, StoreError, StoreErrorKind,
};

pub(super) struct Shelf {
    memory: MemoryStore,
    put: Mutex<HashMap<RecordKey, Bytes>>,
}

impl Shelf {
    pub(super) fn new() -> Self {
        Self {
            memory: MemoryStore::new(),
            put: Mutex::default(),
        }
    }

    /// What it really has of a completed record.
    pub(super) async fn payload(&self, key: &RecordKey) -> Bytes {
        let record = self.memory.inspect(key).await.unwrap().unwrap();
        match record.state() {
            State::Completed { payload } => payload.clone(),
            state => panic!("not completed: {state:?}"),
        }
    }

    /// Gives this out as the payload of a record from now on.
    pub(super) fn put(&self, key: &RecordKey, payload: impl Into<Bytes>) {
        self.put.lock().unwrap().insert(*key, payload.into());
    }

    /// Spoils a bit of a completed record, and a record in flight as a whole.
    pub(super) async fn spoil(&self, key: &RecordKey) {
        let record = self.memory.inspect(key).await.unwrap();
        let mut spoilt = match record.as_ref().map(Record::state) {
            Some(State::Completed { payload }) => payload.to_vec(),
            _ => vec![0],
        };
        let middle = spoilt.len() / 2;
        spoilt[middle] ^= 1;
        self.put(key, spoilt);
    }

    fn shown(&self, key: &RecordKey, record: Record) -> Result<Record, StoreError> {
        let put = self.put.lock().unwrap().get(key).cloned();
        match (record.state(), put) {
            (_, None) => Ok(record),
            (State::Completed { .. }, Some(payload)) => {
                Ok(record.with_state(State::Completed { payload }))
            }
            (_, Some(_)) => Err(StoreError::new(
                StoreErrorKind::Unreadable,
                "spoilt in flight",
            )),
        }
    }
}

impl Store for Shelf {
    async fn claim(&self, request: &ClaimRequest) -> Result<Claim, StoreError> {
        let found = self.memory.inspect(request.key()).await?;
        if let Some(record) = found {
            self.shown(request.key(), record)?;
        }
        match self.memory.claim(request).await? {
            Claim::Existing(record) => Ok(Claim::Existing(self.shown(request.key(), record)?)),
            claim => Ok(claim),
        }
    }

    async fn renew(
        &self,
        owner: &Owner,
        lease: Duration,
        committed: bool,
    ) -> Result<Settled, StoreError> {
        self.memory.renew(owner, lease, committed).await
    }

    async fn complete(&self, owner: &Owner, completed: &Completed) -> Result<Settled, StoreError> {
        self.memory.complete(owner, completed).await
    }

    async fn abandon(&self, owner: &Owner) -> Result<Settled, StoreError> {
        self.memory.abandon(owner).await
    }

    async fn release(&self, owner: &Owner) -> Result<Settled, StoreError> {
        self.memory.release(owner).await
    }

    async fn inspect(&self, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        let record = self.memory.inspect(key).await?;
        record.map(|record| self.shown(key, record)).transpose()
    }

    async fn forget(&self, key: &RecordKey, force: bool) -> Result<Forgotten, StoreError> {
        self.put.lock().unwrap().remove(key);
        self.memory.forget(key, force).await
    }

    async fn erase_scope(&self, scope: &[u8; 16]) -> Result<u64, StoreError> {
        self.memory.erase_scope(scope).await
    }

    async fn settled(&self, key: &RecordKey, fence: Fence, at_most: Duration) {
        self.memory.settled(key, fence, at_most).await;
    }

    fn fullness(&self) -> Option<u8> {
        self.memory.fullness()
    }
}
