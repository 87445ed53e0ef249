-- What a stop of a person stopped, as a list of ids: the same stop again is told the same.
ALTER TABLE dedup ADD COLUMN stopped TEXT;
