-- take_over: 0 nothing, 1 what is not committed, 2 all. Durations are microseconds.
-- answer: 0 the record as it is, 1 owned, 2 a claim that comes after its own end.
CREATE FUNCTION {claim}(
  p_key bytea, p_claim_id bytea, p_fingerprint bytea, p_lease bigint, p_retention bigint, p_take_over bigint,
  OUT answer bigint, OUT fence bigint, OUT attempt bigint, OUT state bigint, OUT committed bigint,
  OUT fingerprint bytea, OUT lease bigint, OUT age bigint, OUT expires bigint, OUT body bytea
) LANGUAGE plpgsql VOLATILE AS $claim$
#variable_conflict use_column
DECLARE
  v_lease interval := p_lease * interval '1 microsecond';
  v_retention interval := p_retention * interval '1 microsecond';
  v_now timestamptz;
  v record;
  is_live boolean;
  is_fresh boolean;
BEGIN
  answer := 0;
  FOR round IN 1..4 LOOP
    SELECT r.fence, r.attempt, r.state, r.committed, r.fingerprint, r.claim_id, r.first_at, r.lease_until, r.expires_at, r.body
      INTO v FROM {record} r WHERE r.key = p_key;
    IF NOT FOUND THEN
      v_now := clock_timestamp();
      INSERT INTO {record} AS r
        (key, fingerprint, claim_id, fence, attempt, state, committed, first_at, lease_until, expires_at)
      VALUES (p_key, p_fingerprint, p_claim_id, nextval('{sequence}'), 1, 0, false, v_now, v_now + v_lease, v_now + v_retention)
      ON CONFLICT (key) DO NOTHING
      RETURNING r.fence INTO fence;
      IF FOUND THEN
        answer := 1; attempt := 1; lease := p_lease;
        RETURN;
      END IF;
      CONTINUE;
    END IF;

    v_now := clock_timestamp();
    is_live := v.state = 0 AND v.lease_until > v_now;
    is_fresh := v.state = 2 OR (v.expires_at <= v_now AND NOT is_live);
    IF v.state = 2 AND v.claim_id = p_claim_id THEN
      answer := 2;
      RETURN;
    END IF;

    -- One's own claim, repeated.
    IF v.state = 0 AND NOT is_fresh AND v.claim_id = p_claim_id THEN
      UPDATE {record} r SET lease_until = clock_timestamp() + v_lease
        WHERE r.key = p_key AND r.fence = v.fence AND r.claim_id = p_claim_id AND r.state = 0;
      IF FOUND THEN
        answer := 1; fence := v.fence; attempt := v.attempt; lease := p_lease;
        RETURN;
      END IF;
      CONTINUE;
    END IF;

    IF NOT is_fresh THEN
      fence := v.fence; attempt := v.attempt; state := v.state; committed := v.committed::integer;
      fingerprint := v.fingerprint; body := v.body;
      lease := CASE WHEN is_live THEN extract(epoch FROM v.lease_until - v_now) * 1000000 ELSE 0 END;
      age := greatest(extract(epoch FROM v_now - v.first_at) * 1000000, 0);
      expires := greatest(extract(epoch FROM v.expires_at - v_now) * 1000000, lease);
      IF v.state <> 0 OR is_live OR v.fingerprint <> p_fingerprint
        OR p_take_over = 0 OR (p_take_over = 1 AND v.committed) THEN
        RETURN;
      END IF;
      -- Another claim is over soon. Who holds the record for longer is an owner whose own transaction is about to commit
      -- its outcome: that one is at work.
      BEGIN
        PERFORM set_config('lock_timeout', '100ms', true);
        PERFORM 1 FROM {record} r
          WHERE r.key = p_key AND r.fence = v.fence AND r.state = 0 AND r.lease_until = v.lease_until
          FOR UPDATE;
      EXCEPTION WHEN lock_not_available THEN
        lease := 250000;
        RETURN;
      END;
      IF NOT FOUND THEN CONTINUE; END IF;
    END IF;

    UPDATE {record} r SET
      fingerprint = p_fingerprint,
      claim_id = p_claim_id,
      fence = greatest(nextval('{sequence}'), r.fence + 1),
      attempt = CASE WHEN is_fresh THEN 1 ELSE r.attempt + 1 END,
      state = 0,
      committed = NOT is_fresh AND r.committed,
      first_at = CASE WHEN is_fresh THEN clock_timestamp() ELSE r.first_at END,
      lease_until = clock_timestamp() + v_lease,
      expires_at = CASE WHEN is_fresh THEN clock_timestamp() + v_retention ELSE r.expires_at END,
      body = NULL
    WHERE r.key = p_key AND r.fence = v.fence AND r.state = v.state AND r.lease_until = v.lease_until
    RETURNING r.fence, r.attempt INTO fence, attempt;
    IF FOUND THEN
      answer := 1; lease := p_lease;
      RETURN;
    END IF;
  END LOOP;
  RAISE EXCEPTION 'the record comes and goes too quickly' USING ERRCODE = 'serialization_failure';
END
$claim$;
