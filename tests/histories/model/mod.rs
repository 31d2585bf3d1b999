//! The life of records, as the documentation of `Store` has it, written down once more and as plainly as possible.
//!
//! It follows the verbs in the order in which the store applied them, and says where an answer cannot be right. Where the
//! store's clock went back, it does not know whether a lease or a record has ended; then either answer is right.

mod life;
mod verbs;

use std::time::Duration;

use tower_idempotency::RecordKey;

pub(crate) use life::{Fate, Lapse, Life, Tenure};

/// All records, past and present.
pub(crate) struct Model {
    pub(crate) keys: Vec<Key>,
    /// The latest time that the store has had.
    peak: Duration,
    pub(crate) now: Duration,
}

/// One record key.
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) scope: &'static str,
    pub(crate) record: RecordKey,
    highest_fence: u64,
    pub(crate) lives: Vec<Life>,
}

impl Model {
    pub(crate) fn new(keys: impl IntoIterator<Item = (&'static str, String, RecordKey)>) -> Self {
        let key = |(scope, name, record)| Key {
            name,
            scope,
            record,
            highest_fence: 0,
            lives: Vec::new(),
        };
        Self {
            keys: keys.into_iter().map(key).collect(),
            peak: Duration::ZERO,
            now: Duration::ZERO,
        }
    }

    /// Follows the store's clock; `has_jumped` where it did not only go on.
    pub(crate) fn is_now(&mut self, now: Duration, has_jumped: bool) {
        if has_jumped {
            let lives = self.keys.iter_mut().filter_map(Key::life_mut);
            lives.for_each(|life| life.lapse = Lapse::Tampered);
        }
        self.now = now;
        self.peak = self.peak.max(now);
    }

    pub(crate) fn may_be_gone(&self, life: &Life) -> bool {
        life.may_be_gone(self.peak)
    }

    /// Whether the lease of this owner is over, and for no other reason than that its time has passed.
    pub(crate) fn has_lapsed_by_time(&self, life: &Life, tenure: &Tenure) -> bool {
        match tenure.fate {
            Fate::Owns => life.lapse == Lapse::ByTime && life.has_lapsed(self.now),
            Fate::Expired => life.lapse == Lapse::ByTime,
            fate => fate == Fate::TakenOver(Lapse::ByTime),
        }
    }

    /// How long it takes until every lease has ended.
    pub(crate) fn longest_lease(&self) -> Duration {
        let lives = self.keys.iter().filter_map(Key::life);
        let left = lives.map(|life| life.lease.to.saturating_sub(self.now));
        left.max().unwrap_or_default()
    }

    pub(crate) fn key_of(&self, record: &RecordKey) -> usize {
        let mut keys = self.keys.iter();
        keys.position(|key| key.record == *record)
            .expect("a key of this history")
    }
}

impl Key {
    /// The life that has not ended, though it may have expired.
    pub(crate) fn life(&self) -> Option<&Life> {
        self.lives.last().filter(|life| life.ended.is_none())
    }

    pub(crate) fn life_mut(&mut self) -> Option<&mut Life> {
        self.lives.last_mut().filter(|life| life.ended.is_none())
    }

    /// The life and the tenure with this fence.
    pub(crate) fn tenure(&self, fence: u64) -> Option<(&Life, &Tenure)> {
        self.lives.iter().find_map(|life| {
            let mut tenures = life.tenures.iter();
            Some((life, tenures.find(|tenure| tenure.fence == fence)?))
        })
    }

    pub(crate) fn tenure_mut(&mut self, fence: u64) -> Option<&mut Tenure> {
        let mut tenures = self.lives.iter_mut().flat_map(|life| &mut life.tenures);
        tenures.find(|tenure| tenure.fence == fence)
    }

    /// The lives that had not ended at this event.
    pub(crate) fn lives_since(&self, event: u64) -> impl Iterator<Item = &Life> {
        let lives = self.lives.iter();
        lives.filter(move |life| life.ended.is_none_or(|ended| ended >= event))
    }

    /// Whether there surely is a record that has not expired.
    pub(crate) fn is_surely_there(&self, peak: Duration) -> bool {
        self.life().is_some_and(|life| !life.may_be_gone(peak))
    }
}
