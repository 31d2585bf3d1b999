//! PostgreSQL servers, as processes of a test's own.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "in helpers, too, a panic is the report")]

mod faults;
mod left;
#[path = "../support/processes/mod.rs"]
mod processes;
#[path = "../support/postgres/mod.rs"]
mod servers;
mod store;
mod transactions;
