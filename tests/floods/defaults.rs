//! The bounds that there are when nobody sets any, each reached.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use tower::ServiceExt;
use tower_idempotency::{
    Claim, ClaimId, ClaimRequest, Completed, Fingerprint, FingerprintPolicy, IdempotencyLayer,
    InFlight, MemoryStore, Owner, RecordKey, Settled, Store, StoreErrorKind,
};

use crate::scripted::{Fault, Scripted, Verb};
use crate::support::{Answer, Body, Guarded, Handler, plain, poll_once, send, settle};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MIB: usize = 1 << 20;

fn world() -> (Arc<Scripted>, IdempotencyLayer<Arc<Scripted>>, Handler) {
    let store = Scripted::new();
    let layer = IdempotencyLayer::new(Arc::clone(&store));
    (store, layer, Handler::default())
}

fn key(number: usize) -> String {
    format!("k{number}")
}

#[track_caller]
fn is_overloaded(answer: &Answer) {
    assert_eq!(answer.code(), "idempotency_overloaded");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_and_24_executions_whose_clients_have_gone() {
    let (_, layer, handler) = world();
    let service = handler.held(&layer);
    for number in 0..1_024 {
        let request = plain(&key(number), "a");
        let mut request = Box::pin(service.clone().oneshot(request));
        assert!(poll_once(&mut request).is_pending(), "{number}");
    }

    is_overloaded(&send(&service, plain("more", "a")).await);
    assert_eq!(handler.executions(), 1_024);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_and_24_outcomes_that_the_store_does_not_take() {
    let (store, layer, handler) = world();
    let service = handler.at_once(&layer);
    store.always(Verb::Complete, Fault::Before(StoreErrorKind::NotApplied));
    for number in 0..1_024 {
        let answer = send(&service, plain(&key(number), "a")).await;
        assert_eq!(answer.status, 201, "{number}");
    }

    is_overloaded(&send(&service, plain("more", "a")).await);
}

#[tokio::test(start_paused = true)]
async fn of_those_outcomes_64_mib() {
    let (store, layer, handler) = world();
    let large = Bytes::from(vec![b'.'; MIB]);
    let service = handler.answering(&layer, move |_| {
        std::future::ready(Response::new(Body::new(large.clone())))
    });
    store.always(Verb::Complete, Fault::Before(StoreErrorKind::NotApplied));
    for number in 0..64 {
        let answer = send(&service, plain(&key(number), "a")).await;
        assert_eq!(answer.status, 200, "{number}");
    }

    is_overloaded(&send(&service, plain("more", "a")).await);
}

#[tokio::test(start_paused = true)]
async fn of_request_bodies_256_mib() {
    let (_, layer, handler) = world();
    // Nothing is hashed, and all share one buffer.
    let service = handler.held(&layer.fingerprint(FingerprintPolicy::none()));
    let large = Bytes::from(vec![b'.'; 2 * MIB]);
    let upload = |number: usize| {
        let request = plain(&key(number), "").map(|_| Body::new(large.clone()));
        tokio::spawn(send(&service, request))
    };
    for number in 0..128 {
        upload(number);
    }
    settle().await;
    assert_eq!(handler.executions(), 128);

    is_overloaded(&upload(128).await.unwrap());
}

/// Begins an execution and `count` requests that wait for it; how many of them were refused by now.
async fn wait(service: &Guarded, key: &str, count: usize) -> usize {
    let waiters: Vec<_> = (0..count + 1)
        .map(|_| tokio::spawn(send(service, plain(key, "a"))))
        .collect();
    settle().await;
    let mut refused = 0;
    for waiter in waiters.into_iter().filter(|waiter| waiter.is_finished()) {
        assert_eq!(waiter.await.unwrap().code(), "idempotency_in_progress");
        refused += 1;
    }
    refused
}

#[tokio::test(start_paused = true)]
async fn a_thousand_waiters_per_key_and_ten_thousand_in_all() {
    let (_, layer, handler) = world();
    let service = handler.held(&layer.in_flight(InFlight::wait(DAY)));
    assert_eq!(wait(&service, "k", 1_000 + 7).await, 7);
    for number in 1..10 {
        assert_eq!(wait(&service, &key(number), 1_000).await, 0, "{number}");
    }

    assert_eq!(wait(&service, "more", 7).await, 7);
}

/// Writes a record with such a payload.
async fn record(store: &MemoryStore, number: u64, payload: Bytes) {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&number.to_le_bytes());
    let key = RecordKey::from_parts([0; 16], digest);
    let (id, print) = (
        ClaimId::from_bytes([1; 16]),
        Fingerprint::from_parts(1, [0; 32]),
    );
    let request = ClaimRequest::new(key, id, print, DAY, DAY);
    let Ok(Claim::Owned(owned)) = store.claim(&request).await else {
        panic!("no room for {number}");
    };
    let owner = Owner::new(key, owned.fence(), id);
    let completed = Completed::new(payload, Bytes::new(), DAY);
    assert_eq!(
        store.complete(&owner, &completed).await.unwrap(),
        Settled::Applied
    );
}

#[tokio::test(start_paused = true)]
async fn a_million_records_of_one_principal() {
    let store = MemoryStore::new();
    for number in 0..20_000 {
        record(&store, number, Bytes::new()).await;
    }

    assert_eq!(store.fullness(), Some(2), "of 100");
}

#[tokio::test(start_paused = true)]
async fn half_a_gibibyte_of_records() {
    let store = MemoryStore::new();
    let payload = Bytes::from(vec![b'.'; 4 * MIB]);
    for number in 0..8 {
        record(&store, number, payload.clone()).await;
    }

    assert_eq!(store.fullness(), Some(6), "32 of 512 MiB");
}
