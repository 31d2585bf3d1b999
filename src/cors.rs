//! What browsers must be told, for the CORS layer of one's choice.
//!
//! It belongs outside of [`IdempotencyLayer`](crate::IdempotencyLayer): `Access-Control-*` headers are never recorded,
//! so that a replay carries those of the origin that asks. With `tower-http`:
//!
//! ```
//! use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
//! use http::Method;
//! use tower_http::cors::CorsLayer;
//! use tower_idempotency::cors::{ALLOW_HEADERS, EXPOSE_HEADERS};
//!
//! let [idempotency_key] = ALLOW_HEADERS;
//! let cors = CorsLayer::new()
//!     .allow_origin(HeaderValue::from_static("https://shop.example"))
//!     .allow_methods([Method::GET, Method::POST])
//!     .allow_headers([AUTHORIZATION, CONTENT_TYPE, idempotency_key])
//!     .expose_headers(EXPOSE_HEADERS);
//! # let _ = cors;
//! ```

use http::HeaderName;
use http::header::{LINK, LOCATION, RETRY_AFTER};

/// The request header that scripts of other origins may send: `Idempotency-Key`.
///
/// A service with another [`KeyFrom::header`](crate::KeyFrom::header) allows that one, and exposes it: a replay echoes it.
pub const ALLOW_HEADERS: [HeaderName; 1] = [HeaderName::from_static("idempotency-key")];

/// The response headers that such scripts may read: `Idempotent-Replayed`, `Idempotency-Key`, and of refusals
/// `Retry-After`, `Location` and `Link`.
pub const EXPOSE_HEADERS: [HeaderName; 5] = [
    HeaderName::from_static("idempotent-replayed"),
    HeaderName::from_static("idempotency-key"),
    RETRY_AFTER,
    LOCATION,
    LINK,
];
