-- How much of an allowance for guesses is used, so that neither a restart nor a further server gives a fresh one. A bucket is a
-- keyed hash of whom the allowance is about: people type passwords where a name belongs.
CREATE TABLE throttles (
  bucket BLOB PRIMARY KEY CHECK (length(bucket) = 16),
  -- When all of the allowance has grown back.
  spent_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
