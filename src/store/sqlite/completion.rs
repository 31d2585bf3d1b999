//! A completion in a transaction of the handler's.

use bytes::Bytes;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{ToSql, Transaction, params_from_iter};

use super::row::key_bytes;
use super::settings::Settings;
use crate::store::claim::Owner;
use crate::store::statement::{Dialect, Parameter, Statement};

pub(super) fn statement(
    settings: &Settings,
    owner: &Owner,
    payload: &Bytes,
    retention: i64,
) -> Statement {
    let parameters = [
        Parameter::Bytes(Bytes::copy_from_slice(&key_bytes(owner.key()))),
        Parameter::Integer(owner.fence().get().cast_signed()),
        Parameter::Bytes(Bytes::copy_from_slice(owner.claim_id().as_bytes())),
        Parameter::Bytes(payload.clone()),
        Parameter::Integer(retention),
    ];
    let completion = settings.sql.completion(&settings.clock.sql());
    Statement::new(
        Dialect::Sqlite,
        completion,
        settings.sql.confirmation(),
        parameters,
    )
}

/// With the feature `sqlite`.
impl Statement {
    /// Runs it in a transaction of rusqlite, on the file of the store; says how many rows it has changed. Unless that is 1,
    /// the claim is lost: roll back.
    ///
    /// Let the transaction be an immediate one, and short: while it is open, the store waits.
    ///
    /// ```no_run
    /// use rusqlite::{Connection, TransactionBehavior};
    /// use tower_idempotency::Statement;
    ///
    /// fn commit(business: &mut Connection, completion: &Statement) -> rusqlite::Result<bool> {
    ///     let transaction = business.transaction_with_behavior(TransactionBehavior::Immediate)?;
    ///     transaction.execute("INSERT INTO charge (amount) VALUES (?1)", [100])?;
    ///     if completion.execute(&transaction)? != 1 {
    ///         return Ok(false);
    ///     }
    ///     transaction.commit()?;
    ///     Ok(true)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of rusqlite; of a statement that is not for SQLite, too.
    pub fn execute(&self, transaction: &Transaction<'_>) -> rusqlite::Result<usize> {
        transaction
            .prepare_cached(self.sql())?
            .execute(params_from_iter(self.parameters()))
    }
}

impl ToSql for Parameter {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
            Self::Integer(integer) => ValueRef::Integer(*integer),
        }))
    }
}
