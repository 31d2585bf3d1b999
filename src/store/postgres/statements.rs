//! What the store sends: one statement for each verb.
//!
//! `$1` is the key, `$2` and `$3` fence and claim id of an owner. `clock_timestamp()` is the only clock: `now()` stands still in
//! a transaction.

use std::sync::Arc;

use super::names::Names;

/// The statements of one table.
pub(super) struct Statements {
    pub(super) claim: Arc<str>,
    pub(super) renew: Arc<str>,
    pub(super) complete: Arc<str>,
    pub(super) confirmation: Arc<str>,
    pub(super) abandon: Arc<str>,
    pub(super) release: Arc<str>,
    pub(super) standing: Arc<str>,
    pub(super) inspect: Arc<str>,
    pub(super) look: Arc<str>,
    pub(super) forget: Arc<str>,
    pub(super) erase: Arc<str>,
    pub(super) purge: Arc<str>,
    pub(super) check: Arc<str>,
}

const CLAIM: &str = "SELECT answer, fence, attempt, state, committed, fingerprint, lease, age, expires, body \
    FROM {claim}($1::bytea, $2::bytea, $3::bytea, $4::bigint, $5::bigint, $6::bigint)";

const RENEW: &str = "UPDATE {record} SET \
    lease_until = clock_timestamp() + $4::bigint * interval '1 microsecond', \
    committed = committed OR $5::bigint = 1 \
    WHERE key = $1::bytea AND fence = $2::bigint AND claim_id = $3::bytea AND state = 0";

/// To the end of the lease where the retention is over already.
const COMPLETE: &str = "UPDATE {record} SET state = 1, body = $4::bytea, expires_at = \
    CASE WHEN first_at + $5::bigint * interval '1 microsecond' > clock_timestamp() \
    THEN first_at + $5::bigint * interval '1 microsecond' ELSE lease_until END \
    WHERE key = $1::bytea AND fence = $2::bigint AND claim_id = $3::bytea AND state = 0";

/// Waits for a transaction that is still to commit the completion.
const CONFIRMATION: &str = "SELECT coalesce((SELECT CASE WHEN state = 1 THEN 1 ELSE 0 END FROM {record} \
    WHERE key = $1::bytea AND fence = $2::bigint AND claim_id = $3::bytea FOR UPDATE), 0)::bigint";

const ABANDON: &str = "UPDATE {record} SET lease_until = least(lease_until, clock_timestamp()) \
    WHERE key = $1::bytea AND fence = $2::bigint AND claim_id = $3::bytea AND state = 0";

/// The fence stays, until the record is purged.
const RELEASE: &str = "UPDATE {record} SET state = 2, body = NULL, expires_at = clock_timestamp() \
    WHERE key = $1::bytea AND fence = $2::bigint AND claim_id = $3::bytea AND state = 0";

/// How an owner stands whose write has met nothing.
const STANDING: &str = "SELECT state::bigint, \
    CASE WHEN fence = $2::bigint AND claim_id = $3::bytea THEN 1 ELSE 0 END::bigint \
    FROM {record} WHERE key = $1::bytea";

/// What is not free and has not expired. The subquery reads the clock once.
macro_rules! inspect {
    ($body:literal) => {
        concat!(
            "SELECT 0::bigint, r.fence, r.attempt::bigint, r.state::bigint, r.committed::integer::bigint, r.fingerprint, ",
            "CASE WHEN r.state = 0 THEN greatest((extract(epoch FROM r.lease_until - t.now) * 1000000)::bigint, 0) ELSE 0 END, ",
            "greatest((extract(epoch FROM t.now - r.first_at) * 1000000)::bigint, 0), ",
            "(extract(epoch FROM CASE WHEN r.state = 0 THEN greatest(r.expires_at, r.lease_until) ELSE r.expires_at END - t.now) * 1000000)::bigint, ",
            $body,
            " FROM {record} r CROSS JOIN (SELECT clock_timestamp() AS now OFFSET 0) t ",
            "WHERE r.key = $1::bytea AND r.state <> 2 AND (r.expires_at > t.now OR (r.state = 0 AND r.lease_until > t.now))"
        )
    };
}

/// `$2` is 1 to forget a record whose lease lives, too.
const FORGET: &str = "UPDATE {record} SET state = 2, body = NULL, expires_at = clock_timestamp() \
    WHERE key = $1::bytea AND state <> 2 \
    AND (expires_at > clock_timestamp() OR (state = 0 AND lease_until > clock_timestamp())) \
    AND ($2::bigint = 1 OR (state = 0 AND lease_until <= clock_timestamp()) OR state = 1)";

/// After `$1` and up to `$2`, so many at a time, in order: what was freed before is not looked through again. How many were
/// freed, how many of them had not expired, and the last.
const ERASE: &str = "WITH found AS ( \
    SELECT key, expires_at > clock_timestamp() OR (state = 0 AND lease_until > clock_timestamp()) AS is_there \
    FROM {record} WHERE key > $1::bytea AND key <= $2::bytea AND state <> 2 ORDER BY key LIMIT 200 FOR UPDATE), \
    freed AS (UPDATE {record} r SET state = 2, body = NULL, expires_at = clock_timestamp() \
    FROM found WHERE r.key = found.key RETURNING found.is_there) \
    SELECT count(*), count(*) FILTER (WHERE is_there), (SELECT key FROM found ORDER BY key DESC LIMIT 1) FROM freed";

const PURGE: &str = "SELECT {purge}($1::bigint)";

/// Whether all is there, and what this user may do with it; what an operator should know.
const CHECK: &str = "SELECT \
    CASE WHEN to_regclass('{record}') IS NULL OR to_regclass('{sequence}') IS NULL \
    OR to_regprocedure('{claim}(bytea, bytea, bytea, bigint, bigint, bigint)') IS NULL \
    OR to_regprocedure('{purge}(bigint)') IS NULL THEN 0 ELSE 1 END::bigint, \
    CASE WHEN has_table_privilege(to_regclass('{record}'), 'SELECT') \
    AND has_table_privilege(to_regclass('{record}'), 'INSERT') \
    AND has_table_privilege(to_regclass('{record}'), 'UPDATE') \
    AND has_table_privilege(to_regclass('{record}'), 'DELETE') \
    AND has_sequence_privilege(to_regclass('{sequence}'), 'USAGE') \
    AND has_function_privilege(to_regprocedure('{claim}(bytea, bytea, bytea, bigint, bigint, bigint)'), 'EXECUTE') \
    AND has_function_privilege(to_regprocedure('{purge}(bigint)'), 'EXECUTE') THEN 1 ELSE 0 END::bigint, \
    CASE WHEN current_setting('transaction_read_only') = 'on' THEN 1 ELSE 0 END::bigint, \
    CASE WHEN current_setting('synchronous_commit') = 'off' THEN 1 ELSE 0 END::bigint, \
    CASE WHEN current_setting('fsync') = 'off' THEN 1 ELSE 0 END::bigint";

impl Statements {
    pub(super) fn of(names: &Names) -> Self {
        let fill = |template| Arc::from(names.fill(template));
        Self {
            claim: fill(CLAIM),
            renew: fill(RENEW),
            complete: fill(COMPLETE),
            confirmation: fill(CONFIRMATION),
            abandon: fill(ABANDON),
            release: fill(RELEASE),
            standing: fill(STANDING),
            inspect: fill(inspect!("r.body")),
            look: fill(inspect!("NULL::bytea")),
            forget: fill(FORGET),
            erase: fill(ERASE),
            purge: fill(PURGE),
            check: fill(CHECK),
        }
    }
}
