//! What an obligation works with: a store, its verbs, and time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::times::Times;
use crate::fingerprint::Fingerprint;
use crate::key::{ClaimId, Fence, RecordKey};
use crate::store::boxed::BoxStore;
use crate::store::claim::{
    Claim, ClaimRequest, Completed, Forgotten, Owner, Record, Settled, State,
};
use crate::store::error::StoreError;
use crate::store::traits::Store;

/// A store while one obligation is examined. Clones are one bench.
#[derive(Clone, Debug)]
pub(crate) struct Bench {
    store: BoxStore,
    pub(super) times: Times,
    /// In all record keys, so that nobody else's records are met in a store that others share.
    salt: [u8; 16],
    start: Instant,
    /// Nanoseconds that were let pass.
    passed: Arc<AtomicU64>,
}

/// An owner as its claim was answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) owner: Owner,
    pub(super) attempt: u32,
    pub(super) lease_left: Duration,
    /// When the answer was there.
    pub(super) since: Instant,
}

impl Held {
    pub(super) fn fence(&self) -> Fence {
        self.owner.fence()
    }

    pub(super) fn key(&self) -> RecordKey {
        *self.owner.key()
    }
}

/// The verbs of an owner.
#[derive(Clone, Copy, Debug)]
pub(super) enum Write {
    Renew,
    Commit,
    Abandon,
    Release,
    Complete,
}

impl Write {
    pub(super) const ALL: [Self; 5] = [
        Self::Renew,
        Self::Commit,
        Self::Abandon,
        Self::Release,
        Self::Complete,
    ];
}

impl Bench {
    pub(super) fn new(store: BoxStore, times: Times) -> Self {
        Self {
            store,
            times,
            salt: *ClaimId::unique().as_bytes(),
            start: Instant::now(),
            passed: Arc::default(),
        }
    }

    /// The store itself, for what this bench has no verb for.
    pub(super) fn store(&self) -> &BoxStore {
        &self.store
    }

    // Time.

    /// Lets time pass: it jumps where it stands still.
    pub(super) async fn pass(&self, time: Duration) {
        if self.times.stands_still {
            self.has_passed(time);
            tokio::time::advance(time).await;
        } else {
            self.wait(time).await;
        }
    }

    /// Lets time pass, with all timers that end meanwhile.
    pub(super) async fn wait(&self, time: Duration) {
        self.has_passed(time);
        tokio::time::sleep(time).await;
    }

    /// Counts what is waited for on purpose.
    pub(super) fn has_passed(&self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.passed.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// Lets time pass until then, if that is not over.
    pub(super) async fn until(&self, then: Instant) {
        self.pass(then - Instant::now()).await;
    }

    /// Lets every lease end that is no longer than the usual one.
    pub(super) async fn lapse(&self) {
        self.pass(self.times.lease + self.times.after).await;
    }

    /// How long everything but waiting has taken so far.
    pub(super) fn spent(&self) -> Duration {
        let passed = Duration::from_nanos(self.passed.load(Ordering::Relaxed));
        self.start.elapsed().saturating_sub(passed)
    }

    /// Whether two durations are the same, as far as this clock can tell.
    pub(super) fn is_same(&self, left: Duration, right: Duration) -> bool {
        left.abs_diff(right) <= self.times.tolerance
    }

    #[track_caller]
    pub(super) fn same(&self, what: &str, actual: Duration, expected: Duration) {
        assert!(
            self.is_same(actual, expected),
            "{what} is {actual:?}, expected {expected:?} (give or take {:?})",
            self.times.tolerance,
        );
    }

    // Names.

    /// A record key of the first scope.
    pub(super) fn key(&self, number: u64) -> RecordKey {
        self.key_of(1, number)
    }

    pub(super) fn key_of(&self, scope: u8, number: u64) -> RecordKey {
        let mut of = self.salt;
        of[0] ^= scope;
        let mut key = [scope; 32];
        key[..16].copy_from_slice(&self.salt);
        key[24..].copy_from_slice(&number.to_be_bytes());
        RecordKey::from_parts(of, key)
    }

    /// What the same request sends when it is tried again.
    pub(super) fn request(&self, key: RecordKey) -> ClaimRequest {
        request_for(key, self.times.lease, self.times.retention)
    }

    /// What another request sends with the same key.
    pub(super) fn other_request(&self, key: RecordKey) -> ClaimRequest {
        let Times {
            lease, retention, ..
        } = self.times;
        ClaimRequest::new(key, ClaimId::unique(), fingerprint(2), lease, retention)
    }

    pub(super) fn completed(&self, payload: &'static str) -> Completed {
        let payload = Bytes::from_static(payload.as_bytes());
        completed_with(payload, self.times.retention)
    }

    // Verbs, whose failure is that of the store.

    pub(super) async fn claim(&self, request: &ClaimRequest) -> Claim {
        succeeded("claim", self.store.claim(request).await)
    }

    /// Claims a new key.
    pub(super) async fn own(&self, key: RecordKey) -> Held {
        self.own_as("an absent key", &self.request(key)).await
    }

    /// Claims, and expects to own.
    pub(super) async fn own_as(&self, what: &str, request: &ClaimRequest) -> Held {
        match self.claim(request).await {
            Claim::Owned(owned) => Held {
                owner: Owner::new(*request.key(), owned.fence(), request.claim_id()),
                attempt: owned.attempt(),
                lease_left: owned.lease_left(),
                since: Instant::now(),
            },
            claim => panic!("the claim of {what} must be owned, it was answered with {claim:?}"),
        }
    }

    /// Claims a new key that somebody else may own by now: only its attempt matters.
    pub(super) async fn own_anew(&self, what: &str, key: RecordKey) -> Held {
        let held = self.own_as(what, &self.other_request(key)).await;
        assert_eq!(held.attempt, 1, "the attempt of the first owner of {what}");
        held
    }

    /// Claims, and expects to find a record.
    pub(super) async fn find(&self, what: &str, request: &ClaimRequest) -> Record {
        match self.claim(request).await {
            Claim::Existing(record) => record,
            claim => panic!(
                "the claim of {what} must be answered with the record, it was answered with {claim:?}"
            ),
        }
    }

    /// Writes as this owner.
    pub(super) async fn write(&self, verb: Write, owner: &Owner) -> Settled {
        let lease = self.times.lease;
        let settled = match verb {
            Write::Renew => self.store.renew(owner, lease, false).await,
            Write::Commit => self.store.renew(owner, lease, true).await,
            Write::Abandon => self.store.abandon(owner).await,
            Write::Release => self.store.release(owner).await,
            Write::Complete => {
                let completed = self.completed(PAYLOAD);
                self.store.complete(owner, &completed).await
            }
        };
        succeeded(&format!("{verb:?} of an owner"), settled)
    }

    /// Writes as this owner, and expects that it is applied.
    pub(super) async fn applies(&self, verb: Write, what: &str, held: &Held) {
        let settled = self.write(verb, &held.owner).await;
        assert_eq!(settled, Settled::Applied, "{verb:?} of {what}");
    }

    pub(super) async fn renew(&self, held: &Held) {
        self.applies(Write::Renew, "the owner", held).await;
    }

    pub(super) async fn commit(&self, held: &Held) {
        self.applies(Write::Commit, "the owner", held).await;
    }

    pub(super) async fn abandon(&self, held: &Held) {
        self.applies(Write::Abandon, "the owner", held).await;
    }

    pub(super) async fn release(&self, held: &Held) {
        self.applies(Write::Release, "the owner", held).await;
    }

    /// Completes with [`PAYLOAD`].
    pub(super) async fn complete(&self, held: &Held) {
        self.applies(Write::Complete, "the owner", held).await;
    }

    pub(super) async fn complete_with(&self, held: &Held, completed: &Completed) -> Settled {
        succeeded(
            "complete",
            self.store.complete(&held.owner, completed).await,
        )
    }

    pub(super) async fn renew_for(&self, held: &Held, lease: Duration) {
        let settled = succeeded("renew", self.store.renew(&held.owner, lease, false).await);
        assert_eq!(settled, Settled::Applied, "renewal of the owner");
    }

    pub(super) async fn inspect(&self, key: RecordKey) -> Option<Record> {
        succeeded("inspect", self.store.inspect(&key).await)
    }

    pub(super) async fn forget(&self, key: RecordKey, force: bool) -> Forgotten {
        succeeded("forget", self.store.forget(&key, force).await)
    }

    pub(super) async fn erase(&self, scope: &[u8; 16]) -> u64 {
        succeeded("erase_scope", self.store.erase_scope(scope).await)
    }
}

/// What a usual completion writes.
pub(super) const PAYLOAD: &str = "done";

/// And what it leaves where that does not fit.
pub(super) const TOMBSTONE: &[u8] = b"gone";

pub(super) fn fingerprint(digest: u8) -> Fingerprint {
    Fingerprint::from_parts(1, [digest; 32])
}

/// The payload of a completed record.
pub(super) fn payload(record: &Record) -> Option<&Bytes> {
    match record.state() {
        State::Completed { payload } => Some(payload),
        State::InFlight { .. } => None,
    }
}

pub(super) fn succeeded<T>(verb: &str, answer: Result<T, StoreError>) -> T {
    answer.unwrap_or_else(|error| {
        let source = std::error::Error::source(&error).map(ToString::to_string);
        panic!("{verb} failed: {error}: {}", source.unwrap_or_default())
    })
}

pub(super) fn request_for(key: RecordKey, lease: Duration, retention: Duration) -> ClaimRequest {
    ClaimRequest::new(key, ClaimId::unique(), fingerprint(1), lease, retention)
}

pub(super) fn completed_for(retention: Duration) -> Completed {
    completed_with(Bytes::from_static(b"done"), retention)
}

pub(super) fn completed_with(payload: Bytes, retention: Duration) -> Completed {
    Completed::new(payload, Bytes::from_static(TOMBSTONE), retention)
}
