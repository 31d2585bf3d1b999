//! What stands at a key and is no record of this version.

use tower_idempotency::{Claim, Forgotten, OnStoreError, RedisStore, Store, StoreErrorKind};

use super::api::Api;
use super::verbs::{LEASE, completed, failed, key, name, own, own_key, patient, request, tell};
use crate::servers::Server;

/// A layer that runs unprotected where its store fails.
fn open_api(store: RedisStore) -> Api {
    Api::with(store, |layer| {
        layer.on_store_error(OnStoreError::RunUnprotected)
    })
}

/// Where the header of a record ends, and where the end of its lease stands in it.
const HEADER: usize = 88;
const DEADLINE: std::ops::Range<usize> = 31..39;

/// What no version of the store has written, and what a later one may write, made of a record: with its owner, its
/// fingerprint, and a lease that is over.
fn unreadable(record: &[u8]) -> Vec<Vec<u8>> {
    let with = |version: u8, state: u8, length: usize| {
        let mut value = record[..HEADER].to_vec();
        value[..2].copy_from_slice(&[version, state]);
        value[DEADLINE].fill(0);
        value.resize(length, 0);
        value
    };
    let mut values = vec![Vec::new(), b"x".to_vec(), vec![b'x'; 20_000]];
    for state in 1..=4 {
        // Cut off anywhere.
        values.extend((1..HEADER).map(|length| with(1, state, length)));
        values.extend([0, 2, 255].map(|version| with(version, state, HEADER)));
        values.push(with(2, state, 300));
    }
    values.extend([0, 5, 255].map(|state| with(1, state, HEADER)));
    // Done and long, and its end is not there.
    values.extend([HEADER, 8_279].map(|length| with(1, 4, length)));
    values
}

async fn value(server: &Server, name: &[u8]) -> Vec<u8> {
    tell(server, &[b"GET", name]).await
}

#[tokio::test]
async fn what_cannot_be_read_is_never_run_and_never_touched() {
    let server = Server::start().await;
    let api = open_api(patient(&server.url()).await);
    let name = name(&api.record_key("k"));
    api.post("k", "").await;
    let record = value(&server, &name).await;
    // Done with what the layer has not recorded, besides.
    let mut more = vec![record[..HEADER].to_vec()];
    more.push([&record[..HEADER], &[0; 200]].concat());

    for spoilt in unreadable(&record).into_iter().chain(more) {
        let _: String = tell(&server, &[b"SET", &name, &spoilt]).await;

        let refused = api.post("k", "").await;

        let start = format!("{:?} {}", spoilt.get(..2), spoilt.len());
        assert_eq!(refused.status, 503, "{start}");
        assert_eq!(refused.code(), "idempotency_record_unreadable", "{start}");
        assert!(value(&server, &name).await == spoilt, "{start}");
        let expiry: i64 = tell(&server, &[b"PTTL", &name]).await;
        assert_eq!(expiry, -1, "{start}");
    }
    assert_eq!(api.executions("k"), 1);
}

#[tokio::test]
async fn what_cannot_be_read_is_unreadable_to_every_verb() {
    let server = Server::start().await;
    let store = patient(&server.url()).await;
    let claim = request(key(1));
    let owner = own(&store, &claim).await;
    let name = name(owner.key());
    let record = value(&server, &name).await;

    for spoilt in unreadable(&record) {
        let _: String = tell(&server, &[b"SET", &name, &spoilt]).await;
        let start = format!("{:?} {}", spoilt.get(..2), spoilt.len());

        let mut failures = vec![
            ("claim", failed(store.claim(&claim).await)),
            ("claim", failed(store.claim(&request(key(1))).await)),
            ("inspect", failed(store.inspect(&key(1)).await)),
        ];
        // What a state means is another question than whose record it is.
        if spoilt.len() < HEADER || spoilt[0] != 1 {
            failures.extend([
                ("renew", failed(store.renew(&owner, LEASE, true).await)),
                (
                    "complete",
                    failed(store.complete(&owner, &completed("done")).await),
                ),
                ("abandon", failed(store.abandon(&owner).await)),
                ("release", failed(store.release(&owner).await)),
                ("forget", failed(store.forget(&key(1), false).await)),
            ]);
        }

        for (verb, (kind, why)) in failures {
            assert_eq!(kind, StoreErrorKind::Unreadable, "{start} {verb} {why}");
        }
        assert!(value(&server, &name).await == spoilt, "{start}");
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
        failed(store.renew(&owner, LEASE, true).await),
        failed(store.complete(&owner, &completed("done")).await),
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
