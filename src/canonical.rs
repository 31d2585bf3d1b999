//! The canonical form of JSON (RFC 8785), for fingerprints of what a body says.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::ser::{Error, Serialize, Serializer};
use serde_json_canonicalizer::to_vec;

use crate::pointer::{Pointer, index};

/// The canonical form of a JSON body: two bodies have the same one only where they say the same.
///
/// Without what the pointers in `exclude` name: members are gone, elements of arrays are `null`, so that the others keep their
/// indices. With pointers in `include` only what these name in the rest counts, as an object of pointers and values.
///
/// `None` means to compare the bytes instead, and to tell such a fingerprint from one of a canonical form, which may be
/// those very bytes: where the body is not JSON or nested deeper than 127 levels, holds a member twice in one object or
/// half a surrogate pair; where a number that counts may be merged with another one (see [`Number`]); where none of `include` is
/// there.
///
/// Passes over the body twice; the work grows as that of sorting its members. Numbers are read from the body's text,
/// so that neither `arbitrary_precision` nor `preserve_order` of `serde_json`, which other crates may turn on, changes anything.
pub(crate) fn canonical(body: &[u8], include: &[Pointer], exclude: &[Pointer]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(body).ok()?;
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    let mut document = Reader { text, at: 0 }.value(MOST_LEVELS)?;
    for pointer in exclude {
        document.remove(pointer);
    }
    if include.is_empty() {
        return to_vec(&document).ok();
    }
    let included = include
        .iter()
        .filter_map(|pointer| Some((pointer.as_str(), document.at(pointer)?)))
        .collect::<BTreeMap<_, _>>();
    if included.is_empty() {
        return None;
    }
    to_vec(&included).ok()
}

/// So deep are arrays and objects nested at most, as in `serde_json`: they are read by recursion.
const MOST_LEVELS: u32 = 127;

enum Value<'a> {
    Array(Box<[Self]>),
    Bool(bool),
    /// Where a member was removed.
    Gone,
    Null,
    Number(Number<'a>),
    /// Sorted by name. Boxed, not a map: that one of a body of small objects takes a hundred times the body.
    Object(Box<[(Cow<'a, str>, Self)]>),
    String(Cow<'a, str>),
}

impl Value<'_> {
    fn at(&self, pointer: &Pointer) -> Option<&Self> {
        let mut way = pointer.tokens().iter();
        let value = way.try_fold(self, |value, token| match value {
            Self::Array(elements) => elements.get(index(token)?),
            Self::Object(members) => Some(&members[member(members, token)?].1),
            _ => None,
        });
        value.filter(|value| !matches!(value, Self::Gone))
    }

    fn get_mut(&mut self, token: &str) -> Option<&mut Self> {
        match self {
            Self::Array(elements) => elements.get_mut(index(token)?),
            Self::Object(members) => Some(&mut members[member(members, token)?].1),
            _ => None,
        }
    }

    fn remove(&mut self, pointer: &Pointer) {
        let Some((last, way)) = pointer.tokens().split_last() else {
            return;
        };
        let mut way = way.iter();
        let Some(parent) = way.try_fold(self, |value, token| value.get_mut(token)) else {
            return;
        };
        let nothing = match parent {
            Self::Array(_) => Value::Null,
            _ => Value::Gone,
        };
        if let Some(value) = parent.get_mut(last) {
            *value = nothing;
        }
    }
}

/// Where the member of this name stands.
fn member(members: &[(Cow<'_, str>, Value<'_>)], token: &str) -> Option<usize> {
    members
        .binary_search_by(|(name, _)| name.as_ref().cmp(token))
        .ok()
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Array(elements) => serializer.collect_seq(elements.iter()),
            Self::Bool(value) => serializer.serialize_bool(*value),
            // Never the latter: whatever holds it leaves it out.
            Self::Null | Self::Gone => serializer.serialize_unit(),
            Self::Number(number) => match number.value() {
                Some(value) => serializer.serialize_f64(value),
                None => Err(S::Error::custom("a number that may be merged with another")),
            },
            Self::Object(members) => {
                let there = members
                    .iter()
                    .filter(|(_, value)| !matches!(value, Self::Gone));
                serializer.collect_map(there.map(|(name, value)| (name, value)))
            }
            Self::String(value) => serializer.serialize_str(value),
        }
    }
}

/// The text of a number.
struct Number<'a>(&'a str);

impl Number<'_> {
    /// Its value, where no other number is rounded to the same one: an integer up to 2^53 in magnitude, or up to
    /// 15 significant digits. Larger ones never, and nothing between zero and the smallest normal double.
    fn value(&self) -> Option<f64> {
        const MOST: u64 = 1 << 53;
        let (mantissa, exponent) = self.0.split_once(['e', 'E']).unwrap_or((self.0, ""));
        // The significant digits, how many, and how many zeros may yet turn out to be some.
        let (mut significant, mut digits, mut zeros) = (0_u64, 0, 0_u32);
        for digit in mantissa.bytes().filter(u8::is_ascii_digit) {
            if digit == b'0' {
                zeros += u32::from(digits > 0);
                continue;
            }
            digits += zeros + 1;
            if digits > 16 {
                return None;
            }
            significant = significant * 10_u64.pow(zeros + 1) + u64::from(digit - b'0');
            zeros = 0;
        }
        if digits == 0 {
            return Some(0.0);
        }
        // The standard library drops digits of an exponent beyond 65,536.
        if exponent.trim_start_matches(['+', '-', '0']).len() > 4 {
            return None;
        }
        let value = self.0.parse::<f64>().ok()?;
        let is_alone = if digits < 16 {
            (f64::MIN_POSITIVE..=MOST as f64).contains(&value.abs())
        } else {
            significant <= MOST && value.abs() == significant as f64
        };
        is_alone.then_some(value)
    }
}

/// Reads text that is known to be JSON, so that commas and colons stand only where they must.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, levels: u32) -> Option<Value<'a>> {
        Some(match self.next()? {
            b'{' => {
                self.at += 1;
                let levels = levels.checked_sub(1)?;
                let mut members = Vec::new();
                while self.next()? != b'}' {
                    members.push((self.string()?, self.value(levels)?));
                }
                self.at += 1;
                members.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
                if members.windows(2).any(|pair| pair[0].0 == pair[1].0) {
                    return None;
                }
                Value::Object(members.into())
            }
            b'[' => {
                self.at += 1;
                let levels = levels.checked_sub(1)?;
                let mut elements = Vec::new();
                while self.next()? != b']' {
                    elements.push(self.value(levels)?);
                }
                self.at += 1;
                Value::Array(elements.into())
            }
            b'"' => Value::String(self.string()?),
            b'-' | b'0'..=b'9' => Value::Number(Number(self.word()?)),
            _ => match self.word()? {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                _ => Value::Null,
            },
        })
    }

    /// The byte that the next token begins with.
    fn next(&mut self) -> Option<u8> {
        let rest = &self.text.as_bytes()[self.at..];
        let blank = rest.iter().position(|byte| !b" \t\r\n,:".contains(byte))?;
        self.at += blank;
        rest.get(blank).copied()
    }

    /// A number or a literal.
    fn word(&mut self) -> Option<&'a str> {
        let rest = self.text.get(self.at..)?;
        let end = rest
            .bytes()
            .position(|byte| !(byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)))
            .unwrap_or(rest.len());
        self.at += end;
        rest.get(..end)
    }

    fn string(&mut self) -> Option<Cow<'a, str>> {
        let rest = self.text.get(self.at..)?;
        let mut escaped = false;
        let mut escapes = false;
        let end = 1 + rest.bytes().skip(1).position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            escapes |= escaped;
            ends
        })?;
        self.at += end + 1;
        if escapes {
            serde_json::from_str(rest.get(..=end)?).ok().map(Cow::Owned)
        } else {
            rest.get(1..end).map(Cow::Borrowed)
        }
    }
}

#[cfg(test)]
mod tests;
