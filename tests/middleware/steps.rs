//! Steps of an operation: run once, whatever becomes of the attempt that has run them.

mod failing;
mod shared;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::Response;
use tower::ServiceExt;
use tower_idempotency::{
    ClaimId, ClaimRequest, Fingerprint, Idempotency, IdempotencyLayer, MemoryStore, OnStoreError,
    Outcome, StepError, Store, StoreErrorKind,
};

use crate::scripted::{Fault, Scripted, Verb};
use crate::support::{Body, Guarded, Handler, created, keyed, plain, send};

const SECOND: Duration = Duration::from_secs(1);

/// A service whose handler has its key, and the number of its execution.
fn stepping<St, F, Fut>(layer: &IdempotencyLayer<St>, handle: F) -> Guarded
where
    St: Store,
    F: Fn(Idempotency, u32) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Response<Body>> + Send + 'static,
{
    let handler = Handler::default();
    let counted = handler.clone();
    handler.answering(layer, move |request| {
        let key = request.extensions().get::<Idempotency>().unwrap().clone();
        handle(key, counted.executions())
    })
}

/// What a step does to the world.
#[derive(Clone, Default)]
struct Provider(Arc<AtomicU32>);

impl Provider {
    fn charge(&self) -> u32 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn charges(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

fn failed() -> Response<Body> {
    let mut response = created("failed");
    *response.status_mut() = http::StatusCode::BAD_GATEWAY;
    response
}

/// What the step said, as a response that is not kept where it is an error.
fn told<T: std::fmt::Display, E: std::fmt::Debug>(step: Result<T, StepError<E>>) -> Response<Body> {
    match step {
        Ok(value) => created(&value.to_string()),
        Err(error) => {
            let mut response = created(&format!("{error:?}"));
            *response.status_mut() = http::StatusCode::BAD_GATEWAY;
            response
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_is_not_run_again_where_the_attempt_failed_behind_it() {
    let provider = Provider::default();
    let charges = provider.clone();
    let service = stepping(&IdempotencyLayer::default(), move |key, execution| {
        let provider = provider.clone();
        async move {
            let receipt = key
                .step("charge", async || provider.charge())
                .await
                .unwrap();
            match execution {
                // The key is freed.
                1 => failed(),
                // The record is abandoned.
                2 => std::panic::resume_unwind(Box::new("lost")),
                _ => created(&format!("receipt {receipt}")),
            }
        }
    });

    let first = send(&service, keyed("k", "x")).await;
    let second = tokio::spawn(service.clone().oneshot(keyed("k", "x"))).await;
    let third = send(&service, keyed("k", "x")).await;

    assert_eq!((first.text(), second.is_err()), ("failed", true));
    assert_eq!(third.text(), "receipt 1");
    assert_eq!(charges.charges(), 1);
    assert_eq!(third.outcome, Outcome::Executed { recorded: true });
}

#[tokio::test(start_paused = true)]
async fn steps_of_other_names_and_other_keys_are_others() {
    let provider = Provider::default();
    let service = stepping(&IdempotencyLayer::default(), move |key, _| {
        let provider = provider.clone();
        async move {
            let mut values = Vec::new();
            for name in ["a", "b", "a"] {
                values.push(key.step(name, async || provider.charge()).await.unwrap());
            }
            created(&format!("{values:?}"))
        }
    });

    let first = send(&service, keyed("k", "x")).await;
    let other = send(&service, keyed("l", "x")).await;

    assert_eq!((first.text(), other.text()), ("[1, 2, 1]", "[3, 4, 3]"));
}

#[tokio::test(start_paused = true)]
async fn a_step_costs_two_round_trips_and_one_where_its_value_is_there() {
    let store = Scripted::new();
    let service = stepping(&IdempotencyLayer::new(store.clone()), |key, _| async move {
        told(key.step("a", async || 7).await);
        failed()
    });
    let costs = |store: &Scripted| (store.calls(Verb::Claim), store.calls(Verb::Complete));

    send(&service, keyed("k", "x")).await;
    let first = costs(&store);
    send(&service, keyed("k", "x")).await;

    // One claim each is the operation's.
    assert_eq!((first, costs(&store)), ((2, 1), (4, 1)));
    assert_eq!(store.calls(Verb::Renew), 0);
}

#[tokio::test(start_paused = true)]
async fn a_value_is_kept_for_the_retention_of_the_operation() {
    let provider = Provider::default();
    let layer = IdempotencyLayer::default().retention(60 * SECOND);
    let service = stepping(&layer, move |key, _| {
        let provider = provider.clone();
        async move {
            told(key.step("a", async || provider.charge()).await);
            let again = key.step("a", async || provider.charge()).await;
            let mut response = told(again);
            *response.status_mut() = http::StatusCode::BAD_GATEWAY;
            response
        }
    });

    let first = send(&service, keyed("k", "x")).await;
    tokio::time::advance(59 * SECOND).await;
    let within = send(&service, keyed("k", "x")).await;
    tokio::time::advance(2 * SECOND).await;
    let after = send(&service, keyed("k", "x")).await;

    assert_eq!((first.text(), within.text(), after.text()), ("1", "1", "2"));
}

#[tokio::test(start_paused = true)]
async fn a_step_belongs_to_the_scope_of_its_operation() {
    let provider = Provider::default();
    let layer = IdempotencyLayer::default();
    let service = stepping(&layer, move |key, _| {
        let provider = provider.clone();
        async move {
            let step = key.step("a", async || provider.charge()).await;
            let mut response = told(step);
            *response.status_mut() = http::StatusCode::BAD_GATEWAY;
            response
        }
    });
    let request = keyed("k", "x");
    let (parts, _) = request.into_parts();
    let record = layer.record_key_for(&parts, "k").unwrap();

    let first = send(&service, keyed("k", "x")).await;
    let erased = layer.store().erase_scope(record.scope()).await.unwrap();
    let second = send(&service, keyed("k", "x")).await;

    assert_eq!((first.text(), erased, second.text()), ("1", 1, "2"));
}
