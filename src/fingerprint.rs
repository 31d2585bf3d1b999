//! SHA-256 over the parameters of a request.

use std::fmt;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, Method, Uri};
use subtle::ConstantTimeEq;

use crate::key::Framed;

/// SHA-256 over the parameters of a request, with the version of its framing.
///
/// By default: method, original path, query, `Content-Type`, `Content-Encoding` and body, each preceded by
/// its length; `tests/vectors.json` pins it. Trailers are not part of it. Compared in constant time only,
/// hence no `PartialEq`.
#[derive(Clone, Copy)]
pub struct Fingerprint {
    version: u8,
    digest: [u8; 32],
}

impl Fingerprint {
    /// A fingerprint from what a store has kept of it.
    #[must_use]
    pub const fn from_parts(version: u8, digest: [u8; 32]) -> Self {
        Self { version, digest }
    }

    /// The version of the framing; 1 today.
    #[must_use]
    pub const fn version(&self) -> u8 {
        self.version
    }

    /// The digest.
    #[must_use]
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Whether both are of the same version and digest, in constant time.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.version == other.version && bool::from(self.digest.ct_eq(&other.digest))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.digest;
        write!(
            f,
            "Fingerprint(v{} {a:02x}{b:02x}{c:02x}{d:02x})",
            self.version
        )
    }
}

/// A fingerprint in the making: the body's frames go in as they arrive.
pub(crate) struct Fingerprinter(Framed);

impl Fingerprinter {
    const VERSION: u8 = 1;

    pub(crate) fn new(method: &Method, uri: &Uri, headers: &HeaderMap) -> Self {
        let mut framed = Framed::new(b"f1");
        framed.field(method.as_str().as_bytes());
        framed.field(uri.path().as_bytes());
        match uri.query() {
            Some(query) => {
                framed.raw(&[1]);
                framed.field(query.as_bytes());
            }
            None => framed.raw(&[0]),
        }
        lines(&mut framed, headers, &CONTENT_TYPE);
        lines(&mut framed, headers, &CONTENT_ENCODING);
        Self(framed)
    }

    pub(crate) fn body(&mut self, frame: &[u8]) {
        self.0.raw(frame);
    }

    pub(crate) fn finish(self) -> Fingerprint {
        Fingerprint::from_parts(Self::VERSION, self.0.finish())
    }
}

fn lines(framed: &mut Framed, headers: &HeaderMap, name: &HeaderName) {
    let values = headers.get_all(name);
    framed.count(values.iter().count());
    for value in values {
        framed.field(value.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_never_matches() {
        let digest = [7; 32];

        assert!(Fingerprint::from_parts(1, digest).matches(&Fingerprint::from_parts(1, digest)));
        assert!(!Fingerprint::from_parts(1, digest).matches(&Fingerprint::from_parts(2, digest)));
    }

    #[test]
    fn absolute_and_origin_form_are_one_request() {
        let of = |uri: &str| {
            let uri = uri.parse::<Uri>().unwrap();
            Fingerprinter::new(&Method::POST, &uri, &HeaderMap::new()).finish()
        };

        assert!(of("/charges?a=1").matches(&of("https://api.example/charges?a=1")));
        assert!(!of("/charges?a=1").matches(&of("/charges?a=2")));
        assert!(!of("/charges?").matches(&of("/charges")));
    }
}
