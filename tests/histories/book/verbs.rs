//! What the layer asks of the store, and what the store applies.

use std::time::Duration;

use tower_idempotency::{
    Claim, ClaimRequest, Completed, Forgotten, Owner, Record, RecordKey, Settled, State, StoreError,
};

use super::{Entries, Run};
use crate::check::{Check, Checked, ensure};
use crate::model::Lapse;
use crate::settings::Lost;

/// A verb by which an owner ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Abandon,
    Complete,
    Release,
}

/// What the layer asks.
impl Entries {
    pub(crate) fn asked_to_end(&mut self, process: usize, owner: &Owner, end: End) -> Checked {
        let (key, fence) = (self.model.key_of(owner.key()), owner.fence().get());
        let name = self.model.keys[key].name.clone();
        self.note(|| format!("p{process} asks {end:?} {name} fence {fence}"));
        let Some(tenure) = self.model.keys[key].tenure_mut(fence) else {
            return ensure(false, Check::FreedRightly, || {
                format!("{end:?} of an unknown owner")
            });
        };
        tenure.is_given_up |= end == End::Abandon;
        let attempt = tenure.attempt;
        let Some(number) = self.execution_of(key, fence) else {
            // A lost attempt before this one stays as it is.
            let right = match attempt {
                1 => End::Release,
                _ => End::Abandon,
            };
            return ensure(end == right, Check::FreedRightly, || {
                format!("{end:?} of attempt {attempt}, whose handler did not start")
            });
        };
        let execution = &self.executions[number];
        let Some(run) = execution.run else {
            return ensure(false, Check::FreedRightly, || {
                format!("{end:?} of a running handler")
            });
        };
        // Whoever asks a hook does not know what the attempt before has done.
        let asks = self.settings.lost == Lost::Reconcile && attempt > 1;
        let freed = match execution.marked || asks {
            true => End::Abandon,
            false => End::Release,
        };
        let ruled = match execution.is_to_be_kept {
            true => End::Complete,
            false => freed,
        };
        let right = match run {
            Run::Dropped | Run::Failed | Run::NotDone | Run::Panicked => end == End::Abandon,
            // Its body breaks, or flows to its client before it does; or it was still held when its process ended.
            Run::Responded if execution.breaks || execution.is_cut_off => {
                end == ruled || end == End::Abandon
            }
            Run::Responded => end == ruled,
        };
        ensure(right, Check::FreedRightly, || {
            format!("{end:?} of {execution:?}")
        })
    }

    /// The layer has heard that an outcome is in the store.
    pub(crate) fn heard_completed(&mut self, owner: &Owner, answer: &Result<Settled, StoreError>) {
        let key = self.model.key_of(owner.key());
        let execution = self.execution_of(key, owner.fence().get());
        if let (Ok(Settled::Applied | Settled::Tombstoned), Some(number)) = (answer, execution) {
            self.executions[number].is_told = true;
        }
    }
}

/// What the store applies.
impl Entries {
    fn noted(&mut self, key: usize, line: impl FnOnce() -> String) {
        let name = self.model.keys[key].name.clone();
        self.note(|| format!("  store: {name} {}", line()));
    }

    pub(crate) fn claims(&mut self, request: &ClaimRequest, claim: &Claim) -> Checked {
        let key = self.model.key_of(request.key());
        self.noted(key, || match claim {
            Claim::Owned(owned) => {
                let (fence, attempt) = (owned.fence().get(), owned.attempt());
                format!("claimed, fence {fence}, attempt {attempt}")
            }
            Claim::Existing(record) => format!("claim shows {}", shown(record)),
            other => format!("claim: {other:?}"),
        });
        self.model.claimed(request, claim, self.event)
    }

    pub(crate) fn renews(
        &mut self,
        owner: &Owner,
        lease: (Duration, bool),
        settled: Settled,
    ) -> Checked {
        let (key, fence) = (self.model.key_of(owner.key()), owner.fence().get());
        self.noted(key, || {
            let committed = if lease.1 { " committed" } else { "" };
            format!("renew{committed} fence {fence}: {settled:?}")
        });
        self.model.renewed(owner, lease, settled)
    }

    pub(crate) fn completes(
        &mut self,
        owner: &Owner,
        completed: &Completed,
        settled: Settled,
    ) -> Checked {
        let (key, fence) = (self.model.key_of(owner.key()), owner.fence().get());
        self.noted(key, || format!("complete fence {fence}: {settled:?}"));
        self.model.completed(owner, completed, settled, self.event)
    }

    pub(crate) fn abandons(&mut self, owner: &Owner, settled: Settled) -> Checked {
        let (key, fence) = (self.model.key_of(owner.key()), owner.fence().get());
        // The layer says so before; chaos does not.
        let lapse = match self.model.keys[key].tenure(fence) {
            Some((_, tenure)) if tenure.is_given_up => Lapse::Abandoned,
            _ => Lapse::Tampered,
        };
        self.noted(key, || {
            format!("abandon fence {fence}: {settled:?}, {lapse:?}")
        });
        self.model.abandoned(owner, settled, lapse)
    }

    pub(crate) fn releases(&mut self, owner: &Owner, settled: Settled) -> Checked {
        let (key, fence) = (self.model.key_of(owner.key()), owner.fence().get());
        self.noted(key, || format!("release fence {fence}: {settled:?}"));
        self.model.released(owner, settled, self.event)
    }

    pub(crate) fn inspects(&self, key: &RecordKey, record: Option<&Record>) -> Checked {
        let key = self.model.key_of(key);
        self.model.inspected(key, record)
    }

    pub(crate) fn forgets(&mut self, key: &RecordKey, force: bool, answer: Forgotten) -> Checked {
        let key = self.model.key_of(key);
        self.noted(key, || format!("forget, force {force}: {answer:?}"));
        self.model.forgotten(key, force, answer, self.event)
    }

    pub(crate) fn erases(&mut self, scope: &[u8; 16], erased: u64) -> Checked {
        self.note(|| format!("  store: {erased} erased"));
        self.model.erased(scope, erased, self.event)
    }
}

fn shown(record: &Record) -> String {
    let (fence, attempt) = (record.fence().get(), record.attempt());
    let state = match record.state() {
        State::InFlight { lease_left } => format!("in flight, {lease_left:?} left"),
        State::Completed { .. } => "completed".into(),
        other => format!("{other:?}"),
    };
    let committed = if record.is_committed() {
        ", committed"
    } else {
        ""
    };
    format!("fence {fence}, attempt {attempt}, {state}{committed}")
}
