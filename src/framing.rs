//! How the parameters of a request become its fingerprint.

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use mediatype::{MediaType, ReadParams};
use sha2::{Digest, Sha256};

use crate::endpoint::original_uri;
use crate::fingerprint::Fingerprint;
use crate::key::Framed;
use crate::lines::{Found, Head, lines};
#[cfg(feature = "canonical-json")]
use crate::parameters::Json;
use crate::parameters::{Body, FingerprintPolicy, Text};
use crate::refusal::RefusalCode;
use crate::shield::shielded;

/// A fingerprint in the making: where the body counts byte by byte, its frames go in as they arrive.
pub(crate) struct Fingerprinter<'a> {
    policy: &'a FingerprintPolicy,
    version: u8,
    hash: Sha256,
}

impl<'a> Fingerprinter<'a> {
    /// The version of the framing that is written.
    const VERSION: u8 = 1;

    /// The oldest that is read: a record keeps the version that it was written with. The version before the first is
    /// there for a test.
    const OLDEST: u8 = if cfg!(test) { 0 } else { Self::VERSION };

    pub(crate) fn new(policy: &'a FingerprintPolicy, head: &Head<'_>) -> Self {
        Self::of_version(Self::VERSION, policy, head)
    }

    fn of_version(version: u8, policy: &'a FingerprintPolicy, head: &Head<'_>) -> Self {
        let mut framed = Framed::empty();
        match policy {
            _ if policy.is_default() => default_framing(&mut framed, version, head),
            policy => framing(&mut framed, version, policy, head),
        }
        Self {
            policy,
            version,
            hash: framed.hashed(),
        }
    }

    /// A frame of the body.
    pub(crate) fn frame(&mut self, frame: &[u8]) {
        if let Body::AsSent = self.policy.body {
            self.hash.update(frame);
        }
    }

    /// The fingerprint; `body` is what all frames add up to.
    pub(crate) fn finish(
        &mut self,
        parts: &Parts,
        body: &[u8],
    ) -> Result<Fingerprint, RefusalCode> {
        match &self.policy.body {
            Body::Ignored | Body::AsSent => {}
            #[cfg(feature = "canonical-json")]
            Body::Json(Json { include, exclude }) => {
                match crate::canonical::canonical(body, include, exclude) {
                    Some(canonical) => {
                        self.hash.update([1]);
                        self.hash.update(&canonical);
                    }
                    None => {
                        self.hash.update([0]);
                        self.hash.update(body);
                    }
                }
            }
            Body::With(parameters) => {
                let parameters = shielded(|| parameters(parts, body).ok()).flatten();
                self.hash.update(parameters.ok_or(RefusalCode::Internal)?);
            }
        }
        let digest = self.hash.finalize_reset().into();
        Ok(Fingerprint::from_parts(self.version, digest))
    }
}

/// The fingerprint of a whole request in the version that a record was written with. A version that is not known, any
/// more or yet, makes the record unreadable.
pub(crate) fn fingerprint_of_version(
    version: u8,
    policy: &FingerprintPolicy,
    parts: &Parts,
    body: &[u8],
) -> Result<Fingerprint, RefusalCode> {
    if !(Fingerprinter::OLDEST..=Fingerprinter::VERSION).contains(&version) {
        return Err(RefusalCode::RecordUnreadable);
    }
    let mut fingerprinter = Fingerprinter::of_version(version, policy, &Head::of(parts, None));
    fingerprinter.frame(body);
    fingerprinter.finish(parts, body)
}

/// The framing of the default policy, pinned by `tests/vectors.json`.
fn default_framing(framed: &mut Framed, version: u8, head: &Head<'_>) {
    let parts = head.parts;
    let uri = original_uri(&parts.uri, &parts.extensions);
    framed.raw(&[b'f', b'0' + version]);
    framed.field(parts.method.as_str().as_bytes());
    framed.field(uri.path().as_bytes());
    query(framed, uri.query());
    header(framed, head, &CONTENT_TYPE, head.content_type);
    header(framed, head, &CONTENT_ENCODING, head.content_encoding);
}

/// The framing of any other policy: it tells what counts before it tells the value, so that two policies never agree.
fn framing(framed: &mut Framed, version: u8, policy: &FingerprintPolicy, head: &Head<'_>) {
    let parts = head.parts;
    let uri = original_uri(&parts.uri, &parts.extensions);
    framed.raw(&[b'p', b'0' + version]);
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
        Text::AsSent => query(framed, uri.query()),
        Text::Canonical => canonical_query(framed, uri.query()),
    }
    match policy.content_type {
        Text::Ignored => {}
        Text::AsSent => header(framed, head, &CONTENT_TYPE, head.content_type),
        Text::Canonical => canonical_content_type(framed, &parts.headers),
    }
    if policy.content_encoding {
        header(framed, head, &CONTENT_ENCODING, head.content_encoding);
    }
    framed.count(policy.headers.len());
    for name in &policy.headers {
        framed.field(name.as_str().as_bytes());
        header(framed, head, name, Found::of(&parts.headers, name));
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

fn header(framed: &mut Framed, head: &Head<'_>, name: &HeaderName, found: Found<'_>) {
    match found {
        Found::None => framed.count(0),
        Found::One(line) => {
            framed.count(1);
            framed.field(line.as_bytes());
        }
        Found::Several => {
            let headers = &head.parts.headers;
            framed.count(lines(headers, name).count());
            lines(headers, name).for_each(|line| framed.field(line.as_bytes()));
        }
    }
}

fn canonical_content_type(framed: &mut Framed, headers: &HeaderMap) {
    framed.count(lines(headers, &CONTENT_TYPE).count());
    for value in lines(headers, &CONTENT_TYPE) {
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
