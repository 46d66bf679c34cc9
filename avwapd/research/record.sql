-- What a run left in the ledger, in the order of the engine's records. Codes stay codes.

-- name: runs
SELECT run_id, epoch, mode, started_ms, code_version, config_hash, params_hash, calendar_version, rules_version,
    exchange, timeframe, symbols, seed, window
FROM runs ORDER BY epoch;

-- name: instruments
SELECT symbol_id, exchange, symbol, timeframe, asset, quote, tick, lot, min_qty, min_notional, calendar, price_source,
    tradable
FROM instruments ORDER BY symbol_id;

-- name: decided
SELECT min(ts_ms), max(ts_ms), count(*) FROM decisions WHERE ts_ms BETWEEN ? AND ?;

-- name: decisions
SELECT d.ts_ms, d.symbol_id, d.intent, d.gates_asked, d.gates_blocked, d.signal, d.skip, d.exit, d.setup,
    d.phase_before, d.phase_after, d.side, d.flags, d.level, d.qty, d.limit_ticks, d.stop_ticks, d.r1_ticks, d.r2_ticks
FROM decisions d WHERE d.ts_ms BETWEEN ? AND ? ORDER BY d.ts_ms, d.symbol_id;

-- A missing bar that came at last has a second row; the decision was about the first.
-- name: decisions_with_bars
SELECT d.ts_ms, d.symbol_id, d.intent, d.gates_asked, d.gates_blocked, d.signal, d.skip, d.exit, d.setup,
    d.phase_before, d.phase_after, d.side, d.flags, d.level, d.qty, d.limit_ticks, d.stop_ticks, d.r1_ticks, d.r2_ticks,
    b.open, b.high, b.low, b.close, b.volume
FROM decisions d
LEFT JOIN bars b ON b.ts_ms = d.ts_ms AND b.symbol_id = d.symbol_id AND b.flags & 64 = 0
WHERE d.ts_ms BETWEEN ? AND ? ORDER BY d.ts_ms, d.symbol_id;

-- name: bar_span
SELECT min(ts_ms), max(ts_ms) FROM bars;

-- Words back to codes.
-- name: fills
SELECT f.ts_ms, f.symbol_id, f.intent, f.trade,
    (SELECT code FROM words WHERE kind = 'purpose' AND word = f.purpose),
    (SELECT code FROM words WHERE kind = 'exit' AND word = f.reason),
    iif(f.side = 'buy', 1, -1), f.late, f.qty, f.price_ticks, f.fee_units, f.fee_lots, f.held, f.best_ticks,
    f.worst_ticks, f.initial_stop_ticks
FROM fills f ORDER BY f.id;

-- name: setups
SELECT symbol_id, intent, setup FROM decisions WHERE intent <> 0;

-- name: transitions
SELECT t.ts_ms, t.symbol_id,
    (SELECT code FROM words WHERE kind = iif(t.symbol_id < 0, 'portfolio', 'phase') AND word = t.before),
    (SELECT code FROM words WHERE kind = iif(t.symbol_id < 0, 'portfolio', 'phase') AND word = t.after),
    (SELECT code FROM words WHERE kind = 'cause' AND word = t.cause), 0, t.qty
FROM transitions t ORDER BY t.seq, t.n;

-- name: orders
SELECT symbol_id, intent, cid, purpose, side, type, qty, limit_ticks, stop_ticks, reason, ts_ms, replaces_intent
FROM orders ORDER BY symbol_id, intent;

-- name: outbox
SELECT symbol_id, intent, kind, cid, ref_intent, due_ts_ms, created_seq FROM outbox ORDER BY symbol_id, intent;

-- name: anchor
SELECT kind FROM anchors WHERE slot = 0 ORDER BY known_ms LIMIT 1;

-- name: marked_bars
SELECT ts_ms, symbol_id, flags, seq FROM bars WHERE flags & ~12 ORDER BY seq, symbol_id;

-- Intervals that failed because somebody wanted to see it.
-- name: drilled
SELECT ts_ms FROM inputs WHERE kind = 'bars' AND body = 'drill fetch';

-- name: unlike_barriers
SELECT count(*) FROM (
    SELECT ts_ms, lag(ts_ms) OVER (ORDER BY seq) AS before FROM inputs WHERE kind = 'bars'
) WHERE ts_ms <= before;

-- name: barriers
SELECT b.seq, b.ts_ms, b.symbol_id FROM bars b ORDER BY b.seq, b.symbol_id;

-- name: catch_ups
SELECT c.seq, (SELECT ifnull(max(b.seq), 0) FROM bars b WHERE b.seq < c.seq AND b.flags & 11 = 0)
FROM inputs c WHERE c.kind = 'caught_up';

-- name: inputs
SELECT kind, ts_ms, symbol_id, body FROM inputs ORDER BY seq;

-- name: order_ids
SELECT cid, symbol_id, intent FROM orders;

-- What the run decided on, where the feed corrected it later.
-- name: revised_bars
SELECT b.ts_ms, b.symbol_id, b.open, b.high, b.low, b.close, b.volume
FROM bars b
WHERE b.flags & 2 = 0
    AND EXISTS (SELECT 1 FROM revisions r WHERE r.ts_ms = b.ts_ms AND r.symbol_id = b.symbol_id AND r.kind = 'revised');

-- Bars that came after their barrier was closed, and never went in.
-- name: late_bars
SELECT DISTINCT r.ts_ms, r.symbol_id
FROM revisions r
WHERE r.kind = 'late'
    AND NOT EXISTS (SELECT 1 FROM bars b WHERE b.ts_ms = r.ts_ms AND b.symbol_id = r.symbol_id AND b.flags & 2 = 0);

-- What the feed says of them now.
-- name: newest_revisions
SELECT ts_ms, symbol_id, open, high, low, close, volume FROM revisions ORDER BY known_ms;

-- Our own word about an order carries no number of the venue's.
-- name: refusals
SELECT o.symbol_id, o.intent, json_extract(i.body, '$.kind')
FROM inputs i JOIN orders o ON o.cid = json_extract(i.body, '$.cid')
WHERE i.kind = 'report' AND json_extract(i.body, '$.number') = 0;

-- Of symbols that wait for a human: what was asked and not answered.
-- name: unheard
SELECT x.symbol_id, x.intent FROM outbox x JOIN positions p USING (symbol_id)
WHERE x.state IN ('NEW', 'SENDING', 'UNKNOWN') AND p.halted = 2;
