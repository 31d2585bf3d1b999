-- Makes what is missing, and touches nothing that is there. One statement: all of it, or nothing.
DO $migrate$
BEGIN
  -- Never in the way of requests: where a lock is not to be had, it gives up and is run again.
  PERFORM set_config('lock_timeout', '100ms', true);
  PERFORM pg_advisory_xact_lock(hashtextextended('tower-idempotency', 1));
  IF to_regnamespace('{schema}') IS NULL THEN
    CREATE SCHEMA {schema};
  END IF;
  IF to_regclass('{sequence}') IS NULL THEN
    CREATE SEQUENCE {sequence} CACHE 1;
  END IF;
  IF to_regclass('{record}') IS NULL THEN
    CREATE TABLE {record} (
      -- 16 bytes of the scope, 32 of the key.
      key bytea PRIMARY KEY,
      -- One byte of its version, 32 of the digest.
      fingerprint bytea NOT NULL,
      claim_id bytea NOT NULL,
      fence bigint NOT NULL,
      attempt integer NOT NULL,
      -- 0 in flight, 1 completed, 2 free: only the fence still counts.
      state smallint NOT NULL,
      committed boolean NOT NULL,
      first_at timestamptz NOT NULL,
      lease_until timestamptz NOT NULL,
      expires_at timestamptz NOT NULL,
      body bytea
    ) WITH (
      fillfactor = 80,
      autovacuum_vacuum_scale_factor = 0.02,
      autovacuum_vacuum_insert_scale_factor = 0.05,
      autovacuum_analyze_scale_factor = 0.05
    );
  END IF;
  IF to_regclass('{index}') IS NULL THEN
    CREATE INDEX {index_name} ON {record} (expires_at);
  END IF;
  IF to_regprocedure('{claim}(bytea, bytea, bytea, bigint, bigint, bigint)') IS NULL THEN
{claim_v1}
  END IF;
  IF to_regprocedure('{purge}(bigint)') IS NULL THEN
{purge_v1}
  END IF;
END
$migrate$;
