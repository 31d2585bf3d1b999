//! A Tower layer that makes POST requests safe to retry.
//!
//! A client sends `Idempotency-Key`; the first request runs and its response is recorded; a retry gets the
//! recorded response with `Idempotent-Replayed: true`; the same key with other parameters gets 422
//! `idempotency_mismatch`. For one key in one scope one outcome is kept, it is recorded even when the client is
//! gone, and no other scope ever sees it.
//!
//! # Examples
//!
//! Under axum, with everything by default: records in memory for 24 hours, POST only.
//!
//! ```
//! # #[cfg(feature = "memory")] {
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use axum::body::Body;
//! use axum::http::{Request, StatusCode};
//! use axum::{Router, routing::post};
//! use tower::ServiceExt;
//! use tower_idempotency::IdempotencyLayer;
//!
//! let idempotency = IdempotencyLayer::default();
//! let app: Router = Router::new()
//!     .route("/charges", post(async || (StatusCode::CREATED, "charged")))
//!     .layer(idempotency.clone());
//!
//! let charge = || {
//!     let request = Request::post("/charges").header("idempotency-key", "order_456_payment");
//!     app.clone().oneshot(request.body(Body::from("1000 MAD")).unwrap())
//! };
//! let first = charge().await.unwrap();
//! let retry = charge().await.unwrap();
//!
//! assert_eq!(first.status(), 201);
//! assert_eq!(retry.status(), 201);
//! assert_eq!(retry.headers()["idempotent-replayed"], "true");
//! # }
//! # main() }
//! ```
//!
//! Around any service, without a framework; here with a payment API's choices:
//!
//! ```
//! # #[cfg(feature = "memory")] {
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use std::convert::Infallible;
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_idempotency::{
//!     IdempotencyLayer, InFlight, Keep, MemoryStore, OnLost, Outcome, RequestBody,
//! };
//!
//! type Body = Full<Bytes>;
//!
//! let idempotency = IdempotencyLayer::new(MemoryStore::new())
//!     .namespace("payments")
//!     .endpoints(["POST /v1/charges", "POST /v1/refunds/{id}"])
//!     // A decline is an outcome too, and a 502 of the provider is not "nothing happened".
//!     .keep(Keep::Final)
//!     .on_lost(OnLost::Refuse)
//!     .in_flight(InFlight::wait(Duration::from_secs(5)));
//! let service = idempotency.layer(service_fn(async |_: Request<RequestBody<Body>>| {
//!     Ok::<_, Infallible>(Response::builder().status(402).body(Body::from("declined")).unwrap())
//! }));
//!
//! let charge = || {
//!     let request = Request::post("/v1/charges").header("idempotency-key", "order_456_payment");
//!     service.clone().oneshot(request.body(Body::from("1000 MAD")).unwrap())
//! };
//! let first = charge().await.unwrap();
//! let retry = charge().await.unwrap();
//!
//! assert_eq!(Outcome::of(first.extensions()), Outcome::Executed { recorded: true });
//! assert_eq!(Outcome::of(retry.extensions()), Outcome::Replayed);
//! assert_eq!(retry.status(), 402);
//! # }
//! # main() }
//! ```
//!
//! # Where to put the layer
//!
//! From the outside in: tracing, catch-panic, CORS, compression, time-outs, authentication, **this layer**, the
//! router.
//!
//! ## Authentication in extractors
//!
//! A replay does not reach the handler, so that authentication done by the handler's extractors is skipped: whoever
//! sends the same credentials, key and body gets the recorded answer even after access was withdrawn. Authenticate in
//! a middleware outside of this layer.
//!
//! ## Rotating tokens
//!
//! By default the credentials themselves say who sends a request. A client that refreshes its token between two
//! tries is another principal then, and its retry runs again. Let the authentication middleware put the user into an
//! extension and use [`Scope::extension`].
//!
//! ## Time-outs inside the layer
//!
//! A time-out between this layer and the handler cancels the handler and answers 408 or an error: the key is freed or
//! abandoned, and a retry runs a handler whose first half may have happened. Put time-outs outside: the client hears
//! of it in time, the handler runs on, and the retry gets its answer.
//!
//! ## Compression and CORS
//!
//! Both belong outside. Compression inside would record an encoded body, which a retry with another
//! `Accept-Encoding` cannot read; CORS headers are those of the origin that asks, so `Access-Control-*` is never
//! recorded. What browsers must be told of this layer's headers is in [`cors`].
//!
//! ## Trailing slashes and unlisted paths
//!
//! `/charges` and `/charges/` are two endpoints: where a router answers both, so does the layer, with a record each.
//! With [`IdempotencyLayer::endpoints`] a path that no template matches passes through unprotected and silently. Under
//! `Router::layer` unknown paths reach the fallback through the layer; their 404 frees the key. `Router::route_layer`
//! leaves out unknown paths, `MethodRouter::route_layer` also methods without a handler.
//!
//! ## Limits inside the layer
//!
//! A request takes the readiness of the wrapped service with it, a permit of `concurrency_limit` for one, while its body
//! is read and claimed; one that waits for another gives it back. Where uploads are slow and untrusted, put the limit
//! outside. `LoadShed` inside fails in the call, which abandons the key: it belongs outside too.
//!
//! ## A layer inside another one
//!
//! What an outer layer has claimed passes through the inner ones, with all that they are told: their scope, their key
//! policy, their source of the key do not count for it. Where a route has a layer of its own, the outer one must leave it
//! out by a list of [`endpoints`](IdempotencyLayer::endpoints) without it. What the outer one does not claim (no key where it
//! looks for one, another endpoint) the inner one guards, and so it does where the outer one only looks
//! ([`Mode::Shadow`]): let the one be a clone of the other, or give them different namespaces, because on one store they
//! would meet each other's claims.
//!
//! ## Around a whole Router
//!
//! Outside of the router a replay is cheapest. `axum::serve` wants axum's own body type there:
//!
//! ```
//! # #[cfg(feature = "memory")] {
//! use axum::body::Body;
//! use axum::extract::Request;
//! use axum::{Router, ServiceExt};
//! use tower::Layer;
//! use tower_idempotency::IdempotencyLayer;
//!
//! let app: Router = Router::new();
//! let guarded = IdempotencyLayer::default().layer(app);
//! let guarded = tower::ServiceExt::<Request>::map_response(guarded, |response| response.map(Body::new));
//! let make_service = ServiceExt::<Request>::into_make_service(guarded);
//! # let _ = make_service;
//! # }
//! ```
//!
//! # Your API
//!
//! ## One layer, several endpoints
//!
//! [`Endpoint`]s listed in one layer may have a retention, a rule of what is kept and a required key of their own. Where
//! more than that differs (the source of the key, the scope, the fingerprint), clone the layer: clones share the store,
//! the bounds and the drain.
//!
//! ```
//! # #[cfg(feature = "memory")] {
//! use std::time::Duration;
//! use tower_idempotency::{Endpoint, FingerprintPolicy, IdempotencyLayer, Keep, KeyFrom, Scope};
//!
//! const DAY: Duration = Duration::from_secs(24 * 60 * 60);
//!
//! let layer = IdempotencyLayer::default();
//! let api = layer.clone().endpoints([
//!     Endpoint::post("/v1/charges").keep(Keep::Final),
//!     Endpoint::post("/v1/payouts").retention(7 * DAY).require_key(true),
//! ]);
//! // A provider's deliveries: it sends an event again until it is answered, with another time stamp each time.
//! let webhooks = layer
//!     .namespace("webhooks")
//!     .endpoints(["POST /webhooks/provider"])
//!     .key_from(KeyFrom::json(["/event_id"]))
//!     .scope(Scope::shared())
//!     .fingerprint(FingerprintPolicy::none());
//! # let _ = (api, webhooks);
//! # }
//! ```
//!
//! ## What one response decides
//!
//! A handler overrules the layer for one response by an extension, or under axum by a response part: a [`Keep`]
//! (`Store`, `Discard`, `Stream`) and a [`Retention`], which is capped by that of the endpoint, else of the layer.
//!
//! ```
//! # #[cfg(feature = "axum")] {
//! use std::time::Duration;
//! use axum::http::StatusCode;
//! use tower_idempotency::{Keep, Retention};
//!
//! async fn charge() -> Result<(Retention, &'static str), (StatusCode, Keep, &'static str)> {
//!     if true {
//!         // A failure that a retry cannot mend.
//!         return Err((StatusCode::BAD_GATEWAY, Keep::Store, "the card was charged, the receipt is lost"));
//!     }
//!     Ok((Retention(Duration::from_secs(60 * 60)), "charged"))
//! }
//! # let _ = charge;
//! # }
//! ```
//!
//! ## Rolling out on a live API
//!
//! 1. Add the layer in [`Mode::Shadow`] with an [`on_event`](IdempotencyLayer::on_event) that counts outcomes. It claims
//!    and records, and the events say what it would have done; whatever it would have refused, replayed or made wait runs
//!    as before, without an [`Idempotency`] in its request: handlers take an `Option` of it meanwhile. What a client may
//!    notice: a first response is held until it ends or for [`hold_for`](IdempotencyLayer::hold_for), a first execution
//!    outlives its connection, a store that hangs costs [`store_timeout`](IdempotencyLayer::store_timeout), and an upload
//!    that breaks is answered 400 by the layer.
//! 2. Look at what would have been refused: `mismatch` where clients reuse keys or send time stamps
//!    ([`FingerprintPolicy`]), `idempotency_scope_unresolved` where the default scope does not fit ([`Scope`]), how often
//!    `replayed` would have spared an execution.
//! 3. Switch to [`Mode::Enforce`] on the endpoints that are ready, with [`enabled`](IdempotencyLayer::enabled) at hand to
//!    turn the layer off at run time. Records that shadow mode has made are replayed from then on, where their store
//!    outlives the change.
//!
//! # Handlers
//!
//! ## Handlers outlive their connections
//!
//! From the claim on the work no longer belongs to the connection: when the client hangs up, the handler runs on as a
//! task of the runtime, and its outcome is recorded. Task-locals do not follow it. The runtime needs its timer enabled
//! (`enable_time`). For a graceful shutdown call [`IdempotencyLayer::drain`] after the server has stopped.
//!
//! ## Blocking handlers
//!
//! The lease is renewed by the request's own future. A handler that does not yield for two thirds of the lease (20 of
//! 30 seconds by default) is presumed lost, and another request may start. Blocking work belongs into `spawn_blocking`;
//! where it cannot be moved, [`IdempotencyLayer::renew_in_background`] renews from another thread.
//!
//! ## What at-least-once means after a crash
//!
//! A process that dies between a handler's effect and its record leaves a lease that lapses. By default
//! ([`OnLost::Rerun`]) the next request runs the handler again, which sees [`Idempotency::attempt`] 2. Where that is not
//! acceptable: [`OnLost::Refuse`], or [`OnLost::reconcile`], which asks whether it happened, or
//! [`Idempotency::point_of_no_return`] right before the effect, or hand [`Idempotency::child`] to the service that has the effect, so that it recognises the second attempt.
//!
//! ## Exactly once, with one's own database
//!
//! Where the records are in the database of the handler (`PostgresStore`, `SqliteStore`), its own transaction commits the
//! record together with its business writes: a crash between the two cannot exist. Calls to other services are
//! [`step`](Idempotency::step)s, with every store: what has come to its end is not run again. See [`transactions`].
//!
//! ## Secrets in snapshots
//!
//! A recorded response is kept as it was, in the clear, for the retention. `Set-Cookie` and `Authentication-Info` are
//! not recorded; a token in a body is. [`Keep::Discard`] and [`Keep::Stream`] in a response's extensions keep it out of
//! the store. `Encrypted` (feature `encryption`) around a store encrypts what that keeps of responses, with keys of yours:
//! who reads the store, or its backups, reads none of them. Keys, request bodies and credentials never reach a store: it
//! sees digests.
//!
//! # Defaults
//!
//! | knob | default |
//! |---|---|
//! | [`methods`](IdempotencyLayer::methods) | POST |
//! | [`endpoints`](IdempotencyLayer::endpoints) | all that the layer wraps |
//! | [`key_from`](IdempotencyLayer::key_from) | the header `Idempotency-Key` |
//! | [`key`](IdempotencyLayer::key) | 1 to 255 visible ASCII characters, bare or quoted |
//! | [`require_key`](IdempotencyLayer::require_key) | no |
//! | [`fingerprint`](IdempotencyLayer::fingerprint) | method, original path, query, `Content-Type`, `Content-Encoding`, body |
//! | [`scope`](IdempotencyLayer::scope) | [`Scope::credentials`] |
//! | [`namespace`](IdempotencyLayer::namespace) | empty |
//! | [`retention`](IdempotencyLayer::retention) | 24 hours from the first request |
//! | [`lease`](IdempotencyLayer::lease) · [`max_execution`](IdempotencyLayer::max_execution) | 30 seconds · 15 minutes |
//! | [`renew_in_background`](IdempotencyLayer::renew_in_background) | no |
//! | [`keep`](IdempotencyLayer::keep) | [`Keep::Success`] |
//! | [`on_lost`](IdempotencyLayer::on_lost) | [`OnLost::Rerun`] |
//! | [`in_flight`](IdempotencyLayer::in_flight) | [`InFlight::reject`] |
//! | [`on_store_error`](IdempotencyLayer::on_store_error) | [`OnStoreError::Refuse`] |
//! | [`errors`](IdempotencyLayer::errors) | [`ErrorForm::flat`] |
//! | [`retry_after`](IdempotencyLayer::retry_after) | 1 second |
//! | [`hold_for`](IdempotencyLayer::hold_for) | 2 seconds |
//! | [`store_timeout`](IdempotencyLayer::store_timeout) · [`settle_for`](IdempotencyLayer::settle_for) | 2 seconds · 5 minutes |
//! | [`max_request_bytes`](IdempotencyLayer::max_request_bytes) · [`max_buffered_bytes`](IdempotencyLayer::max_buffered_bytes) | 2 MiB · 256 MiB |
//! | [`max_kept_response`](IdempotencyLayer::max_kept_response) | 1 MiB |
//! | [`max_waiters_per_key`](IdempotencyLayer::max_waiters_per_key) · [`max_waiters`](IdempotencyLayer::max_waiters) | 1,000 · 10,000 |
//! | [`keep_headers`](IdempotencyLayer::keep_headers) · [`drop_headers`](IdempotencyLayer::drop_headers) | none · none beside the usual |
//! | [`mode`](IdempotencyLayer::mode) · [`enabled`](IdempotencyLayer::enabled) | [`Mode::Enforce`] · yes |
//! | [`on_event`](IdempotencyLayer::on_event) | nobody is told |
//! | [`max_detached`](IdempotencyLayer::max_detached) | 1,024 |
//! | [`max_unsettled`](IdempotencyLayer::max_unsettled) · [`max_unsettled_bytes`](IdempotencyLayer::max_unsettled_bytes) | 1,024 · 64 MiB |
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `memory` | yes | `MemoryStore`, the default store |
//! | `cache` | no | `Cached`, which keeps the completed records of a remote store in this process too |
//! | `encryption` | no | `Encrypted`, around any store: what that keeps of responses is read with your keys only |
//! | `test-util` | no | `conformance` and `store_conformance!`, a named test for each thing that a store must do; `ChaosStore`, whose faults replay by seed |
//! | `canonical-json` | no | [`FingerprintPolicy`]: JSON bodies in canonical form (RFC 8785), members in- and excluded |
//! | `axum` | no | the [`Idempotency`] extractor, [`Keep`] and [`Retention`] as response parts, and the original path behind `Router::nest` |
//! | `postgres` | no | `PostgresStore`: one truth for many processes, in PostgreSQL, and transactions of handlers that commit the record. It needs Rust 1.94 |
//! | `redis` | no | `RedisStore`: one truth for many processes, in Redis or Valkey, on one node, behind Sentinels or in a Cluster |
//! | `sqlite` | no | `SqliteStore`: durable on one machine, in a file, with nothing to install, and transactions of handlers on it |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod answer;
mod body;
mod bounds;
#[cfg(feature = "canonical-json")]
mod canonical;
mod capture;
mod claiming;
mod clock;
mod config;
#[cfg(feature = "test-util")]
pub mod conformance;
mod context;
pub mod cors;
mod drive;
mod endpoint;
mod entrusted;
mod error;
mod event;
mod exchange;
#[cfg(test)]
mod explore;
mod fingerprint;
mod form;
mod framing;
mod future;
#[cfg(any(
    test,
    all(
        fuzzing,
        feature = "canonical-json",
        feature = "memory",
        feature = "test-util"
    )
))]
#[doc(hidden)]
pub mod fuzzing;
mod giving_back;
mod grpc;
mod guard;
mod identify;
mod keeper;
mod key;
mod key_policy;
mod knobs;
mod layer;
mod lease;
mod limits;
mod lines;
mod lock;
mod on_lost;
mod parameters;
mod pause;
mod pointer;
mod policy;
mod quoted;
mod reconcile;
mod refusal;
mod renewals;
mod run;
mod scope;
mod service;
mod shield;
mod snapshot;
mod source;
mod step;
mod store;
mod transaction;
mod unowned;
mod upload;
mod waiting;

#[doc = include_str!("guarantees.md")]
#[cfg_attr(
    not(feature = "memory"),
    allow(rustdoc::broken_intra_doc_links, reason = "the page names every store")
)]
pub mod guarantees {}

#[doc = include_str!("sizing.md")]
pub mod sizing {}

#[doc = include_str!("stores.md")]
pub mod stores {}

#[doc = include_str!("transactions.md")]
pub mod transactions {}

#[cfg(feature = "postgres")]
#[doc = include_str!("store/postgres/postgres.md")]
pub mod postgres {
    pub use crate::store::postgres::{PostgresStore, PostgresStoreBuilder};
}

#[cfg(feature = "redis")]
#[doc = include_str!("store/redis/redis.md")]
pub mod redis {
    pub use crate::store::redis::{RedisStore, RedisStoreBuilder};
}

#[cfg(feature = "sqlite")]
#[doc = include_str!("store/sqlite/sqlite.md")]
pub mod sqlite {
    pub use crate::store::sqlite::{SqliteStore, SqliteStoreBuilder};
}

pub use body::{RequestBody, ResponseBody};
pub use context::Idempotency;
#[cfg(feature = "axum")]
pub use context::IdempotencyRejection;
pub use endpoint::Endpoint;
pub use error::{InvalidEndpoint, LeaseLost};
pub use event::{Event, Outcome, Warning};
pub use fingerprint::Fingerprint;
pub use form::grpc::Grpc;
pub use form::problem::Problem;
pub use form::{ErrorForm, Form};
pub use future::ResponseFuture;
pub use key::{ChildKey, ClaimId, Fence, IdempotencyKey, RecordKey};
pub use key_policy::KeyPolicy;
pub use layer::{Drained, IdempotencyLayer};
pub use on_lost::{Lost, OnLost, Reconcile, Reconciled};
pub use parameters::FingerprintPolicy;
#[doc(hidden)]
pub use policy::When;
pub use policy::{InFlight, Keep, Mode, OnStoreError, Reply, Retention};
pub use refusal::{Refusal, RefusalCode};
pub use scope::{Anonymous, Scope};
pub use service::IdempotencyService;
pub use source::KeyFrom;
pub use step::StepError;
pub use store::boxed::BoxStore;
#[cfg(feature = "cache")]
pub use store::cached::Cached;
#[cfg(feature = "test-util")]
pub use store::chaos::{ChaosClock, ChaosStore};
pub use store::claim::{
    Claim, ClaimRequest, Completed, Forgotten, Owned, Owner, Record, Settled, State, TakeOver,
};
#[cfg(feature = "encryption")]
pub use store::encrypted::{Encrypted, EncryptionKey, InvalidEncryptionKey, Keyring};
pub use store::error::{BoxError, StoreError, StoreErrorKind};
#[cfg(feature = "memory")]
pub use store::memory::MemoryStore;
#[cfg(feature = "postgres")]
pub use store::postgres::{PostgresStore, PostgresStoreBuilder};
#[cfg(feature = "redis")]
pub use store::redis::{RedisStore, RedisStoreBuilder};
#[cfg(feature = "sqlite")]
pub use store::sqlite::{SqliteStore, SqliteStoreBuilder};
pub use store::statement::{Dialect, Parameter, Statement};
pub use store::traits::Store;
pub use transaction::{Completion, TransactionError};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
