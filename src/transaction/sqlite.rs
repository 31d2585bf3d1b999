//! Transactions of rusqlite.

use bytes::Bytes;
use http_body::Body;

use super::{Completion, TransactionError};

impl<B: Body<Data = Bytes>> Completion<B> {
    /// Completes the record in a transaction on the file of the layer's [`SqliteStore`](crate::SqliteStore), as the last
    /// thing before COMMIT.
    ///
    /// Begin the transaction with `BEGIN IMMEDIATE` and keep it short: while it is open nobody claims.
    ///
    /// # Errors
    ///
    /// [`LeaseLost`](TransactionError::LeaseLost) and [`Database`](TransactionError::Database): roll back.
    pub fn complete_in(
        &self,
        transaction: &rusqlite::Transaction<'_>,
    ) -> Result<(), TransactionError> {
        match self.statement.execute(transaction) {
            Ok(1) => Ok(()),
            Ok(_) => Err(TransactionError::LeaseLost),
            Err(error) => Err(TransactionError::Database(error.into())),
        }
    }
}
