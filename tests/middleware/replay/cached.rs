//! Replays over a store whose completed records are kept in this process.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Response};
use tower_idempotency::{
    Cached, ChaosStore, IdempotencyLayer, InFlight, MemoryStore, OnLost, Outcome, Store,
};

use super::{response, without_marks};
use crate::spy::Spy;
use crate::support::{Body, Handler, keyed, plain, send};

fn receipt() -> Response<Body> {
    let lines: &[(&str, &[u8])] = &[
        ("content-type", b"application/json; charset=utf-8"),
        ("link", b"</a>; rel=next"),
        ("link", b"</b>; rel=prev"),
        ("x-latin-1", b"caf\xe9"),
        ("x-request-id", b"req_original"),
    ];
    response(201, lines, "{\"id\":7}")
}

#[tokio::test(start_paused = true)]
async fn a_replay_of_what_is_kept_is_that_of_the_store_byte_for_byte() {
    let (spy, handler) = (Spy::new(), Handler::default());
    let layer = IdempotencyLayer::new(Cached::new(Arc::clone(&spy)));
    let service = handler.answering(&layer, |_| std::future::ready(receipt()));
    let first = send(&service, plain("k", "x")).await;
    let of_the_store = send(&service, plain("k", "x")).await;
    assert_eq!(spy.verbs(), ["claim", "complete", "claim"]);

    for _ in 0..10 {
        assert_eq!(send(&service, plain("k", "x")).await, of_the_store);
    }

    assert_eq!(spy.verbs().len(), 3, "the store was asked again");
    assert_eq!(handler.executions(), 1);
    assert_eq!(of_the_store.outcome, Outcome::Replayed);
    assert_eq!(
        (of_the_store.status, &of_the_store.body),
        (first.status, &first.body)
    );
    assert_eq!(without_marks(of_the_store.headers), first.headers);
}

#[tokio::test(start_paused = true)]
async fn another_request_under_a_kept_key_is_a_mismatch() {
    let (spy, handler) = (Spy::new(), Handler::default());
    let layer = IdempotencyLayer::new(Cached::new(Arc::clone(&spy)));
    let service = handler.at_once(&layer);
    for _ in 0..2 {
        send(&service, keyed("k", "a")).await;
    }
    let asked = spy.verbs().len();

    let mismatch = send(&service, keyed("k", "b")).await;

    assert_eq!(mismatch.status, 422);
    assert_eq!(mismatch.code(), "idempotency_mismatch");
    assert_eq!(spy.verbs().len(), asked, "the store was asked again");
    assert!(send(&service, keyed("k", "a")).await.is_replay());
    assert_eq!(handler.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_operator_frees_a_kept_key_by_the_layer_s_store() {
    let handler = Handler::default();
    let layer = IdempotencyLayer::new(Cached::new(MemoryStore::new()));
    let service = handler.at_once(&layer);
    for _ in 0..3 {
        send(&service, keyed("k", "a")).await;
    }
    assert_eq!(layer.store().len(), 1);

    let key = layer.record_key(b"", &Method::POST, crate::support::PATH, "k");
    layer.store().forget(&key, false).await.unwrap();
    let answer = send(&service, keyed("k", "a")).await;

    assert_eq!(answer.text(), "execution 2");
    assert!(!answer.is_replay());
}

/// Below what is kept, the store is late, fails, panics and applies calls twice.
#[test]
fn whatever_the_store_does_one_outcome_is_replayed() {
    let mut replays = 0;
    for seed in 0..200 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        replays += runtime.block_on(async {
            let handler = Handler::default();
            let chaos = ChaosStore::new(MemoryStore::new(), seed);
            let layer = IdempotencyLayer::new(Cached::new(chaos))
                .on_lost(OnLost::Refuse)
                .in_flight(InFlight::wait(Duration::from_secs(1)));
            let service = handler.at_once(&layer);
            let mut replays = 0;
            for _ in 0..12 {
                let pair = [(); 2].map(|()| send(&service, keyed("k", "a")));
                for answer in futures_util::future::join_all(pair).await {
                    if answer.status.is_success() {
                        assert_eq!(answer.text(), "execution 1", "SEED={seed}");
                        replays += u32::from(answer.is_replay());
                    }
                }
                tokio::time::sleep(Duration::from_secs(7)).await;
            }
            layer.store().store().calm();
            assert_eq!(layer.drain(Duration::from_secs(600)).await.left, 0);
            assert!(handler.executions() <= 1, "SEED={seed}");
            replays
        });
    }
    assert!(replays > 1_000, "{replays}");
}
