//! Which parameters of a request its fingerprint is made of.

use std::fmt;
use std::sync::Arc;

use http::HeaderName;
use http::request::Parts;

#[cfg(feature = "canonical-json")]
use crate::pointer::{self, Pointer};
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
    pub(crate) endpoint: bool,
    pub(crate) query: Text,
    pub(crate) content_type: Text,
    pub(crate) content_encoding: bool,
    pub(crate) headers: Vec<HeaderName>,
    pub(crate) body: Body,
}

/// The numbers are part of the framing.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Text {
    Ignored = 0,
    AsSent = 1,
    Canonical = 2,
}

#[derive(Clone)]
pub(crate) enum Body {
    Ignored,
    AsSent,
    #[cfg(feature = "canonical-json")]
    Json(Json),
    With(Arc<dyn Fn(&Parts, &[u8]) -> Result<Vec<u8>, BoxError> + Send + Sync>),
}

#[cfg(feature = "canonical-json")]
#[derive(Clone, Default)]
pub(crate) struct Json {
    pub(crate) include: Vec<Pointer>,
    pub(crate) exclude: Vec<Pointer>,
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

    /// A JSON body, whatever its `Content-Type` says, counts in its canonical form (RFC 8785): white space, the order of members, and how numbers and
    /// strings are written do not.
    ///
    /// Compared byte by byte all the same: a body that is not JSON, or begins with a byte order mark; one nested deeper
    /// than 127 levels; one with a member twice in an object; and one with a number that might be merged with another (an
    /// integer beyond 2^53, more than 15 digits).
    ///
    /// Done on the request's path, at up to 150 milliseconds and 30 times its memory for a body of 2 MiB: give
    /// [`max_request_bytes`](crate::IdempotencyLayer::max_request_bytes) a bound that fits.
    ///
    /// # Panics
    ///
    /// Beside [`with`](Self::with), which decides alone on the body.
    #[cfg(feature = "canonical-json")]
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
    /// For what is no pointer to a member, for none at all, and beside [`with`](Self::with).
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

    /// Of a JSON body these members do not count (JSON pointers, RFC 6901); the rest does, in canonical form, the object
    /// that they stood in too, and be it empty. A member that is not there is no error. Of a body that is compared byte by byte (see
    /// [`canonical_json`](Self::canonical_json)) all counts.
    ///
    /// # Panics
    ///
    /// For what is no pointer to a member, for none at all, and beside [`with`](Self::with).
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
            Body::With(_) => panic!(
                "canonical_json, include and exclude take no effect on FingerprintPolicy::with, which decides alone on the body"
            ),
        };
        change(&mut json);
        self.body = Body::Json(json);
        self
    }

    pub(crate) fn is_default(&self) -> bool {
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
