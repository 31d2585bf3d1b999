//! Responses that the store cannot read.

use http::HeaderMap;
use tower_idempotency::{Encrypted, EncryptionKey, Keyring, Outcome};

use super::*;
use crate::frames::{Frames, Step, Streamed, responding, upload};
use crate::support::Answer;

const HEADER: &str = "canary-header-1f3870be";
const LOCATION: &str = "/canary-location-37b51d19";
const TRAILER: &str = "canary-trailer-acbd18db";

fn layer(spy: &Arc<Spy>, keyring: Keyring) -> IdempotencyLayer<Encrypted<Arc<Spy>>> {
    IdempotencyLayer::new(Encrypted::new(Arc::clone(spy), keyring))
}

fn secret(number: u8) -> EncryptionKey {
    EncryptionKey::new(number.into(), [number; 32])
}

/// A response in which everything is a secret, but its status.
fn response(keep: Keep) -> Response<Frames> {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-trailer", HeaderValue::from_static(TRAILER));
    let body = Frames::new([Step::Data(BODY), Step::Trailers(trailers)]);
    let mut response = Response::new(body);
    *response.status_mut() = http::StatusCode::CREATED;
    response.extensions_mut().insert(keep);
    let headers = response.headers_mut();
    headers.insert("location", HeaderValue::from_static(LOCATION));
    headers.append("x-secret", HeaderValue::from_static(HEADER));
    headers.append("x-secret", HeaderValue::from_bytes(b"\xff\xfe").unwrap());
    response
}

/// What the store was given to keep has none of this.
#[track_caller]
fn cannot_read(spy: &Spy, times: usize) {
    let completed = spy.completed();
    assert_eq!(completed.len(), times);
    for completed in completed {
        for kept in [completed.payload(), completed.tombstone()] {
            assert!(kept.len() >= 49, "{} bytes", kept.len());
            for canary in [BODY, HEADER, LOCATION, TRAILER, "location", "x-secret"] {
                let mut windows = kept.windows(canary.len());
                assert!(
                    !windows.any(|window| window == canary.as_bytes()),
                    "{canary} in: {kept:?}"
                );
            }
        }
    }
}

/// Without what only a replay has.
fn replayed(mut replay: Answer) -> Answer {
    assert_eq!(replay.outcome, Outcome::Replayed);
    assert!(replay.headers.remove("idempotent-replayed").is_some());
    assert!(replay.headers.remove("idempotency-key").is_some());
    replay.outcome = Outcome::Executed { recorded: true };
    replay
}

#[tokio::test(start_paused = true)]
async fn a_response_is_replayed_byte_for_byte_and_none_of_it_can_be_read_in_the_store() {
    for compress in [false, true] {
        let spy = Spy::new();
        let store = Encrypted::new(Arc::clone(&spy), Keyring::new(secret(1))).compress(compress);
        let layer = IdempotencyLayer::new(store);
        let (service, executions) = responding(&layer, |_| response(Keep::Store));
        let ask = || service.clone().oneshot(upload("k", Frames::empty()));

        let first = read(ask().await.unwrap()).await;
        let again = read(ask().await.unwrap()).await;

        assert_eq!(first.outcome, Outcome::Executed { recorded: true });
        assert_eq!(first.body, BODY);
        assert_eq!(first.trailers.as_ref().unwrap()["x-trailer"], TRAILER);
        assert_eq!(replayed(again), first);
        assert_eq!(executions.count(), 1);
        cannot_read(&spy, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_location_of_a_response_that_was_not_kept_cannot_be_read_either() {
    let spy = Spy::new();
    let layer = layer(&spy, Keyring::new(secret(1)));
    let (service, executions) = responding(&layer, |_| response(Keep::Stream));
    let ask = || service.clone().oneshot(upload("k", Frames::empty()));

    read(ask().await.unwrap()).await;
    let again = read(ask().await.unwrap()).await;

    assert_eq!(again.code(), "idempotency_response_unavailable");
    assert_eq!(again.header("location"), Some(LOCATION));
    assert_eq!(executions.count(), 1);
    cannot_read(&spy, 1);
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_answered_across_a_change_of_keys_and_never_run_again_without_the_old_one() {
    let spy = Spy::new();
    let keyrings: [fn() -> Keyring; 4] = [
        || Keyring::new(secret(1)),
        || Keyring::new(secret(2)).also_reads(secret(1)),
        || Keyring::new(secret(2)),
        // The old number with another secret.
        || Keyring::new(EncryptionKey::new(1, [9; 32])),
    ];
    let mut runs = 0;
    for (step, keyring) in keyrings.into_iter().enumerate() {
        let layer = layer(&spy, keyring()).on_store_error(OnStoreError::RunUnprotected);
        let (service, executions) = responding(&layer, |_| response(Keep::Store));
        for _ in 0..2 {
            let answer = read(
                service
                    .clone()
                    .oneshot(upload("k", Frames::empty()))
                    .await
                    .unwrap(),
            )
            .await;

            if step < 2 {
                assert_eq!(
                    (answer.status.as_u16(), &answer.body[..]),
                    (201, BODY.as_bytes())
                );
            } else {
                assert_eq!(answer.status, 503);
                assert_eq!(answer.code(), "idempotency_record_unreadable");
                assert_eq!(answer.outcome, Outcome::Refused);
            }
        }
        runs += executions.count();
    }
    assert_eq!(runs, 1);
    assert_eq!(spy.completed().len(), 1);
}

/// As while encryption is turned on, one process after the other.
#[tokio::test(start_paused = true)]
async fn who_encrypts_and_who_does_not_take_nothing_of_each_others_for_their_own() {
    let spy = Spy::new();
    // After the version, this number would be that of a response with status 200 in the layer's wire form.
    let keyring = Keyring::new(EncryptionKey::new(0x0000_c800, [7; 32]));
    let (encrypting, by_one) = responding(&layer(&spy, keyring), |_| response(Keep::Store));
    let plain = IdempotencyLayer::new(Arc::clone(&spy));
    let (plain, by_other) = responding(&plain, |_| response(Keep::Store));
    let ask = async |service: &Streamed, key| {
        let service = service.clone();
        read(service.oneshot(upload(key, Frames::empty())).await.unwrap()).await
    };
    assert_eq!(ask(&encrypting, "a").await.status, 201);
    assert_eq!(ask(&plain, "b").await.status, 201);

    for answer in [ask(&plain, "a").await, ask(&encrypting, "b").await] {
        assert_eq!(answer.status, 503);
        assert_eq!(answer.code(), "idempotency_record_unreadable");
    }
    assert_eq!((by_one.count(), by_other.count()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn debug_output_shows_neither_secrets_nor_responses() {
    let spy = Spy::new();
    let layer = layer(&spy, Keyring::new(secret(7)));
    let (service, _) = responding(&layer, |_| response(Keep::Store));
    read(service.oneshot(upload("k", Frames::empty())).await.unwrap()).await;

    let shown = format!("{:?} {layer:?} {:?}", layer.store(), secret(7));

    assert!(
        shown.contains("Encrypted") && shown.contains("EncryptionKey(7)"),
        "{shown}"
    );
    assert!(
        !shown.contains("7, 7, 7") && !shown.contains("0707"),
        "{shown}"
    );
    assert!(!shown.contains("canary"), "{shown}");
}
