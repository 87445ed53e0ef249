-- Files. Their bytes stand on disk under the digest of their content; a row is what one channel
-- knows of one. Several rows may share one content, no channel knows of another's.
CREATE TABLE blob (
  id              INTEGER PRIMARY KEY,
  nonce           INTEGER NOT NULL,
  channel_id      INTEGER NOT NULL REFERENCES channel (id),
  digest          BLOB NOT NULL,
  size_bytes      INTEGER NOT NULL,
  -- Rows of `blob_use` that name it. Kept by triggers, so that whoever deletes a turn, a delivery
  -- or a context message lets go of its files.
  uses            INTEGER NOT NULL DEFAULT 0,
  -- Since when nothing needs it; 0 where what needed it is gone, which was past its retention.
  unused_since_ms INTEGER,
  CHECK (uses >= 0),
  CHECK ((uses = 0) = (unused_since_ms IS NOT NULL))
) STRICT;
CREATE INDEX blob_digest ON blob (digest);
CREATE INDEX blob_unused ON blob (unused_since_ms) WHERE unused_since_ms IS NOT NULL;

-- Who needs a file: `kind` 0 a turn's message, 1 a delivery, 2 a context message, 3 a turn for which
-- it was fetched from the platform. `place` is the file's place in that row, from 0; of kind 3 its
-- number in the turn's document, from 1.
CREATE TABLE blob_use (
  kind    INTEGER NOT NULL,
  holder  INTEGER NOT NULL,
  place   INTEGER NOT NULL,
  blob_id INTEGER NOT NULL REFERENCES blob (id),
  PRIMARY KEY (kind, holder, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX blob_use_blob ON blob_use (blob_id);

CREATE TABLE blob_usage (
  channel_id INTEGER PRIMARY KEY REFERENCES channel (id),
  files      INTEGER NOT NULL,
  bytes      INTEGER NOT NULL
) STRICT;
INSERT INTO meta (name, value) VALUES ('blob_bytes', 0);

CREATE TRIGGER blob_counted AFTER INSERT ON blob BEGIN
  INSERT INTO blob_usage (channel_id, files, bytes) VALUES (NEW.channel_id, 1, NEW.size_bytes)
    ON CONFLICT (channel_id) DO UPDATE SET files = files + 1, bytes = bytes + NEW.size_bytes;
  UPDATE meta SET value = value + NEW.size_bytes WHERE name = 'blob_bytes';
END;
CREATE TRIGGER blob_uncounted AFTER DELETE ON blob BEGIN
  UPDATE blob_usage SET files = files - 1, bytes = bytes - OLD.size_bytes
    WHERE channel_id = OLD.channel_id;
  UPDATE meta SET value = value - OLD.size_bytes WHERE name = 'blob_bytes';
END;
CREATE TRIGGER blob_used AFTER INSERT ON blob_use BEGIN
  UPDATE blob SET uses = uses + 1, unused_since_ms = NULL WHERE id = NEW.blob_id;
END;
CREATE TRIGGER blob_unused AFTER DELETE ON blob_use BEGIN
  UPDATE blob SET uses = uses - 1, unused_since_ms = CASE WHEN uses = 1 THEN 0 END
    WHERE id = OLD.blob_id;
END;
CREATE TRIGGER turn_lets_go AFTER DELETE ON turn BEGIN
  DELETE FROM blob_use WHERE kind = 0 AND holder = OLD.id;
  DELETE FROM blob_use WHERE kind = 3 AND holder = OLD.id;
END;
CREATE TRIGGER delivery_lets_go AFTER DELETE ON delivery BEGIN
  DELETE FROM blob_use WHERE kind = 1 AND holder = OLD.id;
END;
CREATE TRIGGER context_lets_go AFTER DELETE ON context BEGIN
  DELETE FROM blob_use WHERE kind = 2 AND holder = OLD.id;
END;
