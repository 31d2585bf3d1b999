//! Clients that hang up, at any point and in masses.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;
use tower::ServiceExt;
use tower_idempotency::{IdempotencyLayer, Outcome, State, Store};

use crate::support::{Handler, PATH, created, plain, poll_once, send, settle};
use crate::{Random, leaves_nothing};

const LONG: Duration = Duration::from_secs(60 * 60);

/// So many clients there are at a time.
const CLIENTS: usize = 50;

#[test]
fn a_hundred_thousand_at_random_points() {
    const DETACHED: usize = 16;
    const SEED: u64 = 0x1bad_5eed;

    leaves_nothing(100_000, async |size| {
        let layer = IdempotencyLayer::default().max_detached(DETACHED);
        let handler = Handler::default();
        let service = {
            let counted = handler.clone();
            handler.answering(&layer, move |_| {
                let takes = Duration::from_millis(u64::from(counted.executions() % 8));
                async move {
                    tokio::time::sleep(takes).await;
                    created("done")
                }
            })
        };
        let overloaded = Arc::<AtomicUsize>::default();
        let mut random = Random(SEED);
        let mut clients = JoinSet::new();
        for number in 0..size {
            if clients.len() == CLIENTS {
                clients.join_next().await.unwrap().unwrap();
                // No more than the bound go on without a client when another one comes in.
                let left = layer.drain(Duration::ZERO).await.left;
                assert!(
                    left < DETACHED + CLIENTS,
                    "{left} after {number}, seed {SEED}"
                );
            }
            // Some come again, to a key that was used a while ago.
            let key = number as u64 - random.below(number.min(100) as u64 + 1);
            let service = service.clone();
            let patience = Duration::from_micros(500) * random.below(14) as u32;
            let overloaded = Arc::clone(&overloaded);
            clients.spawn(async move {
                let request = send(&service, plain(&format!("k{key}"), "a"));
                match timeout(patience, request).await {
                    Ok(answer) if answer.code() == "idempotency_overloaded" => {
                        overloaded.fetch_add(1, Ordering::Relaxed);
                        // It does not come back at once.
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    Ok(answer) => assert!([201, 409].contains(&answer.status.as_u16())),
                    Err(_) => {}
                }
            });
        }
        while clients.join_next().await.is_some() {}

        assert_eq!(layer.drain(LONG).await.left, 0);
        let executions = handler.executions() as usize;
        assert_eq!(handler.finished() as usize, executions);
        assert_eq!(
            layer.store().len(),
            executions,
            "each has its record, seed {SEED}"
        );
        for key in 0..size {
            let key = layer.record_key(b"", &http::Method::POST, PATH, &format!("k{key}"));
            let record = layer.store().inspect(&key).await.unwrap();
            let state = record.as_ref().map(|record| record.state());
            assert!(
                !matches!(state, Some(State::InFlight { .. })),
                "seed {SEED}"
            );
        }
        assert!(executions > size / 3, "{executions} of {size}");
        assert!(
            overloaded.load(Ordering::Relaxed) > size / 1_000,
            "{overloaded:?} of {size}"
        );
        let fresh = send(&service, plain("fresh", "a")).await;
        assert_eq!(fresh.outcome, Outcome::Executed { recorded: true });
    });
}

#[test]
fn those_who_hang_up_at_once_go_beyond_the_bound_and_nobody_comes_in_until_they_are_below() {
    const DETACHED: usize = 10;

    leaves_nothing(1_000, async |size| {
        let layer = IdempotencyLayer::default().max_detached(DETACHED);
        let handler = Handler::default();
        let service = handler.held(&layer);
        // All of them have a client when they are let in, and what has been claimed is never cancelled.
        let requests: Vec<_> = (0..size)
            .map(|number| {
                let request = plain(&format!("k{number}"), "a");
                let mut request = Box::pin(service.clone().oneshot(request));
                assert!(poll_once(&mut request).is_pending());
                request
            })
            .collect();
        drop(requests);
        settle().await;
        let mut left = size;

        while left >= DETACHED {
            let refused = send(&service, plain("more", "a")).await;
            assert_eq!(refused.code(), "idempotency_overloaded", "{left} are left");
            assert_eq!(layer.drain(Duration::ZERO).await.left, left);
            handler.open();
            left -= 1;
            settle().await;
        }

        handler.open();
        settle().await;
        let more = tokio::spawn(send(&service, plain("more", "a")));
        for _ in 0..left + 1 {
            handler.open();
            settle().await;
        }
        assert_eq!(more.await.unwrap().status, 201);
        assert_eq!(layer.drain(LONG).await.left, 0);
        assert_eq!(handler.executions() as usize, size + 1);
    });
}
