//! What is settled when the store is opened.

use std::path::PathBuf;
use std::time::Duration;

use super::clock::Clock;
use super::sql::Sql;

pub(super) struct Settings {
    /// Absolute.
    pub(super) path: PathBuf,
    pub(super) sql: Sql,
    pub(super) clock: Clock,
    /// Whether a commit does without waiting for the disk.
    pub(super) is_normal: bool,
    pub(super) busy_timeout: Duration,
    pub(super) timeout: Duration,
    pub(super) queue: usize,
    pub(super) purge_every: Duration,
}
