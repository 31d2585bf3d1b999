//! Somebody who does everything to one record.

use super::checked::{Checked, mark_of};
use super::*;

/// Comes to one record again and again, with all the ownerships it ever had.
pub(super) struct Visitor {
    key: RecordKey,
    owners: Vec<Owner>,
}

/// How long a record lives.
pub(super) const LIFE: Duration = Duration::from_secs(5);

pub(super) const KEY: RecordKey = RecordKey::from_parts([1; 16], [2; 32]);

/// Records with room for two that run, or for one outcome beside one that runs.
pub(super) fn visited<M: Map>(map: M, time: &Arc<AtomicU64>) -> Records<Checked<M>> {
    Records::with(Checked::new(map, time), Secret::none(), 2, 1_600)
}

impl Visitor {
    pub(super) fn of(key: RecordKey) -> Self {
        let owners = Vec::new();
        Self { key, owners }
    }

    /// One visit. What it is told must agree with what was seen before it came.
    pub(super) fn acts<M: Map>(
        &mut self,
        records: &Records<Checked<M>>,
        time: &AtomicU64,
        random: u64,
    ) {
        records.slots.check_so_far();
        let pick = |from: u64, of: u64| random >> from & (of - 1);
        // Now and then the lease of an owner is over, or a record expires.
        let pass = [0, 0, 0, 0, 0, 1, 2, 4][pick(0, 8) as usize] * 1_000_000_000;
        let now = time.fetch_add(pass, Ordering::Relaxed) + pass;
        let before = records.slots.fence(records.id(&self.key));
        let Some(owner) = self.owner(pick(4, 4) as usize).filter(|_| pick(8, 16) > 3) else {
            self.claims(records, random, now, before);
            return;
        };
        let settled = match pick(8, 16) {
            4 => {
                let record = records.inspect(&self.key, now);
                assert!(record.is_none_or(|record| record.fence() >= before));
                return;
            }
            5 => {
                let force = pick(12, 2) == 0;
                let forgotten = records.forget(&self.key, force, now);
                records
                    .slots
                    .takes(force && forgotten == Forgotten::Forgotten);
                return;
            }
            6..=8 => records.renew(&owner, SECOND * 2, pick(12, 2) == 0, now),
            9 | 10 => records.abandon(&owner, now),
            11 | 12 => {
                let settled = records.release(&owner, now);
                records.slots.takes(settled == Settled::Applied);
                settled
            }
            _ => records.complete(&owner, &completed(owner.fence()), now),
        };
        if before > owner.fence() {
            assert!(matches!(settled, Settled::FencedOut | Settled::Missing));
        }
    }

    fn claims<M: Map>(
        &mut self,
        records: &Records<Checked<M>>,
        random: u64,
        now: Moment,
        before: Fence,
    ) {
        let rule = match random >> 16 & 3 {
            0 => TakeOver::Never,
            1 => TakeOver::Always,
            _ => TakeOver::Uncommitted,
        };
        let request = request(self.key, SECOND * 3).with_take_over(rule);
        match records.claim(&request, now) {
            Claim::Owned(owned) => {
                assert!(owned.fence() > before, "{owned:?} is behind {before:?}");
                let record = records.inspect(&self.key, now);
                let record = record.filter(|record| record.fence() == owned.fence());
                match rule {
                    TakeOver::Never => assert_eq!(owned.attempt(), 1),
                    TakeOver::Uncommitted => {
                        assert!(record.is_none_or(|record| !record.is_committed()));
                    }
                    TakeOver::Always => {}
                }
                let owner = Owner::new(self.key, owned.fence(), request.claim_id());
                self.owners.insert(0, owner);
            }
            Claim::Existing(record) => assert!(record.fence() >= before),
            // Others have taken bytes for an outcome that they cannot leave any more.
            Claim::Full => {}
            Claim::OverQuota => unreachable!("there is no quota"),
        }
    }

    /// The one that it became last, or an earlier one.
    fn owner(&self, back: usize) -> Option<Owner> {
        self.owners.get(back).or(self.owners.first()).copied()
    }
}

/// The outcome of this owner, larger than what its claim has made sure of.
pub(super) fn completed(fence: Fence) -> Completed {
    let mark = mark_of(fence);
    let payload = mark.repeat(125);
    Completed::new(payload.into(), mark.to_vec().into(), LIFE)
}
