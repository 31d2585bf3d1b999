//! What is left of a record that has ended.

use bytes::Bytes;
use tower_idempotency::{Completed, Settled, Store};

use super::{
    LEASE, RETENTION, SECOND, abandon, commit, complete, completed, facts, find, fingerprint,
    inspect, key, other_request, own, pass, payload, release, renew, request,
};

pub(crate) async fn a_completed_record_is_returned_with_its_payload(store: impl Store) {
    own(&store, &request(key(1))).await;
    pass(LEASE).await;
    let (_, owner) = own(&store, &request(key(1))).await;
    commit(&store, &owner).await;
    pass(SECOND).await;

    assert_eq!(
        complete(&store, &owner, &completed("done")).await,
        Settled::Applied
    );

    pass(LEASE * 2).await;
    for request in [request(key(1)), other_request(key(1))] {
        let record = find(&store, &request).await;
        assert_eq!(payload(&record).unwrap(), "done");
        assert!(record.fingerprint().matches(&fingerprint(1)));
        assert_eq!((record.fence(), record.attempt()), (owner.fence(), 2));
        assert!(record.is_committed() && !record.is_live());
        assert_eq!(record.since_first_request(), LEASE * 3 + SECOND);
        assert_eq!(record.remaining(), RETENTION - LEASE * 3 - SECOND);
    }
}

pub(crate) async fn a_repeated_completion_is_applied_and_changes_nothing(store: impl Store) {
    let (_, owner) = own(&store, &request(key(1))).await;
    complete(&store, &owner, &completed("first")).await;
    let before = inspect(&store, key(1)).await.unwrap();

    let again = Completed::new(Bytes::from_static(b"second"), Bytes::new(), RETENTION * 2);
    assert_eq!(complete(&store, &owner, &again).await, Settled::Applied);

    assert_eq!(
        facts(&inspect(&store, key(1)).await.unwrap()),
        facts(&before)
    );
}

pub(crate) async fn a_completed_record_refuses_every_other_verb_of_its_owner(store: impl Store) {
    let (_, owner) = own(&store, &request(key(1))).await;
    complete(&store, &owner, &completed("done")).await;
    let before = inspect(&store, key(1)).await.unwrap();

    assert_eq!(renew(&store, &owner).await, Settled::FencedOut);
    assert_eq!(commit(&store, &owner).await, Settled::FencedOut);
    assert_eq!(abandon(&store, &owner).await, Settled::FencedOut);
    assert_eq!(release(&store, &owner).await, Settled::FencedOut);

    assert_eq!(
        facts(&inspect(&store, key(1)).await.unwrap()),
        facts(&before)
    );
}

pub(crate) async fn an_empty_payload_and_a_large_one_are_kept(store: impl Store) {
    let large = Bytes::from((0..200_000).map(|byte| byte as u8).collect::<Vec<_>>());
    for (number, kept) in (0..).zip([Bytes::new(), Bytes::from_static(&[0]), large]) {
        let (_, owner) = own(&store, &request(key(number))).await;

        let completed = Completed::new(kept.clone(), Bytes::new(), RETENTION);
        assert_eq!(complete(&store, &owner, &completed).await, Settled::Applied);

        let record = find(&store, &request(key(number))).await;
        assert_eq!(payload(&record), Some(kept));
        assert_eq!(record.fence(), owner.fence());
    }
}
