//! A store behind a socket: one question and one answer per connection, a line of JSON each.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tower_idempotency::{
    Claim, ClaimId, ClaimRequest, Completed, Fence, Fingerprint, Forgotten, Owned, Owner, Record,
    RecordKey, Settled, State, Store, StoreError, StoreErrorKind, TakeOver,
};

type Digest = (u8, [u8; 32]);
type Named = ([u8; 16], [u8; 32]);
type OwnedBy = (Named, u64, [u8; 16]);

#[derive(Serialize, Deserialize)]
pub(crate) enum Question {
    Claim {
        key: Named,
        claim_id: [u8; 16],
        fingerprint: Digest,
        lease: Duration,
        retention: Duration,
        take_over: u8,
    },
    Renew(OwnedBy, Duration, bool),
    Complete(OwnedBy, Vec<u8>, Vec<u8>, Duration),
    Abandon(OwnedBy),
    Release(OwnedBy),
    Inspect(Named),
    Forget(Named, bool),
    Erase([u8; 16]),
    /// A handler has come so far.
    Tell {
        point: String,
        key: String,
        attempt: u32,
    },
}

#[derive(Serialize, Deserialize)]
pub(crate) enum Answer {
    Owned(u64, u32, Duration),
    Existing(Kept),
    NoRoom,
    Settled(u8),
    Found(Option<Kept>),
    Forgotten(u8),
    Erased(u64),
    GoOn(String),
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Kept {
    fingerprint: Digest,
    fence: u64,
    attempt: u32,
    committed: bool,
    times: (Duration, Duration),
    lease_left: Duration,
    payload: Option<Vec<u8>>,
}

const TAKE_OVER: [TakeOver; 3] = [TakeOver::Never, TakeOver::Uncommitted, TakeOver::Always];
const SETTLED: [Settled; 4] = [
    Settled::Applied,
    Settled::Tombstoned,
    Settled::FencedOut,
    Settled::Missing,
];
const FORGOTTEN: [Forgotten; 3] = [
    Forgotten::Forgotten,
    Forgotten::Unknown,
    Forgotten::InFlight,
];

fn place<T: PartialEq>(all: &[T], one: &T) -> u8 {
    all.iter().position(|it| it == one).unwrap() as u8
}

impl From<&Record> for Kept {
    fn from(record: &Record) -> Self {
        let fingerprint = record.fingerprint();
        Self {
            fingerprint: (fingerprint.version(), *fingerprint.digest()),
            fence: record.fence().get(),
            attempt: record.attempt(),
            committed: record.is_committed(),
            times: (record.since_first_request(), record.remaining()),
            lease_left: record.state().lease_left(),
            payload: match record.state() {
                State::Completed { payload } => Some(payload.to_vec()),
                _ => None,
            },
        }
    }
}

impl From<Kept> for Record {
    fn from(kept: Kept) -> Self {
        let (version, digest) = kept.fingerprint;
        let state = match kept.payload {
            Some(payload) => State::Completed {
                payload: payload.into(),
            },
            None => State::InFlight {
                lease_left: kept.lease_left,
            },
        };
        let fingerprint = Fingerprint::from_parts(version, digest);
        Self::new(fingerprint, Fence::new(kept.fence), kept.attempt, state)
            .committed(kept.committed)
            .age(kept.times.0)
            .expires_in(kept.times.1)
    }
}

fn named(key: &RecordKey) -> Named {
    (*key.scope(), *key.key())
}

fn owned_by(owner: &Owner) -> OwnedBy {
    let claim_id = *owner.claim_id().as_bytes();
    (named(owner.key()), owner.fence().get(), claim_id)
}

fn key((scope, key): Named) -> RecordKey {
    RecordKey::from_parts(scope, key)
}

fn owner((named, fence, claim_id): OwnedBy) -> Owner {
    let claim_id = ClaimId::from_bytes(claim_id);
    Owner::new(key(named), Fence::new(fence), claim_id)
}

impl Question {
    /// Asks the store; `None` for what only a test can answer.
    pub(crate) async fn put_to(self, store: &impl Store) -> Option<Answer> {
        let settled = |settled| Answer::Settled(place(&SETTLED, &settled));
        Some(match self {
            Self::Claim {
                key: named,
                claim_id,
                fingerprint: (version, digest),
                lease,
                retention,
                take_over,
            } => {
                let request = ClaimRequest::new(
                    key(named),
                    ClaimId::from_bytes(claim_id),
                    Fingerprint::from_parts(version, digest),
                    lease,
                    retention,
                )
                .with_take_over(TAKE_OVER[usize::from(take_over)]);
                match store.claim(&request).await.unwrap() {
                    Claim::Owned(it) => {
                        Answer::Owned(it.fence().get(), it.attempt(), it.lease_left())
                    }
                    Claim::Existing(record) => Answer::Existing((&record).into()),
                    _ => Answer::NoRoom,
                }
            }
            Self::Renew(by, lease, committed) => {
                settled(store.renew(&owner(by), lease, committed).await.unwrap())
            }
            Self::Complete(by, payload, tombstone, retention) => {
                let completed = Completed::new(payload.into(), tombstone.into(), retention);
                settled(store.complete(&owner(by), &completed).await.unwrap())
            }
            Self::Abandon(by) => settled(store.abandon(&owner(by)).await.unwrap()),
            Self::Release(by) => settled(store.release(&owner(by)).await.unwrap()),
            Self::Inspect(named) => {
                let found = store.inspect(&key(named)).await.unwrap();
                Answer::Found(found.as_ref().map(Kept::from))
            }
            Self::Forget(named, force) => {
                let forgotten = store.forget(&key(named), force).await.unwrap();
                Answer::Forgotten(place(&FORGOTTEN, &forgotten))
            }
            Self::Erase(scope) => Answer::Erased(store.erase_scope(&scope).await.unwrap()),
            Self::Tell { .. } => return None,
        })
    }

    /// What a test calls it when it holds it.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Claim { .. } => "claim",
            Self::Renew(..) => "renew",
            Self::Complete(..) => "complete",
            Self::Abandon(_) => "abandon",
            Self::Release(_) => "release",
            Self::Inspect(_) => "inspect",
            Self::Forget(..) => "forget",
            Self::Erase(_) => "erase",
            Self::Tell { point, .. } => point,
        }
    }
}

/// The store, as the processes under test see it.
#[derive(Clone, Copy)]
pub(crate) struct Remote(pub(crate) SocketAddr);

impl Remote {
    pub(crate) async fn ask(&self, question: &Question) -> Result<Answer, StoreError> {
        let ambiguous = |error| StoreError::new(StoreErrorKind::Ambiguous, error);
        let mut stream = TcpStream::connect(self.0).await.map_err(ambiguous)?;
        let mut line = serde_json::to_vec(question).unwrap();
        line.push(b'\n');
        stream.write_all(&line).await.map_err(ambiguous)?;
        let mut answer = String::new();
        let mut stream = BufReader::new(stream);
        stream.read_line(&mut answer).await.map_err(ambiguous)?;
        serde_json::from_str(&answer).map_err(|error| ambiguous(error.into()))
    }

    /// Says how far a handler has come, and waits until it may go on.
    pub(crate) async fn tell(&self, point: &str, key: &str, attempt: u32) -> String {
        let (point, key) = (point.to_owned(), key.to_owned());
        let told = Question::Tell {
            point,
            key,
            attempt,
        };
        match self.ask(&told).await {
            Ok(Answer::GoOn(word)) => word,
            _ => std::future::pending().await,
        }
    }

    async fn settle(&self, question: Question) -> Result<Settled, StoreError> {
        match self.ask(&question).await? {
            Answer::Settled(settled) => Ok(SETTLED[usize::from(settled)]),
            _ => panic!("another answer"),
        }
    }
}

impl Store for Remote {
    async fn claim(&self, request: &ClaimRequest) -> Result<Claim, StoreError> {
        let fingerprint = request.fingerprint();
        let question = Question::Claim {
            key: named(request.key()),
            claim_id: *request.claim_id().as_bytes(),
            fingerprint: (fingerprint.version(), *fingerprint.digest()),
            lease: request.lease(),
            retention: request.retention(),
            take_over: place(&TAKE_OVER, &request.take_over()),
        };
        Ok(match self.ask(&question).await? {
            Answer::Owned(fence, attempt, lease_left) => {
                Claim::Owned(Owned::new(Fence::new(fence), attempt, lease_left))
            }
            Answer::Existing(kept) => Claim::Existing(kept.into()),
            _ => Claim::Full,
        })
    }

    async fn renew(
        &self,
        owner: &Owner,
        lease: Duration,
        committed: bool,
    ) -> Result<Settled, StoreError> {
        let question = Question::Renew(owned_by(owner), lease, committed);
        self.settle(question).await
    }

    async fn complete(&self, owner: &Owner, completed: &Completed) -> Result<Settled, StoreError> {
        let bytes = |bytes: &Bytes| bytes.to_vec();
        let question = Question::Complete(
            owned_by(owner),
            bytes(completed.payload()),
            bytes(completed.tombstone()),
            completed.retention(),
        );
        self.settle(question).await
    }

    async fn abandon(&self, owner: &Owner) -> Result<Settled, StoreError> {
        self.settle(Question::Abandon(owned_by(owner))).await
    }

    async fn release(&self, owner: &Owner) -> Result<Settled, StoreError> {
        self.settle(Question::Release(owned_by(owner))).await
    }

    async fn inspect(&self, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        match self.ask(&Question::Inspect(named(key))).await? {
            Answer::Found(found) => Ok(found.map(Record::from)),
            _ => panic!("another answer"),
        }
    }

    async fn forget(&self, key: &RecordKey, force: bool) -> Result<Forgotten, StoreError> {
        match self.ask(&Question::Forget(named(key), force)).await? {
            Answer::Forgotten(forgotten) => Ok(FORGOTTEN[usize::from(forgotten)]),
            _ => panic!("another answer"),
        }
    }

    async fn erase_scope(&self, scope: &[u8; 16]) -> Result<u64, StoreError> {
        match self.ask(&Question::Erase(*scope)).await? {
            Answer::Erased(erased) => Ok(erased),
            _ => panic!("another answer"),
        }
    }
}
