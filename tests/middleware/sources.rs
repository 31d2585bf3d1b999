//! Where keys stand, and which are accepted: headers of any name, JSON bodies, closures, policies.

mod bodies;
mod closures;
mod composites;
mod extremes;
mod headers;
mod operators;
mod policies;
mod properties;
mod uploads;
mod webhooks;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use http::{HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use tower::ServiceExt;
use tower_idempotency::{
    Anonymous, ErrorForm, FingerprintPolicy, Idempotency, IdempotencyLayer, KeyFrom, KeyPolicy,
    Outcome, RecordKey, RefusalCode, Scope,
};

use crate::frames::{Frames, Step, Streamed, streaming};
use crate::spy::Spy;
use crate::support::{Answer, Body, Guarded, Handler, PATH, created, logs, post, send, settle};

const EXECUTED: Outcome = Outcome::Executed { recorded: true };
const UUID: &str = "550e8400-e29b-41d4-a716-446655440000";

/// A layer over a store that can be asked, before a handler that answers with the key it sees.
struct World {
    spy: Arc<Spy>,
    handler: Handler,
    layer: IdempotencyLayer<Arc<Spy>>,
    service: Guarded,
}

impl World {
    fn new(
        configure: impl FnOnce(IdempotencyLayer<Arc<Spy>>) -> IdempotencyLayer<Arc<Spy>>,
    ) -> Self {
        let (spy, handler) = (Spy::new(), Handler::default());
        let layer = configure(IdempotencyLayer::new(spy.clone()));
        let service = handler.answering(&layer, |request| {
            let context = request.extensions().get::<Idempotency>();
            let key = context.map_or("no key", |context| context.key().as_str());
            std::future::ready(created(key))
        });
        Self {
            spy,
            handler,
            layer,
            service,
        }
    }

    fn from(source: KeyFrom) -> Self {
        Self::new(|layer| layer.key_from(source))
    }

    async fn ask(&self, request: Request<Body>) -> Answer {
        send(&self.service, request).await
    }

    /// The outcome of a request, and the key that its handler saw, now or when it ran.
    async fn key(&self, request: Request<Body>) -> (Outcome, String) {
        let answer = self.ask(request).await;
        (answer.outcome, answer.text().to_owned())
    }

    /// The record keys of all claims, in order.
    fn records(&self) -> Vec<RecordKey> {
        let claims = self.spy.claims();
        claims.iter().map(|claim| *claim.key()).collect()
    }

    /// Asserts that a request is refused with this status and code, and that nothing comes of it.
    async fn refuses(&self, request: Request<Body>, status: u16, code: &str) {
        let told = format!("{request:?}");
        let before = (self.handler.executions(), self.spy.verbs());

        let answer = self.ask(request).await;

        assert_eq!(answer.code(), code, "{told}");
        assert_eq!(answer.status, status, "{told}");
        assert_eq!(answer.outcome, Outcome::Refused, "{told}");
        assert_eq!(answer.header("idempotent-replayed"), None, "{told}");
        let after = (self.handler.executions(), self.spy.verbs());
        assert_eq!(after, before, "{told}");
    }

    async fn refuses_the_key(&self, request: Request<Body>) {
        self.refuses(request, 400, "idempotency_key_invalid").await;
    }

    /// Asserts that a request runs as if there were no layer.
    async fn passes(&self, request: Request<Body>) {
        let told = format!("{request:?}");
        let before = (self.handler.executions(), self.spy.verbs());

        let answer = self.ask(request).await;

        assert_eq!(answer.text(), "no key", "{told}");
        assert_eq!(answer.outcome, Outcome::Bypassed, "{told}");
        assert_eq!(answer.header("idempotent-replayed"), None, "{told}");
        assert_eq!(answer.header("idempotency-key"), None, "{told}");
        let after = (self.handler.executions() - 1, self.spy.verbs());
        assert_eq!(after, before, "{told}");
    }
}

/// A POST with these header lines.
fn with(headers: &[(&str, &str)]) -> Request<Body> {
    logs::watch();
    post(PATH, headers, "x")
}

/// A POST with this body.
fn json(body: impl Into<Bytes>) -> Request<Body> {
    json_with(&[], body)
}

/// A POST with these header lines and this body.
fn json_with(headers: &[(&str, &str)], body: impl Into<Bytes>) -> Request<Body> {
    with(headers).map(|_| Full::new(body.into()))
}

/// A POST with this JSON text at `/id` of its body.
fn id(value: &str) -> Request<Body> {
    json(format!("{{\"amount\":5,\"id\":{value}}}"))
}

/// The same text, quoted as a structured-field string.
fn quoted(key: &str) -> String {
    format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""))
}
