//! The form is frozen: these were sealed by libsodium.

use super::*;

/// `201`, a `Location` and a body.
const PAYLOAD: &[u8] = b"\x01\x00\x00\xc9\x01\x03\x07/made/7\x00{\"id\":\"7\"}";

const SEALED: &str = "e10102030400000000808182838485868788898a8b8c8d8e8f9091929394959697\
    43ee5990e69744457179479e608a18aa5bf838f3b9d98ddb9d6b1cf4cf42e126b9dcee36dd171b9789";

/// `ab` a hundred times, compressed by zlib.
const COMPRESSED: &str = "e101020304000000c8808182838485868788898a8b8c8d8e8f9091929394959697\
    09a21345f18443ede560406ae7b9cf16e1800a1df3d236";

/// The first one with 0xe2 as its version.
const OF_A_LATER_VERSION: &str = "e20102030400000000808182838485868788898a8b8c8d8e8f9091929394959697\
    43ee5990e69744457179479e608a18aa5bf838f3b9d98ddb9d886ede1a2f881bfc6fac0210c895640e";

fn counted<const N: usize>(from: u8) -> [u8; N] {
    std::array::from_fn(|at| from + at as u8)
}

fn key() -> EncryptionKey {
    EncryptionKey::new(0x0102_0304, counted(0))
}

fn the_record() -> RecordKey {
    RecordKey::from_parts(counted(0x40), counted(0x60))
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digits).collect()
}

#[test]
fn a_payload_is_sealed_as_by_others() {
    let nonce = XNonce::from(counted(0x80));

    let sealed = seal(&key(), nonce, &the_record(), PAYLOAD, false).unwrap();

    assert_eq!(sealed, bytes(SEALED));
}

#[test]
fn what_others_have_sealed_is_opened() {
    let keyring = Keyring::new(key());

    let plain = open(&keyring, &the_record(), &bytes(SEALED)).unwrap();
    let compressed = open(&keyring, &the_record(), &bytes(COMPRESSED)).unwrap();

    assert_eq!(plain, PAYLOAD);
    assert_eq!(compressed, "ab".repeat(100));
}

#[test]
fn what_a_later_version_has_sealed_is_unreadable_although_the_key_fits() {
    let keyring = Keyring::new(key());

    let later = open(&keyring, &the_record(), &bytes(OF_A_LATER_VERSION));

    is_unreadable(&later, "a later version");
}
