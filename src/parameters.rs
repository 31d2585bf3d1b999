//! Which parameters of a request its fingerprint is made of.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use mediatype::{MediaType, ReadParams};

use crate::endpoint::original_uri;
use crate::fingerprint::Fingerprint;
use crate::key::Framed;
#[cfg(feature = "canonical-json")]
use crate::pointer::{self, Pointer};
use crate::refusal::RefusalCode;
use crate::source::header_name;
use crate::store::error::BoxError;

/// Which parameters of a request make it the same request. Default: method, original path, query, `Content-Type`,
/// `Content-Encoding` and body, byte by byte.
///
/// Trailers and other headers do not count. A policy that is changed while records live makes their retries a mismatch.
///
/// ```
/// use tower_idempotency::FingerprintPolicy;
///
/// // The event id, which is the key, says it all.
/// let webhooks = FingerprintPolicy::none();
/// // Conditional requests.
/// let conditional = FingerprintPolicy::default().header("if-match").canonical_query();
/// # #[cfg(feature = "canonical-json")]
/// let json = FingerprintPolicy::default().canonical_json().exclude(["/metadata/sent_at"]);
/// # let _ = (webhooks, conditional);
/// ```
#[derive(Clone)]
pub struct FingerprintPolicy {
    endpoint: bool,
    query: Text,
    content_type: Text,
    content_encoding: bool,
    headers: Vec<HeaderName>,
    body: Body,
}

/// The numbers are part of the framing.
#[derive(Clone, Copy, PartialEq)]
enum Text {
    Ignored = 0,
    AsSent = 1,
    Canonical = 2,
}

#[derive(Clone)]
enum Body {
    Ignored,
    AsSent,
    #[cfg(feature = "canonical-json")]
    Json(Json),
    With(Arc<dyn Fn(&Parts, &[u8]) -> Result<Vec<u8>, BoxError> + Send + Sync>),
}

#[cfg(feature = "canonical-json")]
#[derive(Clone, Default)]
struct Json {
    include: Vec<Pointer>,
    exclude: Vec<Pointer>,
}

impl FingerprintPolicy {
    /// Nothing counts: every request under a key is the same. For webhooks, whose event id is all; what is added by
    /// the other methods counts alone.
    #[must_use]
    pub fn none() -> Self {
        Self {
            endpoint: false,
            query: Text::Ignored,
            content_type: Text::Ignored,
            content_encoding: false,
            headers: Vec::new(),
            body: Body::Ignored,
        }
    }

    /// Only what a closure makes of head and body counts: the parts of a multipart body, say, without its boundary.
    ///
    /// An error or a panic is refused with 500 `idempotency_internal`.
    ///
    /// ```
    /// use tower_idempotency::FingerprintPolicy;
    ///
    /// let first_line = FingerprintPolicy::with(|_, body| {
    ///     Ok(body.split(|byte| *byte == b'\n').next().unwrap_or_default().to_vec())
    /// });
    /// # let _ = first_line;
    /// ```
    #[must_use]
    pub fn with(
        parameters: impl Fn(&Parts, &[u8]) -> Result<Vec<u8>, BoxError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            body: Body::With(Arc::new(parameters)),
            ..Self::none()
        }
    }

    /// All lines of this header count too: `If-Match`, or a version of the API.
    ///
    /// # Panics
    ///
    /// For what is no name of a header.
    #[must_use]
    #[track_caller]
    pub fn header<N>(mut self, name: N) -> Self
    where
        N: TryInto<HeaderName> + fmt::Debug,
        N::Error: fmt::Display,
    {
        let name = header_name("FingerprintPolicy::header", name);
        self.headers.push(name);
        self.headers.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        self.headers.dedup();
        self
    }

    /// The order of the query's parameters does not count, but for those of one name, and neither does a `?` with nothing
    /// behind it. They are not decoded: `%61` is not `a`.
    #[must_use]
    pub fn canonical_query(mut self) -> Self {
        self.query = Text::Canonical;
        self
    }

    /// White space, quotes, the order of parameters, and the case of names and of the `charset` do not count in
    /// `Content-Type`. What is no media type counts as it was sent.
    #[must_use]
    pub fn canonical_content_type(mut self) -> Self {
        self.content_type = Text::Canonical;
        self
    }

    /// A JSON body counts in its canonical form (RFC 8785): white space, the order of members, and how numbers and
    /// strings are written do not.
    ///
    /// Compared byte by byte all the same: a body that is not JSON, or begins with a byte order mark; one nested deeper
    /// than 127 levels; one with a member twice in an object; and one with a number that might be merged with another (an
    /// integer beyond 2^53, more than 15 digits).
    ///
    /// Done on the request's path, at some 50 to 100 milliseconds and 30 times its memory for a body of 2 MiB: give
    /// [`max_request_bytes`](crate::IdempotencyLayer::max_request_bytes) a bound that fits.
    #[cfg(feature = "canonical-json")]
    ///
    /// # Panics
    ///
    /// Beside [`with`](Self::with), which decides alone on the body; so do the next two.
    #[cfg_attr(docsrs, doc(cfg(feature = "canonical-json")))]
    #[must_use]
    #[track_caller]
    pub fn canonical_json(self) -> Self {
        self.json(|_| ())
    }

    /// Of a JSON body only these members count (JSON pointers, RFC 6901), in canonical form. Where none of them is
    /// there, and where the body is compared byte by byte (see [`canonical_json`](Self::canonical_json)), all of it
    /// counts.
    ///
    /// # Panics
    ///
    /// For what is no pointer to a member, and for none at all.
    #[cfg(feature = "canonical-json")]
    #[cfg_attr(docsrs, doc(cfg(feature = "canonical-json")))]
    #[must_use]
    #[track_caller]
    pub fn include<I>(self, pointers: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let pointers = pointer::parse_all("FingerprintPolicy::include", pointers);
        self.json(|json| json.include.extend(pointers))
    }

    /// Of a JSON body these members do not count (JSON pointers, RFC 6901); the rest does, in canonical form. A member
    /// that is not there is no error. Of a body that is compared byte by byte (see
    /// [`canonical_json`](Self::canonical_json)) all counts.
    ///
    /// # Panics
    ///
    /// For what is no pointer to a member, and for none at all.
    #[cfg(feature = "canonical-json")]
    #[cfg_attr(docsrs, doc(cfg(feature = "canonical-json")))]
    #[must_use]
    #[track_caller]
    pub fn exclude<I>(self, pointers: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let pointers = pointer::parse_all("FingerprintPolicy::exclude", pointers);
        self.json(|json| json.exclude.extend(pointers))
    }

    #[cfg(feature = "canonical-json")]
    #[track_caller]
    fn json(mut self, change: impl FnOnce(&mut Json)) -> Self {
        let mut json = match self.body {
            Body::Json(json) => json,
            Body::Ignored | Body::AsSent => Json::default(),
            Body::With(_) => panic!("FingerprintPolicy::with decides alone on the body"),
        };
        change(&mut json);
        self.body = Body::Json(json);
        self
    }

    fn is_default(&self) -> bool {
        self.endpoint
            && self.query == Text::AsSent
            && self.content_type == Text::AsSent
            && self.content_encoding
            && self.headers.is_empty()
            && matches!(self.body, Body::AsSent)
    }
}

impl Default for FingerprintPolicy {
    fn default() -> Self {
        Self {
            endpoint: true,
            query: Text::AsSent,
            content_type: Text::AsSent,
            content_encoding: true,
            headers: Vec::new(),
            body: Body::AsSent,
        }
    }
}

impl fmt::Debug for FingerprintPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_default() {
            "FingerprintPolicy::default()"
        } else {
            "FingerprintPolicy(..)"
        })
    }
}

/// A fingerprint in the making: where the body counts byte by byte, its frames go in as they arrive.
pub(crate) struct Fingerprinter<'a> {
    policy: &'a FingerprintPolicy,
    version: u8,
    framed: Framed,
}

impl<'a> Fingerprinter<'a> {
    /// The version of the framing that is written.
    const VERSION: u8 = 1;

    /// The oldest that is read: a record keeps the version that it was written with. The version before the first is
    /// there for a test.
    const OLDEST: u8 = if cfg!(test) { 0 } else { Self::VERSION };

    pub(crate) fn new(policy: &'a FingerprintPolicy, parts: &Parts) -> Self {
        Self::of_version(Self::VERSION, policy, parts)
    }

    fn of_version(version: u8, policy: &'a FingerprintPolicy, parts: &Parts) -> Self {
        let framed = match policy {
            _ if policy.is_default() => default_head(version, parts),
            policy => head(version, policy, parts),
        };
        Self {
            policy,
            version,
            framed,
        }
    }

    /// A frame of the body.
    pub(crate) fn frame(&mut self, frame: &[u8]) {
        if let Body::AsSent = self.policy.body {
            self.framed.raw(frame);
        }
    }

    /// The fingerprint; `body` is what all frames add up to.
    pub(crate) fn finish(mut self, parts: &Parts, body: &[u8]) -> Result<Fingerprint, RefusalCode> {
        match &self.policy.body {
            Body::Ignored | Body::AsSent => {}
            #[cfg(feature = "canonical-json")]
            Body::Json(Json { include, exclude }) => {
                match crate::canonical::canonical(body, include, exclude) {
                    Some(canonical) => {
                        self.framed.raw(&[1]);
                        self.framed.raw(&canonical);
                    }
                    None => {
                        self.framed.raw(&[0]);
                        self.framed.raw(body);
                    }
                }
            }
            Body::With(parameters) => {
                let parameters = catch_unwind(AssertUnwindSafe(|| parameters(parts, body)));
                let Ok(Ok(parameters)) = parameters else {
                    return Err(RefusalCode::Internal);
                };
                self.framed.raw(&parameters);
            }
        }
        Ok(Fingerprint::from_parts(self.version, self.framed.finish()))
    }
}

/// The fingerprint of a whole request in the version that a record was written with; `None` where that version is not
/// known, any more or yet.
pub(crate) fn fingerprint_of_version(
    version: u8,
    policy: &FingerprintPolicy,
    parts: &Parts,
    body: &[u8],
) -> Option<Fingerprint> {
    if !(Fingerprinter::OLDEST..=Fingerprinter::VERSION).contains(&version) {
        return None;
    }
    let mut fingerprinter = Fingerprinter::of_version(version, policy, parts);
    fingerprinter.frame(body);
    fingerprinter.finish(parts, body).ok()
}

/// The framing of the default policy, pinned by `tests/vectors.json`.
fn default_head(version: u8, parts: &Parts) -> Framed {
    let uri = original_uri(&parts.uri, &parts.extensions);
    let mut framed = Framed::new(&[b'f', b'0' + version]);
    framed.field(parts.method.as_str().as_bytes());
    framed.field(uri.path().as_bytes());
    query(&mut framed, uri.query());
    lines(&mut framed, &parts.headers, &CONTENT_TYPE);
    lines(&mut framed, &parts.headers, &CONTENT_ENCODING);
    framed
}

/// The framing of any other policy: it tells what counts before it tells the value, so that two policies never agree.
fn head(version: u8, policy: &FingerprintPolicy, parts: &Parts) -> Framed {
    let uri = original_uri(&parts.uri, &parts.extensions);
    let mut framed = Framed::new(&[b'p', b'0' + version]);
    framed.raw(&[
        u8::from(policy.endpoint),
        policy.query as u8,
        policy.content_type as u8,
        u8::from(policy.content_encoding),
    ]);
    if policy.endpoint {
        framed.field(parts.method.as_str().as_bytes());
        framed.field(uri.path().as_bytes());
    }
    match policy.query {
        Text::Ignored => {}
        Text::AsSent => query(&mut framed, uri.query()),
        Text::Canonical => canonical_query(&mut framed, uri.query()),
    }
    match policy.content_type {
        Text::Ignored => {}
        Text::AsSent => lines(&mut framed, &parts.headers, &CONTENT_TYPE),
        Text::Canonical => canonical_content_type(&mut framed, &parts.headers),
    }
    if policy.content_encoding {
        lines(&mut framed, &parts.headers, &CONTENT_ENCODING);
    }
    framed.count(policy.headers.len());
    for name in &policy.headers {
        framed.field(name.as_str().as_bytes());
        lines(&mut framed, &parts.headers, name);
    }
    match &policy.body {
        Body::Ignored => framed.raw(b"i"),
        Body::AsSent => framed.raw(b"b"),
        #[cfg(feature = "canonical-json")]
        Body::Json(Json { include, exclude }) => {
            framed.raw(b"j");
            for pointers in [include, exclude] {
                framed.count(pointers.len());
                for pointer in pointers {
                    framed.field(pointer.as_str().as_bytes());
                }
            }
        }
        Body::With(_) => framed.raw(b"w"),
    }
    framed
}

fn query(framed: &mut Framed, query: Option<&str>) {
    match query {
        Some(query) => {
            framed.raw(&[1]);
            framed.field(query.as_bytes());
        }
        None => framed.raw(&[0]),
    }
}

fn canonical_query(framed: &mut Framed, query: Option<&str>) {
    let mut parameters: Vec<_> = query.unwrap_or_default().split('&').collect();
    // Stable: those of one name keep their order.
    parameters.sort_by(|a, b| a.split('=').next().cmp(&b.split('=').next()));
    framed.count(parameters.len());
    for parameter in parameters {
        framed.field(parameter.as_bytes());
    }
}

fn lines(framed: &mut Framed, headers: &HeaderMap, name: &HeaderName) {
    let values = headers.get_all(name);
    framed.count(values.iter().count());
    for value in values {
        framed.field(value.as_bytes());
    }
}

fn canonical_content_type(framed: &mut Framed, headers: &HeaderMap) {
    let values = headers.get_all(CONTENT_TYPE);
    framed.count(values.iter().count());
    for value in values {
        let media_type = value
            .to_str()
            .ok()
            .and_then(|text| MediaType::parse(text).ok());
        let Some(media_type) = media_type else {
            framed.raw(&[0]);
            framed.field(value.as_bytes());
            continue;
        };
        let mut parameters: Vec<_> = media_type
            .params()
            .map(|(name, value)| {
                let (name, value) = (name.as_str().to_ascii_lowercase(), value.unquoted_str());
                match &*name {
                    "charset" => (name, value.to_ascii_lowercase()),
                    _ => (name, value.into_owned()),
                }
            })
            .collect();
        // Stable: those of one name keep their order.
        parameters.sort_by(|(a, _), (b, _)| a.cmp(b));
        framed.raw(&[1]);
        framed.field(
            media_type
                .essence()
                .to_string()
                .to_ascii_lowercase()
                .as_bytes(),
        );
        framed.count(parameters.len());
        for (name, value) in parameters {
            framed.field(name.as_bytes());
            framed.field(value.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests;
