//! What operators delete, here and elsewhere.

use tower_idempotency::{Cached, Forgotten, RecordKey, Store, StoreErrorKind};

use crate::support::{
    MOMENT, SECOND, complete, completed, find, inspect, key, key_of, own, pass, payload, request,
};

use super::gated::{Gated, Verb};
use super::{STALENESS, gated, is_kept, kept, send};

/// A way to delete the record of a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deletion {
    Forget { force: bool },
    Erase,
}

impl Deletion {
    pub(super) const ALL: [Self; 3] = [
        Self::Forget { force: false },
        Self::Forget { force: true },
        Self::Erase,
    ];

    pub(super) fn verb(self) -> Verb {
        match self {
            Self::Forget { .. } => Verb::Forget,
            Self::Erase => Verb::Erase,
        }
    }

    /// Whether it was answered that the record was deleted.
    pub(super) async fn of(
        self,
        store: &impl Store,
        key: RecordKey,
    ) -> Result<bool, StoreErrorKind> {
        let deleted = match self {
            Self::Forget { force } => {
                let forgotten = store.forget(&key, force).await;
                forgotten.map(|forgotten| forgotten == Forgotten::Forgotten)
            }
            Self::Erase => {
                let erased = store.erase_scope(key.scope()).await;
                erased.map(|erased| erased > 0)
            }
        };
        deleted.map_err(|error| error.kind())
    }
}

/// The next claim owns the key, by the store.
async fn is_free(cached: &Cached<Gated>, key: RecordKey) {
    cached.store().asked();
    assert_eq!(own(cached, &request(key)).await.0.attempt(), 1);
    assert_eq!(cached.store().asked(), [Verb::Claim]);
}

#[tokio::test(start_paused = true)]
async fn what_is_deleted_here_is_not_replayed_any_more() {
    for deletion in Deletion::ALL {
        let cached = gated();
        kept(&cached, key(1), "done").await;

        assert_eq!(deletion.of(&cached, key(1)).await, Ok(true));

        assert_eq!(cached.store().asked(), [deletion.verb()]);
        assert!(cached.is_empty(), "{deletion:?}");
        is_free(&cached, key(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_deletion_leaves_the_others() {
    for deletion in Deletion::ALL {
        let cached = gated();
        kept(&cached, key_of(1, 1), "done").await;
        kept(&cached, key_of(1, 2), "done").await;
        kept(&cached, key_of(2, 1), "done").await;

        deletion.of(&cached, key_of(1, 1)).await.unwrap();
        cached.store().asked();

        assert!(is_kept(&cached, key_of(2, 1)).await, "{deletion:?}");
        match deletion {
            Deletion::Forget { .. } => assert!(is_kept(&cached, key_of(1, 2)).await),
            Deletion::Erase => is_free(&cached, key_of(1, 2)).await,
        }
        is_free(&cached, key_of(1, 1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_of_the_next_life_is_kept_like_any_other() {
    for deletion in Deletion::ALL {
        let cached = gated();
        let first = kept(&cached, key(1), "first").await;
        deletion.of(&cached, key(1)).await.unwrap();

        let second = kept(&cached, key(1), "second").await;

        assert_eq!(payload(&second).unwrap(), "second");
        assert!(second.fence() > first.fence());
    }
}

#[tokio::test(start_paused = true)]
async fn what_another_process_deletes_is_replayed_until_it_is_too_stale() {
    for deletion in Deletion::ALL {
        let cached = gated();
        kept(&cached, key(1), "here").await;
        pass(SECOND).await;

        // And it runs the key again.
        let elsewhere = &cached.store().memory;
        assert_eq!(deletion.of(elsewhere, key(1)).await, Ok(true));
        let (_, owner) = own(elsewhere, &request(key(1))).await;
        complete(elsewhere, &owner, &completed("elsewhere")).await;

        pass(STALENESS - SECOND - MOMENT).await;
        let stale = find(&cached, &request(key(1))).await;
        assert_eq!(payload(&stale).unwrap(), "here");
        pass(MOMENT).await;
        let record = find(&cached, &request(key(1))).await;
        assert_eq!(payload(&record).unwrap(), "elsewhere");
        assert_eq!(record.fence(), owner.fence());
    }
}

#[tokio::test(start_paused = true)]
async fn a_deletion_here_also_ends_what_another_process_has_deleted_before() {
    for deletion in Deletion::ALL {
        let cached = gated();
        kept(&cached, key(1), "done").await;
        deletion.of(&cached.store().memory, key(1)).await.unwrap();

        assert_eq!(deletion.of(&cached, key(1)).await, Ok(false));

        is_free(&cached, key(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_fails_drops_what_is_kept_whether_it_was_applied_or_not() {
    for deletion in Deletion::ALL {
        let cached = gated();
        kept(&cached, key(1), "done").await;
        cached
            .store()
            .fails_after(deletion.verb(), StoreErrorKind::Ambiguous);
        let failed = deletion.of(&cached, key(1)).await;
        assert_eq!(failed, Err(StoreErrorKind::Ambiguous));
        is_free(&cached, key(1)).await;

        kept(&cached, key(2), "done").await;
        cached
            .store()
            .fails_before(deletion.verb(), StoreErrorKind::NotApplied);
        let failed = deletion.of(&cached, key(2)).await;
        assert_eq!(failed, Err(StoreErrorKind::NotApplied));
        cached.store().asked();
        assert!(!is_kept(&cached, key(2)).await, "{deletion:?}");
        assert!(is_kept(&cached, key(2)).await, "it is there as before");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_is_dropped_drops_what_is_kept() {
    for deletion in Deletion::ALL {
        let cached = gated();
        kept(&cached, key(1), "done").await;
        let _gate = cached.store().holds_the_answer(deletion.verb());
        let call = send(deletion.of(&cached, key(1)));

        drop(call);

        is_free(&cached, key(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_is_applied_after_it_was_dropped_is_as_one_by_another_process() {
    for deletion in Deletion::ALL {
        let cached = gated();
        kept(&cached, key(1), "done").await;
        let _gate = cached.store().holds(deletion.verb());
        drop(send(deletion.of(&cached, key(1))));
        // The record is there still, and is read again.
        find(&cached, &request(key(1))).await;

        deletion.of(&cached.store().memory, key(1)).await.unwrap();

        pass(STALENESS - MOMENT).await;
        find(&cached, &request(key(1))).await;
        pass(MOMENT).await;
        is_free(&cached, key(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_is_not_begun_drops_nothing() {
    let cached = gated();
    kept(&cached, key(1), "done").await;

    drop(cached.forget(&key(1), true));
    drop(cached.erase_scope(key(1).scope()));

    assert_eq!(cached.store().asked(), []);
    assert!(is_kept(&cached, key(1)).await);
    assert!(inspect(&cached, key(1)).await.is_some());
}
