//! Kill -9, again and again: what was answered is there, and no fence is given twice.

use std::collections::{HashMap, HashSet};
use std::env;

use tower_idempotency::SqliteStore;

use crate::support::Scratch;
use crate::worker::{SHARED, Told, Worker, are_there};

/// `KILLS=1000 cargo test --all-features --test sqlite kills` for more.
const KILLS: u64 = 200;

#[tokio::test]
async fn what_was_answered_outlives_a_kill_and_no_fence_is_given_twice() {
    let kills = env::var("KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let scratch = Scratch::new();
    let path = scratch.file("a.db");
    let (mut all, mut fences) = (Vec::new(), HashSet::new());
    // Of each key that several want: the last kill after which it was claimed, and the highest fence.
    let mut highest = HashMap::new();
    for kill in 1..=kills {
        let mut worker = Worker::start(&path, kill);
        // Another moment each time.
        let lines = 1 + kill as usize * 7 % 41;
        let mut told: Vec<Told> = std::iter::from_fn(|| worker.next()).take(lines).collect();
        assert_eq!(told.len(), lines, "the worker has ended");
        told.extend(worker.kill());

        for claim in told.iter().filter(|told| !told.is_completed) {
            let Told { key, fence, .. } = *claim;
            assert!(fences.insert(fence), "fence {fence} was given twice");
            if key < SHARED {
                // The tasks of one worker tell in any order; the next worker comes after all of them.
                let (before, fence_before) =
                    highest.insert(key, (kill, fence)).unwrap_or((kill, 0));
                assert!(
                    before == kill || fence > fence_before,
                    "{claim:?} after {fence_before}"
                );
                highest
                    .entry(key)
                    .and_modify(|it| it.1 = fence.max(fence_before));
            }
        }
        let store = SqliteStore::open(&path).await.unwrap();
        are_there(&store, &told).await;
        all.extend(told);
    }
    let store = SqliteStore::open(&path).await.unwrap();
    are_there(&store, &all).await;
    let outcomes = all.iter().filter(|told| told.is_completed).count() as u64;
    assert!(outcomes > kills, "{outcomes} outcomes");
}
