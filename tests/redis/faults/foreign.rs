//! What stands at a key and is no record of this version.

use bytes::Bytes;
use tower_idempotency::{Claim, Forgotten, OnStoreError, RedisStore, Store, StoreErrorKind};

use super::api::Api;
use super::verbs::{failed, key, name, own_key, patient, request, tell};
use crate::servers::Server;

/// A layer that runs unprotected where its store fails.
fn open_api(store: RedisStore) -> Api {
    Api::with(store, |layer| {
        layer.on_store_error(OnStoreError::RunUnprotected)
    })
}

/// What no version of the store has written, and what a later one may write.
fn unreadable() -> Vec<Bytes> {
    let header = |version: u8, state: u8, length: usize| {
        let mut value = vec![0; length];
        value[..2].copy_from_slice(&[version, state]);
        Bytes::from(value)
    };
    let mut values = vec![
        Bytes::new(),
        Bytes::from_static(b"x"),
        Bytes::from(vec![b'x'; 20_000]),
        header(0, 1, 88),
        header(2, 1, 88),
        header(2, 2, 200),
        header(255, 3, 88),
        header(1, 0, 88),
        header(1, 5, 88),
        header(1, 255, 9_000),
        // Done and long, and its end is not there.
        header(1, 4, 88),
        header(1, 4, 8_279),
        // Done with what the layer has not recorded.
        header(1, 2, 88),
        header(1, 2, 300),
    ];
    // Cut off anywhere.
    for state in 1..=4 {
        values.extend((2..88).map(|length| header(1, state, length)));
    }
    values
}

#[tokio::test]
async fn what_cannot_be_read_is_never_run_and_never_touched() {
    let server = Server::start().await;
    let api = open_api(patient(&server.url()).await);
    let name = name(&api.record_key("k"));

    for value in unreadable() {
        let _: String = tell(&server, &[b"SET", &name, &value]).await;

        let refused = api.post("k", "").await;

        let start = &value[..value.len().min(2)];
        assert_eq!(refused.status, 503, "{start:?} {}", value.len());
        assert_eq!(refused.code(), "idempotency_record_unreadable");
        let after: Bytes = tell::<Vec<u8>>(&server, &[b"GET", &name]).await.into();
        assert!(after == value, "{start:?} {} was written to", value.len());
        let expiry: i64 = tell(&server, &[b"PTTL", &name]).await;
        assert_eq!(expiry, -1, "{start:?} {}", value.len());
    }
    assert_eq!(api.executions("k"), 0);
}

#[tokio::test]
async fn what_cannot_be_read_is_not_absent_to_any_verb() {
    let server = Server::start().await;
    let store = patient(&server.url()).await;
    let owner = own_key(&store, 1).await;
    let name = name(owner.key());

    // What the layer cannot read, the store can.
    let is_whole = |value: &Bytes| value.len() >= 88 && value[..2] == [1, 2];
    for value in unreadable().into_iter().filter(|it| !is_whole(it)) {
        let _: String = tell(&server, &[b"SET", &name, &value]).await;
        let start = &value[..value.len().min(2)];

        let claim = failed(store.claim(&request(key(1))).await);
        let inspected = failed(store.inspect(&key(1)).await);
        let renewal = store.renew(&owner, super::verbs::LEASE, false).await;
        let release = store.release(&owner).await;

        assert_eq!(claim.0, StoreErrorKind::Unreadable, "{start:?}");
        assert_eq!(inspected.0, StoreErrorKind::Unreadable, "{start:?}");
        for settled in [renewal, release] {
            let is_missing = matches!(settled, Ok(tower_idempotency::Settled::Missing));
            assert!(!is_missing || value.get(1) == Some(&3), "{start:?}");
        }
        let after: Bytes = tell::<Vec<u8>>(&server, &[b"GET", &name]).await.into();
        assert!(after == value, "{start:?} {} was written to", value.len());
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_dropped_by_force_only() {
    let server = Server::start().await;
    let store = patient(&server.url()).await;
    let name = name(&key(1));

    for value in [&b""[..], b"garbage", &[2; 200]] {
        let _: String = tell(&server, &[b"SET", &name, value]).await;

        let (kind, why) = failed(store.forget(&key(1), false).await);
        assert_eq!(kind, StoreErrorKind::Unreadable, "{why}");
        let forgotten = store.forget(&key(1), true).await;

        assert_eq!(forgotten.unwrap(), Forgotten::Forgotten);
        let claim = store.claim(&request(key(1))).await.unwrap();
        assert!(matches!(claim, Claim::Owned(_)), "{claim:?}");
    }
}

#[tokio::test]
async fn a_key_of_another_type_is_another_programs() {
    let server = Server::start().await;
    let store = patient(&server.url()).await;
    let owner = own_key(&store, 1).await;
    let name = name(owner.key());
    let _: u8 = tell(&server, &[b"DEL", &name]).await;
    let _: u8 = tell(&server, &[b"HSET", &name, b"field", b"value"]).await;

    let failures = [
        failed(store.claim(&request(key(1))).await),
        failed(store.renew(&owner, super::verbs::LEASE, true).await),
        failed(
            store
                .complete(&owner, &super::verbs::completed("done"))
                .await,
        ),
        failed(store.abandon(&owner).await),
        failed(store.release(&owner).await),
        failed(store.inspect(&key(1)).await),
        failed(store.forget(&key(1), true).await),
    ];

    for (kind, why) in failures {
        assert_eq!(kind, StoreErrorKind::Fatal, "{why}");
        assert!(why.contains("another program uses this prefix"), "{why}");
    }
    let value: String = tell(&server, &[b"HGET", &name, b"field"]).await;
    assert_eq!(value, "value");
}

#[tokio::test]
async fn a_key_of_another_type_refuses_the_request_and_says_why_to_the_operator() {
    let server = Server::start().await;
    let api = Api::new(patient(&server.url()).await);
    let name = name(&api.record_key("k"));
    let _: u8 = tell(&server, &[b"HSET", &name, b"field", b"value"]).await;

    let refused = api.post("k", "").await;

    assert_eq!(
        (refused.status, refused.code()),
        (503, "idempotency_store_unavailable")
    );
    assert_eq!(api.executions("k"), 0);
    let reasons = api.reasons();
    assert!(
        reasons.iter().any(|why| why.contains("WRONGTYPE")),
        "{reasons:?}"
    );
}
