//! What operators do.

use tower_idempotency::{Forgotten, Settled, Store};

use super::{
    LEASE, abandon, complete, completed, facts, inspect, key, key_of, other_request, own, pass,
    refuses, renew, request,
};

pub(crate) async fn inspecting_changes_nothing(store: impl Store) {
    let (_, owner) = own(&store, &request(key(1))).await;
    pass(LEASE / 2).await;

    let first = inspect(&store, key(1)).await.unwrap();
    let second = inspect(&store, key(1)).await.unwrap();

    assert_eq!(facts(&first), facts(&second));
    assert_eq!(first.state().lease_left(), LEASE / 2);
    assert!(inspect(&store, key(2)).await.is_none());
    assert_eq!(renew(&store, &owner).await, Settled::Applied);
}

pub(crate) async fn a_live_record_is_forgotten_by_force_only(store: impl Store) {
    let (_, owner) = own(&store, &request(key(1))).await;
    let before = inspect(&store, key(1)).await.unwrap();

    assert_eq!(
        store.forget(&key(1), false).await.unwrap(),
        Forgotten::InFlight
    );
    assert_eq!(
        facts(&inspect(&store, key(1)).await.unwrap()),
        facts(&before)
    );

    assert_eq!(
        store.forget(&key(1), true).await.unwrap(),
        Forgotten::Forgotten
    );
    assert!(inspect(&store, key(1)).await.is_none());
    refuses(&store, &owner, Settled::Missing).await;
    assert_eq!(own(&store, &other_request(key(1))).await.0.attempt(), 1);
}

pub(crate) async fn abandoned_and_completed_records_are_forgotten_without_force(store: impl Store) {
    let (_, abandoned) = own(&store, &request(key(1))).await;
    abandon(&store, &abandoned).await;
    let (_, done) = own(&store, &request(key(2))).await;
    complete(&store, &done, &completed("done")).await;
    own(&store, &request(key(3))).await;
    pass(LEASE).await;

    for number in 1..=3 {
        assert_eq!(
            store.forget(&key(number), false).await.unwrap(),
            Forgotten::Forgotten
        );
        assert!(inspect(&store, key(number)).await.is_none());
        assert_eq!(
            own(&store, &other_request(key(number))).await.0.attempt(),
            1
        );
    }
}

pub(crate) async fn an_unknown_record_cannot_be_forgotten(store: impl Store) {
    own(&store, &request(key(1))).await;

    for force in [false, true] {
        assert_eq!(
            store.forget(&key(2), force).await.unwrap(),
            Forgotten::Unknown
        );
    }
    assert!(inspect(&store, key(1)).await.is_some());
}

pub(crate) async fn a_scope_is_erased_with_what_is_in_flight(store: impl Store) {
    let mut owners = Vec::new();
    for number in 0..300 {
        let (_, owner) = own(&store, &request(key_of(1, number))).await;
        match number % 3 {
            0 => drop(complete(&store, &owner, &completed("done")).await),
            1 => drop(abandon(&store, &owner).await),
            _ => {}
        }
        owners.push(owner);
        own(&store, &request(key_of(2, number))).await;
    }

    assert_eq!(store.erase_scope(key_of(3, 0).scope()).await.unwrap(), 0);
    assert_eq!(store.erase_scope(key_of(1, 0).scope()).await.unwrap(), 300);

    for owner in owners {
        assert!(inspect(&store, *owner.key()).await.is_none());
        assert_eq!(renew(&store, &owner).await, Settled::Missing);
    }
    for number in 0..300 {
        assert!(inspect(&store, key_of(2, number)).await.unwrap().is_live());
    }
    assert_eq!(store.erase_scope(key_of(1, 0).scope()).await.unwrap(), 0);
    assert_eq!(
        own(&store, &other_request(key_of(1, 0))).await.0.attempt(),
        1
    );
}
