//! SQLite files of a test's own.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "in helpers, too, a panic is the report")]

mod again;
mod completions;
mod conforming;
mod disks;
mod files;
mod handlers;
mod kills;
mod locks;
mod processes;
mod runtimes;
mod support;
mod transactions;
mod worker;
