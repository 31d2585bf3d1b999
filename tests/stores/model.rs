//! Any sequence of verbs is answered as the documentation of [`Store`] says, here written down once
//! more and as plainly as possible.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use tower_idempotency::{
    Cached, Claim, ClaimId, ClaimRequest, Completed, Fence, Forgotten, MemoryStore, Owner, Record,
    RecordKey, Settled, State, Store, TakeOver,
};

use steps::{Step, steps};

use crate::reference::Reference;
use crate::support::{claim_id, fingerprint, key_of, pass};

mod steps;

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_verbs_is_answered_as_documented(steps in steps()) {
        follow(MemoryStore::new, &steps);
    }

    #[test]
    fn the_reference_store_answers_any_sequence_so_too(steps in steps()) {
        follow(Reference::new, &steps);
    }

    #[test]
    fn what_is_kept_of_a_store_answers_any_sequence_so_too(steps in steps()) {
        follow(|| Cached::new(MemoryStore::new()), &steps);
    }
}

fn follow<St: Store>(make: fn() -> St, steps: &[Step]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    // Made inside, where time is paused already.
    runtime.block_on(async { Run::new(make()).all(steps).await });
}

/// A record as the documentation has it. Times in seconds.
#[derive(Clone)]
struct Kept {
    print: u8,
    claim_id: ClaimId,
    fence: Fence,
    attempt: u32,
    committed: bool,
    first: u64,
    retained: u64,
    lease_end: u64,
    payload: Option<Bytes>,
}

impl Kept {
    fn expires(&self) -> u64 {
        match self.payload {
            Some(_) => self.retained,
            None => self.retained.max(self.lease_end),
        }
    }

    fn is_live(&self, now: u64) -> bool {
        self.payload.is_none() && self.lease_end > now
    }

    fn is_owned_by(&self, owner: &Owner) -> bool {
        self.fence == owner.fence() && self.claim_id == owner.claim_id()
    }

    fn agrees_with(&self, record: &Record, now: u64) {
        assert!(record.fingerprint().matches(&fingerprint(self.print)));
        assert_eq!(record.fence(), self.fence);
        assert_eq!(record.attempt(), self.attempt);
        assert_eq!(record.is_committed(), self.committed);
        assert_eq!(
            record.since_first_request(),
            Duration::from_secs(now - self.first)
        );
        assert_eq!(
            record.remaining(),
            Duration::from_secs(self.expires() - now)
        );
        match (record.state(), &self.payload) {
            (State::Completed { payload }, Some(kept)) => assert_eq!(payload, kept),
            (State::InFlight { lease_left }, None) => {
                assert_eq!(
                    *lease_left,
                    Duration::from_secs(self.lease_end.saturating_sub(now))
                );
            }
            (state, kept) => panic!("{state:?}, but {kept:?}"),
        }
    }
}

struct Run<St> {
    store: St,
    now: u64,
    records: HashMap<RecordKey, Kept>,
    /// The highest of every key, whatever became of its records.
    fences: HashMap<RecordKey, Fence>,
    requests: Vec<(ClaimRequest, u8)>,
    owners: Vec<Owner>,
}

impl<St: Store> Run<St> {
    fn new(store: St) -> Self {
        Self {
            store,
            now: 0,
            records: HashMap::new(),
            fences: HashMap::new(),
            requests: Vec::new(),
            owners: Vec::new(),
        }
    }

    async fn all(mut self, steps: &[Step]) {
        for step in steps {
            self.step(step).await;
            for key in [key_of(1, 0), key_of(1, 1), key_of(2, 0), key_of(2, 1)] {
                let record = self.store.inspect(&key).await.unwrap();
                let kept = self.there(&key);
                assert_eq!(record.is_some(), kept.is_some(), "{key:?} after {step:?}");
                if let (Some(record), Some(kept)) = (record, kept) {
                    kept.agrees_with(&record, self.now);
                }
            }
        }
    }

    /// The record of this key, if it has not expired.
    fn there(&self, key: &RecordKey) -> Option<&Kept> {
        self.records
            .get(key)
            .filter(|kept| kept.expires() > self.now)
    }

    async fn step(&mut self, step: &Step) {
        match step {
            Step::Claim {
                key,
                print,
                lease,
                retention,
                rule,
            } => {
                let (lease, retention) =
                    (Duration::from_secs(*lease), Duration::from_secs(*retention));
                let request =
                    ClaimRequest::new(*key, claim_id(), fingerprint(*print), lease, retention);
                self.requests.push((request.with_take_over(*rule), *print));
                self.claim(self.requests.len() - 1).await;
            }
            Step::ClaimAgain { earlier } if !self.requests.is_empty() => {
                self.claim(earlier.index(self.requests.len())).await;
            }
            Step::Renew {
                owner,
                lease,
                committed,
            } => {
                let Some(owner) = self.owner(owner) else {
                    return;
                };
                let duration = Duration::from_secs(*lease);
                let settled = self
                    .store
                    .renew(&owner, duration, *committed)
                    .await
                    .unwrap();
                let lease_end = self.now + lease;
                self.settle(&owner, settled, |kept| {
                    kept.lease_end = lease_end;
                    kept.committed |= committed;
                });
            }
            Step::Complete { owner, retention } => {
                let Some(owner) = self.owner(owner) else {
                    return;
                };
                let payload = Bytes::from(format!("{owner:?}"));
                let duration = Duration::from_secs(*retention);
                let completed = Completed::new(payload.clone(), Bytes::new(), duration);
                let settled = self.store.complete(&owner, &completed).await.unwrap();
                let now = self.now;
                let kept = self
                    .records
                    .get(owner.key())
                    .filter(|kept| kept.is_owned_by(&owner));
                if let Some(kept) = kept.filter(|kept| kept.payload.is_some()) {
                    let gone = settled == Settled::Missing && kept.expires() <= now;
                    return assert!(gone || settled == Settled::Applied, "a repeated completion");
                }
                self.settle(&owner, settled, |kept| {
                    kept.payload = Some(payload);
                    kept.retained = kept.first + retention;
                    if kept.retained <= now {
                        kept.retained = kept.lease_end;
                    }
                });
            }
            Step::Abandon { owner } => {
                let Some(owner) = self.owner(owner) else {
                    return;
                };
                let settled = self.store.abandon(&owner).await.unwrap();
                let now = self.now;
                self.settle(&owner, settled, |kept| {
                    kept.lease_end = kept.lease_end.min(now)
                });
            }
            Step::Release { owner } => {
                let Some(owner) = self.owner(owner) else {
                    return;
                };
                let settled = self.store.release(&owner).await.unwrap();
                self.settle(&owner, settled, |_| ());
                if settled == Settled::Applied {
                    self.records.remove(owner.key());
                }
            }
            Step::Forget { key, force } => {
                let forgotten = self.store.forget(key, *force).await.unwrap();
                let expected = match self.there(key) {
                    None => Forgotten::Unknown,
                    Some(kept) if kept.is_live(self.now) && !force => Forgotten::InFlight,
                    Some(_) => Forgotten::Forgotten,
                };
                assert_eq!(forgotten, expected);
                if forgotten == Forgotten::Forgotten {
                    self.records.remove(key);
                }
            }
            Step::Erase { key } => {
                let erased = self.store.erase_scope(key.scope()).await.unwrap();
                let is_there = |kept: &Kept| kept.expires() > self.now;
                let scope = self
                    .records
                    .extract_if(|kept, _| kept.scope() == key.scope());
                assert_eq!(
                    erased,
                    scope.filter(|(_, kept)| is_there(kept)).count() as u64
                );
            }
            Step::Pass { seconds } => {
                pass(Duration::from_secs(*seconds)).await;
                self.now += seconds;
            }
            Step::ClaimAgain { .. } => {}
        }
    }

    fn owner(&self, index: &prop::sample::Index) -> Option<Owner> {
        (!self.owners.is_empty()).then(|| *index.get(&self.owners))
    }

    async fn claim(&mut self, request: usize) {
        let (request, print) = self.requests[request].clone();
        let (key, now) = (*request.key(), self.now);
        let claim = self.store.claim(&request).await.unwrap();
        let lease_end = now + request.lease().as_secs();
        let highest = self.fences.get(&key).copied();

        let kept = match (self.there(&key).cloned(), &claim) {
            (None, Claim::Owned(owned)) => {
                assert!(Some(owned.fence()) > highest, "a fence fell behind");
                Kept {
                    print,
                    claim_id: request.claim_id(),
                    fence: owned.fence(),
                    attempt: 1,
                    committed: false,
                    first: now,
                    retained: now + request.retention().as_secs(),
                    lease_end,
                    payload: None,
                }
            }
            (Some(kept), Claim::Owned(owned)) if kept.claim_id == request.claim_id() => {
                assert!(
                    kept.payload.is_none(),
                    "a completed record was claimed again"
                );
                assert_eq!(owned.fence(), kept.fence);
                Kept { lease_end, ..kept }
            }
            (Some(kept), Claim::Owned(owned)) => {
                let allowed = match request.take_over() {
                    TakeOver::Uncommitted => !kept.committed,
                    TakeOver::Always => true,
                    _ => false,
                };
                assert!(allowed && kept.payload.is_none() && !kept.is_live(now));
                assert_eq!(kept.print, print, "taken over by another request");
                assert!(Some(owned.fence()) > highest, "a fence fell behind");
                Kept {
                    claim_id: request.claim_id(),
                    fence: owned.fence(),
                    attempt: kept.attempt + 1,
                    lease_end,
                    ..kept
                }
            }
            (Some(kept), Claim::Existing(record)) => {
                kept.agrees_with(record, now);
                let mine = kept.claim_id == request.claim_id();
                let free = !kept.is_live(now)
                    && kept.print == print
                    && match request.take_over() {
                        TakeOver::Uncommitted => !kept.committed,
                        TakeOver::Always => true,
                        _ => false,
                    };
                assert!(
                    kept.payload.is_some() || !mine && !free,
                    "refused without a reason"
                );
                return;
            }
            (kept, claim) => panic!("{claim:?}, there is one: {}", kept.is_some()),
        };
        let Claim::Owned(owned) = claim else {
            unreachable!("answered above")
        };
        assert_eq!(owned.attempt(), kept.attempt);
        assert_eq!(owned.lease_left(), request.lease());
        self.owners
            .push(Owner::new(key, owned.fence(), request.claim_id()));
        self.fences.insert(key, owned.fence());
        self.records.insert(key, kept);
    }

    /// Checks the answer to an owner's write, and follows it.
    fn settle(&mut self, owner: &Owner, settled: Settled, change: impl FnOnce(&mut Kept)) {
        let expired = self.there(owner.key()).is_none();
        let Some(kept) = self.records.get_mut(owner.key()) else {
            return assert_eq!(settled, Settled::Missing);
        };
        let owned = kept.is_owned_by(owner) && kept.payload.is_none();
        match settled {
            // A store may still have an expired record, and its owner may come back to it.
            Settled::Applied => assert!(owned),
            Settled::FencedOut => assert!(!owned && !expired),
            _ => assert!(expired),
        }
        if settled == Settled::Applied {
            change(kept);
        } else if expired && owned {
            self.records.remove(owner.key());
        }
    }
}
