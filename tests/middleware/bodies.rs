//! Bodies on their way in and out: bounded, exact, and never the reason why a client gets less.

mod flowing;
mod held;
mod uploads;

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::sync::Notify;
use tower::ServiceExt;
use tower_idempotency::{Idempotency, IdempotencyLayer, Keep, Outcome, ResponseBody};

use crate::frames::{Broke, Frames, Step, Streamed, responding, streaming, upload};
use crate::spy::Spy;
use crate::support::{Answer, Handler, created, keyed, plain, read, send, settle};

const SECOND: Duration = Duration::from_secs(1);

async fn ask(service: &Streamed, request: Request<Frames>) -> Answer {
    read(service.clone().oneshot(request).await.unwrap()).await
}

/// A retry with the same parameters.
async fn retry(service: &Streamed) -> Answer {
    ask(service, upload("k", Frames::empty())).await
}

async fn first(service: &Streamed) -> Response<ResponseBody<Frames>> {
    let request = upload("k", Frames::empty());
    service.clone().oneshot(request).await.unwrap()
}

/// The next data of a body, or how it broke.
async fn next(body: &mut Pin<Box<ResponseBody<Frames>>>) -> Option<Result<Bytes, Broke>> {
    let frame = body.frame().await?;
    Some(frame.map(|frame| frame.into_data().unwrap()))
}

fn trailers() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", HeaderValue::from_static("7"));
    trailers
}

/// A response with this content type: one frame, then nothing until the gate opens.
fn flowing(content_type: &'static str, gate: &Arc<Notify>) -> Response<Frames> {
    Response::builder()
        .header("content-type", content_type)
        .header("location", "/made/7")
        .body(Frames::new([
            Step::Data("one"),
            Step::Gate(Arc::clone(gate)),
            Step::Data("two"),
            Step::Trailers(trailers()),
        ]))
        .unwrap()
}

#[track_caller]
fn is_tombstone(answer: &Answer) {
    assert_eq!(answer.status, 409, "{answer:?}");
    assert_eq!(answer.code(), "idempotency_response_unavailable");
    assert_eq!(answer.header("location"), Some("/made/7"));
    assert_eq!(answer.header("idempotent-replayed"), None);
    assert_eq!(answer.header("retry-after"), None);
    assert_eq!(answer.outcome, Outcome::Refused);
}
