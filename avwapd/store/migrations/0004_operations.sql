-- What operating needs: a mode in which nothing is sent, gates of one symbol, what operators asked for, who armed the
-- daemon and until when, and what is still to be told to a human.

-- The mode dry-run. Nothing points to runs.
CREATE TABLE runs_new (
    run_id TEXT NOT NULL,
    epoch INTEGER NOT NULL REFERENCES instance,
    mode TEXT NOT NULL CHECK (mode IN ('live', 'paper', 'replay', 'dry-run')),
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
INSERT INTO runs_new SELECT * FROM runs;
DROP TABLE runs;
ALTER TABLE runs_new RENAME TO runs;

-- A row that a hard limit denied in its own transaction hears later that the router refused it too. settled_ms NULL
-- while DENIED: its machine was not told yet.
INSERT INTO outbox_moves VALUES ('DENIED', 'DENIED', 'DENIED'), ('DENIED', 'STALE', 'DENIED');

-- symbol '': the gate of all symbols.
ALTER TABLE gates ADD COLUMN symbol TEXT NOT NULL DEFAULT '';

-- Every act that came over the control socket, also a refused one. key: what the client calls it, so that asking twice
-- acts once; answer: what was answered the first time (JSON).
CREATE TABLE acts (
    id INTEGER PRIMARY KEY,
    ts_ms INTEGER NOT NULL,
    who TEXT NOT NULL,
    verb TEXT NOT NULL,
    body TEXT NOT NULL,
    key TEXT UNIQUE,
    status INTEGER, -- NULL: under way when the process ended
    answer TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TRIGGER acts_stay BEFORE DELETE ON acts BEGIN SELECT RAISE(ABORT, 'acts are append-only'); END;

-- Arming: who, for which mode and account, until when. ended_ms: NULL while it stands.
CREATE TABLE armings (
    id INTEGER PRIMARY KEY,
    ts_ms INTEGER NOT NULL,
    who TEXT NOT NULL,
    account TEXT NOT NULL,
    until_ms INTEGER NOT NULL CHECK (until_ms > ts_ms),
    ended_ms INTEGER,
    end_reason TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TRIGGER armings_stay BEFORE DELETE ON armings BEGIN SELECT RAISE(ABORT, 'armings are append-only'); END;

-- What is to be told to a human, and what became of it. times: how often the same was said while it waited.
CREATE TABLE notices (
    id INTEGER PRIMARY KEY,
    ts_ms INTEGER NOT NULL,
    event TEXT NOT NULL,
    level TEXT NOT NULL CHECK (level IN ('info', 'warning', 'critical')),
    title TEXT NOT NULL,
    body TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'summed', 'given_up')),
    times INTEGER NOT NULL DEFAULT 1,
    attempts INTEGER NOT NULL DEFAULT 0,
    settled_ms INTEGER,
    note TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX notices_waiting ON notices (event, title) WHERE state = 'waiting';
CREATE INDEX notices_settled ON notices (settled_ms);

-- Which notice tells of the alert; the notice may be forgotten before it.
ALTER TABLE alerts ADD COLUMN notice_id INTEGER;
CREATE INDEX alerts_of_notice ON alerts (notice_id);

-- A copy of the ledger says so of itself: as of which start and input it was taken. found_ms: when a daemon that was
-- started on it had closed the gate `ledger`; NULL in a copy that lies on a shelf.
CREATE TABLE copies (
    id INTEGER PRIMARY KEY,
    taken_ms INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    found_ms INTEGER
) STRICT;

-- Intervals that failed because somebody wanted to see it: few, and asked for at every start.
CREATE INDEX inputs_drilled ON inputs (ts_ms) WHERE body = 'drill fetch';
