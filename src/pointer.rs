//! JSON pointers (RFC 6901), and the keys that they find in a body.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Names one value inside a JSON document.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pointer {
    text: String,
    /// Unescaped; at least one.
    tokens: Vec<String>,
}

impl Pointer {
    /// # Errors
    ///
    /// What a pointer takes, where this is none. The empty one is refused: it names the whole document.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("the empty pointer names the whole document; name a value in it");
        }
        let tokens = text
            .strip_prefix('/')
            .ok_or("a pointer begins with '/'")?
            .split('/')
            .map(unescape)
            .collect::<Option<_>>()
            .ok_or("in a pointer '~' stands only in '~0' (for '~') and '~1' (for '/')")?;
        Ok(Self {
            text: text.to_owned(),
            tokens,
        })
    }

    /// As it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The names and indices on the way, unescaped; at least one.
    #[cfg(feature = "canonical-json")]
    pub(crate) fn tokens(&self) -> &[String] {
        &self.tokens
    }
}

/// The pointers given to `knob`.
///
/// # Panics
///
/// Where one is malformed, or there is none.
#[track_caller]
pub(crate) fn parse_all<I>(knob: &str, pointers: I) -> Vec<Pointer>
where
    I: IntoIterator,
    I::Item: AsRef<str>,
{
    let mut parsed = Vec::new();
    for pointer in pointers {
        let pointer = pointer.as_ref();
        match Pointer::parse(pointer) {
            Ok(pointer) => parsed.push(pointer),
            Err(what) => panic!(
                "{knob} takes JSON pointers (RFC 6901) such as \"/data/id\", not {pointer:?}: {what}"
            ),
        }
    }
    assert!(
        !parsed.is_empty(),
        "{knob} takes at least one JSON pointer (RFC 6901) such as \"/data/id\", not an empty list"
    );
    parsed
}

/// The index in an array that a token is, if it is one. `-`, the element behind the last, is none.
pub(crate) fn index(token: &str) -> Option<usize> {
    let plain = token == "0" || !token.starts_with(['0', '+']);
    token.parse().ok().filter(|_| plain)
}

/// The body holds no key where one was looked for: it is not JSON, or something else stands there.
#[derive(Debug, PartialEq)]
pub(crate) struct Malformed;

impl From<serde_json::Error> for Malformed {
    fn from(_: serde_json::Error) -> Self {
        Self
    }
}

/// The values that the pointers name in a JSON body, each a string, or an integer by its text; `None` where one is
/// missing.
///
/// Passes over the body once, and once more for each level of each pointer, without recursion; it allocates for the values
/// that are found.
///
/// # Errors
///
/// Where the body is not JSON, a value is anything else, or a member on the way stands twice.
pub(crate) fn key_at(body: &[u8], pointers: &[Pointer]) -> Result<Option<Vec<String>>, Malformed> {
    let text = std::str::from_utf8(body).map_err(|_| Malformed)?;
    let document = serde_json::from_str::<&RawValue>(text)?;
    let mut values = Vec::with_capacity(pointers.len());
    for pointer in pointers {
        values.push(find(document, pointer)?.map(key).transpose()?);
    }
    Ok(values.into_iter().collect())
}

/// The key that values make up: one is the key itself, several stand as `LENGTH:VALUE` (in bytes) one after the other, so
/// that no two lists are the same key.
pub(crate) fn join(mut values: Vec<String>) -> String {
    if values.len() == 1 {
        return values.remove(0);
    }
    values
        .iter()
        .map(|value| format!("{}:{value}", value.len()))
        .collect()
}

fn unescape(token: &str) -> Option<String> {
    let mut parts = token.split('~');
    let mut name = parts.next()?.to_owned();
    for part in parts {
        name.push(match part.as_bytes().first()? {
            b'0' => '~',
            b'1' => '/',
            _ => return None,
        });
        name.push_str(&part[1..]);
    }
    Some(name)
}

fn find<'a>(
    document: &'a RawValue,
    pointer: &Pointer,
) -> Result<Option<&'a RawValue>, serde_json::Error> {
    let mut value = document;
    for token in &pointer.tokens {
        // Not `deserialize_any`: to its visitor a number is a map, should a crate turn on `arbitrary_precision`.
        let mut json = serde_json::Deserializer::from_str(value.get());
        let found = match value.get().as_bytes().first() {
            Some(b'{') => json.deserialize_map(Member(token))?,
            Some(b'[') => match index(token) {
                Some(index) => json.deserialize_seq(Element(index))?,
                None => None,
            },
            _ => None,
        };
        let Some(found) = found else {
            return Ok(None);
        };
        value = found;
    }
    Ok(Some(value))
}

fn key(value: &RawValue) -> Result<String, Malformed> {
    let text = value.get();
    if text.starts_with('"') {
        return Ok(serde_json::from_str(text)?);
    }
    // What JSON holds of minus signs and digits alone is an integer, without leading zeros.
    if text.bytes().all(|byte| matches!(byte, b'-' | b'0'..=b'9')) {
        return Ok(text.to_owned());
    }
    Err(Malformed)
}

/// Finds the member of an object that has this name.
struct Member<'a>(&'a str);

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(is_it) = members.next_key_seed(Name(self.0))? {
            if !is_it {
                members.next_value::<IgnoredAny>()?;
            } else if found.replace(members.next_value()?).is_some() {
                return Err(A::Error::custom("the member stands twice"));
            }
        }
        Ok(found)
    }
}

/// Whether the name of a member is this one.
struct Name<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, name: D) -> Result<bool, D::Error> {
        name.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

/// Finds the element of an array that has this index.
struct Element(usize);

impl<'de> Visitor<'de> for Element {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        for _ in 0..self.0 {
            if elements.next_element::<IgnoredAny>()?.is_none() {
                return Ok(None);
            }
        }
        let found = elements.next_element()?;
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
