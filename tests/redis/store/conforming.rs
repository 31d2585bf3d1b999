//! The suite of all stores.

use redis::aio::MultiplexedConnection;
use tower_idempotency::RecordKey;

use crate::ask;
use crate::servers::{Cluster, Sentinel, Server};

/// The name of a record, as the documentation has it.
fn name(key: &RecordKey) -> Vec<u8> {
    [b"idem:1:", &key.scope()[..], key.key()].concat()
}

/// Writes something over a record.
async fn spoil(connection: &mut MultiplexedConnection, key: &RecordKey, with: &[u8]) {
    let mut set = redis::cmd("SET");
    set.arg(name(key)).arg(with).arg("KEEPTTL");
    set.exec_async(connection).await.unwrap();
}

mod one_node {
    use tower_idempotency::{RedisStore, store_conformance};

    use super::*;

    async fn connect() -> RedisStore {
        let server = Server::shared().await;
        RedisStore::connect(&server.url()).await.unwrap()
    }

    store_conformance!(
        connect,
        limit: async |bytes| {
            let store = RedisStore::builder().max_record_bytes(bytes);
            store.connect(&Server::shared().await.url()).await.unwrap()
        },
        corrupt: async |_, key| {
            let mut connection = Server::shared().await.connect().await;
            spoil(&mut connection, key, b"garbage").await;
        },
    );
}

/// By a user who has the documented rights and no others; what is written over is of a later version.
mod no_more_rights_than_documented {
    use tower_idempotency::{RedisStore, store_conformance};

    use super::*;
    use crate::faults::rights::RIGHTS;

    store_conformance!(
        async || {
            let server = Server::shared().await;
            let user = format!("ACL SETUSER limited on >secret ~idem:1:* {RIGHTS} +scan");
            ask::<()>(&mut server.connect().await, &user).await.unwrap();
            let url = server.url_as("limited", "secret");
            RedisStore::connect(&url).await.unwrap()
        },
        corrupt: async |_, key| {
            let mut connection = Server::shared().await.connect().await;
            spoil(&mut connection, key, &[2; 200]).await;
        },
    );
}

mod cluster {
    use tower_idempotency::{RedisStore, store_conformance};

    use super::*;

    store_conformance!(
        async || {
            let cluster = Cluster::shared().await;
            RedisStore::connect(&cluster.url()).await.unwrap()
        },
        corrupt: async |_, key| {
            let cluster = Cluster::shared().await;
            let mut node = cluster.node_of_key(&name(key)).await.connect().await;
            // Of a later version.
            spoil(&mut node, key, &[2; 200]).await;
        },
    );
}

mod sentinel {
    use tower_idempotency::{RedisStore, store_conformance};

    use super::*;

    store_conformance!(async || {
        let sentinel = Sentinel::shared().await;
        RedisStore::connect(&sentinel.url()).await.unwrap()
    });
}

/// As a service would have it: replays without a round trip, and nothing that the server can read.
mod cached_and_encrypted {
    use tower_idempotency::{
        Cached, Encrypted, EncryptionKey, Keyring, RedisStore, store_conformance,
    };

    use super::*;

    store_conformance!(async || {
        let cluster = Cluster::shared().await;
        let store = RedisStore::builder().prefix("sealed");
        let store = store.connect(&cluster.url()).await.unwrap();
        let keys = Keyring::new(EncryptionKey::new(1, [7; 32]));
        Cached::new(Encrypted::new(store, keys).compress(true))
    });
}
