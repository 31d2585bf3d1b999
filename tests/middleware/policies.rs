//! What is kept, who may run again, and what a handler and an operator can say about it.

mod commitment;
mod configuration;
mod construction;
mod forms;
mod grpc;
mod handlers;
mod lost;
mod payloads;
mod rules;
mod unprotected;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use axum::Router;
use axum::routing::post as posting;
use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use tower::util::{BoxCloneService, service_fn};
use tower::{Layer, ServiceExt};
use tower_idempotency::{
    Endpoint, Forgotten, Idempotency, IdempotencyLayer, Keep, KeyPolicy, OnLost, OnStoreError,
    Outcome, Refusal, RequestBody, ResponseBody, Store, StoreErrorKind,
};

use crate::frames::{Executions, Frames, Step, Streamed, responding, streaming, upload};
use crate::spy::Spy;
use crate::support::{Answer, Body, Handler, PATH, created, keyed, poll_once, read, send, settle};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn ask(service: &Streamed) -> Answer {
    read(
        service
            .clone()
            .oneshot(upload("k", Frames::empty()))
            .await
            .unwrap(),
    )
    .await
}

/// How an execution is lost.
#[derive(Clone, Copy, Debug)]
enum Lost {
    Break,
    Error,
    Panic,
    PanicInBody,
    PanicInCall,
}

const LOST: [Lost; 5] = [
    Lost::Break,
    Lost::Error,
    Lost::Panic,
    Lost::PanicInBody,
    Lost::PanicInCall,
];

type Failing = BoxCloneService<Request<Body>, Response<ResponseBody<Frames>>, &'static str>;

/// A service whose first execution is lost, perhaps behind its point of no return.
fn losing<St: Store>(
    layer: &IdempotencyLayer<St>,
    lost: Lost,
    commits: bool,
) -> (Failing, Executions) {
    let executions = Executions::default();
    let counted = executions.clone();
    let inner = service_fn(move |request: Request<RequestBody<Body>>| {
        let number = counted.begin();
        assert!(
            number > 1 || !matches!(lost, Lost::PanicInCall) || commits,
            "lost"
        );
        async move {
            let key = request.extensions().get::<Idempotency>().unwrap();
            if commits {
                key.point_of_no_return().await.unwrap();
            }
            let body = match lost {
                _ if number > 1 => {
                    Frames::data([["", "attempt 1", "attempt 2"][key.attempt() as usize]])
                }
                Lost::Break => Frames::new([Step::Data("abc"), Step::Break("lost")]),
                Lost::Error => return Err("lost"),
                Lost::PanicInBody => Frames::new([Step::Data("abc"), Step::Panic("lost")]),
                Lost::Panic | Lost::PanicInCall => std::panic::panic_any("lost"),
            };
            Ok(Response::new(body))
        }
    });
    (layer.layer(inner).boxed_clone(), executions)
}

/// Sends a request that is lost, and asserts that its client sees how.
async fn lose(service: &Failing, lost: Lost) {
    let request = service.clone().oneshot(keyed("k", "x"));
    match (lost, AssertUnwindSafe(request).catch_unwind().await) {
        (Lost::Break, Ok(Ok(_))) | (Lost::Error, Ok(Err("lost"))) => {}
        (Lost::Panic | Lost::PanicInBody | Lost::PanicInCall, Err(panic)) => {
            assert_eq!(panic.downcast_ref(), Some(&"lost"));
        }
        (_, Ok(answer)) => panic!("{lost:?}: {answer:?}"),
        (_, Err(_)) => panic!("{lost:?}: a panic"),
    }
}

async fn again(service: &Failing) -> Answer {
    read(service.clone().oneshot(keyed("k", "x")).await.unwrap()).await
}

async fn forget<St: Store>(layer: &IdempotencyLayer<St>) {
    let record = layer.record_key(b"", &Method::POST, PATH, "k");
    let forgotten = layer.store().forget(&record, false).await.unwrap();
    assert_eq!(forgotten, Forgotten::Forgotten);
}
