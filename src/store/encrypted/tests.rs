//! The form of a sealed payload, and everything that is none.

use bytes::Bytes;
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use miniz_oxide::deflate::compress_to_vec;
use proptest::prelude::*;
use zeroize::ZeroizeOnDrop;

use super::sealed::{MAX_INFLATED, OVERHEAD, deflated, encrypt, open, seal};
use super::{Encrypted, EncryptionKey, Keyring};
use crate::key::RecordKey;
use crate::store::error::{StoreError, StoreErrorKind};

mod frozen;
mod hostile;
mod keys;
mod randomness;

/// A keyring of one key.
fn keyring(id: u32, secret: u8) -> Keyring {
    Keyring::new(EncryptionKey::new(id, [secret; 32]))
}

fn record(scope: u8, key: u8) -> RecordKey {
    RecordKey::from_parts([scope; 16], [key; 32])
}

/// Sealed by key 1 for the first record, with a nonce that only tests use twice.
fn sealed(payload: &[u8], compress: bool) -> Bytes {
    let key = EncryptionKey::new(1, [7; 32]);
    seal(&key, [9; 24].into(), &record(1, 1), payload, compress).unwrap()
}

fn opened(sealed: &[u8]) -> Result<Bytes, StoreError> {
    open(&keyring(1, 7), &record(1, 1), sealed)
}

#[track_caller]
fn is_unreadable(opened: &Result<Bytes, StoreError>, what: &str) {
    let kind = opened.as_ref().map_err(StoreError::kind);
    assert_eq!(kind, Err(StoreErrorKind::Unreadable), "{what}");
}

/// Of these bytes, each so often that it is worth compressing.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let runs = prop::collection::vec((any::<u8>(), 1_usize..60), 0..30);
    runs.prop_map(|runs| {
        let runs = runs.into_iter();
        runs.flat_map(|(byte, times)| vec![byte; times]).collect()
    })
}

proptest! {
    #[test]
    fn whatever_is_sealed_is_opened_again(
        payload in payload(),
        secret in any::<[u8; 32]>(),
        id in any::<u32>(),
        nonce in any::<[u8; 24]>(),
        scope in any::<[u8; 16]>(),
        key in any::<[u8; 32]>(),
        compress in any::<bool>(),
    ) {
        let record = RecordKey::from_parts(scope, key);
        let with = EncryptionKey::new(id, secret);

        let sealed = seal(&with, nonce.into(), &record, &payload, compress).unwrap();

        prop_assert!(sealed.len() <= payload.len() + OVERHEAD);
        prop_assert!(compress || sealed.len() == payload.len() + OVERHEAD);
        let opened = open(&Keyring::new(with), &record, &sealed).unwrap();
        prop_assert_eq!(opened, payload);
    }

    #[test]
    fn what_is_sealed_for_one_record_is_not_opened_for_another(
        payload in payload(),
        compress in any::<bool>(),
        scope in any::<[u8; 16]>(),
        key in any::<[u8; 32]>(),
    ) {
        let sealed = sealed(&payload, compress);
        for other in [
            RecordKey::from_parts(scope, [1; 32]),
            RecordKey::from_parts([1; 16], key),
            RecordKey::from_parts(scope, key),
        ] {
            let opened = open(&keyring(1, 7), &other, &sealed);
            is_unreadable(&opened, "another record's payload");
        }
    }
}

#[test]
fn only_what_gets_smaller_is_compressed() {
    let text = [b'a'; 200];

    assert_eq!(sealed(&text, false).len(), text.len() + OVERHEAD);
    assert!(sealed(&text, true).len() < text.len());
    // The last is as long as what it is compressed to.
    assert_eq!(compress_to_vec(b"aaaax", 1).len(), 5);
    for incompressible in [&b""[..], b"abc", b"\x01\x00\x00\xc8\x00\x00", b"aaaax"] {
        assert_eq!(sealed(incompressible, true), sealed(incompressible, false));
    }
}
