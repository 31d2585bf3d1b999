//! Fences that rise whatever the clock of the server does, claims that come late, and the longest and shortest times.

use std::time::Duration;

use tower_idempotency::{
    Claim, Fence, Owner, RedisStore, Settled, Store, StoreErrorKind, TakeOver,
};

use super::verbs::{
    LEASE, RETENTION, SCOPE, completed, failed, find, key, name, own, own_key, owned, patient,
    request, request_for, tell,
};
use crate::servers::{Server, eventually};

const SHORT: Duration = Duration::from_millis(1);

#[tokio::test]
async fn fences_rise_however_quickly_a_key_is_claimed_again() {
    let server = Server::start().await;
    let store = patient(&server.url()).await;
    let mut last = Fence::new(0);

    for round in 0..1_000 {
        let owner = own_key(&store, 1).await;
        assert!(owner.fence() > last, "{round}");
        last = owner.fence();
        match round % 5 {
            0 => assert_eq!(store.release(&owner).await.unwrap(), Settled::Applied),
            1 => drop(store.forget(owner.key(), true).await.unwrap()),
            2 => drop(store.erase_scope(&SCOPE).await.unwrap()),
            3 => drop(store.abandon(&owner).await.unwrap()),
            _ => {
                store.complete(&owner, &completed("done")).await.unwrap();
                store.forget(owner.key(), false).await.unwrap();
            }
        }
    }
}

/// Gives a record the fence of a time to come, as if the clock of the server had been set back since.
async fn age(server: &Server, owner: &Owner) -> Owner {
    let fence = owner.fence().get() + 3_600_000_000;
    let name = name(owner.key());
    let _: u64 = tell(server, &[b"SETRANGE", &name, b"7", &fence.to_be_bytes()]).await;
    Owner::new(*owner.key(), Fence::new(fence), owner.claim_id())
}

#[tokio::test]
async fn fences_rise_after_the_clock_was_set_back() {
    let server = Server::start().await;
    let store = patient(&server.url()).await;
    let mut owners = Vec::new();
    for number in 0..6 {
        owners.push(age(&server, &own_key(&store, number).await).await);
    }
    let [released, forgotten, erased, lapsed, done, stub] = owners.try_into().unwrap();

    store.release(&released).await.unwrap();
    store.forget(forgotten.key(), true).await.unwrap();
    store.abandon(&lapsed).await.unwrap();
    store.complete(&done, &completed("done")).await.unwrap();
    store.forget(done.key(), false).await.unwrap();
    store.release(&stub).await.unwrap();
    let next = own(&store, &request(*stub.key())).await;
    store.release(&next).await.unwrap();
    let before_erasure = [&released, &forgotten, &lapsed, &done].map(|owner| {
        let claim = request(*owner.key()).with_take_over(TakeOver::Uncommitted);
        (claim, owner.fence())
    });
    for (claim, fence) in before_erasure {
        assert!(own(&store, &claim).await.fence() > fence, "{claim:?}");
    }
    store.erase_scope(&SCOPE).await.unwrap();
    assert!(own(&store, &request(*erased.key())).await.fence() > erased.fence());
    assert!(own(&store, &request(*stub.key())).await.fence() > next.fence());
}

#[tokio::test]
async fn fences_rise_after_a_completed_record_has_expired() {
    let server = Server::start().await;
    let store = patient(&server.url()).await;
    let mut last = Fence::new(0);

    for _ in 0..20 {
        let request = request_for(key(1), SHORT, SHORT);
        let owner = own(&store, &request).await;
        assert!(owner.fence() > last);
        last = owner.fence();
        // Applied, or too late.
        store.complete(&owner, &completed_for(SHORT)).await.unwrap();
        let gone = async || {
            store
                .inspect(&key(1))
                .await
                .unwrap()
                .is_none()
                .then_some(())
        };
        eventually("the record has expired", gone).await;
    }
}

fn completed_for(retention: Duration) -> tower_idempotency::Completed {
    tower_idempotency::Completed::new("done".into(), "gone".into(), retention)
}

#[tokio::test]
async fn a_claim_that_comes_after_its_own_end_owns_nothing_and_blocks_nobody() {
    let server = Server::start().await;
    let store = patient(&server.url()).await;

    for end in ["release", "forget", "erase"] {
        let late = request(key(1));
        let owner = own(&store, &late).await;
        match end {
            "release" => drop(store.release(&owner).await.unwrap()),
            "forget" => drop(store.forget(&key(1), true).await.unwrap()),
            _ => drop(store.erase_scope(&SCOPE).await.unwrap()),
        }

        let (kind, why) = failed(store.claim(&late).await);

        assert_eq!(kind, StoreErrorKind::NotApplied, "{end} {why}");
        assert!(store.inspect(&key(1)).await.unwrap().is_none(), "{end}");
        let next = own_key(&store, 1).await;
        assert!(next.fence() > owner.fence(), "{end}");
        let found = store.claim(&late).await.unwrap();
        assert!(matches!(found, Claim::Existing(_)), "{end} {found:?}");
        store.release(&next).await.unwrap();
    }
}

#[tokio::test]
async fn a_claim_that_comes_after_its_own_completion_is_answered_with_it() {
    let server = Server::start().await;
    let store = patient(&server.url()).await;
    let late = request(key(1));
    let owner = own(&store, &late).await;
    store.complete(&owner, &completed("done")).await.unwrap();

    let claim = store.claim(&late).await.unwrap();

    assert!(matches!(claim, Claim::Existing(_)), "{claim:?}");
}

/// The fence of a claim is the server's clock in microseconds; leases are kept in milliseconds.
#[tokio::test]
async fn a_lease_is_never_shorter_than_it_was_asked_for() {
    let server = Server::start().await;
    let store = patient(&server.url()).await;
    let lease = Duration::from_millis(3);
    let mut clock = server.connect().await;

    for number in 0..60 {
        let owner = with_times(&store, number, lease, RETENTION).await;
        let mut begin = owner.fence().get();
        if number % 2 == 0 {
            let time = redis::cmd("TIME").query_async(&mut clock).await;
            let (seconds, micros): (u64, u64) = time.unwrap();
            let renewal = store.renew(&owner, lease, false).await.unwrap();
            assert_eq!(renewal, Settled::Applied);
            begin = seconds * 1_000_000 + micros;
        }
        let next = loop {
            let claim = request(key(number));
            if let Claim::Owned(next) = store.claim(&claim).await.unwrap() {
                break next;
            }
        };
        let lasted = Duration::from_micros(next.fence().get() - begin);
        assert!(lasted >= lease, "{number} {lasted:?}");
    }
}

async fn with_times(
    store: &RedisStore,
    number: u64,
    lease: Duration,
    retention: Duration,
) -> Owner {
    let request = request_for(key(number), lease, retention);
    let claim = store.claim(&request).await;
    owned(&request, claim)
}

#[tokio::test]
async fn the_longest_times_are_for_ever() {
    let server = Server::start().await;
    let store = patient(&server.url()).await;
    let century = Duration::from_secs(100 * 365 * 24 * 3_600);

    for (number, lease, retention) in [
        (1, Duration::MAX, Duration::MAX),
        (2, LEASE, Duration::MAX),
        (3, Duration::MAX, RETENTION),
    ] {
        let owner = with_times(&store, number, lease, retention).await;
        let record = find(&store, key(number)).await;
        assert!(record.remaining() > century || number == 2, "{record:?}");
        let renewal = store.renew(&owner, Duration::MAX, true).await;
        assert_eq!(renewal.unwrap(), Settled::Applied);
        let record = find(&store, key(number)).await;
        assert!(record.state().lease_left() > century, "{record:?}");
        let completion = store.complete(&owner, &completed_for(Duration::MAX)).await;
        assert_eq!(completion.unwrap(), Settled::Applied);
        let record = find(&store, key(number)).await;
        assert!(record.remaining() > century, "{record:?}");
        let left: u64 = tell(&server, &[b"PTTL", &name(&key(number))]).await;
        assert!(u128::from(left) > century.as_millis(), "{left}");
    }
}

#[tokio::test]
async fn the_shortest_times_are_a_millisecond() {
    let server = Server::start().await;
    let store = patient(&server.url()).await;
    let times = [Duration::ZERO, Duration::from_nanos(11), SHORT];

    for (number, time) in (1..).zip(times) {
        let owner = with_times(&store, number, time, time).await;
        let gone = async || {
            store
                .inspect(&key(number))
                .await
                .unwrap()
                .is_none()
                .then_some(())
        };
        eventually("the record has expired", gone).await;
        let renewal = store.renew(&owner, time, true).await;
        assert_eq!(renewal.unwrap(), Settled::Missing, "{time:?}");

        let owner = with_times(&store, number, LEASE, RETENTION).await;
        let renewal = store.renew(&owner, time, false).await;
        assert_eq!(renewal.unwrap(), Settled::Applied, "{time:?}");
        let completion = store.complete(&owner, &completed_for(time)).await;
        assert_eq!(completion.unwrap(), Settled::Applied, "{time:?}");
        let gone = async || {
            store
                .inspect(&key(number))
                .await
                .unwrap()
                .is_none()
                .then_some(())
        };
        eventually("the record has expired", gone).await;
    }
}
