-- All that decides over a session stands in its hot row, so that a refresh reads one row and not two; the cold one says what people are shown
-- of it. Tables whose columns must not be empty are made anew: whoever looks for them finds them whole.
ALTER TABLE families RENAME TO families_before;
DROP INDEX families_by_session;
ALTER TABLE sessions RENAME TO sessions_before;
DROP INDEX sessions_by_account;

-- What people are shown of a session: written when it begins.
CREATE TABLE sessions (
  id BLOB PRIMARY KEY CHECK (length(id) = 16),
  account BLOB NOT NULL REFERENCES accounts (id),
  device TEXT,
  address BLOB CHECK (length(address) IN (4, 16)),
  created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO sessions (id, account, device, address, created_at)
SELECT id, account, device, address, created_at FROM sessions_before ORDER BY id;

-- The hot row: one per session, of its chain of refresh tokens, changed in place by every rotation. No index may cover a column that a
-- rotation changes.
CREATE TABLE families (
  id BLOB PRIMARY KEY CHECK (length(id) = 16),
  session BLOB NOT NULL REFERENCES sessions (id),
  -- Whose it is, under which epochs it began, and its absolute end.
  account BLOB NOT NULL CHECK (length(account) = 16),
  born_global INTEGER NOT NULL,
  born_session INTEGER NOT NULL,
  session_expires_at INTEGER NOT NULL,
  ended_at INTEGER,
  end_reason TEXT,
  -- NULL: the front end of the operator's own API, as nearly always.
  client TEXT,
  generation INTEGER NOT NULL CHECK (generation BETWEEN 0 AND 4294967295),
  current_hash BLOB NOT NULL CHECK (length(current_hash) = 32),
  -- What the last rotation left; all NULL until the first, retry_hash also where the client sent no retry key.
  previous_hash BLOB CHECK (length(previous_hash) = 32),
  nonce BLOB CHECK (length(nonce) = 16),
  retry_hash BLOB CHECK (length(retry_hash) = 16),
  rotated_at INTEGER,
  idle_expires_at INTEGER NOT NULL,
  access_expires_at INTEGER NOT NULL,
  reissues INTEGER NOT NULL CHECK (reissues BETWEEN 0 AND 4294967295),
  reissue_streak INTEGER NOT NULL CHECK (reissue_streak BETWEEN 0 AND 4294967295),
  older_generation INTEGER,
  older_at INTEGER,
  newer_generation INTEGER,
  newer_at INTEGER,
  CHECK ((ended_at IS NULL) = (end_reason IS NULL)),
  CHECK ((previous_hash IS NULL) = (nonce IS NULL) AND (nonce IS NULL) = (rotated_at IS NULL)),
  CHECK (retry_hash IS NULL OR nonce IS NOT NULL),
  CHECK ((older_generation IS NULL) = (older_at IS NULL) AND (newer_generation IS NULL) = (newer_at IS NULL))
) STRICT, WITHOUT ROWID;

INSERT INTO families (id, session, account, born_global, born_session, session_expires_at, ended_at, end_reason, client,
  generation, current_hash, previous_hash, nonce, retry_hash, rotated_at, idle_expires_at, access_expires_at, reissues,
  reissue_streak, older_generation, older_at, newer_generation, newer_at)
SELECT f.id, f.session, s.account, s.born_global, s.born_session, s.expires_at, s.ended_at, s.end_reason, nullif(f.client, 'first-party'),
  f.generation, f.current_hash, f.previous_hash, f.nonce, f.retry_hash, f.rotated_at, f.idle_expires_at, f.access_expires_at,
  f.reissues, f.reissue_streak, f.older_generation, f.older_at, f.newer_generation, f.newer_at
FROM families_before f JOIN sessions_before s ON s.id = f.session ORDER BY f.id;

DROP TABLE families_before;
DROP TABLE sessions_before;
CREATE INDEX sessions_by_account ON sessions (account, created_at);
CREATE UNIQUE INDEX families_by_session ON families (session);
