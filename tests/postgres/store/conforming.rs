//! The suite of all stores.

use sqlx::AssertSqlSafe;
use tower_idempotency::{PostgresStore, PostgresStoreBuilder, RecordKey};

use crate::servers::Server;

/// A table that all tests of a part share.
async fn migrated(table: &str) -> PostgresStoreBuilder {
    let settings = PostgresStore::builder().schema("conforming").table(table);
    settings
        .migrate(&Server::shared().await.url())
        .await
        .unwrap();
    settings
}

/// Changes a record as no store does.
async fn spoil(table: &str, key: &RecordKey, change: &str) {
    let sql = format!("UPDATE conforming.{table} SET {change} WHERE key = $1");
    let name = [&key.scope()[..], &key.key()[..]].concat();
    let query = sqlx::query(AssertSqlSafe(sql)).bind(name);
    let mut connection = Server::shared().await.connect().await;
    let done = query.execute(&mut connection).await.unwrap();
    assert_eq!(done.rows_affected(), 1);
}

mod one_server {
    use tower_idempotency::store_conformance;

    use super::*;

    store_conformance!(
        async || {
            let settings = migrated("one").await;
            settings.connect(&Server::shared().await.url()).await.unwrap()
        },
        limit: async |bytes| {
            let settings = migrated("one").await.max_record_bytes(bytes);
            settings.connect(&Server::shared().await.url()).await.unwrap()
        },
        corrupt: async |_, key| spoil("one", key, "fingerprint = 'garbage'").await,
    );
}

mod simple_protocol {
    use tower_idempotency::store_conformance;

    use super::*;

    store_conformance!(
        async || {
            let settings = migrated("simple").await.simple_protocol(true);
            settings.connect(&Server::shared().await.url()).await.unwrap()
        },
        // Of a later version.
        corrupt: async |_, key| spoil("simple", key, "state = 9").await,
    );
}

mod behind_pgbouncer {
    use tokio::sync::OnceCell;
    use tower_idempotency::store_conformance;

    use super::*;
    use crate::servers::Bouncer;

    store_conformance!(async || {
        static BOUNCER: OnceCell<Bouncer> = OnceCell::const_new();
        let server = Server::shared().await;
        let bouncer = BOUNCER.get_or_init(|| Bouncer::before(server)).await;
        let settings = migrated("pooled").await.simple_protocol(true);
        settings.connect(&bouncer.url()).await.unwrap()
    });
}
