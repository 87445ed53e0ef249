-- What pull workers hold: of each turn that one ever claimed, its last claim. The turn's own claim
-- says whether it still holds; this says who, for how long at a time, and, after its end, what the
-- worker is told if it asks again. All that decides is a duration: no wall clock ends a lease.
CREATE TABLE pull (
  turn_id         INTEGER PRIMARY KEY REFERENCES turn (id) ON DELETE CASCADE,
  token           INTEGER NOT NULL,
  try             INTEGER NOT NULL,
  worker          TEXT NOT NULL,
  -- Of the request that claimed it, so that one whose answer was lost can be asked again.
  claim_key       BLOB,
  -- For people only.
  claimed_at_ms   INTEGER NOT NULL,
  renewed_at_ms   INTEGER NOT NULL,
  -- What each renewal asks for, and what was left of the try's whole time at the last one, which
  -- was at that moment of the boot's monotonic clock.
  lease_ms        INTEGER NOT NULL,
  left_ms         INTEGER NOT NULL,
  renewed_mono_ms INTEGER NOT NULL,
  said_rows       INTEGER NOT NULL DEFAULT 0,
  said_bytes      INTEGER NOT NULL DEFAULT 0,
  -- The last report that may come again, and the state in which it left the turn, if it ended the
  -- try.
  report_key      BLOB,
  ended           INTEGER
) STRICT;
CREATE INDEX pull_claim ON pull (claim_key) WHERE claim_key IS NOT NULL;
