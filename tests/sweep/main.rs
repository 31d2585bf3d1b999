//! Requests that are dropped, stalled or overtaken at every await, over a table of scenarios; and runtimes that end
//! with requests inside and outside.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod afterwards;
mod client;
mod drains;
mod handler;
mod model;
mod rounds;
mod row;
mod rows;
mod runtimes;
mod world;

#[path = "../middleware/frames.rs"]
#[allow(dead_code, reason = "its other users need more of it")]
mod frames;
#[path = "../middleware/scripted.rs"]
#[allow(dead_code, reason = "its other users need more of it")]
mod scripted;
#[path = "../middleware/support.rs"]
#[allow(dead_code, reason = "its other users need more of it")]
mod support;
