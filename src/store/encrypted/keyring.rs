//! Secrets, and the numbers by which records name them.

use std::fmt;

use chacha20poly1305::{KeyInit, XChaCha20Poly1305};

/// A secret, and the number by which records name it.
///
/// `Debug` shows the number only. The secret is wiped from memory where the key is dropped; copies that were made on
/// the way there are not.
///
/// ```
/// use tower_idempotency::EncryptionKey;
///
/// // As `openssl rand -hex 32` prints it, for instance in an environment variable.
/// let secret = "4f2a1c9be07d5836a1b2c3d4e5f60718293a4b5c6d7e8f901122334455667788";
/// let key = EncryptionKey::from_hex(1, secret)?;
/// # let _ = key;
/// # Ok::<_, tower_idempotency::InvalidEncryptionKey>(())
/// ```
pub struct EncryptionKey {
    id: u32,
    cipher: XChaCha20Poly1305,
}

impl EncryptionKey {
    /// A key with this number and these 32 random bytes.
    ///
    /// The number is no secret. It stands in every record that the key writes, so a number that once had another
    /// secret is not used again.
    ///
    /// ```
    /// use tower_idempotency::EncryptionKey;
    ///
    /// # fn secret_from_vault() -> [u8; 32] { [7; 32] }
    /// let key = EncryptionKey::new(1, secret_from_vault());
    /// # let _ = key;
    /// ```
    #[must_use]
    pub fn new(id: u32, secret: [u8; 32]) -> Self {
        let cipher = XChaCha20Poly1305::new((&secret).into());
        Self { id, cipher }
    }

    /// A key with this number and a secret of 64 hexadecimal digits, as `openssl rand -hex 32` prints them. White space
    /// around them does not count.
    ///
    /// # Errors
    ///
    /// For anything else. The error says what is wrong, and nothing of the secret.
    pub fn from_hex(id: u32, secret: &str) -> Result<Self, InvalidEncryptionKey> {
        let secret = secret.trim();
        let characters = secret.chars().count();
        if characters != 64 {
            let problem = Problem::Length(characters);
            return Err(InvalidEncryptionKey { id, problem });
        }
        let mut bytes = [0; 32];
        for (at, digit) in secret.chars().enumerate() {
            let Some(digit) = digit.to_digit(16) else {
                let problem = Problem::Digit(at + 1);
                return Err(InvalidEncryptionKey { id, problem });
            };
            bytes[at / 2] = bytes[at / 2] << 4 | digit as u8;
        }
        Ok(Self::new(id, bytes))
    }

    pub(super) fn id(&self) -> u32 {
        self.id
    }

    pub(super) fn cipher(&self) -> &XChaCha20Poly1305 {
        &self.cipher
    }
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncryptionKey({})", self.id)
    }
}

/// A text that is no secret of an [`EncryptionKey`]. Shows nothing of it.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "encryption key {id} must be 64 hexadecimal digits, as `openssl rand -hex 32` prints them: {problem}"
)]
pub struct InvalidEncryptionKey {
    id: u32,
    problem: Problem,
}

#[derive(Clone, Debug, thiserror::Error)]
enum Problem {
    #[error("it has {0} characters")]
    Length(usize),
    #[error("its character {0} is none")]
    Digit(usize),
}

/// The key that writes, and those that only read.
///
/// # Changing the key
///
/// One process after the other, without a record that cannot be read:
///
/// 1. every process gets the new key beside the old one: `Keyring::new(old).also_reads(new)`;
/// 2. once all have it, every process writes with it: `Keyring::new(new).also_reads(old)`;
/// 3. once all do, and the longest retention has passed, the old key goes: `Keyring::new(new)`.
///
/// Without the first step, a process that does not have the new key yet cannot read what the others write. A secret that
/// has leaked goes at once: what it has written is unreadable then.
///
/// ```
/// use tower_idempotency::{EncryptionKey, Keyring};
///
/// # let (secret_of_may, secret_of_june) = ([5; 32], [6; 32]);
/// let june = EncryptionKey::new(6, secret_of_june);
/// let may = EncryptionKey::new(5, secret_of_may);
/// let keyring = Keyring::new(june).also_reads(may);
/// assert_eq!(format!("{keyring:?}"), "Keyring { writes: 6, also_reads: [5] }");
/// ```
pub struct Keyring {
    writes: EncryptionKey,
    also_reads: Vec<EncryptionKey>,
}

impl Keyring {
    /// A keyring of one key, which writes and reads.
    #[must_use]
    pub const fn new(key: EncryptionKey) -> Self {
        Self {
            writes: key,
            also_reads: Vec::new(),
        }
    }

    /// Adds a key that reads what it has written once, or will write.
    ///
    /// # Panics
    ///
    /// If the keyring has a key of this number already.
    #[must_use]
    #[track_caller]
    pub fn also_reads(mut self, key: EncryptionKey) -> Self {
        assert!(
            self.find(key.id).is_none(),
            "Keyring::also_reads got a second key with the number {}: give each secret its own",
            key.id,
        );
        self.also_reads.push(key);
        self
    }

    pub(super) fn writes(&self) -> &EncryptionKey {
        &self.writes
    }

    pub(super) fn find(&self, id: u32) -> Option<&EncryptionKey> {
        let mut keys = std::iter::once(&self.writes).chain(&self.also_reads);
        keys.find(|key| key.id == id)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let also_reads: Vec<_> = self.also_reads.iter().map(EncryptionKey::id).collect();
        f.debug_struct("Keyring")
            .field("writes", &self.writes.id)
            .field("also_reads", &also_reads)
            .finish()
    }
}
