-- All that decides over a session stands in its hot row, so that a refresh reads one row and not two; the cold one says what people are shown
-- of it. Tables whose columns must not be empty are made anew: whoever looks for them finds them whole.
ALTER TABLE countersign.families RENAME TO families_before;
ALTER INDEX countersign.families_pkey RENAME TO families_before_pkey;
DROP INDEX countersign.families_by_session;

-- The hot row: one per session, of its chain of refresh tokens, changed in place by every rotation. No index may cover a column that a
-- rotation changes, and the page has room for the next version of its rows.
CREATE TABLE countersign.families (
  id uuid PRIMARY KEY,
  session uuid NOT NULL REFERENCES countersign.sessions (id),
  -- Whose it is, under which epochs it began, and its absolute end.
  account uuid NOT NULL,
  born_global bigint NOT NULL,
  born_session bigint NOT NULL,
  session_expires_at bigint NOT NULL,
  ended_at bigint,
  end_reason text,
  -- NULL: the front end of the operator's own API, as nearly always.
  client text,
  generation bigint NOT NULL CHECK (generation BETWEEN 0 AND 4294967295),
  current_hash bytea NOT NULL CHECK (octet_length(current_hash) = 32),
  -- What the last rotation left; all NULL until the first, retry_hash also where the client sent no retry key.
  previous_hash bytea CHECK (octet_length(previous_hash) = 32),
  nonce bytea CHECK (octet_length(nonce) = 16),
  retry_hash bytea CHECK (octet_length(retry_hash) = 16),
  rotated_at bigint,
  idle_expires_at bigint NOT NULL,
  access_expires_at bigint NOT NULL,
  reissues bigint NOT NULL CHECK (reissues BETWEEN 0 AND 4294967295),
  reissue_streak bigint NOT NULL CHECK (reissue_streak BETWEEN 0 AND 4294967295),
  older_generation bigint,
  older_at bigint,
  newer_generation bigint,
  newer_at bigint,
  CHECK ((ended_at IS NULL) = (end_reason IS NULL)),
  CHECK ((previous_hash IS NULL) = (nonce IS NULL) AND (nonce IS NULL) = (rotated_at IS NULL)),
  CHECK (retry_hash IS NULL OR nonce IS NOT NULL),
  CHECK ((older_generation IS NULL) = (older_at IS NULL) AND (newer_generation IS NULL) = (newer_at IS NULL))
) WITH (fillfactor = 80);

INSERT INTO countersign.families (id, session, account, born_global, born_session, session_expires_at, ended_at, end_reason, client,
  generation, current_hash, previous_hash, nonce, retry_hash, rotated_at, idle_expires_at, access_expires_at, reissues,
  reissue_streak, older_generation, older_at, newer_generation, newer_at)
SELECT f.id, f.session, s.account, s.born_global, s.born_session, s.expires_at, s.ended_at, s.end_reason, nullif(f.client, 'first-party'),
  f.generation, f.current_hash, f.previous_hash, f.nonce, f.retry_hash, f.rotated_at, f.idle_expires_at, f.access_expires_at,
  f.reissues, f.reissue_streak, f.older_generation, f.older_at, f.newer_generation, f.newer_at
FROM countersign.families_before f JOIN countersign.sessions s ON s.id = f.session;

DROP TABLE countersign.families_before;
CREATE UNIQUE INDEX families_by_session ON countersign.families (session);
ALTER TABLE countersign.sessions DROP COLUMN born_global, DROP COLUMN born_session, DROP COLUMN expires_at,
  DROP COLUMN ended_at, DROP COLUMN end_reason;
