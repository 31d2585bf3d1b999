//! The lines of one header.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The lines of a header, in their order.
///
/// Found one after the other: a request or response has few headers, and to hash a name costs more than to compare it
/// with all of theirs.
pub(crate) fn lines<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a HeaderValue> {
    let lines = headers.iter().filter(move |(header, _)| *header == name);
    lines.map(|(_, line)| line)
}

/// The first line of a header.
pub(crate) fn line<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    lines(headers, name).next()
}
