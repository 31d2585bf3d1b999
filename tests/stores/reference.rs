//! A store as plain as the documentation of [`Store`].

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::timeout;
use tower_idempotency::{
    Claim, ClaimRequest, Completed, Fence, Forgotten, Owner, Record, RecordKey, Settled, Store,
    StoreError,
};

pub(crate) use records::{Entry, Records, Way};

mod records;

/// One map behind one mutex. Each verb has two awaits, as if it was sent to a server and answered.
pub(crate) struct Reference {
    records: Mutex<Records>,
    /// Told whenever a record ends, but by time.
    pub(crate) ended: Notify,
    now: Box<dyn Fn() -> Duration + Send + Sync>,
    pub(crate) quota: usize,
    pub(crate) room: usize,
    pub(crate) limit: usize,
}

impl Reference {
    /// By tokio's clock.
    pub(crate) fn new() -> Self {
        let start = tokio::time::Instant::now();
        Self::with_clock(move || start.elapsed())
    }

    /// By a clock that nobody can stop.
    pub(crate) fn by_its_own_clock() -> Self {
        let start = std::time::Instant::now();
        Self::with_clock(move || start.elapsed())
    }

    fn with_clock(now: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self {
            records: Mutex::default(),
            ended: Notify::new(),
            now: Box::new(now),
            quota: usize::MAX,
            room: usize::MAX,
            limit: usize::MAX,
        }
    }

    pub(crate) fn quota(self, quota: usize) -> Self {
        Self { quota, ..self }
    }

    pub(crate) fn room(self, room: usize) -> Self {
        Self { room, ..self }
    }

    pub(crate) fn limit(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    pub(crate) fn corrupt(&self, key: &RecordKey) {
        self.locked().corrupt.insert(*key);
    }

    pub(crate) fn now(&self) -> Duration {
        (self.now)()
    }

    pub(crate) fn locked(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The records that have not expired.
    pub(crate) fn live(&self) -> (MutexGuard<'_, Records>, Duration) {
        let (mut records, now) = (self.locked(), self.now());
        records.remove_all(Way::Expired, |_, entry| entry.expires() <= now);
        (records, now)
    }

    /// Lets an owner do something to its record, if that is in flight.
    fn write(
        &self,
        owner: &Owner,
        change: impl FnOnce(&mut Entry, Duration),
    ) -> Result<Settled, StoreError> {
        let (mut records, now) = self.live();
        records.readable(owner.key())?;
        Ok(match records.map.get_mut(owner.key()) {
            None => Settled::Missing,
            Some(entry) if entry.is_owned_by(owner) && entry.payload.is_none() => {
                change(entry, now);
                Settled::Applied
            }
            Some(_) => Settled::FencedOut,
        })
    }
}

impl Store for Reference {
    async fn claim(&self, request: &ClaimRequest) -> Result<Claim, StoreError> {
        yield_now().await;
        let claim = {
            let (mut records, now) = self.live();
            records.readable(request.key())?;
            records.claim(request, now, (self.quota, self.room))
        };
        yield_now().await;
        Ok(claim)
    }

    async fn renew(
        &self,
        owner: &Owner,
        lease: Duration,
        committed: bool,
    ) -> Result<Settled, StoreError> {
        yield_now().await;
        let settled = self.write(owner, |entry, now| {
            entry.leased_until = now.saturating_add(lease);
            entry.committed |= committed;
        });
        yield_now().await;
        settled
    }

    async fn complete(&self, owner: &Owner, completed: &Completed) -> Result<Settled, StoreError> {
        yield_now().await;
        let settled = {
            let (mut records, now) = self.live();
            records.readable(owner.key())?;
            let fits = completed.payload().len() <= self.limit;
            match records.map.get_mut(owner.key()) {
                None => Settled::Missing,
                Some(entry) if !entry.is_owned_by(owner) => Settled::FencedOut,
                // Once more.
                Some(entry) if entry.payload.is_some() => Settled::Applied,
                Some(entry) => {
                    let kept = if fits {
                        completed.payload()
                    } else {
                        completed.tombstone()
                    };
                    entry.payload = Some(kept.clone());
                    entry.retained_until = entry.first.saturating_add(completed.retention());
                    if entry.retained_until <= now {
                        entry.retained_until = entry.leased_until;
                    }
                    if fits {
                        Settled::Applied
                    } else {
                        Settled::Tombstoned
                    }
                }
            }
        };
        self.ended.notify_waiters();
        yield_now().await;
        Ok(settled)
    }

    async fn abandon(&self, owner: &Owner) -> Result<Settled, StoreError> {
        yield_now().await;
        let settled = self.write(owner, |entry, now| {
            entry.leased_until = entry.leased_until.min(now);
        });
        self.ended.notify_waiters();
        yield_now().await;
        settled
    }

    async fn release(&self, owner: &Owner) -> Result<Settled, StoreError> {
        yield_now().await;
        let settled = self.write(owner, |_, _| ());
        if matches!(settled, Ok(Settled::Applied)) {
            let mut records = self.locked();
            records.remove_all(Way::Released, |key, entry| {
                key == owner.key() && entry.is_owned_by(owner)
            });
        }
        self.ended.notify_waiters();
        yield_now().await;
        settled
    }

    async fn inspect(&self, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        yield_now().await;
        let record = {
            let (records, now) = self.live();
            records.readable(key)?;
            records.map.get(key).map(|entry| entry.record(now))
        };
        yield_now().await;
        Ok(record)
    }

    async fn forget(&self, key: &RecordKey, force: bool) -> Result<Forgotten, StoreError> {
        yield_now().await;
        let forgotten = {
            let (mut records, now) = self.live();
            match records.map.get(key) {
                None => Forgotten::Unknown,
                Some(entry) if entry.is_live(now) && !force => Forgotten::InFlight,
                Some(_) => {
                    records.remove_all(Way::Forgotten, |other, _| other == key);
                    Forgotten::Forgotten
                }
            }
        };
        self.ended.notify_waiters();
        yield_now().await;
        Ok(forgotten)
    }

    async fn erase_scope(&self, scope: &[u8; 16]) -> Result<u64, StoreError> {
        yield_now().await;
        let erased = {
            let (mut records, _) = self.live();
            records.remove_all(Way::Erased, |key, _| key.scope() == scope)
        };
        self.ended.notify_waiters();
        yield_now().await;
        Ok(erased)
    }

    async fn settled(&self, key: &RecordKey, fence: Fence, at_most: Duration) {
        let deadline = self.now().saturating_add(at_most);
        loop {
            // Made before the look, so that an end in between is not missed.
            let ended = self.ended.notified();
            let left = {
                let (records, now) = self.live();
                let entry = records.map.get(key).filter(|entry| entry.fence == fence);
                let lease_left = entry.map_or(Duration::ZERO, |entry| entry.lease_left(now));
                lease_left.min(deadline.saturating_sub(now))
            };
            if left.is_zero() {
                return;
            }
            let _ = timeout(left, ended).await;
        }
    }

    fn fullness(&self) -> Option<u8> {
        let all = self.live().0.map.len();
        (self.room < usize::MAX).then(|| (all * 100 / self.room) as u8)
    }
}
