//! Transactions of sqlx.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::Body;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Postgres, Row};
use tokio::time::{Instant, sleep};

use super::{Completion, TransactionError};
use crate::body::ResponseBody;
use crate::clock;
use crate::context::Idempotency;
use crate::drive::{until, within};
use crate::store::error::{BoxError, late};
use crate::store::statement::{Parameter, Statement};

impl Idempotency {
    /// Runs `work` in a transaction of `pool`, and commits what it has written together with the record of this request,
    /// completed by the response that it gives: both or neither, whenever the process or the database is killed.
    ///
    /// The layer's store is a [`PostgresStore`](crate::PostgresStore), alone or wrapped, in the database of `pool`.
    /// Nothing is settled a second time, and each replay shows this response, byte for byte. It is recorded whatever
    /// [`Keep`](crate::Keep) says of it; an outcome that is not to be recorded is an `Err`, which rolls back and is
    /// settled by the rules of the layer, as the answer that the handler makes of it.
    ///
    /// A session that hangs in the transaction is ended by the server after a lease, and lets go of its rows
    /// (`idle_in_transaction_session_timeout`). A COMMIT whose answer was lost is read back. The body of the response has
    /// to be there at once.
    ///
    /// ```no_run
    /// # #[cfg(feature = "axum")] mod example {
    /// use axum::http::StatusCode;
    /// use axum::response::{IntoResponse, Response};
    /// use sqlx::PgPool;
    /// use tower_idempotency::{Idempotency, TransactionError};
    ///
    /// async fn transfer(key: Idempotency, pool: PgPool) -> Result<Response, TransactionError<StatusCode>> {
    ///     let failed = |_: sqlx::Error| StatusCode::INTERNAL_SERVER_ERROR;
    ///     let response = key.transaction(&pool, async |tx| {
    ///         let taken = sqlx::query("UPDATE account SET cents = cents - 100 WHERE id = 7 AND cents >= 100");
    ///         let taken = taken.execute(&mut *tx).await.map_err(failed)?;
    ///         if taken.rows_affected() == 0 {
    ///             return Err(StatusCode::PAYMENT_REQUIRED);
    ///         }
    ///         Ok((StatusCode::CREATED, "transferred").into_response())
    ///     });
    ///     Ok(response.await?.into_response())
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`TransactionError`]; rolled back in all cases but [`Unknown`](TransactionError::Unknown).
    pub async fn transaction<B, E, W>(
        &self,
        pool: &PgPool,
        work: W,
    ) -> Result<Response<ResponseBody<B>>, TransactionError<E>>
    where
        W: AsyncFnOnce(&mut PgConnection) -> Result<Response<B>, E>,
        B: Body<Data = Bytes>,
    {
        let claim = self.transactional()?;
        let (lease, at_most) = (claim.lease.length(), claim.core().config().store_timeout);

        // One that is dropped is rolled back.
        let mut tx = pool.begin().await.map_err(failed)?;
        let milliseconds = lease.as_millis().clamp(1, i32::MAX as u128);
        let idle = format!("SET LOCAL idle_in_transaction_session_timeout = {milliseconds}");
        let idle = sqlx::raw_sql(AssertSqlSafe(idle));
        idle.execute(&mut *tx).await.map_err(failed)?;

        let completed = match work(&mut tx).await {
            Ok(response) => {
                let completion = self.complete_in(&mut tx, response).await;
                completion.map_err(TransactionError::of)
            }
            Err(error) => Err(TransactionError::Handler(error)),
        };
        let completion = match completed {
            Ok(completion) => completion,
            Err(error) => {
                // What cannot be rolled back by a word is, when its connection ends.
                let _ = within(at_most, tx.rollback()).await;
                return Err(error);
            }
        };

        let reason: BoxError = match within(at_most, tx.commit()).await {
            Some(Ok(())) => return Ok(completion.committed()),
            Some(Err(error)) => error.into(),
            None => late().to_string().into(),
        };
        match read_back(pool, &completion.statement, at_most).await {
            Some(true) => Ok(completion.committed()),
            Some(false) => {
                completion.rolled_back();
                Err(TransactionError::Database(reason))
            }
            None => Err(TransactionError::Unknown(reason)),
        }
    }

    /// Completes the record of this request in a transaction of one's own, as the last thing before COMMIT; the answer
    /// is [`Completion::committed`].
    ///
    /// See [`transaction`](Self::transaction), which begins and commits by itself, and reads back a COMMIT whose answer
    /// was lost. The record is locked from here to the end of the transaction. Let nothing follow but COMMIT: where a later
    /// statement fails, PostgreSQL rolls back at COMMIT, and sqlx says nothing of that.
    ///
    /// ```no_run
    /// # use axum::response::IntoResponse;
    /// # async fn f(key: tower_idempotency::Idempotency, pool: sqlx::PgPool) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut tx = pool.begin().await?;
    /// sqlx::query("INSERT INTO transfer (cents) VALUES (100)").execute(&mut *tx).await?;
    /// let completion = key.complete_in(&mut tx, "transferred".into_response()).await?;
    /// tx.commit().await?;
    /// let response = completion.committed();
    /// # let _ = response;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`TransactionError`]: roll back.
    pub async fn complete_in<B>(
        &self,
        transaction: &mut PgConnection,
        response: Response<B>,
    ) -> Result<Completion<B>, TransactionError>
    where
        B: Body<Data = Bytes>,
    {
        let completion = self.completion(response)?;
        let statement = &completion.statement;
        let run = bound(statement.sql(), statement.parameters());
        let changed = run
            .execute(transaction)
            .await
            .map(|done| done.rows_affected());
        match changed {
            Ok(1) => Ok(completion),
            changed => {
                completion.rolled_back();
                changed.map_err(failed)?;
                Err(TransactionError::LeaseLost)
            }
        }
    }
}

fn failed<E>(error: sqlx::Error) -> TransactionError<E> {
    TransactionError::Database(error.into())
}

/// Not kept as a prepared statement: a pooler between may not know it the next time.
fn bound(sql: &str, parameters: &[Parameter]) -> Query<'static, Postgres, PgArguments> {
    let query = sqlx::query(AssertSqlSafe(sql.to_owned())).persistent(false);
    parameters
        .iter()
        .fold(query, |query, parameter| match parameter {
            Parameter::Bytes(bytes) => query.bind(bytes.to_vec()),
            Parameter::Integer(number) => query.bind(*number),
        })
}

/// Whether the statement has been committed, on another connection; `None` where that cannot be found out in time.
async fn read_back(pool: &PgPool, statement: &Statement, at_most: Duration) -> Option<bool> {
    let over = clock::later(Instant::now(), at_most);
    let looking = async {
        loop {
            if let Ok(is_committed) = look(pool, statement).await {
                return is_committed;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    until(over, looking).await
}

/// In a transaction, because a pooler between may give each one another session.
async fn look(pool: &PgPool, statement: &Statement) -> Result<bool, sqlx::Error> {
    let mut tx = pool.begin().await?;
    let look = bound(statement.confirmation(), &statement.parameters()[..3]);
    let number: i64 = look.fetch_one(&mut *tx).await?.try_get(0)?;
    Ok(number == 1)
}
