-- Moving house: `countersign transfer` copies everything to another database, which goes on from there.

-- Where the database has moved to, as people are told, and by which transfer: nothing is written to it any more.
ALTER TABLE auth_state ADD COLUMN moved_to TEXT;
ALTER TABLE auth_state ADD COLUMN moved_by BLOB
  CHECK (moved_by IS NULL OR (length(moved_by) = 16 AND moved_to IS NOT NULL));
-- 1 from before the moment at which the other database may be served: the move is not taken back from then on.
ALTER TABLE auth_state ADD COLUMN moved_for_good INTEGER NOT NULL DEFAULT 0
  CHECK (moved_for_good = 0 OR (moved_for_good = 1 AND moved_by IS NOT NULL));
-- The transfer that is filling this database, which is not served before it has arrived, and the one that has.
ALTER TABLE auth_state ADD COLUMN arriving BLOB CHECK (length(arriving) = 16);
ALTER TABLE auth_state ADD COLUMN arrived BLOB CHECK (length(arrived) = 16);

-- Programs that look for the mark refuse before they come this far; this is for one that was started before there was a mark.
CREATE TRIGGER moved_databases_stay_as_they_are BEFORE UPDATE OF commit_seq ON auth_state
WHEN old.moved_to IS NOT NULL AND new.moved_to IS NOT NULL
BEGIN
  SELECT RAISE(ABORT, 'the database has moved');
END;

-- What servers on PostgreSQL remember of a database that has come from there: kept for the day on which it goes back.
CREATE TABLE lanes (
  node BLOB NOT NULL CHECK (length(node) = 16),
  lane INTEGER NOT NULL,
  commit_seq INTEGER NOT NULL CHECK (commit_seq > 0),
  PRIMARY KEY (node, lane)
) STRICT, WITHOUT ROWID;

-- The histories before this one.
CREATE TABLE incarnations (
  incarnation BLOB PRIMARY KEY CHECK (length(incarnation) = 16),
  left_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
