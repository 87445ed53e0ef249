-- What recurs. A schedule that waits has its next due time; one that is paused has none. Its number
-- is never given again, as it names the occurrences in the keys of their turns.
CREATE TABLE schedule (
  id              INTEGER PRIMARY KEY AUTOINCREMENT,
  name            TEXT NOT NULL UNIQUE,
  channel_id      INTEGER NOT NULL REFERENCES channel (id),
  conversation_id INTEGER NOT NULL REFERENCES conversation (id),
  cron            TEXT NOT NULL,
  zone            TEXT NOT NULL,
  -- 0 all 1 latest 2 skip
  catch_up        INTEGER NOT NULL,
  payload         TEXT NOT NULL,
  next_due_ms     INTEGER,
  -- When that was worked out: a clock that goes back behind it makes it to be worked out again.
  next_set_ms     INTEGER NOT NULL,
  code            TEXT,
  reason          TEXT,
  made            INTEGER NOT NULL DEFAULT 0,
  skipped         INTEGER NOT NULL DEFAULT 0,
  last_due_ms     INTEGER,
  last_turn       INTEGER,
  last_nonce      INTEGER,
  created_at_ms   INTEGER NOT NULL
) STRICT;
CREATE INDEX schedule_next ON schedule (next_due_ms, id) WHERE next_due_ms IS NOT NULL;
CREATE INDEX schedule_room ON schedule (conversation_id);
