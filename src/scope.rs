//! Who sends a request: two principals never see each other's records.

use std::fmt;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, HeaderName};

use crate::key::Framed;
use crate::lines::{API_KEY, Head, line, lines};
use crate::refusal::RefusalCode;
use crate::shield::shielded;
use crate::store::error::BoxError;

/// How the layer tells who sends a request. Together with namespace and endpoint it is the scope of a key.
///
/// ```
/// use tower_idempotency::Scope;
///
/// #[derive(Clone)]
/// struct UserId(u64);
///
/// let by_user = Scope::extension(|user: &UserId| user.0.to_string());
/// let by_tenant = Scope::headers([http::HeaderName::from_static("x-tenant-id")]);
/// # let _ = (by_user, by_tenant);
/// ```
#[derive(Clone)]
pub struct Scope {
    sender: Sender,
    anonymous: Anonymous,
    by_endpoint: bool,
}

#[derive(Clone)]
enum Sender {
    Credentials,
    Headers(Arc<[HeaderName]>),
    Shared,
    Extension(Resolver),
    With(Resolver),
}

type Resolver = Arc<dyn Fn(&Parts) -> Result<Vec<u8>, RefusalCode> + Send + Sync>;

/// What becomes of a request that says nothing of who sends it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Anonymous {
    /// All such requests are of one principal: an answer belongs to whoever knows key and body. The default.
    #[default]
    Share,
    /// 500 `idempotency_scope_unresolved`.
    Refuse,
    /// With a valid key it passes through, also where one is required; without one it is refused there as any other.
    Bypass,
}

impl Scope {
    /// The digest of every `Authorization` line of scheme Bearer or Basic and of every `X-API-Key` line. The default.
    ///
    /// A request without any credential belongs to whoever knows its key and body, unless
    /// [`anonymous`](Self::anonymous) says otherwise. One whose only credential is a cookie or of another scheme
    /// (signatures change with each retry) is refused with 500 `idempotency_scope_unresolved`: configure
    /// [`Scope::extension`].
    ///
    /// # Rotating tokens
    ///
    /// A refreshed token is another principal here, so that a retry with it runs again. Where tokens are refreshed,
    /// let authentication put the user into an extension and use [`Scope::extension`].
    #[must_use]
    pub fn credentials() -> Self {
        Self::new(Sender::Credentials)
    }

    /// The digest of all lines of these headers, whatever their order in the list: for services behind a gateway that
    /// authenticates, and that clients cannot pass by.
    ///
    /// Where none of them is there, [`anonymous`](Self::anonymous) decides; an empty line is refused with 500
    /// `idempotency_scope_unresolved`.
    ///
    /// # Panics
    ///
    /// Without a header.
    #[must_use]
    #[track_caller]
    pub fn headers<const N: usize>(mut names: [HeaderName; N]) -> Self {
        assert!(N > 0, "Scope::headers takes at least one header");
        names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        Self::new(Sender::Headers(names.into()))
    }

    /// One scope for everyone: for services behind one trusted caller, and for webhooks.
    #[must_use]
    pub fn shared() -> Self {
        Self::new(Sender::Shared)
    }

    /// What authentication, in a middleware outside this layer, has put into the request's extensions.
    ///
    /// A missing extension or an empty principal is refused with 500 `idempotency_scope_unresolved`; a panic with 500
    /// `idempotency_internal`. The closure gives an owned value (`String`, `Vec<u8>`, `[u8; 16]`, ...).
    #[must_use]
    pub fn extension<T, P>(principal: impl Fn(&T) -> P + Send + Sync + 'static) -> Self
    where
        T: Send + Sync + 'static,
        P: AsRef<[u8]>,
    {
        Self::new(Sender::Extension(Arc::new(move |parts| {
            let extension = parts.extensions.get().ok_or(RefusalCode::ScopeUnresolved)?;
            Ok(principal(extension).as_ref().to_vec())
        })))
    }

    /// What a closure makes of the request's head.
    ///
    /// An empty principal is refused with 500 `idempotency_scope_unresolved`; an error or a panic with 500
    /// `idempotency_internal`.
    #[must_use]
    pub fn with(
        principal: impl Fn(&Parts) -> Result<Vec<u8>, BoxError> + Send + Sync + 'static,
    ) -> Self {
        Self::new(Sender::With(Arc::new(move |parts| {
            principal(parts).map_err(|_| RefusalCode::Internal)
        })))
    }

    /// What becomes of a request without any credential, or without any of the headers. Default:
    /// [`Anonymous::Share`].
    ///
    /// ```
    /// use tower_idempotency::{Anonymous, IdempotencyLayer, Scope};
    ///
    /// let scope = Scope::credentials().anonymous(Anonymous::Refuse);
    /// let layer = IdempotencyLayer::default().scope(scope);
    /// # let _ = layer;
    /// ```
    ///
    /// # Panics
    ///
    /// Beside [`shared`](Self::shared), [`extension`](Self::extension) and [`with`](Self::with), which know no anonymous
    /// request.
    #[must_use]
    #[track_caller]
    pub fn anonymous(mut self, anonymous: Anonymous) -> Self {
        assert!(
            matches!(self.sender, Sender::Credentials | Sender::Headers(_)),
            "anonymous takes effect on Scope::credentials and Scope::headers only, not on {self:?}"
        );
        self.anonymous = anonymous;
        self
    }

    /// One key for all endpoints: the same key at another method or path is a mismatch, where by default it is another
    /// key. With a [`FingerprintPolicy`](crate::FingerprintPolicy) that ignores method and path it is a replay.
    ///
    /// ```
    /// use tower_idempotency::{IdempotencyLayer, Scope};
    ///
    /// let layer = IdempotencyLayer::default().scope(Scope::credentials().without_endpoint());
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn without_endpoint(mut self) -> Self {
        self.by_endpoint = false;
        self
    }

    fn new(sender: Sender) -> Self {
        Self {
            sender,
            anonymous: Anonymous::default(),
            by_endpoint: true,
        }
    }

    pub(crate) fn is_by_endpoint(&self) -> bool {
        self.by_endpoint
    }

    /// Who sends this request; `None` where it is to pass through.
    pub(crate) fn principal(&self, head: &Head<'_>) -> Result<Option<Principal>, RefusalCode> {
        let principal = match &self.sender {
            Sender::Credentials => credentials(head)?,
            Sender::Headers(names) => headers(&head.parts.headers, names)?,
            Sender::Shared => return Ok(Some(Principal::Nobody)),
            Sender::Extension(principal) | Sender::With(principal) => {
                let principal =
                    shielded(|| principal(head.parts)).ok_or(RefusalCode::Internal)??;
                if principal.is_empty() {
                    return Err(RefusalCode::ScopeUnresolved);
                }
                Principal::Named(principal)
            }
        };
        match (&principal, self.anonymous) {
            (Principal::Nobody, Anonymous::Refuse) => Err(RefusalCode::ScopeUnresolved),
            (Principal::Nobody, Anonymous::Bypass) => Ok(None),
            _ => Ok(Some(principal)),
        }
    }
}

impl Default for Scope {
    fn default() -> Self {
        Self::credentials()
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.sender {
            Sender::Credentials => "Scope::credentials()",
            Sender::Headers(_) => "Scope::headers(..)",
            Sender::Shared => "Scope::shared()",
            Sender::Extension(_) => "Scope::extension(..)",
            Sender::With(_) => "Scope::with(..)",
        })
    }
}

/// Who sends a request.
pub(crate) enum Principal {
    Nobody,
    Digest([u8; 32]),
    Named(Vec<u8>),
}

impl AsRef<[u8]> for Principal {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Nobody => &[],
            Self::Digest(digest) => digest,
            Self::Named(principal) => principal,
        }
    }
}

fn credentials(head: &Head<'_>) -> Result<Principal, RefusalCode> {
    let mut unknown = head.cookie.is_there();
    if head.authorization.is_there() || head.api_key.is_there() {
        let mut known = false;
        let mut framed = Framed::new(b"c1");
        let headers = &head.parts.headers;
        head.authorization.each(headers, &AUTHORIZATION, |line| {
            let line = line.as_bytes().trim_ascii();
            let end = line.iter().position(u8::is_ascii_whitespace);
            let (scheme, rest) = line.split_at(end.unwrap_or(line.len()));
            let schemes = [&b"bearer"[..], b"basic"];
            let scheme = schemes.iter().find(|it| scheme.eq_ignore_ascii_case(it));
            match (scheme, rest.trim_ascii()) {
                (None, _) | (_, []) => unknown = true,
                (Some(scheme), token) => {
                    framed.raw(b"a");
                    framed.field(scheme);
                    framed.field(token);
                    known = true;
                }
            }
        });
        head.api_key.each(headers, &API_KEY, |line| {
            match line.as_bytes().trim_ascii() {
                [] => unknown = true,
                key => {
                    framed.raw(b"k");
                    framed.field(key);
                    known = true;
                }
            }
        });
        if known {
            return Ok(Principal::Digest(framed.finish()));
        }
    }
    if unknown {
        return Err(RefusalCode::ScopeUnresolved);
    }
    Ok(Principal::Nobody)
}

fn headers(headers: &HeaderMap, names: &[HeaderName]) -> Result<Principal, RefusalCode> {
    if !names.iter().any(|name| line(headers, name).is_some()) {
        return Ok(Principal::Nobody);
    }
    let mut framed = Framed::new(b"h1");
    for name in names {
        framed.field(name.as_str().as_bytes());
        framed.count(lines(headers, name).count());
        for line in lines(headers, name) {
            let line = line.as_bytes().trim_ascii();
            if line.is_empty() {
                return Err(RefusalCode::ScopeUnresolved);
            }
            framed.field(line);
        }
    }
    Ok(Principal::Digest(framed.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(scope: &Scope, headers: &[(&str, &str)]) -> Result<Vec<u8>, RefusalCode> {
        let mut request = http::Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let principal = scope.principal(&Head::of(&parts, None))?;
        Ok(principal.expect("not bypassed").as_ref().to_vec())
    }

    #[test]
    fn credentials_are_told_apart() {
        let scope = Scope::credentials();
        let principals = [
            of(&scope, &[]).unwrap(),
            of(&scope, &[("authorization", "Bearer a")]).unwrap(),
            of(&scope, &[("authorization", "Basic a")]).unwrap(),
            of(&scope, &[("x-api-key", "a")]).unwrap(),
            of(&scope, &[("x-api-key", "a"), ("x-api-key", "b")]).unwrap(),
            of(&scope, &[("x-api-key", "ab")]).unwrap(),
            of(&scope, &[("authorization", "Bearer a"), ("x-api-key", "a")]).unwrap(),
        ];

        let distinct = principals.iter().collect::<std::collections::HashSet<_>>();

        assert_eq!(distinct.len(), principals.len());
        assert_eq!(
            of(&scope, &[("authorization", "bearer   a")]),
            of(&scope, &[("authorization", "Bearer a")])
        );
    }

    #[test]
    fn a_credential_that_cannot_be_read_is_refused() {
        let scope = Scope::credentials();

        for header in [
            ("cookie", "session=1"),
            ("authorization", "Signature a"),
            ("authorization", ""),
            ("authorization", "Bearer "),
            ("x-api-key", " "),
        ] {
            assert_eq!(
                of(&scope, &[header]),
                Err(RefusalCode::ScopeUnresolved),
                "{header:?}"
            );
        }
        let beside_a_known_one = [("cookie", "a=1"), ("x-api-key", "k")];
        assert_eq!(
            of(&scope, &beside_a_known_one),
            of(&scope, &[("x-api-key", "k")])
        );
    }

    #[test]
    fn headers_are_told_apart_and_their_order_in_the_list_does_not_matter() {
        let names = ["x-tenant", "x-user"].map(HeaderName::from_static);
        let scope = Scope::headers(names.clone());
        let turned = Scope::headers([names[1].clone(), names[0].clone()]);
        let requests: [&[(&str, &str)]; 7] = [
            &[],
            &[("x-tenant", "a")],
            &[("x-user", "a")],
            &[("x-tenant", "a"), ("x-user", "a")],
            &[("x-tenant", "a"), ("x-tenant", "a")],
            &[("x-tenant", "aa")],
            &[("x-tenant", "A")],
        ];

        let principals = requests.map(|headers| of(&scope, headers).unwrap());

        let distinct = principals.iter().collect::<std::collections::HashSet<_>>();
        assert_eq!(distinct.len(), requests.len());
        assert_eq!(
            principals,
            requests.map(|headers| of(&turned, headers).unwrap())
        );
        for empty in [
            &[("x-tenant", " ")][..],
            &[("x-tenant", ""), ("x-user", "a")],
        ] {
            assert_eq!(
                of(&scope, empty),
                Err(RefusalCode::ScopeUnresolved),
                "{empty:?}"
            );
        }
    }

    #[test]
    fn whoever_says_nothing_is_shared_refused_or_passed_by() {
        let (nobody, ()) = http::Request::new(()).into_parts();
        let nobody = Head::of(&nobody, None);
        let names = || [HeaderName::from_static("x-user")];
        for scope in [Scope::credentials(), Scope::headers(names())] {
            let of = |anonymous| scope.clone().anonymous(anonymous).principal(&nobody);

            assert!(matches!(of(Anonymous::Share), Ok(Some(Principal::Nobody))));
            assert!(matches!(
                of(Anonymous::Refuse),
                Err(RefusalCode::ScopeUnresolved)
            ));
            assert!(matches!(of(Anonymous::Bypass), Ok(None)));
        }
    }

    #[test]
    #[should_panic(expected = "not on Scope::shared()")]
    fn what_knows_no_anonymous_request_takes_no_rule_for_it() {
        let _ = Scope::shared().anonymous(Anonymous::Refuse);
    }

    #[test]
    fn a_resolver_that_fails_never_falls_back() {
        let missing = Scope::extension(|user: &String| user.clone());
        let empty = Scope::with(|_| Ok(Vec::new()));
        let failing = Scope::with(|_| Err("no user".into()));
        let panicking = Scope::with(|_| panic!("a resolver that panics"));

        assert_eq!(of(&missing, &[]), Err(RefusalCode::ScopeUnresolved));
        assert_eq!(of(&empty, &[]), Err(RefusalCode::ScopeUnresolved));
        assert_eq!(of(&failing, &[]), Err(RefusalCode::Internal));
        assert_eq!(of(&panicking, &[]), Err(RefusalCode::Internal));
    }
}
