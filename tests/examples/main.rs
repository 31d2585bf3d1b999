//! The example servers from outside: processes that are spoken to over the wire.

#![expect(clippy::unwrap_used, reason = "in helpers, too, a panic is the report")]

mod apis;
mod didit;
mod others;
#[cfg(unix)]
mod postgres;
#[cfg(unix)]
#[path = "../support/postgres/mod.rs"]
mod postgres_servers;
#[cfg(unix)]
#[path = "../support/processes/mod.rs"]
mod processes;
#[cfg(unix)]
mod redis;
#[cfg(unix)]
#[path = "../support/redis/mod.rs"]
mod servers;
#[cfg(unix)]
mod sqlite;
#[path = "../support/mod.rs"]
mod support;
mod txcloud;
mod verifa;
mod webhooks;
