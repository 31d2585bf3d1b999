//! Graceful shutdown: what a drain waits for, what it says, and what goes on beside and behind it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::runtime::Builder;
use tokio::time::Instant;
use tower::ServiceExt;
use tower_idempotency::{Drained, IdempotencyLayer, InFlight, Outcome, StoreErrorKind};

use crate::scripted::{Fault, Scripted, Verb};
use crate::support::{Guarded, Handler, plain, poll_once, send, settle};

const SECOND: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(600);
const NOTHING: Drained = Drained { left: 0 };

fn world() -> (Arc<Scripted>, IdempotencyLayer<Arc<Scripted>>, Handler) {
    let store = Scripted::new();
    let layer = IdempotencyLayer::new(Arc::clone(&store));
    (store, layer, Handler::default())
}

/// Begins requests, whose handlers are held, and hangs up.
async fn hang_up<const N: usize>(service: &Guarded, keys: [&str; N]) {
    for key in keys {
        let mut request = Box::pin(service.clone().oneshot(plain(key, "a")));
        assert!(poll_once(&mut request).is_pending());
    }
    settle().await;
}

#[tokio::test(start_paused = true)]
async fn it_says_exactly_what_is_left() {
    let (store, layer, handler) = world();
    let layer = layer.in_flight(InFlight::wait(LONG));
    let left = async || layer.drain(SECOND).await.left;
    let (held, at_once) = (handler.held(&layer), Handler::default().at_once(&layer));

    // Four outcomes that the store does not take.
    store.always(Verb::Complete, Fault::Before(StoreErrorKind::NotApplied));
    for key in ["a", "b", "c", "d"] {
        let answer = send(&at_once, plain(key, "a")).await;
        assert_eq!(answer.outcome, Outcome::Executed { recorded: false });
    }
    assert_eq!(left().await, 4);
    // Three executions whose clients are gone, two with a client each.
    hang_up(&held, ["e", "f", "g"]).await;
    assert_eq!(left().await, 7);
    let executing = ["h", "i"].map(|key| tokio::spawn(send(&held, plain(key, "a"))));
    settle().await;
    assert_eq!(left().await, 9);
    // Whoever waits has nothing that could be lost, nor has a request that is refused or replayed.
    let waiting = tokio::spawn(send(&held, plain("h", "a")));
    settle().await;
    assert_eq!(send(&held, plain("h", "b")).await.status, 422);
    assert_eq!(left().await, 9);
    // A claim that the store does not answer: it is given back.
    store.always(Verb::Claim, Fault::SlowAfter(10 * SECOND));
    assert_eq!(send(&held, plain("j", "a")).await.status, 503);
    assert_eq!(left().await, 10);

    store.heal();
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(left().await, 5, "settled, and given back");
    for gone in 1..=5 {
        handler.open();
        settle().await;
        assert_eq!(left().await, 5 - gone);
    }
    for answer in executing {
        assert_eq!(answer.await.unwrap().status, 201);
    }
    assert!(waiting.await.unwrap().is_replay());
}

#[tokio::test(start_paused = true)]
async fn it_waits_for_what_begins_meanwhile() {
    let (_, layer, handler) = world();
    let service = handler.held(&layer);
    hang_up(&service, ["k"]).await;
    let drain = tokio::spawn({
        let layer = layer.clone();
        async move { layer.drain(LONG).await }
    });
    settle().await;

    let second = tokio::spawn(send(&service, plain("l", "a")));
    settle().await;
    handler.open();
    settle().await;
    assert!(!drain.is_finished());
    handler.open();

    assert_eq!(drain.await.unwrap(), NOTHING);
    assert_eq!(second.await.unwrap().status, 201);
}

#[tokio::test(start_paused = true)]
async fn it_ends_at_its_deadline_while_requests_keep_coming() {
    let (_, layer, handler) = world();
    let service = handler.answering(&layer, |_| async {
        tokio::time::sleep(2 * SECOND).await;
        crate::support::created("done")
    });
    // One each second, each of which takes two.
    let clients = tokio::spawn(async move {
        for number in 0..100 {
            tokio::spawn(send(&service, plain(&format!("k{number}"), "a")));
            tokio::time::sleep(SECOND).await;
        }
    });
    tokio::time::sleep(10 * SECOND + SECOND / 2).await;
    let begin = Instant::now();

    let drained = layer.drain(20 * SECOND).await;

    assert_eq!((drained.left, begin.elapsed()), (2, 20 * SECOND));
    clients.await.unwrap();
    assert_eq!(layer.drain(LONG).await, NOTHING);
    assert_eq!((handler.executions(), handler.finished()), (100, 100));
}

#[tokio::test(start_paused = true)]
async fn two_at_once_each_have_their_own_deadline() {
    let (_, layer, handler) = world();
    let service = handler.held(&layer);
    hang_up(&service, ["k", "l"]).await;
    let drain = |deadline| {
        let layer = layer.clone().max_detached(7);
        tokio::spawn(async move { layer.drain(deadline).await })
    };
    let (short, long, longer) = (drain(SECOND), drain(LONG), drain(2 * LONG));

    assert_eq!(short.await.unwrap().left, 2);
    assert!(!long.is_finished() && !longer.is_finished());
    handler.open();
    settle().await;
    assert!(!long.is_finished() && !longer.is_finished());
    handler.open();

    assert_eq!(long.await.unwrap(), NOTHING);
    assert_eq!(longer.await.unwrap(), NOTHING);
}

#[tokio::test(start_paused = true)]
async fn the_layer_works_on_behind_it() {
    let (_, layer, handler) = world();
    let service = handler.held(&layer);
    for round in 1..=3 {
        let key = format!("k{round}");
        let mut request = Box::pin(service.clone().oneshot(plain(&key, "a")));
        assert!(poll_once(&mut request).is_pending());
        drop(request);
        assert_eq!(layer.drain(SECOND).await.left, 1);
        // One that nobody waits for any longer.
        assert!(layer.drain(LONG).now_or_never().is_none());
        handler.open();

        assert_eq!(layer.drain(LONG).await, NOTHING);

        assert!(send(&service, plain(&key, "a")).await.is_replay());
        assert_eq!(handler.executions(), round);
    }
}

#[test]
fn it_may_wait_elsewhere_than_the_work_is_done() {
    let (_, layer, handler) = world();
    let service = handler.held(&layer);
    let working = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .unwrap();
    let elsewhere = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();

    working.block_on(hang_up(&service, ["k"]));
    assert_eq!(elsewhere.block_on(layer.drain(SECOND)).left, 1);
    handler.open();
    let real = Builder::new_current_thread().enable_time().build().unwrap();
    assert_eq!(real.block_on(layer.drain(LONG)), NOTHING);

    // In no runtime at all there is no deadline.
    working.block_on(hang_up(&service, ["l"]));
    assert!(layer.drain(Duration::ZERO).now_or_never().is_none());
    handler.open();
    let begin = std::time::Instant::now();
    while layer.drain(Duration::ZERO).now_or_never() != Some(NOTHING) {
        assert!(begin.elapsed() < LONG, "it never ends");
        std::thread::yield_now();
    }
}
