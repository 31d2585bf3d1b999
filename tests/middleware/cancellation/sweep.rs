//! Every way in which a request ends, beside every way in which a store fails, dropped after every number of
//! polls: afterwards nothing is left, no bound is taken, and the key can be used.

use std::panic::catch_unwind;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tower::util::BoxCloneService;
use tower_idempotency::{Idempotency, Outcome, ResponseBody};

use super::*;
use crate::support::plain;

const MOMENT: Duration = Duration::from_millis(2);

/// What an execution does, or what the request meets.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    Created,
    Error,
    Panic,
    Status500,
    Committed500,
    /// Waits for another execution that is created.
    Waits,
    /// Another request is running under its key.
    Mismatch,
}

/// Which verbs the store fails: renewals not applied, all others applied.
const OUTAGES: [&[(Verb, Fault)]; 5] = {
    const CLAIM: (Verb, Fault) = (Verb::Claim, Fault::After(StoreErrorKind::Ambiguous));
    const RENEW: (Verb, Fault) = (Verb::Renew, Fault::Before(StoreErrorKind::Ambiguous));
    const COMPLETE: (Verb, Fault) = (Verb::Complete, Fault::After(StoreErrorKind::Ambiguous));
    const ABANDON: (Verb, Fault) = (Verb::Abandon, Fault::After(StoreErrorKind::Ambiguous));
    const RELEASE: (Verb, Fault) = (Verb::Release, Fault::After(StoreErrorKind::Ambiguous));
    [
        &[],
        &[CLAIM],
        &[RENEW],
        &[COMPLETE, ABANDON, RELEASE],
        &[CLAIM, RENEW, COMPLETE, ABANDON, RELEASE],
    ]
};

#[derive(Default)]
struct Running {
    now: AtomicU32,
    most: AtomicU32,
    /// From here on every execution is created.
    is_calm: AtomicBool,
}

struct Ran(Arc<Running>);

impl Running {
    fn enter(self: &Arc<Self>) -> Ran {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        Ran(Arc::clone(self))
    }
}

impl Drop for Ran {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

type Failing = BoxCloneService<Request<Body>, Response<ResponseBody<Body>>, &'static str>;

fn service(
    layer: &IdempotencyLayer<Arc<Scripted>>,
    ending: Ending,
    handler: &Handler,
    running: &Arc<Running>,
) -> Failing {
    let (handler, running) = (handler.clone(), Arc::clone(running));
    let inner = service_fn(move |request: Request<RequestBody<Body>>| {
        handler.begin(request.extensions());
        let is_calm = running.is_calm.load(Ordering::SeqCst);
        let ran = running.enter();
        async move {
            let _ran = ran;
            if ending == Ending::Committed500 && !is_calm {
                let context = request.extensions().get::<Idempotency>().unwrap();
                let _ = context.point_of_no_return().await;
            }
            tokio::time::sleep(5 * MOMENT).await;
            let mut response = created("done");
            match ending {
                _ if is_calm => {}
                Ending::Created | Ending::Waits | Ending::Mismatch => {}
                Ending::Error => return Err("lost"),
                Ending::Panic => panic!("lost"),
                Ending::Status500 | Ending::Committed500 => {
                    *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
                }
            }
            Ok(response)
        }
    });
    layer.layer(inner).boxed_clone()
}

/// Drops the request after so many polls; whether it ended before.
async fn dropped_after(polls: usize, ending: Ending, outage: &[(Verb, Fault)]) -> bool {
    let case = format!("{ending:?}, {polls} polls, {outage:?}");
    let store = Scripted::yielding(1);
    for (verb, fault) in outage {
        store.always(*verb, *fault);
    }
    // Every bound so narrow that whatever is not given back is noticed.
    let layer = IdempotencyLayer::new(Arc::clone(&store))
        .lease(Duration::from_secs(3))
        .store_timeout(Duration::from_millis(200))
        .settle_for(Duration::from_secs(5))
        .max_detached(1)
        .max_unsettled(1)
        .max_waiters(1)
        .max_waiters_per_key(1)
        .max_buffered_bytes(2);
    let layer = match ending {
        Ending::Waits => layer.in_flight(InFlight::wait(Duration::from_secs(2))),
        _ => layer,
    };
    let (handler, running) = (Handler::default(), Arc::<Running>::default());
    let service = service(&layer, ending, &handler, &running);
    let other = match ending {
        Ending::Waits | Ending::Mismatch => {
            let other = tokio::spawn(service.clone().oneshot(plain("k", "a")));
            tokio::time::sleep(2 * MOMENT).await;
            Some(other)
        }
        _ => None,
    };

    let body = if ending == Ending::Mismatch { "b" } else { "a" };
    let mut request = Box::pin(service.clone().oneshot(plain("k", body)));
    let mut has_ended = false;
    for _ in 0..polls {
        let poll = catch_unwind(AssertUnwindSafe(|| poll_once(&mut request).is_pending()));
        has_ended = !poll.is_ok_and(|is_pending| is_pending);
        if has_ended {
            break;
        }
        tokio::time::sleep(MOMENT).await;
    }
    drop(request);
    if let Some(other) = other {
        other.await.unwrap().unwrap();
    }
    store.heal();

    // Now nothing is left.
    assert_eq!(layer.drain(LONG).await.left, 0, "{case}");
    let record = record(&layer, "k").await;
    assert!(!record.is_some_and(|record| record.is_live()), "{case}");
    running.is_calm.store(true, Ordering::SeqCst);
    let ran = handler.executions();
    assert!(ran <= 1, "{case}");
    let ask =
        async |key, body| read(service.clone().oneshot(plain(key, body)).await.unwrap()).await;
    assert_eq!(ask("another", "ab").await.status, 201, "{case}");
    let retry = ask("k", "a").await;
    let (outcome, attempt) = match ending {
        _ if ran == 0 => (Outcome::Executed { recorded: true }, 1),
        Ending::Created | Ending::Waits | Ending::Mismatch => (Outcome::Replayed, 1),
        Ending::Error | Ending::Panic => (Outcome::Executed { recorded: true }, 2),
        Ending::Status500 => (Outcome::Executed { recorded: true }, 1),
        Ending::Committed500 => (Outcome::Refused, 1),
    };
    assert_eq!(
        (retry.outcome, handler.last_attempt()),
        (outcome, attempt),
        "{case}"
    );
    assert_eq!(running.most.load(Ordering::SeqCst), 1, "{case}");
    has_ended
}

async fn sweep(ending: Ending) {
    for outage in OUTAGES {
        let mut polls = 0;
        while !dropped_after(polls, ending, outage).await {
            polls += 1;
            assert!(polls < 100, "{ending:?} never ends beside {outage:?}");
        }
        assert!(polls >= 2 || !outage.is_empty(), "{ending:?}: {polls}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_succeeds_leaves_nothing_behind_whenever_it_is_dropped() {
    sweep(Ending::Created).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_fails_leaves_nothing_behind_whenever_it_is_dropped() {
    sweep(Ending::Error).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_panics_leaves_nothing_behind_whenever_it_is_dropped() {
    sweep(Ending::Panic).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_key_is_freed_leaves_nothing_behind_whenever_it_is_dropped() {
    sweep(Ending::Status500).await;
}

#[tokio::test(start_paused = true)]
async fn a_committed_request_that_is_not_kept_leaves_nothing_behind_whenever_it_is_dropped() {
    sweep(Ending::Committed500).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_leaves_nothing_behind_whenever_it_is_dropped() {
    sweep(Ending::Waits).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_with_other_parameters_leaves_nothing_behind_whenever_it_is_dropped() {
    sweep(Ending::Mismatch).await;
}
