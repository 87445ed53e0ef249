-- The first schema. Times are UTC milliseconds; claims expire on the boot's monotonic clock.
-- States are numbers, in the order of `TurnState::ALL` and `DeliveryState::ALL`:
--   turn      0 queued 1 running 2 delivering 3 delivered 4 silent 5 failed 6 aborted 7 expired
--   delivery  0 queued 1 sending 2 unknown, open 3 unknown, held 4 delivered 5 dead 6 cancelled
--             7 expired
-- Indexes of the hot path cover live states only: what they cost does not grow with history.

CREATE TABLE meta (
  name  TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO meta (name, value) VALUES ('batch', 0), ('number_floor', 0), ('not_served', 0);

CREATE TABLE channel (
  id                INTEGER PRIMARY KEY,
  name              TEXT NOT NULL UNIQUE,
  present           INTEGER NOT NULL,
  pause_code        TEXT,
  pause_reason      TEXT,
  not_before_ms     INTEGER NOT NULL DEFAULT 0,
  not_before_set_ms INTEGER NOT NULL DEFAULT 0,
  adapter           TEXT,
  version           TEXT,
  digest            TEXT
) STRICT;

-- Where order holds. What holds back its head stands here too: the head inherits it.
CREATE TABLE conversation (
  id                INTEGER PRIMARY KEY,
  channel_id        INTEGER NOT NULL REFERENCES channel (id),
  name              TEXT NOT NULL,
  context           TEXT,
  closed            INTEGER NOT NULL DEFAULT 0,
  not_before_ms     INTEGER NOT NULL DEFAULT 0,
  not_before_set_ms INTEGER NOT NULL DEFAULT 0,
  -- 1 where it took in the rows of a renamed one: two may be at work there for a while.
  merged            INTEGER NOT NULL DEFAULT 0,
  UNIQUE (channel_id, name)
) STRICT;

CREATE TABLE turn (
  id              INTEGER PRIMARY KEY,
  nonce           INTEGER NOT NULL,
  seq             INTEGER NOT NULL,
  channel_id      INTEGER NOT NULL REFERENCES channel (id),
  conversation_id INTEGER NOT NULL REFERENCES conversation (id),
  state           INTEGER NOT NULL,
  -- 1 where it is queued and next in its conversation.
  head            INTEGER NOT NULL,
  code            TEXT,
  reason          TEXT,
  external_id     TEXT,
  dedup_key       BLOB,
  payload         TEXT NOT NULL,
  accepted_at_ms  INTEGER NOT NULL,
  -- From when it may run; its age counts from here.
  due_ms          INTEGER NOT NULL,
  due_set_ms      INTEGER NOT NULL,
  try             INTEGER NOT NULL DEFAULT 0,
  tries           INTEGER NOT NULL DEFAULT 0,
  host_losses     INTEGER NOT NULL DEFAULT 0,
  claim_boot      INTEGER,
  claim_token     INTEGER,
  claim_expires   INTEGER,
  ended_at_ms     INTEGER,
  ended_by        TEXT,
  replay_of       INTEGER,
  CHECK ((state >= 3) = (ended_at_ms IS NOT NULL)),
  CHECK ((state = 1) = (claim_token IS NOT NULL))
) STRICT;
-- `state < 3` is live. A list of three states would be built as a table of its own each time a row
-- is written.
CREATE INDEX turn_line ON turn (conversation_id, seq) WHERE state < 3;
CREATE INDEX turn_ready ON turn (channel_id, due_ms, seq) WHERE head = 1;
CREATE INDEX turn_running ON turn (id) WHERE state = 1;
CREATE INDEX turn_ended ON turn (ended_at_ms, id) WHERE ended_at_ms IS NOT NULL;
CREATE INDEX turn_replay ON turn (replay_of) WHERE replay_of IS NOT NULL;

CREATE TABLE delivery (
  id                  INTEGER PRIMARY KEY,
  nonce               INTEGER NOT NULL,
  seq                 INTEGER NOT NULL,
  channel_id          INTEGER NOT NULL REFERENCES channel (id),
  conversation_id     INTEGER NOT NULL REFERENCES conversation (id),
  -- The turn that guards the row and the try that made it; both absent for free rows.
  turn_id             INTEGER REFERENCES turn (id),
  turn_try            INTEGER,
  -- Where a free row comes from.
  about_turn          INTEGER,
  replay_of           INTEGER,
  kind                INTEGER NOT NULL,
  -- Parts of one reply share this number.
  reply               INTEGER NOT NULL,
  part                INTEGER NOT NULL,
  parts               INTEGER NOT NULL,
  state               INTEGER NOT NULL,
  -- 1 where it is live and the lowest of its conversation.
  head                INTEGER NOT NULL,
  code                TEXT,
  reason              TEXT,
  maybe_sent          INTEGER NOT NULL DEFAULT 0,
  possible_double     INTEGER NOT NULL DEFAULT 0,
  payload             TEXT NOT NULL,
  context             TEXT,
  reply_to            TEXT,
  created_at_ms       INTEGER NOT NULL,
  next_at_ms          INTEGER NOT NULL,
  next_set_ms         INTEGER NOT NULL,
  -- 1 where a success on the channel makes it due.
  waits_for_channel   INTEGER NOT NULL DEFAULT 0,
  call                INTEGER NOT NULL DEFAULT 0,
  attempts            INTEGER NOT NULL DEFAULT 0,
  free_returns        INTEGER NOT NULL DEFAULT 0,
  moves               INTEGER NOT NULL DEFAULT 0,
  asked               INTEGER NOT NULL DEFAULT 0,
  asking_over         INTEGER NOT NULL DEFAULT 0,
  first_attempt_at_ms INTEGER,
  claim_boot          INTEGER,
  claim_token         INTEGER,
  claim_expires       INTEGER,
  platform_id         TEXT,
  rested_at_ms        INTEGER,
  resolved_by         TEXT,
  CHECK ((state >= 3) = (rested_at_ms IS NOT NULL)),
  CHECK (state != 1 OR claim_token IS NOT NULL),
  CHECK (claim_token IS NULL OR state IN (1, 2)),
  CHECK ((turn_id IS NULL) = (turn_try IS NULL))
) STRICT;
CREATE INDEX delivery_line ON delivery (conversation_id, seq) WHERE state < 3;
CREATE INDEX delivery_ready ON delivery (channel_id, next_at_ms, seq)
  WHERE head = 1 AND claim_token IS NULL;
CREATE INDEX delivery_age ON delivery (channel_id, created_at_ms) WHERE head = 1 AND state = 0;
CREATE INDEX delivery_claimed ON delivery (id) WHERE claim_token IS NOT NULL;
CREATE INDEX delivery_waiting ON delivery (channel_id) WHERE waits_for_channel = 1;
CREATE INDEX delivery_turn ON delivery (turn_id) WHERE turn_id IS NOT NULL;
CREATE INDEX delivery_about ON delivery (about_turn) WHERE about_turn IS NOT NULL;
CREATE INDEX delivery_replay ON delivery (replay_of) WHERE replay_of IS NOT NULL;
CREATE INDEX delivery_held ON delivery (channel_id, id) WHERE state = 3;
CREATE INDEX delivery_platform ON delivery (channel_id, platform_id) WHERE platform_id IS NOT NULL;

CREATE TABLE attempt (
  delivery_id   INTEGER NOT NULL,
  call          INTEGER NOT NULL,
  started_at_ms INTEGER NOT NULL,
  ended_at_ms   INTEGER,
  outcome       TEXT,
  code          TEXT,
  reason        TEXT,
  digest        TEXT,
  ledger        TEXT,
  receipt       TEXT,
  contradicted  INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (delivery_id, call)
) STRICT, WITHOUT ROWID;

-- Outlives its turn. While the turn's row is there it says state and end; after that, this does.
CREATE TABLE dedup (
  key            BLOB NOT NULL,
  content        BLOB NOT NULL,
  turn_id        INTEGER,
  turn_nonce     INTEGER,
  turn_state     INTEGER,
  accepted_at_ms INTEGER NOT NULL,
  -- Set once nothing but the window keeps it.
  expires_at_ms  INTEGER,
  PRIMARY KEY (key, content)
) STRICT, WITHOUT ROWID;
CREATE INDEX dedup_expiry ON dedup (expires_at_ms) WHERE expires_at_ms IS NOT NULL;

-- Messages that start no turn, until the conversation's next turn takes them.
CREATE TABLE context (
  id              INTEGER PRIMARY KEY,
  conversation_id INTEGER NOT NULL REFERENCES conversation (id),
  turn_id         INTEGER,
  dedup_key       BLOB,
  payload         TEXT NOT NULL,
  at_ms           INTEGER NOT NULL
) STRICT;
CREATE INDEX context_open ON context (conversation_id, id) WHERE turn_id IS NULL;
CREATE INDEX context_taken ON context (turn_id) WHERE turn_id IS NOT NULL;

CREATE TABLE receipt (
  channel_id  INTEGER NOT NULL REFERENCES channel (id),
  about       TEXT NOT NULL,
  fate        TEXT NOT NULL,
  delivery_id INTEGER,
  platform_id TEXT,
  payload     TEXT NOT NULL,
  at_ms       INTEGER NOT NULL,
  PRIMARY KEY (channel_id, about, fate)
) STRICT, WITHOUT ROWID;
CREATE INDEX receipt_delivery ON receipt (delivery_id) WHERE delivery_id IS NOT NULL;
CREATE INDEX receipt_age ON receipt (at_ms);

CREATE TABLE cursor (
  channel_id INTEGER PRIMARY KEY REFERENCES channel (id),
  value      TEXT,
  at_ms      INTEGER NOT NULL
) STRICT;

CREATE TABLE state (
  channel_id INTEGER NOT NULL REFERENCES channel (id),
  key        TEXT NOT NULL,
  value      BLOB NOT NULL,
  PRIMARY KEY (channel_id, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE state_usage (
  channel_id INTEGER PRIMARY KEY REFERENCES channel (id),
  keys       INTEGER NOT NULL,
  bytes      INTEGER NOT NULL
) STRICT;
