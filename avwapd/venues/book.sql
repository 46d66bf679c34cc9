-- The simulated exchange's own file. It shares nothing with the ledger but the ids that arrive in requests.

CREATE TABLE orders (
    number      INTEGER PRIMARY KEY, -- the exchange's own; shown as "v<number>"
    cid         TEXT NOT NULL,       -- the customer's; twice where duplicates are not refused
    symbol      TEXT NOT NULL,
    side        INTEGER NOT NULL CHECK (side IN (-1, 1)),
    type        TEXT NOT NULL CHECK (type IN ('market', 'limit', 'stop')),
    qty         INTEGER NOT NULL CHECK (qty > 0),
    limit_ticks INTEGER NOT NULL,
    stop_ticks  INTEGER NOT NULL,
    filled_qty  INTEGER NOT NULL DEFAULT 0 CHECK (filled_qty BETWEEN 0 AND qty),
    state       TEXT NOT NULL DEFAULT 'live' CHECK (state IN ('live', 'filled', 'canceled', 'rejected', 'replaced'))
) STRICT;

CREATE INDEX orders_by_cid ON orders (cid);

CREATE TABLE words (
    number      INTEGER PRIMARY KEY, -- from 1, without gaps
    ts_ms       INTEGER NOT NULL,
    cid         TEXT NOT NULL,
    ref_cid     TEXT NOT NULL,
    venue_id    TEXT NOT NULL,
    kind        TEXT NOT NULL,
    exec_id     TEXT NOT NULL,
    final       INTEGER NOT NULL,
    cum_qty     INTEGER NOT NULL,
    last_qty    INTEGER NOT NULL,
    price_ticks INTEGER NOT NULL,
    fee_units   INTEGER NOT NULL,
    fee_lots    INTEGER NOT NULL
) STRICT;

CREATE TABLE books (
    symbol TEXT PRIMARY KEY,
    met_ms INTEGER NOT NULL, -- the bar this book last ran over
    record BLOB NOT NULL     -- a BOOK record
) STRICT, WITHOUT ROWID;

CREATE TABLE market (
    id        INTEGER PRIMARY KEY CHECK (id = 0),
    opened_ms INTEGER NOT NULL,
    closed_ms INTEGER NOT NULL,
    symbols   TEXT NOT NULL, -- one a line, in the order that `last_ms` and `running` count in
    last_ms   BLOB NOT NULL, -- int64 a symbol: its newest bar in session
    running   BLOB           -- BAR records of the bar that runs
) STRICT;

PRAGMA user_version = 1;
