-- What an operator is shown: since when something waits and why, and who ordered it.
ALTER TABLE channel ADD COLUMN paused_at_ms INTEGER;
ALTER TABLE channel ADD COLUMN removed_at_ms INTEGER;
ALTER TABLE conversation ADD COLUMN closed_at_ms INTEGER;
ALTER TABLE turn ADD COLUMN made_by TEXT;
ALTER TABLE delivery ADD COLUMN made_by TEXT;

-- When the first attempt began, on the monotonic clock of its boot: the window of a platform's
-- idempotency must not grow where the wall clock is set back.
ALTER TABLE delivery ADD COLUMN first_attempt_boot INTEGER;
ALTER TABLE delivery ADD COLUMN first_attempt_mono_ms INTEGER;

-- What keeps a channel from sending besides a pause. Told by the host, forgotten at its next start.
CREATE TABLE channel_hold (
  channel_id INTEGER NOT NULL REFERENCES channel (id),
  by_what    TEXT NOT NULL,
  code       TEXT NOT NULL,
  reason     TEXT NOT NULL,
  since_ms   INTEGER NOT NULL,
  PRIMARY KEY (channel_id, by_what)
) STRICT, WITHOUT ROWID;

-- Tries that were lost; the deliveries have their attempts.
CREATE TABLE lost_try (
  turn_id INTEGER NOT NULL,
  try     INTEGER NOT NULL,
  at_ms   INTEGER NOT NULL,
  code    TEXT NOT NULL,
  reason  TEXT NOT NULL,
  PRIMARY KEY (turn_id, try)
) STRICT, WITHOUT ROWID;
