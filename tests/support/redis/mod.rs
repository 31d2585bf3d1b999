//! Redis servers of a test's own: processes that are killed, stopped and restarted, and cut off by a proxy.
//!
//! Nothing of them outlives the test, nor the process of the tests, however that ends (see [`keeper`]).

#![allow(dead_code, unused_imports, reason = "each target uses its part of it")]

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

mod builder;
mod certificates;
mod cluster;
mod keeper;
mod port;
mod proxy;
mod sentinel;
mod server;

pub(crate) use builder::Builder;
pub(crate) use cluster::{Cluster, Move};
pub(crate) use keeper::Keeper;
pub(crate) use port::Port;
pub(crate) use proxy::{Held, Proxy};
pub(crate) use sentinel::Sentinel;
pub(crate) use server::Server;

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Awaits what does not take long.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("it takes too long")
}

/// Asks again and again until there is an answer.
pub(crate) async fn eventually<T, F>(what: &str, mut answer: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let begin = Instant::now();
    loop {
        if let Some(answer) = answer().await {
            return answer;
        }
        assert!(begin.elapsed() < PATIENCE, "it takes too long until {what}");
        sleep(Duration::from_millis(5)).await;
    }
}
