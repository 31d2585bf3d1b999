//! What an owner may do to its record, and who is none any more.

use std::time::Duration;

use tower_idempotency::{Fence, Forgotten, Owner, Settled, Store, TakeOver};

use super::{
    LEASE, RETENTION, SECOND, abandon, claim_id, commit, complete, completed, find, fingerprint,
    inspect, key, other_request, own, pass, payload, refuses, release, renew, request, request_for,
};

pub(crate) async fn renewing_counts_the_lease_anew(store: impl Store) {
    let (_, owner) = own(&store, &request(key(1))).await;

    for lease in [LEASE, LEASE * 3, LEASE / 3] {
        pass(SECOND * 5).await;

        assert_eq!(
            store.renew(&owner, lease, false).await.unwrap(),
            Settled::Applied
        );

        let record = inspect(&store, key(1)).await.unwrap();
        assert_eq!(record.state().lease_left(), lease);
        assert_eq!((record.fence(), record.attempt()), (owner.fence(), 1));
        assert!(!record.is_committed());
    }
    pass(LEASE / 3).await;
    assert!(!inspect(&store, key(1)).await.unwrap().is_live());
}

pub(crate) async fn what_is_committed_stays_committed(store: impl Store) {
    let (_, first) = own(&store, &request(key(1))).await;
    let committed = async || inspect(&store, key(1)).await.unwrap().is_committed();
    assert_eq!(commit(&store, &first).await, Settled::Applied);
    assert!(committed().await);

    renew(&store, &first).await;
    assert!(committed().await, "after another renewal");
    abandon(&store, &first).await;
    assert!(committed().await, "after it was abandoned");
    let (_, second) = own(&store, &request(key(1)).with_take_over(TakeOver::Always)).await;
    assert!(committed().await, "after it was taken over");
    renew(&store, &second).await;
    assert!(committed().await, "after the next owner's renewal");
    complete(&store, &second, &completed("done")).await;
    assert!(committed().await, "after it was completed");
}

pub(crate) async fn an_owner_may_come_back_until_somebody_takes_over(store: impl Store) {
    let (_, renewing) = own(&store, &request(key(1))).await;
    let (_, completing) = own(&store, &request(key(2))).await;
    let (_, abandoned) = own(&store, &request(key(3))).await;
    abandon(&store, &abandoned).await;
    pass(LEASE * 2).await;

    assert_eq!(renew(&store, &renewing).await, Settled::Applied);
    assert_eq!(
        complete(&store, &completing, &completed("late")).await,
        Settled::Applied
    );
    assert_eq!(renew(&store, &abandoned).await, Settled::Applied);

    assert!(find(&store, &request(key(1))).await.is_live());
    assert_eq!(
        payload(&find(&store, &request(key(2))).await).unwrap(),
        "late"
    );
    assert!(find(&store, &request(key(3))).await.is_live());
}

pub(crate) async fn an_abandoned_record_keeps_all_but_its_lease(store: impl Store) {
    let (_, owner) = own(&store, &request(key(1))).await;
    commit(&store, &owner).await;
    pass(SECOND).await;

    assert_eq!(abandon(&store, &owner).await, Settled::Applied);

    let record = inspect(&store, key(1)).await.unwrap();
    assert!(!record.is_live() && payload(&record).is_none());
    assert!(record.fingerprint().matches(&fingerprint(1)));
    assert_eq!((record.fence(), record.attempt()), (owner.fence(), 1));
    assert!(record.is_committed());
    assert_eq!(record.since_first_request(), SECOND);
    assert_eq!(record.remaining(), RETENTION - SECOND);
    assert_eq!(abandon(&store, &owner).await, Settled::Applied, "once more");
    assert_eq!(
        release(&store, &owner).await,
        Settled::Applied,
        "and given up"
    );
}

pub(crate) async fn a_released_record_is_forgotten(store: impl Store) {
    let (_, first) = own(&store, &request(key(1))).await;
    pass(LEASE).await;
    let (_, second) = own(&store, &request(key(1))).await;
    commit(&store, &second).await;
    pass(SECOND).await;

    assert_eq!(release(&store, &second).await, Settled::Applied);

    assert!(inspect(&store, key(1)).await.is_none());
    let (owned, _) = own(&store, &other_request(key(1))).await;
    assert_eq!(owned.attempt(), 1);
    assert!(owned.fence() > second.fence() && second.fence() > first.fence());
    let record = inspect(&store, key(1)).await.unwrap();
    assert!(!record.is_committed() && record.fingerprint().matches(&fingerprint(2)));
    assert_eq!(
        (record.since_first_request(), record.remaining()),
        (Duration::ZERO, RETENTION)
    );
}

pub(crate) async fn an_owner_is_fence_and_claim_id_together(store: impl Store) {
    let (_, owner) = own(&store, &request(key(1))).await;
    let other_fences = [
        owner.fence().get() - 1,
        owner.fence().get() + 1,
        0,
        u64::MAX,
    ];
    let mut others = other_fences
        .map(|fence| Owner::new(key(1), Fence::new(fence), owner.claim_id()))
        .to_vec();
    others.push(Owner::new(key(1), owner.fence(), claim_id()));

    for other in others {
        refuses(&store, &other, Settled::FencedOut).await;
    }
    assert_eq!(renew(&store, &owner).await, Settled::Applied);
}

pub(crate) async fn an_owner_that_was_taken_over_is_fenced_out(store: impl Store) {
    let (_, zombie) = own(&store, &request(key(1))).await;
    pass(LEASE).await;
    let (_, owner) = own(&store, &request(key(1))).await;

    refuses(&store, &zombie, Settled::FencedOut).await;
    abandon(&store, &owner).await;
    refuses(&store, &zombie, Settled::FencedOut).await;
    complete(&store, &owner, &completed("of the second")).await;
    refuses(&store, &zombie, Settled::FencedOut).await;
}

pub(crate) async fn an_owner_whose_key_was_released_and_claimed_is_fenced_out(store: impl Store) {
    let (_, zombie) = own(&store, &request(key(1))).await;
    release(&store, &zombie).await;
    let (_, owner) = own(&store, &request(key(1))).await;

    refuses(&store, &zombie, Settled::FencedOut).await;
    complete(&store, &owner, &completed("of the second")).await;
    refuses(&store, &zombie, Settled::FencedOut).await;
}

pub(crate) async fn an_owner_whose_key_was_forgotten_and_claimed_is_fenced_out(store: impl Store) {
    let (_, zombie) = own(&store, &request(key(1))).await;
    assert_eq!(
        store.forget(&key(1), true).await.unwrap(),
        Forgotten::Forgotten
    );
    own(&store, &request(key(1))).await;

    refuses(&store, &zombie, Settled::FencedOut).await;
}

pub(crate) async fn an_owner_whose_key_expired_and_was_claimed_is_fenced_out(store: impl Store) {
    let (_, zombie) = own(&store, &request_for(key(1), LEASE, LEASE)).await;
    let (_, done) = own(&store, &request_for(key(2), LEASE, LEASE)).await;
    complete(&store, &done, &completed("first")).await;
    pass(RETENTION).await;
    own(&store, &request(key(1))).await;
    own(&store, &request(key(2))).await;

    refuses(&store, &zombie, Settled::FencedOut).await;
    refuses(&store, &done, Settled::FencedOut).await;
}

pub(crate) async fn an_owner_without_a_record_misses_it(store: impl Store) {
    let (_, released) = own(&store, &request(key(1))).await;
    release(&store, &released).await;
    let (_, forgotten) = own(&store, &request(key(2))).await;
    store.forget(&key(2), true).await.unwrap();
    let (_, erased) = own(&store, &request(key(3))).await;
    store.erase_scope(key(3).scope()).await.unwrap();
    let (_, completed_and_forgotten) = own(&store, &request(key(4))).await;
    complete(&store, &completed_and_forgotten, &completed("done")).await;
    store.forget(&key(4), false).await.unwrap();
    let never = Owner::new(key(5), Fence::new(1), claim_id());

    for owner in [released, forgotten, erased, completed_and_forgotten, never] {
        refuses(&store, &owner, Settled::Missing).await;

        assert!(inspect(&store, *owner.key()).await.is_none());
    }
}
