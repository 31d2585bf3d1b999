//! The same on several threads, in real time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::{JoinSet, yield_now};
use tower_idempotency::{Claim, Forgotten, Owner, RecordKey, Settled, Store};

use super::{MOMENT, abandon, claim, complete, completed, key, payload, release, renew, request};

const TASKS: u64 = 16;
const ROUNDS: u64 = 500;
const KEYS: u64 = 3;

/// What the tasks know of one key.
#[derive(Default)]
struct Known {
    /// How many own it right now.
    owners: AtomicU64,
    /// The fence of the latest owner.
    fence: AtomicU64,
}

/// Tasks claim few keys over and over, and end their claims in every way. Whoever owns a key owns it
/// alone, with a higher fence than all before, and none of its writes is refused.
pub(crate) async fn a_key_has_one_owner_at_a_time(store: impl Store) {
    let store = Arc::new(store);
    let known = Arc::new((0..KEYS).map(|_| Known::default()).collect::<Vec<_>>());
    let mut tasks = JoinSet::new();

    for task in 0..TASKS {
        let (store, known) = (Arc::clone(&store), Arc::clone(&known));
        tasks.spawn(async move {
            let mut owned = 0;
            for round in 0..ROUNDS {
                let number = (task + round) % KEYS;
                owned += visit(&store, key(number), &known[number as usize], task + round).await;
            }
            owned
        });
    }

    let owned = tasks.join_all().await.into_iter().sum::<u64>();
    assert!(owned >= ROUNDS, "only {owned} claims succeeded");
    for number in 0..KEYS {
        store.forget(&key(number), false).await.unwrap();
    }
}

/// Claims once; 1 when it owned.
async fn visit(store: &impl Store, key: RecordKey, known: &Known, round: u64) -> u64 {
    let request = request(key);
    match claim(store, &request).await {
        Claim::Owned(owned) => {
            let owner = Owner::new(key, owned.fence(), request.claim_id());
            assert_eq!(known.owners.fetch_add(1, Ordering::SeqCst), 0, "two owners");
            let before = known.fence.swap(owned.fence().get(), Ordering::SeqCst);
            assert!(owned.fence().get() > before, "a fence fell behind");
            yield_now().await;
            assert_eq!(renew(store, &owner).await, Settled::Applied);
            assert_eq!(
                store.forget(&key, false).await.unwrap(),
                Forgotten::InFlight
            );
            yield_now().await;
            known.owners.fetch_sub(1, Ordering::SeqCst);
            let settled = match round % 3 {
                0 => complete(store, &owner, &completed("done")).await,
                1 => abandon(store, &owner).await,
                _ => release(store, &owner).await,
            };
            assert_eq!(settled, Settled::Applied);
            1
        }
        Claim::Existing(record) if record.is_live() => {
            store.settled(&key, record.fence(), MOMENT).await;
            0
        }
        Claim::Existing(record) => {
            assert_eq!(payload(&record).unwrap(), "done");
            store.forget(&key, false).await.unwrap();
            0
        }
        claim => panic!("{claim:?}"),
    }
}
