"""The small integers that stand for words inside the core, and the words themselves.

Names outside the core (SQL, JSON, CSV) are always the words; the integers never leave a compact record.
"""

from __future__ import annotations

# A symbol's machine.
FLAT, ENTERING, OPEN, EXITING = 0, 1, 2, 3
PHASES = ("FLAT", "ENTERING", "OPEN", "EXITING")

# What a bar row carries besides its numbers (bit set).
BAR_LATE = 1  # closed while the daemon was down: moves state, opens nothing
BAR_MISSING = 2  # the interval passed and the feed failed: a row without a bar
BAR_OUTSIDE = 4  # outside the session: a market_closed row that moves nothing
BAR_WARMUP = 8  # before the run's window: moves state, decides nothing
BAR_CADENCE = 16  # bars before this one were lost while the feed was down
BAR_RETRY = 32  # its failed commit left a note: this row says persist_failed
BAR_SILENT = 64  # the bar came after its fetch_failed row: moves state, adds no second row

# Why a closed bar led to no order.
(
    SKIP_NONE,
    SKIP_NOT_ENOUGH_BARS,
    SKIP_CADENCE_FAILED,
    SKIP_FEATURES_INVALID,
    SKIP_FETCH_FAILED,
    SKIP_PERSIST_FAILED,
    SKIP_MARKET_CLOSED,
    SKIP_HALTED,
    SKIP_NO_SIGNAL,
    SKIP_WAITING,
    SKIP_GATE,
    SKIP_IN_POSITION,
    SKIP_IN_FLIGHT,
    SKIP_OUTRANKED,
) = range(14)
SKIPS = (
    "",
    "not_enough_bars",
    "cadence_failed",
    "features_invalid",
    "fetch_failed",
    "persist_failed",
    "market_closed",
    "halted",
    "no_signal",
    "waiting",
    "gate",
    "in_position",
    "in_flight",
    "outranked",
)

# What the rules want at this bar.
SIGNAL_NONE, SIGNAL_SETUP, SIGNAL_CONFIRMED, SIGNAL_PENDING, SIGNAL_ENTRY = 0, 1, 2, 3, 4
SIGNALS = ("none", "setup", "confirmed", "pending", "entry")

SETUP_NONE, SETUP_BREAKOUT_HOLD, SETUP_RECLAIM, SETUP_PULLBACK, SETUP_PINCH, SETUP_SCAN = range(6)
SETUPS = ("", "breakout_hold", "reclaim", "pullback", "pinch", "scan")
CHOSEN_SETUPS = SETUPS[SETUP_BREAKOUT_HOLD:SETUP_SCAN]  # scan: a daily close that its own list confirms

# Gates, in the order in which the first that blocked is named.
(
    GATE_KILL_SWITCH,
    GATE_LIVE,
    GATE_HALTED,
    GATE_MARKET_CLOSED,
    GATE_LATE,
    GATE_CADENCE,
    GATE_FEATURES,
    GATE_WATCHLIST_ABSENT,
    GATE_WATCHLIST_STALE,
    GATE_REGIME,
    GATE_EARNINGS,
    GATE_OPEN_DELAY,
    GATE_SETTLE,
    GATE_LAST_ENTRY,
    GATE_CONSUMED,
    GATE_COOLDOWN,
    GATE_VOLUME,
    GATE_DISTANCE,
    GATE_SLOPE,
    GATE_DELAY,
    GATE_NOT_SHORTABLE,
    GATE_DRAWDOWN,
    GATE_DAILY_LOSS,
    GATE_NO_CONVERSION,
    GATE_STOP_INVALID,
    GATE_RISK_PER_SHARE,
    GATE_CAP_ENTRIES,
    GATE_CAP_POSITIONS,
    GATE_CAP_GROSS,
    GATE_CAP_SYMBOL,
    GATE_BELOW_MINIMUM,
    GATE_BAD_TICKER,
) = range(32)
GATES = (
    "kill_switch",
    "live",
    "halted",
    "market_closed",
    "late",
    "cadence",
    "features",
    "not_on_watchlist",
    "watchlist_stale",
    "regime",
    "earnings",
    "open_delay",
    "settle",
    "last_entry",
    "entry_consumed",
    "cooldown",
    "volume",
    "distance",
    "slope",
    "entry_delay",
    "not_shortable",
    "drawdown",
    "daily_loss",
    "no_conversion",
    "stop_invalid",
    "risk_per_share",
    "cap_entries",
    "cap_positions",
    "cap_gross",
    "cap_symbol",
    "below_minimum",
    "bad_ticker",
)

# Why a position is left; also the `reason` of the order that leaves it.
(
    EXIT_NONE,
    EXIT_STOP,
    EXIT_R1,
    EXIT_R2,
    EXIT_INVALIDATION,
    EXIT_TIME,
    EXIT_FLATTEN,
    EXIT_GAP,
    EXIT_OPERATOR,
    EXIT_DUST,
) = range(10)
EXITS = ("", "stop", "r1", "r2", "invalidation", "time_stop", "flatten", "beyond_stop", "operator", "dust")

# What an effect asks of the venue.
SUBMIT, REPLACE, CANCEL = 1, 2, 3
EFFECTS = ("", "submit", "replace", "cancel")
# A restatement is no order: a split changes what is held, at price 0; what no order can sell is written off; a
# position follows what was done at the venue by other hands.
PURPOSE_ENTRY, PURPOSE_STOP, PURPOSE_TRIM, PURPOSE_EXIT, PURPOSE_RESTATE = 1, 2, 3, 4, 5
PURPOSES = ("", "entry", "stop", "trim", "exit", "restate")
MARKET, LIMIT, STOP = 1, 2, 3
ORDER_TYPES = ("", "market", "limit", "stop")

# The venue's word about an order.
ACKED, FILLED, CANCELED, REJECTED, EXPIRED, REPLACED, CANCEL_REFUSED = 1, 2, 3, 4, 5, 6, 7
REPORTS = ("", "acked", "filled", "canceled", "rejected", "expired", "replaced", "cancel_refused")

# A live order's slot inside a symbol's state.
SLOT_EMPTY, SLOT_PENDING, SLOT_LIVE, SLOT_CANCELING = 0, 1, 2, 3

# What moved a machine (the cause of a transition row).
(
    CAUSE_NONE,
    CAUSE_ORDERED,
    CAUSE_FILLED,
    CAUSE_PART_FILLED,
    CAUSE_UNFILLED,
    CAUSE_REJECTED,
    CAUSE_STOPPED,
    CAUSE_EXIT,
    CAUSE_CLOSED,
    CAUSE_LATE_FILL,
    CAUSE_EXIT_REFUSED,
    CAUSE_BLOCK_DRAWDOWN,
    CAUSE_BLOCK_DAILY_LOSS,
    CAUSE_UNBLOCK,
    CAUSE_HALT,
    CAUSE_RESUME,
    CAUSE_ADJUSTED,
) = range(17)
CAUSES = (
    "",
    "ordered",
    "filled",
    "part_filled",
    "unfilled",
    "rejected",
    "stopped",
    "exit",
    "closed",
    "late_fill",
    "exit_refused",
    "block_drawdown",
    "block_daily_loss",
    "unblock",
    "halt",
    "resume",
    "adjusted",
)

# Operator acts that reach a machine.
ACT_HALT, ACT_RESUME, ACT_FLATTEN, ACT_REARM, ACT_DRAIN = 1, 2, 3, 4, 5
ACTS = ("", "halt", "resume", "flatten", "rearm", "drain")

# Gates whose verdict comes from outside the engine, of all symbols or of one. They close and open by acts, so a replay
# meets them where the run did. A decision shows the first, the watchlist and the last three under names of their own,
# all others as `live`.
(
    OUTER_KILL_SWITCH,
    OUTER_MODE,
    OUTER_ARMING,
    OUTER_ALLOW_LIST,
    OUTER_FIRST_LIVE,
    OUTER_WATCHLIST,
    OUTER_VENUE_CLOCK,
    OUTER_VENUE,
    OUTER_BOOKS,
    OUTER_DATA,
    OUTER_CLOCK_SKEW,
    OUTER_EXIT_ONLY,
    OUTER_ALERTS,
    OUTER_LEDGER,
    OUTER_DISK,
    OUTER_LIMITS,
    OUTER_REGIME,
    OUTER_EARNINGS,
    OUTER_BAD_TICKER,
) = range(19)
OUTER_GATES = (
    "kill_switch",
    "mode",
    "arming",
    "allow_list",
    "first_live",
    "watchlist",
    "venue_clock",
    "venue",
    "books",
    "data",
    "clock_skew",
    "exit_only",
    "alerts",
    "ledger",
    "disk",
    "limits",
    "regime",
    "earnings",
    "bad_ticker",
)
ACT_GATE = 64  # + an outer gate: it closes (freeze) or opens
GATE_WORD = "gate:"


def act_word(kind: int) -> str:
    """What an act is called in the journal."""
    return GATE_WORD + OUTER_GATES[kind - ACT_GATE] if kind >= ACT_GATE else ACTS[kind]


def act_kind(word: str) -> int:
    """The act of a word in the journal; raises ValueError for one that is none."""
    if word.startswith(GATE_WORD):
        return ACT_GATE + OUTER_GATES.index(word.removeprefix(GATE_WORD))
    return ACTS.index(word)


# Anchor kinds of the intraday engine.
(
    ANCHOR_NONE,
    ANCHOR_SESSION,
    ANCHOR_WEEK,
    ANCHOR_MONTH,
    ANCHOR_YEAR,
    ANCHOR_USER,
    ANCHOR_SWING_LOW,
    ANCHOR_SWING_HIGH,
    ANCHOR_QUARTER,
) = range(9)
ANCHORS = ("", "session", "week", "month", "year", "user", "swing_low", "swing_high", "quarter")

# Anchor kinds of the daily scan: the six of its default rules first.
(
    DAILY_NONE,
    DAILY_YTD,
    DAILY_GAP,
    DAILY_VOL_BREAKOUT,
    DAILY_MTD,
    DAILY_SWING_LOW,
    DAILY_SWING_HIGH,
    DAILY_QTD,
    DAILY_WTD,
    DAILY_PRIOR_HIGH,
    DAILY_PRIOR_LOW,
    DAILY_YEAR_HIGH,
    DAILY_YEAR_LOW,
    DAILY_CONFIRMED_LOW,
    DAILY_CONFIRMED_HIGH,
    DAILY_EARNINGS,
    DAILY_IPO,
    DAILY_ALL_TIME_HIGH,
    DAILY_HIGHEST_VOLUME,
    DAILY_HANDOFF,
    DAILY_USER,
) = range(21)
DAILY_ANCHORS = (
    "",
    "YTD",
    "Gap",
    "VolBreakout",
    "MTD",
    "SwingLow",
    "SwingHigh",
    "QTD",
    "WTD",
    "PriorSessionHigh",
    "PriorSessionLow",
    "High52w",
    "Low52w",
    "ConfirmedLow",
    "ConfirmedHigh",
    "Earnings",
    "IPO",
    "AllTimeHigh",
    "HighestVolume",
    "Handoff",
    "User",
)

# What the compiled engine returns.
OK, ERROR_TRANSITION, ERROR_CAPACITY, ERROR_OVERFILL, ERROR_UNKNOWN_ORDER, ERROR_ORDER = 0, 1, 2, 3, 4, 5
ERRORS = (
    "",
    "impossible transition",
    "output full",
    "fill beyond the order",
    "report for an unknown order",
    "bars out of order",
)

EQUITY, CRYPTO = 0, 1
ASSETS = ("equity", "crypto")
