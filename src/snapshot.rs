//! What is kept of a response: status, headers, body and trailers.

use bytes::Bytes;
use http::header::{
    AGE, ALT_SVC, CONNECTION, DATE, LOCATION, PROXY_AUTHENTICATE, RETRY_AFTER, SERVER, SET_COOKIE,
    TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// `Idempotent-Replayed: true` stands on every replay and on nothing else.
pub(crate) static REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// A record's content, decoded.
pub(crate) enum Snapshot {
    /// The response as it was.
    Response {
        status: StatusCode,
        headers: HeaderMap,
        body: Bytes,
        trailers: Option<HeaderMap>,
    },
    /// The operation is done, its response was not kept.
    Tombstone {
        #[cfg_attr(
            not(test),
            expect(dead_code, reason = "kept for operators and later readers")
        )]
        status: StatusCode,
        location: Option<HeaderValue>,
    },
}

/// The headers worth keeping: neither hop-by-hop (RFC 9110, section 7.6.1), nor about this one exchange,
/// nor about this one client.
pub(crate) fn kept(headers: &HeaderMap) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    headers.iter().filter(|(name, _)| {
        !NOT_KEPT.contains(name)
            && !PREFIXES_NOT_KEPT
                .iter()
                .any(|prefix| name.as_str().starts_with(prefix))
            && !is_named_by_connection(headers, name)
    })
}

pub(crate) fn location(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get(LOCATION)
}

fn is_named_by_connection(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .any(|option| {
            option
                .trim_ascii()
                .eq_ignore_ascii_case(name.as_str().as_bytes())
        })
}

static NOT_KEPT: [HeaderName; 19] = [
    AGE,
    ALT_SVC,
    CONNECTION,
    DATE,
    PROXY_AUTHENTICATE,
    RETRY_AFTER,
    SERVER,
    SET_COOKIE,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("authentication-info"),
    HeaderName::from_static("clear-site-data"),
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("idempotent-replayed"),
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-authentication-info"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("server-timing"),
];

const PREFIXES_NOT_KEPT: [&str; 3] = ["access-control-", "ratelimit", "x-ratelimit-"];
