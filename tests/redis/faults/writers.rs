//! Processes that are killed while they claim and complete, over one server that is not.
//!
//! A thousand of them: `KILLS=1000 cargo test --all-features --test redis -- faults::writers --nocapture`

use redis::aio::MultiplexedConnection;
use tower_idempotency::RedisStore;

use super::shared::writers::{Writers, write};
use super::verbs::patient;
use crate::servers::Server;

const WRITERS: Writers = Writers {
    url: "REDIS_FAULTS_WRITER",
    first: "REDIS_FAULTS_FIRST",
    lines: 1,
    micros: 30_000,
};

/// Microseconds by the clock of the server.
async fn now(connection: &mut MultiplexedConnection) -> u64 {
    let time = redis::cmd("TIME").query_async(connection).await;
    let (seconds, micros): (u64, u64) = time.unwrap();
    seconds * 1_000_000 + micros
}

/// This is a writer as well: where a server is named, it writes.
#[tokio::test]
async fn no_kill_of_a_writer_loses_or_doubles_anything() {
    if let Some((url, first)) = WRITERS.told() {
        let store = RedisStore::connect(&url).await.unwrap();
        let client = redis::Client::open(url).unwrap();
        let mut clock = client.get_multiplexed_async_connection().await.unwrap();
        write(&store, async || now(&mut clock).await, first).await;
    }
    let server = Server::start().await;
    let log = WRITERS.start_and_kill_all(&server.url()).await;
    log.holds(&patient(&server.url()).await).await;
}
