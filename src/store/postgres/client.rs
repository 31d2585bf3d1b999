//! One call: within its time, over a connection that works, as often as it takes.

use std::fmt::Write;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{Arguments, AssertSqlSafe, Either, Executor, PgConnection};
use tokio::time::{Instant, sleep, timeout_at};

use super::fault::{Class, Fault};
use super::pool::Pool;
use crate::clock;
use crate::store::statement::Parameter;

/// A call is tried so often.
const TRIES: u32 = 3;
/// The pause before it is tried again, and twice as long the next time.
const PAUSE: Duration = Duration::from_millis(10);

/// The way to the server, with the times of a call.
pub(super) struct Client {
    pub(super) pool: Pool,
    /// For a whole call, tries and connecting included.
    pub(super) at_most: Duration,
    /// What comes before each statement where the connection may be another one each time; then there are no prepared
    /// statements either.
    pub(super) each_time: Option<String>,
}

/// What a call is answered.
#[derive(Default)]
pub(super) struct Answer {
    pub(super) row: Option<PgRow>,
    /// How many rows it has changed.
    pub(super) changed: u64,
    /// Whether an earlier try of the same call may have been applied.
    pub(super) was_in_doubt: bool,
}

impl Answer {
    /// The one row of a statement that always has one.
    pub(super) fn row(&self) -> Result<&PgRow, Fault> {
        self.row.as_ref().ok_or_else(Fault::odd)
    }
}

impl Client {
    /// Runs a statement. Each of them may be run twice: who repeats one is recognised by its ids.
    pub(super) async fn call(
        &self,
        sql: &Arc<str>,
        parameters: &[Parameter],
    ) -> Result<Answer, Fault> {
        if !clock::has_timers() {
            let said = "there is no tokio runtime here";
            return Err(Fault::new(Class::Unsent, said));
        }
        let end = clock::later(Instant::now(), self.at_most);
        let _place = self.pool.place(end).await?;
        let left = end.saturating_duration_since(Instant::now());
        // What would hardly be answered is not sent.
        if left < self.at_most / 10 {
            return Err(Fault::busy());
        }
        // A connection that has silently gone is noticed when there is time left for another one.
        let mut until = end - left / 2;
        let (mut tries, mut pause, mut is_in_doubt) = (0, PAUSE, false);
        loop {
            let fault = match self.try_once(sql, parameters, until).await {
                Ok(mut answer) => {
                    answer.was_in_doubt = is_in_doubt;
                    return Ok(answer);
                }
                Err(fault) => fault,
            };
            match fault.class {
                Class::NotApplied | Class::Unsent => {}
                Class::Ambiguous => is_in_doubt = true,
                Class::Fatal | Class::Unreadable => return Err(fault.after(is_in_doubt)),
            }
            tries += 1;
            if tries == TRIES || Instant::now() + pause >= end {
                return Err(fault.after(is_in_doubt));
            }
            sleep(pause).await;
            (pause, until) = (pause * 2, end);
        }
    }

    async fn try_once(
        &self,
        sql: &Arc<str>,
        parameters: &[Parameter],
        until: Instant,
    ) -> Result<Answer, Fault> {
        let mut connection = self.pool.take(until).await?;
        let sent = self.send(&mut connection, sql, parameters);
        let answered = match timeout_at(until, sent).await {
            Ok(answered) => answered.map_err(|error| Fault::of_call(&error)),
            Err(_) => Err(Fault::late()),
        };
        match &answered {
            Err(fault) if fault.class != Class::NotApplied => self.pool.close_idle(),
            _ => self.pool.give_back(connection),
        }
        answered
    }

    async fn send(
        &self,
        connection: &mut PgConnection,
        sql: &Arc<str>,
        parameters: &[Parameter],
    ) -> Result<Answer, sqlx::Error> {
        let rows = match &self.each_time {
            None => {
                let mut arguments = PgArguments::default();
                for parameter in parameters {
                    let added = match parameter {
                        Parameter::Bytes(bytes) => arguments.add(&bytes[..]),
                        Parameter::Integer(integer) => arguments.add(*integer),
                    };
                    added.map_err(sqlx::Error::Encode)?;
                }
                let sql = AssertSqlSafe(Arc::clone(sql));
                connection.fetch_many(sqlx::query_with(sql, arguments))
            }
            Some(before) => {
                let sql = AssertSqlSafe(format!("{before}{}", written_out(sql, parameters)));
                connection.fetch_many(sqlx::raw_sql(sql))
            }
        };
        let (mut rows, mut answer) = (pin!(rows), Answer::default());
        while let Some(next) = rows.try_next().await? {
            match next {
                Either::Left(result) => answer.changed = result.rows_affected(),
                Either::Right(row) => answer.row = Some(row),
            }
        }
        Ok(answer)
    }
}

/// The statement with its parameters in their places, for connections that know no others. `decode` means the same whatever
/// the server's settings say of backslashes.
fn written_out(sql: &str, parameters: &[Parameter]) -> String {
    let mut parts = sql.split('$');
    let mut written = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = part.split_at(digits);
        let place = number.parse().unwrap_or(0_usize).wrapping_sub(1);
        // Writing to a string cannot fail.
        let _ = match parameters.get(place) {
            Some(Parameter::Bytes(bytes)) => {
                written.push_str("decode('");
                for byte in bytes {
                    let _ = write!(written, "{byte:02x}");
                }
                write!(written, "', 'hex')")
            }
            Some(Parameter::Integer(integer)) => write!(written, "({integer})"),
            None => write!(written, "${number}"),
        };
        written.push_str(rest);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_written_into_their_places() {
        let parameters = [
            Parameter::Bytes(vec![0, b'\'', 255].into()),
            Parameter::Integer(-7),
        ];

        let written = written_out("SELECT $2::bigint, $1::bytea, $2, '$'", &parameters);

        assert_eq!(
            written,
            "SELECT (-7)::bigint, decode('0027ff', 'hex')::bytea, (-7), '$'"
        );
    }
}
