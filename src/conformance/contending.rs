//! Many at once, on several threads, by a real clock.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Barrier;
use tokio::task::{JoinSet, yield_now};
use tokio::time::Instant;

use super::bench::{Bench, Held, PAYLOAD, Write};
use super::looking::is_completed;
use crate::key::RecordKey;
use crate::store::claim::{Claim, ClaimRequest, Forgotten, Owner, Settled};
use crate::store::traits::Store;

/// How many act on a key at once, and how often that is tried.
const MANY: usize = 50;
const ROUNDS: u64 = 20;

/// Does all of this at the same moment, as far as that is possible.
pub(super) async fn at_once<T, F>(all: Vec<F>) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let barrier = Arc::new(Barrier::new(all.len()));
    let mut tasks = JoinSet::new();
    for one in all {
        let barrier = Arc::clone(&barrier);
        tasks.spawn(async move {
            barrier.wait().await;
            one.await
        });
    }
    tasks.join_all().await
}

/// Sends all of these claims at once; the fences and attempts that own, and the fences that are found.
async fn claim_at_once(bench: &Bench, requests: Vec<ClaimRequest>) -> (Vec<(u64, u32)>, Vec<u64>) {
    let claims = requests.into_iter().map(|request| {
        let bench = bench.clone();
        async move { bench.claim(&request).await }
    });
    let (mut owned, mut found) = (Vec::new(), Vec::new());
    for claim in at_once(claims.collect()).await {
        match claim {
            Claim::Owned(claim) => owned.push((claim.fence().get(), claim.attempt())),
            Claim::Existing(record) if record.is_live() => found.push(record.fence().get()),
            claim => panic!("a claim among many must own, or find who does: {claim:?}"),
        }
    }
    (owned, found)
}

async fn one_owns(bench: &Bench, key: RecordKey, attempt: u32) {
    let requests = (0..MANY).map(|_| bench.request(key)).collect();

    let (owned, found) = claim_at_once(bench, requests).await;

    let [(fence, counted)] = owned[..] else {
        panic!("of {MANY} claims at once exactly one must own, these did: {owned:?}");
    };
    assert_eq!(counted, attempt, "the attempt of the one that owns");
    assert_eq!(
        found,
        vec![fence; MANY - 1],
        "the others find the fence of the one that owns"
    );
}

pub(super) async fn of_many_claims_at_once_one_is_owned(bench: Bench) {
    for round in 0..ROUNDS {
        one_owns(&bench, bench.key(round), 1).await;
    }
}

pub(super) async fn of_many_claims_of_a_lapsed_record_one_takes_over(bench: Bench) {
    for round in 0..ROUNDS {
        let lost = bench.own(bench.key(round)).await;
        bench.abandon(&lost).await;

        one_owns(&bench, lost.key(), 2).await;
    }
}

pub(super) async fn a_claim_sent_many_times_at_once_is_one_claim(bench: Bench) {
    for round in 0..ROUNDS {
        let request = bench.request(bench.key(round));

        let (owned, _) = claim_at_once(&bench, vec![request.clone(); MANY]).await;

        assert_eq!(
            owned,
            vec![(owned[0].0, 1); MANY],
            "fence and attempt of one claim, repeated"
        );
    }
}

pub(super) async fn of_an_owner_and_its_successor_one_wins(bench: Bench) {
    for round in 0..ROUNDS * 5 {
        let lost = bench.own(bench.key(round)).await;
        bench.abandon(&lost).await;
        let (completing, claiming) = (bench.clone(), bench.clone());
        let request = bench.request(lost.key());
        let answers = (Arc::new(Barrier::new(2)), lost.owner);
        let completed = tokio::spawn({
            let (barrier, owner) = answers.clone();
            async move {
                barrier.wait().await;
                completing.write(Write::Complete, &owner).await
            }
        });
        answers.0.wait().await;
        let claim = claiming.claim(&request).await;
        let completed = completed.await.expect("completing panics");

        let record = bench
            .there("after it was completed or taken over", lost.key())
            .await;
        match (completed, &claim) {
            (Settled::Applied, Claim::Existing(_)) => {
                is_completed("what its late owner completed", &record, PAYLOAD);
            }
            (Settled::FencedOut, Claim::Owned(owned)) => {
                assert!(record.is_live(), "the successor runs: {record:?}");
                assert_eq!((record.fence(), record.attempt()), (owned.fence(), 2));
            }
            both => panic!("either a late owner completes or its successor owns, not {both:?}"),
        }
    }
}

const TASKS: u64 = 16;
const VISITS: u64 = 500;
const KEYS: u64 = 3;
/// A slow store is not visited so often.
const ENOUGH: Duration = Duration::from_secs(5);

/// What the tasks know of one key.
#[derive(Default)]
struct Known {
    /// How many own it right now.
    owners: AtomicU64,
    /// The fence of the latest owner.
    fence: AtomicU64,
}

/// Tasks claim few keys over and over, and end their claims in every way. Whoever owns a key owns it alone, with a
/// higher fence than all before, and none of its writes is refused.
pub(super) async fn a_key_has_one_owner_at_a_time(bench: Bench) {
    let known = Arc::new((0..KEYS).map(|_| Known::default()).collect::<Vec<_>>());
    let start = Instant::now();

    let tasks = (0..TASKS).map(|task| {
        let (bench, known) = (bench.clone(), Arc::clone(&known));
        async move {
            let mut owned = 0;
            for visit in task..task + VISITS {
                let number = visit % KEYS;
                owned +=
                    self::visit(&bench, bench.key(number), &known[number as usize], visit).await;
                if start.elapsed() > ENOUGH {
                    break;
                }
            }
            owned
        }
    });
    let owned = at_once(tasks.collect()).await.into_iter().sum::<u64>();

    assert!(owned >= TASKS, "of many claims only {owned} were owned");
    for number in 0..KEYS {
        bench.forget(bench.key(number), false).await;
    }
}

/// Claims once; 1 when it owned.
async fn visit(bench: &Bench, key: RecordKey, known: &Known, visit: u64) -> u64 {
    let request = bench.request(key);
    match bench.claim(&request).await {
        Claim::Owned(owned) => {
            let held = Held {
                owner: Owner::new(key, owned.fence(), request.claim_id()),
                attempt: owned.attempt(),
                lease_left: owned.lease_left(),
                since: Instant::now(),
            };
            let others = known.owners.fetch_add(1, Ordering::SeqCst);
            assert_eq!(others, 0, "a key has two owners");
            let before = known.fence.swap(held.fence().get(), Ordering::SeqCst);
            assert!(held.fence().get() > before, "a fence must increase");
            yield_now().await;
            bench.renew(&held).await;
            let forgotten = bench.forget(key, false).await;
            assert_eq!(
                forgotten,
                Forgotten::InFlight,
                "a live record, without force"
            );
            yield_now().await;
            known.owners.fetch_sub(1, Ordering::SeqCst);
            let end = [Write::Complete, Write::Abandon, Write::Release][visit as usize % 3];
            bench.applies(end, "the only owner", &held).await;
            1
        }
        Claim::Existing(record) if record.is_live() => {
            let moment = Duration::from_millis(1);
            bench.store().settled(&key, record.fence(), moment).await;
            0
        }
        Claim::Existing(record) => {
            is_completed("a record that is not in flight", &record, PAYLOAD);
            bench.forget(key, false).await;
            0
        }
        claim => panic!("a claim must own, or find a record: {claim:?}"),
    }
}
