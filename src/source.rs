//! Where the key stands in a request, and which keys are accepted.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};
use http::request::Parts;
use http::{HeaderMap, HeaderName};

use crate::pointer::{self, Pointer};
use crate::quoted::{Quoting, unquote};
use crate::refusal::RefusalCode;

/// The header that carries the key by default.
pub(crate) static KEY_HEADER: HeaderName = HeaderName::from_static("idempotency-key");

/// Headers that are never echoed.
static CREDENTIALS: [HeaderName; 4] = [
    AUTHORIZATION,
    COOKIE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
];

/// Where the key stands in a request. Default: the header `Idempotency-Key`.
///
/// A clone of a layer whose key stands elsewhere keeps the layer's [`KeyPolicy`]: event ids, say, need not be UUIDs.
///
/// ```
/// use tower_idempotency::KeyFrom;
///
/// let standard_webhooks = KeyFrom::header("webhook-id");
/// let by_event = KeyFrom::json(["/event_id"]);
/// let by_type_and_session = KeyFrom::json(["/type", "/session_id"]);
/// # let _ = (standard_webhooks, by_event, by_type_and_session);
/// ```
#[derive(Clone)]
pub struct KeyFrom(Source);

#[derive(Clone)]
enum Source {
    Header(HeaderName),
    Json(Arc<[Pointer]>),
    With(Arc<dyn Fn(&Parts) -> Option<String> + Send + Sync>),
}

impl KeyFrom {
    /// The value of this header, instead of `Idempotency-Key`, which then means nothing. A replay carries it as the
    /// retry sent it.
    ///
    /// # Panics
    ///
    /// For what is no name of a header, and for one that carries credentials.
    #[must_use]
    #[track_caller]
    pub fn header<N>(name: N) -> Self
    where
        N: TryInto<HeaderName> + fmt::Debug,
        N::Error: fmt::Display,
    {
        let name = header_name("KeyFrom::header", name);
        assert!(
            !CREDENTIALS.contains(&name),
            "KeyFrom::header takes a header that replays may echo, not the credential {name}"
        );
        Self(Source::Header(name))
    }

    /// What these JSON pointers (RFC 6901) lead to in the body: strings as they are, integers by their text.
    ///
    /// One pointer: its value is the key; the header `Idempotency-Key`, where it is sent as well, must say the same (400
    /// `idempotency_key_invalid`), and alone it is no key. Several: all values together are the key, each as
    /// `LENGTH:VALUE` in bytes, one after the other (`4:type12:session_0001`); the header means nothing. The
    /// [`KeyPolicy`] holds for each value.
    ///
    /// Where a member is missing there is no key. Any other value, a member that stands twice, and a body that is not
    /// JSON are refused with 400 `idempotency_key_invalid`.
    ///
    /// The body of every covered request is read, with or without a key:
    /// [`max_request_bytes`](crate::IdempotencyLayer::max_request_bytes) holds for all of them.
    ///
    /// # Panics
    ///
    /// For what is no pointer to a member, and for none at all.
    #[must_use]
    #[track_caller]
    pub fn json<I>(pointers: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Self(Source::Json(
            pointer::parse_all("KeyFrom::json", pointers).into(),
        ))
    }

    /// What a closure finds in the head of the request, without quotes; `None` where there is no key.
    ///
    /// Inside axum's `Router::nest` the path of the head has lost its prefix; the extension `OriginalUri` has it. A panic is
    /// refused with 500 `idempotency_internal`.
    ///
    /// ```
    /// use tower_idempotency::KeyFrom;
    ///
    /// let from_the_path = KeyFrom::with(|parts| Some(parts.uri.path().strip_prefix("/orders/")?.to_owned()));
    /// # let _ = from_the_path;
    /// ```
    #[must_use]
    pub fn with(key: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Source::With(Arc::new(key)))
    }

    /// The header that carries the key, and that a replay echoes.
    pub(crate) fn header_name(&self) -> Option<&HeaderName> {
        match &self.0 {
            Source::Header(name) => Some(name),
            Source::Json(_) | Source::With(_) => None,
        }
    }

    /// Whether a request with these headers may have a key.
    pub(crate) fn may_be_named(&self, headers: &HeaderMap) -> bool {
        self.header_name()
            .is_none_or(|name| headers.contains_key(name))
    }

    pub(crate) fn is_in_body(&self) -> bool {
        matches!(self.0, Source::Json(_))
    }

    /// The key of a request, as the policy accepts it. `body` counts only where the key is in it.
    pub(crate) fn key<'a>(
        &self,
        policy: &KeyPolicy,
        parts: &'a Parts,
        body: &[u8],
    ) -> Result<Option<Cow<'a, str>>, RefusalCode> {
        match &self.0 {
            Source::Header(name) => policy.header(&parts.headers, name),
            Source::Json(pointers) => {
                let found = pointer::key_at(body, pointers);
                let Some(values) = found.map_err(|_| RefusalCode::KeyInvalid)? else {
                    return Ok(None);
                };
                let accepted = values
                    .into_iter()
                    .map(|value| policy.accept(value.into()).map(Cow::into_owned));
                let key = pointer::join(accepted.collect::<Result<_, _>>()?);
                if pointers.len() == 1 {
                    let header = policy.header(&parts.headers, &KEY_HEADER)?;
                    if header.is_some_and(|header| *header != key) {
                        return Err(RefusalCode::KeyInvalid);
                    }
                }
                Ok(Some(key.into()))
            }
            Source::With(key) => catch_unwind(AssertUnwindSafe(|| key(parts)))
                .map_err(|_| RefusalCode::Internal)?
                .map(|key| policy.accept(key.into()))
                .transpose(),
        }
    }

    /// The key that an operator names, as the policy accepts it.
    pub(crate) fn named<'a>(
        &self,
        policy: &KeyPolicy,
        key: &'a str,
    ) -> Result<Cow<'a, str>, RefusalCode> {
        match &self.0 {
            // The policy was for its values.
            Source::Json(pointers) if pointers.len() > 1 => Ok(key.into()),
            _ => policy.accept(key.into()),
        }
    }
}

impl Default for KeyFrom {
    fn default() -> Self {
        Self(Source::Header(KEY_HEADER.clone()))
    }
}

impl fmt::Debug for KeyFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Header(name) => write!(f, "KeyFrom::header({name})"),
            Source::Json(pointers) => {
                f.write_str("KeyFrom::json(")?;
                f.debug_list()
                    .entries(pointers.iter().map(Pointer::as_str))
                    .finish()?;
                f.write_str(")")
            }
            Source::With(_) => f.write_str("KeyFrom::with(..)"),
        }
    }
}

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
            "a key policy takes a length range that begins with at least 1 and is not empty, not {length:?}"
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

    /// The key in this header; an error where there are two lines, or one that is malformed or against the policy.
    fn header<'a>(
        &self,
        headers: &'a HeaderMap,
        name: &HeaderName,
    ) -> Result<Option<Cow<'a, str>>, RefusalCode> {
        let mut lines = headers.get_all(name).iter();
        let (line, another) = (lines.next(), lines.next());
        if another.is_some() {
            return Err(RefusalCode::KeyInvalid);
        }
        let unquoted = |value: &'a [u8]| {
            unquote(value, self.quoting, *self.length.end()).ok_or(RefusalCode::KeyInvalid)
        };
        line.map(|line| self.accept(unquoted(line.as_bytes())?))
            .transpose()
    }

    /// The key, without quotes, in the form that is used.
    fn accept<'a>(&self, key: Cow<'a, str>) -> Result<Cow<'a, str>, RefusalCode> {
        let is_welcome = self.length.contains(&key.len())
            && key.bytes().all(|byte| byte.is_ascii_graphic())
            && (!self.is_uuid || is_uuid(&key))
            && catch_unwind(AssertUnwindSafe(|| {
                self.rules.iter().all(|rule| rule(&key))
            }))
            .map_err(|_| RefusalCode::Internal)?;
        if !is_welcome {
            return Err(RefusalCode::KeyInvalid);
        }
        if self.is_uuid && key.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Ok(key.to_ascii_lowercase().into());
        }
        Ok(key)
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

/// The value of a knob that takes the name of a header.
#[track_caller]
pub(crate) fn header_name<N>(knob: &str, name: N) -> HeaderName
where
    N: TryInto<HeaderName> + fmt::Debug,
    N::Error: fmt::Display,
{
    let given = format!("{name:?}");
    match name.try_into() {
        Ok(name) => name,
        Err(error) => panic!("{knob} takes the name of a header, not {given}: {error}"),
    }
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
        let mut headers = HeaderMap::new();
        headers.insert(KEY_HEADER.clone(), value.try_into().unwrap());
        let key = policy.header(&headers, &KEY_HEADER)?;
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
    #[should_panic(expected = "a key policy takes a length range")]
    fn a_policy_that_accepts_nothing_is_refused() {
        let _ = KeyPolicy::ascii(RangeInclusive::new(9, 3));
    }

    #[test]
    fn a_source_shows_where_and_nothing_else() {
        assert_eq!(
            format!("{:?}", KeyFrom::header("Webhook-Id")),
            "KeyFrom::header(webhook-id)"
        );
        assert_eq!(
            format!("{:?}", KeyFrom::json(["/a", "/b"])),
            r#"KeyFrom::json(["/a", "/b"])"#
        );
    }
}
