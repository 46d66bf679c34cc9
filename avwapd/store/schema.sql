-- The ledger, version 1; what came later lies in `migrations`.
--
-- Prices are integers in the instrument's tick, quantities in its lot, money in tick x lot ("units"), so that sums are
-- exact; bars and levels are floats as the feed and the rules have them (NULL: unknown). Times are UTC milliseconds.
-- What grows with time is keyed by time first: a barrier of thousands of rows is then one append.
--
-- WITHOUT ROWID tables begin with the columns of their key, in its order: SQLite before 3.41 takes any other for
-- damaged (quick_check reads the columns as if they lay in the order of the declaration).

-- Who ran. The newest epoch owns the file; every transaction asserts that it is its own.
CREATE TABLE instance (
    epoch INTEGER PRIMARY KEY,
    started_ms INTEGER NOT NULL,
    pid INTEGER NOT NULL,
    host TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    ended_ms INTEGER -- NULL: it runs, or it crashed
) STRICT;

CREATE TABLE runs (
    run_id TEXT NOT NULL,
    epoch INTEGER NOT NULL REFERENCES instance,
    mode TEXT NOT NULL CHECK (mode IN ('live', 'paper', 'replay')),
    started_ms INTEGER NOT NULL,
    code_version TEXT NOT NULL,
    config_hash TEXT NOT NULL,
    params_hash TEXT NOT NULL,
    calendar_version TEXT NOT NULL,
    rules_version TEXT NOT NULL,
    exchange TEXT NOT NULL,
    timeframe TEXT NOT NULL,
    symbols TEXT NOT NULL, -- a JSON list
    seed INTEGER NOT NULL,
    window TEXT NOT NULL,
    rules TEXT NOT NULL, -- a JSON object: every setting that decides
    PRIMARY KEY (run_id, epoch)
) STRICT;

CREATE TABLE instruments (
    symbol_id INTEGER PRIMARY KEY CHECK (symbol_id >= 0),
    exchange TEXT NOT NULL,
    symbol TEXT NOT NULL,
    timeframe TEXT NOT NULL,
    asset TEXT NOT NULL CHECK (asset IN ('equity', 'crypto')),
    quote TEXT NOT NULL,
    tick TEXT NOT NULL CHECK (CAST(tick AS REAL) > 0),
    lot TEXT NOT NULL CHECK (CAST(lot AS REAL) > 0),
    min_qty TEXT NOT NULL,
    min_notional TEXT NOT NULL,
    calendar TEXT NOT NULL,
    price_source TEXT NOT NULL,
    tradable INTEGER NOT NULL DEFAULT 1 CHECK (tradable IN (0, 1)), -- 0: a conversion pair that is only read
    UNIQUE (exchange, symbol)
) STRICT;

-- The words behind the core's small integers (kind: phase, skip, signal, …), filled when the file is opened.
CREATE TABLE words (
    kind TEXT NOT NULL,
    code INTEGER NOT NULL,
    word TEXT NOT NULL,
    PRIMARY KEY (kind, code)
) STRICT, WITHOUT ROWID;

-- ------------------------------------------------------------------------------------------- the journal

-- Every event the engine took, in the order it took them; folding them again gives the same state, bit for bit.
CREATE TABLE inputs (
    seq INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('bars', 'report', 'act', 'caught_up')),
    ts_ms INTEGER NOT NULL,
    symbol_id INTEGER,
    body TEXT NOT NULL
) STRICT;

-- seq: the input that brought the row. The same bar may come twice: as a missing row, then late and silent.
CREATE TABLE bars (
    ts_ms INTEGER NOT NULL,
    symbol_id INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    open REAL,
    high REAL,
    low REAL,
    close REAL,
    volume REAL,
    PRIMARY KEY (ts_ms, symbol_id, seq),
    CHECK (flags & 2 OR ifnull(low > 0 AND high >= low AND open > 0 AND close > 0 AND volume >= 0, 0))
) STRICT, WITHOUT ROWID;

CREATE TABLE decisions (
    ts_ms INTEGER NOT NULL,
    symbol_id INTEGER NOT NULL,
    intent INTEGER NOT NULL,
    gates_asked INTEGER NOT NULL,
    gates_blocked INTEGER NOT NULL,
    signal INTEGER NOT NULL,
    skip INTEGER NOT NULL,
    exit INTEGER NOT NULL,
    setup INTEGER NOT NULL,
    phase_before INTEGER NOT NULL,
    phase_after INTEGER NOT NULL,
    side INTEGER NOT NULL CHECK (side BETWEEN -1 AND 1),
    flags INTEGER NOT NULL,
    level REAL,
    qty INTEGER NOT NULL,
    limit_ticks INTEGER NOT NULL,
    stop_ticks INTEGER NOT NULL,
    r1_ticks INTEGER NOT NULL,
    r2_ticks INTEGER NOT NULL,
    PRIMARY KEY (ts_ms, symbol_id)
) STRICT, WITHOUT ROWID;

-- symbol_id -1: the portfolio, whose gates close and open without moving a machine.
CREATE TABLE transitions (
    seq INTEGER NOT NULL REFERENCES inputs,
    n INTEGER NOT NULL,
    ts_ms INTEGER NOT NULL,
    symbol_id INTEGER NOT NULL CHECK (symbol_id >= -1),
    before TEXT NOT NULL,
    after TEXT NOT NULL,
    cause TEXT NOT NULL,
    qty INTEGER NOT NULL,
    PRIMARY KEY (seq, n)
) STRICT, WITHOUT ROWID;

-- ------------------------------------------------------------------------------- orders and what came of them

-- One row an intent that puts an order to the venue (a submit or a replace); cancels live in the outbox only.
CREATE TABLE orders (
    symbol_id INTEGER NOT NULL REFERENCES instruments,
    intent INTEGER NOT NULL CHECK (intent > 0),
    cid TEXT NOT NULL UNIQUE,
    purpose TEXT NOT NULL CHECK (purpose <> ''),
    side TEXT NOT NULL CHECK (side IN ('buy', 'sell')),
    type TEXT NOT NULL CHECK (type <> ''),
    qty INTEGER NOT NULL CHECK (qty > 0),
    limit_ticks INTEGER NOT NULL,
    stop_ticks INTEGER NOT NULL,
    reason TEXT NOT NULL,
    ts_ms INTEGER NOT NULL,
    replaces_intent INTEGER,
    filled_qty INTEGER NOT NULL DEFAULT 0 CHECK (filled_qty >= 0),
    venue_id TEXT,
    PRIMARY KEY (symbol_id, intent)
) STRICT, WITHOUT ROWID;

-- What is to be said to the venue, and what became of it. created_seq: the input that caused it.
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY,
    symbol_id INTEGER NOT NULL REFERENCES instruments,
    intent INTEGER NOT NULL CHECK (intent > 0),
    kind TEXT NOT NULL CHECK (kind IN ('submit', 'replace', 'cancel')),
    cid TEXT NOT NULL UNIQUE,
    ref_intent INTEGER,
    ref_cid TEXT,
    state TEXT NOT NULL DEFAULT 'NEW',
    created_seq INTEGER NOT NULL REFERENCES inputs,
    due_ts_ms INTEGER NOT NULL, -- not sent after this time: STALE
    attempts INTEGER NOT NULL DEFAULT 0,
    sent_ms INTEGER,
    settled_ms INTEGER,
    note TEXT,
    UNIQUE (symbol_id, intent),
    CHECK ((kind = 'submit') = (ref_cid IS NULL)),
    CHECK ((ref_intent IS NULL) = (ref_cid IS NULL))
) STRICT;

CREATE INDEX outbox_pending ON outbox (created_seq, id) WHERE state IN ('NEW', 'SENDING', 'UNKNOWN');

-- A row in state `before` that hears `word` is then in state `after`. No row here: impossible, the process stops.
-- A word that adds nothing leaves the state (an ack after a fill, a second cancel); what the venue says of an order
-- that was ended is taken only if it is money: the fill that completes it makes it FILLED, a part is counted in
-- orders.filled_qty while the row stays ended. A fill of a row never sent is taken too, and the audit says so.
CREATE TABLE outbox_moves (
    before TEXT NOT NULL,
    word TEXT NOT NULL,
    after TEXT NOT NULL,
    PRIMARY KEY (before, word)
) STRICT, WITHOUT ROWID;

INSERT INTO outbox_moves VALUES
    ('NEW', 'SENDING', 'SENDING'), ('NEW', 'STALE', 'STALE'), ('NEW', 'DENIED', 'DENIED'),
    ('NEW', 'PARTIAL', 'PARTIAL'), ('NEW', 'FILLED', 'FILLED'),
    ('SENDING', 'UNKNOWN', 'UNKNOWN'), ('UNKNOWN', 'UNKNOWN', 'UNKNOWN'), ('UNKNOWN', 'SENDING', 'SENDING'),
    -- the sender's doubt comes after the stream's word: the word holds
    ('ACKED', 'UNKNOWN', 'ACKED'), ('PARTIAL', 'UNKNOWN', 'PARTIAL');
-- the venue's word on a row that is under way
INSERT INTO outbox_moves
    SELECT b.value, w.value, w.value
    FROM json_each('["SENDING", "UNKNOWN", "ACKED"]') b,
         json_each('["ACKED", "PARTIAL", "FILLED", "CANCELED", "REJECTED", "EXPIRED", "REPLACED"]') w;
INSERT INTO outbox_moves
    SELECT 'PARTIAL', w.value, w.value
    FROM json_each('["PARTIAL", "FILLED", "CANCELED", "REJECTED", "EXPIRED", "REPLACED"]') w;
INSERT INTO outbox_moves VALUES ('PARTIAL', 'ACKED', 'PARTIAL');
-- an ended row absorbs every word but the fill that completes it
INSERT INTO outbox_moves
    SELECT b.value, w.value, iif(w.value = 'FILLED', 'FILLED', b.value)
    FROM json_each('["FILLED", "CANCELED", "REJECTED", "EXPIRED", "REPLACED", "STALE", "DENIED"]') b,
         json_each('["ACKED", "PARTIAL", "FILLED", "CANCELED", "REJECTED", "EXPIRED", "REPLACED", "UNKNOWN"]') w;

CREATE TRIGGER outbox_begins_new BEFORE INSERT ON outbox WHEN NEW.state <> 'NEW'
BEGIN
    SELECT RAISE(ABORT, 'an outbox row begins as NEW');
END;

CREATE TRIGGER outbox_moves_legally BEFORE UPDATE OF state ON outbox
WHEN NEW.state <> OLD.state
    AND NOT EXISTS (SELECT 1 FROM outbox_moves WHERE before = OLD.state AND after = NEW.state)
BEGIN
    SELECT RAISE(ABORT, 'impossible outbox move');
END;

CREATE TRIGGER outbox_stays BEFORE DELETE ON outbox
BEGIN
    SELECT RAISE(ABORT, 'the outbox forgets nothing');
END;

CREATE TABLE fills (
    id INTEGER PRIMARY KEY,
    exec_id TEXT NOT NULL UNIQUE,
    cum_qty INTEGER NOT NULL,
    ts_ms INTEGER NOT NULL,
    symbol_id INTEGER NOT NULL REFERENCES instruments,
    intent INTEGER NOT NULL,
    trade INTEGER NOT NULL,
    purpose TEXT NOT NULL,
    reason TEXT NOT NULL,
    side TEXT NOT NULL CHECK (side IN ('buy', 'sell')),
    late INTEGER NOT NULL CHECK (late IN (0, 1)),
    qty INTEGER NOT NULL CHECK (qty > 0),
    price_ticks INTEGER NOT NULL,
    fee_units INTEGER NOT NULL,
    fee_lots INTEGER NOT NULL,
    held INTEGER NOT NULL,
    best_ticks INTEGER NOT NULL,
    worst_ticks INTEGER NOT NULL,
    initial_stop_ticks INTEGER NOT NULL,
    seq INTEGER NOT NULL REFERENCES inputs
) STRICT;

-- Where each machine stands after the newest input that moved it. entry_cost: units.
CREATE TABLE positions (
    symbol_id INTEGER PRIMARY KEY REFERENCES instruments,
    phase TEXT NOT NULL,
    side TEXT NOT NULL CHECK (side IN ('long', 'short', '')),
    qty INTEGER NOT NULL CHECK (qty >= 0),
    entry_cost INTEGER NOT NULL,
    entry_qty INTEGER NOT NULL,
    stop_ticks INTEGER NOT NULL,
    r1_ticks INTEGER NOT NULL,
    r2_ticks INTEGER NOT NULL,
    trade INTEGER NOT NULL,
    halted INTEGER NOT NULL,
    halt_reason TEXT NOT NULL,
    seq INTEGER NOT NULL REFERENCES inputs,
    CHECK (qty = 0 OR side <> '')
) STRICT;

-- superseded_by: anchor_ms of the anchor that took this one's slot; NULL while it stands.
CREATE TABLE anchors (
    symbol_id INTEGER NOT NULL REFERENCES instruments,
    slot INTEGER NOT NULL,
    anchor_ms INTEGER NOT NULL,
    kind TEXT NOT NULL,
    rule_version TEXT NOT NULL,
    known_ms INTEGER NOT NULL CHECK (known_ms >= anchor_ms),
    superseded_by INTEGER,
    PRIMARY KEY (symbol_id, slot, anchor_ms)
) STRICT, WITHOUT ROWID;

CREATE TABLE consumed_entries (
    symbol_id INTEGER NOT NULL REFERENCES instruments,
    session_date INTEGER NOT NULL, -- yyyymmdd
    ts_ms INTEGER NOT NULL,
    PRIMARY KEY (symbol_id, session_date, ts_ms)
) STRICT, WITHOUT ROWID;

-- seq: the input behind the change, NULL where none was.
CREATE TABLE gates (
    id INTEGER PRIMARY KEY,
    seq INTEGER,
    ts_ms INTEGER NOT NULL,
    gate TEXT NOT NULL,
    closed INTEGER NOT NULL CHECK (closed IN (0, 1)),
    reason TEXT NOT NULL
) STRICT;

CREATE TABLE watchlist (
    scan_date TEXT NOT NULL,
    symbol TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (scan_date, symbol)
) STRICT, WITHOUT ROWID;

CREATE TABLE beats (ts_ms INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;

CREATE TABLE alerts (
    id INTEGER PRIMARY KEY,
    ts_ms INTEGER NOT NULL,
    level TEXT NOT NULL CHECK (level IN ('info', 'warning', 'critical')),
    what TEXT NOT NULL,
    delivered INTEGER NOT NULL DEFAULT 0 CHECK (delivered IN (0, 1))
) STRICT;

-- The engine's memory after input seq; with every input since, it is the state.
CREATE TABLE snapshots (
    seq INTEGER PRIMARY KEY,
    ts_ms INTEGER NOT NULL,
    body BLOB NOT NULL,
    sha256 TEXT NOT NULL
) STRICT;

-- ------------------------------------------------------------------------------------ history is not rewritten

CREATE TRIGGER inputs_have_no_gap BEFORE INSERT ON inputs
WHEN NEW.seq <> (SELECT ifnull(max(seq), 0) + 1 FROM inputs)
BEGIN
    SELECT RAISE(ABORT, 'the journal has no gaps');
END;
CREATE TRIGGER inputs_stand BEFORE UPDATE ON inputs BEGIN SELECT RAISE(ABORT, 'inputs are append-only'); END;
CREATE TRIGGER inputs_stay BEFORE DELETE ON inputs BEGIN SELECT RAISE(ABORT, 'inputs are append-only'); END;
CREATE TRIGGER bars_stand BEFORE UPDATE ON bars BEGIN SELECT RAISE(ABORT, 'bars are not edited'); END;
CREATE TRIGGER decisions_stand BEFORE UPDATE ON decisions BEGIN SELECT RAISE(ABORT, 'decisions are append-only'); END;
CREATE TRIGGER decisions_stay BEFORE DELETE ON decisions BEGIN SELECT RAISE(ABORT, 'decisions are append-only'); END;
CREATE TRIGGER fills_stand BEFORE UPDATE ON fills BEGIN SELECT RAISE(ABORT, 'fills are append-only'); END;
CREATE TRIGGER fills_stay BEFORE DELETE ON fills BEGIN SELECT RAISE(ABORT, 'fills are append-only'); END;
CREATE TRIGGER transitions_stand BEFORE UPDATE ON transitions
BEGIN
    SELECT RAISE(ABORT, 'transitions are append-only');
END;
CREATE TRIGGER transitions_stay BEFORE DELETE ON transitions
BEGIN
    SELECT RAISE(ABORT, 'transitions are append-only');
END;

-- ------------------------------------------------------------------------------------------- for people

CREATE VIEW decision_words AS
SELECT
    i.exchange, i.symbol, i.timeframe, d.ts_ms,
    strftime('%Y-%m-%d %H:%M:%S', d.ts_ms / 1000, 'unixepoch') AS utc,
    b.open, b.high, b.low, b.close, b.volume,
    d.level,
    (SELECT word FROM words WHERE kind = 'phase' AND code = d.phase_before) AS phase_before,
    (SELECT word FROM words WHERE kind = 'phase' AND code = d.phase_after) AS phase_after,
    (SELECT word FROM words WHERE kind = 'signal' AND code = d.signal) AS signal,
    (SELECT word FROM words WHERE kind = 'setup' AND code = d.setup) AS setup,
    (SELECT word FROM words WHERE kind = 'skip' AND code = d.skip) AS skip,
    (SELECT word FROM words WHERE kind = 'exit' AND code = d.exit) AS exit,
    (SELECT word FROM words WHERE kind = 'gate' AND (d.gates_blocked >> code) & 1 ORDER BY code LIMIT 1)
        AS first_blocked,
    (SELECT group_concat(word, ' ') FROM words WHERE kind = 'gate' AND (d.gates_blocked >> code) & 1) AS blocked,
    CASE d.side WHEN 1 THEN 'long' WHEN -1 THEN 'short' ELSE '' END AS side,
    d.intent,
    round(d.qty * CAST(i.lot AS REAL), 12) AS qty,
    round(nullif(d.limit_ticks, 0) * CAST(i.tick AS REAL), 12) AS limit_price,
    round(nullif(d.stop_ticks, 0) * CAST(i.tick AS REAL), 12) AS stop_price,
    round(nullif(d.r1_ticks, 0) * CAST(i.tick AS REAL), 12) AS r1_price,
    round(nullif(d.r2_ticks, 0) * CAST(i.tick AS REAL), 12) AS r2_price,
    d.flags & 1 AS late,
    (d.flags >> 1) & 1 AS missing
FROM decisions d
JOIN instruments i USING (symbol_id)
LEFT JOIN bars b ON b.ts_ms = d.ts_ms AND b.symbol_id = d.symbol_id AND b.flags & 2 = 0;

CREATE VIEW position_words AS
SELECT
    i.exchange, i.symbol, p.phase, p.side,
    round(p.qty * CAST(i.lot AS REAL), 12) AS qty,
    CASE WHEN p.entry_qty > 0 THEN round(1.0 * p.entry_cost / p.entry_qty * CAST(i.tick AS REAL), 12) END
        AS entry_price,
    round(p.stop_ticks * CAST(i.tick AS REAL), 12) AS stop_price,
    round(p.r1_ticks * CAST(i.tick AS REAL), 12) AS r1_price,
    round(p.r2_ticks * CAST(i.tick AS REAL), 12) AS r2_price,
    p.trade, p.halted, p.halt_reason, p.seq
FROM positions p JOIN instruments i USING (symbol_id);

CREATE VIEW order_words AS
SELECT
    i.exchange, i.symbol, x.kind, x.state, o.purpose, o.side, o.type,
    round(o.qty * CAST(i.lot AS REAL), 12) AS qty,
    round(o.filled_qty * CAST(i.lot AS REAL), 12) AS filled,
    round(o.limit_ticks * CAST(i.tick AS REAL), 12) AS limit_price,
    round(o.stop_ticks * CAST(i.tick AS REAL), 12) AS stop_price,
    o.reason, o.ts_ms, o.cid, o.venue_id, x.attempts, x.sent_ms, x.settled_ms, x.note
FROM orders o JOIN outbox x USING (symbol_id, intent) JOIN instruments i USING (symbol_id);
