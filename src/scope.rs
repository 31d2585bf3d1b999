//! Who sends a request: two principals never see each other's records.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use http::HeaderName;
use http::header::{AUTHORIZATION, COOKIE};
use http::request::Parts;

use crate::key::Framed;
use crate::refusal::RefusalCode;
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
/// # let _ = by_user;
/// ```
#[derive(Clone)]
pub struct Scope(Kind);

#[derive(Clone)]
enum Kind {
    Credentials,
    Shared,
    With(Arc<dyn Fn(&Parts) -> Result<Vec<u8>, RefusalCode> + Send + Sync>),
}

impl Scope {
    /// The digest of every `Authorization` line of scheme Bearer or Basic and of every `X-API-Key` line. The default.
    ///
    /// A request without any credential belongs to whoever knows its key and body. One whose only credential is a
    /// cookie or of another scheme (signatures change with each retry) is refused with 500
    /// `idempotency_scope_unresolved`: configure [`Scope::extension`].
    ///
    /// # Rotating tokens
    ///
    /// A refreshed token is another principal here, so that a retry with it runs again. Where tokens are refreshed,
    /// let authentication put the user into an extension and use [`Scope::extension`].
    #[must_use]
    pub fn credentials() -> Self {
        Self(Kind::Credentials)
    }

    /// One scope for everyone: for services behind one trusted caller.
    #[must_use]
    pub fn shared() -> Self {
        Self(Kind::Shared)
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
        Self(Kind::With(Arc::new(move |parts| {
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
        Self(Kind::With(Arc::new(move |parts| {
            principal(parts).map_err(|_| RefusalCode::Internal)
        })))
    }

    pub(crate) fn principal(&self, parts: &Parts) -> Result<Principal, RefusalCode> {
        match &self.0 {
            Kind::Credentials => credentials(parts),
            Kind::Shared => Ok(Principal::Nobody),
            Kind::With(principal) => match catch_unwind(AssertUnwindSafe(|| principal(parts))) {
                Ok(Ok(principal)) if principal.is_empty() => Err(RefusalCode::ScopeUnresolved),
                Ok(principal) => principal.map(Principal::Named),
                Err(_) => Err(RefusalCode::Internal),
            },
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
        f.write_str(match self.0 {
            Kind::Credentials => "Scope::credentials()",
            Kind::Shared => "Scope::shared()",
            Kind::With(_) => "Scope::with(..)",
        })
    }
}

/// Who sends a request.
pub(crate) enum Principal {
    Nobody,
    Credentials([u8; 32]),
    Named(Vec<u8>),
}

impl AsRef<[u8]> for Principal {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Nobody => &[],
            Self::Credentials(digest) => digest,
            Self::Named(principal) => principal,
        }
    }
}

static API_KEY: HeaderName = HeaderName::from_static("x-api-key");

fn credentials(parts: &Parts) -> Result<Principal, RefusalCode> {
    let mut framed = Framed::new(b"c1");
    let (mut known, mut unknown) = (false, parts.headers.contains_key(COOKIE));
    for line in parts.headers.get_all(AUTHORIZATION) {
        let line = line.as_bytes().trim_ascii();
        let end = line
            .iter()
            .position(u8::is_ascii_whitespace)
            .unwrap_or(line.len());
        let (scheme, rest) = line.split_at(end);
        let rest = rest.trim_ascii();
        let is_token =
            scheme.eq_ignore_ascii_case(b"bearer") || scheme.eq_ignore_ascii_case(b"basic");
        if is_token && !rest.is_empty() {
            framed.raw(b"a");
            framed.field(&scheme.to_ascii_lowercase());
            framed.field(rest);
            known = true;
        } else {
            unknown = true;
        }
    }
    for line in parts.headers.get_all(&API_KEY) {
        let key = line.as_bytes().trim_ascii();
        if key.is_empty() {
            unknown = true;
        } else {
            framed.raw(b"k");
            framed.field(key);
            known = true;
        }
    }
    match (known, unknown) {
        (true, _) => Ok(Principal::Credentials(framed.finish())),
        (false, true) => Err(RefusalCode::ScopeUnresolved),
        (false, false) => Ok(Principal::Nobody),
    }
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
        scope
            .principal(&parts)
            .map(|principal| principal.as_ref().to_vec())
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
