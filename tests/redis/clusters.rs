//! Clusters: who has which key, and what is answered while it moves.

use crate::ask;
use crate::servers::{Cluster, eventually};

#[tokio::test]
async fn keys_are_routed_to_three_nodes_and_half_moved_slots_answer_ask() {
    let cluster = Cluster::start().await;
    let mut owners = Vec::new();
    for key in ["a", "b", "c"] {
        let owner = cluster.node_of_key(key.as_bytes()).await;
        let set = format!("SET {key} v");
        for node in cluster.nodes() {
            let answer = ask::<()>(&mut node.connect().await, &set).await;
            let expected = if node.port() == owner.port() {
                Ok(())
            } else {
                Err("MOVED".to_owned())
            };
            assert_eq!(answer, expected);
        }
        owners.push(owner.port());
    }
    owners.sort_unstable();
    owners.dedup();
    assert_eq!(owners.len(), 3);

    // The one key of the slot is moved, then one that is not there is asked for.
    let slot = cluster.slot_of_key(b"a").await;
    let from = cluster.node_of_slot(slot).await;
    let mut others = cluster
        .nodes()
        .iter()
        .filter(|node| node.port() != from.port());
    let to = others.next().unwrap();
    let moving = cluster.begin_move(slot, to).await;
    let mut connection = from.connect().await;
    let get = async |connection: &mut _| ask::<Option<String>>(connection, "GET a").await;
    assert_eq!(get(&mut connection).await.unwrap().as_deref(), Some("v"));
    moving.keys().await;
    assert_eq!(get(&mut connection).await.unwrap_err(), "ASK");
    moving.end().await;
    assert_eq!(get(&mut connection).await.unwrap_err(), "MOVED");
    let moved = get(&mut to.connect().await).await.unwrap();
    assert_eq!(moved.as_deref(), Some("v"));

    let slots = [slot, slot + 1, slot + 2];
    cluster.reshard(slots).await;
    cluster.ready().await;
    assert_ne!(cluster.node_of_slot(slot).await.port(), to.port());
    assert_ne!(cluster.node_of_slot(slot + 1).await.port(), from.port());
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
