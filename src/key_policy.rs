//! Which keys are accepted.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::lines::Found;
use crate::quoted::{Quoting, unquote};
use crate::refusal::RefusalCode;
use crate::shield::shielded;

/// Which keys are accepted. Default: 1 to 255 visible ASCII characters.
///
/// ```
/// use tower_idempotency::KeyPolicy;
///
/// let at_least_ten_characters = KeyPolicy::ascii(10..=255);
/// let words = KeyPolicy::ascii(1..=64).characters(|char| char.is_ascii_alphanumeric() || "-_".contains(char));
/// let uuids = KeyPolicy::uuid();
/// let not_too_simple = KeyPolicy::with(|key| key.bytes().any(|byte| byte != key.as_bytes()[0]));
/// # let _ = (at_least_ten_characters, words, uuids, not_too_simple);
/// ```
#[derive(Clone)]
pub struct KeyPolicy {
    length: RangeInclusive<usize>,
    is_uuid: bool,
    quoting: Quoting,
    rules: Vec<Arc<dyn Fn(&str) -> bool + Send + Sync>>,
}

impl KeyPolicy {
    /// Visible ASCII characters (`!` to `~`), so many of them; the default is `1..=255`.
    ///
    /// A key may be sent bare or as a structured-field string (`"abc"` and `abc` are the same key); the length counts
    /// after unquoting.
    ///
    /// # Panics
    ///
    /// Where the range is empty or begins with 0.
    #[must_use]
    #[track_caller]
    pub fn ascii(length: RangeInclusive<usize>) -> Self {
        assert!(
            *length.start() > 0 && !length.is_empty(),
            "KeyPolicy::ascii takes a length range that begins with at least 1 and is not empty, not {length:?}"
        );
        Self {
            length,
            ..Self::default()
        }
    }

    /// UUIDs of any version, hyphenated (36 characters). Upper and lower case are the same key, and the handler sees
    /// lower case.
    #[must_use]
    pub fn uuid() -> Self {
        Self {
            length: 36..=36,
            is_uuid: true,
            ..Self::default()
        }
    }

    /// What the closure is true for, of 1 to 255 visible ASCII characters.
    ///
    /// A panic is refused with 500 `idempotency_internal`.
    #[must_use]
    pub fn with(accepts: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self::default().rule(accepts)
    }

    /// Only these characters, of those that are accepted otherwise. A panic of the closure is refused with 500
    /// `idempotency_internal`.
    #[must_use]
    pub fn characters(self, allowed: impl Fn(char) -> bool + Send + Sync + 'static) -> Self {
        self.rule(move |key| key.chars().all(&allowed))
    }

    /// In a header only a structured-field string (RFC 9651, section 3.3.3), hence in quotes, as the IETF draft
    /// `draft-ietf-httpapi-idempotency-key-header` has it; a bare key is refused. Keys from elsewhere have no quotes.
    #[must_use]
    pub fn strict(mut self) -> Self {
        self.quoting = Quoting::Strict;
        self
    }

    fn rule(mut self, rule: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.rules.push(Arc::new(rule));
        self
    }

    /// The key in its header; an error where there are two lines, or one that is malformed or against the policy.
    pub(crate) fn header<'a>(&self, found: Found<'a>) -> Result<Option<Cow<'a, str>>, RefusalCode> {
        let line = match found {
            Found::None => return Ok(None),
            Found::One(line) => line.as_bytes(),
            Found::Several => return Err(RefusalCode::KeyInvalid),
        };
        let key = unquote(line, self.quoting, *self.length.end()).ok_or(RefusalCode::KeyInvalid)?;
        self.accept(key).map(Some)
    }

    /// The key, without quotes, in the form that is used.
    pub(crate) fn accept<'a>(&self, key: Cow<'a, str>) -> Result<Cow<'a, str>, RefusalCode> {
        let is_welcome = self.length.contains(&key.len())
            && is_graphic(&key)
            && (!self.is_uuid || is_uuid(&key))
            && (self.rules.is_empty() || self.is_by_rule(&key)?);
        if !is_welcome {
            return Err(RefusalCode::KeyInvalid);
        }
        if self.is_uuid && key.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Ok(key.to_ascii_lowercase().into());
        }
        Ok(key)
    }

    fn is_by_rule(&self, key: &str) -> Result<bool, RefusalCode> {
        shielded(|| self.rules.iter().all(|rule| rule(key))).ok_or(RefusalCode::Internal)
    }
}

impl Default for KeyPolicy {
    fn default() -> Self {
        Self {
            length: 1..=255,
            is_uuid: false,
            quoting: Quoting::Lenient,
            rules: Vec::new(),
        }
    }
}

impl fmt::Debug for KeyPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPolicy")
            .field("length", &self.length)
            .field("is_uuid", &self.is_uuid)
            .field("quoting", &self.quoting)
            .field("rules", &self.rules.len())
            .finish()
    }
}

/// Visible ASCII characters only. All are looked at, many at once.
fn is_graphic(key: &str) -> bool {
    let bytes = key.bytes();
    bytes.fold(true, |all, byte| all & byte.is_ascii_graphic())
}

/// Hexadecimal digits in groups of 8, 4, 4, 4 and 12 (RFC 9562, section 4). The length has been looked at.
fn is_uuid(key: &str) -> bool {
    key.bytes().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(policy: &KeyPolicy, value: &[u8]) -> Result<String, RefusalCode> {
        let line = value.try_into().unwrap();
        let key = policy.header(Found::One(&line))?;
        Ok(key.unwrap().into_owned())
    }

    #[test]
    fn white_space_and_other_bytes_are_no_key() {
        let policy = KeyPolicy::default();

        assert_eq!(key(&policy, b"abc").as_deref(), Ok("abc"));
        for value in [
            &b""[..],
            b" \t",
            b"\"\"",
            b"a b",
            b"\"a b\"",
            b"caf\xc3\xa9",
            b"\xff",
        ] {
            assert_eq!(
                key(&policy, value),
                Err(RefusalCode::KeyInvalid),
                "{value:?}"
            );
        }
    }

    #[test]
    fn a_uuid_is_hyphenated_and_folded() {
        let policy = KeyPolicy::uuid();
        let accepts = |value: &str| key(&policy, value.as_bytes());

        assert_eq!(
            accepts("550E8400-E29B-41d4-a716-446655440000").as_deref(),
            Ok("550e8400-e29b-41d4-a716-446655440000")
        );
        assert!(accepts("\"550e8400-e29b-41d4-a716-446655440000\"").is_ok());
        for value in [
            "550e8400e29b41d4a716446655440000",
            "550e8400-e29b-41d4-a716-44665544000",
            "550e8400-e29b-41d4-a716-4466554400000",
            "550e8400-e29b-41d4-a716-44665544000g",
            "550e8400-e29b-41d4-a7160446655440000",
            "{50e8400-e29b-41d4-a716-44665544000}",
            "-50e8400-e29b-41d4-a716-446655440000",
        ] {
            assert_eq!(accepts(value), Err(RefusalCode::KeyInvalid), "{value}");
        }
    }

    #[test]
    fn a_policy_narrows_and_never_widens() {
        let policy = KeyPolicy::with(|_| true).characters(|char| char != 'x');

        assert!(key(&policy, b"abc").is_ok());
        assert!(key(&policy, b"axc").is_err());
        assert!(key(&policy, b"a c").is_err());
        assert!(key(&policy, &[b'a'; 256]).is_err());
    }

    #[test]
    fn a_policy_that_panics_is_an_error_of_the_service() {
        let policy = KeyPolicy::with(|_| panic!("a policy that panics"));

        assert_eq!(key(&policy, b"abc"), Err(RefusalCode::Internal));
    }

    #[test]
    #[should_panic(expected = "KeyPolicy::ascii takes a length range")]
    fn a_policy_that_accepts_nothing_is_refused() {
        let _ = KeyPolicy::ascii(RangeInclusive::new(9, 3));
    }
}
