//! Payloads of records.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::Input;
use crate::body::Buffered;
use crate::snapshot::{HeaderRules, Snapshot};
use crate::store::wire;

/// Any bytes: a payload as a store may give it, and at the same time a recipe for a response.
///
/// Holds: whatever is decoded makes no room beyond what its payload accounts for, and written again it gets no longer and
/// stays as it is; a response comes back as it was; a payload that was cut or changed is refused, or is one itself.
pub fn wire(data: &[u8]) {
    payload(&Bytes::copy_from_slice(data));
    response(&mut Input(data));
}

/// What is decoded can be encoded; gives it.
fn payload(payload: &Bytes) -> Option<(HeaderMap, Snapshot)> {
    let decoded = wire::decode(payload).ok()?;
    let again = encode(&decoded);
    assert!(again.len() <= payload.len(), "longer than it was");
    let Ok(same) = wire::decode(&again) else {
        panic!("what was decoded does not decode again");
    };
    assert_eq!(encode(&same), again);
    if let (headers, Snapshot::Response { body, .. }) = &decoded {
        let held = headers.capacity() + body.trailers().map_or(0, HeaderMap::capacity);
        assert!(held <= payload.len().max(8) * 2, "room for {held} names");
    }
    Some(decoded)
}

fn encode((headers, snapshot): &(HeaderMap, Snapshot)) -> Bytes {
    let rules = HeaderRules::default();
    match snapshot {
        Snapshot::Response { status, body } => wire::response(*status, &rules.kept(headers), body),
        Snapshot::Tombstone { status, location } => {
            let location = location.iter().cloned();
            let headers = location.map(|location| (http::header::LOCATION, location));
            wire::tombstone(*status, &rules.kept(&headers.collect()))
        }
    }
}

/// Makes a response, writes it and reads it back.
fn response(input: &mut Input<'_>) {
    let rules = HeaderRules {
        key: None,
        keep: vec![http::header::SET_COOKIE],
        drop: vec![HeaderName::from_static("x-dropped")],
    };
    let number = u16::from_be_bytes([input.byte(), input.byte()]);
    let Ok(status) = StatusCode::from_u16(100 + number % 900) else {
        panic!("{number} gives no status");
    };
    let damage = usize::from(input.byte());
    let headers = lines(input);
    let trailers = (input.byte() % 2 == 1).then(|| lines(input));
    let data = Bytes::copy_from_slice(input.0);
    let body = Buffered::new(data.clone(), trailers.clone());
    let kept = |headers: &HeaderMap| -> HeaderMap {
        let kept = rules.kept(headers);
        let lines = kept.lines();
        lines
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };

    let full = wire::response(status, &rules.kept(&headers), &body);
    let Ok((
        read_headers,
        Snapshot::Response {
            status: read_status,
            body: read_body,
        },
    )) = wire::decode(&full)
    else {
        panic!("a response does not come back");
    };
    assert_eq!(read_status, status);
    assert_eq!(read_headers, kept(&headers));
    assert_eq!(read_body.trailers(), trailers.as_ref().map(kept).as_ref());
    assert_eq!(read_body.data(), data);

    let fact = wire::tombstone(status, &rules.kept(&headers));
    let Ok((
        _,
        Snapshot::Tombstone {
            status: read_status,
            location,
        },
    )) = wire::decode(&fact)
    else {
        panic!("a tombstone does not come back");
    };
    assert_eq!(read_status, status);
    assert_eq!(location.as_ref(), rules.kept(&headers).location());

    let more = [&fact[..], &[0]].concat();
    assert!(wire::decode(&more.into()).is_err(), "more than a tombstone");
    let head = full.len() - data.len();
    if trailers.is_none() {
        // Neither none nor some.
        let mut strange = full.to_vec();
        strange[head - 1] = 2 + number.to_be_bytes()[0] / 2;
        assert!(wire::decode(&strange.into()).is_err());
    }
    for (whole, head) in [(full, head), (fact.clone(), fact.len())] {
        damaged(&whole, head, damage);
    }
}

/// Cuts and changes a payload whose head ends at `head`.
fn damaged(whole: &Bytes, head: usize, damage: usize) {
    let cut = damage % whole.len();
    let is_read = payload(&whole.slice(..cut)).is_some();
    assert_eq!(is_read, cut >= head, "cut at {cut}, the head at {head}");
    let mut changed = whole.to_vec();
    changed[cut] ^= 1 << (damage % 8);
    payload(&changed.into());
}

/// Some header lines.
fn lines(input: &mut Input<'_>) -> HeaderMap {
    let count = input.byte() % 8;
    let line = |_| {
        let name = match input.byte() {
            number @ 0..=9 => NAMES[usize::from(number)].clone(),
            length => name(input.bytes(usize::from(length % 16))),
        };
        let length = usize::from(input.byte());
        (name, value(input.bytes(length)))
    };
    (0..count).map(line).collect()
}

static NAMES: [HeaderName; 10] = [
    http::header::CONTENT_TYPE,
    http::header::LINK,
    http::header::LOCATION,
    http::header::SET_COOKIE,
    http::header::CONNECTION,
    http::header::DATE,
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("x-dropped"),
    HeaderName::from_static("grpc-message"),
    HeaderName::from_static("idempotent-replayed"),
];

/// A name that these bytes make up.
fn name(bytes: &[u8]) -> HeaderName {
    let letters = bytes.iter().map(|byte| b'a' + byte % 26);
    let name: Vec<_> = b"x-".iter().copied().chain(letters).collect();
    HeaderName::from_bytes(&name).unwrap_or(NAMES[0].clone())
}

/// A value of these bytes, or of those that may stand in one.
fn value(bytes: &[u8]) -> HeaderValue {
    let allowed = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
    let bytes: Vec<_> = bytes.iter().copied().filter(allowed).collect();
    HeaderValue::from_bytes(&bytes).unwrap_or(HeaderValue::from_static(""))
}
