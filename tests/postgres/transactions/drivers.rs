//! The plain statement in transactions of other drivers.

use tokio_postgres::NoTls;
use tokio_postgres::types::ToSql;
use tower_idempotency::{Parameter, Statement};

use super::*;

/// What a handler does: writes a row, completes the record, commits or not.
#[derive(Clone, Copy, PartialEq)]
enum Ends {
    Commits,
    RollsBack,
}

/// Sends a request to a handler that works so, and again; then expects what has come of it.
async fn examine<F, Fut>(work: F)
where
    F: Fn(String, Statement, Ends) -> Fut + Copy + Send + Sync + 'static,
    Fut: Future<Output = u64> + Send + 'static,
{
    for ends in [Ends::Commits, Ends::RollsBack] {
        let world = World::new().await;
        let schema = world.schema.clone();
        let service = world.service(move |key| {
            let schema = schema.clone();
            async move {
                let completion = key.completion(transferred(&key)).unwrap();
                let changed = work(schema, completion.statement().clone(), ends).await;
                assert_eq!(changed, 1);
                match ends {
                    Ends::Commits => Ok(whole(completion.committed()).await),
                    Ends::RollsBack => Err(TransactionError::Handler(sqlx::Error::RowNotFound)),
                }
            }
        });

        let first = send(&service, "k").await;
        let second = send(&service, "k").await;

        let commits = ends == Ends::Commits;
        assert_eq!(world.transfers().await, i64::from(commits));
        assert_eq!(
            (first.is("transferred"), first.recorded),
            (commits, commits)
        );
        assert_eq!(second.is_replay, commits);
        assert_eq!(world.executions(), if commits { 1 } else { 2 });
    }
}

#[tokio::test]
async fn tokio_postgres() {
    examine(|schema, statement, ends| async move {
        let url = Server::shared().await.url();
        let (mut client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        let driving = tokio::spawn(connection);

        let tx = client.transaction().await.unwrap();
        let insert = format!("INSERT INTO {schema}.transfer VALUES ('k', 1)");
        tx.execute(&insert, &[]).await.unwrap();
        let values = statement
            .parameters()
            .iter()
            .map(|parameter| match parameter {
                Parameter::Bytes(bytes) => Box::new(bytes.to_vec()) as Box<dyn ToSql + Send + Sync>,
                Parameter::Integer(number) => Box::new(*number),
                _ => panic!("there are no others"),
            });
        let values = values.collect::<Vec<_>>();
        let values = values.iter().map(|value| &**value as &(dyn ToSql + Sync));
        let values = values.collect::<Vec<_>>();
        let changed = tx.execute(statement.sql(), &values).await.unwrap();
        match ends {
            Ends::Commits => tx.commit().await.unwrap(),
            Ends::RollsBack => tx.rollback().await.unwrap(),
        }
        drop(client);
        driving.await.unwrap().unwrap();
        changed
    })
    .await;
}

#[tokio::test]
async fn diesel() {
    use ::diesel::sql_types::{BigInt, Binary};
    use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};

    examine(|schema, statement, ends| async move {
        let url = Server::shared().await.url();
        let mut connection = AsyncPgConnection::establish(&url).await.unwrap();

        connection.batch_execute("BEGIN").await.unwrap();
        let insert = format!("INSERT INTO {schema}.transfer VALUES ('k', 1)");
        connection.batch_execute(&insert).await.unwrap();
        let mut query = ::diesel::sql_query(statement.sql()).into_boxed();
        for parameter in statement.parameters() {
            query = match parameter {
                Parameter::Bytes(bytes) => query.bind::<Binary, _>(bytes.to_vec()),
                Parameter::Integer(number) => query.bind::<BigInt, _>(*number),
                _ => panic!("there are no others"),
            };
        }
        let changed = query.execute(&mut connection).await.unwrap();
        let end = match ends {
            Ends::Commits => "COMMIT",
            Ends::RollsBack => "ROLLBACK",
        };
        connection.batch_execute(end).await.unwrap();
        changed as u64
    })
    .await;
}

#[tokio::test]
async fn the_confirmation_says_what_was_committed() {
    let world = World::new().await;
    let pool = world.pool.clone();
    let service = world.service(move |key| {
        let pool = pool.clone();
        async move {
            let completion = key.completion(transferred(&key)).unwrap();
            let statement = completion.statement();
            assert_eq!(confirmed(&pool, statement).await, 0);
            let mut tx = pool.begin().await.unwrap();
            let done = bound(statement.sql(), statement.parameters());
            assert_eq!(done.execute(&mut *tx).await.unwrap().rows_affected(), 1);
            tx.commit().await.unwrap();
            assert_eq!(confirmed(&pool, statement).await, 1);

            // Of another claim of the same record.
            let mut others = statement.parameters().to_vec();
            others[2] = Parameter::Bytes(Bytes::from_static(&[0; 16]));
            let dialect = statement.dialect();
            let other = Statement::new(dialect, statement.sql(), statement.confirmation(), others);
            assert_eq!(confirmed(&pool, &other).await, 0);
            Ok(whole(completion.committed()).await)
        }
    });

    assert_eq!(send(&service, "k").await.status, 201);
}

fn bound(
    sql: &str,
    parameters: &[Parameter],
) -> sqlx::query::Query<'static, sqlx::Postgres, sqlx::postgres::PgArguments> {
    let query = sqlx::query(AssertSqlSafe(sql.to_owned()));
    parameters.iter().fold(query, |query, it| match it {
        Parameter::Bytes(bytes) => query.bind(bytes.to_vec()),
        Parameter::Integer(number) => query.bind(*number),
        _ => panic!("there are no others"),
    })
}

async fn confirmed(pool: &PgPool, statement: &Statement) -> i64 {
    let query = bound(statement.confirmation(), &statement.parameters()[..3]);
    sqlx::Row::get(&query.fetch_one(pool).await.unwrap(), 0)
}
