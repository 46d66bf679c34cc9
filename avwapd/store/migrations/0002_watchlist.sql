-- The scan's list is an input like a bar, its rows and anchors are there to be read; so is a split or dividend, whose
-- change of what is held is a fill of purpose 'restate' at price 0.

-- The journal takes lists. Others point to it: it is built anew while foreign keys are off.
CREATE TABLE inputs_new (
    seq INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('bars', 'report', 'act', 'caught_up', 'watchlist', 'restate')),
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

-- Every row of every list that was taken, also of symbols that the run does not have. seq: the input that brought it;
-- a list without rows leaves its input alone. Prices in quote currency, as the scan rounded them; taken_ms: by our clock.
DROP TABLE watchlist;
CREATE TABLE watchlist (
    seq INTEGER NOT NULL REFERENCES inputs,
    rank INTEGER NOT NULL CHECK (rank > 0),
    scan_date INTEGER NOT NULL, -- yyyymmdd
    version TEXT NOT NULL, -- sha256 of the list
    symbol TEXT NOT NULL,
    side TEXT NOT NULL CHECK (side IN ('long', 'short')),
    tier TEXT NOT NULL CHECK (tier IN ('A', 'B')),
    execute INTEGER NOT NULL CHECK (execute IN (0, 1)),
    price REAL NOT NULL,
    level REAL NOT NULL CHECK (level > 0),
    stop REAL NOT NULL CHECK (stop > 0),
    r1 REAL NOT NULL,
    r2 REAL NOT NULL,
    trend_score REAL NOT NULL,
    dist_pct REAL NOT NULL,
    slope REAL NOT NULL,
    confluence INTEGER NOT NULL,
    sector TEXT NOT NULL,
    anchor TEXT NOT NULL,
    anchor_date INTEGER NOT NULL,
    atr REAL,
    swing_low REAL,
    swing_high REAL,
    taken_ms INTEGER NOT NULL,
    PRIMARY KEY (seq, rank),
    UNIQUE (seq, symbol)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER watchlist_stands BEFORE UPDATE ON watchlist BEGIN SELECT RAISE(ABORT, 'lists are append-only'); END;
CREATE TRIGGER watchlist_stays BEFORE DELETE ON watchlist BEGIN SELECT RAISE(ABORT, 'lists are append-only'); END;

-- The scan's anchors. scan_date: the scan that first named it; superseded_by: the date of the anchor that a later list
-- has in its place, NULL while it stands. Nothing else of a row ever changes.
CREATE TABLE scan_anchors (
    symbol TEXT NOT NULL,
    kind TEXT NOT NULL,
    scan_date INTEGER NOT NULL,
    anchor_date INTEGER NOT NULL,
    rule_version TEXT NOT NULL,
    known_date INTEGER NOT NULL CHECK (known_date >= anchor_date),
    superseded_by INTEGER,
    seq INTEGER NOT NULL REFERENCES inputs,
    PRIMARY KEY (symbol, kind, scan_date, anchor_date, rule_version)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER scan_anchors_stand BEFORE UPDATE ON scan_anchors
WHEN OLD.superseded_by IS NOT NULL OR NEW.superseded_by IS NULL
    OR (NEW.symbol, NEW.kind, NEW.scan_date, NEW.anchor_date, NEW.known_date, NEW.rule_version, NEW.seq)
        IS NOT (OLD.symbol, OLD.kind, OLD.scan_date, OLD.anchor_date, OLD.known_date, OLD.rule_version, OLD.seq)
BEGIN
    SELECT RAISE(ABORT, 'an anchor is superseded, never rewritten');
END;
CREATE TRIGGER scan_anchors_stay BEFORE DELETE ON scan_anchors
BEGIN
    SELECT RAISE(ABORT, 'an anchor is superseded, never rewritten');
END;
