//! How the file is opened.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::fault::{Class, Fault};
use super::settings::Settings;
use super::sql::{Sql, VERSION};

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Reader,
    Writer,
}

/// Opens the file, which has its path from `std::path::absolute`: so it is never taken for a URI.
///
/// Only with `may_create` is a new one made. Later a file that is gone has been taken away, and the records with it.
pub(super) fn open(settings: &Settings, role: Role, may_create: bool) -> Result<Connection, Fault> {
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if may_create && role == Role::Writer {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    let path: &Path = &settings.path;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(settings.busy_timeout)?;
    connection.set_prepared_statement_cache_capacity(32);
    write_ahead(&connection, settings.busy_timeout)?;
    let synchronous = if settings.is_normal { "NORMAL" } else { "FULL" };
    connection.pragma_update(None, "synchronous", synchronous)?;
    // SQLite opens what it may not write to all the same.
    if connection.is_readonly("main")? {
        return Err(Fault::read_only());
    }
    match role {
        Role::Writer => make(&connection, settings)?,
        Role::Reader => connection.pragma_update(None, "query_only", true)?,
    }
    check(&connection, &settings.sql)?;
    Ok(connection)
}

/// Which file is at the path, where that can be told: another one after it was replaced, none after it was taken away.
pub(super) fn file_at(path: &Path) -> Option<(u64, u64)> {
    #[cfg(unix)]
    let file = std::fs::metadata(path).ok().map(|it| {
        use std::os::unix::fs::MetadataExt;
        (it.dev(), it.ino())
    });
    #[cfg(not(unix))]
    let file = None;
    file
}

/// Sees to it that the file has a write-ahead log. SQLite does not wait for others that do the same.
fn write_ahead(connection: &Connection, patience: Duration) -> Result<(), Fault> {
    const PAUSE: Duration = Duration::from_millis(10);

    let began = Instant::now();
    let is_busy = |error: &rusqlite::Error| {
        let code = error.sqlite_error_code();
        matches!(
            code,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
        )
    };
    loop {
        let mode = connection.query_row("PRAGMA journal_mode = WAL", [], |row| {
            row.get::<_, String>(0)
        });
        match mode {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(mode) => {
                let said = format!(
                    "the file can have no write-ahead log, only \"{mode}\": it has to be on a disk of this machine"
                );
                return Err(Fault::new(Class::Fatal, said));
            }
            Err(error) if is_busy(&error) && began.elapsed() < patience => thread::sleep(PAUSE),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Makes the tables that are not there.
fn make(connection: &Connection, settings: &Settings) -> Result<(), Fault> {
    let sql = &settings.sql;
    let is_made: bool = connection.query_row(&sql.is_made, [], |row| row.get(0))?;
    if !is_made {
        // Where it fails, what is left of it goes with the connection.
        connection.execute_batch(&format!("BEGIN IMMEDIATE; {} COMMIT;", sql.make))?;
    }
    Ok(())
}

/// Fails where the tables cannot be read, or are of a later version.
pub(super) fn check(connection: &Connection, sql: &Sql) -> Result<(), Fault> {
    let mut statement = connection.prepare_cached(&sql.version)?;
    let version: i64 = statement.query_row([], |row| row.get(0))?;
    if version > VERSION {
        let said = format!(
            "the tables are of version {version}, and this program knows {VERSION} at most: install a later one"
        );
        return Err(Fault::new(Class::Fatal, said));
    }
    Ok(())
}
