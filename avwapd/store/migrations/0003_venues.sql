-- What real venues bring: positions that follow the venue's truth by explicit inputs, bars that were corrected or came
-- too late, and what the venue's own books said.

-- The journal takes adjustments. Others point to it: it is built anew while foreign keys are off.
CREATE TABLE inputs_new (
    seq INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('bars', 'report', 'act', 'caught_up', 'watchlist', 'restate', 'adjust')),
    ts_ms INTEGER NOT NULL,
    symbol_id INTEGER,
    body TEXT NOT NULL
) STRICT;
INSERT INTO inputs_new SELECT seq, kind, ts_ms, symbol_id, body FROM inputs;
DROP TABLE inputs;
ALTER TABLE inputs_new RENAME TO inputs;
CREATE TRIGGER inputs_have_no_gap BEFORE INSERT ON inputs
WHEN NEW.seq <> (SELECT ifnull(max(seq), 0) + 1 FROM inputs)
BEGIN
    SELECT RAISE(ABORT, 'the journal has no gaps');
END;
CREATE TRIGGER inputs_stand BEFORE UPDATE ON inputs BEGIN SELECT RAISE(ABORT, 'inputs are append-only'); END;
CREATE TRIGGER inputs_stay BEFORE DELETE ON inputs BEGIN SELECT RAISE(ABORT, 'inputs are append-only'); END;
CREATE INDEX inputs_lists ON inputs (seq) WHERE kind = 'watchlist';

-- What a feed said of a bar after its barrier was closed; nothing is decided anew. revised: other values than those that
-- were decided on (they stay in `bars`); late: there was no row, and there will be none. known_ms: when we heard.
CREATE TABLE revisions (
    ts_ms INTEGER NOT NULL,
    symbol_id INTEGER NOT NULL REFERENCES instruments,
    known_ms INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('revised', 'late')),
    open REAL NOT NULL,
    high REAL NOT NULL,
    low REAL NOT NULL,
    close REAL NOT NULL,
    volume REAL NOT NULL,
    PRIMARY KEY (ts_ms, symbol_id, known_ms)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER revisions_stand BEFORE UPDATE ON revisions
BEGIN
    SELECT RAISE(ABORT, 'revisions are append-only');
END;
CREATE TRIGGER revisions_stay BEFORE DELETE ON revisions
BEGIN
    SELECT RAISE(ABORT, 'revisions are append-only');
END;

-- The account as the venue had it, decimal text ('' where it has no such figure). holdings: JSON, symbol -> quantity;
-- difference: in words, '' where the books agreed. The first reading is what cash is compared with ever after.
CREATE TABLE venue_books (
    id INTEGER PRIMARY KEY,
    ts_ms INTEGER NOT NULL,
    cash TEXT NOT NULL,
    equity TEXT NOT NULL,
    holdings TEXT NOT NULL,
    agreed INTEGER NOT NULL CHECK (agreed IN (0, 1)),
    difference TEXT NOT NULL,
    CHECK (agreed = (difference = ''))
) STRICT;
