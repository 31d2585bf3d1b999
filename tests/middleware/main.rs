//! The layer as its users meet it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod auto_traits;
mod bodies;
mod cancellation;
mod concurrency;
mod conflicts;
mod cors;
mod endpoints;
mod events;
mod faults;
mod fingerprints;
mod frames;
mod frameworks;
mod heard;
mod modes;
mod policies;
mod readiness;
mod reconcile;
mod replay;
mod scripted;
mod secrets;
mod semantics;
mod sources;
mod spy;
mod steps;
mod support;
mod transactions;
mod vectors;
