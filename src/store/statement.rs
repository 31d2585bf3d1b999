//! A completion as plain SQL, for a transaction that is not the store's own.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

/// What [`Store::complete`](crate::Store::complete) does, as one SQL statement and its parameters: run in a transaction of
/// the handler's, it commits the record together with what else that transaction has written.
///
/// Any driver or ORM runs it. **It has to change exactly one row**: where it changes none, the claim is lost and the
/// transaction has to be rolled back. `Debug` shows no parameters.
#[derive(Clone)]
pub struct Statement {
    dialect: Dialect,
    sql: Arc<str>,
    confirmation: Arc<str>,
    parameters: Vec<Parameter>,
}

impl Statement {
    /// A statement of this database, with one parameter for each of `$1`, `$2`, .. (`?1`, `?2`, .. for SQLite).
    ///
    /// `confirmation` is a query with the first three of the parameters: one row with one number, 1 where the statement
    /// has been committed and 0 where not. It waits for a transaction that is still to commit it.
    ///
    /// # Panics
    ///
    /// If there are fewer than three parameters.
    #[must_use]
    #[track_caller]
    pub fn new(
        dialect: Dialect,
        sql: impl Into<Arc<str>>,
        confirmation: impl Into<Arc<str>>,
        parameters: impl Into<Vec<Parameter>>,
    ) -> Self {
        let (sql, confirmation, parameters) = (sql.into(), confirmation.into(), parameters.into());
        assert!(
            parameters.len() >= 3,
            "Statement::new takes the three parameters of the confirmation at least: the record key, the fence and the claim id"
        );
        Self {
            dialect,
            sql,
            confirmation,
            parameters,
        }
    }

    /// For which database it is.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The statement.
    #[must_use]
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// Its parameters, in order.
    #[must_use]
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Tells after a COMMIT without an answer whether it was applied: a query with the first three
    /// [`parameters`](Self::parameters), whose one row has the number 1 if so.
    #[must_use]
    pub fn confirmation(&self) -> &str {
        &self.confirmation
    }
}

impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statement")
            .field("dialect", &self.dialect)
            .field("sql", &self.sql)
            .finish_non_exhaustive()
    }
}

/// The database that a [`Statement`] is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// PostgreSQL.
    Postgres,
    /// SQLite.
    Sqlite,
}

/// A parameter of a [`Statement`]. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Parameter {
    /// `bytea` in PostgreSQL, a blob in SQLite.
    Bytes(Bytes),
    /// `bigint` in PostgreSQL, an integer in SQLite.
    Integer(i64),
}

impl fmt::Debug for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytes(_) => "Bytes",
            Self::Integer(_) => "Integer",
        })
    }
}
