//! What may be wrong with a store.

macro_rules! flaws {
    ($($flaw:ident breaks $part:ident::$obligation:ident)*) => {
        /// One mistake each, of those that one makes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Flaw {
            $($flaw,)*
        }

        impl Flaw {
            /// All, each with the obligation that it breaks. It may break others too.
            pub(crate) const ALL: &[(Self, &str, &str)] =
                &[$((Self::$flaw, stringify!($part), stringify!($obligation)),)*];
        }
    };
}

flaws! {
    ClaimAnswersHalfItsLease breaks claiming::a_new_record_is_the_first_attempt_with_its_whole_lease
    KeysIgnoreTheScope breaks claiming::a_record_key_is_scope_and_key_together
    KeysAreCutShort breaks claiming::a_record_key_is_scope_and_key_together
    AnyClaimCountsTheLeaseAnew breaks claiming::a_live_record_is_returned_as_it_is
    TakesOverAMomentTooEarly breaks claiming::a_lease_lasts_as_long_as_it_was_asked_for
    TakesOverLate breaks claiming::a_lease_lasts_as_long_as_it_was_asked_for
    IgnoresTheFingerprint breaks claiming::another_fingerprint_never_owns
    IgnoresTheVersionOfTheFingerprint breaks claiming::another_fingerprint_never_owns
    TakeOverNeverIsUncommitted breaks claiming::take_over_never_takes_over_nothing
    TakeOverUncommittedIsAlways breaks claiming::take_over_uncommitted_takes_over_what_is_not_committed
    TakeOverUncommittedIsNever breaks claiming::take_over_uncommitted_takes_over_what_is_not_committed
    TakeOverCommits breaks claiming::take_over_uncommitted_takes_over_what_is_not_committed
    TakeOverAlwaysIsUncommitted breaks claiming::take_over_always_takes_over_what_is_committed_too
    CountsToTwo breaks claiming::taking_over_counts_the_attempt_and_keeps_the_rest
    TakeOverForgetsCommitted breaks claiming::taking_over_counts_the_attempt_and_keeps_the_rest
    TakeOverCountsTheRetentionAnew breaks claiming::taking_over_keeps_the_expiry_of_the_first
    RepeatedClaimKeepsTheLease breaks claiming::a_repeated_claim_is_ones_own_and_counts_the_lease_anew
    LapsedClaimIdsAreUnknown breaks claiming::a_repeated_claim_is_ones_own_after_the_lease_too
    EarlierClaimIdsOwnToo breaks claiming::a_repeated_claim_does_not_win_back_what_was_taken_over
    RepeatedClaimOwnsWhatIsCompleted breaks claiming::a_repeated_claim_of_a_completed_record_is_answered_with_it
    ClaimIdsOutliveTheirRecords breaks claiming::a_claim_id_means_nothing_once_its_record_is_gone

    RenewalNeverShortens breaks owning::renewing_counts_the_lease_anew
    RenewalClearsCommitted breaks owning::what_is_committed_stays_committed
    LateOwnersAreFencedOut breaks owning::an_owner_may_come_back_until_somebody_takes_over
    AbandonmentResetsTheAge breaks owning::an_abandoned_record_keeps_all_but_its_lease
    ReleaseKeepsTheAttempt breaks owning::a_released_record_is_forgotten

    TakeOverKeepsTheFence breaks fencing::fences_increase_across_take_overs
    FencesRestartAfterRelease breaks fencing::fences_increase_across_release
    FencesRestartAfterForgetting breaks fencing::fences_increase_across_forgetting
    FencesRestartAfterErasure breaks fencing::fences_increase_across_erasure
    FencesRestartAfterExpiry breaks fencing::fences_increase_across_expiry
    OwnersAreTheirFence breaks fencing::an_owner_is_fence_and_claim_id_together
    OwnersAreTheirClaimId breaks fencing::an_owner_is_fence_and_claim_id_together
    HigherFencesOwnToo breaks fencing::an_owner_is_fence_and_claim_id_together
    TakenOverOwnersMayRenew breaks fencing::an_owner_that_was_taken_over_is_fenced_out
    TakenOverOwnersMayComplete breaks fencing::an_owner_that_was_taken_over_is_fenced_out
    TakenOverOwnersMayAbandon breaks fencing::an_owner_that_was_taken_over_is_fenced_out
    TakenOverOwnersMayRelease breaks fencing::an_owner_that_was_taken_over_is_fenced_out
    ReleasedOwnersMayWrite breaks fencing::an_owner_whose_key_was_released_and_claimed_is_fenced_out
    ForgottenOwnersMayWrite breaks fencing::an_owner_whose_key_was_forgotten_and_claimed_is_fenced_out
    ErasedOwnersMayWrite breaks fencing::an_owner_whose_scope_was_erased_and_key_claimed_is_fenced_out
    ExpiredOwnersMayWrite breaks fencing::an_owner_whose_key_expired_and_was_claimed_is_fenced_out
    MissingIsFencedOut breaks fencing::an_owner_without_a_record_misses_it

    CompletionResetsTheAge breaks completing::a_completed_record_is_returned_with_its_payload
    LastCompletionWins breaks completing::a_repeated_completion_is_applied_and_changes_nothing
    RepeatedCompletionIsFencedOut breaks completing::a_repeated_completion_is_applied_and_changes_nothing
    CompletedRecordsMayBeReleased breaks completing::a_completed_record_refuses_every_other_verb_of_its_owner
    PayloadsAreText breaks completing::a_payload_is_kept_byte_for_byte
    EmptyPayloadsAreNone breaks completing::a_payload_is_kept_byte_for_byte

    TimesAreThoseOfTheClaim breaks expiring::what_is_left_falls_as_time_passes
    RetentionCountsFromCompletion breaks expiring::retention_counts_from_the_first_request
    RetentionOfTheClaimStays breaks expiring::the_retention_of_the_completion_counts
    WhatIsOverExpiresAtOnce breaks expiring::a_retention_that_has_passed_ends_with_the_lease
    WhatIsOverIsKeptForAnotherLease breaks expiring::a_retention_and_a_lease_that_have_passed_leave_nothing
    LiveClaimsExpire breaks expiring::a_live_claim_never_expires
    ExpiresLate breaks expiring::an_abandoned_record_is_kept_for_its_retention
    AbandonedRecordsExpire breaks expiring::an_abandoned_record_is_kept_for_its_retention
    AbandonmentKeepsTheExpiry breaks expiring::abandoning_a_record_beyond_its_retention_leaves_nothing
    ErasureCountsWhatHasExpired breaks expiring::an_expired_record_is_an_absent_one
    LateWritesAreFencedOut breaks expiring::a_late_write_of_an_expired_record_is_applied_or_finds_it_missing
    ExpiryTakesNeighboursAlong breaks expiring::every_record_expires_at_its_own_time
    DurationsOverflow breaks expiring::the_longest_durations_do_not_overflow

    InspectionCountsTheLeaseAnew breaks forgetting::inspecting_changes_nothing
    ForceIsIgnored breaks forgetting::a_live_record_is_forgotten_by_force_only
    LapsedRecordsWantForce breaks forgetting::abandoned_and_completed_records_are_forgotten_without_force
    UnknownIsForgotten breaks forgetting::an_unknown_record_cannot_be_forgotten
    ErasureSparesWhatIsInFlight breaks forgetting::a_scope_is_erased_with_what_is_in_flight
    ErasureEndsAtAHundred breaks forgetting::a_scope_is_erased_with_what_is_in_flight

    CompletionWakesNobody breaks waiting::waiting_ends_when_the_record_is_completed
    ReleaseWakesNobody breaks waiting::waiting_ends_when_the_record_is_released
    AbandonmentWakesNobody breaks waiting::waiting_ends_when_the_record_is_abandoned
    ForgettingWakesNobody breaks waiting::waiting_ends_when_the_record_is_forgotten
    ErasureWakesNobody breaks waiting::waiting_ends_when_the_scope_is_erased
    WaitingIgnoresTheLease breaks waiting::waiting_ends_with_the_lease
    WaitingIgnoresItsBound breaks waiting::waiting_ends_at_its_bound
    WaitingIgnoresTheFence breaks waiting::nothing_is_waited_for_where_nothing_is_in_flight
    OnlyOneIsWoken breaks waiting::all_who_wait_return

    ClaimsInTwoSteps breaks dropping::a_claim_may_be_dropped_and_repeated
    TakesOverInTwoSteps breaks dropping::a_take_over_may_be_dropped_and_repeated
    RenewsInTwoSteps breaks dropping::a_renewal_may_be_dropped_and_repeated
    CompletesInTwoSteps breaks dropping::a_completion_may_be_dropped_and_repeated
    AbandonsInTwoSteps breaks dropping::an_abandonment_may_be_dropped_and_repeated
    ReleasesInTwoSteps breaks dropping::a_release_may_be_dropped_and_repeated
    ErasesInTwoSteps breaks dropping::what_operators_do_may_be_dropped_and_repeated
    InspectsInTwoSteps breaks dropping::what_operators_do_may_be_dropped_and_repeated
    WaitingHoldsALock breaks dropping::waiting_may_be_dropped

    LooksThenClaims breaks contending::of_many_claims_at_once_one_is_owned
    LooksThenTakesOver breaks contending::of_many_claims_of_a_lapsed_record_one_takes_over
    RepeatedClaimTakesANewFence breaks contending::a_claim_sent_many_times_at_once_is_one_claim
    LooksThenCompletes breaks contending::of_an_owner_and_its_successor_one_wins
    DrawsFencesBeforeItLocks breaks contending::a_key_has_one_owner_at_a_time

    QuotaIsForAll breaks quota::a_scope_at_its_quota_is_refused_and_no_other
    QuotaIsOneMore breaks quota::a_scope_at_its_quota_is_refused_and_no_other
    QuotaCountsEveryClaim breaks quota::a_scope_at_its_quota_keeps_its_keys
    QuotaCountsWhatIsGone breaks quota::a_key_that_is_gone_counts_no_more
    QuotaCountsWhatHasExpired breaks quota::a_key_that_has_expired_counts_no_more
    LooksAtTheQuotaThenClaims breaks quota_contending::of_many_claims_at_once_no_more_are_owned_than_the_quota_allows

    FullStoresRefuseAll breaks room::a_full_store_refuses_new_keys_and_serves_the_others
    FullStoresDropTheOldest breaks room::nothing_is_dropped_for_room_before_it_expires
    RoomCountsWhatIsGone breaks room::a_record_that_is_gone_makes_room
    RoomCountsWhatHasExpired breaks room::a_record_that_has_expired_makes_room
    FullStoresFailCompletions breaks room::completing_never_fails_for_lack_of_room
    FullnessIsAShare breaks room::a_store_that_knows_how_full_it_is_says_so

    LimitIsHalf breaks limit::a_payload_that_fits_is_kept
    PayloadsAreCutShort breaks limit::a_payload_that_does_not_fit_leaves_its_tombstone
    RepeatedCompletionIsTombstoned breaks limit::a_completion_repeated_after_its_tombstone_is_applied
    TombstonesAreForTheRetentionOfTheClaim breaks limit::a_tombstone_is_kept_for_the_retention

    ClaimsOwnWhatIsCorrupt breaks corrupt::a_claim_of_a_corrupt_record_fails
    CorruptIsFatal breaks corrupt::a_claim_of_a_corrupt_record_fails
    InspectionFindsNothingCorrupt breaks corrupt::inspecting_a_corrupt_record_fails
    LapsedCorruptRecordsAreAbsent breaks corrupt::a_corrupt_record_is_unreadable_after_its_lease_too
    OwnersMissWhatIsCorrupt breaks corrupt::the_owner_of_a_corrupt_record_is_not_told_that_it_is_missing
    CorruptIsUnknown breaks corrupt::a_corrupt_record_is_not_unknown_to_operators
    OneCorruptRecordFailsAll breaks corrupt::a_corrupt_record_leaves_the_others_readable
}
