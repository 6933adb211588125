-- Ids are 16 bytes; times are integer milliseconds since 1970-01-01T00:00:00Z; epochs are what countersign-core calls so.
-- Lock order: families, sessions, accounts, auth_state.

-- What there is once.
CREATE TABLE auth_state (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  -- The history that feed_seq belongs to; another one after a restore.
  incarnation BLOB NOT NULL CHECK (length(incarnation) = 16),
  global_epoch INTEGER NOT NULL,
  -- The last number of the revocation feed.
  feed_seq INTEGER NOT NULL CHECK (feed_seq >= 0),
  -- Grows with every commit that changes something: what the witness file follows.
  commit_seq INTEGER NOT NULL CHECK (commit_seq >= 0),
  -- The longest that an access token ever lived: for how long a revocation of many is kept in the feed.
  longest_access_lifetime INTEGER NOT NULL CHECK (longest_access_lifetime >= 0),
  -- 1 once the database was served, and so has a witness file.
  served INTEGER NOT NULL CHECK (served IN (0, 1))
) STRICT;

CREATE TABLE accounts (
  id BLOB PRIMARY KEY CHECK (length(id) = 16),
  username TEXT NOT NULL,
  username_canonical TEXT NOT NULL UNIQUE,
  email TEXT NOT NULL,
  email_canonical TEXT NOT NULL UNIQUE,
  roles TEXT NOT NULL CHECK (json_valid(roles)),
  password_hash TEXT NOT NULL,
  -- SHA-256 of the hash that a rehash of the same password replaced: a sign-in that compared with it is no less right.
  rehashed_from BLOB CHECK (length(rehashed_from) = 32),
  session_epoch INTEGER NOT NULL,
  claims_version INTEGER NOT NULL,
  disabled_at INTEGER,
  created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The cold row of a session: written when it begins and when it ends.
CREATE TABLE sessions (
  id BLOB PRIMARY KEY CHECK (length(id) = 16),
  account BLOB NOT NULL REFERENCES accounts (id),
  born_global INTEGER NOT NULL,
  born_session INTEGER NOT NULL,
  device TEXT,
  address BLOB CHECK (length(address) IN (4, 16)),
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  ended_at INTEGER,
  end_reason TEXT,
  CHECK ((ended_at IS NULL) = (end_reason IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_by_account ON sessions (account, created_at);

-- The hot row: one per chain of refresh tokens, changed in place by every rotation. No index may cover a column that a
-- rotation changes.
CREATE TABLE families (
  id BLOB PRIMARY KEY CHECK (length(id) = 16),
  session BLOB NOT NULL REFERENCES sessions (id),
  client TEXT NOT NULL,
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
  CHECK ((previous_hash IS NULL) = (nonce IS NULL) AND (nonce IS NULL) = (rotated_at IS NULL)),
  CHECK (retry_hash IS NULL OR nonce IS NOT NULL),
  CHECK ((older_generation IS NULL) = (older_at IS NULL) AND (newer_generation IS NULL) = (newer_at IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX families_by_session ON families (session);

-- Private parts are sealed with a key that is not in the database.
CREATE TABLE keys (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  key_use TEXT NOT NULL,
  kid TEXT NOT NULL,
  algorithm TEXT NOT NULL,
  sealed BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  active_from INTEGER NOT NULL,
  verifies_until INTEGER,
  UNIQUE (key_use, kid)
) STRICT;

-- Who may read the revocation feed.
CREATE TABLE readers (
  id BLOB PRIMARY KEY CHECK (length(id) = 16),
  name TEXT NOT NULL,
  key_hash BLOB NOT NULL CHECK (length(key_hash) = 32),
  created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The audit log. Rows with a feed_seq are the revocation feed as well. AUTOINCREMENT: no number is given out twice, not
-- even after the newest event was pruned.
CREATE TABLE events (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,
  kind TEXT NOT NULL,
  actor TEXT NOT NULL CHECK (actor IN ('account', 'anonymous', 'command_line', 'server')),
  actor_account BLOB CHECK (length(actor_account) = 16),
  address BLOB CHECK (length(address) IN (4, 16)),
  account BLOB CHECK (length(account) = 16),
  session BLOB CHECK (length(session) = 16),
  detail TEXT,
  feed_seq INTEGER,
  feed_scope TEXT CHECK (feed_scope IN ('session', 'account', 'everyone')),
  feed_version INTEGER,
  feed_expires_at INTEGER,
  CHECK ((actor = 'account') = (actor_account IS NOT NULL)),
  CHECK ((feed_seq IS NULL) = (feed_scope IS NULL) AND (feed_seq IS NULL) = (feed_expires_at IS NULL)),
  CHECK ((feed_version IS NOT NULL) = (feed_scope IS NOT NULL AND feed_scope <> 'session')),
  CHECK (feed_scope IS NOT 'session' OR session IS NOT NULL),
  CHECK (feed_scope IS NOT 'account' OR account IS NOT NULL)
) STRICT;

CREATE UNIQUE INDEX events_by_feed_seq ON events (feed_seq) WHERE feed_seq IS NOT NULL;
CREATE INDEX events_by_account ON events (account) WHERE account IS NOT NULL;
