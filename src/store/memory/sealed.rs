//! A completed record in one buffer.

use std::sync::Arc;
use std::{iter, mem};

use bytes::Bytes;

use super::clock::Moment;
use crate::fingerprint::Fingerprint;
use crate::key::{Fence, RecordKey};

/// What is known of every record.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub(super) key: RecordKey,
    pub(super) fingerprint: Fingerprint,
    pub(super) fence: Fence,
    pub(super) attempt: u32,
    pub(super) committed: bool,
    /// The first claim.
    pub(super) first: Moment,
    pub(super) expires: Moment,
}

impl Head {
    /// In a buffer.
    const LENGTH: usize = 16 + 32 + 1 + 32 + 8 + 4 + 1 + 8 + 8;

    // Where that begins in a buffer which is looked for without reading the rest.
    const KEY: usize = 16;
    const FENCE: usize = 81;
    const EXPIRES: usize = 102;

    fn write(&self, mut to: &mut [u8]) {
        put(&mut to, self.key.scope());
        put(&mut to, self.key.key());
        put(&mut to, &[self.fingerprint.version()]);
        put(&mut to, self.fingerprint.digest());
        put(&mut to, &self.fence.get().to_le_bytes());
        put(&mut to, &self.attempt.to_le_bytes());
        put(&mut to, &[u8::from(self.committed)]);
        put(&mut to, &self.first.to_le_bytes());
        put(&mut to, &self.expires.to_le_bytes());
    }

    fn read(mut from: &[u8]) -> Self {
        let from = &mut from;
        // In the order of `write`, which is the order of evaluation.
        Self {
            key: RecordKey::from_parts(take(from), take(from)),
            fingerprint: Fingerprint::from_parts(u8::from_le_bytes(take(from)), take(from)),
            fence: Fence::new(u64::from_le_bytes(take(from))),
            attempt: u32::from_le_bytes(take(from)),
            committed: take(from) != [0],
            first: u64::from_le_bytes(take(from)),
            expires: u64::from_le_bytes(take(from)),
        }
    }
}

fn put(to: &mut &mut [u8], bytes: &[u8]) {
    let (here, rest) = mem::take(to).split_at_mut(bytes.len());
    here.copy_from_slice(bytes);
    *to = rest;
}

fn take<const N: usize>(from: &mut &[u8]) -> [u8; N] {
    let (here, rest) = from
        .split_first_chunk()
        .expect("a buffer begins with a whole head");
    *from = rest;
    *here
}

/// A completed record: the head and the payload in one buffer, which replays share.
#[derive(Clone)]
pub(super) struct Sealed(Arc<[u8]>);

impl Sealed {
    pub(super) fn head(&self) -> Head {
        Head::read(&self.0)
    }

    pub(super) fn is_of(&self, key: &RecordKey) -> bool {
        self.at(Head::KEY) == *key.key() && self.scope() == *key.scope()
    }

    pub(super) fn scope(&self) -> [u8; 16] {
        self.at(0)
    }

    pub(super) fn fence(&self) -> Fence {
        Fence::new(u64::from_le_bytes(self.at(Head::FENCE)))
    }

    pub(super) fn expires(&self) -> Moment {
        Moment::from_le_bytes(self.at(Head::EXPIRES))
    }

    fn at<const N: usize>(&self, begin: usize) -> [u8; N] {
        take(&mut &self.0[begin..])
    }

    pub(super) fn payload(&self) -> Bytes {
        Bytes::from_owner(self.clone())
    }

    pub(super) fn payload_length(&self) -> usize {
        self.0.len() - Head::LENGTH
    }
}

/// The payload.
impl AsRef<[u8]> for Sealed {
    fn as_ref(&self) -> &[u8] {
        &self.0[Head::LENGTH..]
    }
}

/// The buffer of a completed record without its head: made before a lock is taken, so that no payload is
/// copied under one.
pub(super) struct Draft(Arc<[u8]>);

impl Draft {
    pub(super) fn new(payload: &[u8]) -> Self {
        let length = Head::LENGTH + payload.len();
        let mut draft = Self(iter::repeat_n(0, length).collect());
        draft.bytes()[Head::LENGTH..].copy_from_slice(payload);
        draft
    }

    pub(super) fn seal(mut self, head: &Head) -> Sealed {
        head.write(self.bytes());
        Sealed(self.0)
    }

    fn bytes(&mut self) -> &mut [u8] {
        Arc::get_mut(&mut self.0).expect("a draft is not shared yet")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_alone_is_what_the_head_says() {
        let head = Head {
            key: RecordKey::from_parts([1; 16], [2; 32]),
            fingerprint: Fingerprint::from_parts(3, [4; 32]),
            fence: Fence::new(0x0506_0708_090a_0b0c),
            attempt: 0x0d0e_0f10,
            committed: true,
            first: 0x1112_1314_1516_1718,
            expires: 0x191a_1b1c_1d1e_1f20,
        };
        let sealed = Draft::new(b"payload").seal(&head);

        assert!(sealed.is_of(&head.key));
        for (scope, key) in [([1; 16], [3; 32]), ([2; 16], [2; 32])] {
            assert!(!sealed.is_of(&RecordKey::from_parts(scope, key)));
        }
        assert_eq!(sealed.scope(), [1; 16]);
        assert_eq!(sealed.fence(), head.fence);
        assert_eq!(sealed.expires(), head.expires);
        assert_eq!(sealed.head().expires, head.expires);
        assert_eq!(sealed.payload(), "payload");
    }
}
