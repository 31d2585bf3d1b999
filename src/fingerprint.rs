//! SHA-256 over the parameters of a request.

use std::fmt;

use subtle::ConstantTimeEq;

/// SHA-256 over the parameters of a request, with the version of its framing.
///
/// Which parameters says the [`FingerprintPolicy`](crate::FingerprintPolicy); each is preceded by its length, and
/// `tests/vectors.json` pins it. Compared in constant time only, hence no `PartialEq`.
#[derive(Clone, Copy)]
#[repr(align(8))]
pub struct Fingerprint {
    version: u8,
    digest: [u8; 32],
}

impl Fingerprint {
    /// A fingerprint from what a store has kept of it.
    #[must_use]
    pub const fn from_parts(version: u8, digest: [u8; 32]) -> Self {
        Self { version, digest }
    }

    /// The version of the framing; 1 today.
    #[must_use]
    pub const fn version(&self) -> u8 {
        self.version
    }

    /// The digest.
    #[must_use]
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Whether both are of the same version and digest, in constant time.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        let [ours, theirs] = [self, other].map(|it| it.digest.as_chunks().0.iter());
        let words = ours.zip(theirs);
        let differ = words.fold(0, |differ, (a, b)| {
            differ | (u64::from_ne_bytes(*a) ^ u64::from_ne_bytes(*b))
        });
        self.version == other.version && bool::from(differ.ct_eq(&0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.digest;
        write!(
            f,
            "Fingerprint(v{} {a:02x}{b:02x}{c:02x}{d:02x})",
            self.version
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_debug_names_the_version_and_four_bytes_of_the_digest() {
        let fingerprint = Fingerprint::from_parts(1, [0xa7; 32]);

        assert_eq!(format!("{fingerprint:?}"), "Fingerprint(v1 a7a7a7a7)");
    }

    #[test]
    fn another_version_never_matches() {
        let digest = [7; 32];

        assert!(Fingerprint::from_parts(1, digest).matches(&Fingerprint::from_parts(1, digest)));
        assert!(!Fingerprint::from_parts(1, digest).matches(&Fingerprint::from_parts(2, digest)));
    }
}
