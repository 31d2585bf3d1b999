//! A completed record in one buffer.

use std::iter;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::clock::{Moment, between, later};
use super::id::rest;
use crate::fingerprint::Fingerprint;
use crate::key::{Fence, RecordKey};
use crate::store::claim::{Record, State};

/// What is known of every record beside its key.
#[derive(Clone, Copy)]
#[cfg_attr(test, derive(Debug))]
pub(super) struct Head {
    pub(super) fingerprint: Fingerprint,
    pub(super) fence: Fence,
    pub(super) attempt: u32,
    pub(super) committed: bool,
    /// The first claim.
    pub(super) first: Moment,
    pub(super) expires: Moment,
}

impl Head {
    /// What most records have that such an owner completes.
    pub(super) fn likely(fence: Fence, now: Moment, retention: Duration) -> Self {
        Self {
            fingerprint: Fingerprint::from_parts(Numbers::USUAL_VERSION, [0; 32]),
            fence,
            attempt: 1,
            committed: false,
            first: now,
            expires: later(now, retention),
        }
    }

    pub(super) fn record(&self, state: State, now: Moment) -> Record {
        Record::new(self.fingerprint, self.fence, self.attempt, state)
            .committed(self.committed)
            .age(between(self.first, now))
            .expires_in(between(now, self.expires))
    }
}

/// A completed record, in a buffer which replays share: its scope, what of its key its identifier does not tell, the digest
/// of its fingerprint, then numbers in as few bytes as they need, and the payload.
pub(super) struct Sealed(Arc<[u8]>);

// Where these begin.
const REST: usize = 16;
const DIGEST: usize = REST + 24;
const NUMBERS: usize = DIGEST + 32;

impl Sealed {
    /// Whether this is the record of a key that has its identifier.
    pub(super) fn is_of(&self, key: &RecordKey) -> bool {
        self.0[REST..DIGEST] == *rest(key) && self.0[..REST] == *key.scope()
    }

    pub(super) fn scope(&self) -> [u8; 16] {
        part(&self.0)
    }

    pub(super) fn parts(&self) -> (Head, &[u8]) {
        let (numbers, payload) = Numbers::read(&self.0[NUMBERS..]);
        (numbers.head(part(&self.0[DIGEST..])), payload)
    }

    /// The record of which these are the parts.
    pub(super) fn record(&self, (head, payload): &(Head, &[u8]), now: Moment) -> Record {
        let payload = Bytes::from_owner(Payload {
            begin: self.0.len() - payload.len(),
            buffer: Arc::clone(&self.0),
        });
        head.record(State::Completed { payload }, now)
    }
}

/// A payload where it stands.
struct Payload {
    buffer: Arc<[u8]>,
    begin: usize,
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[self.begin..]
    }
}

fn part<const N: usize>(from: &[u8]) -> [u8; N] {
    *from
        .first_chunk()
        .expect("a buffer begins with a whole head")
}

/// The numbers of a head, as they are packed.
struct Numbers {
    /// The attempt, and three marks.
    marked: u64,
    first: Moment,
    /// From the first claim to the expiry, in hours or in nanoseconds.
    lives: u64,
    fence: u64,
    /// Of the fingerprint, if it is not the usual one.
    version: u8,
}

impl Numbers {
    const USUAL_VERSION: u8 = 1;
    /// Most retentions are whole hours.
    const HOUR: u64 = 3_600_000_000_000;

    const COMMITTED: u64 = 1;
    const OTHER_VERSION: u64 = 2;
    const IN_HOURS: u64 = 4;
    const ATTEMPT: u32 = 3;

    /// Bytes that they take at most.
    const MOST: usize = 4 * LONGEST + 1;

    fn of(head: &Head) -> Self {
        let version = head.fingerprint.version();
        // A clock may have gone back: then it expires before its first claim.
        let lives = head.expires.wrapping_sub(head.first);
        let in_hours = lives.is_multiple_of(Self::HOUR);
        let mark = |is_set, mark| if is_set { mark } else { 0 };
        Self {
            marked: u64::from(head.attempt) << Self::ATTEMPT
                | mark(head.committed, Self::COMMITTED)
                | mark(version != Self::USUAL_VERSION, Self::OTHER_VERSION)
                | mark(in_hours, Self::IN_HOURS),
            first: head.first,
            lives: if in_hours { lives / Self::HOUR } else { lives },
            fence: head.fence.get(),
            version,
        }
    }

    fn head(&self, digest: [u8; 32]) -> Head {
        Head {
            fingerprint: Fingerprint::from_parts(self.version, digest),
            fence: Fence::new(self.fence),
            attempt: (self.marked >> Self::ATTEMPT) as u32,
            committed: self.is_marked(Self::COMMITTED),
            first: self.first,
            expires: self.first.wrapping_add(if self.is_marked(Self::IN_HOURS) {
                self.lives * Self::HOUR
            } else {
                self.lives
            }),
        }
    }

    fn is_marked(&self, mark: u64) -> bool {
        self.marked & mark != 0
    }

    fn length(&self) -> usize {
        let numbers = [self.marked, self.first, self.lives, self.fence];
        let version = usize::from(self.is_marked(Self::OTHER_VERSION));
        numbers.map(length).iter().sum::<usize>() + version
    }

    /// Writes them at the begin of a buffer and says how long they are.
    fn write(&self, to: &mut [u8; Self::MOST]) -> usize {
        let mut length = 0;
        for number in [self.marked, self.first, self.lives, self.fence] {
            length += put_number(&mut to[length..], number);
        }
        if self.is_marked(Self::OTHER_VERSION) {
            to[length] = self.version;
            length += 1;
        }
        length
    }

    /// The numbers at the begin of a buffer, and what follows them.
    fn read(from: &[u8]) -> (Self, &[u8]) {
        let mut padded = [0; Self::MOST];
        let bytes = from.first_chunk().unwrap_or_else(|| {
            padded[..from.len()].copy_from_slice(from);
            &padded
        });
        let mut length = 0;
        let mut next = || {
            let (number, taken) = number(&bytes[length..]);
            length += taken;
            number
        };
        let mut numbers = Self {
            marked: next(),
            first: next(),
            lives: next(),
            fence: next(),
            version: Self::USUAL_VERSION,
        };
        if numbers.is_marked(Self::OTHER_VERSION) {
            numbers.version = bytes[length];
            length += 1;
        }
        (numbers, &from[length..])
    }
}

/// How many bytes a number takes: seven bits in each, or all 64 after one. The first byte tells, by how many of its bits
/// are zero before one is set, from the lowest.
fn length(number: u64) -> usize {
    if number >> 56 == 0 {
        (number | 1).ilog2() as usize / 7 + 1
    } else {
        LONGEST
    }
}

const LONGEST: usize = 9;

/// Says how many bytes it takes; up to eight are written in any case.
fn put_number(to: &mut [u8], number: u64) -> usize {
    let length = length(number);
    if length == LONGEST {
        to[0] = 0;
        to[1..LONGEST].copy_from_slice(&number.to_le_bytes());
    } else {
        let told = (number << 1 | 1) << (length - 1);
        to[..8].copy_from_slice(&told.to_le_bytes());
    }
    length
}

/// The number at the begin of so many bytes at least, and how many of them it takes.
fn number(from: &[u8]) -> (u64, usize) {
    let told = u64::from_le_bytes(part(from));
    let length = told.trailing_zeros() as usize + 1;
    if length < LONGEST {
        (told << (64 - 8 * length) >> (64 - 7 * length), length)
    } else {
        (u64::from_le_bytes(part(&from[1..])), LONGEST)
    }
}

/// The buffer of a completed record without its head: made before a lock is taken, so that no payload is
/// copied under one.
pub(super) struct Draft {
    buffer: Arc<[u8]>,
    /// Where the payload begins.
    payload: usize,
}

impl Draft {
    /// For a payload, and a head that is as long as this one.
    pub(super) fn new(payload: &[u8], head: &Head) -> Self {
        Self::with_room(NUMBERS + Numbers::of(head).length(), payload)
    }

    fn with_room(room: usize, payload: &[u8]) -> Self {
        let mut buffer: Arc<[u8]> = iter::repeat_n(0, room + payload.len()).collect();
        unshared(&mut buffer)[room..].copy_from_slice(payload);
        Self {
            buffer,
            payload: room,
        }
    }

    /// Copies the payload where the head is of another length after all, which is rare.
    pub(super) fn seal(mut self, key: &RecordKey, head: &Head) -> Sealed {
        let mut numbers = [0; Numbers::MOST];
        let length = Numbers::of(head).write(&mut numbers);
        if NUMBERS + length != self.payload {
            self = Self::with_room(NUMBERS + length, &self.buffer[self.payload..]);
        }
        let buffer = unshared(&mut self.buffer);
        buffer[..REST].copy_from_slice(key.scope());
        buffer[REST..DIGEST].copy_from_slice(rest(key));
        buffer[DIGEST..NUMBERS].copy_from_slice(head.fingerprint.digest());
        buffer[NUMBERS..][..length].copy_from_slice(&numbers[..length]);
        Sealed(self.buffer)
    }

    /// The bytes of its payload.
    pub(super) fn payload(&self) -> usize {
        self.buffer.len() - self.payload
    }
}

fn unshared(buffer: &mut Arc<[u8]>) -> &mut [u8] {
    Arc::get_mut(buffer).expect("a draft is not shared yet")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn heads() -> impl Strategy<Value = Head> {
        let number = || (any::<u64>(), 0..64).prop_map(|(number, shift)| number >> shift);
        let times = (number(), number(), any::<bool>());
        let claims = (number(), any::<u32>(), any::<bool>());
        (any::<u8>(), times, claims).prop_map(|(version, times, claims)| {
            let (first, lives, in_hours) = times;
            let (fence, attempt, committed) = claims;
            let lives = if in_hours {
                lives / Numbers::HOUR * Numbers::HOUR
            } else {
                lives
            };
            Head {
                fingerprint: Fingerprint::from_parts(version, [4; 32]),
                fence: Fence::new(fence),
                attempt,
                committed,
                first,
                expires: first.wrapping_add(lives),
            }
        })
    }

    fn members(head: Head) -> impl PartialEq + std::fmt::Debug {
        let fingerprint = (head.fingerprint.version(), *head.fingerprint.digest());
        let claims = (head.fence, head.attempt, head.committed);
        (fingerprint, claims, head.first, head.expires)
    }

    proptest! {
        #[test]
        fn what_is_sealed_is_read_again(head in heads(), like in heads(), payload: Vec<u8>) {
            let key = RecordKey::from_parts([1; 16], [2; 32]);
            let sealed = Draft::new(&payload, &like).seal(&key, &head);

            let parts = sealed.parts();
            prop_assert_eq!(members(parts.0), members(head));
            prop_assert_eq!(parts.1, &payload);
            let record = sealed.record(&parts, 0);
            let is_replayed = matches!(record.state(), State::Completed { payload: read } if *read == payload);
            prop_assert!(is_replayed);
            prop_assert_eq!(sealed.scope(), [1; 16]);
            prop_assert!(sealed.is_of(&key));
        }
    }

    #[test]
    fn a_record_is_of_its_key_alone() {
        let head = Head {
            fingerprint: Fingerprint::from_parts(1, [4; 32]),
            fence: Fence::new(5),
            attempt: 1,
            committed: false,
            first: 6,
            expires: 6 + 24 * Numbers::HOUR,
        };
        let (scope, key) = ([1; 16], [2; 32]);
        let sealed = Draft::new(b"payload", &head).seal(&RecordKey::from_parts(scope, key), &head);

        for byte in 0..16 {
            let mut scope = scope;
            scope[byte] += 1;
            assert!(!sealed.is_of(&RecordKey::from_parts(scope, key)));
        }
        // The others are told by the identifier.
        for byte in 8..32 {
            let mut key = key;
            key[byte] += 1;
            assert!(!sealed.is_of(&RecordKey::from_parts(scope, key)));
        }
        assert_eq!(sealed.0.len(), NUMBERS + 4 + "payload".len());
    }
}
