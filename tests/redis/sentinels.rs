//! Sentinels: who is the primary, and from when on.

use crate::ask;
use crate::servers::{Sentinel, Server};

async fn writes(server: &Server) -> Result<(), String> {
    ask(&mut server.connect().await, "SET k v").await
}

#[tokio::test]
async fn a_failover_changes_the_primary_and_so_does_its_death() {
    let watched = Sentinel::start().await;
    let (first, second) = (watched.primary(), watched.replica());
    assert_eq!(writes(first).await, Ok(()));
    assert_eq!(writes(second).await.unwrap_err(), "READONLY");

    watched.failover().await;
    assert_eq!(watched.primary().port(), second.port());
    assert_eq!(writes(second).await, Ok(()));
    assert_eq!(writes(first).await.unwrap_err(), "READONLY");

    watched.kill_primary();
    watched.promoted().await;
    assert_eq!(watched.primary().port(), first.port());
    assert_eq!(writes(first).await, Ok(()));

    second.restart().await;
    watched.ready().await;
    assert_eq!(writes(second).await.unwrap_err(), "READONLY");
}
