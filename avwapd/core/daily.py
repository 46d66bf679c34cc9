"""Daily bars of many symbols as the scan sees them, the scan's figures, and what it finds out about a symbol."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

MAX_SCAN_ANCHORS = 32
SIDES = 2  # of a symbol: row 0 is long, row 1 short


class Days(NamedTuple):
    """Raw daily bars of n symbols, symbol after symbol, oldest first.

    offsets: int64 [n + 1], symbol s owns rows offsets[s] to offsets[s + 1]; session: int32 [rows], index into the
    exchange's SESSION table; open, high, low, close, volume: float64 [rows]; price_ratio: float64 [rows], what every
    earlier price is multiplied by once the row's session has opened (splits and dividends, nearly always 1);
    split_ratio: float64 [rows], the same for splits alone; earlier volumes are divided by it.
    """

    offsets: Any
    session: Any
    open: Any
    high: Any
    low: Any
    close: Any
    volume: Any
    price_ratio: Any
    split_ratio: Any


# What prices are adjusted for.
ADJUST_NONE, ADJUST_SPLITS, ADJUST_ALL = 0, 1, 2

# Why a symbol fell out, in the order of the steps.
(
    FELL_NONE,
    FELL_BAD_TICKER,
    FELL_NO_BARS,
    FELL_STALE,
    FELL_PRICE,
    FELL_VOLUME,
    FELL_DOLLAR_VOLUME,
    FELL_SECTOR,
    FELL_CAP,
    FELL_REGIME,
    FELL_EARNINGS,
    FELL_BARS,
    FELL_WEEKS,
    FELL_TREND,
    FELL_ATR,
    FELL_ATR_PCT,
    FELL_ATR_UNKNOWN,
    FELL_ATR_MEDIAN,
    FELL_NO_ANCHOR,
    FELL_WRONG_SIDE,
    FELL_SLOPE,
    FELL_DISTANCE,
    FELL_ROWS,
) = range(23)
FELL_WORDS = (
    "",
    "bad_ticker",
    "no_bars",
    "stale",
    "price",
    "volume",
    "dollar_volume",
    "sector",
    "max_symbols",
    "regime",
    "earnings",
    "min_bars",
    "weekly_alignment",
    "trend",
    "atr",
    "atr_pct",
    "atr_median_unknown",
    "atr_median",
    "no_anchor",
    "wrong_side",
    "avwap_slope",
    "distance",
    "max_rows",
)
FELL_STEPS = (0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 3, 4, 4, 5, 6, 6, 6, 6, 7, 7, 7, 7, 9)

TIER_NONE, TIER_A, TIER_B = 0, 1, 2
TIERS = ("", "A", "B")

SCAN_PARAMS = np.dtype(
    [
        ("adjust", "i8"),
        ("allow_long", "i8"),
        ("allow_short", "i8"),
        ("liquidity", "i8"),  # 0: step 1 is left out
        ("window_bars", "i8"),
        ("listing_gap_sessions", "i8"),
        # step 1
        ("min_price", "f8"),
        ("min_volume", "f8"),
        ("min_dollar_volume", "f8"),
        ("volume_days", "i8"),
        # steps 2 and 4
        ("regime_days", "i8"),
        ("sector_days", "i8"),
        ("min_bars", "i8"),
        ("weekly_min_days", "i8"),
        ("weekly_fast_weeks", "i8"),
        ("weekly_slow_weeks", "i8"),
        # steps 5 and 6
        ("fast_days", "i8"),
        ("slow_days", "i8"),
        ("trend_slope_days", "i8"),
        ("atr_days", "i8"),
        ("adx_days", "i8"),
        ("min_atr", "f8"),
        ("max_atr_pct", "f8"),
        ("atr_median_days", "i8"),
        ("atr_median_factor", "f8"),
        ("score_slope_weight", "f8"),
        ("score_adx_weight", "f8"),
        ("score_atr_weight", "f8"),
        # step 7
        ("anchor_count", "i8"),
        ("anchor_kinds", "i8", (MAX_SCAN_ANCHORS,)),  # highest priority first
        ("anchor_priorities", "f8", (MAX_SCAN_ANCHORS,)),
        ("anchor_days", "i8"),
        ("gap_pct", "f8"),
        ("breakout_volume_factor", "f8"),
        ("breakout_volume_days", "i8"),
        ("breakout_range_fraction", "f8"),
        ("breakout_high_days", "i8"),
        ("swing_days", "i8"),
        ("swing_k", "i8"),
        ("year_days", "i8"),
        ("avwap_slope_bars", "i8"),
        ("min_slope", "f8"),  # long
        ("max_short_slope", "f8"),
        ("max_distance_pct", "f8"),
        ("trend_weight", "f8"),
        ("near_bonus", "f8"),
        ("near_low_pct", "f8"),
        ("near_high_pct", "f8"),
        ("reclaim_bonus", "f8"),
        ("confluence_pct", "f8"),
        ("pinch_pct", "f8"),
        # step 8
        ("stop_swing_days", "i8"),
        ("floor_days", "i8"),
        ("swing_low_factor", "f8"),
        ("avwap_stop_factor", "f8"),
        ("atr_stop_multiple", "f8"),
        ("percent_stop_factor", "f8"),
        # labels
        ("control_pct", "f8"),
        ("acceptance_closes", "i8"),
        ("gap_reset_days", "i8"),
    ]
)

SCAN = np.dtype(
    [
        ("first", "i8"),  # the window's rows of Days
        ("end", "i8"),
        ("begins", "i8"),  # 1: the ticker's listing begins with the window's first bar
        ("reason", "i8"),  # FELL_*, of step 1
        ("value", "f8"),
        ("limit", "f8"),
        ("close", "f8"),
        ("volume", "f8"),  # mean shares a day
        ("dollar_volume", "f8"),
        ("sma_fast", "f8"),
        ("sma_slow", "f8"),
        ("slow_slope_pct", "f8"),
        ("adx", "f8"),
        ("atr", "f8"),
        ("atr_pct", "f8"),
        ("atr_median", "f8"),
        ("trend_score", "f8"),  # of the long side
        # of a symbol that reaches step 7
        ("swing_low", "f8"),
        ("swing_high", "f8"),
        ("floor_low", "f8"),
        ("ceiling_high", "f8"),
        ("r1", "f8"),  # floor pivots; the short side's are s1, s2
        ("r2", "f8"),
        ("s1", "f8"),
        ("s2", "f8"),
        ("vwap", "f8"),
        ("vwap_control", "i8"),  # labels: 1 bullish, -1 bearish, 0 neither
        ("vwap_reclaim", "i8"),
        ("vwap_acceptance", "i8"),
        ("structure", "i8"),
        ("gap_age", "i8"),  # bars since the newest gap, 0 for the last bar's; -1 for none
        ("anchor_count", "i8"),
        ("anchor_kind", "i8", (MAX_SCAN_ANCHORS,)),
        ("anchor_row", "i8", (MAX_SCAN_ANCHORS,)),  # rows of Days
        ("known_row", "i8", (MAX_SCAN_ANCHORS,)),
    ]
)

PICK = np.dtype(
    [
        ("reason", "i8"),  # FELL_*; FELL_NONE for a candidate
        ("value", "f8"),
        ("limit", "f8"),
        ("tier", "i8"),
        ("trend_score", "f8"),  # mirrored for the short side
        ("anchor", "i8"),  # slot in the SCAN record
        ("line", "f8"),
        ("slope", "f8"),  # fraction of the line
        ("distance_pct", "f8"),  # mirrored for the short side
        ("score", "f8"),
        ("confluence", "i8"),
        ("stop", "f8"),
        ("target1", "f8"),
        ("target2", "f8"),
        ("control", "i8"),  # labels: 1 bullish, -1 bearish, 0 neither
        ("reclaim", "i8"),
        ("acceptance", "i8"),
    ]
)


class Work(NamedTuple):
    """Work space for one symbol: its adjusted window, oldest bar first, and its lines.

    session: int32 [window_bars]; open to sorting: float64 [window_bars], spread holding true ranges; lines: float64
    [LINE_FIELDS, MAX_SCAN_ANCHORS], the running lines; starts, knowns: int64 [MAX_SCAN_ANCHORS], where each configured
    kind lies and was known; handoff: float64 [HANDOFF_FIELDS * MAX_SCAN_ANCHORS].
    """

    session: Any
    open: Any
    high: Any
    low: Any
    close: Any
    volume: Any
    spread: Any
    sorting: Any
    lines: Any
    starts: Any
    knowns: Any
    handoff: Any


LINE_FIELDS, HANDOFF_FIELDS = 8, 5


def work_space(window_bars: int) -> Work:
    """Fresh work space; any content will do."""
    return Work(
        session=np.zeros(window_bars, np.int32),
        open=np.zeros(window_bars),
        high=np.zeros(window_bars),
        low=np.zeros(window_bars),
        close=np.zeros(window_bars),
        volume=np.zeros(window_bars),
        spread=np.zeros(window_bars),
        sorting=np.zeros(window_bars),
        lines=np.zeros((LINE_FIELDS, MAX_SCAN_ANCHORS)),
        starts=np.zeros(MAX_SCAN_ANCHORS, np.int64),
        knowns=np.zeros(MAX_SCAN_ANCHORS, np.int64),
        handoff=np.zeros(HANDOFF_FIELDS * MAX_SCAN_ANCHORS),
    )
