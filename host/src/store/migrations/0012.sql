-- From when a channel's bucket holds a token again: what claims and deliverers look at.
ALTER TABLE channel ADD COLUMN bucket_ready_ms INTEGER NOT NULL DEFAULT 0;
