-- What came from another program's queue: each entry once, for good. It outlives its deliveries.
CREATE TABLE import (
  source      TEXT NOT NULL,
  external_id TEXT NOT NULL,
  -- The first of the rows that were made of it.
  delivery_id INTEGER NOT NULL,
  at_ms       INTEGER NOT NULL,
  "by"        TEXT NOT NULL,
  PRIMARY KEY (source, external_id)
) STRICT, WITHOUT ROWID;
