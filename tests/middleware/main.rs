//! The layer as its users meet it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod auto_traits;
mod bodies;
mod cancellation;
mod concurrency;
mod conflicts;
mod faults;
mod frames;
mod frameworks;
mod policies;
mod readiness;
mod replay;
mod scripted;
mod secrets;
mod spy;
mod support;
mod vectors;
