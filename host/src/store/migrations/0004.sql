-- Groups, and late receipts that somebody is to be told of.

-- What a person says at once and the platform delivers in pieces: one turn gathers them.
ALTER TABLE turn ADD COLUMN group_id TEXT;
CREATE INDEX turn_group ON turn (conversation_id, group_id) WHERE group_id IS NOT NULL;

-- The pieces as they came: one may still be edited or taken back.
CREATE TABLE piece (
  turn_id   INTEGER NOT NULL REFERENCES turn (id) ON DELETE CASCADE,
  place     INTEGER NOT NULL,
  dedup_key BLOB NOT NULL,
  payload   TEXT NOT NULL,
  PRIMARY KEY (turn_id, place)
) STRICT, WITHOUT ROWID;

-- Of a `failed` receipt whose row is known: where its turn was answered, and which turn is told.
ALTER TABLE receipt ADD COLUMN conversation_id INTEGER;
ALTER TABLE receipt ADD COLUMN told_turn INTEGER;
CREATE INDEX receipt_untold ON receipt (conversation_id)
  WHERE conversation_id IS NOT NULL AND told_turn IS NULL;
CREATE INDEX receipt_told ON receipt (told_turn) WHERE told_turn IS NOT NULL;
