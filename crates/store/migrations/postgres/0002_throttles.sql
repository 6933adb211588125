-- How much of an allowance for guesses is used, so that neither a restart nor a further node gives a fresh one. A bucket is a
-- keyed hash of whom the allowance is about: people type passwords where a name belongs.
CREATE TABLE countersign.throttles (
  bucket bytea PRIMARY KEY CHECK (octet_length(bucket) = 16),
  -- When all of the allowance has grown back.
  spent_until bigint NOT NULL
) WITH (fillfactor = 80);
