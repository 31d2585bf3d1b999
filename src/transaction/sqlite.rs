//! Transactions of rusqlite.

use bytes::Bytes;
use http_body::Body;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{ToSql, params_from_iter};

use super::{Completion, TransactionError};
use crate::store::statement::Parameter;

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
        let parameters = params_from_iter(self.statement.parameters());
        match transaction.execute(self.statement.sql(), parameters) {
            Ok(1) => Ok(()),
            Ok(_) => Err(TransactionError::LeaseLost),
            Err(error) => Err(TransactionError::Database(error.into())),
        }
    }
}

impl ToSql for Parameter {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
            Self::Integer(number) => ToSqlOutput::from(*number),
        })
    }
}
