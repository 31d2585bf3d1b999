//! Clusters: who has which key, and what is answered while it moves.

use crate::ask;
use crate::servers::{Cluster, Server, eventually};

#[tokio::test]
async fn keys_are_routed_to_three_nodes() {
    let cluster = Cluster::shared().await;
    let mut owners = Vec::new();

    for key in ["a", "b", "c"] {
        let owner = cluster.node_of_key(key.as_bytes()).await.port();
        for node in cluster.nodes() {
            let set = ask::<()>(&mut node.connect().await, &format!("SET {key} v")).await;
            match node.port() == owner {
                true => assert_eq!(set, Ok(())),
                false => assert_eq!(set.unwrap_err(), "MOVED"),
            }
        }
        owners.push(owner);
    }

    owners.sort_unstable();
    let mut ports = cluster.nodes().iter().map(Server::port).collect::<Vec<_>>();
    ports.sort_unstable();
    assert_eq!(owners, ports);
}

#[tokio::test]
async fn a_half_moved_slot_answers_ask_and_a_moved_one_moved() {
    let cluster = Cluster::start().await;
    let slot = cluster.slot_of_key(b"a").await;
    let (from, to) = (
        cluster.node_of_slot(slot).await,
        cluster.other_than(slot).await,
    );
    let get = async |node: &Server| {
        let value = ask::<Option<String>>(&mut node.connect().await, "GET a").await;
        value.map(Option::unwrap_or_default)
    };
    from.ask::<()>("SET a v").await.unwrap();

    let moving = cluster.begin_move(slot, to).await;
    assert_eq!(get(from).await.unwrap(), "v");
    moving.keys().await;
    assert_eq!(get(from).await.unwrap_err(), "ASK");
    moving.end().await;
    assert_eq!(get(from).await.unwrap_err(), "MOVED");
    assert_eq!(get(to).await.unwrap(), "v");

    cluster.reshard([slot, slot + 1]).await;
    cluster.ready().await;
    let now = cluster.node_of_slot(slot).await;
    assert_eq!(get(now).await.unwrap(), "v");
    assert_ne!(now.port(), to.port());
    let beside = cluster.node_of_slot(slot + 1).await;
    assert_ne!(beside.port(), from.port());
}

#[tokio::test]
async fn a_replica_is_promoted_when_it_is_told_to_and_when_its_master_is_killed() {
    let cluster = Cluster::with_replicas().await;
    let (master, replica) = (&cluster.nodes()[0], &cluster.nodes()[3]);
    let slot = 0;
    assert_eq!(cluster.node_of_slot(slot).await.port(), master.port());

    cluster.failover(replica).await;
    assert_eq!(cluster.node_of_slot(slot).await.port(), replica.port());

    replica.kill();
    cluster.ready().await;
    assert_eq!(cluster.node_of_slot(slot).await.port(), master.port());

    replica.restart().await;
    cluster.ready().await;
    let role = async || replica.info("replication", "role").await;
    assert_eq!(eventually("it answers", role).await, "slave");
}
