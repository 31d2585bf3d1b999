//! Where the key stands in a request.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http::header::{AUTHORIZATION, COOKIE, ETAG, LOCATION, PROXY_AUTHORIZATION, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderName};

use crate::key_policy::KeyPolicy;
use crate::lines::{Found, Head, line};
use crate::pointer::{self, Pointer};
use crate::refusal::RefusalCode;
use crate::shield::shielded;
use crate::snapshot::is_never_kept;

/// The header that carries the key by default.
pub(crate) static KEY_HEADER: HeaderName = HeaderName::from_static("idempotency-key");

/// Headers that a replay cannot echo: credentials, and what says something of the response.
fn cannot_be_echoed(name: &HeaderName) -> bool {
    const CREDENTIALS: [HeaderName; 4] = [
        AUTHORIZATION,
        COOKIE,
        PROXY_AUTHORIZATION,
        HeaderName::from_static("x-api-key"),
    ];
    CREDENTIALS.contains(name)
        || [ETAG, LOCATION, SET_COOKIE].contains(name)
        || name.as_str().starts_with("content-")
        || (is_never_kept(name) && *name != KEY_HEADER)
}

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
    /// For what is no name of a header, and for one that a replay cannot echo: credentials, hop-by-hop headers, and those
    /// that say something of the response (`Content-*`, `Location`, `Set-Cookie`, `ETag`, `Idempotent-Replayed`).
    #[must_use]
    #[track_caller]
    pub fn header<N>(name: N) -> Self
    where
        N: TryInto<HeaderName> + fmt::Debug,
        N::Error: fmt::Display,
    {
        let name = header_name("KeyFrom::header", name);
        assert!(
            !cannot_be_echoed(&name),
            "KeyFrom::header takes a header that replays can echo, not {name}"
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
    /// JSON (an empty one included) are refused with 400 `idempotency_key_invalid`.
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
            .is_none_or(|name| line(headers, name).is_some())
    }

    pub(crate) fn is_in_body(&self) -> bool {
        matches!(self.0, Source::Json(_))
    }

    /// The key of a request, as the policy accepts it. `body` counts only where the key is in it.
    pub(crate) fn key<'a>(
        &self,
        policy: &KeyPolicy,
        head: &Head<'a>,
        body: &[u8],
    ) -> Result<Option<Cow<'a, str>>, RefusalCode> {
        match &self.0 {
            Source::Header(_) => policy.header(head.key),
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
                    let found = Found::of(&head.parts.headers, &KEY_HEADER);
                    let header = policy.header(found)?;
                    if header.is_some_and(|header| *header != key) {
                        return Err(RefusalCode::KeyInvalid);
                    }
                }
                Ok(Some(key.into()))
            }
            Source::With(key) => shielded(|| key(head.parts))
                .ok_or(RefusalCode::Internal)?
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

#[cfg(test)]
mod tests {
    use super::*;

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
