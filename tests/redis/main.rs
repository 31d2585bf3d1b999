//! Redis servers, as processes of a test's own.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "in helpers, too, a panic is the report")]

mod clusters;
mod faults;
#[path = "../support/left.rs"]
mod left;
#[path = "../support/processes/mod.rs"]
mod processes;
mod proxy;
mod sentinels;
#[path = "../support/redis/mod.rs"]
mod servers;
mod standalone;
mod store;
mod topologies;

use redis::FromRedisValue;
use redis::aio::ConnectionLike;

/// Where this variable is set, the process starts servers and waits until it is killed; see `left`.
const STARTS: &str = "REDIS_STARTS_AND_WAITS";

/// Sends a command and gives its answer, or the code of the error.
async fn ask<T: FromRedisValue>(
    connection: &mut impl ConnectionLike,
    command: &str,
) -> Result<T, String> {
    let mut words = command.split(' ');
    let mut line = redis::cmd(words.next().unwrap());
    line.arg(words.collect::<Vec<_>>());
    let answer = servers::within(line.query_async(connection)).await;
    answer.map_err(|error| error.code().unwrap_or("no answer").to_owned())
}
