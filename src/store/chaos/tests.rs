//! Each knob alone, over a store in memory.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Method, Request, Response};
use http_body_util::Full;
use tokio::time::Instant;
use tower::{Layer, ServiceExt, service_fn};

use super::{ChaosClock, ChaosStore};
use crate::event::Outcome;
use crate::fingerprint::Fingerprint;
use crate::key::{ClaimId, RecordKey};
use crate::layer::IdempotencyLayer;
use crate::policy::InFlight;
use crate::store::claim::{Claim, ClaimRequest, Completed, Owner, Settled};
use crate::store::error::{StoreError, StoreErrorKind};
use crate::store::memory::MemoryStore;
use crate::store::traits::Store;

const LEASE: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3_600);

type Chaos = ChaosStore<MemoryStore>;

/// A store to which nothing happens.
fn quiet(seed: u64) -> Chaos {
    ChaosStore::new(MemoryStore::new(), seed)
        .delays(0, 3 * LEASE)
        .failures(0)
        .duplicates(0)
        .lost_leases(0)
        .panics(0)
        .wrong_wakeups(0)
}

fn request(key: u8) -> ClaimRequest {
    let print = Fingerprint::from_parts(1, [7; 32]);
    let key = RecordKey::from_parts([1; 16], [key; 32]);
    ClaimRequest::new(key, ClaimId::unique(), print, LEASE, HOUR)
}

async fn claim(store: &impl Store, request: &ClaimRequest) -> Result<Owner, StoreError> {
    match store.claim(request).await? {
        Claim::Owned(owned) => Ok(Owner::new(
            *request.key(),
            owned.fence(),
            request.claim_id(),
        )),
        other => panic!("{other:?}"),
    }
}

/// Whether there is a record of this request.
async fn is_there(store: &Chaos, request: &ClaimRequest) -> bool {
    let record = store.get_ref().inspect(request.key()).await;
    record.expect("a store in memory answers").is_some()
}

#[tokio::test(start_paused = true)]
async fn without_odds_every_call_is_passed_on_at_once() {
    let store = quiet(7);
    let start = Instant::now();

    let owner = claim(&store, &request(1)).await.unwrap();
    assert_eq!(
        store.renew(&owner, LEASE, true).await.unwrap(),
        Settled::Applied
    );
    let completed = Completed::new(Bytes::from("a"), Bytes::new(), HOUR);
    assert_eq!(
        store.complete(&owner, &completed).await.unwrap(),
        Settled::Applied
    );
    store.settled(owner.key(), owner.fence(), LEASE).await;
    let record = store.inspect(owner.key()).await.unwrap().unwrap();
    assert!(record.is_committed() && !record.is_live());
    assert_eq!(store.abandon(&owner).await.unwrap(), Settled::FencedOut);
    assert_eq!(store.release(&owner).await.unwrap(), Settled::FencedOut);
    assert_eq!(store.erase_scope(owner.key().scope()).await.unwrap(), 1);

    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(store.to_string(), "chaos of seed 7, 8 calls:\n");
}

#[tokio::test(start_paused = true)]
async fn delayed_calls_come_later_and_some_although_their_caller_has_gone() {
    let (mut applied, mut lost) = (0, 0);
    for seed in 0..40 {
        let store = quiet(seed).delays(100, LEASE);
        let (start, request) = (Instant::now(), request(1));

        let hung_up = tokio::time::timeout(Duration::ZERO, store.claim(&request)).await;
        assert!(hung_up.is_err());
        assert!(!is_there(&store, &request).await);
        // As long as the lease of whatever was applied.
        tokio::time::sleep(LEASE + Duration::from_millis(1)).await;
        match is_there(&store, &request).await {
            true => applied += 1,
            false => lost += 1,
        }

        let begun = Instant::now();
        let _ = store.inspect(request.key()).await;
        assert!(
            begun.elapsed() >= Duration::from_millis(2),
            "before and after"
        );
        assert!(start.elapsed() <= 4 * LEASE);
    }
    assert!(applied > 5 && lost > 5, "{applied} applied, {lost} lost");
}

#[tokio::test(start_paused = true)]
async fn a_failure_says_whether_it_may_have_been_applied() {
    let mut kinds = Vec::new();
    for seed in 0..60 {
        let store = quiet(seed).failures(100);
        let request = request(1);

        let kind = claim(&store, &request).await.unwrap_err().kind();
        let applied = is_there(&store, &request).await;

        assert!(!applied || kind == StoreErrorKind::Ambiguous, "{kind:?}");
        kinds.push((kind, applied));
    }
    for kind in [
        (StoreErrorKind::Ambiguous, true),
        (StoreErrorKind::Ambiguous, false),
        (StoreErrorKind::Fatal, false),
        (StoreErrorKind::NotApplied, false),
    ] {
        assert!(kinds.contains(&kind), "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_comes_at_once_or_later_and_in_calm_no_more() {
    let (mut at_once, mut later) = (0, 0);
    for seed in 0..60 {
        let store = quiet(seed).duplicates(100);
        let request = request(1);

        let owner = claim(&store, &request).await.unwrap();
        match store.release(&owner).await.unwrap() {
            Settled::Applied => later += 1,
            // As the second time: the first has released it.
            Settled::Missing => at_once += 1,
            other => panic!("{other:?}"),
        }
        let is_calm = seed % 2 == 0;
        if is_calm {
            store.calm();
        }
        tokio::time::sleep(3 * LEASE + Duration::from_millis(1)).await;

        // A late claim, repeated after its owner released the key, makes a new record.
        assert!(!is_calm || !is_there(&store, &request).await);
    }
    assert!(
        at_once > 10 && later > 10,
        "{at_once} at once, {later} later"
    );

    let came_late = (0..60).map(async |seed| {
        let store = quiet(seed).duplicates(100);
        let request = request(1);
        let owner = claim(&store, &request).await.unwrap();
        store.get_ref().release(&owner).await.unwrap();
        tokio::time::sleep(3 * LEASE + Duration::from_millis(1)).await;
        is_there(&store, &request).await
    });
    let mut late = 0;
    for came in came_late {
        late += u32::from(came.await);
    }
    assert!(late > 10, "{late}");
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_ends_early_and_nobody_is_told() {
    let mut early = 0;
    for seed in 0..40 {
        let store = quiet(seed).lost_leases(100);
        let request = request(1);

        let owner = claim(&store, &request).await.unwrap();
        tokio::time::sleep(LEASE / 2).await;
        let record = store.inspect(owner.key()).await.unwrap().unwrap();
        early += u32::from(!record.is_live());
    }
    assert!(early > 10, "{early}");
}

#[tokio::test(start_paused = true)]
async fn a_panic_comes_before_or_after_the_call_is_applied() {
    let (mut before, mut after) = (0, 0);
    for seed in 0..40 {
        let store = quiet(seed).panics(100);
        let request = request(1);

        let panic = AssertUnwindSafe(store.claim(&request)).catch_unwind().await;
        assert!(panic.is_err());
        match is_there(&store, &request).await {
            true => after += 1,
            false => before += 1,
        }
    }
    assert!(before > 5 && after > 5, "{before} before, {after} after");
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_early_or_late() {
    let (mut early, mut late) = (0, 0);
    for seed in 0..40 {
        let store = quiet(seed).wrong_wakeups(100);
        let owner = claim(&store, &request(1)).await.unwrap();

        let start = Instant::now();
        store.settled(owner.key(), owner.fence(), HOUR).await;
        match start.elapsed() {
            waited if waited < LEASE => early += 1,
            waited if waited > LEASE => late += 1,
            _ => {}
        }
    }
    assert!(early > 10 && late > 10, "{early} early, {late} late");
}

#[tokio::test(start_paused = true)]
async fn the_clock_of_the_store_jumps() {
    let clock = ChaosClock::new();
    let now = clock.clone();
    let memory = MemoryStore::with_clock(move || now.now());
    let store = ChaosStore::new(memory, 7)
        .delays(0, LEASE)
        .clock_jumps(&clock, 100, HOUR);
    clock.jump(100 * HOUR);

    for _ in 0..20 {
        let before = clock.now();
        let _ = store.inspect(request(1).key()).await;
        assert_ne!(clock.now(), before);
    }
    let jumped = clock.now();
    store.calm();
    let _ = store.inspect(request(1).key()).await;
    assert_eq!(clock.now(), jumped);
}

/// A store in memory takes a clock that goes back.
#[tokio::test(start_paused = true)]
async fn a_record_lives_on_when_the_clock_goes_back() {
    let clock = ChaosClock::new();
    let now = clock.clone();
    let store = MemoryStore::with_clock(move || now.now());
    let request = request(1);
    clock.jump(HOUR);
    let owner = claim(&store, &request).await.unwrap();

    clock.jump_back(HOUR / 2);
    assert_eq!(
        store.renew(&owner, LEASE, false).await.unwrap(),
        Settled::Applied
    );
    let record = store.inspect(owner.key()).await.unwrap().unwrap();
    assert_eq!(record.since_first_request(), Duration::ZERO);
    assert_eq!(record.state().lease_left(), HOUR / 2 + LEASE);
    clock.jump_back(HOUR);
    assert!(store.inspect(owner.key()).await.unwrap().unwrap().is_live());
    assert_eq!(store.release(&owner).await.unwrap(), Settled::Applied);
    assert!(store.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_same_calls_meet_the_same_faults() {
    async fn trace(seed: u64) -> (Vec<String>, Duration) {
        let store = Arc::new(ChaosStore::new(MemoryStore::new(), seed));
        let start = Instant::now();
        let mut answers = Vec::new();
        for key in 0..40 {
            let request = request(key);
            let answer = AssertUnwindSafe(claim(&store, &request)).catch_unwind();
            answers.push(match answer.await {
                Ok(answer) => format!(
                    "{:?}",
                    answer
                        .map_err(|error| error.kind())
                        .map(|owner| owner.fence())
                ),
                Err(_) => "panic".into(),
            });
        }
        answers.push(store.to_string());
        (answers, start.elapsed())
    }

    assert_eq!(trace(7).await, trace(7).await);
    assert_ne!(trace(7).await, trace(8).await);
}

#[test]
fn outside_a_runtime_nothing_panics() {
    for seed in 0..40 {
        let store = quiet(seed).delays(50, LEASE).duplicates(50).lost_leases(50);

        let _ = store.claim(&request(1)).now_or_never();
    }
}

#[test]
#[should_panic(expected = "ChaosStore::failures: 101 of a hundred calls: give 0 to 100")]
fn more_than_all_calls_is_nonsense() {
    let _ = quiet(7).failures(101);
}

#[test]
#[should_panic(expected = "ChaosStore::delays: up to 0ns: give at least a millisecond")]
fn no_delay_is_zero_percent() {
    let _ = quiet(7).delays(10, Duration::ZERO);
}

/// What becomes of requests at six keys, three at each, whose scope is erased on the way; and what the store tells.
async fn lived(seed: u64, background: bool) -> String {
    let store = ChaosStore::new(MemoryStore::new(), seed).panics(0);
    let layer = IdempotencyLayer::new(store).in_flight(InFlight::wait(LEASE * 2));
    let layer = match background {
        true => layer.renew_in_background(),
        false => layer,
    };
    let service = layer.layer(service_fn(async |_| {
        tokio::time::sleep(LEASE * 2).await;
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("done")))
    }));
    let request = |key: u16| {
        let request = Request::post("/charges").header("idempotency-key", key);
        request.body(Full::<Bytes>::default()).expect("a request")
    };
    let lives = (0..18).map(|number| tokio::spawn(service.clone().oneshot(request(number % 6))));
    let lives: Vec<_> = lives.collect();
    tokio::time::sleep(LEASE / 6).await;
    let scope = *layer
        .record_key(b"", &Method::POST, "/charges", "0")
        .scope();
    let erased = layer.store().get_ref().erase_scope(&scope).await;
    let mut story = format!("{erased:?}\n");
    for life in lives {
        let Ok(answer) = life.await.expect("no panic");
        story += &format!(
            "{} {:?}\n",
            answer.status(),
            Outcome::of(answer.extensions())
        );
    }
    layer.drain(HOUR).await;
    story + &layer.store().to_string()
}

#[tokio::test(start_paused = true)]
async fn a_seed_replays_beneath_a_layer_in_whatever_order_its_keys_are_held() {
    for seed in 0..20 {
        for background in [false, true] {
            let [first, again] = [lived(seed, background).await, lived(seed, background).await];
            assert!(first == again, "{seed} {background}\n{first}\n{again}");
        }
    }
}
