//! What is kept of a response: status, headers, body and trailers.

use http::header::{
    AGE, ALT_SVC, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, DATE, LOCATION, PROXY_AUTHENTICATE,
    RETRY_AFTER, SERVER, SET_COOKIE, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::body::Buffered;
use crate::lines::line;

/// `Idempotent-Replayed: true` stands on every replay and on nothing else.
pub(crate) static REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Takes that away from what is no replay.
pub(crate) fn unmark(headers: &mut HeaderMap) {
    if line(headers, &REPLAYED).is_some() {
        headers.remove(&REPLAYED);
    }
}

/// A record's content, decoded.
pub(crate) enum Snapshot {
    /// The response as it was, but for its headers, which are decoded to where they go.
    Response { status: StatusCode, body: Buffered },
    /// The operation is done, its response was not kept.
    Tombstone {
        #[cfg_attr(
            not(any(test, fuzzing)),
            expect(dead_code, reason = "kept for operators and later readers")
        )]
        status: StatusCode,
        location: Option<HeaderValue>,
    },
}

/// Which headers are kept of a response, beside the defaults.
#[derive(Clone, Default)]
pub(crate) struct HeaderRules {
    /// The one that carries the key: a replay has that of the retry.
    pub(crate) key: Option<HeaderName>,
    pub(crate) keep: Vec<HeaderName>,
    pub(crate) drop: Vec<HeaderName>,
}

impl HeaderRules {
    /// The headers worth keeping: neither hop-by-hop (RFC 9110, section 7.6.1), nor about this one exchange,
    /// nor about this one client.
    pub(crate) fn kept<'a>(&'a self, headers: &'a HeaderMap) -> Kept<'a> {
        let (mut has_options, mut location) = (false, None);
        for (name, value) in headers {
            has_options |= *name == CONNECTION;
            if *name == LOCATION {
                location = location.or(Some(value));
            }
        }
        Kept {
            rules: self,
            headers,
            has_options,
            location,
        }
    }

    /// All others.
    pub(crate) fn not_kept<'a>(
        &'a self,
        headers: &'a HeaderMap,
    ) -> impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)> {
        headers
            .iter()
            .filter(|(name, _)| !self.keeps(name) || is_named_by_connection(headers, name))
    }

    fn keeps(&self, name: &HeaderName) -> bool {
        self.key.as_ref() != Some(name)
            && !self.drop.contains(name)
            && (USUAL.contains(name)
                || !is_never_kept(name) && (self.keep.contains(name) || is_kept_by_default(name)))
    }
}

/// The headers that are kept of some.
pub(crate) struct Kept<'a> {
    rules: &'a HeaderRules,
    headers: &'a HeaderMap,
    has_options: bool,
    location: Option<&'a HeaderValue>,
}

impl<'a> Kept<'a> {
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)> {
        let lines = self.headers.iter();
        lines.filter(|(name, _)| self.keeps(name))
    }

    /// The `Location`, where it is kept.
    pub(crate) fn location(&self) -> Option<&'a HeaderValue> {
        self.location.filter(|_| self.keeps(&LOCATION))
    }

    /// Of trailers by the same rules.
    pub(crate) fn of_trailers(&self, trailers: &'a HeaderMap) -> Self {
        self.rules.kept(trailers)
    }

    fn keeps(&self, name: &HeaderName) -> bool {
        let is_option = || self.has_options && is_named_by_connection(self.headers, name);
        self.rules.keeps(name) && !is_option()
    }
}

/// Whether a header is about one connection, or the layer's own: no rule keeps it.
pub(crate) fn is_never_kept(name: &HeaderName) -> bool {
    NEVER_KEPT.contains(name)
}

fn is_kept_by_default(name: &HeaderName) -> bool {
    let begins = |prefix: &&str| name.as_str().starts_with(prefix);
    !NOT_KEPT.contains(name) && !PREFIXES_NOT_KEPT.iter().any(begins)
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

/// Those of most responses: looked for first, because the other lists are long.
static USUAL: [HeaderName; 3] = [CONTENT_TYPE, CONTENT_LENGTH, LOCATION];

static NEVER_KEPT: [HeaderName; 10] = [
    CONNECTION,
    PROXY_AUTHENTICATE,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("idempotent-replayed"),
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-authentication-info"),
    HeaderName::from_static("proxy-connection"),
];

static NOT_KEPT: [HeaderName; 9] = [
    AGE,
    ALT_SVC,
    DATE,
    RETRY_AFTER,
    SERVER,
    SET_COOKIE,
    HeaderName::from_static("authentication-info"),
    HeaderName::from_static("clear-site-data"),
    HeaderName::from_static("server-timing"),
];

const PREFIXES_NOT_KEPT: [&str; 3] = ["access-control-", "ratelimit", "x-ratelimit-"];
