//! What [`Encrypted`] does beside the obligations of every store.

use std::sync::Arc;

use bytes::Bytes;
use tower_idempotency::{
    Claim, Completed, Encrypted, EncryptionKey, Forgotten, Keyring, MemoryStore, RecordKey,
    Settled, State, Store, StoreErrorKind,
};

use crate::reference::Reference;
use crate::support::{
    LEASE, MOMENT, RETENTION, abandon, claim, complete, completed, find, inspect, key, key_of, own,
    pass, payload, request,
};

use shelf::Shelf;

mod conforms;
mod keyrings;
mod shelf;
mod sizes;

fn secret(number: u8) -> EncryptionKey {
    EncryptionKey::new(number.into(), [number; 32])
}

/// By key 1.
fn encrypted<St: Store>(store: St) -> Encrypted<St> {
    Encrypted::new(store, Keyring::new(secret(1)))
}

/// Claims and completes a new key.
async fn done(store: &impl Store, key: RecordKey, completed: &Completed) -> Settled {
    let (_, owner) = own(store, &request(key)).await;
    complete(store, &owner, completed).await
}

/// Neither read nor run.
async fn is_unreadable(store: &impl Store, key: RecordKey) {
    let claimed = store.claim(&request(key)).await;
    let inspected = store.inspect(&key).await;

    let kinds = [
        claimed.map(drop).map_err(|error| error.kind()),
        inspected.map(drop).map_err(|error| error.kind()),
    ];
    assert_eq!(kinds, [Err(StoreErrorKind::Unreadable); 2]);
}

fn contains(bytes: &[u8], canary: &str) -> bool {
    let mut windows = bytes.windows(canary.len());
    windows.any(|window| window == canary.as_bytes())
}

#[tokio::test(start_paused = true)]
async fn neither_payload_nor_tombstone_can_be_read_in_the_store() {
    for compress in [false, true] {
        let shelf = Arc::new(Shelf::new());
        let store = encrypted(Arc::clone(&shelf)).compress(compress);
        let secret = Completed::new(
            "canary ".repeat(100).into(),
            "canary-location".into(),
            RETENTION,
        );
        done(&store, key(1), &secret).await;

        let kept = shelf.payload(&key(1)).await;

        assert!(!contains(&kept, "canary"), "{kept:?}");
        assert_eq!(kept.len() < 700, compress, "{}", kept.len());
        let record = find(&store, &request(key(1))).await;
        assert_eq!(payload(&record).as_ref(), Some(secret.payload()));
        let record = inspect(&store, key(1)).await.unwrap();
        assert_eq!(payload(&record).as_ref(), Some(secret.payload()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_tombstone_is_encrypted_too() {
    let inner = Arc::new(Reference::new().limit(100));
    let store = encrypted(Arc::clone(&inner));
    let large = Completed::new(vec![7; 1_000].into(), "canary".into(), RETENTION);

    assert_eq!(done(&store, key(1), &large).await, Settled::Tombstoned);

    let kept = payload(&inspect(&inner, key(1)).await.unwrap()).unwrap();
    assert!(!contains(&kept, "canary"), "{kept:?}");
    let record = find(&store, &request(key(1))).await;
    assert_eq!(payload(&record).unwrap(), "canary");
}

#[tokio::test(start_paused = true)]
async fn a_payload_is_never_encrypted_twice_alike() {
    let shelf = Arc::new(Shelf::new());
    let store = encrypted(Arc::clone(&shelf));
    let mut seen = std::collections::HashSet::new();

    for _ in 0..100 {
        done(&store, key(1), &completed("done")).await;
        let kept = shelf.payload(&key(1)).await;
        let nonce = Bytes::copy_from_slice(&kept[9..33]);
        assert!(seen.insert(nonce), "a nonce was used twice");
        assert!(seen.insert(kept.slice(33..)));
        store.forget(&key(1), false).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn all_but_the_payload_is_as_the_store_has_it() {
    let shelf = Arc::new(Shelf::new());
    let store = encrypted(Arc::clone(&shelf));
    let (_, first) = own(&store, &request(key(1))).await;
    store.renew(&first, LEASE, true).await.unwrap();
    complete(&store, &first, &completed("done")).await;
    let (_, lost) = own(&store, &request(key(2))).await;
    abandon(&store, &lost).await;
    own(&store, &request(key(2))).await;
    pass(MOMENT).await;

    for key in [key(1), key(2)] {
        let within = inspect(&shelf, key).await.unwrap();
        let shown = [
            inspect(&store, key).await.unwrap(),
            find(&store, &request(key)).await,
        ];
        for shown in shown {
            assert_eq!(shown.fingerprint().digest(), within.fingerprint().digest());
            assert_eq!(shown.fence(), within.fence());
            assert_eq!(shown.attempt(), within.attempt());
            assert_eq!(shown.is_committed(), within.is_committed());
            assert_eq!(shown.since_first_request(), within.since_first_request());
            assert_eq!(shown.remaining(), within.remaining());
            assert_eq!(shown.is_live(), within.is_live());
        }
    }
    assert_eq!(store.fullness(), shelf.fullness());
    assert!(store.fullness().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_was_copied_to_another_record_is_unreadable() {
    let shelf = Arc::new(Shelf::new());
    let store = encrypted(Arc::clone(&shelf));
    for key in [key_of(1, 1), key_of(1, 2), key_of(2, 1)] {
        done(&store, key, &completed("done")).await;
    }
    let copied = shelf.payload(&key_of(1, 1)).await;

    shelf.put(&key_of(1, 1), copied.clone());
    let record = find(&store, &request(key_of(1, 1))).await;
    assert_eq!(payload(&record).unwrap(), "done");
    for other in [key_of(1, 2), key_of(2, 1)] {
        shelf.put(&other, copied.clone());
        is_unreadable(&store, other).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_encrypted_is_unreadable_until_it_expires_and_never_absent() {
    let memory = Arc::new(MemoryStore::new());
    let store = encrypted(Arc::clone(&memory));
    done(&memory, key(1), &completed("\u{1}\0\0\u{48}\0\0")).await;
    let (_, flying) = own(&memory, &request(key(2))).await;

    is_unreadable(&store, key(1)).await;
    // Requests that were in flight when encryption was turned on go on.
    assert_eq!(
        complete(&store, &flying, &completed("done")).await,
        Settled::Applied
    );
    let record = find(&store, &request(key(2))).await;
    assert_eq!(payload(&record).unwrap(), "done");

    pass(RETENTION).await;
    assert!(matches!(
        claim(&store, &request(key(1))).await,
        Claim::Owned(_)
    ));
}

#[tokio::test(start_paused = true)]
async fn operators_can_drop_what_they_cannot_read() {
    let memory = Arc::new(MemoryStore::new());
    let store = encrypted(Arc::clone(&memory));
    for number in 1..4 {
        done(&memory, key(number), &completed("plain")).await;
    }

    let forgotten = store.forget(&key(1), false).await.unwrap();
    assert_eq!(forgotten, Forgotten::Forgotten);
    assert_eq!(store.erase_scope(key(2).scope()).await.unwrap(), 2);

    assert!(memory.is_empty());
}

#[tokio::test(start_paused = true)]
async fn waiting_does_not_need_the_key() {
    let memory = Arc::new(MemoryStore::new());
    let store = encrypted(Arc::clone(&memory));
    let (_, owner) = own(&memory, &request(key(1))).await;
    let begin = tokio::time::Instant::now();

    let waiting = async {
        store.settled(owner.key(), owner.fence(), LEASE).await;
        begin.elapsed()
    };
    let ending = async {
        pass(LEASE / 10).await;
        complete(&memory, &owner, &completed("plain")).await;
    };
    let (waited, ()) = futures_util::future::join(waiting, ending).await;

    assert_eq!(waited, LEASE / 10);
    let state = inspect(&memory, key(1)).await.unwrap();
    assert!(matches!(state.state(), State::Completed { .. }));
}
