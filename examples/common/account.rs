//! Who is calling.

use axum::http::HeaderMap;

/// A caller, known by its API key: a copy of it, because a header's value keeps the whole head in memory.
#[derive(Clone, PartialEq)]
pub(crate) struct Account(Box<[u8]>);

impl Account {
    /// Whose API key is in this header, after the name of this scheme; `""` where the header has none.
    pub(crate) fn from_header(headers: &HeaderMap, name: &str, scheme: &str) -> Option<Self> {
        let value = headers.get(name)?.as_bytes();
        let (found, key) = value.split_at_checked(scheme.len())?;
        let separated = scheme.is_empty() || key.starts_with(b" ");
        let key = key.trim_ascii();
        let known = found.eq_ignore_ascii_case(scheme.as_bytes()) && separated && !key.is_empty();
        known.then(|| Self(key.into()))
    }
}

impl AsRef<[u8]> for Account {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
