//! Processes that are killed, stopped and come back, over a store that outlives them.
//!
//! The store lives here, in the test's own process, behind a socket; its clock moves when a test says so. The service lives
//! in processes of its own: this very program, started again. A handler, and a reconcile hook, tell this process how
//! far they have come, and wait for its answer; every call of the store can be held here, before or after it is applied.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod kills;
mod process;
mod reconciling;
mod remote;
mod storm;
mod world;
