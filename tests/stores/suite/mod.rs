//! The obligations of [`Store`], one function each, the same for every backend.
//!
//! Each takes an empty store. Time stands still but for [`pass`] and for timers that all wait for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tower_idempotency::{
    Claim, ClaimId, ClaimRequest, Completed, Fingerprint, Owned, Owner, Record, RecordKey, Settled,
    State, Store,
};

pub(crate) mod claiming;
pub(crate) mod completing;
pub(crate) mod expiring;
pub(crate) mod forgetting;
pub(crate) mod owning;
pub(crate) mod stress;
pub(crate) mod waiting;

/// Mounts the suite for the store that the expression makes.
macro_rules! mount {
    ($backend:ident, $store:expr) => {
        mod $backend {
            $crate::suite::tests! { $store;
                claiming {
                    of_many_claims_at_once_one_is_owned
                    a_new_record_is_the_first_attempt_with_its_whole_lease
                    a_record_key_is_scope_and_key_together
                    a_live_record_is_returned_as_it_is
                    another_fingerprint_never_owns
                    a_lapsed_record_is_taken_over_where_that_is_allowed
                    taking_over_counts_the_attempt_and_keeps_the_rest
                    a_repeated_claim_is_ones_own_and_counts_the_lease_anew
                    a_repeated_claim_is_ones_own_after_the_lease_too
                    a_repeated_claim_does_not_win_back_what_was_taken_over
                    a_repeated_claim_of_a_completed_record_is_answered_with_it
                    fences_increase_whatever_becomes_of_the_record
                }
                owning {
                    renewing_counts_the_lease_anew
                    what_is_committed_stays_committed
                    an_owner_may_come_back_until_somebody_takes_over
                    an_abandoned_record_keeps_all_but_its_lease
                    a_released_record_is_forgotten
                    an_owner_is_fence_and_claim_id_together
                    an_owner_that_was_taken_over_is_fenced_out
                    an_owner_whose_key_was_released_and_claimed_is_fenced_out
                    an_owner_whose_key_was_forgotten_and_claimed_is_fenced_out
                    an_owner_whose_key_expired_and_was_claimed_is_fenced_out
                    an_owner_without_a_record_misses_it
                }
                completing {
                    a_completed_record_is_returned_with_its_payload
                    a_repeated_completion_is_applied_and_changes_nothing
                    a_completed_record_refuses_every_other_verb_of_its_owner
                    an_empty_payload_and_a_large_one_are_kept
                }
                expiring {
                    retention_counts_from_the_first_request
                    the_retention_of_the_completion_counts
                    a_retention_that_has_passed_ends_with_the_lease
                    a_retention_and_a_lease_that_have_passed_leave_nothing
                    a_live_claim_never_expires
                    an_abandoned_record_is_kept_for_its_retention
                    an_expired_record_is_an_absent_one
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
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn a_key_has_one_owner_at_a_time_on_many_threads() {
                $crate::suite::stress::a_key_has_one_owner_at_a_time($store).await;
            }
        }
    };
}
pub(crate) use mount;

macro_rules! tests {
    ($store:expr; $($part:ident { $($obligation:ident)* })*) => {
        $(mod $part {
            $(#[tokio::test(start_paused = true)]
            async fn $obligation() {
                $crate::suite::$part::$obligation($store).await;
            })*
        })*
    };
}
pub(crate) use tests;

pub(crate) const LEASE: Duration = Duration::from_secs(30);
pub(crate) const RETENTION: Duration = Duration::from_secs(60 * 60);

pub(crate) const SECOND: Duration = Duration::from_secs(1);
/// Less than any store may be late by.
pub(crate) const MOMENT: Duration = Duration::from_millis(1);

pub(crate) async fn pass(time: Duration) {
    tokio::time::advance(time).await;
}

/// A record key of the first scope.
pub(crate) fn key(number: u64) -> RecordKey {
    key_of(1, number)
}

pub(crate) fn key_of(scope: u8, number: u64) -> RecordKey {
    let mut key = [scope; 32];
    key[24..].copy_from_slice(&number.to_be_bytes());
    RecordKey::from_parts([scope; 16], key)
}

pub(crate) fn fingerprint(digest: u8) -> Fingerprint {
    Fingerprint::from_parts(1, [digest; 32])
}

/// A claim id that no other claim has.
pub(crate) fn claim_id() -> ClaimId {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = u128::from(NEXT.fetch_add(1, Ordering::Relaxed));
    ClaimId::from_bytes(number.to_be_bytes())
}

/// What the same request sends when it is tried again.
pub(crate) fn request(key: RecordKey) -> ClaimRequest {
    request_for(key, LEASE, RETENTION)
}

pub(crate) fn request_for(key: RecordKey, lease: Duration, retention: Duration) -> ClaimRequest {
    ClaimRequest::new(key, claim_id(), fingerprint(1), lease, retention)
}

/// What another request sends with the same key.
pub(crate) fn other_request(key: RecordKey) -> ClaimRequest {
    ClaimRequest::new(key, claim_id(), fingerprint(2), LEASE, RETENTION)
}

pub(crate) fn completed(payload: &'static str) -> Completed {
    Completed::new(
        Bytes::from_static(payload.as_bytes()),
        Bytes::from_static(b"gone"),
        RETENTION,
    )
}

pub(crate) async fn claim(store: &impl Store, request: &ClaimRequest) -> Claim {
    store.claim(request).await.unwrap()
}

/// Claims and expects to own.
pub(crate) async fn own(store: &impl Store, request: &ClaimRequest) -> (Owned, Owner) {
    match claim(store, request).await {
        Claim::Owned(owned) => (
            owned,
            Owner::new(*request.key(), owned.fence(), request.claim_id()),
        ),
        claim => panic!("not owned: {claim:?}"),
    }
}

/// Claims and expects to find a record.
pub(crate) async fn find(store: &impl Store, request: &ClaimRequest) -> Record {
    match claim(store, request).await {
        Claim::Existing(record) => record,
        claim => panic!("no record was found: {claim:?}"),
    }
}

pub(crate) async fn inspect(store: &impl Store, key: RecordKey) -> Option<Record> {
    store.inspect(&key).await.unwrap()
}

pub(crate) async fn renew(store: &impl Store, owner: &Owner) -> Settled {
    store.renew(owner, LEASE, false).await.unwrap()
}

pub(crate) async fn commit(store: &impl Store, owner: &Owner) -> Settled {
    store.renew(owner, LEASE, true).await.unwrap()
}

pub(crate) async fn abandon(store: &impl Store, owner: &Owner) -> Settled {
    store.abandon(owner).await.unwrap()
}

pub(crate) async fn release(store: &impl Store, owner: &Owner) -> Settled {
    store.release(owner).await.unwrap()
}

pub(crate) async fn complete(store: &impl Store, owner: &Owner, completed: &Completed) -> Settled {
    store.complete(owner, completed).await.unwrap()
}

/// Expects that every verb of this owner is answered so, and that its record stays as it is.
pub(crate) async fn refuses(store: &impl Store, owner: &Owner, settled: Settled) {
    let before = inspect(store, *owner.key()).await;

    assert_eq!(commit(store, owner).await, settled, "renew");
    assert_eq!(abandon(store, owner).await, settled, "abandon");
    assert_eq!(release(store, owner).await, settled, "release");
    assert_eq!(
        complete(store, owner, &completed("of a zombie")).await,
        settled,
        "complete"
    );

    let after = inspect(store, *owner.key()).await;
    assert_eq!(after.as_ref().map(facts), before.as_ref().map(facts));
}

/// Everything that a record says.
pub(crate) fn facts(record: &Record) -> impl PartialEq + std::fmt::Debug + use<> {
    let fingerprint = (
        record.fingerprint().version(),
        *record.fingerprint().digest(),
    );
    let identity = (
        fingerprint,
        record.fence(),
        record.attempt(),
        record.is_committed(),
    );
    let times = (
        record.since_first_request(),
        record.remaining(),
        record.state().lease_left(),
    );
    (identity, times, payload(record))
}

/// The payload of a completed record.
pub(crate) fn payload(record: &Record) -> Option<Bytes> {
    match record.state() {
        State::Completed { payload } => Some(payload.clone()),
        _ => None,
    }
}
