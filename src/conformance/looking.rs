//! What the records of a store are expected to say.

use std::time::Duration;

use tokio::time::Instant;

use super::bench::{Bench, Held, Write, payload};
use crate::key::RecordKey;
use crate::store::claim::{Owner, Record, Settled};

/// A record, or that there is none, as it was at some time.
pub(super) struct Seen {
    key: RecordKey,
    record: Option<Record>,
    at: Instant,
}

impl Bench {
    /// The record, which must be there.
    pub(super) async fn there(&self, when: &str, key: RecordKey) -> Record {
        self.inspect(key)
            .await
            .unwrap_or_else(|| panic!("the record is absent {when}"))
    }

    pub(super) async fn gone(&self, when: &str, key: RecordKey) {
        if let Some(record) = self.inspect(key).await {
            panic!("there must be no record {when}: {record:?}");
        }
    }

    /// Expects that the record is in flight with a lease that has not ended.
    pub(super) async fn live(&self, when: &str, key: RecordKey) {
        let record = self.there(when, key).await;
        assert!(record.is_live(), "the lease has ended {when}: {record:?}");
    }

    /// Expects that the record is in flight with a lease that has ended.
    pub(super) async fn lapsed(&self, when: &str, key: RecordKey) {
        let record = self.there(when, key).await;
        let is_lapsed = payload(&record).is_none() && !record.is_live();
        assert!(is_lapsed, "the record is not abandoned {when}: {record:?}");
    }

    pub(super) async fn look(&self, key: RecordKey) -> Seen {
        Seen {
            key,
            record: self.inspect(key).await,
            at: Instant::now(),
        }
    }

    /// Expects that nothing but time has passed since then.
    pub(super) async fn unchanged(&self, what: &str, before: &Seen) {
        let after = self.look(before.key).await;
        match (&before.record, &after.record) {
            (None, None) => {}
            (Some(was), Some(is)) => self.is_as_before(what, (was, is), after.at - before.at),
            (was, is) => panic!("{what} changed the record: it was {was:?}, it is {is:?}"),
        }
    }

    /// Expects that a record was answered as it was seen before.
    #[track_caller]
    pub(super) fn is_unchanged(&self, what: &str, before: &Seen, record: &Record) {
        match &before.record {
            Some(was) => self.is_as_before(what, (was, record), before.at.elapsed()),
            None => panic!("{what}: there was no record, it is {record:?}"),
        }
    }

    #[track_caller]
    fn is_as_before(&self, what: &str, (was, is): (&Record, &Record), passed: Duration) {
        let times = |record: &Record, passed| {
            [
                record.since_first_request() + passed,
                record.remaining(),
                record.state().lease_left(),
            ]
        };
        let (before, after) = (times(was, passed), times(is, Duration::ZERO));
        let still = before[1..].iter().map(|left| left.saturating_sub(passed));
        let is_same = self.is_same(before[0], after[0])
            && still
                .zip(&after[1..])
                .all(|(left, right)| self.is_same(left, *right));
        assert!(
            is_same && identity(was) == identity(is),
            "{what} changed the record: {passed:?} ago it was {was:?}, it is {is:?}",
        );
    }

    /// Expects that every verb of this owner is answered so, and that its record stays as it is.
    pub(super) async fn refuses(&self, whose: &str, owner: &Owner, answer: Settled) {
        let before = self.look(*owner.key()).await;
        for verb in Write::ALL {
            let settled = self.write(verb, owner).await;
            assert_eq!(settled, answer, "{verb:?} of {whose}");
        }
        self.unchanged(whose, &before).await;
    }

    /// Expects that the record is there until then, and absent from then on.
    pub(super) async fn expires_at(&self, key: RecordKey, then: Instant) {
        let record = self.there("although its time has not come", key).await;
        let left = then - Instant::now();
        self.same("what remains of the record", record.remaining(), left);
        self.until(then - self.times.before).await;
        self.there("a moment before its time", key).await;
        self.until(then + self.times.after).await;
        self.gone("when its time has come", key).await;
    }
}

/// What no time changes.
fn identity(record: &Record) -> impl PartialEq + use<'_> {
    let fingerprint = record.fingerprint();
    (
        (fingerprint.version(), *fingerprint.digest()),
        (record.fence(), record.attempt(), record.is_committed()),
        payload(record),
    )
}

/// Expects that a record is that of this owner.
#[track_caller]
pub(super) fn is_of(what: &str, record: &Record, held: &Held) {
    assert_eq!(
        (record.fence(), record.attempt()),
        (held.fence(), held.attempt),
        "fence and attempt of {what}"
    );
}

/// Expects that a record ended with this payload.
#[track_caller]
pub(super) fn is_completed(what: &str, record: &Record, expected: impl AsRef<[u8]>) {
    let Some(payload) = payload(record) else {
        panic!("{what} must be completed: {record:?}");
    };
    let (length, expected) = (payload.len(), expected.as_ref());
    assert!(
        payload == expected,
        "the payload of {what} has {length} bytes, and is not the one of {} bytes that was written",
        expected.len(),
    );
}
