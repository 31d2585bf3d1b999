//! A store of one's own: everything that the layer asks of one, over a map behind a mutex.
//!
//! ```text
//! cargo run --example custom_store
//! curl -i http://127.0.0.1:3000/charges -H "Idempotency-Key: order-1" -d "42 EUR"
//! ```
//!
//! It is correct and simple: each verb looks at every record to drop the expired ones. `MemoryStore`
//! does better. A store that other processes share keeps deadlines and expiry on its own clock.

#[path = "common/stop.rs"]
mod stop;

use std::collections::HashMap;
use std::env;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use tokio::net::TcpListener;
use tower_idempotency::{
    Claim, ClaimId, ClaimRequest, Completed, Fence, Fingerprint, Forgotten, IdempotencyLayer,
    Owned, Owner, Record, RecordKey, Settled, State, Store, StoreError, TakeOver,
};

#[tokio::main]
async fn main() -> io::Result<()> {
    let idempotency = IdempotencyLayer::new(MapStore::default());
    let app = Router::new()
        .route("/charges", post(charge))
        .layer(idempotency.clone());

    let stop = stop::signal()?;
    let address = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let listener = TcpListener::bind(address).await?;
    writeln!(
        io::stdout(),
        "listening on http://{}",
        listener.local_addr()?
    )?;
    axum::serve(listener, app)
        .with_graceful_shutdown(stop)
        .await?;
    match idempotency.drain(Duration::from_secs(25)).await.left {
        0 => Ok(()),
        left => Err(io::Error::other(format!("executions left: {left}"))),
    }
}

async fn charge() -> (StatusCode, String) {
    static CHARGES: AtomicU64 = AtomicU64::new(0);

    let number = CHARGES.fetch_add(1, Ordering::Relaxed) + 1;
    (StatusCode::CREATED, format!("charge {number}\n"))
}

#[derive(Default)]
struct MapStore {
    records: Mutex<HashMap<RecordKey, Entry>>,
    // One counter for all keys: a fence is never used twice, not even after a record is gone.
    fences: AtomicU64,
}

struct Entry {
    claim_id: ClaimId,
    fence: Fence,
    fingerprint: Fingerprint,
    attempt: u32,
    committed: bool,
    claimed_first: Instant,
    retention: Duration,
    leased: Instant,
    lease: Duration,
    payload: Option<Bytes>,
}

/// The layer's futures are dropped with their connections: no verb may be half done at an `await`.
/// Here there is none.
impl Store for MapStore {
    async fn claim(&self, request: &ClaimRequest) -> Result<Claim, StoreError> {
        let mut records = self.records();
        let now = Instant::now();
        let entry = records.entry(*request.key()).or_insert_with(|| Entry {
            claim_id: request.claim_id(),
            fence: self.next_fence(),
            fingerprint: *request.fingerprint(),
            attempt: 1,
            committed: false,
            claimed_first: now,
            retention: request.retention(),
            leased: now,
            lease: request.lease(),
            payload: None,
        });
        // A claim that was made just now, or the same one again because its answer was lost.
        let mine = entry.payload.is_none() && entry.claim_id == request.claim_id();
        if !mine {
            if !entry.is_free_for(request) {
                return Ok(Claim::Existing(entry.record()));
            }
            entry.claim_id = request.claim_id();
            entry.fence = self.next_fence();
            entry.attempt += 1;
        }
        (entry.leased, entry.lease) = (now, request.lease());
        Ok(Claim::Owned(Owned::new(
            entry.fence,
            entry.attempt,
            entry.lease,
        )))
    }

    async fn renew(
        &self,
        owner: &Owner,
        lease: Duration,
        committed: bool,
    ) -> Result<Settled, StoreError> {
        Ok(self.write(owner, |entry| {
            (entry.leased, entry.lease) = (Instant::now(), lease);
            entry.committed |= committed;
        }))
    }

    async fn complete(&self, owner: &Owner, completed: &Completed) -> Result<Settled, StoreError> {
        let mut records = self.records();
        Ok(match records.get_mut(owner.key()) {
            None => Settled::Missing,
            Some(entry) if !entry.is_owned_by(owner) => Settled::FencedOut,
            // Already there: the same call again, because its answer was lost.
            Some(Entry {
                payload: Some(_), ..
            }) => Settled::Applied,
            // A store with a limit would write `completed.tombstone()` in place of a payload over
            // it, and answer `Settled::Tombstoned`.
            Some(entry) => {
                entry.payload = Some(completed.payload().clone());
                entry.retention = completed.retention();
                // The lease is over, unless it is all that keeps the record.
                if entry.claimed_first.elapsed() < entry.retention {
                    entry.lease = Duration::ZERO;
                }
                Settled::Applied
            }
        })
    }

    async fn abandon(&self, owner: &Owner) -> Result<Settled, StoreError> {
        Ok(self.write(owner, |entry| entry.lease = Duration::ZERO))
    }

    async fn release(&self, owner: &Owner) -> Result<Settled, StoreError> {
        // Expired from now on, which is as good as absent.
        Ok(self.write(owner, |entry| {
            (entry.lease, entry.retention) = (Duration::ZERO, Duration::ZERO);
        }))
    }

    async fn inspect(&self, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        Ok(self.records().get(key).map(Entry::record))
    }

    async fn forget(&self, key: &RecordKey, force: bool) -> Result<Forgotten, StoreError> {
        let mut records = self.records();
        let Some(entry) = records.get(key) else {
            return Ok(Forgotten::Unknown);
        };
        if entry.record().is_live() && !force {
            return Ok(Forgotten::InFlight);
        }
        records.remove(key);
        Ok(Forgotten::Forgotten)
    }

    async fn erase_scope(&self, scope: &[u8; 16]) -> Result<u64, StoreError> {
        Ok(self
            .records()
            .extract_if(|key, _| key.scope() == scope)
            .count() as u64)
    }

    // `settled` is left to the trait, which asks `inspect` from time to time. A store that can wake
    // its waiters is quicker.
}

impl MapStore {
    /// The records that have not expired.
    fn records(&self) -> MutexGuard<'_, HashMap<RecordKey, Entry>> {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.retain(|_, entry| !entry.expires_in().is_zero());
        records
    }

    fn next_fence(&self) -> Fence {
        Fence::new(self.fences.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Lets an owner change its record while that is in flight.
    fn write(&self, owner: &Owner, change: impl FnOnce(&mut Entry)) -> Settled {
        match self.records().get_mut(owner.key()) {
            None => Settled::Missing,
            Some(entry) if entry.is_owned_by(owner) && entry.payload.is_none() => {
                change(entry);
                Settled::Applied
            }
            Some(_) => Settled::FencedOut,
        }
    }
}

impl Entry {
    /// Both must be equal; neither is compared by order.
    fn is_owned_by(&self, owner: &Owner) -> bool {
        self.fence == owner.fence() && self.claim_id == owner.claim_id()
    }

    /// Whether its owner is presumed lost, and this request is the same one and may run.
    fn is_free_for(&self, request: &ClaimRequest) -> bool {
        self.payload.is_none()
            && self.lease_left().is_zero()
            && self.fingerprint.matches(request.fingerprint())
            && match request.take_over() {
                TakeOver::Always => true,
                TakeOver::Uncommitted => !self.committed,
                _ => false,
            }
    }

    fn lease_left(&self) -> Duration {
        self.lease.saturating_sub(self.leased.elapsed())
    }

    /// Counted from the first claim, and never before the end of a lease.
    fn expires_in(&self) -> Duration {
        self.retention
            .saturating_sub(self.claimed_first.elapsed())
            .max(self.lease_left())
    }

    fn record(&self) -> Record {
        let state = match &self.payload {
            Some(payload) => State::Completed {
                payload: payload.clone(),
            },
            None => State::InFlight {
                lease_left: self.lease_left(),
            },
        };
        Record::new(self.fingerprint, self.fence, self.attempt, state)
            .committed(self.committed)
            .age(self.claimed_first.elapsed())
            .expires_in(self.expires_in())
    }
}

/// One test for each thing that a store must do; here, as in a crate of one's own.
#[cfg(test)]
mod tests {
    use super::MapStore;

    tower_idempotency::store_conformance!(MapStore::default);
}
