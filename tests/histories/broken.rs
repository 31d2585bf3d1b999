//! What is broken on purpose is caught, each by the check that it is for.

mod bugs;
mod lies;

pub(crate) use bugs::{Bug, Buggy};

use lies::{Lie, Lying};

use crate::check::Check;
use crate::runner::{quiet, violation};
use crate::under_test::{self, Mount, Mounted};

/// Within so many histories it must be found.
const MOST: u64 = 2_000;

/// Runs histories until this check is the first that finds something.
fn is_caught(by: Check, mount: &Mount, bug: Bug) {
    quiet();
    let mut others = Vec::new();
    for seed in 0..MOST {
        match violation(seed, mount, bug) {
            Some(found) if found.check == by => return,
            Some(found) => others.push(format!("SEED={seed}: {found}")),
            None => {}
        }
    }
    others.truncate(9);
    panic!("not caught by {by:?}; otherwise: {others:#?}");
}

macro_rules! lies {
    ($($name:ident: $lie:ident, $check:ident;)*) => {
        $(#[test]
        fn $name() {
            let mount = |clock: &_| {
                let Mounted { store, size } = under_test::memory(clock);
                let store = tower_idempotency::BoxStore::new(Lying::new(Lie::$lie, store));
                Mounted { store, size }
            };
            is_caught(Check::$check, &mount, Bug::None);
        })*
    };
}

lies! {
    fences_that_go_back: FencesFall, FencesIncrease;
    attempts_that_are_skipped: SkipsAttempts, AttemptsCount;
    a_take_over_that_begins_anew: ReleasesAtTakeOver, RecordStays;
    two_owners_at_a_time: GivesWhatLives, OneOwner;
    leases_that_are_not_renewed: ForgetsRenewals, OneOwner;
    a_take_over_by_another_request: ForgetsFingerprints, AnotherRequest;
    a_mark_that_is_forgotten: ForgetsMarks, CommittedStays;
    a_zombie_that_completes: CompletesForAnyone, OwnerWrites;
    a_repeated_claim_that_is_not_recognised: ForgetsClaimIds, OwnerWrites;
    a_completion_that_is_refused: RefusesToComplete, OwnerWrites;
    a_record_that_is_lost: LosesRecords, RecordStays;
    an_outcome_that_changes: ChangesOutcomes, RecordStays;
    the_record_of_another_scope: MixesScopes, RecordStays;
    a_record_that_outlives_its_retention: KeepsTooLong, RecordStays;
    a_released_record_that_stays: KeepsReleased, RecordStays;
}

macro_rules! bugs {
    ($($name:ident: $bug:ident, $check:ident;)*) => {
        $(#[test]
        fn $name() {
            is_caught(Check::$check, &under_test::memory, Bug::$bug);
        })*
    };
}

bugs! {
    a_handler_without_a_claim: RunsUnclaimed, HandlerOwns;
    a_handler_that_runs_twice: RunsTwice, HandlerOnce;
    a_handler_that_is_cancelled: Cancels, OutcomeKept;
    an_outcome_that_is_never_written: WritesNothing, OutcomeKept;
    an_answer_before_its_record: AnswersFirst, RecordedFirst;
    a_key_that_is_freed_while_its_handler_runs: FreesEarly, FreedRightly;
    a_lease_that_is_counted_too_long: CountsLeasesLong, SignalFirst;
    renewals_that_are_not_sent: RenewsNothing, HandlersApart;
    a_scope_that_does_not_count: IgnoresPrincipals, ScopeIsOwn;
    a_body_that_does_not_count: IgnoresBodies, AnotherRequest;
    a_replay_that_was_changed: ChangesReplays, ReplayIsKept;
    an_answer_that_was_changed: ChangesAnswers, AnswerFits;
    a_refusal_without_a_reason: RefusesAtRandom, AnswerFits;
    a_task_that_never_ends: LeavesTasks, NothingLeft;
    a_key_that_stays_closed: ClosesKeys, KeyUsable;
}

#[test]
fn a_record_of_nobody_is_noticed() {
    let mount = |clock: &_| {
        let Mounted { store, size } = under_test::memory(clock);
        let size = Box::new(move || size() + 1);
        Mounted { store, size }
    };
    is_caught(Check::SizeExplained, &mount, Bug::None);
}
