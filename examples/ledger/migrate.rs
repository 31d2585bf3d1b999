//! The tables.

use std::process::ExitCode;

use sqlx::{Connection, Executor, PgConnection};
use tower_idempotency::PostgresStore;

use crate::BoxError;
use crate::settings::Settings;

/// Makes what is missing. In production this is a step of the deployment, by a user who owns the schema.
pub(crate) async fn migrate(settings: &Settings) -> Result<ExitCode, BoxError> {
    let url = settings.database()?;
    // The table of the records. Its SQL for your own tool: `PostgresStore::builder().migration_sql()`.
    PostgresStore::migrate(url).await?;

    let mut connection = PgConnection::connect(url).await?;
    connection.execute(include_str!("schema.sql")).await?;
    connection.close().await?;
    Ok(ExitCode::SUCCESS)
}
