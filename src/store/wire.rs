//! The wire form of a record's payload: versioned, compact, and refused as a whole when any byte is wrong.
//!
//! ```text
//! response   1 0 status:u16 headers trailers? body
//! tombstone  1 1 status:u16 location?
//! headers    count, then per header: name value
//! name       one byte for a well-known one, else 0 length bytes
//! value      length bytes
//! trailers   0, or 1 headers
//! lengths    LEB128
//! ```

use std::mem;
use std::ops::Range;

use bytes::{Buf, BufMut, Bytes};
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::body::Buffered;
use crate::snapshot::{Kept, Snapshot};
use crate::store::error::{StoreError, StoreErrorKind};

const VERSION: u8 = 1;
const RESPONSE: u8 = 0;
const TOMBSTONE: u8 = 1;

/// A response whose body is known to its end.
pub(crate) fn response(status: StatusCode, headers: &Kept<'_>, body: &Buffered) -> Bytes {
    let head = Lines::of(headers);
    let trailers = body.trailers().map(|it| headers.of_trailers(it));
    let tail = trailers.as_ref().map(Lines::of);
    let length = 5 + head.length + tail.as_ref().map_or(0, |tail| tail.length) + body.len();
    // To the byte: what a vector has beyond, `Bytes` would have to know in a box of its own.
    let mut out = Vec::with_capacity(length);
    out.put_slice(&[VERSION, RESPONSE]);
    out.put_u16(status.as_u16());
    head.put(&mut out);
    out.put_u8(u8::from(tail.is_some()));
    if let Some(tail) = tail {
        tail.put(&mut out);
    }
    out.put_slice(body.data());
    debug_assert_eq!(out.len(), length);
    out.into()
}

/// The fact that there was a response.
pub(crate) fn tombstone(status: StatusCode, headers: &Kept<'_>) -> Bytes {
    let Some(location) = headers.location() else {
        return Bytes::from_static(&WITHOUT_LOCATION[usize::from(status.as_u16() % 1_000)]);
    };
    let mut out = Vec::with_capacity(5 + length_of_bytes(location.len()));
    out.put_slice(&[VERSION, TOMBSTONE]);
    out.put_u16(status.as_u16());
    out.put_u8(1);
    put_bytes(&mut out, location.as_bytes());
    out.into()
}

/// The tombstones of most responses, by status.
static WITHOUT_LOCATION: [[u8; 5]; 1_000] = {
    let mut tombstones = [[VERSION, TOMBSTONE, 0, 0, 0]; 1_000];
    let mut status = 0;
    while status < tombstones.len() {
        let [high, low] = (status as u16).to_be_bytes();
        tombstones[status] = [VERSION, TOMBSTONE, high, low, 0];
        status += 1;
    }
    tombstones
};

/// Reads what [`response`] or [`tombstone`] wrote, and the headers of a response.
///
/// # Errors
///
/// `Unreadable` for anything else: it is never taken for an absent record.
pub(crate) fn decode(payload: &Bytes) -> Result<(HeaderMap, Snapshot), StoreError> {
    let mut headers = HeaderMap::new();
    match decode_into(&mut headers, payload.clone()) {
        Some(snapshot) => Ok((headers, snapshot)),
        None => Err(StoreError::new(
            StoreErrorKind::Unreadable,
            "the payload is not of a known wire form",
        )),
    }
}

/// The same, the headers in place of others; `None` for anything else.
pub(crate) fn decode_into(headers: &mut HeaderMap, payload: Bytes) -> Option<Snapshot> {
    let mut reader = Reader { payload, at: 0 };
    if reader.byte()? != VERSION {
        return None;
    }
    let kind = reader.byte()?;
    let status = u16::from_be_bytes([reader.byte()?, reader.byte()?]);
    let status = StatusCode::from_u16(status).ok()?;
    match kind {
        RESPONSE => {
            reader.headers(headers)?;
            let trailers = match reader.byte()? {
                0 => None,
                1 => {
                    let mut trailers = HeaderMap::new();
                    reader.headers(&mut trailers)?;
                    Some(trailers)
                }
                _ => return None,
            };
            let body = Buffered::new(reader.rest(), trailers);
            Some(Snapshot::Response { status, body })
        }
        TOMBSTONE => {
            let location = match reader.byte()? {
                0 => None,
                1 => Some(reader.value()?),
                _ => return None,
            };
            let is_over = reader.rest().is_empty();
            is_over.then_some(Snapshot::Tombstone { status, location })
        }
        _ => None,
    }
}

/// Headers on their way into a buffer.
struct Lines<'a> {
    kept: &'a Kept<'a>,
    count: usize,
    length: usize,
}

impl<'a> Lines<'a> {
    fn of(kept: &'a Kept<'a>) -> Self {
        let (mut count, mut length) = (0, 0);
        kept.lines().for_each(|(name, value)| {
            let name = match well_known(name) {
                Some(_) => 1,
                None => 1 + length_of_bytes(name.as_str().len()),
            };
            count += 1;
            length += name + length_of_bytes(value.len());
        });
        length += length_of_length(count);
        Self {
            kept,
            count,
            length,
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_length(out, self.count);
        self.kept.lines().for_each(|(name, value)| {
            match well_known(name) {
                Some(known) => out.put_u8(known),
                None => {
                    out.put_u8(0);
                    put_bytes(out, name.as_str().as_bytes());
                }
            }
            put_bytes(out, value.as_bytes());
        });
    }
}

/// The one byte that stands for a name.
fn well_known(name: &HeaderName) -> Option<u8> {
    let at = WELL_KNOWN.iter().position(|known| known == name)?;
    u8::try_from(at + 1).ok()
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.put_slice(bytes);
}

fn put_length(out: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        out.put_u8((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.put_u8(length as u8);
}

fn length_of_bytes(length: usize) -> usize {
    length_of_length(length) + length
}

fn length_of_length(length: usize) -> usize {
    (length.max(1).ilog2() / 7 + 1) as usize
}

/// A payload, read up to here.
struct Reader {
    payload: Bytes,
    at: usize,
}

impl Reader {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.payload.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn length(&mut self) -> Option<usize> {
        let mut length = 0_usize;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            length |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(length);
            }
        }
        None
    }

    /// Where the bytes are that come next, with their length before them.
    fn range(&mut self) -> Option<Range<usize>> {
        let length = self.length()?;
        let end = self.at.checked_add(length)?;
        if end > self.payload.len() {
            return None;
        }
        Some(mem::replace(&mut self.at, end)..end)
    }

    fn name(&mut self) -> Option<HeaderName> {
        let range = self.range()?;
        HeaderName::from_bytes(&self.payload[range]).ok()
    }

    fn value(&mut self) -> Option<HeaderValue> {
        let range = self.range()?;
        // That of most bodies: nothing to check, and no reference to the payload to count.
        if self.payload[range.clone()] == *b"application/json" {
            return Some(const { HeaderValue::from_static("application/json") });
        }
        HeaderValue::from_maybe_shared(self.payload.slice(range)).ok()
    }

    /// Reads headers in place of others.
    fn headers(&mut self, headers: &mut HeaderMap) -> Option<()> {
        let count = self.length()?;
        headers.clear();
        // A count may be wrong, and that of the lines of one name larger than a map of names may be.
        headers.reserve(count.min(256));
        for _ in 0..count {
            let name = match self.byte()? {
                0 => self.name()?,
                known => WELL_KNOWN.get(usize::from(known) - 1)?.clone(),
            };
            headers.try_append(name, self.value()?).ok()?;
        }
        Some(())
    }

    fn rest(mut self) -> Bytes {
        self.payload.advance(self.at);
        self.payload
    }
}

// Appended to, never reordered: the position is the wire form.
static WELL_KNOWN: [HeaderName; 24] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::LOCATION,
    header::CACHE_CONTROL,
    header::ETAG,
    header::VARY,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_DISPOSITION,
    header::CONTENT_LOCATION,
    header::LAST_MODIFIED,
    header::EXPIRES,
    header::LINK,
    header::WWW_AUTHENTICATE,
    header::ALLOW,
    header::PRAGMA,
    header::STRICT_TRANSPORT_SECURITY,
    header::CONTENT_SECURITY_POLICY,
    header::X_CONTENT_TYPE_OPTIONS,
    header::X_FRAME_OPTIONS,
    header::REFERRER_POLICY,
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("grpc-status"),
    HeaderName::from_static("grpc-message"),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::snapshot::HeaderRules;

    fn headers(lines: &[(String, Vec<u8>)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_bytes(value).unwrap(),
            );
        }
        headers
    }

    fn lines() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
        let name = prop_oneof![
            "x-[a-z]{1,9}",
            Just("content-type".to_owned()),
            Just("link".to_owned())
        ];
        let value = prop::collection::vec(0x20_u8..=0x7e, 0..200)
            .prop_union(prop::collection::vec(0x80_u8..=0xff, 0..9));
        prop::collection::vec((name, value), 0..12)
    }

    proptest! {
        #[test]
        fn a_response_comes_back_byte_for_byte(
            status in 200_u16..600,
            head in lines(),
            tail in prop::option::of(lines()),
            data in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let (head, tail) = (headers(&head), tail.map(|tail| headers(&tail)));
            let status = StatusCode::from_u16(status).unwrap();
            let payload = response(status, &HeaderRules::default().kept(&head), &Buffered::new(data.clone().into(), tail.clone()));

            let Ok((headers, Snapshot::Response { status: status2, body })) = decode(&payload) else {
                panic!("not a response");
            };
            prop_assert_eq!((status2, headers), (status, head));
            prop_assert_eq!((body.data(), body.trailers()), (&data[..], tail.as_ref()));
        }

        #[test]
        fn garbage_is_an_error_and_never_a_panic(payload in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut known = vec![1, 0];
            known.extend_from_slice(&payload);
            let _ = decode(&payload.into());
            let _ = decode(&known.into());
        }
    }

    #[test]
    fn every_truncation_of_the_head_is_an_error() {
        let head = headers(&[
            ("location".into(), b"/made/7".to_vec()),
            ("x-odd".into(), b"\xff".to_vec()),
        ]);
        let full = response(
            StatusCode::CREATED,
            &HeaderRules::default().kept(&head),
            &Buffered::default(),
        );
        let fact = tombstone(StatusCode::CREATED, &HeaderRules::default().kept(&head));

        for payload in [full, fact] {
            assert!(decode(&payload).is_ok());
            for end in 0..payload.len() {
                assert!(decode(&payload.slice(..end)).is_err(), "{end}");
            }
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "too much of it for Miri")]
    fn a_header_may_stand_any_number_of_times() {
        let lines = vec![("link".to_owned(), b"</>".to_vec()); 30_000];
        let head = headers(&lines);

        let payload = response(
            StatusCode::OK,
            &HeaderRules::default().kept(&head),
            &Buffered::default(),
        );

        let Ok((headers, Snapshot::Response { .. })) = decode(&payload) else {
            panic!("not a response");
        };
        assert_eq!(headers, head);
    }

    #[test]
    fn an_unknown_version_is_unreadable() {
        let error = decode(&Bytes::from_static(&[2, 0, 0, 200, 0, 0]))
            .err()
            .unwrap();

        assert_eq!(error.kind(), StoreErrorKind::Unreadable);
    }

    #[test]
    fn a_poisoned_value_is_unreadable() {
        let mut payload = vec![1, 0, 0, 200, 1, 1];
        payload.extend_from_slice(b"\x0cbad\r\nx: y\r\n\0");

        assert!(decode(&payload.into()).is_err());
    }

    #[test]
    fn a_tombstone_keeps_status_and_location() {
        let head = headers(&[("location".into(), b"/made/7".to_vec())]);
        let Ok((_, Snapshot::Tombstone { status, location })) = decode(&tombstone(
            StatusCode::CREATED,
            &HeaderRules::default().kept(&head),
        )) else {
            panic!("not a tombstone");
        };

        assert_eq!(status, 201);
        assert_eq!(location.unwrap(), "/made/7");
    }

    #[test]
    fn what_is_not_kept_is_not_written() {
        let dropped = [
            "date",
            "set-cookie",
            "server",
            "server-timing",
            "alt-svc",
            "age",
            "retry-after",
            "ratelimit-limit",
            "ratelimit",
            "x-ratelimit-reset",
            "authentication-info",
            "access-control-allow-origin",
            "clear-site-data",
            "transfer-encoding",
            "keep-alive",
            "upgrade",
            "te",
            "connection",
            "x-hop",
            "idempotent-replayed",
            "proxy-authenticate",
        ];
        let kept = [
            "x-request-id",
            "etag",
            "content-type",
            "trailer",
            "link",
            "last-modified",
        ];
        let mut head = HeaderMap::new();
        for name in dropped.iter().chain(&kept) {
            head.append(*name, HeaderValue::from_static("v"));
        }
        head.insert("connection", HeaderValue::from_static("close, X-Hop"));

        let payload = response(
            StatusCode::OK,
            &HeaderRules::default().kept(&head),
            &Buffered::default(),
        );
        let Ok((headers, Snapshot::Response { .. })) = decode(&payload) else {
            panic!("not a response")
        };

        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        let mut expected = kept.to_vec();
        expected.sort_unstable();
        assert_eq!(names, expected);
    }
}
