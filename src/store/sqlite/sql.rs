//! The tables, and every statement that is run on them.
//!
//! Times are microseconds since 1970. The table `{prefix}_store` has one row: the version of the tables, and the last fence
//! that was given.

/// The version of the tables.
pub(super) const VERSION: i64 = 1;

/// The statements of a store, with the names of its tables in them.
pub(super) struct Sql {
    /// Makes what is not there.
    pub(super) make: String,
    /// Whether the tables are there.
    pub(super) is_made: String,
    pub(super) version: String,
    pub(super) next_fence: String,
    pub(super) find: String,
    pub(super) put: String,
    pub(super) own: String,
    pub(super) renew: String,
    pub(super) lapse: String,
    pub(super) complete: String,
    pub(super) remove: String,
    pub(super) forget: String,
    pub(super) erase: String,
    pub(super) purge: String,
    record: String,
    store: String,
}

impl Sql {
    pub(super) fn new(prefix: &str) -> Self {
        let (record, store) = (
            format!("\"{prefix}_record\""),
            format!("\"{prefix}_store\""),
        );
        Self {
            make: format!(
                "CREATE TABLE IF NOT EXISTS {record} (
                    id INTEGER PRIMARY KEY,
                    key BLOB NOT NULL UNIQUE,
                    fingerprint_version INTEGER NOT NULL,
                    fingerprint BLOB NOT NULL,
                    claim_id BLOB NOT NULL,
                    fence INTEGER NOT NULL,
                    attempt INTEGER NOT NULL,
                    completed INTEGER NOT NULL,
                    committed INTEGER NOT NULL,
                    first_at INTEGER NOT NULL,
                    lease_until INTEGER NOT NULL,
                    expires_at INTEGER NOT NULL,
                    body BLOB
                ) STRICT;
                CREATE INDEX IF NOT EXISTS \"{prefix}_record_expires_at\" ON {record} (expires_at);
                CREATE TABLE IF NOT EXISTS {store} (
                    id INTEGER PRIMARY KEY CHECK (id = 1),
                    version INTEGER NOT NULL,
                    fence INTEGER NOT NULL
                ) STRICT;
                INSERT OR IGNORE INTO {store} (id, version, fence) VALUES (1, {VERSION}, 0);"
            ),
            is_made: format!(
                "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = '{prefix}_store'"
            ),
            version: format!("SELECT version FROM {store}"),
            next_fence: format!("UPDATE {store} SET fence = fence + 1 RETURNING fence"),
            find: format!(
                "SELECT id, fingerprint_version, fingerprint, claim_id, fence, attempt, completed, committed, first_at, \
                 lease_until, expires_at, body FROM {record} WHERE key = ?1"
            ),
            // Over one that has expired, too.
            put: format!(
                "INSERT OR REPLACE INTO {record} (key, fingerprint_version, fingerprint, claim_id, fence, attempt, \
                 completed, committed, first_at, lease_until, expires_at) \
                 VALUES (?1, ?2, ?3, ?4, ?5, 1, 0, 0, ?6, ?7, ?8)"
            ),
            own: format!(
                "UPDATE {record} SET claim_id = ?2, fence = ?3, attempt = ?4, lease_until = ?5 WHERE id = ?1"
            ),
            renew: format!(
                "UPDATE {record} SET lease_until = ?2, committed = committed | ?3 WHERE id = ?1"
            ),
            lapse: format!("UPDATE {record} SET lease_until = min(lease_until, ?2) WHERE id = ?1"),
            complete: format!(
                "UPDATE {record} SET completed = 1, expires_at = ?2, body = ?3 WHERE id = ?1"
            ),
            remove: format!("DELETE FROM {record} WHERE id = ?1"),
            forget: format!("DELETE FROM {record} WHERE key = ?1"),
            erase: format!(
                "DELETE FROM {record} WHERE id IN \
                 (SELECT id FROM {record} WHERE key BETWEEN ?1 AND ?2 LIMIT ?3) \
                 RETURNING CASE WHEN completed THEN expires_at ELSE max(expires_at, lease_until) END > ?4"
            ),
            purge: format!(
                "DELETE FROM {record} WHERE id IN (SELECT id FROM {record} \
                 WHERE expires_at <= ?1 AND (completed OR lease_until <= ?1) LIMIT ?2)"
            ),
            record,
            store,
        }
    }

    /// Completes a record by key, fence and claim id, with a payload and for a retention, at this time. No other statement
    /// that completes is run by anybody but the store.
    pub(super) fn completion(&self, now: &str) -> String {
        format!(
            "UPDATE {record} SET completed = 1, body = ?4, expires_at = CASE WHEN first_at + ?5 > {now} \
             THEN first_at + ?5 ELSE max(lease_until, {now}) END \
             WHERE key = ?1 AND fence = ?2 AND claim_id = ?3 AND NOT completed",
            record = self.record
        )
    }

    /// Whether that has been committed: 1 or 0. It writes what is there already, because only a writer waits for others.
    pub(super) fn confirmation(&self) -> String {
        let (record, store) = (&self.record, &self.store);
        format!(
            "UPDATE {store} SET fence = fence RETURNING EXISTS (SELECT 1 FROM {record} \
             WHERE key = ?1 AND fence = ?2 AND claim_id = ?3 AND completed)"
        )
    }
}
