//! Leases that are lost under a transaction, and answers to COMMIT that are.

use tower_idempotency::Store;

use super::*;
use crate::servers::{Proxy, eventually};

#[tokio::test]
async fn a_lost_lease_rolls_back() {
    let world = World::new().await;
    let (pool, insert, layer) = (world.pool.clone(), world.insert(), world.layer.clone());
    let service = world.service(move |key| {
        let (pool, insert, layer) = (pool.clone(), insert.clone(), layer.clone());
        async move {
            let response = key.transaction(&pool, async |tx| {
                insert.run(tx, &key).await?;
                // An operator forgets the key, and with it the owner.
                let (parts, _) = Request::post("/transfers").body(()).unwrap().into_parts();
                let record = layer.record_key_for(&parts, "k").unwrap();
                layer.store().forget(&record, true).await.unwrap();
                Ok(transferred(&key))
            });
            Ok(whole(response.await?).await)
        }
    });

    let first = send(&service, "k").await;

    assert_eq!((first.text.as_str(), first.recorded), ("LeaseLost", false));
    assert_eq!(world.transfers().await, 0);
}

/// A world whose handlers come by a proxy.
async fn behind_proxy() -> (World, Proxy) {
    let mut world = World::new().await;
    let proxy = Proxy::start(world.server.address()).await;
    let port = format!(":{}/", world.server.port());
    let through = format!(":{}/", proxy.address().port());
    world.pool = pool(&world.server.url().replace(&port, &through)).await;
    (world, proxy)
}

fn transferring(world: &World) -> Service {
    let (pool, insert) = (world.pool.clone(), world.insert());
    world.service(move |key| {
        let (pool, insert) = (pool.clone(), insert.clone());
        async move {
            let response = key.transaction(&pool, async |tx| {
                insert.run(tx, &key).await?;
                Ok(transferred(&key))
            });
            let response = response.await;
            // The layer would find out, too.
            assert!(!matches!(response, Err(TransactionError::Unknown(_))));
            Ok(whole(response?).await)
        }
    })
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_read_back() {
    let (world, proxy) = behind_proxy().await;
    let service = transferring(&world);
    proxy.cut_replies_to("COMMIT", 1);

    let first = send(&service, "k").await;
    let replay = send(&service, "k").await;

    assert_eq!(proxy.cuts(), 1);
    assert_eq!((first.status, first.recorded), (201, true));
    assert_eq!((&replay.text, replay.is_replay), (&first.text, true));
    assert_eq!((world.transfers().await, world.executions()), (1, 1));
}

#[tokio::test]
async fn a_commit_that_never_arrived_is_known_not_to_have_happened() {
    let (world, proxy) = behind_proxy().await;
    let (pool, insert) = (world.pool.clone(), world.insert());
    let proxy = Arc::new(proxy);
    let cutting = proxy.clone();
    let counted = world.executions.clone();
    let service = world.service(move |key| {
        let (pool, insert, proxy) = (pool.clone(), insert.clone(), cutting.clone());
        let is_first = counted.load(Ordering::SeqCst) == 1;
        async move {
            let mut tx = pool.begin().await.map_err(TransactionError::Handler)?;
            insert
                .run(&mut tx, &key)
                .await
                .map_err(TransactionError::Handler)?;
            let completion = key.complete_in(&mut tx, transferred(&key)).await.unwrap();
            if is_first {
                proxy.cut().await;
            }
            match tx.commit().await {
                Ok(()) => Ok(whole(completion.committed()).await),
                Err(error) => Err(TransactionError::Unknown(error.into())),
            }
        }
    });

    let first = send(&service, "k").await;
    let second = send(&service, "k").await;

    assert_eq!((first.text.as_str(), first.recorded), ("Unknown", false));
    assert_eq!((second.status, second.recorded), (201, true));
    assert_eq!(world.transfers().await, 1);
}

#[tokio::test]
async fn where_it_cannot_be_read_back_the_layer_finds_what_was_committed() {
    let (world, proxy) = behind_proxy().await;
    let proxy = Arc::new(proxy);
    let cutting = proxy.clone();
    let (pool, insert) = (world.pool.clone(), world.insert());
    let service = world.service(move |key| {
        let (pool, insert, proxy) = (pool.clone(), insert.clone(), cutting.clone());
        async move {
            let response = key.transaction(&pool, async |tx| {
                insert.run(tx, &key).await?;
                // From now on the server is heard, and does not hear this one any more. What it is told arrives.
                proxy.refuse().await;
                proxy.cut_replies_to("COMMIT", 1);
                Ok(transferred(&key))
            });
            let response = response.await;
            assert!(matches!(response, Err(TransactionError::Unknown(_))));
            Ok(whole(response?).await)
        }
    });

    let first = send(&service, "k").await;
    let replay = send(&service, "k").await;

    assert_eq!((first.status, first.recorded), (201, true));
    assert_eq!((&replay.text, replay.is_replay), (&first.text, true));
    assert_eq!((world.transfers().await, world.executions()), (1, 1));
    drop(proxy);
}

#[tokio::test]
async fn a_commit_that_is_still_under_way_is_waited_for() {
    let (world, proxy) = behind_proxy().await;
    let service = transferring(&world);
    // A deferred trigger makes COMMIT take a second.
    let schema = &world.schema;
    world
        .server
        .sql(&format!(
            "CREATE FUNCTION {schema}.slow() RETURNS trigger LANGUAGE plpgsql AS \
             'BEGIN PERFORM pg_sleep(1); RETURN NULL; END'; \
             CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON {schema}.transfer DEFERRABLE INITIALLY DEFERRED \
             FOR EACH ROW EXECUTE FUNCTION {schema}.slow()"
        ))
        .await;
    let proxy = Arc::new(proxy);
    let watching = proxy.clone();
    let committing = world.server;
    let cutting = tokio::spawn(async move {
        let at_commit =
            "SELECT count(*) FROM pg_stat_activity WHERE query = 'COMMIT' AND state = 'active'";
        let under_way = || async { (committing.number(at_commit).await > 0).then_some(()) };
        eventually("COMMIT is under way", under_way).await;
        watching.cut().await;
    });

    let first = send(&service, "k").await;
    cutting.await.unwrap();

    assert_eq!((first.status, first.recorded), (201, true));
    assert_eq!((world.transfers().await, world.executions()), (1, 1));
}

#[tokio::test]
async fn a_session_that_hangs_lets_go_of_its_rows_after_a_lease() {
    let mut world = World::new().await;
    world.layer = world.layer.lease(Duration::from_secs(1));
    let (pool, insert) = (world.pool.clone(), world.insert());
    let server = world.server;
    let service = world.service(move |key| {
        let (pool, insert) = (pool.clone(), insert.clone());
        async move {
            let response = key.transaction(&pool, async |tx| {
                insert.run(tx, &key).await?;
                let idle = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' \
                    AND query LIKE 'INSERT INTO test_%.transfer%' AND state_change < now() - interval '3 s'";
                assert_eq!(server.number(idle).await, 0);
                tokio::time::sleep(Duration::from_millis(1_500)).await;
                Ok(transferred(&key))
            });
            Ok(whole(response.await?).await)
        }
    });

    let first = send(&service, "k").await;

    assert_eq!((first.text.as_str(), first.recorded), ("Database", false));
    assert_eq!(world.transfers().await, 0);
}

#[tokio::test]
async fn a_database_that_is_not_there_is_an_error_and_the_key_is_freed() {
    let (world, proxy) = behind_proxy().await;
    let service = transferring(&world);
    proxy.refuse().await;
    proxy.cut().await;

    let first = send(&service, "k").await;
    proxy.accept().await;
    let second = send(&service, "k").await;

    assert_eq!((first.text.as_str(), second.status), ("Database", 201));
    assert_eq!(world.transfers().await, 1);
}
