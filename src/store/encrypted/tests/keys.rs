//! Keys and keyrings.

use super::*;

const HEX: &str = "4f2a1c9be07d5836a1b2c3d4e5f60718293a4b5c6d7e8f901122334455667788";

const BYTES: [u8; 32] = [
    0x4f, 0x2a, 0x1c, 0x9b, 0xe0, 0x7d, 0x58, 0x36, 0xa1, 0xb2, 0xc3, 0xd4, 0xe5, 0xf6, 0x07, 0x18,
    0x29, 0x3a, 0x4b, 0x5c, 0x6d, 0x7e, 0x8f, 0x90, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88,
];

#[test]
fn a_secret_may_be_written_in_hexadecimal_digits() {
    let sealed = seal(
        &EncryptionKey::new(1, BYTES),
        [9; 24].into(),
        &record(1, 1),
        b"done",
        false,
    )
    .unwrap();

    for text in [HEX, &HEX.to_uppercase(), &format!("  {HEX}\r\n")] {
        let keyring = Keyring::new(EncryptionKey::from_hex(1, text).unwrap());
        assert_eq!(open(&keyring, &record(1, 1), &sealed).unwrap(), "done");
    }
}

#[test]
fn a_text_that_is_no_secret_is_refused_without_showing_it() {
    let shorter = &HEX[1..];
    let longer = format!("{HEX}0");
    let strange = HEX.replace("9b", "+b");
    let umlaut = HEX.replace("88", "8ä");
    let said = [
        ("", "it has 0 characters"),
        (shorter, "it has 63 characters"),
        (&longer, "it has 65 characters"),
        (&strange, "its character 7 is none"),
        (&umlaut, "its character 64 is none"),
    ];
    for (text, problem) in said {
        let error = EncryptionKey::from_hex(7, text).unwrap_err();

        assert_eq!(
            error.to_string(),
            format!(
                "encryption key 7 must be 64 hexadecimal digits, as `openssl rand -hex 32` prints them: {problem}"
            )
        );
        assert!(!format!("{error:?}").contains("4f2a") && !format!("{error:?}").contains("f2a1"));
    }
}

#[test]
fn what_a_keyring_does_not_have_is_named() {
    let said = |keyring: &Keyring, sealed: &[u8]| {
        let error = open(keyring, &record(1, 1), sealed).unwrap_err();
        std::error::Error::source(&error).unwrap().to_string()
    };
    let sealed = sealed(b"done", false);

    assert_eq!(
        said(&keyring(2, 7), &sealed),
        "it is encrypted with key 1, which is not in the keyring"
    );
    assert_eq!(
        said(&keyring(1, 8), &sealed),
        "key 1 does not open it: another secret, another record's payload, or changed"
    );
    assert_eq!(
        said(&keyring(1, 7), b"\x01\0\0\xc8\0\0"),
        "it is not encrypted, or not in a form that this version of the crate knows"
    );
}

#[test]
#[should_panic(expected = "a second key with the number 1: give each secret its own")]
fn two_keys_of_one_number_are_refused() {
    let _ = keyring(1, 7)
        .also_reads(EncryptionKey::new(2, [8; 32]))
        .also_reads(EncryptionKey::new(1, [9; 32]));
}

#[test]
#[should_panic(expected = "a second key with the number 2")]
fn nor_two_of_those_that_read() {
    let _ = keyring(1, 7)
        .also_reads(EncryptionKey::new(2, [8; 32]))
        .also_reads(EncryptionKey::new(2, [8; 32]));
}

#[test]
fn debug_shows_numbers_only() {
    let keyring = keyring(4_294_967_295, 7).also_reads(EncryptionKey::new(3, [8; 32]));

    assert_eq!(
        format!("{:?}", EncryptionKey::new(3, [8; 32])),
        "EncryptionKey(3)"
    );
    assert_eq!(
        format!("{keyring:?}"),
        "Keyring { writes: 4294967295, also_reads: [3] }"
    );
    assert_eq!(
        format!("{:?}", Encrypted::new((), keyring).compress(true)),
        "Encrypted { keyring: Keyring { writes: 4294967295, also_reads: [3] }, compress: true, .. }"
    );
}

#[test]
fn secrets_are_wiped() {
    fn is_wiped<T: ZeroizeOnDrop>(_: &T) {}

    is_wiped::<XChaCha20Poly1305>(EncryptionKey::new(1, [7; 32]).cipher());
}
