//! Transactions that are committed, and those that are not.

use sqlx::Connection;
use sqlx::postgres::PgConnectOptions;
use tower_idempotency::{Keep, Store};

use super::*;
use crate::servers::{Bouncer, eventually};

#[tokio::test]
async fn rows_and_record_are_committed_together() {
    let world = World::new().await;
    let (pool, insert) = (world.pool.clone(), world.insert());
    let service = world.service(move |key| {
        let (pool, insert) = (pool.clone(), insert.clone());
        async move {
            let response = key.transaction(&pool, async |tx| {
                insert.run(tx, &key).await?;
                Ok(transferred(&key))
            });
            Ok(whole(response.await?).await)
        }
    });

    let first = send(&service, "k").await;
    let replay = send(&service, "k").await;

    assert_eq!(
        (first.status, first.recorded, first.is_replay),
        (201, true, false)
    );
    assert_eq!(
        (&replay.text, replay.status, replay.is_replay),
        (&first.text, 201, true)
    );
    assert_eq!((world.transfers().await, world.executions()), (1, 1));
}

#[tokio::test]
async fn an_error_of_the_closure_rolls_back_and_frees_the_key() {
    let world = World::new().await;
    let (pool, insert) = (world.pool.clone(), world.insert());
    let counted = world.executions.clone();
    let service = world.service(move |key| {
        let (pool, insert) = (pool.clone(), insert.clone());
        let is_first = counted.load(Ordering::SeqCst) == 1;
        async move {
            let response = key.transaction(&pool, async |tx| {
                insert.run(tx, &key).await?;
                if is_first {
                    return Err(sqlx::Error::RowNotFound);
                }
                Ok(transferred(&key))
            });
            Ok(whole(response.await?).await)
        }
    });

    let first = send(&service, "k").await;
    let rows = world.transfers().await;
    let second = send(&service, "k").await;

    assert_eq!(
        (first.text.as_str(), first.recorded, rows),
        ("Handler", false, 0)
    );
    // Freed, as the rules have it for a 503: this one is the first attempt.
    assert!(second.text.ends_with("attempt 1"), "{}", second.text);
    assert_eq!(world.transfers().await, 1);
}

#[tokio::test]
async fn a_panic_of_the_closure_rolls_back_and_the_next_attempt_knows_of_it() {
    let world = World::new().await;
    let (pool, insert) = (world.pool.clone(), world.insert());
    let service = world.service(move |key| {
        let (pool, insert) = (pool.clone(), insert.clone());
        async move {
            let response = key.transaction(&pool, async |tx| {
                insert.run(tx, &key).await?;
                if key.attempt() == 1 {
                    std::panic::resume_unwind(Box::new("lost"));
                }
                Ok(transferred(&key))
            });
            Ok(whole(response.await?).await)
        }
    });
    let first = tokio::spawn(send(&service, "k")).await;

    let second = send(&service, "k").await;

    assert!(
        first.is_err() && second.text.ends_with("attempt 2"),
        "{second:?}"
    );
    assert_eq!(world.transfers().await, 1);
}

#[tokio::test]
async fn a_business_outcome_that_rolls_back_is_kept_by_the_rules() {
    let mut world = World::new().await;
    world.layer = world.layer.keep(Keep::Final);
    let (pool, insert) = (world.pool.clone(), world.insert());
    let service = world.service(move |key| {
        let (pool, insert) = (pool.clone(), insert.clone());
        async move {
            let response = key.transaction(&pool, async |tx| {
                insert.run(tx, &key).await?;
                Err::<Response<Body>, _>(sqlx::Error::RowNotFound)
            });
            match response.await {
                Err(TransactionError::Handler(_)) => {
                    let mut response = Response::new("insufficient".into());
                    *response.status_mut() = StatusCode::PAYMENT_REQUIRED;
                    Ok(response)
                }
                other => Ok(whole(other?).await),
            }
        }
    });

    let [first, second] = [send(&service, "k").await, send(&service, "k").await];

    assert_eq!((first.status, first.recorded), (402, true));
    assert_eq!((second.status, second.is_replay), (402, true));
    assert_eq!((world.transfers().await, world.executions()), (0, 1));
}

#[tokio::test]
async fn in_a_transaction_of_ones_own_it_is_the_commit_that_counts() {
    for commits in [true, false] {
        let world = World::new().await;
        let (pool, insert) = (world.pool.clone(), world.insert());
        let service = world.service(move |key| {
            let (pool, insert) = (pool.clone(), insert.clone());
            async move {
                let mut tx = pool.begin().await.map_err(TransactionError::Handler)?;
                insert
                    .run(&mut tx, &key)
                    .await
                    .map_err(TransactionError::Handler)?;
                let completion = key.complete_in(&mut tx, transferred(&key)).await.unwrap();
                if commits {
                    tx.commit().await.unwrap();
                } else {
                    tx.rollback().await.unwrap();
                }
                // The layer finds out.
                drop(completion);
                Err(TransactionError::Handler(sqlx::Error::RowNotFound))
            }
        });

        let first = send(&service, "k").await;
        let second = send(&service, "k").await;

        assert_eq!(world.transfers().await, i64::from(commits));
        assert_eq!(world.executions(), if commits { 1 } else { 2 });
        assert_eq!(
            (first.is("transferred"), first.recorded),
            (commits, commits)
        );
        assert_eq!(second.is_replay, commits);
    }
}

#[tokio::test]
async fn a_commit_without_an_answer_is_found_behind_another_try() {
    let world = World::new().await;
    let (pool, insert) = (world.pool.clone(), world.insert());
    let service = world.service(move |key| {
        let (pool, insert) = (pool.clone(), insert.clone());
        async move {
            let mut tx = pool.begin().await.map_err(TransactionError::Handler)?;
            let inserted = insert.run(&mut tx, &key).await;
            inserted.map_err(TransactionError::Handler)?;
            drop(key.complete_in(&mut tx, transferred(&key)).await.unwrap());
            tx.commit().await.unwrap();

            let again = key.transaction(&pool, async |tx| {
                insert.run(tx, &key).await?;
                Ok(Response::new(Body::from("again")))
            });
            Ok(whole(again.await?).await)
        }
    });

    let first = send(&service, "k").await;
    let second = send(&service, "k").await;

    assert_eq!((first.is("transferred"), first.recorded), (true, true));
    assert_eq!((second.is("transferred"), second.is_replay), (true, true));
    assert_eq!((world.transfers().await, world.executions()), (1, 1));
}

#[tokio::test]
async fn savepoints_of_the_closure_are_its_own() {
    let world = World::new().await;
    let (pool, insert) = (world.pool.clone(), world.insert());
    let service = world.service(move |key| {
        let (pool, insert) = (pool.clone(), insert.clone());
        async move {
            let response = key.transaction(&pool, async |tx| {
                let mut nested = tx.begin().await?;
                insert.run(&mut nested, &key).await?;
                nested.rollback().await?;
                insert.run(tx, &key).await?;
                Ok(transferred(&key))
            });
            Ok(whole(response.await?).await)
        }
    });

    assert_eq!(send(&service, "k").await.status, 201);
    assert_eq!(world.transfers().await, 1);
}

#[tokio::test]
async fn a_pool_of_another_database_is_refused_and_nothing_is_written() {
    let world = World::new().await;
    let other = pool(&world.server.url().replace("/app", "/postgres")).await;
    let service = world.service(move |key| {
        let pool = other.clone();
        async move {
            let response = key.transaction(&pool, async |_| Ok(transferred(&key)));
            Ok(whole(response.await?).await)
        }
    });

    let answer = send(&service, "k").await;

    assert_eq!((answer.status, answer.is("Database")), (503, true));
    let (parts, _) = Request::post("/transfers").body(()).unwrap().into_parts();
    let record = world.layer.record_key_for(&parts, "k").unwrap();
    assert!(
        world
            .layer
            .store()
            .inspect(&record)
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn a_transaction_that_loses_a_race_is_rolled_back_and_may_be_tried_again() {
    let world = World::new().await;
    world
        .server
        .sql(&format!(
            "CREATE TABLE {}.balance (cents bigint)",
            world.schema
        ))
        .await;
    let url = format!(
        "{}&options=-c%20default_transaction_isolation=serializable",
        world.server.url()
    );
    let (pool, schema) = (pool(&url).await, world.schema.clone());
    let counted = world.executions.clone();
    let service = world.service(move |key| {
        let (pool, schema) = (pool.clone(), schema.clone());
        let is_first = counted.load(Ordering::SeqCst) == 1;
        async move {
            let sum = format!("SELECT coalesce(sum(cents), 0)::bigint FROM {schema}.balance");
            let add = format!("INSERT INTO {schema}.balance VALUES (1)");
            let run = |sql: &str| sqlx::query(AssertSqlSafe(sql.to_owned()));
            let other = pool.clone();
            let response = key.transaction(&pool, async |tx| {
                run(&sum).fetch_one(&mut *tx).await?;
                if is_first {
                    // Another transaction reads and writes the same.
                    let mut between = other.begin().await?;
                    run(&sum).fetch_one(&mut *between).await?;
                    run(&add).execute(&mut *between).await?;
                    between.commit().await?;
                }
                run(&add).execute(&mut *tx).await?;
                Ok(transferred(&key))
            });
            Ok(whole(response.await?).await)
        }
    });

    let [first, second] = [send(&service, "k").await, send(&service, "k").await];

    assert!(first.is("Handler") || first.is("Database"), "{first:?}");
    assert_eq!((second.status, second.recorded), (201, true));
    let rows = format!("SELECT count(*) FROM {}.balance", world.schema);
    assert_eq!(world.server.number(&rows).await, 2);
}

#[tokio::test]
async fn a_pooler_may_stand_before_the_database() {
    let world = World::new().await;
    let bouncer = Bouncer::before(world.server).await;
    let options: PgConnectOptions = bouncer.url().parse().unwrap();
    // What PgBouncer does not know, and what it knew in another session.
    let options = options.extra_float_digits(None).statement_cache_capacity(0);
    let pool = PgPoolOptions::new()
        .max_connections(8)
        .connect_with(options);
    let (pool, insert) = (within(pool).await.unwrap(), world.insert());
    let service = world.service(move |key| {
        let (pool, insert) = (pool.clone(), insert.clone());
        async move {
            let response = key.transaction(&pool, async |tx| {
                insert.run(tx, &key).await?;
                Ok(transferred(&key))
            });
            Ok(whole(response.await?).await)
        }
    });

    let keys: Vec<String> = (0..40).map(|number| format!("key-{number}")).collect();
    let first = futures_util::future::join_all(keys.iter().map(|key| send(&service, key))).await;
    let replays = futures_util::future::join_all(keys.iter().map(|key| send(&service, key))).await;

    for (first, replay) in first.iter().zip(&replays) {
        assert_eq!((first.status, first.recorded), (201, true), "{first:?}");
        assert_eq!((&replay.text, replay.is_replay), (&first.text, true));
    }
    assert_eq!((world.transfers().await, world.executions()), (40, 40));
}

#[tokio::test]
async fn a_body_of_a_mebibyte_is_recorded_and_a_larger_one_is_only_answered() {
    for (length, is_kept) in [(1 << 20, true), ((1 << 20) + 1, false)] {
        let world = World::new().await;
        let (pool, insert) = (world.pool.clone(), world.insert());
        let service = world.service(move |key| {
            let (pool, insert) = (pool.clone(), insert.clone());
            async move {
                let response = key.transaction(&pool, async |tx| {
                    insert.run(tx, &key).await?;
                    Ok(Response::new(Body::from("x".repeat(length))))
                });
                Ok(whole(response.await?).await)
            }
        });

        let first = send(&service, "k").await;
        let second = send(&service, "k").await;

        assert_eq!((first.text.len(), first.recorded), (length, true));
        assert_eq!(second.text == first.text, is_kept);
        let refusal = "idempotency_response_unavailable";
        assert_eq!(second.text.contains(refusal), !is_kept);
        assert_eq!((world.transfers().await, world.executions()), (1, 1));
    }
}

/// Each connection of the handlers' pool is in the hands of one that takes three leases.
#[tokio::test]
async fn handlers_that_use_up_their_pool_keep_their_leases() {
    const LEASE: Duration = Duration::from_secs(1);
    const CONNECTIONS: u32 = 4;
    let mut world = World::new().await;
    world.layer = world.layer.clone().lease(LEASE);
    let pool = world.pool.clone();
    let (end, ended) = tokio::sync::watch::channel(false);
    let service = world.service(move |key| {
        let (pool, mut ended) = (pool.clone(), ended.clone());
        async move {
            let held = pool.acquire().await.unwrap();
            ended.wait_for(|ended| *ended).await.unwrap();
            drop(held);
            Ok(transferred(&key))
        }
    });
    let keys = (0..CONNECTIONS).map(|number| format!("k{number}"));
    let requests = keys.map(|key| tokio::spawn(send(&service, &key)));
    let requests = requests.collect::<Vec<_>>();

    let renewed = format!(
        "SELECT count(*) FROM {}.record WHERE attempt = 1 AND lease_until > clock_timestamp() \
         AND lease_until > first_at + interval '3 seconds'",
        world.schema
    );
    let all = async || {
        let renewed = world.server.number(&renewed).await;
        (renewed == i64::from(CONNECTIONS)).then_some(())
    };
    eventually("all leases are renewed", all).await;
    assert!(world.pool.try_acquire().is_none(), "no connection is left");
    end.send_replace(true);

    for request in requests {
        let answer = request.await.unwrap();
        assert_eq!((answer.status, answer.recorded), (201, true), "{answer:?}");
    }
    assert_eq!(world.executions(), CONNECTIONS);
}
