//! Transactions of rusqlite.

use bytes::Bytes;
use http::Response;
use http_body::Body;
use rusqlite::{Connection, Transaction, TransactionBehavior, params_from_iter};

use super::{Completion, TransactionError};
use crate::body::ResponseBody;
use crate::context::Idempotency;
use crate::store::statement::Statement;

impl Idempotency {
    /// Runs `work` in an immediate transaction of this connection, and commits what it has written together with the
    /// record of this request, completed by the response that it gives: both or neither.
    ///
    /// The layer's store is a [`SqliteStore`](crate::SqliteStore), alone or wrapped, on the file of `connection`. This
    /// blocks: call it where that is welcome (`spawn_blocking`), and keep it short, because while it runs nobody claims.
    /// The rest is as for a transaction in PostgreSQL: it is recorded whatever [`Keep`](crate::Keep) says, an `Err`
    /// rolls back and is settled by the rules of the layer as the answer that the handler makes of it, and the body of
    /// the response has to be there at once.
    ///
    /// ```no_run
    /// use http::Response;
    /// use rusqlite::Connection;
    /// use tower_idempotency::{Idempotency, ResponseBody, TransactionError};
    ///
    /// fn transfer(
    ///     key: &Idempotency,
    ///     database: &mut Connection,
    /// ) -> Result<Response<ResponseBody<String>>, TransactionError<rusqlite::Error>> {
    ///     key.transaction_on(database, |tx| {
    ///         tx.execute("UPDATE account SET cents = cents - 100 WHERE id = 7", [])?;
    ///         Ok(Response::new("transferred".to_owned()))
    ///     })
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`TransactionError`]; rolled back in all cases but [`Unknown`](TransactionError::Unknown).
    pub fn transaction_on<B, E>(
        &self,
        connection: &mut Connection,
        work: impl FnOnce(&Transaction<'_>) -> Result<Response<B>, E>,
    ) -> Result<Response<ResponseBody<B>>, TransactionError<E>>
    where
        B: Body<Data = Bytes>,
    {
        self.transactional()?;
        // One that is dropped is rolled back.
        let begun = connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let tx = begun.map_err(failed)?;
        let response = work(&tx).map_err(TransactionError::Handler)?;
        let completion = self.completion(response).map_err(TransactionError::of)?;
        if let Err(error) = completion.complete_in(&tx) {
            completion.rolled_back();
            return Err(error.of());
        }

        let Err(error) = tx.commit() else {
            return Ok(completion.committed());
        };
        match is_committed(connection, completion.statement()) {
            Ok(true) => Ok(completion.committed()),
            Ok(false) => {
                completion.rolled_back();
                Err(failed(error))
            }
            Err(_) => Err(TransactionError::Unknown(error.into())),
        }
    }
}

impl<B: Body<Data = Bytes>> Completion<B> {
    /// Completes the record in a transaction of one's own on the file of the layer's
    /// [`SqliteStore`](crate::SqliteStore), as the last thing before COMMIT.
    ///
    /// See [`Idempotency::transaction_on`], which begins and commits by itself. Begin with `BEGIN IMMEDIATE` and keep it
    /// short: while it is open nobody claims.
    ///
    /// # Errors
    ///
    /// [`LeaseLost`](TransactionError::LeaseLost) and [`Database`](TransactionError::Database): roll back.
    pub fn complete_in(&self, transaction: &Transaction<'_>) -> Result<(), TransactionError> {
        // Where it fails it may be run again, and the layer goes on looking.
        match self.statement.execute(transaction).map_err(failed)? {
            1 => Ok(()),
            _ => Err(TransactionError::LeaseLost),
        }
    }
}

fn failed<E>(error: rusqlite::Error) -> TransactionError<E> {
    TransactionError::Database(error.into())
}

fn is_committed(connection: &Connection, statement: &Statement) -> rusqlite::Result<bool> {
    let parameters = params_from_iter(&statement.parameters()[..3]);
    let number: i64 =
        connection.query_row(statement.confirmation(), parameters, |row| row.get(0))?;
    Ok(number == 1)
}
