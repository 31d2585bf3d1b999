//! The Redis store: its own scripts, run by a real server, at the time of a history.

mod timed;

use std::cell::OnceCell;
use std::sync::atomic::{AtomicU64, Ordering};

use redis::cluster::ClusterClient;
use tower_idempotency::{BoxStore, ChaosClock, RedisStore};

use self::timed::{Shared, Timed};
use crate::servers::{Cluster, Server};
use crate::under_test::Mounted;

thread_local! {
    static NODE: OnceCell<Shared> = const { OnceCell::new() };
    static CLUSTER: OnceCell<Shared> = const { OnceCell::new() };
}

pub(crate) fn one_node(clock: &ChaosClock) -> Mounted {
    let connect = || {
        let server = started(Server::shared());
        let client = redis::Client::open(server.url()).unwrap();
        timed::shared(client.get_connection().unwrap())
    };
    mounted(clock, NODE.with(|it| it.get_or_init(connect).clone()))
}

pub(crate) fn cluster(clock: &ChaosClock) -> Mounted {
    let connect = || {
        let cluster = started(Cluster::shared());
        let nodes = cluster.nodes().iter().map(Server::url);
        let client = ClusterClient::new(nodes).unwrap();
        timed::shared(client.get_connection().unwrap())
    };
    mounted(clock, CLUSTER.with(|it| it.get_or_init(connect).clone()))
}

fn started<T>(server: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(server)
}

/// A store of its own, on a server that all share.
fn mounted(clock: &ChaosClock, connection: Shared) -> Mounted {
    static MOUNTED: AtomicU64 = AtomicU64::new(0);

    let timed = Timed::new(connection, clock.clone());
    let prefix = format!("history-{}", MOUNTED.fetch_add(1, Ordering::Relaxed));
    let store = RedisStore::builder().prefix(prefix);
    let store = store.connection(timed.clone());
    Mounted {
        store: BoxStore::new(store),
        size: Box::new(move || timed.size()),
    }
}
