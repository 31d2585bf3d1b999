//! Any order of calls that take their time: what is forgotten stays forgotten.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use tower_idempotency::{
    Cached, ChaosStore, Claim, Fence, Forgotten, MemoryStore, Owner, RecordKey, State, Store,
};

use crate::support::{completed, key_of, request};

/// What one task does, and when.
#[derive(Clone, Debug)]
struct Task {
    begins: u64,
    key: RecordKey,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    /// A request: it runs where it owns its key, and is replayed otherwise.
    Request,
    Forget,
    Erase,
    /// A call that is dropped after so many milliseconds.
    Dropped(u64),
}

fn task() -> impl Strategy<Value = Task> {
    let key = (1..=2_u8, 0..2_u64).prop_map(|(scope, number)| key_of(scope, number));
    let what = prop_oneof![
        8 => Just(What::Request),
        2 => Just(What::Forget),
        1 => Just(What::Erase),
        1 => (1..300_u64).prop_map(What::Dropped),
    ];
    (0..2_000_u64, key, what).prop_map(|(begins, key, what)| Task { begins, key, what })
}

struct World {
    cached: Cached<ChaosStore<MemoryStore>>,
    /// The highest fence of each key that is known to be forgotten, by a call that has returned.
    forgotten: Mutex<HashMap<RecordKey, Fence>>,
    /// The highest fence of each key that was seen.
    seen: Mutex<HashMap<RecordKey, Fence>>,
    replays: Mutex<(u32, u32)>,
}

impl World {
    /// Calls take up to 200 ms, half of it on each way; nothing else goes wrong.
    fn new(seed: u64) -> Self {
        let chaos = ChaosStore::new(MemoryStore::new(), seed)
            .delays(100, Duration::from_millis(200))
            .failures(0)
            .duplicates(0)
            .lost_leases(0)
            .panics(0)
            .wrong_wakeups(0);
        Self {
            cached: Cached::new(chaos),
            forgotten: Mutex::default(),
            seen: Mutex::default(),
            replays: Mutex::default(),
        }
    }

    async fn does(&self, task: Task) {
        tokio::time::sleep(Duration::from_millis(task.begins)).await;
        match task.what {
            What::Request => self.requests(task.key).await,
            What::Forget => self.forgets(task.key).await,
            What::Erase => self.erases(task.key).await,
            What::Dropped(after) => {
                let call = self.cached.forget(&task.key, true);
                let _ = tokio::time::timeout(Duration::from_millis(after), call).await;
            }
        }
    }

    async fn requests(&self, key: RecordKey) {
        let forgotten = self.forgotten.lock().unwrap().get(&key).copied();
        let (request, began) = (request(key), tokio::time::Instant::now());
        let (fence, is_completed) = match self.cached.claim(&request).await.unwrap() {
            Claim::Owned(owned) => {
                self.sees(key, owned.fence());
                let owner = Owner::new(key, owned.fence(), request.claim_id());
                self.cached
                    .complete(&owner, &completed("done"))
                    .await
                    .unwrap();
                (owned.fence(), false)
            }
            Claim::Existing(record) => {
                let is_completed = matches!(record.state(), State::Completed { .. });
                (record.fence(), is_completed)
            }
            claim => panic!("{claim:?}"),
        };
        self.sees(key, fence);
        if is_completed {
            let mut replays = self.replays.lock().unwrap();
            replays.0 += 1;
            replays.1 += u32::from(began.elapsed().is_zero());
        }
        assert!(Some(fence) > forgotten, "{fence:?} was forgotten before");
    }

    fn sees(&self, key: RecordKey, fence: Fence) {
        let mut seen = self.seen.lock().unwrap();
        let highest = seen.entry(key).or_insert(fence);
        *highest = fence.max(*highest);
    }

    /// A record with a fence that was seen before a deletion began does not outlive it.
    async fn forgets(&self, key: RecordKey) {
        let seen = self.seen.lock().unwrap().get(&key).copied();
        let forgotten = self.cached.forget(&key, true).await.unwrap();
        assert_ne!(forgotten, Forgotten::InFlight);
        self.has_forgotten(key, seen);
    }

    async fn erases(&self, key: RecordKey) {
        let seen = self.seen.lock().unwrap().clone();
        self.cached.erase_scope(key.scope()).await.unwrap();
        for (other, fence) in seen {
            if other.scope() == key.scope() {
                self.has_forgotten(other, Some(fence));
            }
        }
    }

    fn has_forgotten(&self, key: RecordKey, seen: Option<Fence>) {
        let Some(seen) = seen else {
            return;
        };
        let mut forgotten = self.forgotten.lock().unwrap();
        let highest = forgotten.entry(key).or_insert(seen);
        *highest = seen.max(*highest);
    }
}

/// How many completed records were found, and how many of them without the store.
fn run(seed: u64, tasks: Vec<Task>) -> (u32, u32) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let world = Arc::new(World::new(seed));
        let tasks = tasks.into_iter().map(|task| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { world.does(task).await })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        *world.replays.lock().unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn what_is_forgotten_stays_so_however_long_calls_take(
        seed in any::<u64>(),
        tasks in prop::collection::vec(task(), 10..80),
    ) {
        run(seed, tasks);
    }
}

/// What the test above is worth: many of its replays come from what is kept.
#[test]
fn many_generated_replays_cost_no_round_trip() {
    let keys = [key_of(1, 0), key_of(1, 1)];
    let tasks = (0..80).map(|number| Task {
        begins: number * 25,
        key: keys[number as usize % 2],
        what: What::Request,
    });

    let (replays, kept) = run(7, tasks.collect());

    assert!(kept >= 20 && replays > kept, "{kept} of {replays}");
}
