//! Processes that are killed while they claim and complete, over one server that is not.
//!
//! A thousand of them: `KILLS=1000 cargo test --all-features --test postgres -- faults::writers --nocapture`

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection, Row};
use tower_idempotency::PostgresStore;

use super::shared::writers::{Writers, write};
use super::verbs::patient;
use crate::servers::Server;

const WRITERS: Writers = Writers {
    url: "POSTGRES_FAULTS_WRITER",
    first: "POSTGRES_FAULTS_FIRST",
    lines: 13,
    micros: 4_000,
};

/// Microseconds by the clock of the server.
async fn now(connection: &mut PgConnection) -> u64 {
    let now = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    let row = sqlx::query(now).fetch_one(connection).await.unwrap();
    u64::try_from(row.get::<i64, _>(0)).unwrap()
}

/// This is a writer as well: where a server is named, it writes.
#[tokio::test]
async fn no_kill_of_a_writer_loses_or_doubles_anything() {
    if let Some((url, first)) = WRITERS.told() {
        let store = PostgresStore::connect(&url).await.unwrap();
        let clock: PgConnectOptions = url.parse().unwrap();
        let mut clock = clock.connect().await.unwrap();
        write(&store, async || now(&mut clock).await, first).await;
    }
    let server = Server::with(&["fsync=off", "max_connections=300"]).await;
    PostgresStore::migrate(&server.url()).await.unwrap();
    let log = WRITERS.start_and_kill_all(&server.url()).await;
    log.holds(&patient(&server.url()).await).await;
}
