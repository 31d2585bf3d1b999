-- Deletes up to so many records whose end is long past, and says how many. A claim draws its fence before it holds the
-- record, so that a record whose fence may still be outdone by a claim that hangs must stay.
CREATE FUNCTION {purge}(p_at_most bigint, OUT purged bigint) LANGUAGE plpgsql VOLATILE AS $purge$
DECLARE
  long_past timestamptz := clock_timestamp() - interval '5 minutes';
BEGIN
  DELETE FROM {record} WHERE ctid = ANY (ARRAY(
    SELECT r.ctid FROM {record} r
    WHERE r.expires_at < long_past AND (r.state <> 0 OR r.lease_until < long_past)
    LIMIT p_at_most FOR UPDATE SKIP LOCKED
  ));
  GET DIAGNOSTICS purged = ROW_COUNT;
END
$purge$;
