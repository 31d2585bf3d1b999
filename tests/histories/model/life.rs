//! One life of a record: from the claim that made it until it is deleted or has expired.

use std::time::Duration;

use bytes::Bytes;
use tower_idempotency::{ClaimId, ClaimRequest, Fingerprint, Record, State, TakeOver};

/// A time of which it is known between which two it lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) from: Duration,
    pub(crate) to: Duration,
}

impl Span {
    pub(super) fn at(time: Duration) -> Self {
        Self {
            from: time,
            to: time,
        }
    }

    fn max(self, other: Self) -> Self {
        Self {
            from: self.from.max(other.from),
            to: self.to.max(other.to),
        }
    }
}

pub(crate) struct Life {
    /// When it began and ended, by the numbers of events.
    pub(crate) began: u64,
    pub(crate) ended: Option<u64>,
    pub(crate) print: Fingerprint,
    pub(super) first: Duration,
    pub(super) retained: Span,
    pub(super) lease: Span,
    /// When the lease was last counted anew.
    leased: Duration,
    /// Why the lease would end, if it ended now.
    pub(crate) lapse: Lapse,
    pub(crate) committed: bool,
    pub(crate) tenures: Vec<Tenure>,
    pub(crate) kept: Option<Kept>,
}

/// The outcome.
pub(crate) struct Kept {
    pub(crate) fence: u64,
    pub(crate) payload: Bytes,
    pub(crate) since: u64,
}

/// The time of one owner.
pub(crate) struct Tenure {
    pub(crate) fence: u64,
    pub(super) claim_id: ClaimId,
    pub(crate) attempt: u32,
    pub(crate) began: u64,
    pub(crate) fate: Fate,
    /// Its layer has asked the store to end its lease.
    pub(crate) is_given_up: bool,
}

/// What became of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nobody else owns the record. Its lease may have ended.
    Owns,
    /// It has written its outcome.
    Completed,
    Expired,
    /// By an operator.
    Forgotten,
    Released,
    TakenOver(Lapse),
}

/// How a lease ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lapse {
    /// The owner gave it up.
    Abandoned,
    ByTime,
    /// The clock jumped, or the store ended it behind the owner's back.
    Tampered,
}

impl Life {
    pub(super) fn new(request: &ClaimRequest, tenure: Tenure, now: Duration) -> Self {
        Self {
            began: tenure.began,
            ended: None,
            print: *request.fingerprint(),
            first: now,
            retained: Span::at(now + request.retention()),
            lease: Span::at(now + request.lease()),
            leased: now,
            lapse: Lapse::ByTime,
            committed: false,
            tenures: vec![tenure],
            kept: None,
        }
    }

    /// The latest owner.
    pub(crate) fn tenure(&self) -> &Tenure {
        self.tenures.last().expect("a life begins with an owner")
    }

    pub(super) fn tenure_mut(&mut self) -> &mut Tenure {
        self.tenures
            .last_mut()
            .expect("a life begins with an owner")
    }

    /// Ends this life at this event.
    pub(super) fn end(&mut self, fate: Fate, event: u64) {
        self.ended = Some(event);
        if self.kept.is_none() {
            self.tenure_mut().fate = fate;
        }
    }

    /// Whether it may have expired by a clock that was that far already.
    pub(crate) fn may_be_gone(&self, peak: Duration) -> bool {
        peak >= self.expires().from
    }

    /// Whether it has expired.
    pub(crate) fn is_gone(&self, now: Duration) -> bool {
        now >= self.expires().to
    }

    /// A live lease keeps a record beyond its retention.
    fn expires(&self) -> Span {
        match self.kept {
            Some(_) => self.retained,
            None => self.retained.max(self.lease),
        }
    }

    pub(crate) fn is_in_flight(&self) -> bool {
        self.ended.is_none() && self.kept.is_none()
    }

    /// Whether the lease has surely ended.
    pub(crate) fn has_lapsed(&self, now: Duration) -> bool {
        self.is_in_flight() && now >= self.lease.to
    }

    /// Whether somebody surely holds a live lease.
    pub(crate) fn is_live(&self, now: Duration) -> bool {
        self.is_in_flight() && now < self.lease.from
    }

    /// Whether this claim may take over what has lapsed.
    pub(super) fn allows(&self, request: &ClaimRequest) -> bool {
        match request.take_over() {
            TakeOver::Always => true,
            TakeOver::Uncommitted => !self.committed,
            _ => false,
        }
    }

    /// Counts the lease anew.
    pub(super) fn lease_anew(&mut self, lease: Duration, now: Duration) {
        let end = now + lease;
        // Where the clock went back, a store may keep what it has given before.
        let before = if now < self.leased {
            self.lease
        } else {
            Span::at(end)
        };
        self.lease = Span {
            from: before.from.min(end),
            to: before.to.max(end),
        };
        self.leased = self.leased.max(now);
        self.lapse = Lapse::ByTime;
    }

    pub(super) fn lease_ends(&mut self, now: Duration, lapse: Lapse) {
        // What has ended before ended for the reason that it had then.
        if now < self.lease.to {
            self.lapse = lapse;
        }
        self.lease = Span {
            from: self.lease.from.min(now),
            to: self.lease.to.min(now),
        };
    }

    /// Keeps an outcome.
    pub(super) fn complete(
        &mut self,
        payload: Bytes,
        retention: Duration,
        now: Duration,
        since: u64,
    ) {
        let retained = self.first + retention;
        self.retained = if retained > now {
            Span::at(retained)
        } else {
            self.lease.max(Span::at(now))
        };
        let tenure = self.tenure_mut();
        tenure.fate = Fate::Completed;
        let fence = tenure.fence;
        self.kept = Some(Kept {
            fence,
            payload,
            since,
        });
    }

    /// Where this record, as a store shows it, is another than this one.
    pub(super) fn differs_from(&self, record: &Record, now: Duration) -> Option<&'static str> {
        let (fence, attempt) = (self.tenure().fence, self.tenure().attempt);
        let same_state = match (record.state(), &self.kept) {
            (State::Completed { payload }, Some(kept)) => kept.payload == payload,
            (State::InFlight { lease_left }, None) => {
                let from = self.lease.from.saturating_sub(now);
                (from..=self.lease.to.saturating_sub(now)).contains(lease_left)
            }
            _ => false,
        };
        let (from, to) = (self.expires().from, self.expires().to);
        let remaining = from.saturating_sub(now)..=to.saturating_sub(now);
        [
            (record.fingerprint().matches(&self.print), "fingerprint"),
            (record.fence().get() == fence, "fence"),
            (record.attempt() == attempt, "attempt"),
            (record.is_committed() == self.committed, "commitment"),
            (same_state, "state"),
            (
                record.since_first_request() == now.saturating_sub(self.first),
                "age",
            ),
            (remaining.contains(&record.remaining()), "expiry"),
        ]
        .into_iter()
        .find_map(|(same, what)| (!same).then_some(what))
    }
}
