"""The core's records: what one bar, instrument, session, machine, order and decision look like in memory.

All are packed little-endian NumPy records that compiled code and plain Python read the same way by field name.
Prices inside orders and fills are integers in the instrument's tick, quantities integers in its lot, money integers in
tick x lot ("units"), so that sums are exact; prices of bars and everything the rules compute with are float64.
Unknown floats are NaN.
"""

from __future__ import annotations

import numpy as np

MAX_ANCHORS = 8
POSITION_ANCHOR = MAX_ANCHORS  # the slot behind the configured ones: the line the open position was taken on
RING_DAYS = 24  # complete days kept for swings, ATR and short means
RING_BARS = 20  # newest session bars kept for confirmed swings (k <= 8)
PROFILE_SESSIONS = 20  # sessions in the volume gate's mean
PROFILE_COLUMNS = PROFILE_SESSIONS + 1  # and the running one

BAR = np.dtype(
    [
        ("ts_ms", "i8"),
        ("symbol", "i4"),
        ("flags", "i4"),
        ("open", "f8"),
        ("high", "f8"),
        ("low", "f8"),
        ("close", "f8"),
        ("volume", "f8"),
    ]
)

SESSION = np.dtype(
    [
        ("open_ms", "i8"),
        ("close_ms", "i8"),
        ("date", "i4"),  # yyyymmdd of the exchange
        ("week", "i4"),  # number of the week, Monday first
        ("month", "i4"),  # yyyymm
        ("year", "i4"),
    ]
)

# A split or dividend of a symbol, from the open of the session at ts_ms on (see core.restate). date: the session's.
ACTION = np.dtype([("ts_ms", "i8"), ("date", "i8"), ("symbol", "i8"), ("price_ratio", "f8"), ("split_ratio", "f8")])

INSTRUMENT = np.dtype(
    [
        ("tick", "f8"),
        ("lot", "f8"),
        ("unit_value", "f8"),  # tick x lot in quote currency
        ("timeframe_ms", "i8"),
        ("min_qty", "i8"),  # lots
        ("min_notional", "f8"),  # quote currency
        ("commission_units", "i8"),  # a trade, in tick x lot
        ("commission_ppm", "i8"),  # of the notional
        ("slippage_ppm", "i8"),
        ("hash", "i8"),  # of exchange, symbol and seed; below 2**31
        ("session_first", "i4"),
        ("session_count", "i4"),
        ("convert_symbol", "i4"),  # -1: quoted in the equity currency; -2: no pair known; else the pair's index
        ("convert_inverse", "i4"),
        ("profile_row", "i4"),  # row of the volume profile, -1 where the market has no bell
        ("asset", "u1"),
        ("bell", "u1"),  # the market has a closing bell
        ("shortable", "u1"),
        ("daily", "u1"),
        ("tradable", "u1"),  # 0: a conversion pair that is only read
        ("pad", "u1", (3,)),
    ]
)

ANCHOR_RULE = np.dtype([("kind", "i4"), ("symbol", "i4"), ("from_ms", "i8"), ("k", "i4"), ("slot", "i4")])

AVWAP = np.dtype(
    [
        ("shift", "f8"),  # the anchor bar's close
        ("weight", "f8"),  # sum of volume
        ("mean", "f8"),  # of typical price minus shift
        ("spread", "f8"),  # sum of volume x squared deviation
        ("anchor_ms", "i8"),  # the anchor bar; 0 = not anchored
        ("known_ms", "i8"),  # the bar at whose close it was known
    ]
)

PARAMS = np.dtype(
    [
        # signal
        ("setup", "i8"),
        ("allow_long", "i8"),
        ("allow_short", "i8"),
        ("require_cross", "i8"),
        ("hold_closes", "i8"),
        ("pullback_sigma", "f8"),
        ("pinch_pct", "f8"),
        ("pinch_closes", "i8"),
        ("pinch_anchor", "i8"),  # the line beside the level's; -1 where the setup is another
        ("level_anchor", "i8"),
        ("anchor_count", "i8"),
        ("price_source", "i8"),  # 0 hlc3, 1 ohlc4, 2 close
        ("uses_ring", "i8"),  # a swing anchor is configured: recent bars are kept
        ("min_bars", "i8"),
        ("max_missing_bars", "i8"),
        # watchlist
        ("watch_use", "i8"),
        ("watch_required", "i8"),
        ("gates_asked", "i8"),  # bits of the outer gates' verdicts that every decision shows
        ("watch_execute_only", "i8"),
        # entry gates
        ("open_delay_ms", "i8"),
        ("settle_ms", "i8"),
        ("last_entry_ms", "i8"),
        ("entry_delay_min_ms", "i8"),
        ("entry_delay_max_ms", "i8"),
        ("confirmation_age_ms", "i8"),
        ("cooldown_ms", "i8"),
        ("entries_per_symbol_day", "i8"),
        ("volume_ratio", "f8"),
        ("max_distance_pct", "f8"),
        ("min_slope", "f8"),
        ("slope_bars", "i8"),
        ("max_drift_pct", "f8"),
        # order
        ("entry_type", "i8"),
        ("limit_offset_bps", "f8"),
        # stop
        ("swing_low_factor", "f8"),
        ("avwap_stop_factor", "f8"),
        ("atr_stop_multiple", "f8"),
        ("percent_stop_factor", "f8"),
        ("stop_buffer_usd", "f8"),
        ("stop_buffer_bps", "f8"),
        ("guard_pct", "f8"),
        ("guard_ms", "i8"),
        ("guard_bars", "i8"),
        ("open_noise_ms", "i8"),
        ("early_trend_ms", "i8"),
        ("close_protect_ms", "i8"),
        ("structure_bars", "i8"),
        ("trail_pct", "f8"),
        # exit
        ("r1_multiple", "f8"),
        ("r2_multiple", "f8"),
        ("r1_fraction", "f8"),
        ("breakeven_after_r1", "i8"),
        ("invalidation_pct", "f8"),  # negative: off
        ("time_stop_sessions", "i8"),
        ("min_hold_ms", "i8"),
        ("flatten_before_close_ms", "i8"),
        # size
        ("sizing", "i8"),  # 0 volatility_proxy, 1 risk_per_trade
        ("proxy_fraction", "f8"),
        ("proxy_floor", "f8"),
        ("proxy_full_pct", "f8"),
        ("max_position_fraction", "f8"),
        ("risk_fraction", "f8"),
        ("max_risk_per_share", "f8"),  # 0: off
        ("min_position", "f8"),  # equity currency, equities
        # caps
        ("start_equity", "f8"),
        ("max_positions", "i8"),
        ("max_gross_fraction", "f8"),
        ("max_symbol_notional", "f8"),  # 0: off
        ("max_gross_notional", "f8"),  # 0: off
        ("max_entries_day", "i8"),
        ("drawdown_block", "f8"),
        ("daily_loss_block", "f8"),
        ("unattended", "i8"),  # 1: blocks end by rule (backtest, replay); 0: a human re-arms
        ("drawdown_sessions", "i8"),
        ("volume_share", "f8"),
        # hard ceilings, filled from constants, never from settings
        ("ceiling_notional", "f8"),
        ("ceiling_gross_fraction", "f8"),
        ("ceiling_entries_day", "i8"),
    ]
)

# A row of the scan's list: what one symbol may be traded on, in the session after the scan's date. Prices are floats
# in quote currency, rounded to cents by the scan; unknown ATR and swings are NaN.
WATCH = np.dtype(
    [
        ("symbol", "i8"),
        ("active", "i8"),  # 0: the symbol has no row; set by the engine
        ("session", "i8"),  # row of the sessions table whose trading it allows; set by the engine
        ("scan_date", "i8"),  # yyyymmdd
        ("side", "i8"),
        ("tier", "i8"),  # 1 is A, 2 is B
        ("execute", "i8"),
        ("level", "f8"),
        ("stop", "f8"),
        ("r1", "f8"),
        ("r2", "f8"),
        ("trend_score", "f8"),
        ("dist_pct", "f8"),
        ("slope", "f8"),  # of the line, a fraction
        ("atr", "f8"),
        ("swing_low", "f8"),
        ("swing_high", "f8"),
    ]
)

SLOT = np.dtype(
    [
        ("qty", "i8"),
        ("filled", "i8"),
        ("limit", "i8"),
        ("stop", "i8"),
        ("intent", "i4"),
        ("status", "u1"),
        ("purpose", "u1"),
        ("side", "i1"),
        ("reason", "u1"),
    ]
)

STATE = np.dtype(
    [
        # machine
        ("phase", "i8"),
        ("halted", "i8"),
        ("outer_closed", "i8"),  # bits of the outer gates that are closed for this symbol alone
        ("side", "i8"),
        ("qty", "i8"),  # lots held, never negative
        ("intent", "i8"),  # the last intent number used
        ("trade", "i8"),  # the running number of the round trip
        ("cash", "i8"),  # units: what all fills brought less fees
        ("entry_cost", "i8"),  # units: price x qty of the entry fills of this trade
        ("entry_qty", "i8"),
        ("entry_ms", "i8"),
        ("entry_session", "i8"),
        ("stop", "i8"),  # wanted protective stop, ticks
        ("initial_stop", "i8"),
        ("r1", "i8"),
        ("r2", "i8"),
        ("best", "i8"),  # best and worst price of the trade so far, ticks
        ("worst", "i8"),
        ("best_close", "f8"),
        ("bars_held", "i8"),
        ("r1_done", "i8"),
        ("trim_qty", "i8"),  # lots to sell once the stop is reduced
        ("trim_reason", "i8"),
        ("exit_wanted", "i8"),
        ("cancel_entry", "i8"),
        ("entry", SLOT),
        ("protect", SLOT),
        ("leave", SLOT),
        ("replaced", SLOT),  # the stop that a pending replace would take over from
        # entry bookkeeping
        ("consumed_date", "i8"),
        ("consumed_count", "i8"),
        ("last_exit_ms", "i8"),
        ("pending_side", "i8"),
        ("pending_ms", "i8"),
        ("pending_due_ms", "i8"),
        ("pending_close", "f8"),
        ("pending_stop", "f8"),
        ("run_long", "i8"),  # closes beyond the level since the cross; -1 = side not yet known
        ("run_short", "i8"),
        # the scan's row: what closes are counted against, and what a position was taken on
        ("on_row", "i8"),  # 1: the runs and the pending confirmation are about the row's level
        ("entry_level", "f8"),  # the constant level of the order or position; NaN where it is a live line
        ("row_swings", "i8"),  # 1: the stop's daily swings are these, 0: those of aggregated days
        ("row_swing_low", "f8"),
        ("row_swing_high", "f8"),
        # time
        ("last_ms", "i8"),
        ("last_close", "f8"),
        ("decided_ms", "i8"),
        ("session", "i8"),  # row of the sessions table
        ("session_before", "i8"),
        ("bars_seen", "i8"),
        ("session_bars", "i8"),
        ("session_volume", "f8"),
        ("profile_at", "i8"),  # slots of the volume profile the running session has written
        ("profile_last", "f8"),
        # the day so far and complete days, newest at day_count-1 modulo RING_DAYS
        ("day_complete", "i8"),
        ("day_open", "f8"),
        ("day_high", "f8"),
        ("day_low", "f8"),
        ("day_close", "f8"),
        ("day_count", "i8"),
        ("day_highs", "f8", (RING_DAYS,)),
        ("day_lows", "f8", (RING_DAYS,)),
        ("day_closes", "f8", (RING_DAYS,)),
        ("day_ranges", "f8", (RING_DAYS,)),  # true ranges
        ("atr", "f8"),
        ("swing_low", "f8"),
        ("swing_high", "f8"),
        ("floor_low", "f8"),  # the lower of SMA5 and the five-day low
        ("ceiling_high", "f8"),
        # five-minute structure of this session
        ("five_ms", "i8"),
        ("five_count", "i8"),
        ("five_low", "f8"),
        ("five_high", "f8"),
        ("five_lows", "f8", (2,)),
        ("five_highs", "f8", (2,)),
        ("structure_low", "f8"),  # newest confirmed five-minute swing low
        ("structure_low_before", "f8"),
        ("structure_high", "f8"),
        ("structure_high_before", "f8"),
        # anchored lines
        ("avwap", AVWAP, (MAX_ANCHORS + 1,)),
        ("slope_ring", "f8", (8,)),
        ("slope_count", "i8"),
        ("position_slot", "i8"),  # which configured line the position was taken on
        ("ring", BAR, (RING_BARS,)),
        ("ring_count", "i8"),
    ],
    align=True,
)

PORTFOLIO = np.dtype(
    [
        ("equity", "f8"),
        ("peak", "f8"),
        ("day_start", "f8"),
        ("session_date", "i8"),
        ("entries_today", "i8"),
        ("drawdown_blocked", "i8"),
        ("drawdown_sessions", "i8"),
        ("daily_blocked", "i8"),
        ("outer_closed", "i8"),  # bits of the outer gates that are closed for everybody
        ("drained", "i8"),  # no new entries: the daemon is draining
        ("restated_ms", "i8"),  # every corporate action up to here is folded
        ("watching", "i8"),  # a list has rows, or is required: entries are asked about theirs
        ("dirty", "i8"),
        ("last_ms", "i8"),
        ("positions", "i8"),
        ("gross", "f8"),
    ]
)

DECISION = np.dtype(
    [
        ("ts_ms", "i8"),
        ("symbol", "i4"),
        ("intent", "i4"),  # of the order this decision made; 0 = none
        ("gates_asked", "u4"),
        ("gates_blocked", "u4"),
        ("signal", "u1"),
        ("skip", "u1"),
        ("exit", "u1"),
        ("setup", "u1"),
        ("phase_before", "u1"),
        ("phase_after", "u1"),
        ("side", "i1"),
        ("flags", "u1"),  # the bar's flags
        ("level", "f8"),  # the AVWAP the rules looked at
        ("qty", "i8"),  # lots ordered, or held
        ("limit", "i8"),  # ticks
        ("stop", "i8"),  # ticks
        ("r1", "i8"),  # ticks
        ("r2", "i8"),  # ticks
    ]
)

EFFECT = np.dtype(
    [
        ("ts_ms", "i8"),
        ("symbol", "i4"),
        ("intent", "i4"),
        ("ref", "i4"),  # the intent that a replace or cancel names
        ("kind", "u1"),
        ("purpose", "u1"),
        ("side", "i1"),
        ("type", "u1"),
        ("qty", "i8"),
        ("limit", "i8"),
        ("stop", "i8"),
        ("reason", "i8"),
    ]
)

TRANSITION = np.dtype(
    [
        ("ts_ms", "i8"),
        ("symbol", "i4"),
        ("before", "u1"),
        ("after", "u1"),
        ("cause", "u1"),
        ("pad", "u1"),
        ("qty", "i8"),
    ]
)

FILL = np.dtype(
    [
        ("ts_ms", "i8"),
        ("symbol", "i4"),
        ("intent", "i4"),
        ("trade", "i4"),
        ("purpose", "u1"),
        ("reason", "u1"),
        ("side", "i1"),
        ("late", "u1"),
        ("qty", "i8"),
        ("price", "i8"),
        ("fee", "i8"),
        ("fee_lots", "i8"),
        ("held", "i8"),  # after this fill
        ("best", "i8"),
        ("worst", "i8"),
        ("initial_stop", "i8"),
    ]
)

REPORT = np.dtype(
    [
        ("ts_ms", "i8"),
        ("symbol", "i4"),
        ("intent", "i4"),
        ("ref", "i4"),
        ("kind", "u1"),
        ("purpose", "u1"),
        ("side", "i1"),
        ("final", "u1"),  # a fill that completes the order
        ("cum_qty", "i8"),
        ("last_qty", "i8"),
        ("price", "i8"),
        ("fee", "i8"),
        ("fee_lots", "i8"),
    ]
)

# A resting order in the simulated book (venue and backtest alike).
RESTING = np.dtype(
    [
        ("seq", "i8"),
        ("qty", "i8"),
        ("filled", "i8"),
        ("limit", "i8"),
        ("stop", "i8"),
        ("intent", "i4"),
        ("symbol", "i4"),
        ("type", "u1"),
        ("purpose", "u1"),
        ("side", "i1"),
        ("live", "u1"),
        ("triggered", "u1"),
        ("charged", "u1"),  # the per-trade commission was taken
        ("pad", "u1", (2,)),
    ]
)
BOOK_SLOTS = 6
BOOK = np.dtype(
    [
        ("seq", "i8"),
        ("count", "i8"),
        ("budget", "i8"),  # lots the running bar still lets trade
        ("orders", RESTING, (BOOK_SLOTS,)),
    ],
    align=True,
)
