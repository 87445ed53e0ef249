-- Where a turn comes from (0 platform, 1 posted by a program, 2 made by a schedule), and how many
-- programs have answered each other before it.
ALTER TABLE turn ADD COLUMN origin INTEGER NOT NULL DEFAULT 0;
ALTER TABLE turn ADD COLUMN hops INTEGER NOT NULL DEFAULT 0;
