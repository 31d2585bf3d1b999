//! A store that outlives the runtime that it was made in.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tower_idempotency::{RedisStore, Store};

use super::verbs::{EachVerb, key, own_key, patient, request, within_time};
use crate::servers::{Held, Proxy, Server, eventually};

const SECOND: Duration = Duration::from_secs(1);

fn runtimes() -> [Runtime; 2] {
    [(); 2].map(|()| Builder::new_current_thread().enable_all().build().unwrap())
}

#[test]
fn a_store_serves_another_runtime_after_its_own_is_gone() {
    let [first, second] = runtimes();
    let server = second.block_on(Server::start());
    let store = first.block_on(async {
        let store = patient(&server.url()).await;
        own_key(&store, 1).await;
        store
    });
    drop(first);

    second.block_on(async {
        EachVerb::new(&store, 2).await.all_pass().await;
    });
}

/// The task of a connection stands still where nobody drives its runtime.
#[test]
fn a_store_serves_another_runtime_while_its_own_stands_still() {
    let [first, second] = runtimes();
    let server = second.block_on(Server::start());
    let store = first.block_on(within_time(Duration::from_secs(4), &server.url()));

    second.block_on(async {
        own_key(&store, 1).await;
    });
    first.block_on(async {
        own_key(&store, 2).await;
    });
}

/// The runtime ends while a connection is being made in it.
#[test]
fn a_store_serves_another_runtime_after_its_own_was_dropped_as_it_connected() {
    let [first, second] = runtimes();
    let (server, proxy) = second.block_on(async {
        let server = Server::start().await;
        let proxy = Proxy::start(server.address()).await;
        (server, proxy)
    });
    let url = format!("redis://{}", proxy.address());
    // The proxy lives in the other runtime.
    let proxy = Arc::new(proxy);
    let held = Arc::clone(&proxy);
    let connecting = thread::spawn(move || {
        let store = first.block_on(patient(&url));
        held.hold(Held::Both);
        first.block_on(async {
            let cut = tokio::time::timeout(Duration::from_millis(300), async {
                held.cut().await;
                store.claim(&request(key(1))).await
            });
            assert!(cut.await.is_err(), "it hangs as it connects");
        });
        drop(first);
        store
    });
    let store = second.block_on(async {
        while !connecting.is_finished() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        connecting.join().unwrap()
    });
    proxy.release();

    second.block_on(async {
        own_key(&store, 2).await;
    });
    drop(server);
}

/// The connection is being made in a runtime that nobody drives any more.
#[test]
fn a_store_serves_another_runtime_while_its_own_stands_still_as_it_connects() {
    let [first, second] = runtimes();
    let server = second.block_on(Server::start());
    let store = first.block_on(async {
        let store = RedisStore::builder()
            .timeout(SECOND)
            .connect_timeout(SECOND);
        let store = store.connect(&server.url()).await.unwrap();
        own_key(&store, 1).await;
        server.ask::<()>("CLIENT KILL TYPE normal").await.ok();
        // Polled once, and given up: the next connection is begun and not made.
        let refused = request(key(2));
        let claim = store.claim(&refused);
        let _ = tokio::time::timeout(Duration::from_millis(1), claim).await;
        store
    });

    second.block_on(async {
        let claimed = async || store.claim(&request(key(3))).await.ok();
        eventually("the store has another connection", claimed).await;
    });
    drop(first);
}
