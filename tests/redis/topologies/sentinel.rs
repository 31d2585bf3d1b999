//! Sentinels that put a replica in the place of its primary.

use super::*;

async fn connect(sentinel: &Sentinel) -> RedisStore {
    let store = RedisStore::builder().timeout(SECOND);
    within(store.connect(&sentinel.url())).await.unwrap()
}

#[tokio::test]
async fn a_planned_failover_loses_nothing() {
    let sentinel = Sentinel::start().await;
    let store = connect(&sentinel).await;
    let running = own(&store, 1).await;
    let finished = own(&store, 2).await;
    complete(&store, &finished).await;

    sentinel.failover().await;

    assert_eq!(complete(&store, &running).await, Settled::Applied);
    for number in [1, 2] {
        assert_eq!(
            claimed(&store, number).await,
            Came::Completed("done".into())
        );
    }
    store.ping().await.unwrap();
}

#[tokio::test]
async fn a_primary_that_is_killed_is_replaced() {
    let sentinel = Sentinel::start().await;
    let store = connect(&sentinel).await;
    let owner = own(&store, 1).await;
    let replicated: usize = sentinel.primary().ask("WAIT 1 10000").await.unwrap();
    assert_eq!(replicated, 1);

    sentinel.kill_primary();
    let began = Instant::now();
    let refused = claim(&store, 2).await;
    assert!(kind(&refused).is_some(), "{refused:?}");
    assert!(began.elapsed() < DEADLINE, "{:?}", began.elapsed());
    sentinel.promoted().await;

    assert_eq!(complete(&store, &owner).await, Settled::Applied);
    own(&store, 2).await;
}

#[tokio::test]
async fn a_failover_that_loses_a_claim_fences_its_owner_out() {
    let sentinel = Sentinel::start().await;
    let store = connect(&sentinel).await;
    // The replica hears nothing of this claim.
    sentinel.replica().stop().await;
    let cut_off = sentinel
        .primary()
        .ask::<usize>("CLIENT KILL TYPE replica")
        .await;
    assert_eq!(cut_off, Ok(1));
    let lost = own(&store, 1).await;
    sentinel.kill_primary();
    sentinel.replica().cont();
    sentinel.promoted().await;

    let second = own(&store, 1).await;

    assert!(second.fence() > lost.fence(), "{second:?} after {lost:?}");
    assert_eq!(
        store.renew(&lost, LEASE, true).await.unwrap(),
        Settled::FencedOut
    );
    assert_eq!(complete(&store, &lost).await, Settled::FencedOut);
    assert_eq!(complete(&store, &second).await, Settled::Applied);
}

#[tokio::test]
async fn a_claim_that_no_replica_has_is_refused_where_one_is_waited_for() {
    let sentinel = Sentinel::start().await;
    let store = RedisStore::builder().timeout(SECOND).wait(1, SECOND / 10);
    let store = within(store.connect(&sentinel.url())).await.unwrap();
    own(&store, 1).await;
    sentinel.replica().stop().await;

    let refused = claim(&store, 2).await;

    // It was taken back: nothing stands in the way of the next.
    assert_eq!(kind(&refused), Some(StoreErrorKind::Fatal), "{refused:?}");
    assert!(store.inspect(&key(2)).await.unwrap().is_none());
    sentinel.replica().cont();
}

#[tokio::test]
async fn a_primary_with_other_settings_is_refused_after_a_failover_too() {
    let sentinel = Sentinel::start().await;
    let store = connect(&sentinel).await;
    own(&store, 1).await;
    let set = "CONFIG SET maxmemory-policy allkeys-lru";
    sentinel.replica().ask::<()>(set).await.unwrap();

    sentinel.failover().await;

    let refused = eventually("the new primary is met", async || {
        let answer = claim(&store, 2).await;
        answer
            .err()
            .filter(|error| error.kind() == StoreErrorKind::Fatal)
    })
    .await;
    assert!(format!("{refused:?}").contains("noeviction"), "{refused:?}");
    let mend = "CONFIG SET maxmemory-policy noeviction";
    sentinel.primary().ask::<()>(mend).await.unwrap();
    own(&store, 2).await;
}

#[tokio::test]
async fn sentinels_that_are_gone_are_passed_over_and_a_wrong_name_is_told_so() {
    let sentinel = Sentinel::shared().await;
    let (url, name) = (sentinel.url(), "/mymaster");
    let hosts = url.strip_prefix("redis+sentinel://").unwrap();
    let with_a_dead_one = format!("redis+sentinel://127.0.0.1:1,{hosts}");
    let store = within(
        RedisStore::builder()
            .prefix("passed")
            .connect(&with_a_dead_one),
    )
    .await;
    own(&store.unwrap(), 1).await;

    let wrong = url.replace(name, "/nobody");
    let refused = within(RedisStore::connect(&wrong)).await.unwrap_err();

    assert_eq!(refused.kind(), StoreErrorKind::NotApplied);
    assert!(
        format!("{refused:?}").contains("of this name"),
        "{refused:?}"
    );
}
