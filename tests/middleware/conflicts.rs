//! Requests that are not answered by the handler: whose key is taken, wrong, missing or another's.

mod endpoints;
mod keys;
mod layers;
mod operators;
mod parameters;
mod records;
mod scopes;
mod senders;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, Request, Response};
use tower::util::{BoxCloneService, service_fn};
use tower::{Layer, ServiceExt};
use tower_idempotency::{
    Claim, ClaimId, ClaimRequest, Completed, Fingerprint, Forgotten, Idempotency, IdempotencyLayer,
    InFlight, Keep, KeyPolicy, OnLost, OnStoreError, Outcome, Owner, RecordKey, RefusalCode,
    RequestBody, ResponseBody, Scope, State, Store,
};

use crate::frames::{Executions, Frames, Step, responding, upload};
use crate::spy::Spy;
use crate::support::{
    Answer, Body, Guarded, Handler, PATH, created, keyed, post, read, send, settle,
};

const MISMATCH: &str = r#"{"error":"idempotency_mismatch","detail":"Idempotency key has already been used with different parameters.","status_code":422}"#;
const IN_PROGRESS: &str = r#"{"error":"idempotency_in_progress","detail":"A request with this idempotency key is still in progress.","status_code":409}"#;
const OUTCOME_UNKNOWN: &str = r#"{"error":"idempotency_outcome_unknown","detail":"The first request with this idempotency key was interrupted; its outcome is unknown.","status_code":409}"#;
const RESPONSE_UNAVAILABLE: &str = r#"{"error":"idempotency_response_unavailable","detail":"The request with this idempotency key has completed; its response was not kept.","status_code":409}"#;
const KEY_INVALID: &str = r#"{"error":"idempotency_key_invalid","detail":"Idempotency key is malformed, of a wrong length, or sent more than once.","status_code":400}"#;
const KEY_MISSING: &str = r#"{"error":"idempotency_key_missing","detail":"This request requires an idempotency key.","status_code":400}"#;
const SCOPE_UNRESOLVED: &str = r#"{"error":"idempotency_scope_unresolved","detail":"The sender of this request cannot be told; the request was not processed.","status_code":500}"#;
const RECORD_UNREADABLE: &str = r#"{"error":"idempotency_record_unreadable","detail":"The record of this idempotency key cannot be read.","status_code":503}"#;
const INTERNAL: &str = r#"{"error":"idempotency_internal","detail":"The request was not processed because of an internal error.","status_code":500}"#;

/// Asserts that this is a refusal in the flat form, to the letter.
#[track_caller]
fn refuses(answer: &Answer, text: &str) {
    assert_eq!(answer.text(), text);
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer.status.as_u16(), body["status_code"]);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(!answer.is_replay());
}

fn text(path: &str, headers: &[(&str, &str)], body: &'static str) -> Request<Body> {
    let mut request = post(path, headers, body);
    let headers = request.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("text/plain"));
    headers.insert("idempotency-key", HeaderValue::from_static("k"));
    request
}

/// A layer over a store that can be asked, a handler and its service.
fn spied() -> (Arc<Spy>, Handler, Guarded) {
    let (spy, handler) = (Spy::new(), Handler::default());
    let service = handler.at_once(&IdempotencyLayer::new(spy.clone()));
    (spy, handler, service)
}
