//! A Cluster whose slots move and whose nodes fail.

use super::*;

async fn connect(cluster: &Cluster) -> RedisStore {
    let store = RedisStore::builder().timeout(SECOND);
    within(store.connect(&cluster.url())).await.unwrap()
}

/// A number whose key is on this node.
async fn on(cluster: &Cluster, node: &Server, from: u32) -> u32 {
    for number in from.. {
        if cluster.node_of_key(&name(&key(number))).await.port() == node.port() {
            return number;
        }
    }
    unreachable!()
}

#[tokio::test]
async fn records_are_spread_over_all_nodes_and_erased_on_all() {
    let cluster = Cluster::start().await;
    let store = connect(&cluster).await;
    for number in 0..30 {
        let owner = own(&store, number).await;
        complete(&store, &owner).await;
    }
    for node in cluster.nodes() {
        let size: usize = node.ask("DBSIZE").await.unwrap();
        assert!(size > 0, "{size}");
    }

    assert_eq!(store.erase_scope(&[4; 16]).await.unwrap(), 0);
    assert_eq!(store.erase_scope(&[5; 16]).await.unwrap(), 30);

    assert_eq!(store.erase_scope(&[5; 16]).await.unwrap(), 0);
    for number in 0..30 {
        assert!(store.inspect(&key(number)).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_record_in_the_middle_of_a_move_is_one_record() {
    let cluster = Cluster::start().await;
    let store = connect(&cluster).await;
    let (there, new) = (1, 2);
    let owner = own(&store, there).await;
    for number in [there, new] {
        let slot = cluster.slot_of_key(&name(&key(number))).await;
        let to = cluster.other_than(slot).await;
        let moving = cluster.begin_move(slot, to).await;

        // The record is at the old owner still; one that is not there belongs to the new one (ASK).
        if number == there {
            assert_eq!(claimed(&store, there).await, Came::InFlight(owner.fence()));
            moving.key(&name(&key(there))).await;
            assert_eq!(claimed(&store, there).await, Came::InFlight(owner.fence()));
            assert_eq!(
                store.renew(&owner, LEASE, true).await.unwrap(),
                Settled::Applied
            );
            assert_eq!(complete(&store, &owner).await, Settled::Applied);
        } else {
            let owner = own(&store, new).await;
            assert_eq!(claimed(&store, new).await, Came::InFlight(owner.fence()));
            assert_eq!(complete(&store, &owner).await, Settled::Applied);
        }
        moving.keys().await;
        moving.end().await;

        // The client has not heard of it yet (MOVED).
        assert_eq!(
            claimed(&store, number).await,
            Came::Completed("done".into())
        );
    }
}

#[tokio::test]
async fn a_master_that_hangs_does_not_stall_the_others() {
    let cluster = Cluster::start().await;
    let store = connect(&cluster).await;
    let [hung, well, other] = cluster.nodes() else {
        panic!("three masters")
    };
    let stuck = on(&cluster, hung, 0).await;
    let fine = [on(&cluster, well, 0).await, on(&cluster, other, 0).await];
    // Connections to all.
    for number in [stuck, fine[0], fine[1]] {
        own(&store, number + 10_000).await;
    }
    hung.stop().await;

    let stuck_claims = async {
        for _ in 0..3 {
            let began = Instant::now();
            let answer = claim(&store, stuck).await;
            assert!(kind(&answer).is_some(), "{answer:?}");
            assert!(began.elapsed() < DEADLINE, "{:?}", began.elapsed());
        }
    };
    let fine_claims = async {
        for number in fine {
            let owner = own(&store, number).await;
            for _ in 0..200 {
                let settled = within(store.renew(&owner, LEASE, false)).await;
                assert_eq!(settled.unwrap(), Settled::Applied);
            }
        }
    };
    tokio::join!(stuck_claims, fine_claims);
    hung.cont();

    // What was claimed while it hung may have been applied then: by a claim of nobody.
    match claimed(&store, stuck).await {
        Came::Owned(_, 1) | Came::InFlight(_) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_master_that_hangs_is_replaced_by_its_replica() {
    let cluster = Cluster::with_replicas().await;
    let store = connect(&cluster).await;
    let hung = &cluster.nodes()[0];
    let number = on(&cluster, hung, 0).await;
    let owner = own(&store, number).await;
    let written: usize = hung.ask("WAIT 1 10000").await.unwrap();
    assert_eq!(written, 1);
    hung.stop().await;

    // The replica takes over, and nobody tells the client: its connection to the old one stays as it is.
    assert_eq!(complete(&store, &owner).await, Settled::Applied);

    assert_eq!(
        claimed(&store, number).await,
        Came::Completed("done".into())
    );
    hung.cont();
}

#[tokio::test]
async fn a_process_starts_while_a_node_of_its_url_hangs() {
    let node = Server::builder().config("cluster-require-full-coverage no");
    let cluster = Cluster::of(node, 0).await;
    let [hung, well, _] = cluster.nodes() else {
        panic!("three masters")
    };
    let fine = on(&cluster, well, 0).await;
    hung.stop().await;

    let store = within(RedisStore::connect(&cluster.url())).await.unwrap();

    own(&store, fine).await;
    let advice = store.advice();
    assert!(
        advice
            .iter()
            .any(|it| it.contains("could not be looked at")),
        "{advice:?}"
    );
    hung.cont();
}

#[tokio::test]
async fn slots_that_move_beside_a_master_that_hangs_are_found() {
    let node = Server::builder().config("cluster-require-full-coverage no");
    let cluster = Cluster::of(node, 0).await;
    let store = connect(&cluster).await;
    let [hung, well, other] = cluster.nodes() else {
        panic!("three masters")
    };
    let stuck = on(&cluster, hung, 0).await;
    let fine = on(&cluster, well, 0).await;
    own(&store, stuck).await;
    own(&store, fine + 20_000).await;
    let slot = cluster.slot_of_key(&name(&key(fine))).await;
    cluster.move_slot(slot, other).await;
    hung.stop().await;

    let stuck_claims = async {
        for _ in 0..4 {
            let answer = claim(&store, stuck).await;
            assert!(kind(&answer).is_some(), "{answer:?}");
        }
    };
    let fine_claims = async {
        for number in [fine, fine + 20_000] {
            for _ in 0..20 {
                claimed(&store, number).await;
            }
        }
    };
    tokio::join!(stuck_claims, fine_claims);
    hung.cont();
}

#[tokio::test]
async fn a_master_that_is_gone_costs_its_own_keys_alone() {
    let node = Server::builder().config("cluster-require-full-coverage no");
    let cluster = Cluster::of(node, 0).await;
    let store = connect(&cluster).await;
    let [gone, well, _] = cluster.nodes() else {
        panic!("three masters")
    };
    let (lost, fine) = (on(&cluster, gone, 0).await, on(&cluster, well, 0).await);
    own(&store, lost + 10_000).await;
    gone.kill();

    let began = Instant::now();
    let answer = claim(&store, lost).await;
    assert!(kind(&answer).is_some(), "{answer:?}");
    assert!(began.elapsed() < DEADLINE, "{:?}", began.elapsed());
    own(&store, fine).await;
    // What cannot be looked through is not said to be erased.
    assert!(store.erase_scope(&[6; 16]).await.is_err());
    // A process that starts now finds the others.
    let started = connect(&cluster).await;
    assert!(matches!(claimed(&started, fine).await, Came::InFlight(_)));

    gone.restart().await;
    own(&store, lost).await;
}

#[tokio::test]
async fn a_replica_that_takes_over_has_the_records() {
    let cluster = Cluster::with_replicas().await;
    let store = connect(&cluster).await;
    let first = &cluster.nodes()[0];
    let number = on(&cluster, first, 0).await;
    let owner = own(&store, number).await;
    let done = own(&store, number + 1).await;
    complete(&store, &done).await;

    cluster.failover(&cluster.nodes()[3]).await;

    assert_eq!(complete(&store, &owner).await, Settled::Applied);
    for number in [number, number + 1] {
        assert_eq!(
            claimed(&store, number).await,
            Came::Completed("done".into())
        );
    }
}

#[tokio::test]
async fn replicas_are_waited_for_on_the_node_of_the_key() {
    let cluster = Cluster::with_replicas().await;
    let store = RedisStore::builder().timeout(SECOND).wait(1, SECOND / 10);
    let store = within(store.connect(&cluster.url())).await.unwrap();
    for number in 0..6 {
        let owner = own(&store, number).await;
        assert_eq!(complete(&store, &owner).await, Settled::Applied);
    }
    let replica = &cluster.nodes()[3];
    let number = on(&cluster, &cluster.nodes()[0], 100).await;
    replica.stop().await;

    let answer = claim(&store, number).await;

    assert_eq!(kind(&answer), Some(StoreErrorKind::Fatal), "{answer:?}");
    replica.cont();
}

#[tokio::test]
async fn a_node_of_a_cluster_is_no_server_of_its_own() {
    let cluster = Cluster::shared().await;

    let refused = RedisStore::connect(&cluster.nodes()[0].url())
        .await
        .unwrap_err();

    assert_eq!(refused.kind(), StoreErrorKind::Fatal);
    assert!(
        format!("{refused:?}").contains("redis+cluster://"),
        "{refused:?}"
    );
}

#[test]
fn a_store_outlives_the_runtime_that_it_was_connected_in() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).enable_all().build().unwrap()
    };
    let first = runtime();
    let (store, one_node) = first.block_on(async {
        let cluster = Cluster::shared().await;
        let prefix = RedisStore::builder().prefix("outlives");
        let one_node = RedisStore::connect(&Server::shared().await.url())
            .await
            .unwrap();
        own(&one_node, 77).await;
        let store = prefix.connect(&cluster.url()).await.unwrap();
        own(&store, 1).await;
        (store, one_node)
    });
    drop(first);

    runtime().block_on(async {
        for _ in 0..2 {
            assert!(matches!(claim(&store, 1).await.unwrap(), Came::InFlight(_)));
            assert!(matches!(
                claim(&one_node, 77).await.unwrap(),
                Came::InFlight(_)
            ));
        }
    });
}
