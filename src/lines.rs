//! The lines of one header, and those of a request that the layer asks for.

use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, COOKIE};
use http::request::Parts;
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

/// Most headers have one line; who wants those of another goes through them.
#[derive(Clone, Copy, Default)]
pub(crate) enum Found<'a> {
    #[default]
    None,
    One(&'a HeaderValue),
    Several,
}

impl<'a> Found<'a> {
    pub(crate) fn of(headers: &'a HeaderMap, name: &HeaderName) -> Self {
        let mut lines = lines(headers, name);
        match (lines.next(), lines.next()) {
            (None, _) => Self::None,
            (Some(line), None) => Self::One(line),
            (Some(_), Some(_)) => Self::Several,
        }
    }

    fn and(self, line: &'a HeaderValue) -> Self {
        match self {
            Self::None => Self::One(line),
            Self::One(_) | Self::Several => Self::Several,
        }
    }

    pub(crate) fn is_there(self) -> bool {
        !matches!(self, Self::None)
    }

    /// Every line of the header that this was found for.
    pub(crate) fn each(
        self,
        headers: &'a HeaderMap,
        name: &HeaderName,
        look: impl FnMut(&'a HeaderValue),
    ) {
        match self {
            Self::None => {}
            Self::One(line) => [line].into_iter().for_each(look),
            Self::Several => lines(headers, name).for_each(look),
        }
    }
}

/// The head of a request with what the layer asks of it, found in one pass over its headers.
pub(crate) struct Head<'a> {
    pub(crate) parts: &'a Parts,
    /// The header that carries the key.
    pub(crate) key: Found<'a>,
    pub(crate) api_key: Found<'a>,
    pub(crate) authorization: Found<'a>,
    pub(crate) content_encoding: Found<'a>,
    pub(crate) content_type: Found<'a>,
    pub(crate) cookie: Found<'a>,
}

pub(crate) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

impl<'a> Head<'a> {
    /// `key` is none of the other headers: a replay could not echo those.
    pub(crate) fn of(parts: &'a Parts, key: Option<&HeaderName>) -> Self {
        let mut head = Self {
            parts,
            key: Found::None,
            api_key: Found::None,
            authorization: Found::None,
            content_encoding: Found::None,
            content_type: Found::None,
            cookie: Found::None,
        };
        for (name, line) in &parts.headers {
            let found = if *name == AUTHORIZATION {
                &mut head.authorization
            } else if *name == CONTENT_ENCODING {
                &mut head.content_encoding
            } else if *name == CONTENT_TYPE {
                &mut head.content_type
            } else if *name == COOKIE {
                &mut head.cookie
            } else if Some(name) == key {
                &mut head.key
            } else if *name == API_KEY {
                &mut head.api_key
            } else {
                continue;
            };
            *found = found.and(line);
        }
        head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_several_and_none_are_told_apart_whatever_lies_between() {
        const KEY: HeaderName = HeaderName::from_static("webhook-id");
        let mut request = http::Request::new(());
        for (name, line) in [
            ("cookie", "a"),
            ("webhook-id", "key"),
            ("x-api-key", "b"),
            ("accept", "c"),
            ("cookie", "d"),
        ] {
            let line = HeaderValue::from_static(line);
            request.headers_mut().append(name, line);
        }
        let (parts, ()) = request.into_parts();
        let head = Head::of(&parts, Some(&KEY));
        let every = |found: Found<'_>, name: &HeaderName| {
            let mut every = Vec::new();
            found.each(&parts.headers, name, |line| every.push(line.as_bytes()));
            every.concat()
        };

        assert!(matches!(head.key, Found::One(line) if line == "key"));
        assert!(matches!(head.cookie, Found::Several));
        assert!(!head.authorization.is_there() && !head.content_type.is_there());
        assert!(matches!(Found::of(&parts.headers, &COOKIE), Found::Several));
        assert_eq!(every(head.cookie, &COOKIE), b"ad");
        assert_eq!(every(head.api_key, &API_KEY), b"b");
        assert_eq!(every(head.authorization, &AUTHORIZATION), b"");
        assert!(matches!(Head::of(&parts, None).key, Found::None));
    }
}
