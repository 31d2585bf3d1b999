//! Claims, completions and look-ups, of the stores alone.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dashmap::DashMap;
use idempotent::entry::ExistingEntry;
use idempotent::fingerprint::{DefaultFingerprintStrategy, FingerprintStrategy};
use idempotent::store::{IdempotencyStore, InsertResult, memory};
use idempotent::{CachedResponse, IdempotencyEntry, IdempotencyKey, Metadata};
use tower_idempotency::{
    Claim, ClaimId, ClaimRequest, Completed, Fingerprint, MemoryStore, Owner, RecordKey, Settled,
    State, Store,
};

use crate::notes::{look_up_notes, store_notes};
use crate::rounds::{CALLS, Rounds};
use crate::support::RESPONSE;

const RETENTION: Duration = Duration::from_secs(24 * 60 * 60);
const LEASE: Duration = Duration::from_secs(30);
const NAMES: [&str; 3] = [
    "bare DashMap",
    "our MemoryStore",
    "idempotent 0.3 MemoryStore",
];
const FLOOR: usize = 0;
const OURS: usize = 1;

/// What all of them keep: the body of the response.
const PAYLOAD: Bytes = Bytes::from_static(&RESPONSE);

fn record_key(number: u64) -> RecordKey {
    let mut key = [9; 32];
    key[..8].copy_from_slice(&number.to_be_bytes());
    RecordKey::from_parts([8; 16], key)
}

struct Ours {
    store: MemoryStore,
    fingerprint: Fingerprint,
}

impl Ours {
    fn request(&self, number: u64) -> ClaimRequest {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        let id = ClaimId::from_bytes(id);
        ClaimRequest::new(record_key(number), id, self.fingerprint, LEASE, RETENTION)
    }

    async fn first(&self, number: u64) {
        let request = self.request(number);
        let Ok(Claim::Owned(owned)) = self.store.claim(&request).await else {
            panic!("{number} is new")
        };
        let owner = Owner::new(*request.key(), owned.fence(), request.claim_id());
        let completed = Completed::new(PAYLOAD, Bytes::from_static(b"t"), RETENTION);
        let settled = self.store.complete(&owner, &completed).await;
        assert!(matches!(settled, Ok(Settled::Applied)));
    }

    async fn look_up(&self, number: u64) {
        let Ok(Claim::Existing(record)) = self.store.claim(&self.request(number)).await else {
            panic!("{number} is there")
        };
        assert!(record.fingerprint().matches(&self.fingerprint));
        let State::Completed { payload } = record.state() else {
            panic!("{number} is completed")
        };
        black_box(payload);
    }
}

struct Theirs {
    store: memory::MemoryStore,
    fingerprint: idempotent::Fingerprint,
}

impl Theirs {
    fn key(number: u64) -> IdempotencyKey {
        IdempotencyKey::new(format!("{number:036}")).unwrap()
    }

    fn entry(&self) -> IdempotencyEntry<idempotent::entry::Processing> {
        IdempotencyEntry::new(self.fingerprint, RETENTION)
    }

    async fn first(&self, key: &IdempotencyKey) {
        let entry = self.entry();
        let Ok(InsertResult::Claimed { fencing_token }) =
            self.store.try_insert(key, entry.clone()).await
        else {
            panic!("{key} is new")
        };
        let completed = entry.complete(CachedResponse {
            status_code: 201,
            metadata: Metadata::default(),
            body: PAYLOAD,
        });
        let Ok(()) = self.store.complete(key, completed, fencing_token).await;
    }

    async fn look_up(&self, key: &IdempotencyKey) {
        let Ok(InsertResult::Exists(ExistingEntry::Completed(entry))) =
            self.store.try_insert(key, self.entry()).await
        else {
            panic!("{key} is completed")
        };
        assert!(entry.fingerprint_matches(self.fingerprint));
        black_box(entry.response());
    }
}

#[derive(Default)]
struct Floor(DashMap<[u8; 32], Option<Bytes>>);

impl Floor {
    fn key(number: u64) -> [u8; 32] {
        let mut key = [9; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        key
    }

    fn first(&self, number: u64) {
        let before = self.0.insert(Self::key(number), None);
        assert!(before.is_none());
        *self.0.get_mut(&Self::key(number)).unwrap() = Some(PAYLOAD);
    }

    fn look_up(&self, number: u64) {
        let payload = self.0.get(&Self::key(number)).unwrap().clone();
        black_box(payload.unwrap());
    }
}

pub(crate) async fn run() {
    let floor = Floor::default();
    let ours = Ours {
        store: MemoryStore::new(),
        fingerprint: Fingerprint::from_parts(1, [3; 32]),
    };
    let theirs = Theirs {
        store: memory::MemoryStore::new(1_024, Duration::from_secs(60)),
        fingerprint: DefaultFingerprintStrategy.compute("POST /v1/charges", b"{}"),
    };
    let keys = |first: u64| -> Vec<_> { (first..first + CALLS).map(Theirs::key).collect() };

    let rounds = Rounds::run(&NAMES, async |contestant, first| {
        let keys = keys(first);
        let began = Instant::now();
        match contestant {
            FLOOR => (first..first + CALLS).for_each(|number| floor.first(number)),
            OURS => {
                for number in first..first + CALLS {
                    ours.first(number).await;
                }
            }
            _ => {
                for key in &keys {
                    theirs.first(key).await;
                }
            }
        }
        began.elapsed()
    })
    .await;
    rounds.print("store: claim + complete", &[FLOOR, OURS], store_notes);

    let rounds = Rounds::run(&NAMES, async |contestant, first| {
        let keys = keys(first);
        let began = Instant::now();
        match contestant {
            FLOOR => (first..first + CALLS).for_each(|number| floor.look_up(number)),
            OURS => {
                for number in first..first + CALLS {
                    ours.look_up(number).await;
                }
            }
            _ => {
                for key in &keys {
                    theirs.look_up(key).await;
                }
            }
        }
        began.elapsed()
    })
    .await;
    rounds.print(
        "store: look-up of a completed record",
        &[FLOOR, OURS],
        look_up_notes,
    );
}
