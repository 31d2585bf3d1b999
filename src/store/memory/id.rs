//! Where a record stands in the map: 64 bits of its key, mixed with a secret.

use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

use crate::key::RecordKey;

/// The identifier of a record inside one store.
pub(super) type Id = u64;

/// For maps by [`Id`].
pub(super) type BuildIdHasher = BuildHasherDefault<IdHasher>;

/// What keys are mixed with, another one in every store, so that nobody can choose keys that meet.
pub(super) struct Secret([u64; 6]);

impl Secret {
    pub(super) fn random() -> Self {
        let random = RandomState::new();
        Self([0, 1, 2, 3, 4, 5].map(|word| random.hash_one(word)))
    }

    /// With this one, keys meet whose words are zero but for the second.
    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self([0; 6])
    }

    /// What it tells of a key beyond the others of its words is the first of them, so that no record needs to keep that:
    /// see [`rest`].
    pub(super) fn id(&self, key: &RecordKey) -> Id {
        let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
        let [first, b, c, d] = key.key().as_chunks().0 else {
            unreachable!("a key is of four words");
        };
        let [e, f] = key.scope().as_chunks().0 else {
            unreachable!("a scope is of two words");
        };
        let [s, t, u, v, w, x] = self.0;
        let mixed = folded_product(word(b) ^ s, word(c) ^ t)
            ^ folded_product(word(d) ^ u, word(e) ^ v)
            ^ folded_product(word(f) ^ w, x);
        spread(word(first) ^ mixed)
    }
}

/// What a key is beside its identifier: no two keys have both in common.
pub(super) fn rest(key: &RecordKey) -> &[u8; 24] {
    let (_, rest) = key
        .key()
        .split_last_chunk()
        .expect("32 bytes are more than 24");
    rest
}

/// Mixes a number with itself, so that no two become one.
fn spread(mut number: u64) -> u64 {
    for odd in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        number = (number ^ number >> 33).wrapping_mul(odd);
    }
    number ^ number >> 33
}

fn folded_product(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product >> 64) as u64 ^ product as u64
}

/// Passes an [`Id`] through: it is a hash.
#[derive(Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, _: &[u8]) {
        unreachable!("an identifier is hashed as one number");
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = id;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn keys_with(value: u8) -> impl Iterator<Item = RecordKey> {
        (0..48).map(move |byte| {
            let mut bytes = [0; 48];
            bytes[byte] = value;
            let (scope, key) = bytes.split_first_chunk().unwrap();
            RecordKey::from_parts(*scope, key.try_into().unwrap())
        })
    }

    #[test]
    fn every_byte_of_a_key_and_its_scope_counts() {
        let secret = Secret::random();
        let keys = (1..=255).flat_map(keys_with).collect::<Vec<_>>();

        let ids = keys
            .iter()
            .map(|key| secret.id(key))
            .collect::<HashSet<_>>();

        assert_eq!(ids.len(), keys.len());
    }

    #[test]
    fn every_store_has_its_own_secret() {
        let key = RecordKey::from_parts([7; 16], [7; 32]);

        assert_ne!(Secret::random().id(&key), Secret::random().id(&key));
    }

    #[test]
    fn keys_that_are_no_digests_are_spread_all_the_same() {
        for _ in 0..40 {
            let secret = Secret::random();
            let mut shards = [0; 256];
            for number in 0..64_000_u32 {
                let mut key = [0; 32];
                key[28..].copy_from_slice(&number.to_be_bytes());
                let id = secret.id(&RecordKey::from_parts([0; 16], key));
                // As the map finds them.
                shards[(id << 7 >> 56) as usize] += 1;
            }

            assert!(
                shards.iter().all(|filled| (125..375).contains(filled)),
                "{shards:?}"
            );
        }
    }

    #[test]
    fn every_bit_of_an_identifier_is_as_often_set_as_not() {
        const IDS: u32 = 20_000;
        let secret = Secret::random();
        let mut set = [0_u32; 64];
        for number in 0..IDS {
            let number = u64::from(number)
                .wrapping_mul(0xd1b5_4a32_d192_ed03)
                .to_le_bytes();
            let mut bytes = [0; 48];
            (bytes.chunks_mut(8)).for_each(|word| word.copy_from_slice(&number));
            let (scope, key) = bytes.split_first_chunk().unwrap();
            let id = secret.id(&RecordKey::from_parts(*scope, key.try_into().unwrap()));
            for (bit, set) in set.iter_mut().enumerate() {
                *set += (id >> bit & 1) as u32;
            }
            assert_eq!(BuildIdHasher::default().hash_one(id), id);
        }

        // Within six standard deviations.
        let half = IDS / 2 - 425..IDS / 2 + 425;
        assert!(set.iter().all(|set| half.contains(set)), "{set:?}");
    }
}
