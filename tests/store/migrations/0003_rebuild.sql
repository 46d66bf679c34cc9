-- A table that others point to is built anew: foreign keys are off meanwhile and checked at the end.
CREATE TABLE instance_new (
    epoch INTEGER PRIMARY KEY,
    started_ms INTEGER NOT NULL,
    pid INTEGER NOT NULL,
    host TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    ended_ms INTEGER,
    why TEXT NOT NULL DEFAULT ''
) STRICT;
INSERT INTO instance_new SELECT *, '' FROM instance;
DROP TABLE instance;
ALTER TABLE instance_new RENAME TO instance;
CREATE TRIGGER moods_stand BEFORE UPDATE ON moods
BEGIN
    SELECT RAISE(ABORT, 'moods stand');
END;
