-- The ledger's invariants as queries. Each block is named after its invariant and returns (where, what) for every
-- violation; a sound ledger answers none with a row.

-- ------------------------------------------------------- I1: one order an intent, one id an order, and it is ours

-- name: i1_cid_twice
SELECT cid, 'id used by ' || count(*) || ' outbox rows' FROM outbox GROUP BY cid HAVING count(*) > 1
UNION ALL
SELECT cid, 'id used by ' || count(*) || ' orders' FROM orders GROUP BY cid HAVING count(*) > 1;

-- name: i1_intent_twice
SELECT symbol_id || '/' || intent, 'intent used by ' || count(*) || ' outbox rows'
FROM outbox GROUP BY symbol_id, intent HAVING count(*) > 1;

-- name: i1_request_without_order
SELECT x.cid, 'outbox row without its order'
FROM outbox x LEFT JOIN orders o ON o.symbol_id = x.symbol_id AND o.intent = x.intent AND o.cid = x.cid
WHERE x.kind <> 'cancel' AND o.cid IS NULL;

-- name: i1_order_without_request
SELECT o.cid, 'order without its outbox row'
FROM orders o LEFT JOIN outbox x ON o.symbol_id = x.symbol_id AND o.intent = x.intent AND o.cid = x.cid
WHERE x.cid IS NULL;

-- ------------------------------------- I2: nothing that was to be said is forgotten, no doubt is kept to ourselves

-- A run that ended cleanly (its epoch has ended_ms) has settled all it had to say, or an alert names the id, or an
-- earlier id of the same symbol: what waits behind a doubt waits for the same human.
-- name: i2_unsettled_after_clean_end
SELECT x.cid, 'still ' || x.state || ' after a clean end, without an alert'
FROM outbox x
WHERE x.state IN ('NEW', 'SENDING', 'UNKNOWN')
    AND (SELECT ended_ms FROM instance ORDER BY epoch DESC LIMIT 1) IS NOT NULL
    AND NOT EXISTS (
        SELECT 1 FROM alerts a JOIN outbox y ON instr(a.what, y.cid)
        WHERE y.symbol_id = x.symbol_id AND y.intent <= x.intent AND y.state IN ('NEW', 'SENDING', 'UNKNOWN')
    );

-- Else what waits must be the tail: requests of a symbol are said in the order of their intents.
-- name: i2_overtaken
SELECT x.cid, 'still NEW, but a later request of the symbol was sent'
FROM outbox x
WHERE x.state = 'NEW' AND EXISTS (
    SELECT 1 FROM outbox y WHERE y.symbol_id = x.symbol_id AND y.intent > x.intent AND y.attempts > 0
);

-- What is in doubt for longer than the limit, up to the newest beat, has an alert that names it.
-- name: i2_long_in_doubt
SELECT x.cid, x.state || ' for ' || ((SELECT max(ts_ms) FROM beats) - x.sent_ms) || ' ms without an alert'
FROM outbox x
WHERE x.state IN ('SENDING', 'UNKNOWN')
    AND (SELECT max(ts_ms) FROM beats) - x.sent_ms > :in_doubt_ms
    AND NOT EXISTS (SELECT 1 FROM alerts a WHERE instr(a.what, x.cid));

-- ------------------------------------------ I3: an input, what it made and what it caused are there together

-- name: i3_journal_gap
SELECT 'inputs', count(*) || ' rows from ' || min(seq) || ' to ' || max(seq)
FROM inputs HAVING count(*) <> max(seq) - min(seq) + 1;

-- name: i3_bar_without_input
SELECT 'bar ' || b.symbol_id || ' at ' || b.ts_ms, 'no bars input ' || b.seq || ' of that time'
FROM bars b LEFT JOIN inputs i ON i.seq = b.seq AND i.kind = 'bars' AND i.ts_ms = b.ts_ms
WHERE b.ts_ms >= :since_ms AND i.seq IS NULL;

-- Every intent of a symbol left a row: a missing number is an effect that was lost.
-- name: i3_effect_lost
SELECT 'symbol_id ' || symbol_id, count(*) || ' outbox rows for ' || max(intent) || ' intents'
FROM outbox GROUP BY symbol_id HAVING count(*) <> max(intent);

-- What is restated comes of a split or of an adjustment; what a report leaves too small for any order is written off.
-- name: i3_fill_without_report
SELECT f.exec_id, 'booked by input ' || f.seq || ', which is no ' || iif(f.purpose = 'restate', f.purpose, 'report')
FROM fills f LEFT JOIN inputs i ON i.seq = f.seq
WHERE i.kind IS NULL OR NOT iif(f.purpose = 'restate',
    i.kind IN ('restate', 'adjust') OR (i.kind = 'report' AND f.price_ticks = 0), i.kind = 'report');

-- An adjustment is booked whole: quantity, price and fee, under its own execution id (through zero in two rows).
-- name: i3_adjustment_not_booked
SELECT 'input ' || i.seq, 'adjusts by ' || json_extract(i.body, '$.qty') || ' at '
    || json_extract(i.body, '$.price_ticks') || ', its fills say '
    || ifnull(sum(iif(f.side = 'buy', f.qty, -f.qty)), 0) || ' at ' || ifnull(min(f.price_ticks), 0)
FROM inputs i LEFT JOIN fills f ON f.seq = i.seq AND f.exec_id NOT LIKE 'dust-%'
WHERE i.kind = 'adjust'
GROUP BY i.seq
HAVING sum(iif(f.side = 'buy', f.qty, -f.qty)) IS NOT json_extract(i.body, '$.qty')
    OR min(f.price_ticks) IS NOT json_extract(i.body, '$.price_ticks') OR min(f.price_ticks) <> max(f.price_ticks)
    OR sum(f.fee_units) IS NOT json_extract(i.body, '$.fee_units')
    OR min(f.exec_id) IS NOT json_extract(i.body, '$.exec_id');

-- name: i3_adjustment_unexplained
SELECT 'input ' || seq, 'an adjustment without a reason'
FROM inputs WHERE kind = 'adjust' AND ifnull(json_extract(body, '$.reason'), '') = '';

-- name: i3_watchlist_without_input
SELECT 'watchlist ' || w.seq || '/' || w.rank, 'no list ' || w.version || ' of ' || w.scan_date || ' came with that input'
FROM watchlist w
LEFT JOIN inputs i ON i.seq = w.seq AND i.kind = 'watchlist'
WHERE json_extract(i.body, '$.version') IS NOT w.version OR json_extract(i.body, '$.scan_date') IS NOT w.scan_date;

-- name: i3_watchlist_row_lost
SELECT 'input ' || i.seq, count(w.seq) || ' rows of ' || json_array_length(i.body, '$.rows')
FROM inputs i LEFT JOIN watchlist w USING (seq)
WHERE i.kind = 'watchlist' GROUP BY i.seq HAVING count(w.seq) <> json_array_length(i.body, '$.rows');

-- name: i3_scan_anchor_twice
SELECT 'anchor ' || symbol || ' ' || kind || ' of ' || anchor_date, count(*) || ' rows stand'
FROM scan_anchors WHERE superseded_by IS NULL
GROUP BY symbol, kind, anchor_date, rule_version HAVING count(*) > 1;

-- name: i3_scan_anchor_lost
SELECT 'anchor ' || a.symbol || ' ' || a.kind || ' of ' || a.anchor_date, 'superseded by ' || a.superseded_by || ', not there'
FROM scan_anchors a
WHERE a.superseded_by IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM scan_anchors b WHERE b.symbol = a.symbol AND b.kind = a.kind AND b.anchor_date = a.superseded_by
);

-- ------------------------------------------------------------------------------------------------ I4: the books

-- A fee in the base coin shrinks what is held; qty is never negative in a position, so the side gives the sign.
-- name: i4_position
SELECT 'symbol_id ' || i.symbol_id, 'position ' || ifnull(p.held, 0) || ', fills sum to ' || ifnull(f.held, 0)
FROM instruments i
LEFT JOIN (
    SELECT symbol_id, iif(side = 'short', -qty, qty) AS held FROM positions
) p USING (symbol_id)
LEFT JOIN (
    SELECT symbol_id, sum(iif(side = 'buy', qty, -qty)
        - iif((side = 'buy') = (purpose = 'entry'), fee_lots, -fee_lots)) AS held
    FROM fills GROUP BY symbol_id
) f USING (symbol_id)
WHERE ifnull(p.held, 0) <> ifnull(f.held, 0);

-- name: i4_execution_twice
SELECT exec_id, 'booked ' || count(*) || ' times' FROM fills GROUP BY exec_id HAVING count(*) > 1;

-- name: i4_order_filled
SELECT o.cid, 'order says ' || o.filled_qty || ' of ' || o.qty || ' filled, its fills say ' || ifnull(sum(f.qty), 0)
FROM orders o LEFT JOIN fills f USING (symbol_id, intent)
GROUP BY o.symbol_id, o.intent
HAVING o.filled_qty <> ifnull(sum(f.qty), 0) OR o.filled_qty > o.qty;

-- name: i4_cumulative
SELECT exec_id, 'cumulative ' || cum_qty || ', running sum ' || running
FROM (
    SELECT exec_id, cum_qty, sum(qty) OVER (PARTITION BY symbol_id, intent ORDER BY id) AS running
    FROM fills WHERE purpose <> 'restate'
)
WHERE cum_qty <> running;

-- name: i4_filled_state
SELECT x.cid, 'FILLED with ' || o.filled_qty || ' of ' || o.qty
FROM outbox x JOIN orders o USING (symbol_id, intent)
WHERE x.kind <> 'cancel' AND (x.state = 'FILLED') <> (o.filled_qty >= o.qty);

-- name: i4_entry_cost
SELECT 'symbol_id ' || p.symbol_id,
    'entry cost ' || p.entry_cost || ' for ' || p.entry_qty || ', fills say '
    || ifnull(sum(f.qty * f.price_ticks), 0) || ' for ' || ifnull(sum(f.qty), 0)
FROM positions p
LEFT JOIN (
    SELECT f.*, i.kind = 'adjust' AS adjusts FROM fills f LEFT JOIN inputs i ON i.seq = f.seq
) f ON f.symbol_id = p.symbol_id AND f.trade = p.trade
    AND (f.purpose = 'entry' OR (f.adjusts AND f.side = iif(p.side = 'long', 'buy', 'sell')))
WHERE p.qty > 0
GROUP BY p.symbol_id
HAVING p.entry_cost <> ifnull(sum(f.qty * f.price_ticks), 0)
    OR (p.entry_qty <> ifnull(sum(f.qty), 0) -- a split leaves what was paid and changes the count
        AND NOT EXISTS (
            SELECT 1 FROM fills r JOIN inputs i ON i.seq = r.seq
            WHERE r.symbol_id = p.symbol_id AND r.trade = p.trade AND i.kind = 'restate'
        ));

-- ----------------------------------------------------------- I5: each closed bar is decided once, in its turn

-- name: i5_bars_turn_back
SELECT 'symbol_id ' || symbol_id || ' at ' || ts_ms, 'journaled after the bar of ' || before
FROM (
    SELECT symbol_id, ts_ms, lag(ts_ms) OVER (PARTITION BY symbol_id ORDER BY seq) AS before
    FROM bars WHERE flags & 64 = 0 AND ts_ms >= :since_ms
)
WHERE before >= ts_ms;

-- Bars before the oldest one here are in the archive.
-- name: i5_decision_without_bar
SELECT 'symbol_id ' || d.symbol_id || ' at ' || d.ts_ms, 'decided without a bar'
FROM decisions d
WHERE d.ts_ms >= max(:since_ms, (SELECT ifnull(min(ts_ms), 0) FROM bars)) AND d.flags & 2 = 0
    AND NOT EXISTS (SELECT 1 FROM bars b WHERE b.ts_ms = d.ts_ms AND b.symbol_id = d.symbol_id);

-- name: i5_bar_without_decision
SELECT 'symbol_id ' || b.symbol_id || ' at ' || b.ts_ms, 'a bar that led to no decision row'
FROM bars b
WHERE b.ts_ms >= :since_ms AND b.flags & 72 = 0 -- not warm-up, not silent
    AND NOT EXISTS (SELECT 1 FROM decisions d WHERE d.ts_ms = b.ts_ms AND d.symbol_id = b.symbol_id)
    AND NOT EXISTS (SELECT 1 FROM instruments i WHERE i.symbol_id = b.symbol_id AND NOT i.tradable);

-- ------------------------------------------------------ I7: what was sent was intended, and no more of it

-- name: i7_sent_without_sending
SELECT cid, state || ' but never SENDING'
FROM outbox WHERE attempts = 0 AND state NOT IN ('NEW', 'STALE', 'DENIED');

-- name: i7_never_sent_yet_attempted
SELECT cid, state || ' after ' || attempts || ' attempts'
FROM outbox WHERE attempts > 0 AND state IN ('NEW', 'STALE', 'DENIED');

-- name: i7_filled_unsent
SELECT f.exec_id, 'a fill for an order that was never sent'
FROM fills f LEFT JOIN outbox x USING (symbol_id, intent)
WHERE ifnull(x.attempts, 0) = 0 AND f.purpose <> 'restate';

-- name: i7_entry_beyond_decision
SELECT o.cid, 'entry of ' || o.qty || ', decided ' || ifnull(d.qty, 'nothing')
FROM orders o
LEFT JOIN decisions d ON d.ts_ms = o.ts_ms AND d.symbol_id = o.symbol_id AND d.intent = o.intent
WHERE o.purpose = 'entry' AND o.qty IS NOT d.qty;

-- ------------------------------------------------------------------------------------- I8: no exit beyond zero

-- An order that a replace names is counted once: as itself while the replace is only asked for, then as the replace.
-- Orders older than an adjustment are of another position: they are being changed, or a human was called.
-- name: i8_reduce_beyond_position
SELECT 'symbol_id ' || o.symbol_id, 'live exits of ' || sum(o.qty - o.filled_qty) || ', held ' || ifnull(p.qty, 0)
FROM orders o
JOIN outbox x USING (symbol_id, intent)
LEFT JOIN positions p USING (symbol_id)
WHERE o.purpose <> 'entry' AND x.state IN ('SENDING', 'UNKNOWN', 'ACKED', 'PARTIAL')
    AND NOT (x.kind = 'replace' AND x.state IN ('SENDING', 'UNKNOWN'))
    AND NOT EXISTS (
        SELECT 1 FROM outbox r
        WHERE r.symbol_id = o.symbol_id AND r.kind = 'replace' AND r.ref_intent = o.intent
            AND r.state IN ('ACKED', 'PARTIAL')
    )
    AND NOT EXISTS (
        SELECT 1 FROM inputs a WHERE a.kind = 'adjust' AND a.symbol_id = o.symbol_id AND a.seq > x.created_seq
    )
GROUP BY o.symbol_id
HAVING sum(o.qty - o.filled_qty) > ifnull(p.qty, 0);

-- name: i8_exit_flips
SELECT exec_id, 'an exit turned ' || (held - moved) || ' into ' || held
FROM (
    SELECT exec_id, purpose, moved, sum(moved) OVER (PARTITION BY symbol_id ORDER BY id) AS held
    FROM (
        SELECT id, symbol_id, exec_id, purpose,
            iif(side = 'buy', qty, -qty) - iif((side = 'buy') = (purpose = 'entry'), fee_lots, -fee_lots) AS moved
        FROM fills
    )
)
WHERE purpose NOT IN ('entry', 'restate') AND held * (held - moved) < 0;

-- -------------------------------------------------------------------------- I10: machines move by their table

-- name: i10_impossible_move
SELECT 'transition ' || seq || '/' || n, before || ' -> ' || after || ' (' || cause || ')'
FROM transitions
WHERE symbol_id >= 0
    AND NOT (before = after AND cause IN ('halt', 'resume'))
    AND NOT (before = 'FLAT' AND after = 'OPEN' AND cause IN ('late_fill', 'adjusted', 'stopped', 'closed')) -- the latter: of an exit that was over
    AND (before, after) NOT IN (VALUES
        ('FLAT', 'ENTERING'), ('ENTERING', 'FLAT'), ('ENTERING', 'OPEN'), ('ENTERING', 'EXITING'),
        ('OPEN', 'EXITING'), ('OPEN', 'FLAT'), ('EXITING', 'FLAT'), ('EXITING', 'OPEN'));

-- name: i10_portfolio_move
SELECT 'transition ' || seq || '/' || n, before || ' -> ' || after || ' (' || cause || ')'
FROM transitions
WHERE symbol_id < 0
    AND (before, after) NOT IN (VALUES ('unblocked', 'blocked'), ('blocked', 'unblocked'));

-- name: i10_broken_chain
SELECT 'transition ' || seq || '/' || n, 'leaves ' || before || ', the machine was ' || stood
FROM (
    SELECT seq, n, before, lag(after, 1, 'FLAT') OVER (PARTITION BY symbol_id ORDER BY seq, n) AS stood
    FROM transitions WHERE symbol_id >= 0
)
WHERE before <> stood;

-- name: i10_phase_of_position
SELECT 'symbol_id ' || i.symbol_id,
    'position says ' || ifnull(p.phase, 'FLAT') || ', transitions ' || ifnull(t.after, 'FLAT')
FROM instruments i
LEFT JOIN positions p USING (symbol_id)
LEFT JOIN (
    SELECT symbol_id, after, row_number() OVER (PARTITION BY symbol_id ORDER BY seq DESC, n DESC) AS age
    FROM transitions
) t ON t.symbol_id = i.symbol_id AND t.age = 1
WHERE ifnull(p.phase, 'FLAT') <> ifnull(t.after, 'FLAT');

-- name: i10_flat_means_nothing
SELECT 'symbol_id ' || p.symbol_id, p.phase || ' with ' || p.qty || ' held and ' || count(x.id) || ' live orders'
FROM positions p
LEFT JOIN outbox x ON x.symbol_id = p.symbol_id AND x.kind <> 'cancel'
    AND x.state IN ('NEW', 'SENDING', 'UNKNOWN', 'ACKED', 'PARTIAL')
GROUP BY p.symbol_id
HAVING (p.phase = 'FLAT') <> (p.qty = 0 AND count(x.id) = 0) OR (p.phase = 'OPEN' AND p.qty = 0);
