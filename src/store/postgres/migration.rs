//! Schema, table and functions, made where they are missing.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};
use tokio::time::{Instant, sleep, timeout_at};

use super::fault::{Class, Fault};
use super::names::Names;
use crate::clock;

/// A migration may take so long in all.
const AT_MOST: Duration = Duration::from_secs(20);
/// The pause before it is tried again.
const PAUSE: Duration = Duration::from_millis(150);

pub(super) fn sql(names: &Names) -> String {
    let whole = include_str!("migrate.sql")
        .replace("{claim_v1}", include_str!("claim.sql"))
        .replace("{purge_v1}", include_str!("purge.sql"));
    names.fill(&whole)
}

/// Runs it until it is done, or hopeless, or late.
pub(super) async fn run(options: &PgConnectOptions, sql: &str) -> Result<(), Fault> {
    if !clock::has_timers() {
        let said = "there is no tokio runtime here";
        return Err(Fault::new(Class::NotApplied, said));
    }
    let end = Instant::now() + AT_MOST;
    loop {
        let tried = timeout_at(end, try_once(options, sql)).await;
        match tried.unwrap_or_else(|_| Err(Fault::late())) {
            Err(fault) if fault.class == Class::NotApplied && Instant::now() + PAUSE < end => {}
            done => return done,
        }
        sleep(PAUSE).await;
    }
}

async fn try_once(options: &PgConnectOptions, sql: &str) -> Result<(), Fault> {
    let connected = options.connect().await;
    let mut connection = connected.map_err(|error| Fault::of_connecting(&error))?;
    let statement = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
    let done = connection.execute(statement).await;
    done.map_err(|error| Fault::of_call(&error)).map(drop)
}
