//! Clients as people have them, on a wire that is cut: whatever they do about it, one execution each.
#![expect(clippy::unwrap_used, reason = "in helpers, too, a panic is the report")]

mod browsers;
mod curl;
mod documented;
mod python;
mod requests;
mod stripe;
#[allow(dead_code, reason = "shared with the tests of the examples")]
#[path = "../support/mod.rs"]
mod support;
mod wire;
