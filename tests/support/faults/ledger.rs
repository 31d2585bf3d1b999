//! What becomes of keys while their server is killed, again and again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tower_idempotency::{
    Claim, ClaimRequest, Fence, Owner, RecordKey, Settled, State, Store, StoreError,
};

use super::verbs::{RETENTION, completed, key, own_key, payload, request_for};
use crate::servers::{eventually, within};

const LEASE: Duration = Duration::from_millis(400);
/// Workers meet at so many keys.
const OPEN: u64 = 12;

/// What is known of all keys, by the answers to those who work at them.
#[derive(Default)]
struct Ledger {
    claims: Mutex<HashMap<RecordKey, Vec<Owned>>>,
    /// What was acknowledged, or found.
    done: Mutex<HashMap<RecordKey, String>>,
    /// Completions that were acknowledged.
    acknowledged: AtomicU64,
    is_over: AtomicBool,
}

#[derive(Clone, Copy)]
struct Owned {
    fence: Fence,
    sent: Instant,
    answered: Instant,
    /// When the owner began to give it up.
    ended: Option<Instant>,
}

impl Ledger {
    /// Expects that an owner is alone, and has a fence above those before.
    fn owns(&self, owner: &Owner, sent: Instant) {
        let (fence, answered) = (owner.fence(), Instant::now());
        let mut claims = self.claims.lock().unwrap();
        let claims = claims.entry(*owner.key()).or_default();
        for before in claims.iter() {
            if before.answered < sent {
                assert!(fence > before.fence, "a fence that does not rise");
            }
            assert_ne!(fence, before.fence, "a fence twice");
            let has_ended = before.ended.is_some() || answered >= before.sent + LEASE;
            assert!(has_ended, "two owners at once");
        }
        let ended = None;
        claims.push(Owned {
            fence,
            sent,
            answered,
            ended,
        });
    }

    fn ends(&self, owner: &Owner) {
        let mut claims = self.claims.lock().unwrap();
        let mut claims = claims.get_mut(owner.key()).unwrap().iter_mut();
        let claim = claims.find(|claim| claim.fence == owner.fence()).unwrap();
        claim.ended = Some(Instant::now());
    }

    /// Expects that what a key has come to is what it had come to before.
    fn is_done(&self, key: RecordKey, payload: &str) {
        let mut done = self.done.lock().unwrap();
        let before = done.entry(key).or_insert_with(|| payload.to_owned());
        assert_eq!(before, payload, "an outcome that changes");
    }

    /// One of the first keys that are not done.
    fn next_key(&self, draw: u64) -> RecordKey {
        let done = self.done.lock().unwrap();
        let mut open = (0..).map(key).filter(|key| !done.contains_key(key));
        open.nth((draw % OPEN) as usize).unwrap()
    }
}

async fn work(store: Arc<impl Store>, ledger: Arc<Ledger>, mut draw: u64) {
    while !ledger.is_over.load(Ordering::Relaxed) {
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let request = request_for(ledger.next_key(draw >> 33), LEASE, RETENTION);
        // Failures are what this is about.
        if step(&store, &ledger, &request, draw >> 50).await.is_err() {
            sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn step(
    store: &impl Store,
    ledger: &Ledger,
    request: &ClaimRequest,
    draw: u64,
) -> Result<(), StoreError> {
    let sent = Instant::now();
    let owner = match store.claim(request).await? {
        Claim::Owned(owned) => Owner::new(*request.key(), owned.fence(), request.claim_id()),
        Claim::Existing(record) => {
            if matches!(record.state(), State::Completed { .. }) {
                ledger.is_done(
                    *request.key(),
                    std::str::from_utf8(payload(&record)).unwrap(),
                );
            }
            return Ok(());
        }
        claim => panic!("{claim:?}"),
    };
    ledger.owns(&owner, sent);
    match draw % 4 {
        // It is lost.
        0 => return Ok(()),
        1 => {
            ledger.ends(&owner);
            store.release(&owner).await?;
        }
        2 => {
            ledger.ends(&owner);
            store.abandon(&owner).await?;
        }
        _ => {
            let payload = owner.fence().get().to_string();
            let completion = store.complete(&owner, &completed(payload.clone())).await;
            if completion? == Settled::Applied {
                ledger.ends(&owner);
                ledger.is_done(*owner.key(), &payload);
                ledger.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    Ok(())
}

/// Expects that no restart of the server loses what it has acknowledged to these stores, and that a store of
/// afterwards finds it.
pub(crate) async fn outlives_restarts<S: Store>(
    stores: Vec<S>,
    restart: impl AsyncFn(),
    afterwards: impl AsyncFnOnce() -> S,
) {
    let ledger = Arc::<Ledger>::default();
    let mut workers = Vec::new();
    // Two of them over one store.
    for (store, pair) in stores.into_iter().zip(1..) {
        let store = Arc::new(store);
        for worker in [pair, pair + 10] {
            let (store, ledger) = (Arc::clone(&store), Arc::clone(&ledger));
            workers.push(tokio::spawn(work(store, ledger, worker)));
        }
    }

    for _ in 0..6 {
        let before = ledger.acknowledged.load(Ordering::Relaxed);
        let more = async || {
            let now = ledger.acknowledged.load(Ordering::Relaxed);
            (now > before + 20).then_some(())
        };
        eventually("outcomes are acknowledged", more).await;
        restart().await;
    }
    ledger.is_over.store(true, Ordering::Relaxed);
    for worker in workers {
        within(worker).await.unwrap();
    }

    let store = afterwards().await;
    let done = ledger.done.lock().unwrap().clone();
    assert!(done.len() > 120, "{}", done.len());
    for (key, expected) in done {
        let record = store
            .inspect(&key)
            .await
            .unwrap()
            .expect("it was acknowledged");
        assert_eq!(payload(&record), expected.as_bytes());
    }
    own_key(&store, 1_000_000).await;
}
