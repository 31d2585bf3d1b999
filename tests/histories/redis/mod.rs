//! The Redis store: its own scripts, run by a real server, at the time of a history.

mod timed;

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

use redis::ConnectionLike;
use tower_idempotency::{BoxStore, ChaosClock, RedisStore};

use self::timed::{Shared, Timed};
use crate::servers::Server;
use crate::under_test::Mounted;

pub(crate) fn mount(clock: &ChaosClock) -> Mounted {
    thread_local! {
        static CONNECTION: RefCell<Option<Shared>> = const { RefCell::new(None) };
    }
    mounted(
        clock,
        CONNECTION.with_borrow_mut(|it| it.get_or_insert_with(|| timed::shared(connect())).clone()),
    )
}

fn connect() -> impl ConnectionLike + Send + 'static {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let server = runtime.unwrap().block_on(Server::shared());
    redis::Client::open(server.url())
        .unwrap()
        .get_connection()
        .unwrap()
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
