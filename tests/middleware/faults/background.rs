//! Renewals in the background: for handlers that block their thread. Where threads are blocked, they are real ones, and
//! real is the time.

use std::net::{self, SocketAddr};
use std::sync::Mutex;
use std::sync::mpsc::{self, Sender};
use std::thread;

use futures_util::FutureExt;
use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle, Runtime};

use super::*;
use crate::support::Guarded;

const LEASE: Duration = Duration::from_millis(300);

/// The lease of a record, looked at from outside of any runtime.
fn is_live(layer: &IdempotencyLayer<Arc<Scripted>>, key: &str) -> Option<bool> {
    let key = layer.record_key(b"", &Method::POST, PATH, key);
    let record = layer.store().inspect(&key).now_or_never();
    let record = record.unwrap().unwrap();
    record.map(|record| record.is_live())
}

/// Whether the leases of these keys live for so many times their length. No timer of a runtime tells: it may be what is
/// blocked.
fn are_renewed(layer: &IdempotencyLayer<Arc<Scripted>>, keys: &[&str]) -> bool {
    let begin = std::time::Instant::now();
    while begin.elapsed() < 5 * LEASE {
        thread::sleep(Duration::from_millis(5));
        if keys.iter().any(|key| is_live(layer, key) == Some(false)) {
            return false;
        }
    }
    keys.iter().all(|key| is_live(layer, key) == Some(true))
}

/// A handler that blocks its thread until what comes beside it is dropped; at first it may await a timer.
fn blocking(
    layer: &IdempotencyLayer<Arc<Scripted>>,
    awaits: Option<Duration>,
) -> (Guarded, Sender<()>) {
    let (unblock, blocked) = mpsc::channel::<()>();
    let blocked = Arc::new(Mutex::new(blocked));
    let service = Handler::default().answering(layer, move |_| {
        let blocked = Arc::clone(&blocked);
        async move {
            if let Some(pause) = awaits {
                tokio::time::sleep(pause).await;
            }
            // One thread waits for the channel, the others for that one.
            let _ = blocked.lock().map(|blocked| blocked.recv());
            created("done")
        }
    });
    (service, unblock)
}

fn threads(count: usize) -> Runtime {
    let mut runtime = Builder::new_multi_thread();
    runtime.worker_threads(count).enable_all().build().unwrap()
}

/// Whether it keeps its lease where one handler blocks its thread; another execution may have been there before.
fn keeps(layer: &IdempotencyLayer<Arc<Scripted>>, awaits: bool, beside: bool) -> bool {
    let runtime = threads(4);
    let another = Handler::default();
    let held = another.held(layer);
    let mut keys = vec!["k"];
    if beside {
        runtime.spawn(held.oneshot(keyed("another", "a")));
        while layer.store().calls(Verb::Renew) == 0 {
            thread::yield_now();
        }
        keys.push("another");
    }
    let (service, unblock) = blocking(layer, awaits.then_some(LEASE / 3));
    let owner = runtime.spawn(service.oneshot(keyed("k", "a")));
    while is_live(layer, "k").is_none() {
        thread::yield_now();
    }

    let renewed = are_renewed(layer, &keys);

    drop(unblock);
    another.open();
    runtime.block_on(owner).unwrap().unwrap();
    renewed
}

#[test]
fn a_handler_that_blocks_its_thread_keeps_its_lease_in_the_background_and_only_there() {
    let layer = || IdempotencyLayer::new(Scripted::new()).lease(LEASE);

    assert!(!keeps(&layer(), false, false));
    for (awaits, beside) in [(false, false), (false, true), (true, false), (true, true)] {
        let layer = layer().renew_in_background();
        assert!(keeps(&layer, awaits, beside), "{awaits} {beside}");
    }
}

/// Each connection sends a byte, and thereby a request with the key it names, or without one.
async fn serve(listener: TcpListener, service: Guarded) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let service = service.clone();
        tokio::spawn(async move {
            stream.write_u8(b'!').await.unwrap();
            let request = match stream.read_u8().await.unwrap() {
                b'-' => crate::support::post(PATH, &[], "a"),
                key => keyed(&char::from(key).to_string(), "a"),
            };
            let _ = service.oneshot(request).await;
        });
    }
}

/// What arrives by a socket wakes the very thread that had the timers, and nobody else. (Where the first to block has no
/// key, nothing that comes after it arrives: the layer has no part in that.)
#[test]
fn handlers_that_block_the_threads_of_their_sockets_keep_their_leases() {
    for requests in ["a", "ab", "abc", "a-", "a--"] {
        let layer = IdempotencyLayer::new(Scripted::new()).lease(LEASE);
        let layer = layer.renew_in_background();
        let (service, unblock) = blocking(&layer, None);
        let runtime = threads(8);
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = {
            let _entered = runtime.enter();
            TcpListener::from_std(listener).unwrap()
        };
        runtime.spawn(serve(listener, service));
        // All of them are accepted before the first one blocks: accepting is for the same threads.
        let client = threads(1);
        let connected = client.block_on(async {
            let mut connected = Vec::new();
            for _ in requests.chars() {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.read_u8().await.unwrap();
                connected.push(stream);
            }
            for (request, stream) in requests.bytes().zip(&mut connected) {
                stream.write_u8(request).await.unwrap();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            connected
        });
        let keys: Vec<_> = requests
            .split_terminator("")
            .filter(|key| !matches!(*key, "" | "-"))
            .collect();
        let begin = std::time::Instant::now();
        while keys.iter().any(|key| is_live(&layer, key).is_none()) && begin.elapsed() < LONG {
            thread::yield_now();
        }

        let renewed = are_renewed(&layer, &keys);

        drop((unblock, connected));
        runtime.shutdown_background();
        assert!(renewed, "{requests}");
    }
}

#[test]
fn a_runtime_that_is_blocked_or_gone_takes_no_lease_of_another_with_it() {
    let layer = IdempotencyLayer::new(Scripted::new()).lease(LEASE);
    let layer = layer.renew_in_background();
    let [one, other] = [1, 1].map(threads);
    let (blocks, unblock) = blocking(&layer, None);
    let handler = Handler::default();
    let held = handler.held(&layer);
    one.spawn(blocks.oneshot(keyed("one", "a")));
    while is_live(&layer, "one").is_none() {
        thread::yield_now();
    }
    other.spawn(held.oneshot(keyed("other", "a")));
    while is_live(&layer, "other").is_none() {
        thread::yield_now();
    }

    assert!(are_renewed(&layer, &["other"]), "the one is blocked");
    one.shutdown_background();
    assert!(are_renewed(&layer, &["other"]), "the one has gone");
    drop(unblock);
}

#[tokio::test(start_paused = true)]
async fn a_short_lease_beside_a_long_one_is_renewed_in_time() {
    let (store, layer, handler) = world();
    let layer = layer.renew_in_background();
    let long = handler.held(&layer);
    let short = handler.held(&layer.clone().lease(Duration::from_secs(1)));
    tokio::spawn(long.oneshot(keyed("long", "a")));
    tokio::time::sleep(Duration::from_millis(100)).await;

    tokio::spawn(short.oneshot(keyed("k", "a")));
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(record(&layer).await.unwrap().is_live());
    }

    assert!(store.calls(Verb::Renew) >= 20);
}

#[tokio::test(start_paused = true)]
async fn one_task_renews_for_all_and_for_nobody_once_they_have_ended() {
    let (store, layer, handler) = world();
    let layer = layer.renew_in_background();
    let service = handler.held(&layer);
    let keys = ["a", "b", "c", "d"];
    let owners = keys.map(|key| tokio::spawn(service.clone().oneshot(keyed(key, "x"))));
    tokio::time::sleep(Duration::from_secs(35)).await;
    assert_eq!(store.calls(Verb::Renew), 3 * keys.len());
    let metrics = Handle::current().metrics();
    assert_eq!(metrics.num_alive_tasks(), keys.len() + 1);

    for owner in owners {
        handler.open();
        settle().await;
        drop(owner);
    }
    tokio::time::sleep(Duration::from_secs(60)).await;

    assert_eq!(store.calls(Verb::Renew), 3 * keys.len());
    assert_eq!(layer.drain(LONG).await.left, 0);
    drop((service, layer));
    settle().await;
    assert_eq!(metrics.num_alive_tasks(), 0);
}
