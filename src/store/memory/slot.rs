//! What stands in the map: a record in flight, or a completed one in a single buffer.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::clock::{Moment, between, later};
use super::ledger::Account;
use super::sealed::{Draft, Head, Sealed};
use crate::key::{ClaimId, Fence, RecordKey};
use crate::store::claim::{Claim, ClaimRequest, Owned, Owner, Record, Settled, State, TakeOver};

/// One record. Small, because a map that has just grown is half empty.
pub(super) enum Slot {
    InFlight(Box<Flight>),
    Completed(Sealed),
}

const _: () = assert!(size_of::<Slot>() == 16);

impl Slot {
    /// What a record adds that has just been claimed.
    pub(super) fn account_of(request: &ClaimRequest, now: Moment) -> Account {
        Account {
            scope: *request.key().scope(),
            expires: later(now, request.retention().max(request.lease())),
            bytes: Account::CLAIMED,
        }
    }

    /// A record that has just been claimed.
    pub(super) fn claimed(request: &ClaimRequest, fence: Fence, now: Moment) -> (Self, Owned) {
        let head = Head {
            fingerprint: *request.fingerprint(),
            fence,
            attempt: 1,
            committed: false,
            first: now,
            expires: later(now, request.retention()),
        };
        let flight = Box::new(Flight {
            key: *request.key(),
            head,
            claim_id: request.claim_id(),
            leased: now,
            lease_end: later(now, request.lease()),
            waiters: Waiters::default(),
        });
        let owned = flight.owned(now);
        (Self::InFlight(flight), owned)
    }

    /// Whether this is the record of a key that has its identifier.
    pub(super) fn is_of(&self, key: &RecordKey) -> bool {
        match self {
            Self::InFlight(flight) => flight.key == *key,
            Self::Completed(sealed) => sealed.is_of(key),
        }
    }

    pub(super) fn is_in_flight_of(&self, owner: &Owner) -> bool {
        matches!(self, Self::InFlight(flight) if flight.is_of(owner))
    }

    pub(super) fn is_expired(&self, now: Moment) -> bool {
        self.expires() <= now
    }

    /// In which order they are woken who wait, and nobody waits for what is completed.
    pub(super) fn order(&self) -> Option<(Moment, [u8; 32])> {
        match self {
            Self::InFlight(flight) => Some((flight.head.first, *flight.key.key())),
            Self::Completed(_) => None,
        }
    }

    fn fence(&self) -> Fence {
        match self {
            Self::InFlight(flight) => flight.head.fence,
            Self::Completed(sealed) => sealed.head().fence,
        }
    }

    pub(super) fn scope(&self) -> [u8; 16] {
        match self {
            Self::InFlight(flight) => *flight.key.scope(),
            Self::Completed(sealed) => sealed.scope(),
        }
    }

    /// What is left of the lease; zero where the record is abandoned or completed.
    pub(super) fn lease_left(&self, now: Moment) -> Duration {
        match self {
            Self::InFlight(flight) => between(now, flight.lease_end),
            Self::Completed(_) => Duration::ZERO,
        }
    }

    pub(super) fn record(&self, now: Moment) -> Record {
        let (head, state) = match self {
            Self::InFlight(flight) => {
                let lease_left = self.lease_left(now);
                let expires = flight.expires();
                let head = Head {
                    expires,
                    ..flight.head
                };
                (head, State::InFlight { lease_left })
            }
            Self::Completed(sealed) => {
                let (head, payload) = sealed.replayed();
                (head, State::Completed { payload })
            }
        };
        let Head {
            fingerprint,
            fence,
            attempt,
            committed,
            first,
            expires,
        } = head;
        Record::new(fingerprint, fence, attempt, state)
            .committed(committed)
            .age(between(first, now))
            .expires_in(between(now, expires))
    }

    pub(super) fn account(&self) -> Account {
        let (expires, bytes) = match self {
            Self::InFlight(flight) => (flight.expires(), Account::CLAIMED),
            Self::Completed(sealed) => {
                let (head, payload) = sealed.parts();
                (head.expires, Account::completed(payload.len()))
            }
        };
        Account {
            scope: self.scope(),
            expires,
            bytes,
        }
    }

    /// Answers a claim of a record that is there and has not expired.
    pub(super) fn claim(
        &mut self,
        request: &ClaimRequest,
        now: Moment,
        next_fence: impl FnOnce() -> Fence,
    ) -> (Claim, Waiters) {
        if let Self::InFlight(flight) = self {
            let mine = flight.claim_id == request.claim_id();
            if mine || flight.is_free_for(request, now) {
                flight.leased = now;
                flight.lease_end = later(now, request.lease());
                let waiters = if mine {
                    Waiters::default()
                } else {
                    flight.claim_id = request.claim_id();
                    flight.head.fence = next_fence();
                    flight.head.attempt = flight.head.attempt.saturating_add(1);
                    mem::take(&mut flight.waiters)
                };
                return (Claim::Owned(flight.owned(now)), waiters);
            }
        }
        (Claim::Existing(self.record(now)), Waiters::default())
    }

    /// Counts the lease anew for its owner.
    pub(super) fn renew(
        &mut self,
        owner: &Owner,
        lease: Duration,
        committed: bool,
        now: Moment,
    ) -> (Settled, Waiters) {
        let Some(flight) = self.flight_of(owner) else {
            return REFUSED;
        };
        let lease_end = later(now, lease);
        if now >= flight.leased {
            flight.leased = now;
            flight.lease_end = lease_end;
        } else {
            // Renewals may cross, or the clock may have gone back: what was given is not undone, and this is given too.
            flight.lease_end = flight.lease_end.max(lease_end);
        }
        flight.head.committed |= committed;
        (Settled::Applied, Waiters::default())
    }

    /// Ends the lease of its owner.
    pub(super) fn abandon(&mut self, owner: &Owner, now: Moment) -> (Settled, Waiters) {
        let Some(flight) = self.flight_of(owner) else {
            return REFUSED;
        };
        flight.lease_end = flight.lease_end.min(now);
        // They stay: the owner may come back, and whoever waits for it again is one of them.
        (Settled::Applied, flight.waiters.clone())
    }

    /// Ends the record, unless its owner has done so before.
    pub(super) fn complete(
        &mut self,
        owner: &Owner,
        draft: Draft,
        settled: Settled,
        retention: Duration,
        now: Moment,
    ) -> (Settled, Waiters) {
        let Some(flight) = self.flight_of(owner) else {
            // A fence is of one claim only, so that a completed record need not keep the claim id.
            let repeated = matches!(self, Self::Completed(_)) && self.fence() == owner.fence();
            return if repeated {
                (Settled::Applied, Waiters::default())
            } else {
                REFUSED
            };
        };
        let retained = later(flight.head.first, retention);
        let expires = if retained > now {
            retained
        } else {
            flight.lease_end.max(now)
        };
        let waiters = mem::take(&mut flight.waiters);
        let head = Head {
            expires,
            ..flight.head
        };
        *self = Self::Completed(draft.seal(&flight.key, &head));
        (settled, waiters)
    }

    /// What is left of the lease of the owner with this fence, if anything.
    pub(super) fn live_lease(&self, fence: Fence, now: Moment) -> Option<Duration> {
        let left = Some(self.lease_left(now)).filter(|left| !left.is_zero());
        left.filter(|_| self.fence() == fence)
    }

    /// Whoever waits for the owner with this fence, as long as its lease lives.
    pub(super) fn waiters_of(&mut self, fence: Fence, now: Moment) -> Option<&mut Waiters> {
        self.live_lease(fence, now)?;
        match self {
            Self::InFlight(flight) => Some(&mut flight.waiters),
            Self::Completed(_) => None,
        }
    }

    /// The waiters of a record that is gone.
    pub(super) fn into_waiters(self) -> Waiters {
        match self {
            Self::InFlight(flight) => flight.waiters,
            Self::Completed(_) => Waiters::default(),
        }
    }

    fn flight_of(&mut self, owner: &Owner) -> Option<&mut Flight> {
        match self {
            Self::InFlight(flight) if flight.is_of(owner) => Some(flight),
            _ => None,
        }
    }

    fn expires(&self) -> Moment {
        match self {
            Self::InFlight(flight) => flight.expires(),
            Self::Completed(sealed) => sealed.head().expires,
        }
    }
}

const REFUSED: (Settled, Waiters) = (Settled::FencedOut, Waiters(None));

/// A record in flight.
pub(super) struct Flight {
    key: RecordKey,
    head: Head,
    claim_id: ClaimId,
    /// When the lease was last counted anew.
    leased: Moment,
    lease_end: Moment,
    waiters: Waiters,
}

impl Flight {
    fn owned(&self, now: Moment) -> Owned {
        Owned::new(
            self.head.fence,
            self.head.attempt,
            between(now, self.lease_end),
        )
    }

    /// A live lease keeps a record beyond its retention.
    fn expires(&self) -> Moment {
        self.head.expires.max(self.lease_end)
    }

    fn is_of(&self, owner: &Owner) -> bool {
        self.head.fence == owner.fence() && self.claim_id == owner.claim_id()
    }

    /// Whether the owner is presumed lost, and this request may take its place.
    fn is_free_for(&self, request: &ClaimRequest, now: Moment) -> bool {
        let allowed = match request.take_over() {
            TakeOver::Never => false,
            TakeOver::Uncommitted => !self.head.committed,
            TakeOver::Always => true,
        };
        allowed && self.lease_end <= now && self.head.fingerprint.matches(request.fingerprint())
    }
}

/// Requests that wait for a record to leave its flight. The first of them makes what they wait on.
#[derive(Clone, Default)]
#[must_use = "wake them when no lock is held"]
pub(super) struct Waiters(Option<Arc<Notify>>);

impl Waiters {
    pub(super) fn join(&mut self) -> Arc<Notify> {
        Arc::clone(self.0.get_or_insert_default())
    }

    pub(super) fn wake(self) {
        if let Some(waiters) = self.0 {
            waiters.notify_waiters();
        }
    }
}
