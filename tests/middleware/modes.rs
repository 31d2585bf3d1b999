//! A layer that only looks, and one that is switched off.

mod bounds;
mod layers;
mod refusals;
mod shadow;
mod switch;
mod uploads;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tower::ServiceExt;
use tower_idempotency::{
    BoxStore, FingerprintPolicy, Idempotency, IdempotencyLayer, InFlight, Keep, KeyFrom,
    MemoryStore, Mode, OnLost, OnStoreError, Outcome, RefusalCode, RequestBody, Scope, Store,
    StoreErrorKind,
};

use crate::frames::{Frames, Step, responding, streaming, upload};
use crate::heard::{Heard, told};
use crate::scripted::{Fault, Scripted, Verb};
use crate::spy::Spy;
use crate::support::{Body, Guarded, Handler, PATH, created, plain, post, read, send, settle};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);

fn shadow<St: Store>(layer: IdempotencyLayer<St>) -> IdempotencyLayer<St> {
    layer.mode(Mode::Shadow)
}

/// The context that a handler has.
fn context<B>(request: &Request<B>) -> &'static str {
    match request.extensions().get::<Idempotency>() {
        None => "none",
        Some(context) if context.is_protected() => "protected",
        Some(_) => "unprotected",
    }
}

fn failing(kind: StoreErrorKind) -> IdempotencyLayer<BoxStore> {
    let store = Scripted::new();
    store.always(Verb::Claim, Fault::Before(kind));
    IdempotencyLayer::new(store).boxed()
}

/// A handler that says what it got, and does the first time what it is asked to.
fn obliging<St: Store>(layer: &IdempotencyLayer<St>, handler: &Handler) -> Guarded {
    let counted = handler.clone();
    handler.answering(layer, move |request| {
        let (handler, context) = (counted.clone(), context(&request));
        let wish = request.headers().get("x-first").cloned();
        let wish = wish.filter(|_| counted.executions() == 1);
        async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let mut response = created(&format!("{context}: {}", body.escape_ascii()));
            match wish.as_ref().map_or("", |wish| wish.to_str().unwrap()) {
                "hold" | "leave" => handler.opened().await,
                "lose" => panic!("the first execution is lost"),
                "stream" => {
                    response.extensions_mut().insert(Keep::Stream);
                }
                _ => {}
            }
            response
        }
    })
}
