-- What metrics count and age by, in indexes that hold nothing but such rows: dead letters, and open
-- unknowns. Written as `or`: a list would be built as a table of its own with each row.
CREATE INDEX turn_dead ON turn (channel_id, id) WHERE state = 5 OR state = 7;
CREATE INDEX delivery_dead ON delivery (channel_id, id) WHERE state = 5 OR state = 7;
CREATE INDEX delivery_unknown ON delivery (channel_id, created_at_ms) WHERE state = 2;

-- Failure notices: how many turns one row tells of, and which row tells of a turn.
ALTER TABLE delivery ADD COLUMN about_count INTEGER NOT NULL DEFAULT 0;
ALTER TABLE turn ADD COLUMN told_by INTEGER;

-- A channel's token bucket: the moment at which it is full again, in microseconds of the wall
-- clock, and the moment at which that was written, in milliseconds.
ALTER TABLE channel ADD COLUMN bucket_full_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE channel ADD COLUMN bucket_set_ms INTEGER NOT NULL DEFAULT 0;
