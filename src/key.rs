//! The key as a client sends it, and the digest of it that stores see.

use std::fmt;
use std::sync::Arc;

use http::Method;
use sha2::{Digest, Sha256};

/// What the client sent, validated and unquoted.
///
/// `Debug` shows nothing of it: whoever knows a key and its request can read the answer.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Arc<str>);

impl IdempotencyKey {
    pub(crate) fn new(key: &str) -> Self {
        Self(key.into())
    }

    /// The key, unquoted.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdempotencyKey(..)")
    }
}

/// All that a store ever sees of namespace, principal, endpoint and key: two digests.
///
/// The framing behind them never changes within a major version, because another one would run every
/// live key again; `tests/vectors.json` pins it.
///
/// * `scope` = the first 16 bytes of SHA-256 over a tag, namespace and principal,
/// * `key` = SHA-256 over a tag, namespace, principal, endpoint (method and path) and key,
///
/// every field preceded by its length as four big-endian bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(align(8))]
pub struct RecordKey {
    scope: [u8; 16],
    key: [u8; 32],
}

impl RecordKey {
    /// A record key from its two digests, for stores that read them back and for tests of stores.
    #[must_use]
    pub const fn from_parts(scope: [u8; 16], key: [u8; 32]) -> Self {
        Self { scope, key }
    }

    pub(crate) fn derive(
        namespace: &Namespace,
        principal: &[u8],
        endpoint: Option<(&Method, &str)>,
        key: &str,
    ) -> Self {
        let mut framed = Framed::new(b"r1");
        namespace.begin(&mut framed, principal);
        let scope = match principal {
            [] => namespace.nobody,
            _ => framed.scope(),
        };
        match endpoint {
            Some((method, path)) => {
                framed.raw(&[1]);
                framed.field(method.as_str().as_bytes());
                framed.field(path.as_bytes());
            }
            None => framed.raw(&[0]),
        }
        framed.field(key.as_bytes());
        Self {
            scope,
            key: framed.finish(),
        }
    }

    /// Digest of namespace and principal: what stores count, limit and erase by.
    #[must_use]
    pub fn scope(&self) -> &[u8; 16] {
        &self.scope
    }

    /// Digest of namespace, principal, endpoint and key.
    #[must_use]
    pub fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// The record of a [step](crate::Idempotency::step) of this operation, of the same scope: the digest of a tag, this
    /// key and the name of the step, pinned by `tests/vectors.json`.
    ///
    /// [`Store::forget`](crate::Store::forget) of the operation leaves its steps, so that they are not run again.
    ///
    /// ```
    /// # #[cfg(feature = "memory")] {
    /// use http::Method;
    /// use tower_idempotency::{IdempotencyLayer, Scope};
    ///
    /// let layer = IdempotencyLayer::default().scope(Scope::shared());
    /// let order = layer.record_key(b"", &Method::POST, "/orders", "order_456");
    /// let charge = order.step("charge");
    /// assert_eq!(charge.scope(), order.scope());
    /// assert_ne!(charge, order);
    /// # }
    /// ```
    #[must_use]
    pub fn step(&self, name: &str) -> Self {
        let mut framed = Framed::new(b"s1");
        framed.field(&self.key);
        framed.field(name.as_bytes());
        Self {
            scope: self.scope,
            key: framed.finish(),
        }
    }

    /// A name for calls to other services: a UUID (version 8, RFC 9562) derived from this record and `name`.
    pub(crate) fn child(&self, name: &str) -> ChildKey {
        let mut framed = Framed::new(b"d1");
        framed.field(&self.key);
        framed.field(name.as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&framed.finish()[..16]);
        let mut id = u128::from_be_bytes(bytes);
        id = id & !(0xf << 76) | 8 << 76;
        id = id & !(0b11 << 62) | 0b10 << 62;
        let hex = format!("{id:032x}");
        ChildKey(
            [
                &hex[..8],
                &hex[8..12],
                &hex[12..16],
                &hex[16..20],
                &hex[20..],
            ]
            .join("-")
            .into(),
        )
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "RecordKey({}/{})",
            Hex(&self.scope[..4]),
            Hex(&self.key[..4])
        )
    }
}

/// A key for a call to another service, derived from the record and a name: the same in every attempt, and in every
/// release; `tests/vectors.json` pins it.
///
/// Made by [`Idempotency::child`](crate::Idempotency::child). A UUID in form, so that services which
/// want one accept it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ChildKey(Box<str>);

impl ChildKey {
    /// The derived key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ChildKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChildKey(..)")
    }
}

/// The number of one claim: strictly increasing per record key, across deletion and expiry.
///
/// Hand it to a service that can refuse an older one, and a late first attempt can no longer act
/// after its successor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(u64);

impl Fence {
    /// The fence with this number.
    #[must_use]
    pub const fn new(fence: u64) -> Self {
        Self(fence)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// Names one claim, so that a store recognises it when it is repeated after an ambiguous time-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClaimId([u8; 16]);

impl ClaimId {
    /// The claim id with these bytes, for stores that read them back and for tests of stores.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// A claim id that no other claim has: a random half drawn once per process, and a counter.
    pub(crate) fn unique() -> Self {
        use std::hash::{BuildHasher, RandomState};
        use std::sync::LazyLock;
        use std::sync::atomic::{AtomicU64, Ordering};

        static PROCESS: LazyLock<u64> =
            LazyLock::new(|| RandomState::new().hash_one(std::process::id()));
        static NEXT: AtomicU64 = AtomicU64::new(0);

        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self((u128::from(*PROCESS) << 64 | u128::from(number)).to_be_bytes())
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// What tells the records of one service from those of another, with the scope of everybody who is nobody: most requests
/// of some services are of that one.
#[derive(Clone)]
pub(crate) struct Namespace {
    name: String,
    nobody: [u8; 16],
}

impl Namespace {
    pub(crate) fn new(name: String) -> Self {
        let nobody = [0; 16];
        let unnamed = Self { name, nobody };
        let mut framed = Framed::new(b"r1");
        unnamed.begin(&mut framed, &[]);
        let nobody = framed.scope();
        Self { nobody, ..unnamed }
    }

    #[inline]
    fn begin(&self, framed: &mut Framed, principal: &[u8]) {
        framed.field(self.name.as_bytes());
        framed.field(principal);
    }
}

/// SHA-256 over fields that are each preceded by their length, so that no two splits collide.
///
/// A tag says what is hashed. Lengths take four big-endian bytes: together that keeps the digests of a usual
/// request within few blocks. Fields are gathered, and hashed together.
pub(crate) struct Framed {
    hash: Sha256,
    gathered: [u8; 192],
    length: usize,
}

impl Framed {
    pub(crate) fn empty() -> Self {
        Self {
            hash: Sha256::new(),
            gathered: [0; 192],
            length: 0,
        }
    }

    #[inline]
    pub(crate) fn new(tag: &[u8; 2]) -> Self {
        let mut framed = Self::empty();
        framed.raw(tag);
        framed
    }

    #[inline]
    pub(crate) fn field(&mut self, bytes: &[u8]) {
        let length = Self::counted(bytes.len());
        let room = self.gathered.get_mut(self.length..);
        let room = room.and_then(|room| room.get_mut(..bytes.len().saturating_add(4)));
        // Both at once, where there is room for both.
        if let Some((first, rest)) = room.and_then(|room| room.split_first_chunk_mut()) {
            *first = length;
            rest.copy_from_slice(bytes);
            self.length += 4 + bytes.len();
        } else {
            self.raw(&length);
            self.raw(bytes);
        }
    }

    pub(crate) fn count(&mut self, count: usize) {
        self.raw(&Self::counted(count));
    }

    fn counted(count: usize) -> [u8; 4] {
        // No field of a request comes near four gigabytes.
        u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes()
    }

    #[inline]
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        let room = self.gathered.get_mut(self.length..);
        let room = room.and_then(|room| room.get_mut(..bytes.len()));
        if let Some(room) = room {
            room.copy_from_slice(bytes);
            self.length += bytes.len();
        } else {
            self.hash_gathered(bytes);
        }
    }

    #[cold]
    fn hash_gathered(&mut self, and: &[u8]) {
        self.hash.update(&self.gathered[..self.length]);
        self.hash.update(and);
        self.length = 0;
    }

    /// The hash of what there is so far, which goes on. Not by value, which would move all that has been gathered.
    pub(crate) fn hashed(&self) -> Sha256 {
        self.hash
            .clone()
            .chain_update(&self.gathered[..self.length])
    }

    /// The digest, and nothing is left.
    pub(crate) fn finish(&mut self) -> [u8; 32] {
        self.hash.update(&self.gathered[..self.length]);
        self.length = 0;
        self.hash.finalize_reset().into()
    }

    /// The digest of what there is so far, shortened to that of a scope.
    fn scope(&self) -> [u8; 16] {
        let digest = self.hashed().finalize();
        let mut scope = [0; 16];
        scope.copy_from_slice(&digest[..16]);
        scope
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_child_key_is_a_uuid_and_depends_on_record_and_name() {
        let record = RecordKey::derive(&Namespace::new(String::new()), b"", None, "k");
        let child = record.child("charge");

        assert_eq!(child, record.child("charge"));
        assert_ne!(child, record.child("refund"));
        assert_ne!(
            child,
            RecordKey::derive(&Namespace::new(String::new()), b"", None, "l").child("charge")
        );
        for name in 0..64 {
            let child = record.child(&name.to_string());
            assert_eq!(child.as_str().len(), 36);
            assert_eq!(child.as_str().as_bytes()[14], b'8');
            assert!(b"89ab".contains(&child.as_str().as_bytes()[19]), "{name}");
        }
    }

    #[test]
    fn claim_ids_tell_claims_and_processes_apart() {
        let half = |id: ClaimId, range: std::ops::Range<usize>| id.as_bytes()[range].to_vec();
        let (one, another) = (ClaimId::unique(), ClaimId::unique());

        assert_ne!(half(one, 8..16), half(another, 8..16));
        assert_eq!(half(one, 0..8), half(another, 0..8), "of the process");
        assert_ne!(half(one, 0..8), [0; 8], "drawn, not counted");
        assert_eq!(ClaimId::from_bytes([7; 16]).as_bytes(), &[7; 16]);
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(
            format!("{:?}", IdempotencyKey::new("canary")),
            "IdempotencyKey(..)"
        );
        assert_eq!(
            format!(
                "{:?}",
                RecordKey::derive(&Namespace::new(String::new()), b"", None, "k").child("x")
            ),
            "ChildKey(..)"
        );
    }

    proptest! {
        #[test]
        fn no_two_splits_of_fields_share_a_record_key(
            a in "[a-c:]{0,4}", b in "[a-c:]{0,4}", c in "[a-c:]{0,4}", d in "[a-c:]{0,4}",
        ) {
            let one = RecordKey::derive(&Namespace::new(a.clone()), b.as_bytes(), None, "k");
            let two = RecordKey::derive(&Namespace::new(c.clone()), d.as_bytes(), None, "k");
            prop_assert_eq!(one == two, (a, b) == (c, d));
        }
    }
}
