//! The layer under what the protocols above and below HTTP do: gRPC, streams, upgrades, connections that end anyhow.

#![expect(clippy::unwrap_used, reason = "in helpers, too, a panic is the report")]

mod grpc;
mod http1;
mod http2;
mod streams;
#[allow(dead_code, reason = "shared with the tests of the layer")]
#[path = "../middleware/support.rs"]
mod support;
mod watch;
#[allow(dead_code, reason = "shared with the tests of the layer")]
#[path = "../middleware/frameworks/wire.rs"]
mod wire;
