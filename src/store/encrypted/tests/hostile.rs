//! Payloads that nobody has sealed, or not so.

use super::*;

/// One that compresses to a few bytes, and whose length has a single bit.
const RUN: [u8; 64] = [b'a'; 64];

#[test]
fn every_bit_counts() {
    for compress in [false, true] {
        let sealed = sealed(&RUN, compress);
        assert_eq!(opened(&sealed).unwrap(), &RUN[..]);
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);

            is_unreadable(&opened(&flipped), &format!("bit {bit} flipped"));
        }
    }
}

#[test]
fn every_byte_counts() {
    for compress in [false, true] {
        let sealed = sealed(&RUN, compress);
        for end in 0..sealed.len() {
            is_unreadable(&opened(&sealed[..end]), &format!("cut off at {end}"));
            is_unreadable(&opened(&sealed[end + 1..]), &format!("begun after {end}"));
        }
        is_unreadable(&opened(&[&sealed[..], &[0]].concat()), "a byte more");
        is_unreadable(&opened(&[&sealed[..], &sealed].concat()), "sealed twice");
    }
}

#[test]
fn a_number_of_another_key_with_the_same_secret_is_not_put_in_its_place() {
    let keyring = keyring(1, 7).also_reads(EncryptionKey::new(2, [7; 32]));
    let mut sealed = sealed(b"done", false).to_vec();
    assert!(open(&keyring, &record(1, 1), &sealed).is_ok());

    sealed[4] = 2;

    is_unreadable(&open(&keyring, &record(1, 1), &sealed), "another number");
}

/// By somebody who has the secret: everything but the length is right.
fn poisoned(content: &[u8], inflated: usize) -> Bytes {
    let key = EncryptionKey::new(1, [7; 32]);
    let inflated = u32::try_from(inflated).unwrap();
    encrypt(&key, [9; 24].into(), &record(1, 1), content, inflated).unwrap()
}

#[test]
fn a_length_that_is_not_that_of_what_is_inflated_is_unreadable() {
    let content = compress_to_vec(&RUN, 6);

    assert_eq!(opened(&poisoned(&content, 64)).unwrap(), &RUN[..]);
    for length in [1, 63, 65, 1_000_000] {
        is_unreadable(&opened(&poisoned(&content, length)), &length.to_string());
    }
    for garbage in [
        &b""[..],
        b"\0",
        b"\xff\xff\xff\xff",
        &content[..content.len() - 1],
    ] {
        is_unreadable(&opened(&poisoned(garbage, 64)), "no stream");
    }
}

#[test]
fn a_bomb_is_refused_before_there_is_room_for_it() {
    let bomb = compress_to_vec(&vec![0; MAX_INFLATED + 1], 6);
    for stated in [1, 64, 4096, MAX_INFLATED + 1, 1 << 31, u32::MAX as usize] {
        let bomb = poisoned(&bomb, stated);

        let measured = allocation_counter::measure(|| {
            is_unreadable(&opened(&bomb), &stated.to_string());
        });

        // A copy that is decrypted, what inflating works with, and what fits.
        let most = bomb.len() as u64 + 64 * 1024;
        assert!(
            measured.bytes_max < most,
            "{stated}: {measured:?} of {most}"
        );
    }
}

#[test]
fn a_payload_beyond_the_bound_is_not_compressed_because_it_would_not_be_read() {
    let (content, length) = deflated(&vec![0; MAX_INFLATED]).unwrap();
    let payload = opened(&poisoned(&content, MAX_INFLATED)).unwrap();
    assert_eq!([payload.len(), length as usize], [MAX_INFLATED; 2]);

    assert!(deflated(&vec![0; MAX_INFLATED + 1]).is_none());
}

#[test]
fn what_was_written_before_the_store_was_encrypted_is_unreadable() {
    // A response and a tombstone of the layer.
    for plain in [
        &b"\x01\0\0\xc8\0\0"[..],
        b"\x01\x01\0\xc9\0",
        b"",
        &[0; 200],
    ] {
        is_unreadable(&opened(plain), &format!("{plain:?}"));
    }
}

proptest! {
    #[test]
    fn garbage_is_unreadable_and_never_a_panic(
        garbage in prop::collection::vec(any::<u8>(), 0..200),
        inflated in any::<u32>(),
    ) {
        is_unreadable(&opened(&garbage), "garbage");
        let known = [&[0xe1, 0, 0, 0, 1], &inflated.to_be_bytes()[..], &garbage].concat();
        is_unreadable(&opened(&known), "garbage behind a header");
    }

    #[test]
    fn what_does_not_inflate_is_unreadable_and_never_a_panic(
        content in prop::collection::vec(any::<u8>(), 0..200),
        stated in 1_usize..500,
    ) {
        if let Ok(payload) = opened(&poisoned(&content, stated)) {
            prop_assert_eq!(payload.len(), stated);
        }
    }
}
