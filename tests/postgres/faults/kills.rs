//! A server that is killed, again and again, while it is at work.

use std::time::Duration;

use super::shared::ledger::outlives_restarts;
use super::verbs::{patient, within_time};
use crate::servers::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_of_the_server_lose_nothing_that_was_acknowledged() {
    let server = Server::with(&["fsync=on"]).await;
    let url = server.url();
    let mut stores = Vec::new();
    for _ in 0..4 {
        stores.push(within_time(Duration::from_millis(1_500), &url).await);
    }
    outlives_restarts(
        stores,
        async || server.restart().await,
        async || patient(&url).await,
    )
    .await;
}
