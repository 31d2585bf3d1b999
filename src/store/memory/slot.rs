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
    /// A record that has just been claimed.
    pub(super) fn claimed(
        request: &ClaimRequest,
        fence: Fence,
        ends: Ends,
        now: Moment,
    ) -> (Self, Owned) {
        let head = Head {
            fingerprint: *request.fingerprint(),
            fence,
            attempt: 1,
            committed: false,
            first: now,
            expires: ends.retention,
        };
        let flight = Box::new(Flight {
            key: *request.key(),
            head,
            claim_id: request.claim_id(),
            leased: now,
            lease_end: ends.lease,
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
            Self::Completed(sealed) => sealed.parts().0.fence,
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
        match self {
            Self::InFlight(flight) => flight.record(now),
            Self::Completed(sealed) => sealed.record(&sealed.parts(), now),
        }
    }

    pub(super) fn account(&self) -> Account {
        match self {
            Self::InFlight(flight) => flight.account(),
            Self::Completed(sealed) => {
                let (head, payload) = sealed.parts();
                Account::completed(head.expires, payload.len())
            }
        }
    }

    /// Answers a claim of a record that is there, unless it has expired.
    pub(super) fn claim(
        &mut self,
        request: &ClaimRequest,
        now: Moment,
        next_fence: impl FnOnce() -> Fence,
    ) -> Option<Claimed> {
        match self {
            Self::InFlight(flight) => {
                if flight.expires() <= now {
                    return None;
                }
                Some(if flight.key == *request.key() {
                    flight.claim(request, now, next_fence)
                } else {
                    Claimed::left(Claim::Full)
                })
            }
            Self::Completed(sealed) => {
                let parts = sealed.parts();
                if parts.0.expires <= now {
                    return None;
                }
                Some(Claimed::left(if sealed.is_of(request.key()) {
                    Claim::Existing(sealed.record(&parts, now))
                } else {
                    Claim::Full
                }))
            }
        }
    }

    /// Counts the lease anew for its owner.
    pub(super) fn renew(
        &mut self,
        owner: &Owner,
        lease: Duration,
        committed: bool,
        now: Moment,
    ) -> Changed {
        let Some(flight) = self.flight_of(owner) else {
            return Changed::REFUSED;
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
        flight.changed(Waiters::default())
    }

    /// Ends the lease of its owner.
    pub(super) fn abandon(&mut self, owner: &Owner, now: Moment) -> Changed {
        let Some(flight) = self.flight_of(owner) else {
            return Changed::REFUSED;
        };
        flight.lease_end = flight.lease_end.min(now);
        // They stay: the owner may come back, and whoever waits for it again is one of them.
        flight.changed(flight.waiters.clone())
    }

    /// Ends the record, unless its owner has done so before.
    pub(super) fn complete(
        &mut self,
        owner: &Owner,
        draft: Draft,
        settled: Settled,
        retention: Duration,
        now: Moment,
    ) -> Changed {
        let Some(flight) = self.flight_of(owner) else {
            // A fence is of one claim only, so that a completed record need not keep the claim id.
            let repeated = matches!(self, Self::Completed(_)) && self.fence() == owner.fence();
            return Changed {
                settled: if repeated {
                    Settled::Applied
                } else {
                    Settled::FencedOut
                },
                ..Changed::REFUSED
            };
        };
        let retained = later(flight.head.first, retention);
        flight.head.expires = if retained > now {
            retained
        } else {
            flight.lease_end.max(now)
        };
        let changed = Changed {
            settled,
            waiters: mem::take(&mut flight.waiters),
            after: Some(Account::completed(flight.head.expires, draft.payload())),
        };
        *self = Self::Completed(draft.seal(&flight.key, &flight.head));
        changed
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
            Self::Completed(sealed) => sealed.parts().0.expires,
        }
    }
}

/// When what a claim is given ends.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    retention: Moment,
    lease: Moment,
}

impl Ends {
    pub(super) fn of(request: &ClaimRequest, now: Moment) -> Self {
        Self {
            retention: later(now, request.retention()),
            lease: later(now, request.lease()),
        }
    }

    /// What a record adds that is claimed like this.
    pub(super) fn account(self) -> Account {
        Account::claimed(self.retention.max(self.lease))
    }
}

/// The answer to a claim of a record that is there.
pub(super) struct Claimed {
    pub(super) claim: Claim,
    pub(super) waiters: Waiters,
    /// When the record expired before and when it does now, where that may have changed.
    pub(super) moved: Option<(Moment, Moment)>,
}

impl Claimed {
    /// One that leaves the record as it is.
    fn left(claim: Claim) -> Self {
        let (waiters, moved) = (Waiters::default(), None);
        Self {
            claim,
            waiters,
            moved,
        }
    }
}

/// The answer to an owner who changes its record.
pub(super) struct Changed {
    pub(super) settled: Settled,
    pub(super) waiters: Waiters,
    /// What the record adds now, if it was changed.
    pub(super) after: Option<Account>,
}

impl Changed {
    const REFUSED: Self = Self {
        settled: Settled::FencedOut,
        waiters: Waiters(None),
        after: None,
    };
}

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
    /// Answers a claim of this record, which has not expired.
    fn claim(
        &mut self,
        request: &ClaimRequest,
        now: Moment,
        next_fence: impl FnOnce() -> Fence,
    ) -> Claimed {
        let mine = self.claim_id == request.claim_id();
        if !mine && !self.is_free_for(request, now) {
            return Claimed::left(Claim::Existing(self.record(now)));
        }
        let before = self.expires();
        self.leased = now;
        self.lease_end = later(now, request.lease());
        let waiters = if mine {
            Waiters::default()
        } else {
            self.claim_id = request.claim_id();
            self.head.fence = next_fence();
            self.head.attempt = self.head.attempt.saturating_add(1);
            mem::take(&mut self.waiters)
        };
        Claimed {
            claim: Claim::Owned(self.owned(now)),
            waiters,
            moved: Some((before, self.expires())),
        }
    }

    fn record(&self, now: Moment) -> Record {
        let lease_left = between(now, self.lease_end);
        let record = self.head.record(State::InFlight { lease_left }, now);
        record.expires_in(between(now, self.expires()))
    }

    fn account(&self) -> Account {
        Account::claimed(self.expires())
    }

    /// What its owner has changed of it.
    fn changed(&self, waiters: Waiters) -> Changed {
        Changed {
            settled: Settled::Applied,
            waiters,
            after: Some(self.account()),
        }
    }

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
