//! What the verbs are called with, and what they answer: where the server is PostgreSQL.

use std::time::Duration;

use tower_idempotency::{PostgresStore, PostgresStoreBuilder, RecordKey, StoreError};

pub(crate) use super::shared::verbs::*;
use crate::servers::{Server, own_schema, within};

impl Pings for PostgresStore {
    async fn pings(&self) -> Result<(), StoreError> {
        self.ping().await
    }
}

/// A store that waits longer for an answer than any takes on a busy machine.
pub(crate) async fn patient(url: &str) -> PostgresStore {
    within_time(Duration::from_secs(20), url).await
}

/// A store whose calls may take so long.
pub(crate) async fn within_time(timeout: Duration, url: &str) -> PostgresStore {
    let store = PostgresStore::builder().timeout(timeout);
    migrated(store, url).await
}

/// Connects to a schema that is made where it is missing.
pub(crate) async fn migrated(settings: PostgresStoreBuilder, url: &str) -> PostgresStore {
    within(settings.migrate(url)).await.unwrap();
    within(settings.connect(url)).await.unwrap()
}

/// A store with a schema of its own, on the server of all tests.
pub(crate) async fn own_store() -> (PostgresStore, String) {
    let schema = own_schema();
    let settings = PostgresStore::builder().schema(&schema);
    let settings = settings.timeout(Duration::from_secs(20));
    let url = Server::shared().await.url();
    (migrated(settings, &url).await, schema)
}

/// What a record is found by, in SQL.
pub(crate) fn sql_of(key: &RecordKey) -> String {
    let digests = [&key.scope()[..], &key.key()[..]].concat();
    let hex = digests.iter().map(|byte| format!("{byte:02x}"));
    format!("decode('{}', 'hex')", hex.collect::<String>())
}
