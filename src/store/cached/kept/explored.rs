//! Answers and deletions, in the orders in which threads can come to what is kept; see [`lock`](crate::lock).

use std::sync::atomic::{AtomicU64, Ordering};

use shuttle::thread::{self, JoinHandle};

use super::*;
use crate::explore::{Step, exhaust, explore, fault_of, step};
use crate::fingerprint::Fingerprint;
use crate::key::Fence;
use crate::store::claim::Owned;

const KEY: RecordKey = RecordKey::from_parts([1; 16], [2; 32]);
const HOUR: Duration = Duration::from_secs(3_600);

/// A store of one record, and what is kept of it here.
struct World<L> {
    kept: Kept<L>,
    /// The fence of the record that is there, and the highest there has been.
    store: Mutex<(Option<u64>, u64)>,
    /// The highest fence that was forgotten by a call that has returned.
    forgotten: AtomicU64,
}

/// A lock of one of the schedulers.
trait Explored: Lock<u64> + Default + Send + Sync + 'static {}

impl<L: Lock<u64> + Default + Send + Sync + 'static> Explored for L {}

#[derive(Clone, Copy, Debug)]
enum Act {
    Replay,
    Forget,
    Erase,
    /// Another process forgets the key and runs it again.
    RunElsewhere,
}

impl<L: Explored> World<L> {
    /// With a completed record in the store, which is kept here already or not.
    fn new(is_kept: bool) -> Arc<Self> {
        let world = Self {
            kept: Kept::new(1 << 15, HOUR),
            store: Mutex::new((Some(1), 1)),
            forgotten: AtomicU64::new(0),
        };
        if is_kept {
            world
                .kept
                .learn(&KEY, world.kept.ask(), &world.claimed_from_the_store());
        }
        Arc::new(world)
    }

    fn claimed_from_the_store(&self) -> Claim {
        let (there, highest) = self.store.with(|store| *store);
        let payload = Bytes::from_static(b"done");
        match there {
            Some(fence) => Claim::Existing(
                Record::new(
                    Fingerprint::from_parts(1, [1; 32]),
                    Fence::new(fence),
                    1,
                    State::Completed { payload },
                )
                .expires_in(HOUR),
            ),
            None => Claim::Owned(Owned::new(Fence::new(highest + 1), 1, HOUR)),
        }
    }

    fn acts(&self, act: Act) {
        match act {
            Act::Replay => self.replays(),
            Act::Forget => self.deletes(Deleted::Record(&KEY)),
            Act::Erase => self.deletes(Deleted::Scope(KEY.scope())),
            Act::RunElsewhere => self
                .store
                .with(|(there, highest)| (*highest, *there) = (*highest + 1, Some(*highest + 1))),
        }
    }

    fn replays(&self) {
        let forgotten = self.forgotten.load(Ordering::Relaxed);
        if let Some(record) = self.kept.get(&KEY) {
            let fence = record.fence().get();
            assert!(fence > forgotten, "a forgotten record is replayed");
            return;
        }
        let asked = self.kept.ask();
        step();
        let claim = self.claimed_from_the_store();
        self.kept.learn(&KEY, asked, &claim);
    }

    fn deletes(&self, deleted: Deleted<'_>) {
        let deletion = self.kept.deletion(deleted);
        step();
        let highest = self.store.with(|(there, highest)| {
            *there = None;
            *highest
        });
        drop(deletion);
        self.forgotten.fetch_max(highest, Ordering::Relaxed);
    }

    fn starts(self: &Arc<Self>, act: Act) -> JoinHandle<()> {
        let world = Arc::clone(self);
        thread::spawn(move || {
            step();
            world.acts(act);
        })
    }
}

/// Threads do this at once; then one more replay comes.
fn come_at_once<L: Explored>(is_kept: bool, acts: [Act; 3]) {
    let world = World::<L>::new(is_kept);
    for thread in acts.map(|act| world.starts(act)) {
        thread.join().unwrap();
    }
    world.replays();
}

#[test]
fn no_order_brings_back_what_was_forgotten() {
    for other in [Act::Replay, Act::Forget, Act::RunElsewhere] {
        exhaust(move || come_at_once::<Step<_>>(false, [Act::Forget, Act::Replay, other]));
        for (deletion, is_kept) in [(Act::Forget, true), (Act::Erase, false)] {
            explore(300, move || {
                let acts = [deletion, Act::Replay, other];
                come_at_once::<shuttle::sync::Mutex<_>>(is_kept, acts);
            });
        }
    }
}

/// A lock that somebody else may take meanwhile.
#[derive(Default)]
struct Torn(AtomicU64);

impl Lock<u64> for Torn {
    fn with<R>(&self, visit: impl FnOnce(&mut u64) -> R) -> R {
        let mut number = self.0.load(Ordering::Relaxed);
        step();
        let visited = visit(&mut number);
        self.0.store(number, Ordering::Relaxed);
        visited
    }
}

/// What the test above is worth: it notices a lock that does not hold.
#[test]
fn an_answer_that_is_kept_in_two_steps_is_noticed() {
    let fault = fault_of(|| come_at_once::<Torn>(false, [Act::Forget, Act::Replay, Act::Replay]));

    assert_eq!(fault, "a forgotten record is replayed");
}
