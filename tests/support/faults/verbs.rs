//! What the verbs are called with, and what they answer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tower_idempotency::{
    Claim, ClaimId, ClaimRequest, Completed, Fingerprint, Owner, Record, RecordKey, Settled, State,
    Store, StoreError, StoreErrorKind,
};

use crate::servers::within;

pub(crate) const LEASE: Duration = Duration::from_secs(30);
pub(crate) const RETENTION: Duration = Duration::from_secs(3_600);

/// The scope of [`key`].
pub(crate) const SCOPE: [u8; 16] = [7; 16];

/// A store on a server, which can be asked whether it answers.
pub(crate) trait Pings: Store {
    fn pings(&self) -> impl Future<Output = Result<(), StoreError>> + Send;
}

pub(crate) fn key(number: u64) -> RecordKey {
    key_of(SCOPE, number)
}

pub(crate) fn key_of(scope: [u8; 16], number: u64) -> RecordKey {
    let mut key = [0; 32];
    key[24..].copy_from_slice(&number.to_be_bytes());
    RecordKey::from_parts(scope, key)
}

/// A claim that no other claim is.
pub(crate) fn request(key: RecordKey) -> ClaimRequest {
    request_for(key, LEASE, RETENTION)
}

pub(crate) fn request_for(key: RecordKey, lease: Duration, retention: Duration) -> ClaimRequest {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut id = [0; 16];
    id[..4].copy_from_slice(&std::process::id().to_be_bytes());
    id[8..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    let fingerprint = Fingerprint::from_parts(1, [1; 32]);
    ClaimRequest::new(key, ClaimId::from_bytes(id), fingerprint, lease, retention)
}

pub(crate) fn completed(payload: impl Into<Bytes>) -> Completed {
    Completed::new(payload.into(), Bytes::from_static(b"gone"), RETENTION)
}

/// Claims, and expects to own the key.
pub(crate) async fn own(store: &impl Store, request: &ClaimRequest) -> Owner {
    owned(request, store.claim(request).await)
}

#[track_caller]
pub(crate) fn owned(request: &ClaimRequest, claim: Result<Claim, StoreError>) -> Owner {
    match claim {
        Ok(Claim::Owned(owned)) => Owner::new(*request.key(), owned.fence(), request.claim_id()),
        claim => panic!("not owned: {claim:?}"),
    }
}

/// Claims a new key, and expects to own it.
pub(crate) async fn own_key(store: &impl Store, number: u64) -> Owner {
    own(store, &request(key(number))).await
}

/// Claims, and expects to find a record.
pub(crate) async fn find(store: &impl Store, key: RecordKey) -> Record {
    match store.claim(&request(key)).await {
        Ok(Claim::Existing(record)) => record,
        claim => panic!("no record is found: {claim:?}"),
    }
}

/// The payload of a completed record.
#[track_caller]
pub(crate) fn payload(record: &Record) -> &[u8] {
    match record.state() {
        State::Completed { payload } => payload,
        state => panic!("not completed: {state:?}"),
    }
}

/// The kind of an error, and why in the words of the store.
#[track_caller]
pub(crate) fn failed<T: std::fmt::Debug>(
    answer: Result<T, StoreError>,
) -> (StoreErrorKind, String) {
    let error = answer.expect_err("it fails");
    let mut why = String::new();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        why = format!("{why}: {error}");
        cause = error.source();
    }
    (error.kind(), why)
}

/// What can be asked of a store. Only the last never fails.
pub(crate) const VERBS: [&str; 11] = [
    "claim", "renew", "mark", "complete", "abandon", "release", "inspect", "forget", "erase",
    "ping", "settled",
];

/// Those that may fail.
pub(crate) fn fallible() -> impl Iterator<Item = &'static str> {
    VERBS.into_iter().take(VERBS.len() - 1)
}

/// What [`EachVerb::call`] answers where nothing fails.
pub(crate) fn expected(verb: &str) -> &'static str {
    match verb {
        "claim" | "inspect" => "found",
        "forget" => "Forgotten",
        "erase" => "1",
        "ping" => "()",
        "settled" => "true",
        _ => "Applied",
    }
}

/// Calls verbs by their names, each with a key that was claimed for it before.
pub(crate) struct EachVerb<'a, S> {
    store: &'a S,
    owners: HashMap<&'static str, Owner>,
}

impl<'a, S: Pings> EachVerb<'a, S> {
    /// Claims a key for each verb, from this number on, in a scope of its own.
    pub(crate) async fn new(store: &'a S, first: u64) -> Self {
        let mut owners = HashMap::new();
        for (verb, number) in VERBS.into_iter().zip(first..) {
            let mut scope = SCOPE;
            scope[0] = number as u8;
            let owner = own(store, &request(key_of(scope, number))).await;
            owners.insert(verb, owner);
        }
        Self { store, owners }
    }

    /// Calls one of them; says what it answers.
    pub(crate) async fn call(&self, verb: &str) -> Result<String, StoreError> {
        let (store, owner) = (self.store, &self.owners[verb]);
        let settled = |settled: Settled| format!("{settled:?}");
        Ok(match verb {
            "claim" => match store.claim(&request(*owner.key())).await? {
                Claim::Existing(record) if record.is_live() => "found".to_owned(),
                claim => format!("{claim:?}"),
            },
            "renew" => settled(store.renew(owner, LEASE, false).await?),
            "mark" => settled(store.renew(owner, LEASE, true).await?),
            "complete" => settled(store.complete(owner, &completed("done")).await?),
            "abandon" => settled(store.abandon(owner).await?),
            "release" => settled(store.release(owner).await?),
            "inspect" => match store.inspect(owner.key()).await? {
                Some(record) if record.is_live() => "found".to_owned(),
                record => format!("{record:?}"),
            },
            "forget" => format!("{:?}", store.forget(owner.key(), true).await?),
            "erase" => store.erase_scope(owner.key().scope()).await?.to_string(),
            "ping" => format!("{:?}", store.pings().await?),
            _ => {
                let (begin, bound) = (Instant::now(), Duration::from_millis(50));
                store.settled(owner.key(), owner.fence(), bound).await;
                (begin.elapsed() >= bound).to_string()
            }
        })
    }

    /// Calls all of them, and expects that nothing fails.
    pub(crate) async fn all_pass(&self) {
        for verb in VERBS {
            let answer = within(self.call(verb)).await;
            assert_eq!(answer.expect(verb), expected(verb), "{verb}");
        }
    }
}
