-- Every statement of the ledger, by name. A tuple's order is the order of the record it comes from.

-- name: begin_epoch
INSERT INTO instance (epoch, started_ms, pid, host, boot_id)
VALUES ((SELECT ifnull(max(epoch), 0) + 1 FROM instance), ?, ?, ?, ?) RETURNING epoch;

-- name: end_epoch
UPDATE instance SET ended_ms = ? WHERE epoch = ?;

-- name: newest_epoch
SELECT ifnull(max(epoch), 0) FROM instance;

-- name: epoch_row
SELECT epoch, started_ms, pid, host, boot_id, ended_ms FROM instance WHERE epoch = ?;

-- name: begin_run
INSERT INTO runs (run_id, epoch, mode, started_ms, code_version, config_hash, params_hash, calendar_version,
    rules_version, exchange, timeframe, symbols, seed, window, rules)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: last_rules
SELECT rules FROM runs ORDER BY epoch DESC LIMIT 1;

-- name: last_trading_mode
SELECT mode FROM runs WHERE mode <> 'dry-run' AND EXISTS (SELECT 1 FROM orders) ORDER BY epoch DESC LIMIT 1;

-- name: instruments
SELECT symbol_id, exchange, symbol, timeframe, asset, quote, tick, lot, min_qty, min_notional, calendar,
    price_source, tradable
FROM instruments ORDER BY symbol_id;

-- name: put_instrument
INSERT INTO instruments (symbol_id, exchange, symbol, timeframe, asset, quote, tick, lot, min_qty, min_notional,
    calendar, price_source, tradable)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (symbol_id) DO UPDATE SET
    min_qty = excluded.min_qty, min_notional = excluded.min_notional, calendar = excluded.calendar,
    price_source = excluded.price_source, tradable = excluded.tradable;

-- name: words
SELECT kind, code, word FROM words;

-- name: put_word
INSERT INTO words (kind, code, word) VALUES (?, ?, ?);

-- ---------------------------------------------------------------------------------------------- one step

-- name: record_input
INSERT INTO inputs (seq, kind, ts_ms, symbol_id, body) VALUES (?, ?, ?, ?, ?);

-- name: record_bars
INSERT INTO bars (ts_ms, symbol_id, flags, open, high, low, close, volume, seq)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, (SELECT max(seq) FROM inputs));

-- name: record_decisions
INSERT INTO decisions (ts_ms, symbol_id, intent, gates_asked, gates_blocked, signal, skip, exit, setup, phase_before,
    phase_after, side, flags, level, qty, limit_ticks, stop_ticks, r1_ticks, r2_ticks)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: record_transitions
INSERT INTO transitions (seq, n, ts_ms, symbol_id, before, after, cause, qty)
SELECT i.seq, (SELECT count(*) FROM transitions t WHERE t.seq = i.seq), ?1, ?2,
    (SELECT word FROM words WHERE kind = iif(?2 < 0, 'portfolio', 'phase') AND code = ?3),
    (SELECT word FROM words WHERE kind = iif(?2 < 0, 'portfolio', 'phase') AND code = ?4),
    (SELECT word FROM words WHERE kind = 'cause' AND code = ?5), ?7
FROM inputs i ORDER BY i.seq DESC LIMIT 1;

-- name: record_order
INSERT INTO orders (symbol_id, intent, cid, purpose, side, type, qty, limit_ticks, stop_ticks, reason, ts_ms,
    replaces_intent)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: record_outbox
INSERT INTO outbox (symbol_id, intent, kind, cid, ref_intent, ref_cid, created_seq, due_ts_ms)
VALUES (?1, ?2, ?3, ?4, ?5, (SELECT cid FROM orders WHERE symbol_id = ?1 AND intent = ?5), ?6, ?7);

-- name: record_fills
INSERT INTO fills (exec_id, cum_qty, ts_ms, symbol_id, intent, trade, purpose, reason, side, late, qty, price_ticks,
    fee_units, fee_lots, held, best_ticks, worst_ticks, initial_stop_ticks, seq)
VALUES (?1, ?2, ?3, ?4, ?5, ?6,
    (SELECT word FROM words WHERE kind = 'purpose' AND code = ?7),
    (SELECT word FROM words WHERE kind = 'exit' AND code = ?8),
    CASE ?9 WHEN 1 THEN 'buy' WHEN -1 THEN 'sell' END,
    ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, (SELECT max(seq) FROM inputs));

-- name: record_positions
INSERT INTO positions (symbol_id, phase, side, qty, entry_cost, entry_qty, stop_ticks, r1_ticks, r2_ticks, trade,
    halted, halt_reason, seq)
VALUES (?1, (SELECT word FROM words WHERE kind = 'phase' AND code = ?2),
    CASE WHEN ?4 = 0 THEN '' WHEN ?3 = 1 THEN 'long' WHEN ?3 = -1 THEN 'short' END,
    ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, (SELECT max(seq) FROM inputs))
ON CONFLICT (symbol_id) DO UPDATE SET
    phase = excluded.phase, side = excluded.side, qty = excluded.qty, entry_cost = excluded.entry_cost,
    entry_qty = excluded.entry_qty, stop_ticks = excluded.stop_ticks, r1_ticks = excluded.r1_ticks,
    r2_ticks = excluded.r2_ticks, trade = excluded.trade, halted = excluded.halted,
    halt_reason = iif(excluded.halted = 0, '', ifnull(nullif(excluded.halt_reason, ''), halt_reason)),
    seq = excluded.seq;

-- name: supersede_anchors
UPDATE anchors SET superseded_by = ?5
WHERE symbol_id = ?1 AND slot = ?2 AND superseded_by IS NULL AND anchor_ms <> ?5 AND known_ms <= ?6;

-- name: record_anchors
INSERT INTO anchors (symbol_id, slot, kind, rule_version, anchor_ms, known_ms)
VALUES (?1, ?2, (SELECT word FROM words WHERE kind = 'anchor' AND code = ?3), ?4, ?5, ?6)
ON CONFLICT DO UPDATE SET superseded_by = NULL;

-- name: record_consumed
INSERT INTO consumed_entries (symbol_id, session_date, ts_ms) VALUES (?, ?, ?);

-- name: record_gates
INSERT INTO gates (seq, ts_ms, gate, closed, reason, symbol) VALUES (?, ?, ?, ?, ?, ?);

-- name: record_watchlist
INSERT INTO watchlist (seq, rank, scan_date, version, symbol, side, tier, execute, price, level, stop, r1, r2,
    trend_score, dist_pct, slope, confluence, sector, anchor, anchor_date, atr, swing_low, swing_high, taken_ms)
VALUES (:seq, :rank, :scan_date, :version, :symbol, iif(:side > 0, 'long', 'short'), :tier, :execute, :price, :level,
    :stop, :r1, :r2, :trend_score, :dist_pct, :slope, :confluence, :sector, :anchor, :anchor_date, :atr, :swing_low,
    :swing_high, :taken_ms);

-- What the list says of a symbol's anchors of one kind (standing: JSON, "date rule") replaces what it does not say.
-- name: supersede_scan_anchors
UPDATE scan_anchors SET superseded_by = :by
WHERE symbol = :symbol AND kind = :kind AND superseded_by IS NULL
    AND anchor_date || ' ' || rule_version NOT IN (SELECT value FROM json_each(:standing));

-- name: record_scan_anchors
INSERT INTO scan_anchors (symbol, kind, scan_date, anchor_date, known_date, rule_version, seq)
SELECT :symbol, :kind, :scan_date, :anchor_date, :known_date, :rule_version, :seq
WHERE NOT EXISTS (
    SELECT 1 FROM scan_anchors
    WHERE symbol = :symbol AND kind = :kind AND anchor_date = :anchor_date AND rule_version = :rule_version
        AND (superseded_by IS NULL OR scan_date = :scan_date)
);

-- name: record_snapshot
INSERT INTO snapshots (seq, ts_ms, body, sha256) VALUES (?, ?, ?, ?);

-- name: forget_snapshots
DELETE FROM snapshots WHERE seq NOT IN (SELECT seq FROM snapshots ORDER BY seq DESC LIMIT ?);

-- ------------------------------------------------------------------------------------------------ outbox

-- name: move
UPDATE outbox SET
    state = m.after,
    settled_ms = CASE
        WHEN m.after IN ('FILLED', 'CANCELED', 'REJECTED', 'EXPIRED', 'REPLACED', 'STALE', 'DENIED')
            OR (outbox.kind = 'cancel' AND m.after = 'ACKED')
        THEN ifnull(settled_ms, :now_ms) END,
    note = ifnull(:note, note)
FROM outbox_moves m
WHERE outbox.symbol_id = :symbol_id AND outbox.intent = :intent AND m.before = outbox.state
    -- what a cancel asks for came about before it left: it never will
    AND m.word = iif(outbox.kind = 'cancel' AND outbox.state = 'NEW' AND :word IN ('ACKED', 'REJECTED'), 'STALE', :word)
RETURNING state;

-- name: move_sending
UPDATE outbox SET state = m.after, attempts = attempts + 1, sent_ms = :now_ms
FROM outbox_moves m
WHERE outbox.symbol_id = :symbol_id AND outbox.intent = :intent AND m.before = outbox.state AND m.word = 'SENDING'
RETURNING attempts;

-- name: doubt
UPDATE outbox SET state = 'UNKNOWN', note = ? WHERE state = 'SENDING' RETURNING id;

-- name: order_heard
UPDATE orders SET filled_qty = max(filled_qty, ifnull(:filled_qty, 0)), venue_id = ifnull(:venue_id, venue_id)
WHERE symbol_id = :symbol_id AND intent = :intent;

-- name: requests
SELECT x.symbol_id, i.exchange, i.symbol, x.intent, x.kind, x.cid, x.state, x.created_seq, x.due_ts_ms, x.attempts,
    x.sent_ms, o.purpose, o.side, o.type, o.qty, o.limit_ticks, o.stop_ticks, o.reason, o.ts_ms, o.filled_qty,
    o.venue_id, x.ref_intent, x.ref_cid, r.venue_id
FROM outbox x
JOIN instruments i ON i.symbol_id = x.symbol_id
JOIN orders o ON o.symbol_id = x.symbol_id AND o.intent = iif(x.kind = 'cancel', x.ref_intent, x.intent)
LEFT JOIN orders r ON r.symbol_id = x.symbol_id AND r.intent = x.ref_intent

-- name: where_pending
WHERE x.state IN ('NEW', 'SENDING', 'UNKNOWN') ORDER BY x.created_seq, x.id;

-- name: where_live
WHERE x.kind <> 'cancel' AND x.state IN ('ACKED', 'PARTIAL') ORDER BY x.created_seq, x.id;

-- name: where_intent
WHERE x.symbol_id = ? AND x.intent = ?;

-- ----------------------------------------------------------------------------------------------- loading

-- name: last_seq
SELECT ifnull(max(seq), 0) FROM inputs;

-- name: last_bar_ts
SELECT ifnull(max(ts_ms), 0) FROM bars;

-- Drilled intervals whose bars have not followed yet.
-- name: drilled
SELECT i.ts_ms FROM inputs i
WHERE i.kind = 'bars' AND i.body = 'drill fetch'
    AND NOT EXISTS (SELECT 1 FROM bars b WHERE b.ts_ms = i.ts_ms AND b.flags & 64)
ORDER BY i.seq;

-- name: snapshots
SELECT seq, ts_ms, body, sha256 FROM snapshots ORDER BY seq DESC;

-- name: inputs_after
SELECT seq, kind, ts_ms, symbol_id, body FROM inputs WHERE seq > ? ORDER BY seq;

-- name: bars_after
SELECT i.seq, b.ts_ms, b.symbol_id, b.flags, b.open, b.high, b.low, b.close, b.volume
FROM inputs i CROSS JOIN bars b ON b.ts_ms = i.ts_ms AND b.seq = i.seq
WHERE i.seq > ? AND i.kind = 'bars'
ORDER BY i.seq, b.symbol_id;

-- ------------------------------------------------------------------------------- beats, alerts, watchlist

-- name: record_beat
INSERT INTO beats (ts_ms, body) VALUES (?, ?) ON CONFLICT DO UPDATE SET body = excluded.body;

-- name: forget_beats
DELETE FROM beats WHERE ts_ms < ?;

-- name: record_alert
INSERT INTO alerts (ts_ms, level, what, notice_id) VALUES (?, ?, ?, ?) RETURNING id;

-- name: alerted
SELECT 1 FROM alerts WHERE what = ?1 AND ts_ms >= ?2 LIMIT 1;

-- The newest input that came in time or ended a catch-up, where late bars follow it.
-- name: open_catch_up
SELECT o.seq FROM (
    SELECT i.seq FROM inputs i
    WHERE i.kind = 'caught_up' OR (i.kind = 'bars' AND EXISTS (
        SELECT 1 FROM bars b WHERE b.ts_ms = i.ts_ms AND b.seq = i.seq AND b.flags & 11 = 0
    ))
    ORDER BY i.seq DESC LIMIT 1
) o
WHERE EXISTS (
    SELECT 1 FROM inputs i JOIN bars b ON b.ts_ms = i.ts_ms AND b.seq = i.seq WHERE i.seq > o.seq AND b.flags & 1
);

-- name: record_revision
INSERT INTO revisions (ts_ms, symbol_id, known_ms, kind, open, high, low, close, volume)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING;

-- name: record_venue_books
INSERT INTO venue_books (ts_ms, cash, equity, holdings, agreed, difference) VALUES (?, ?, ?, ?, ?, ?);

-- The first reading and every difference stay.
-- name: forget_venue_books
DELETE FROM venue_books WHERE ts_ms < ? AND agreed AND id > (SELECT min(id) FROM venue_books);

-- name: first_venue_books
SELECT ts_ms, cash, equity, holdings, agreed, difference FROM venue_books ORDER BY id LIMIT 1;

-- ------------------------------------------------------------------------------------- copies, retention

-- name: stamp_copy
INSERT INTO copies (taken_ms, epoch, seq) VALUES (?, ?, ?);

-- name: open_copies
SELECT 1 FROM copies WHERE found_ms IS NULL LIMIT 1;

-- name: found_copies
UPDATE copies SET found_ms = ? WHERE found_ms IS NULL;

-- name: last_input_ms
SELECT ts_ms FROM inputs ORDER BY seq DESC LIMIT 1;

-- name: doubt_new
UPDATE outbox SET state = 'SENDING', attempts = attempts + 1, sent_ms = ? WHERE state = 'NEW' RETURNING id;

-- name: forget_notices
DELETE FROM notices WHERE state <> 'waiting' AND ts_ms < ?;

-- name: thin_beats
DELETE FROM beats WHERE ts_ms >= ?1 / 60000 * 60000 AND ts_ms < ?1;

-- ------------------------------------------------------------------------------------------------- audit

-- name: audit_ids
SELECT cid FROM outbox ORDER BY id;

-- name: audit_orders
SELECT o.cid, i.symbol, o.ts_ms, o.purpose, o.intent FROM orders o JOIN instruments i USING (symbol_id);

-- name: order_ids
SELECT cid, symbol_id, intent, purpose, iif(side = 'buy', 1, -1) FROM orders;

-- name: known_orders
SELECT o.cid, i.symbol, iif(o.side = 'buy', 1, -1), o.qty, o.filled_qty, x.state, ifnull(o.venue_id, '')
FROM outbox x
JOIN orders o ON o.symbol_id = x.symbol_id AND o.intent = x.intent
JOIN instruments i ON i.symbol_id = x.symbol_id
WHERE x.kind <> 'cancel'
ORDER BY x.id;

-- Also executions that added nothing to what was counted: they are not to be counted the next time either.
-- Since when a position has had no order at the venue that protects or leaves it: since the newest of its entry fills
-- or the end of the newest order that did. NULL where neither is known (a position taken over from the venue).
-- name: unprotected_since
SELECT max(ms) FROM (
    SELECT ts_ms AS ms FROM fills WHERE symbol_id = :symbol_id AND purpose = 'entry'
    UNION ALL
    SELECT x.settled_ms FROM outbox x JOIN orders o USING (symbol_id, intent)
    WHERE x.symbol_id = :symbol_id AND o.purpose <> 'entry'
        AND x.state IN ('FILLED', 'CANCELED', 'EXPIRED', 'REPLACED')
);

-- name: exec_ids
SELECT exec_id FROM fills
UNION
SELECT json_extract(body, '$.exec_id') FROM inputs WHERE kind = 'report' AND json_extract(body, '$.exec_id') <> '';

-- name: filled_for
SELECT ifnull(sum(qty), 0), ifnull(sum(qty * price_ticks), 0) FROM fills WHERE symbol_id = ? AND intent = ?;

-- ---------------------------------------------------------------------------------------- asked by people

-- name: ask_positions
SELECT * FROM position_words WHERE phase <> 'FLAT' OR halted <> 0 LIMIT 1001;

-- name: ask_orders
SELECT * FROM order_words ORDER BY ts_ms DESC LIMIT 201;

-- name: audit_lists
SELECT seq, body FROM inputs WHERE kind = 'watchlist';

-- The list in force when a bar was decided.
-- name: list_of_decision
SELECT json_extract(i.body, '$.scan_date'), json_extract(i.body, '$.version')
FROM inputs i
WHERE i.kind = 'watchlist' AND i.seq < (
    SELECT min(b.seq) FROM bars b JOIN instruments s USING (symbol_id) WHERE s.symbol = ?1 AND b.ts_ms = ?2
)
ORDER BY i.seq DESC LIMIT 1;

-- name: ask_decision
SELECT w.*, d.gates_asked, d.gates_blocked
FROM decisions d
JOIN instruments i USING (symbol_id)
JOIN decision_words w ON w.ts_ms = d.ts_ms AND w.symbol = i.symbol
WHERE i.symbol = ?1 AND d.ts_ms = ?2;

-- ---------------------------------------------------------------------------------------- acts of operators

-- name: act_of_key
SELECT id, ts_ms, who, verb, body, status, answer FROM acts WHERE key = ?;

-- name: begin_act
INSERT INTO acts (ts_ms, who, verb, body, key) VALUES (?, ?, ?, ?, ?) RETURNING id;

-- name: end_act
UPDATE acts SET status = ?, answer = ? WHERE id = ? AND status IS NULL;

-- name: ask_acts
SELECT id, ts_ms, who, verb, body, ifnull(status, 'under way') AS status, substr(answer, 1, 500) AS answer
FROM acts ORDER BY id DESC LIMIT ?;

-- name: ask_alerts
SELECT id, ts_ms, level, what, delivered AS read FROM alerts WHERE NOT (?1 AND delivered) ORDER BY id DESC LIMIT ?2;

-- name: read_alert
UPDATE alerts SET delivered = 1 WHERE id = ? AND NOT delivered;

-- name: read_alerts
UPDATE alerts SET delivered = 1 WHERE NOT delivered;

-- name: alert_exists
SELECT 1 FROM alerts WHERE id = ?;

-- name: ask_gates
SELECT gate, symbol, closed, reason, ts_ms FROM gates
WHERE id IN (SELECT max(id) FROM gates GROUP BY gate, symbol) LIMIT 10000;

-- ------------------------------------------------------------------------------------- to be told to a human

-- name: say_again
UPDATE notices SET times = times + 1, body = ?3
WHERE id = (SELECT id FROM notices WHERE state = 'waiting' AND event = ?1 AND title = ?2 LIMIT 1)
RETURNING id;

-- name: say
INSERT INTO notices (ts_ms, event, level, title, body) VALUES (?, ?, ?, ?, ?) RETURNING id;

-- name: notices_due
SELECT id, ts_ms, event, level, title, body, times, attempts FROM notices
WHERE state = 'waiting' ORDER BY level <> 'critical', id LIMIT ?;

-- name: settle_notice
UPDATE notices SET state = ?, settled_ms = ?, note = ? WHERE id = ? AND state = 'waiting';

-- name: notice_failed
UPDATE notices SET attempts = attempts + 1, note = ? WHERE id = ?;

-- name: alerts_told
UPDATE alerts SET delivered = 1 WHERE notice_id = ? AND NOT delivered;

-- name: notices_sent
SELECT count(DISTINCT settled_ms) FROM notices
WHERE settled_ms > ?1 AND settled_ms <= ?2 AND state IN ('delivered', 'summed');

-- name: notices_waiting
SELECT count(*), min(ts_ms) FILTER (WHERE level = 'critical') FROM notices WHERE state = 'waiting';

-- name: give_up_notices
UPDATE notices SET state = 'given_up', settled_ms = ?1, note = ?2 WHERE state = 'waiting' AND ts_ms < ?3
RETURNING id;

-- name: alerts_untold
SELECT count(*) FROM alerts WHERE NOT delivered AND level <> 'info';

-- name: day_fills
SELECT count(*), count(DISTINCT symbol_id || '/' || trade) FILTER (WHERE held = 0) FROM fills
WHERE ts_ms > ?1 AND ts_ms <= ?2;

-- ---------------------------------------------------------------------------------- asked by the kill program

-- name: kill_purpose
SELECT o.purpose, i.symbol FROM orders o JOIN instruments i USING (symbol_id) WHERE o.cid = ?;

-- name: kill_booked
SELECT 1 FROM fills WHERE exec_id = ?;

-- name: kill_instruments
SELECT i.symbol, i.asset, i.quote, i.tick, i.lot, i.min_qty, i.min_notional, ifnull(p.side, ''), ifnull(p.qty, 0),
    ifnull(p.seq, 0)
FROM instruments i
LEFT JOIN positions p USING (symbol_id)
WHERE i.tradable = 1
ORDER BY i.symbol_id;

-- name: kill_unsettled
SELECT o.cid, o.purpose, i.symbol, iif(o.side = 'buy', 1, -1), o.filled_qty
FROM outbox x
JOIN orders o USING (symbol_id, intent)
JOIN instruments i USING (symbol_id)
WHERE x.kind <> 'cancel' AND x.state IN ('SENDING', 'UNKNOWN', 'ACKED', 'PARTIAL');

-- ------------------------------------------------------------------------------------- gates, limits, arming

-- The newest turn of each gate that has one.
-- name: gates_now
SELECT g.gate, g.symbol, g.closed, g.reason, g.ts_ms
FROM gates g JOIN (SELECT max(id) AS id FROM gates GROUP BY gate, symbol) USING (id)
WHERE g.closed ORDER BY g.gate, g.symbol;

-- The outer gates that were closed for a symbol when an input was folded.
-- name: outer_at
SELECT g.gate, g.symbol, g.reason, g.ts_ms
FROM gates g
JOIN (SELECT max(id) AS id FROM gates WHERE symbol IN ('', ?1) AND seq < ?2 GROUP BY gate, symbol) USING (id)
WHERE g.closed ORDER BY g.id;

-- name: seq_of_decision
SELECT min(b.seq) FROM bars b JOIN instruments s USING (symbol_id) WHERE s.symbol = ?1 AND b.ts_ms = ?2;

-- name: deny
UPDATE outbox SET state = 'DENIED', note = ? WHERE symbol_id = ? AND intent = ? AND state = 'NEW' RETURNING id;

-- name: where_denied_unheard
WHERE x.state = 'DENIED' AND x.settled_ms IS NULL ORDER BY x.created_seq, x.id;

-- name: outbox_note
SELECT note FROM outbox WHERE symbol_id = ? AND intent = ?;

-- name: limit_positions
SELECT symbol_id, qty FROM positions WHERE qty > 0;

-- What entries that may still fill can add.
-- name: limit_entries
SELECT o.symbol_id, o.qty - o.filled_qty, o.limit_ticks
FROM outbox x JOIN orders o USING (symbol_id, intent)
WHERE x.kind = 'submit' AND o.purpose = 'entry' AND x.state IN ('NEW', 'SENDING', 'UNKNOWN', 'ACKED', 'PARTIAL')
    AND NOT (o.symbol_id = ?1 AND o.intent = ?2);

-- name: limit_entries_since
SELECT count(*) FROM outbox x JOIN orders o USING (symbol_id, intent)
WHERE x.kind = 'submit' AND o.purpose = 'entry' AND o.ts_ms > ?1 AND x.state NOT IN ('DENIED', 'STALE')
    AND NOT (o.symbol_id = ?2 AND o.intent = ?3);

-- name: last_close
SELECT close FROM bars WHERE symbol_id = ? AND NOT flags & 2 ORDER BY ts_ms DESC, seq DESC LIMIT 1;

-- name: arm
INSERT INTO armings (ts_ms, who, account, until_ms) VALUES (?, ?, ?, ?) RETURNING id;

-- name: standing_arming
SELECT id, ts_ms, who, until_ms FROM armings WHERE account = ? AND ended_ms IS NULL ORDER BY id DESC LIMIT 1;

-- name: end_arming
UPDATE armings SET ended_ms = ?, end_reason = ? WHERE account = ? AND ended_ms IS NULL RETURNING id;

-- name: unread_critical
SELECT count(*), ifnull(min(ts_ms), 0) FROM alerts WHERE level = 'critical' AND NOT delivered;

-- The session of the first entry in mode live that was filled, yyyymmdd.
-- name: first_live_day
SELECT min(session_date) FROM consumed_entries
WHERE ts_ms >= (SELECT min(started_ms) FROM runs WHERE mode = 'live');

-- name: quick_check
PRAGMA quick_check(1);

-- ------------------------------------------------------------------------------------ inputs, as they were committed

-- name: cycle_inputs
SELECT seq, kind, ts_ms, symbol_id, body FROM inputs WHERE seq > ? ORDER BY seq LIMIT ?;

-- name: cycle_decisions
SELECT i.seq, d.*
FROM inputs i
CROSS JOIN bars b ON b.ts_ms = i.ts_ms AND b.seq = i.seq AND b.flags & 64 = 0
CROSS JOIN decisions d ON d.ts_ms = b.ts_ms AND d.symbol_id = b.symbol_id
WHERE i.seq BETWEEN ? AND ? AND i.kind = 'bars'
ORDER BY i.seq, d.symbol_id;

-- name: cycle_transitions
SELECT t.seq, t.ts_ms, t.symbol_id,
    (SELECT code FROM words WHERE kind = iif(t.symbol_id < 0, 'portfolio', 'phase') AND word = t.before),
    (SELECT code FROM words WHERE kind = iif(t.symbol_id < 0, 'portfolio', 'phase') AND word = t.after),
    (SELECT code FROM words WHERE kind = 'cause' AND word = t.cause), 0, t.qty
FROM transitions t WHERE t.seq BETWEEN ? AND ? ORDER BY t.seq, t.n;

-- name: cycle_fills
SELECT f.seq, f.exec_id, f.cum_qty, f.ts_ms, f.symbol_id, f.intent, f.trade,
    (SELECT code FROM words WHERE kind = 'purpose' AND word = f.purpose),
    (SELECT code FROM words WHERE kind = 'exit' AND word = f.reason),
    iif(f.side = 'buy', 1, -1), f.late, f.qty, f.price_ticks
FROM fills f WHERE f.seq BETWEEN ? AND ? ORDER BY f.id;

-- name: cycle_gates
SELECT seq, ts_ms, gate, closed, reason, symbol FROM gates WHERE seq BETWEEN ? AND ? ORDER BY id;

-- name: cycle_verdicts
SELECT symbol_id, gates_blocked FROM decisions
WHERE ts_ms = (SELECT ts_ms FROM inputs WHERE kind = 'bars' AND seq <= ? ORDER BY seq DESC LIMIT 1);
