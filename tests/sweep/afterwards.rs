//! What must be true when everything has come to its end.

use std::sync::atomic::Ordering;

use tower_idempotency::{Outcome, Store};

use crate::client::Got;
use crate::model::{End, Execution, Meets};
use crate::rounds::Disturbed;
use crate::row::Before;
use crate::world::{LEASE, World};

/// What there is to look at.
pub(crate) struct Afterwards<'a, T> {
    world: &'a World,
    told: &'a T,
    pub(crate) disturbed: Option<Disturbed>,
    /// What the clients have got.
    pub(crate) got: Vec<Got>,
}

impl<'a, T: Fn() -> String> Afterwards<'a, T> {
    pub(crate) fn new(world: &'a World, told: &'a T) -> Self {
        Self {
            world,
            told,
            disturbed: None,
            got: Vec::new(),
        }
    }

    /// At most one execution per attempt, a record of the right one and not in anybody's way, and retries that meet it.
    pub(crate) async fn look(self) {
        let (row, happened) = (&self.world.row, &self.world.happened);
        let meant = happened.executions();
        let mut executions = meant.clone();
        if let Some(end) = row.ends_as {
            executions.iter_mut().for_each(|it| it.end = end);
        }
        let is_late = self.disturbed.is_some_and(Disturbed::is_late);
        let is_overtaken = self.disturbed.is_some_and(Disturbed::is_overtaken);
        if is_overtaken && executions.iter().all(|it| it.end != End::Freed) {
            // A hook is noted when it has answered, which may be after others.
            executions.sort_by_key(|it| it.attempt);
        }
        let unstarted = row.unstarted + u32::from(is_late);
        self.check(attempts_count_up(&executions, unstarted), &"attempts");
        let most_at_once = happened.most_at_once.load(Ordering::SeqCst);
        self.check(most_at_once <= 1 || is_overtaken, &most_at_once);
        let for_nobody = happened.started_for_nobody.load(Ordering::SeqCst);
        self.check(for_nobody == 0, &"something started for nobody");
        happened.is_client_gone.store(false, Ordering::SeqCst);
        let changed = happened.changed_uploads.load(Ordering::SeqCst);
        self.check(changed == 0, &"an upload has changed");

        if row.lapses {
            tokio::time::sleep(LEASE).await;
        }
        let key = self.world.record_key("k");
        let record = self.world.store.memory.inspect(&key).await.unwrap();
        let is_live = record.as_ref().is_some_and(|record| record.is_live());
        self.check(!is_live, &record);

        happened.is_calm.store(true, Ordering::SeqCst);
        let retry = self.world.again().await;
        let met = self.met(&retry);
        if is_late {
            self.check(could_meet(met, &meant, &executions), &met);
        } else {
            let is_different = matches!(row.before, Before::Different | Before::RunningDifferent);
            let fits = match (met, Meets::after(&executions, is_different)) {
                (Meets::Run(met), Meets::Run(least)) => (least..=least + unstarted).contains(&met),
                (met, meets) => met == meets,
            };
            self.check(fits, &met);
            self.check(met.fits(record.as_ref()), &(met, &record));
        }
        let once_more = self.world.again().await;
        self.check(once_more.is_same_as(&retry), &(&retry, &once_more));
        if !matches!(met, Meets::Unavailable | Meets::Different) {
            // Whoever was told that the outcome is recorded sees it again.
            let recorded = Outcome::Executed { recorded: true };
            for got in self
                .got
                .iter()
                .filter(|got| got.outcome() == Some(recorded))
            {
                self.check(retry.outcome() == Some(Outcome::Replayed), &got);
                self.check(retry.is_same_as(got), &(&retry, got));
            }
        }
    }

    /// What a retry met; where it ran, the log has its execution.
    fn met(&self, retry: &Got) -> Meets {
        let Got::Answer(answer) = retry else {
            panic!("{}: {retry:?}", (self.told)());
        };
        let executions = self.world.happened.executions();
        match answer.outcome {
            Outcome::Executed { recorded: true } => Meets::Run(executions.last().unwrap().attempt),
            Outcome::Replayed => Meets::Replay(answer.of().unwrap()),
            Outcome::Refused if answer.text.contains("response_unavailable") => Meets::Unavailable,
            Outcome::Refused if answer.text.contains("outcome_unknown") => Meets::Unknown,
            Outcome::Mismatch => Meets::Different,
            _ => panic!("{}: {answer:?}", (self.told)()),
        }
    }

    #[track_caller]
    fn check(&self, holds: bool, seen: &dyn std::fmt::Debug) {
        assert!(holds, "{}: {seen:?}", (self.told)());
    }
}

/// At most one execution per attempt, and none after one that was kept.
fn attempts_count_up(executions: &[Execution], unstarted: u32) -> bool {
    let (mut least, mut most) = (1, 1 + unstarted);
    executions.iter().all(|execution| {
        let fits = (least..=most).contains(&execution.attempt);
        least = match execution.end {
            End::Freed => 1,
            _ => execution.attempt + 1,
        };
        most = execution.attempt + 1 + unstarted;
        fits
    })
}

/// Where every limit of time has passed, or one execution has overtaken another, the record is of any of them: as it was
/// meant to end, or as `they` do.
fn could_meet(met: Meets, meant: &[Execution], they: &[Execution]) -> bool {
    let is_recorded = |it: &Execution| matches!(it.end, End::Kept | End::Tombstone);
    match met {
        Meets::Run(_) => !they.last().is_some_and(is_recorded),
        Meets::Replay(number) => is_recorded(&meant[number - 1]),
        Meets::Unavailable => meant.iter().any(is_recorded),
        Meets::Unknown => they
            .iter()
            .any(|it| it.is_committed || it.end == End::Unknown),
        Meets::Different => true,
    }
}
