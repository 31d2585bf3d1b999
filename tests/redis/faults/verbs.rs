//! What the verbs are called with, and what they answer: where the server is Redis.

use std::time::Duration;

use redis::FromRedisValue;
use tower_idempotency::{Fence, RecordKey, RedisStore, StoreError};

pub(crate) use super::shared::verbs::*;
use crate::servers::{Server, within};

impl Pings for RedisStore {
    async fn pings(&self) -> Result<(), StoreError> {
        self.ping().await
    }
}

/// A store that waits longer for an answer than any takes on a busy machine.
pub(crate) async fn patient(url: &str) -> RedisStore {
    let store = RedisStore::builder().timeout(Duration::from_secs(20));
    let store = store.connect_timeout(Duration::from_secs(20));
    within(store.connect(url)).await.unwrap()
}

/// A store whose calls may take so long.
pub(crate) async fn within_time(timeout: Duration, url: &str) -> RedisStore {
    let store = RedisStore::builder().timeout(timeout);
    within(store.connect(url)).await.unwrap()
}

/// What a record is called where the prefix is the usual one.
pub(crate) fn name(key: &RecordKey) -> Vec<u8> {
    named("idem:1", key)
}

pub(crate) fn named(prefix: &str, key: &RecordKey) -> Vec<u8> {
    [prefix.as_bytes(), b":", key.scope(), key.key()].concat()
}

/// Sends a command of the test's own whose arguments are bytes, and gives its answer.
pub(crate) async fn tell<T: FromRedisValue>(server: &Server, command: &[&[u8]]) -> T {
    let mut line = redis::cmd(std::str::from_utf8(command[0]).unwrap());
    line.arg(&command[1..]);
    let mut connection = server.connect().await;
    within(line.query_async(&mut connection)).await.unwrap()
}

/// The same for words.
pub(crate) async fn say(server: &Server, command: &str) {
    let words = command.split(' ').map(str::as_bytes).collect::<Vec<_>>();
    tell::<redis::Value>(server, &words).await;
}

/// The fence of a record, as it stands on the server.
pub(crate) async fn fence_on(server: &Server, key: &RecordKey) -> Fence {
    let value: Vec<u8> = tell(server, &[b"GETRANGE", &name(key), b"7", b"14"]).await;
    Fence::new(u64::from_be_bytes(value.try_into().unwrap()))
}
