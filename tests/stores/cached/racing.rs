//! Answers of the store that come while something else happens.

use tower_idempotency::{Cached, Store};

use crate::support::{complete, completed, find, key, own, payload, request};

use super::forgetting::Deletion;
use super::gated::{Gated, Verb};
use super::{done, gated, is_kept, kept, send};

/// The race: the store shows a claim the record, the record is deleted from beginning to end, and only then the answer
/// of the claim comes.
#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_after_a_deletion_does_not_bring_the_record_back() {
    for deletion in Deletion::ALL {
        let cached = gated();
        done(&cached, key(1), "done").await;
        let gate = cached.store().holds_the_answer(Verb::Claim);
        let (early, late) = (request(key(1)), request(key(1)));
        let replay = send(cached.claim(&early));

        assert_eq!(deletion.of(&cached, key(1)).await, Ok(true));
        gate.open();
        // It began before the deletion did: it may be answered so.
        replay.await.unwrap();

        assert!(cached.is_empty(), "{deletion:?}");
        assert_eq!(own(&cached, &late).await.0.attempt(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_before_a_deletion_is_dropped_when_the_deletion_ends() {
    for deletion in Deletion::ALL {
        let cached = gated();
        done(&cached, key(1), "done").await;
        let gate = cached.store().holds(deletion.verb());
        let call = send(deletion.of(&cached, key(1)));

        // Asked, answered and kept while the deletion is on its way to the store.
        find(&cached, &request(key(1))).await;
        assert_eq!(cached.len(), 1);
        gate.open();
        assert_eq!(call.await, Ok(true));

        assert!(cached.is_empty(), "{deletion:?}");
        assert_eq!(own(&cached, &request(key(1))).await.0.attempt(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_before_a_deletion_that_comes_after_its_end_is_not_kept() {
    for deletion in Deletion::ALL {
        for is_dropped in [false, true] {
            let cached = gated();
            done(&cached, key(1), "done").await;
            let deleted = cached.store().holds(deletion.verb());
            let call = send(deletion.of(&cached, key(1)));
            // Asked while the deletion is on its way, answered when it has ended, or was dropped.
            let answered = cached.store().holds_the_answer(Verb::Claim);
            let early = request(key(1));
            let replay = send(cached.claim(&early));
            if is_dropped {
                drop(call);
                let elsewhere = deletion.of(&cached.store().memory, key(1)).await;
                assert_eq!(elsewhere, Ok(true));
            } else {
                deleted.open();
                assert_eq!(call.await, Ok(true));
            }
            answered.open();
            replay.await.unwrap();

            assert!(cached.is_empty(), "{deletion:?}");
            assert_eq!(own(&cached, &request(key(1))).await.0.attempt(), 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn from_the_beginning_of_a_deletion_on_the_store_is_asked() {
    for deletion in Deletion::ALL {
        let cached = gated();
        kept(&cached, key(1), "done").await;
        let gate = cached.store().holds_the_answer(deletion.verb());

        // Applied at once; its answer takes its time.
        let call = send(deletion.of(&cached, key(1)));
        let (owned, owner) = own(&cached, &request(key(1))).await;
        assert_eq!(owned.attempt(), 1, "{deletion:?}");
        complete(&cached, &owner, &completed("again")).await;
        gate.open();
        call.await.unwrap();

        let record = find(&cached, &request(key(1))).await;
        assert_eq!(payload(&record).unwrap(), "again");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_waits_for_a_deletion_of_another_key_is_asked_for_once_more() {
    let cached = gated();
    done(&cached, key(1), "done").await;
    kept(&cached, key(2), "done").await;
    let gate = cached.store().holds_the_answer(Verb::Claim);
    let early = request(key(1));
    let replay = send(cached.claim(&early));
    cached.forget(&key(3), false).await.unwrap();
    gate.open();
    replay.await.unwrap();
    cached.store().asked();

    assert!(!is_kept(&cached, key(1)).await);
    assert!(is_kept(&cached, key(1)).await);
    assert!(is_kept(&cached, key(2)).await, "it was kept already");
}

/// Another process forgets the record, and runs its key again.
async fn runs_elsewhere(cached: &Cached<Gated>) {
    let elsewhere = &cached.store().memory;
    elsewhere.forget(&key(1), false).await.unwrap();
    let (_, owner) = own(elsewhere, &request(key(1))).await;
    complete(elsewhere, &owner, &completed("second")).await;
}

/// The next replay is this response.
async fn is_replayed(cached: &Cached<Gated>, expected: &str) {
    let record = find(cached, &request(key(1))).await;
    assert_eq!(payload(&record).unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn an_older_answer_does_not_take_the_place_of_a_newer_one() {
    let cached = gated();
    done(&cached, key(1), "first").await;
    let gate = cached.store().holds_the_answer(Verb::Claim);
    let early = request(key(1));
    let replay = send(cached.claim(&early));
    runs_elsewhere(&cached).await;
    is_replayed(&cached, "second").await;

    gate.open();
    replay.await.unwrap();

    is_replayed(&cached, "second").await;
}

#[tokio::test(start_paused = true)]
async fn a_newer_answer_takes_the_place_of_an_older_one() {
    let cached = gated();
    done(&cached, key(1), "first").await;
    let gate = cached.store().holds(Verb::Claim);
    let late = request(key(1));
    let replay = send(cached.claim(&late));
    is_replayed(&cached, "first").await;
    runs_elsewhere(&cached).await;

    gate.open();
    replay.await.unwrap();

    is_replayed(&cached, "second").await;
}

#[tokio::test(start_paused = true)]
async fn a_newer_answer_that_may_not_be_kept_takes_the_older_one_away() {
    let cached = gated();
    done(&cached, key(1), "first").await;
    let gate = cached.store().holds(Verb::Claim);
    let late = request(key(1));
    let replay = send(cached.claim(&late));
    is_replayed(&cached, "first").await;
    runs_elsewhere(&cached).await;
    cached.forget(&key(2), false).await.unwrap();

    gate.open();
    replay.await.unwrap();

    assert!(cached.is_empty());
    is_replayed(&cached, "second").await;
}

#[tokio::test(start_paused = true)]
async fn whoever_owns_a_key_is_not_answered_by_an_earlier_record_of_it() {
    let cached = gated();
    done(&cached, key(1), "first").await;
    let gate = cached.store().holds(Verb::Claim);
    let next = request(key(1));
    let claim = send(cached.claim(&next));
    is_replayed(&cached, "first").await;
    cached.store().memory.forget(&key(1), false).await.unwrap();

    // This process runs the key again, so it knows better than what it has kept.
    gate.open();
    claim.await.unwrap();

    assert!(find(&cached, &request(key(1))).await.is_live());
}
