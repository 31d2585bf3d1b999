//! PostgreSQL servers, as processes of a test's own.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "in helpers, too, a panic is the report")]

mod faults;
#[path = "../support/left.rs"]
mod left;
#[path = "../support/processes/mod.rs"]
mod processes;
#[path = "../support/postgres/mod.rs"]
mod servers;
mod store;
mod transactions;

/// Where this variable is set, the process starts servers and waits until it is killed; see `left`.
const STARTS: &str = "POSTGRES_STARTS_AND_WAITS";
