-- A made-up step: a new table, a new column, and rows moved.
CREATE TABLE moods (ts_ms INTEGER PRIMARY KEY, mood TEXT NOT NULL) STRICT;
ALTER TABLE beats ADD COLUMN mood TEXT;
INSERT INTO moods SELECT ts_ms, 'calm' FROM beats;
