//! Many keys at once, while something happens to the servers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use super::*;

/// What was acknowledged.
#[derive(Default)]
struct Log {
    /// The fences of each key, in the order in which they were given.
    fences: Mutex<HashMap<u32, Vec<Fence>>>,
    completed: Mutex<Vec<u32>>,
    next: AtomicU32,
    is_over: AtomicBool,
}

/// Claims, renews and completes new keys; an owner whose claim was answered is the only one.
async fn work(store: Arc<RedisStore>, log: Arc<Log>) {
    while !log.is_over.load(Ordering::Relaxed) {
        let number = log.next.fetch_add(1, Ordering::Relaxed);
        let Ok(Came::Owned(owner, attempt)) = claim(&store, number).await else {
            continue;
        };
        assert_eq!(attempt, 1, "its lease is longer than the test");
        log.fences
            .lock()
            .unwrap()
            .entry(number)
            .or_default()
            .push(owner.fence());
        // Another claim does not get it, whatever happens to the answer.
        if let Ok(came) = claim(&store, number).await {
            assert_eq!(came, Came::InFlight(owner.fence()));
        }
        if let Ok(settled) = within(store.complete(&owner, &done("done"))).await {
            assert_eq!(settled, Settled::Applied);
            log.completed.lock().unwrap().push(number);
        }
    }
}

/// Works before, while and after `happening` happens; whatever was acknowledged is there in the end.
async fn survives(store: RedisStore, happening: impl Future<Output = ()>) {
    let (store, log) = (Arc::new(store), Arc::new(Log::default()));
    let workers: Vec<_> = (0..8)
        .map(|_| tokio::spawn(work(Arc::clone(&store), Arc::clone(&log))))
        .collect();
    let completed = || log.completed.lock().unwrap().len();
    let more = async || {
        let enough = completed() + 50;
        eventually("some more is done", async || {
            (completed() >= enough).then_some(())
        })
        .await;
    };
    more().await;
    happening.await;
    more().await;
    log.is_over.store(true, Ordering::Relaxed);
    for worker in workers {
        within(worker).await.unwrap();
    }
    let completed = log.completed.lock().unwrap().clone();
    for number in &completed {
        assert_eq!(
            claimed(&store, *number).await,
            Came::Completed("done".into()),
            "{number}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_move_under_load_lose_nothing() {
    let cluster = Cluster::start().await;
    let store = within(RedisStore::connect(&cluster.url())).await.unwrap();

    survives(store, async {
        // One in forty.
        cluster.reshard((0..16_384).step_by(41).take(60)).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_take_over_under_load_lose_nothing() {
    let cluster = Cluster::with_replicas().await;
    let store = within(RedisStore::connect(&cluster.url())).await.unwrap();

    survives(store, async {
        for replica in [3, 4] {
            cluster.failover(&cluster.nodes()[replica]).await;
        }
    })
    .await;
}
