//! What each verb does to a record, and which answers are right.

use std::time::Duration;

use bytes::Bytes;
use tower_idempotency::{Claim, ClaimRequest, Completed, Forgotten, Owner, Record, Settled};

use super::{Fate, Key, Lapse, Life, Model, Tenure};
use crate::check::{Check, Checked, ensure};

impl Model {
    pub(crate) fn claimed(&mut self, request: &ClaimRequest, claim: &Claim, event: u64) -> Checked {
        let (now, peak) = (self.now, self.peak);
        let key = self.key_of(request.key());
        let key = &mut self.keys[key];
        match claim {
            Claim::Owned(owned) => {
                let left = owned.lease_left();
                ensure(left <= request.lease(), Check::OneOwner, || {
                    format!("{left:?} of a lease of {:?}", request.lease())
                })?;
                key.owned(
                    request,
                    (owned.fence().get(), owned.attempt()),
                    now,
                    peak,
                    event,
                )
            }
            Claim::Existing(record) => {
                key.shows(Some(record), now, peak)?;
                let life = key.life().expect("it was shown");
                let mine = life.kept.is_none() && life.tenure().claim_id == request.claim_id();
                ensure(!mine, Check::OwnerWrites, || {
                    "its own claim was not recognised".into()
                })?;
                let free = life.has_lapsed(now)
                    && life.print.matches(request.fingerprint())
                    && life.allows(request);
                ensure(!free, Check::OneOwner, || {
                    "nobody owns it, and it was not given".into()
                })
            }
            other => ensure(false, Check::SizeExplained, || format!("{other:?}")),
        }
    }

    pub(crate) fn renewed(
        &mut self,
        owner: &Owner,
        (lease, committed): (Duration, bool),
        settled: Settled,
    ) -> Checked {
        let now = self.now;
        let applied = self.written(owner, settled)?;
        if let Some(life) = applied {
            life.lease_anew(lease, now);
            life.committed |= committed;
        }
        Ok(())
    }

    pub(crate) fn completed(
        &mut self,
        owner: &Owner,
        completed: &Completed,
        settled: Settled,
        event: u64,
    ) -> Checked {
        let now = self.now;
        let key = self.key_of(owner.key());
        let life = self.keys[key].life();
        let repeated = life.and_then(|life| life.kept.as_ref());
        if repeated.is_some_and(|kept| kept.fence == owner.fence().get()) {
            let gone = life.is_some_and(|life| life.may_be_gone(self.peak));
            let right = settled == Settled::Applied || gone;
            return ensure(right, Check::OwnerWrites, || {
                format!("repeated: {settled:?}")
            });
        }
        if let Some(life) = self.written(owner, settled)? {
            let payload: &Bytes = match settled {
                Settled::Tombstoned => completed.tombstone(),
                _ => completed.payload(),
            };
            life.complete(payload.clone(), completed.retention(), now, event);
        }
        Ok(())
    }

    pub(crate) fn abandoned(&mut self, owner: &Owner, settled: Settled, lapse: Lapse) -> Checked {
        let now = self.now;
        if let Some(life) = self.written(owner, settled)? {
            life.lease_ends(now, lapse);
        }
        Ok(())
    }

    pub(crate) fn released(&mut self, owner: &Owner, settled: Settled, event: u64) -> Checked {
        if let Some(life) = self.written(owner, settled)? {
            life.end(Fate::Released, event);
        }
        Ok(())
    }

    /// The life of the owner's record where its write was applied.
    fn written(
        &mut self,
        owner: &Owner,
        settled: Settled,
    ) -> Result<Option<&mut Life>, crate::check::Violation> {
        let (now, peak) = (self.now, self.peak);
        let key = self.key_of(owner.key());
        let key = &mut self.keys[key];
        let owns = |life: &Life| {
            let tenure = life.tenure();
            let is_same =
                tenure.fence == owner.fence().get() && tenure.claim_id == owner.claim_id();
            life.kept.is_none() && is_same
        };
        let is_owner = key.life().is_some_and(owns);
        let right = match settled {
            Settled::Applied | Settled::Tombstoned => is_owner,
            // A record that has expired may be there or not.
            _ => !is_owner || key.life().is_some_and(|life| life.may_be_gone(peak)),
        };
        ensure(right, Check::OwnerWrites, || {
            let fence = owner.fence().get();
            format!("{settled:?} for fence {fence}, which owns: {is_owner}")
        })?;
        match settled {
            Settled::Applied | Settled::Tombstoned => Ok(key.life_mut()),
            Settled::Missing => {
                let right =
                    !key.is_surely_there(peak) || key.life().is_some_and(|life| life.is_gone(now));
                ensure(right, Check::RecordStays, || {
                    "missing, although it is there".into()
                })?;
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    pub(crate) fn inspected(&self, key: usize, record: Option<&Record>) -> Checked {
        self.keys[key].shows(record, self.now, self.peak)
    }

    pub(crate) fn forgotten(
        &mut self,
        key: usize,
        force: bool,
        answer: Forgotten,
        event: u64,
    ) -> Checked {
        let (now, peak) = (self.now, self.peak);
        let key = &mut self.keys[key];
        let gone = key.life().is_none_or(|life| life.is_gone(now));
        let right = match answer {
            Forgotten::Forgotten => {
                !gone && (force || key.life().is_some_and(|life| !life.is_live(now)))
            }
            Forgotten::Unknown => !key.is_surely_there(peak),
            Forgotten::InFlight => {
                !force && !gone && key.life().is_some_and(|life| !life.has_lapsed(now))
            }
            _ => false,
        };
        ensure(right, Check::RecordStays, || {
            format!("{answer:?}, by force: {force}")
        })?;
        if answer == Forgotten::Forgotten
            && let Some(life) = key.life_mut()
        {
            life.end(Fate::Forgotten, event);
        }
        Ok(())
    }

    pub(crate) fn erased(&mut self, scope: &[u8; 16], erased: u64, event: u64) -> Checked {
        let (now, peak) = (self.now, self.peak);
        let of_scope = self
            .keys
            .iter_mut()
            .filter(|key| key.record.scope() == scope);
        let (mut surely, mut at_most) = (0, 0);
        for key in of_scope {
            surely += u64::from(key.is_surely_there(peak));
            at_most += u64::from(key.life().is_some_and(|life| !life.is_gone(now)));
            if let Some(life) = key.life_mut() {
                life.end(Fate::Forgotten, event);
            }
        }
        ensure(
            (surely..=at_most).contains(&erased),
            Check::RecordStays,
            || format!("{erased} erased, there were {surely} to {at_most}"),
        )
    }

    /// How many records there surely are, and how many there may be: memory of expired ones is freed in time.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        let surely = self
            .keys
            .iter()
            .filter(|key| key.is_surely_there(self.peak));
        let at_most = self.keys.iter().filter(|key| key.life().is_some());
        (surely.count(), at_most.count())
    }
}

impl Key {
    /// Follows a claim that was granted.
    fn owned(
        &mut self,
        request: &ClaimRequest,
        (fence, attempt): (u64, u32),
        now: Duration,
        peak: Duration,
        event: u64,
    ) -> Checked {
        let rises = fence > self.highest_fence;
        let highest = self.highest_fence;
        let fence_rises = || {
            ensure(rises, Check::FencesIncrease, || {
                format!("{fence} after {highest}")
            })
        };
        let tenure = Tenure {
            fence,
            claim_id: request.claim_id(),
            attempt,
            began: event,
            fate: Fate::Owns,
            is_given_up: false,
        };
        if let Some(life) = self.life_mut() {
            let before = life.tenure();
            let repeated = life.kept.is_none()
                && before.claim_id == request.claim_id()
                && before.fence == fence;
            if repeated {
                let same = before.attempt == attempt;
                ensure(same, Check::AttemptsCount, || {
                    format!("repeated as attempt {attempt}")
                })?;
                life.lease_anew(request.lease(), now);
                return Ok(());
            }
            let there = !life.may_be_gone(peak);
            let is_new = attempt == 1 && (!there || life.is_gone(now));
            if !is_new && !life.is_gone(now) {
                let open = life.kept.is_none();
                ensure(open, Check::RecordStays, || {
                    "a kept outcome was claimed".into()
                })?;
                let lapsed = !life.is_live(now);
                ensure(lapsed, Check::OneOwner, || {
                    "claimed, while another lease lives".into()
                })?;
                ensure(attempt != 1, Check::RecordStays, || {
                    "claimed as if there were none".into()
                })?;
                let same = life.print.matches(request.fingerprint());
                ensure(same, Check::AnotherRequest, || {
                    "taken over by another request".into()
                })?;
                let allowed = life.allows(request);
                ensure(allowed, Check::CommittedStays, || {
                    format!(
                        "taken over, committed: {}, {:?}",
                        life.committed,
                        request.take_over()
                    )
                })?;
                fence_rises()?;
                let next = life.tenure().attempt + 1;
                ensure(attempt == next, Check::AttemptsCount, || {
                    format!("attempt {attempt} in place of {next}")
                })?;
                let lapse = life.lapse;
                life.tenure_mut().fate = Fate::TakenOver(lapse);
                life.tenures.push(tenure);
                life.lease_anew(request.lease(), now);
                self.highest_fence = fence;
                return Ok(());
            }
            life.end(Fate::Expired, event);
        }
        fence_rises()?;
        ensure(attempt == 1, Check::AttemptsCount, || {
            format!("a new record, attempt {attempt}")
        })?;
        self.highest_fence = fence;
        self.lives.push(Life::new(request, tenure, now));
        Ok(())
    }

    /// Checks what the store shows of this key.
    fn shows(&self, record: Option<&Record>, now: Duration, peak: Duration) -> Checked {
        let Some(record) = record else {
            return ensure(!self.is_surely_there(peak), Check::RecordStays, || {
                "it is gone".into()
            });
        };
        let there = self.life().filter(|life| !life.is_gone(now));
        let differs = match there {
            Some(life) => life.differs_from(record, now),
            None => Some("record: there should be none"),
        };
        ensure(differs.is_none(), Check::RecordStays, || {
            format!("another {}: {record:?}", differs.unwrap_or_default())
        })
    }
}
