-- Moving house: `countersign transfer` copies everything to another database, which goes on from there.
ALTER TABLE countersign.auth_state
  -- Where the database has moved to, as people are told, and by which transfer: nothing is written to it any more.
  ADD COLUMN moved_to text,
  ADD COLUMN moved_by uuid CHECK (moved_by IS NULL OR moved_to IS NOT NULL),
  -- 1 from before the moment at which the other database may be served: the move is not taken back from then on.
  ADD COLUMN moved_for_good bigint NOT NULL DEFAULT 0
    CHECK (moved_for_good = 0 OR (moved_for_good = 1 AND moved_by IS NOT NULL)),
  -- The transfer that is filling this database, which is not served before it has arrived, and the one that has.
  ADD COLUMN arriving uuid,
  ADD COLUMN arrived uuid;
