//! The list of all obligations, and what makes tests of it.

use super::bench::Bench;
use super::candidate::{Corrupt, Local};
use super::{
    claiming, completing, contending, corrupt, dropping, expiring, fencing, forgetting, limit,
    owning, quota, quota_contending, room, waiting,
};

/// Hands a part of the list to a macro: what every store must do, or what those with this capability must do besides.
#[doc(hidden)]
#[macro_export]
macro_rules! __obligations {
    (every => $($then:tt)*) => {
        $($then)*! {
            claiming {
                a_new_record_is_the_first_attempt_with_its_whole_lease
                a_record_key_is_scope_and_key_together
                a_live_record_is_returned_as_it_is
                a_lease_lasts_as_long_as_it_was_asked_for
                another_fingerprint_never_owns
                take_over_never_takes_over_nothing
                take_over_uncommitted_takes_over_what_is_not_committed
                take_over_always_takes_over_what_is_committed_too
                taking_over_counts_the_attempt_and_keeps_the_rest
                taking_over_keeps_the_expiry_of_the_first
                a_repeated_claim_is_ones_own_and_counts_the_lease_anew
                a_repeated_claim_is_ones_own_after_the_lease_too
                a_repeated_claim_does_not_win_back_what_was_taken_over
                a_repeated_claim_of_a_completed_record_is_answered_with_it
                a_claim_id_means_nothing_once_its_record_is_gone
            }
            owning {
                renewing_counts_the_lease_anew
                what_is_committed_stays_committed
                an_owner_may_come_back_until_somebody_takes_over
                an_abandoned_record_keeps_all_but_its_lease
                a_released_record_is_forgotten
            }
            fencing {
                fences_increase_across_take_overs
                fences_increase_across_release
                fences_increase_across_forgetting
                fences_increase_across_erasure
                fences_increase_across_expiry
                an_owner_is_fence_and_claim_id_together
                an_owner_that_was_taken_over_is_fenced_out
                an_owner_whose_key_was_released_and_claimed_is_fenced_out
                an_owner_whose_key_was_forgotten_and_claimed_is_fenced_out
                an_owner_whose_scope_was_erased_and_key_claimed_is_fenced_out
                an_owner_whose_key_expired_and_was_claimed_is_fenced_out
                an_owner_without_a_record_misses_it
            }
            completing {
                a_completed_record_is_returned_with_its_payload
                a_repeated_completion_is_applied_and_changes_nothing
                a_completed_record_refuses_every_other_verb_of_its_owner
                a_payload_is_kept_byte_for_byte
            }
            expiring {
                what_is_left_falls_as_time_passes
                retention_counts_from_the_first_request
                the_retention_of_the_completion_counts
                a_retention_that_has_passed_ends_with_the_lease
                a_retention_and_a_lease_that_have_passed_leave_nothing
                a_live_claim_never_expires
                an_abandoned_record_is_kept_for_its_retention
                abandoning_a_record_beyond_its_retention_leaves_nothing
                an_expired_record_is_an_absent_one
                a_late_write_of_an_expired_record_is_applied_or_finds_it_missing
                every_record_expires_at_its_own_time
                the_longest_durations_do_not_overflow
            }
            forgetting {
                inspecting_changes_nothing
                a_live_record_is_forgotten_by_force_only
                abandoned_and_completed_records_are_forgotten_without_force
                an_unknown_record_cannot_be_forgotten
                a_scope_is_erased_with_what_is_in_flight
            }
            waiting {
                waiting_ends_when_the_record_is_completed
                waiting_ends_when_the_record_is_released
                waiting_ends_when_the_record_is_abandoned
                waiting_ends_when_the_record_is_forgotten
                waiting_ends_when_the_scope_is_erased
                waiting_ends_with_the_lease
                waiting_ends_at_its_bound
                nothing_is_waited_for_where_nothing_is_in_flight
                all_who_wait_return
            }
            dropping {
                a_claim_may_be_dropped_and_repeated
                a_take_over_may_be_dropped_and_repeated
                a_renewal_may_be_dropped_and_repeated
                a_completion_may_be_dropped_and_repeated
                an_abandonment_may_be_dropped_and_repeated
                a_release_may_be_dropped_and_repeated
                what_operators_do_may_be_dropped_and_repeated
                waiting_may_be_dropped
            }
            contending {
                of_many_claims_at_once_one_is_owned
                of_many_claims_of_a_lapsed_record_one_takes_over
                a_claim_sent_many_times_at_once_is_one_claim
                of_an_owner_and_its_successor_one_wins
                a_key_has_one_owner_at_a_time
            }
        }
    };
    (quota => $($then:tt)*) => {
        $($then)*! {
            quota {
                a_scope_at_its_quota_is_refused_and_no_other
                a_scope_at_its_quota_keeps_its_keys
                a_key_that_is_gone_counts_no_more
                a_key_that_has_expired_counts_no_more
            }
            quota_contending {
                of_many_claims_at_once_no_more_are_owned_than_the_quota_allows
            }
        }
    };
    (room => $($then:tt)*) => {
        $($then)*! {
            room {
                a_full_store_refuses_new_keys_and_serves_the_others
                nothing_is_dropped_for_room_before_it_expires
                a_record_that_is_gone_makes_room
                a_record_that_has_expired_makes_room
                completing_never_fails_for_lack_of_room
                a_store_that_knows_how_full_it_is_says_so
            }
        }
    };
    (limit => $($then:tt)*) => {
        $($then)*! {
            limit {
                a_payload_that_fits_is_kept
                a_payload_that_does_not_fit_leaves_its_tombstone
                a_completion_repeated_after_its_tombstone_is_applied
                a_tombstone_is_kept_for_the_retention
            }
        }
    };
    (corrupt => $($then:tt)*) => {
        $($then)*! {
            corrupt {
                a_claim_of_a_corrupt_record_fails
                inspecting_a_corrupt_record_fails
                a_corrupt_record_is_unreadable_after_its_lease_too
                the_owner_of_a_corrupt_record_is_not_told_that_it_is_missing
                a_corrupt_record_is_not_unknown_to_operators
                a_corrupt_record_leaves_the_others_readable
            }
        }
    };
    ($unknown:ident => $($then:tt)*) => {
        compile_error!(concat!(
            "store_conformance! knows quota, room, limit and corrupt, not ",
            stringify!($unknown),
        ));
    };
}

/// One thing that a store must do.
#[derive(Debug)]
pub struct Obligation {
    part: &'static str,
    name: &'static str,
    examine: Examine,
}

#[derive(Debug)]
enum Examine {
    Any(fn(Bench) -> Local<()>),
    Corrupt(fn(Bench, Corrupt) -> Local<()>),
}

impl Obligation {
    /// What it is about: the module of its test.
    #[must_use]
    pub fn part(&self) -> &'static str {
        self.part
    }

    /// What must be: the name of its test.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether it is about several threads.
    pub(super) fn wants_threads(&self) -> bool {
        self.part.ends_with("contending")
    }

    pub(super) fn examine(&self, bench: Bench, corrupt: Option<Corrupt>) -> Local<()> {
        match (&self.examine, corrupt) {
            (Examine::Any(examine), _) => examine(bench),
            (Examine::Corrupt(examine), Some(corrupt)) => examine(bench, corrupt),
            (Examine::Corrupt(_), None) => panic!("`corrupt` is not given"),
        }
    }
}

macro_rules! table {
    ($($part:ident { $($name:ident)* })*) => {
        &[$($(Obligation {
            part: stringify!($part),
            name: stringify!($name),
            examine: table!(@ $part $name),
        },)*)*]
    };
    (@ corrupt $name:ident) => { Examine::Corrupt(|bench, how| Box::pin(corrupt::$name(bench, how))) };
    (@ $part:ident $name:ident) => { Examine::Any(|bench| Box::pin($part::$name(bench))) };
}

static ALL: [&[Obligation]; 5] = [
    __obligations!(every => table),
    __obligations!(quota => table),
    __obligations!(room => table),
    __obligations!(limit => table),
    __obligations!(corrupt => table),
];

/// All obligations, those of the capabilities too.
pub fn all() -> impl Iterator<Item = &'static Obligation> {
    ALL.into_iter().flatten()
}
