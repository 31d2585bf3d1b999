-- The ledger: money in whole cents, in the database of the records.
--
-- `operation` says which request has made a row: a key that is derived from that of the client, the same in every
-- attempt. Make it UNIQUE in your own tables, as a second line of defence. Here it is not: nothing but the idempotency
-- layer keeps a request from writing twice, so that the books would show it.
CREATE TABLE IF NOT EXISTS account (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  operation uuid NOT NULL,
  customer text NOT NULL,
  cents bigint NOT NULL DEFAULT 0 CHECK (cents >= 0)
);

CREATE TABLE IF NOT EXISTS transfer (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  operation uuid NOT NULL,
  from_account bigint NOT NULL REFERENCES account,
  to_account bigint NOT NULL REFERENCES account,
  cents bigint NOT NULL CHECK (cents > 0)
);

-- `operation` is the key of the provider's charge as well.
CREATE TABLE IF NOT EXISTS payment (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  operation uuid NOT NULL,
  account bigint NOT NULL REFERENCES account,
  charge text NOT NULL,
  cents bigint NOT NULL CHECK (cents > 0)
);
