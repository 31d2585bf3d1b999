//! SQLite files of a test's own.

#![expect(clippy::unwrap_used, reason = "in helpers, too, a panic is the report")]

mod completions;
mod conforming;
mod support;
