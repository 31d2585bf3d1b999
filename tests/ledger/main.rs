//! `examples/ledger` from outside: a payment API that is asked over the wire, and whose processes are killed.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "in helpers, too, a panic is the report")]

mod books;
mod lost;
mod payments;
#[path = "../support/processes/mod.rs"]
mod processes;
mod scripts;
#[path = "../support/postgres/mod.rs"]
mod servers;
mod storm;
#[expect(dead_code, reason = "other targets use more of it")]
#[path = "../support/mod.rs"]
mod support;
mod transfers;
mod world;
