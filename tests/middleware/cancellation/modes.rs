//! Requests that are not executed as owners, or not at all: by a layer that only looks, one that runs unprotected
//! and one that does neither, beside everything that may have happened to their key. Dropped after every number
//! of polls, they leave nothing behind, and every bound is free again.

use http_body_util::BodyExt;
use tower_idempotency::{Mode, OnStoreError, Outcome, Scope, State};

use super::*;
use crate::frames::{Frames, Step, streaming, upload};

const MOMENT: Duration = Duration::from_millis(2);

/// What has happened to the key.
#[derive(Clone, Copy, Debug)]
enum Before {
    Nothing,
    SameRequest,
    OtherRequest,
    /// And goes on: it ends when the request has been dropped.
    Running,
}

/// What the next two claims meet.
#[derive(Clone, Copy, Debug)]
enum Outage {
    None,
    NotApplied,
    Applied,
    Hangs,
    ShortLease,
    ShortLeaseAndNoRenewal,
}

impl Outage {
    fn begin(self, store: &Scripted) {
        let fault = match self {
            Self::None => return,
            Self::NotApplied => Fault::Before(StoreErrorKind::NotApplied),
            Self::Applied => Fault::After(StoreErrorKind::Ambiguous),
            Self::Hangs => Fault::SlowAfter(Duration::from_secs(10)),
            Self::ShortLease | Self::ShortLeaseAndNoRenewal => {
                Fault::LeaseLeft(Duration::from_secs(1))
            }
        };
        for _ in 0..2 {
            store.next(Verb::Claim, fault);
        }
        if let Self::ShortLeaseAndNoRenewal = self {
            store.always(Verb::Renew, Fault::Before(StoreErrorKind::NotApplied));
        }
    }
}

/// What is uploaded.
#[derive(Clone, Copy, Debug)]
enum Body {
    Whole,
    Broken,
    TooLarge,
}

impl Body {
    fn request(self) -> Request<Frames> {
        let (first, last) = match self {
            Self::Whole => (Step::Data("aa"), Step::Data("bb")),
            Self::Broken => (Step::Data("aa"), Step::Break("reset")),
            Self::TooLarge => (Step::Data("aa"), Step::Data("bbbbbbbbbbbbbbbbbbbb")),
        };
        upload(
            "k",
            Frames::new([Step::Wait(MOMENT), first, Step::Wait(MOMENT), last]),
        )
    }
}

#[derive(Clone, Copy, Debug)]
struct Case {
    mode: Mode,
    on_store_error: OnStoreError,
    before: Before,
    outage: Outage,
    body: Body,
}

/// Drops the request after so many polls; whether it ended before.
async fn dropped_after(polls: usize, case: Case) -> bool {
    let told = format!("{case:?}, {polls} polls");
    let store = Scripted::yielding(1);
    // Every bound so narrow that whatever is not given back is noticed.
    let layer = IdempotencyLayer::new(Arc::clone(&store))
        .scope(Scope::shared())
        .on_store_error(case.on_store_error)
        .in_flight(InFlight::wait(Duration::from_secs(3)))
        .max_request_bytes(10)
        .max_buffered_bytes(4)
        .max_waiters(1)
        .max_detached(1)
        .max_unsettled(1);
    let handler = |_, request: Request<RequestBody<Frames>>| async move {
        tokio::time::sleep(MOMENT).await;
        let whole = request.into_body().collect().await;
        let mut response = Response::new(Frames::data(["done"]));
        if whole.is_err() {
            *response.status_mut() = http::StatusCode::BAD_REQUEST;
        }
        response
    };
    let (acting, _) = streaming(&layer, handler);
    let ask = async |key, body| {
        let body = Frames::data([body]);
        read(acting.clone().oneshot(upload(key, body)).await.unwrap()).await
    };
    let gate = Arc::new(tokio::sync::Notify::new());
    let mut running = None;
    match case.before {
        Before::Nothing => {}
        Before::SameRequest => assert_eq!(ask("k", "aabb").await.status, 200),
        Before::OtherRequest => assert_eq!(ask("k", "x").await.status, 200),
        Before::Running => {
            let opens = Arc::clone(&gate);
            let (held, _) = streaming(&layer, move |_, _| {
                let gate = Arc::clone(&opens);
                async move {
                    gate.notified().await;
                    Response::new(Frames::data(["done"]))
                }
            });
            let body = Frames::data(["aabb"]);
            running = Some(tokio::spawn(held.oneshot(upload("k", body))));
            settle().await;
        }
    }
    let tested = layer
        .clone()
        .mode(case.mode)
        .max_buffered_bytes(match case.before {
            Before::Running => 8,
            _ => 4,
        });
    let (tested, _) = streaming(&tested, handler);
    case.outage.begin(&store);

    let mut request = Box::pin(tested.oneshot(case.body.request()));
    let mut has_ended = false;
    for _ in 0..polls {
        has_ended = poll_once(&mut request).is_ready();
        if has_ended {
            break;
        }
        tokio::time::sleep(MOMENT).await;
    }
    drop(request);
    if let Some(running) = running {
        gate.notify_one();
        running.await.unwrap().unwrap();
    }

    // What was not given back is free at the end of its lease.
    tokio::time::sleep(LONG).await;
    assert_eq!(layer.drain(2 * LONG).await.left, 0, "{told}");
    let record = layer.record_key(b"", &http::Method::POST, PATH, "k");
    let record = store.memory.inspect(&record).await.unwrap();
    let state = record.as_ref().map(Record::state);
    assert!(
        !matches!(state, Some(State::InFlight { lease_left }) if !lease_left.is_zero()),
        "{told}"
    );
    store.heal();
    let fresh = ask("fresh", "aabb").await;
    assert_eq!(
        fresh.outcome,
        Outcome::Executed { recorded: true },
        "{told}"
    );
    has_ended
}

async fn sweep(mode: Mode, on_store_error: OnStoreError) {
    let befores = [
        Before::Nothing,
        Before::SameRequest,
        Before::OtherRequest,
        Before::Running,
    ];
    let outages = [
        Outage::None,
        Outage::NotApplied,
        Outage::Applied,
        Outage::Hangs,
        Outage::ShortLease,
        Outage::ShortLeaseAndNoRenewal,
    ];
    for before in befores {
        for outage in outages {
            for body in [Body::Whole, Body::Broken, Body::TooLarge] {
                let case = Case {
                    mode,
                    on_store_error,
                    before,
                    outage,
                    body,
                };
                // One that waits for a store that hangs ends much later.
                for polls in 0..16 {
                    if dropped_after(polls, case).await {
                        break;
                    }
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_only_looks_leaves_nothing_behind_whenever_it_is_dropped() {
    sweep(Mode::Shadow, OnStoreError::Refuse).await;
}

#[tokio::test(start_paused = true)]
async fn what_only_looks_where_others_run_unprotected_leaves_nothing_behind() {
    sweep(Mode::Shadow, OnStoreError::RunUnprotected).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_leaves_nothing_behind_whenever_it_is_dropped() {
    sweep(Mode::Enforce, OnStoreError::Refuse).await;
}

#[tokio::test(start_paused = true)]
async fn what_runs_unprotected_leaves_nothing_behind_whenever_it_is_dropped() {
    sweep(Mode::Enforce, OnStoreError::RunUnprotected).await;
}
