//! HTTP/1, byte by byte: connections that are kept, pipelined, closed on one side or by either.

mod connections;
mod continued;
mod methods;
mod pipelines;

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tower::{Layer, service_fn};
use tower_idempotency::{IdempotencyLayer, InFlight, Outcome, RequestBody};

use crate::support::{Body, Handler, created, eventually};
use crate::watch::Watch;
use crate::wire::{Http1, PATIENCE, Raw, bounded, raw, serve, serve_at_once};

/// Something that is refused before its body is read, or while it is: a request, and the status of its refusal.
fn refused_early() -> Vec<(String, &'static str)> {
    let too_large = "x".repeat(17);
    let chunked = |chunks: &str| {
        raw("k", "Transfer-Encoding: chunked\r\n", "").replace("Content-Length: 0\r\n", "") + chunks
    };
    vec![
        (raw("\"", "", "a"), "400"),
        (raw("k", "Idempotency-Key: k\r\n", "a"), "400"),
        (raw("k", "Cookie: a=b\r\n", "a"), "500"),
        (raw("k", "", &too_large), "413"),
        (chunked(&format!("11\r\n{too_large}\r\n0\r\n\r\n")), "413"),
        (
            chunked(&format!("1\r\na\r\n10\r\n{}\r\n0\r\n\r\n", &too_large[1..])),
            "413",
        ),
    ]
}

/// A layer that takes bodies of 16 bytes.
fn layer() -> IdempotencyLayer {
    IdempotencyLayer::default().max_request_bytes(16)
}
