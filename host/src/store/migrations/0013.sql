-- For how long the platform drops repeats of the row by what was promised when each attempt was
-- claimed, the least of them: 0 is not at all. Absent before the first attempt, and of rows of an
-- earlier schema.
ALTER TABLE delivery ADD COLUMN repeats_ms INTEGER;
