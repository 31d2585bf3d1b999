//! What the layer asks of a store, and what a store answers.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::fingerprint::Fingerprint;
use crate::key::{ClaimId, Fence, RecordKey};

/// Whose record a claim may take over: one that is in flight and whose lease has ended, with an equal fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TakeOver {
    /// Nobody's: the record is returned.
    Never,
    /// Only where no owner has passed its point of no return.
    Uncommitted,
    /// Also a committed one. For a reconcile hook alone.
    Always,
}

/// A request to become the owner of a record key.
#[derive(Clone, Debug)]
pub struct ClaimRequest {
    key: RecordKey,
    claim_id: ClaimId,
    fingerprint: Fingerprint,
    lease: Duration,
    retention: Duration,
    take_over: TakeOver,
}

impl ClaimRequest {
    /// A claim with `TakeOver::Uncommitted`.
    #[must_use]
    pub const fn new(
        key: RecordKey,
        claim_id: ClaimId,
        fingerprint: Fingerprint,
        lease: Duration,
        retention: Duration,
    ) -> Self {
        let take_over = TakeOver::Uncommitted;
        Self {
            key,
            claim_id,
            fingerprint,
            lease,
            retention,
            take_over,
        }
    }

    /// The same claim with another rule for lapsed records.
    #[must_use]
    pub const fn with_take_over(mut self, take_over: TakeOver) -> Self {
        self.take_over = take_over;
        self
    }

    /// The same claim with another lease.
    #[must_use]
    pub(crate) const fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Which record.
    #[must_use]
    pub fn key(&self) -> &RecordKey {
        &self.key
    }

    /// The id by which a repeated claim is recognised.
    #[must_use]
    pub fn claim_id(&self) -> ClaimId {
        self.claim_id
    }

    /// The fingerprint of the request that claims.
    #[must_use]
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// How long the owner may stay silent.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// How long a new record lives, from now.
    #[must_use]
    pub fn retention(&self) -> Duration {
        self.retention
    }

    /// What may be taken over.
    #[must_use]
    pub fn take_over(&self) -> TakeOver {
        self.take_over
    }
}

/// The answer to a [`ClaimRequest`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Claim {
    /// The request is the owner now.
    Owned(Owned),
    /// There is a record, and it was left as it is.
    Existing(Record),
    /// There is no room for another record.
    Full,
    /// This scope holds as many records as it may.
    OverQuota,
}

/// A claim that succeeded.
#[derive(Clone, Copy, Debug)]
pub struct Owned {
    fence: Fence,
    attempt: u32,
    lease_left: Duration,
}

impl Owned {
    /// The owner's fence, its attempt (1 for the first), and what is left of its lease by the store's clock.
    #[must_use]
    pub const fn new(fence: Fence, attempt: u32, lease_left: Duration) -> Self {
        Self {
            fence,
            attempt,
            lease_left,
        }
    }

    /// The number of this claim.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.fence
    }

    /// 1 for the first owner of a record, one more for each that took over.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// What is left of the lease.
    #[must_use]
    pub fn lease_left(&self) -> Duration {
        self.lease_left
    }
}

/// Who owns a record: compared by fence AND claim id, for equality, never by order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    key: RecordKey,
    fence: Fence,
    claim_id: ClaimId,
}

impl Owner {
    /// The owner that this claim made.
    #[must_use]
    pub const fn new(key: RecordKey, fence: Fence, claim_id: ClaimId) -> Self {
        Self {
            key,
            fence,
            claim_id,
        }
    }

    /// Which record.
    #[must_use]
    pub fn key(&self) -> &RecordKey {
        &self.key
    }

    /// The number of the claim.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.fence
    }

    /// The id of the claim.
    #[must_use]
    pub fn claim_id(&self) -> ClaimId {
        self.claim_id
    }
}

/// What a store keeps of one record key.
#[derive(Clone, Debug)]
pub struct Record {
    fingerprint: Fingerprint,
    fence: Fence,
    attempt: u32,
    state: State,
    committed: bool,
    age: Duration,
    expires_in: Duration,
}

impl Record {
    /// A record that is not committed, made just now, and of which it is not known when it expires.
    #[must_use]
    pub const fn new(fingerprint: Fingerprint, fence: Fence, attempt: u32, state: State) -> Self {
        let (committed, age, expires_in) = (false, Duration::ZERO, Duration::ZERO);
        Self {
            fingerprint,
            fence,
            attempt,
            state,
            committed,
            age,
            expires_in,
        }
    }

    /// Sets whether an owner has passed its point of no return.
    #[must_use]
    pub const fn committed(mut self, committed: bool) -> Self {
        self.committed = committed;
        self
    }

    /// Sets the time since the first request.
    #[must_use]
    pub const fn age(mut self, age: Duration) -> Self {
        self.age = age;
        self
    }

    /// Sets how long the record will still live.
    #[must_use]
    pub const fn expires_in(mut self, expires_in: Duration) -> Self {
        self.expires_in = expires_in;
        self
    }

    /// The same record in another state, for stores that wrap others.
    #[must_use]
    pub fn with_state(self, state: State) -> Self {
        Self { state, ..self }
    }

    /// The fingerprint of the first request.
    #[must_use]
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// The number of the latest claim.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.fence
    }

    /// How many owners there have been.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// In flight or completed.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    pub(crate) fn into_state(self) -> State {
        self.state
    }

    /// Whether an owner has passed its point of no return.
    #[must_use]
    pub fn is_committed(&self) -> bool {
        self.committed
    }

    /// The time since the first request.
    #[must_use]
    pub fn since_first_request(&self) -> Duration {
        self.age
    }

    /// How long the record will still live.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.expires_in
    }

    /// Whether the record is in flight with a lease that has not ended.
    #[must_use]
    pub fn is_live(&self) -> bool {
        !self.state.lease_left().is_zero()
    }
}

/// The state of a [`Record`]. `Debug` shows nothing of the payload.
#[derive(Clone)]
#[non_exhaustive]
pub enum State {
    /// Claimed and not yet ended. With no lease left it is abandoned.
    InFlight {
        /// What is left of the lease by the store's clock.
        lease_left: Duration,
    },
    /// Ended: the payload is a response or a tombstone, in the layer's wire form.
    Completed {
        /// Opaque to the store.
        payload: Bytes,
    },
}

impl State {
    /// What is left of the lease; zero where the record is abandoned or completed.
    #[must_use]
    pub fn lease_left(&self) -> Duration {
        match self {
            Self::InFlight { lease_left } => *lease_left,
            Self::Completed { .. } => Duration::ZERO,
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InFlight { lease_left } => write!(f, "InFlight({lease_left:?} left)"),
            Self::Completed { payload } => write!(f, "Completed({} bytes)", payload.len()),
        }
    }
}

/// What an owner leaves behind. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Completed {
    payload: Bytes,
    tombstone: Bytes,
    retention: Duration,
}

impl Completed {
    /// A payload, what to write where it does not fit, and how long to keep it from the first request.
    #[must_use]
    pub const fn new(payload: Bytes, tombstone: Bytes, retention: Duration) -> Self {
        Self {
            payload,
            tombstone,
            retention,
        }
    }

    /// The response in the layer's wire form.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Written where the payload does not fit: says that the operation is done.
    #[must_use]
    pub fn tombstone(&self) -> &Bytes {
        &self.tombstone
    }

    /// How long the record lives, counted from the first request.
    #[must_use]
    pub fn retention(&self) -> Duration {
        self.retention
    }

    /// Both texts changed alike, for stores that wrap others (encryption, compression).
    #[must_use]
    pub fn map(self, mut f: impl FnMut(Bytes) -> Bytes) -> Self {
        let (payload, tombstone) = (f(self.payload), f(self.tombstone));
        Self {
            payload,
            tombstone,
            ..self
        }
    }
}

impl fmt::Debug for Completed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completed")
            .field("bytes", &self.payload.len())
            .field("retention", &self.retention)
            .finish_non_exhaustive()
    }
}

/// What became of an owner's write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Settled {
    /// Written.
    Applied,
    /// Written, the tombstone in place of the payload.
    Tombstoned,
    /// Refused: another claim owns the record, or it has ended.
    FencedOut,
    /// Refused: there is no such record any more.
    Missing,
}

/// The answer to [`Store::forget`](crate::Store::forget).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Forgotten {
    /// The record is gone; its owner, if any, is fenced out.
    Forgotten,
    /// There was no such record.
    Unknown,
    /// The record is in flight with a live lease and `force` was not given; nothing was changed.
    InFlight,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_tells_how_much_and_not_what() {
        let canary = Bytes::from_static(b"canary");
        let completed = Completed::new(canary.clone(), canary.clone(), Duration::from_secs(7));
        let lease_left = Duration::from_secs(7);

        assert_eq!(
            format!("{completed:?}"),
            "Completed { bytes: 6, retention: 7s, .. }"
        );
        let states = [
            State::InFlight { lease_left },
            State::Completed { payload: canary },
        ];
        assert_eq!(
            format!("{states:?}"),
            "[InFlight(7s left), Completed(6 bytes)]"
        );
    }
}
