"""The settings, section by section: types and bounds here, defaults and words in etc/avwapd.toml.

Whoever needs a value reads `config.gates.open_delay_min`; nothing can be set after loading.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated as A

from avwapd.config.kinds import (
    TIMEFRAME_MS,
    Choice,
    Flag,
    Instant,
    List,
    Moment,
    Number,
    Speed,
    Table,
    Text,
    Whole,
)
from avwapd.core.codes import ANCHORS, CHOSEN_SETUPS, DAILY_ANCHORS

# Above every setting, compiled in: what no configuration can raise.
CEILING_ORDER_NOTIONAL: Mapping[str, float] = {
    "USD": 1e6,
    "BTC": 20.0,
    "ETH": 400.0,
}  # in the equity currency
CEILING_GROSS_FRACTION = 2.0  # all positions over equity
CEILING_ENTRIES_DAY = 10_000
CEILING_ORDERS_MINUTE = 600

MODES = ("dry-run", "sim", "paper", "live")
MARKETS = ("archive", "demo")
PRICE_SOURCES = ("hlc3", "ohlc4", "close")
ENTRY_TYPES = ("limit", "market")
SIZINGS = ("volatility_proxy", "risk_per_trade")
CURRENCIES = tuple(CEILING_ORDER_NOTIONAL)
MAX_LINES = 8  # anchored lines a symbol
ADJUSTMENTS = ("splits_and_dividends", "splits", "none")
MAX_SCAN_ANCHORS = 32

SYMBOL = Text(r"[A-Za-z0-9](?:[A-Za-z0-9_/:-]|\.(?!\.)){0,39}", "a symbol like AAPL or BTC/USDT")
NAME = Text(r"[a-z0-9][a-z0-9_-]{0,31}", "a short name of a-z, 0-9, - and _")
EXCHANGE = Text(r"(?:[A-Za-z0-9][A-Za-z0-9_-]{0,31})?", "a short name of letters, digits, - and _, or empty")
VENUE = Text(
    r"inline|unix:[^\0\s]{1,107}|tcp:[A-Za-z0-9.:\[\]-]{1,253}:[0-9]{1,5}",
    "inline, unix:PATH or tcp:HOST:PORT",
)

VENUE_NAME = Text(r"[a-z0-9][a-z0-9_-]{0,31}", "embedded, alpaca, or an exchange's name as ccxt has it")
ADDRESS = Text(r"(?:(?:https?|wss?)://[^\s]{1,300})?", "an http(s) or ws(s) address, or empty")
OPTIONAL_SYMBOL = Text(r"(?:[A-Za-z0-9](?:[A-Za-z0-9_/:-]|\.(?!\.)){0,39})?", "a symbol like SPY, or empty")
EVENTS = ("start", "stop", "gate", "fill", "halt", "unprotected", "kill", "health", "verify", "alert", "daily")
GROUP = Text(r"(?:[A-Za-z_][A-Za-z0-9_.-]{0,31})?", "a group's name, or empty")
LARGEST_UID = 4_294_967_294
FOREIGN = ("alert", "adopt", "flatten")

Switch = A[bool, Flag()]
Fraction = A[float, Number(0, 1, "fraction of 1")]
Percent = A[float, Number(0, 100, "percent")]
Bps = A[float, Number(0, 1000, "basis points")]
Factor = A[float, Number(0.5, 1, "factor")]
Minutes = A[float, Number(0, 1440, "minutes")]
Seconds = A[float, Number(0, 86_400, "seconds")]
Money = A[float, Number(0, 1e12, "in the equity currency")]
Weight = A[float, Number(-1e6, 1e6, "points")]
Bound = A[int, Whole(1, 1_000_000, "items")]
AnchorWord = Choice(ANCHORS[1:])
ScanAnchorWord = Choice(DAILY_ANCHORS[1:])
Days = A[int, Whole(1, 2000, "daily bars")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    mode: A[str, Choice(MODES)]
    account: A[str, NAME]
    strategy: A[str, NAME]
    seed: A[int, Whole(0, 2**31 - 1, "seed")]
    market: A[str, Choice(MARKETS)]
    exchange: A[str, EXCHANGE]
    timeframe: A[str, Choice(tuple(TIMEFRAME_MS))]
    symbols: A[tuple[str, ...], List(SYMBOL, 20_000)]
    speed: A[float, Speed()]
    window_from: A[int | None, Moment()]
    window_to: A[int | None, Moment(end=True)]
    warmup_sessions: A[int, Whole(0, 10_000, "sessions")]
    grace_ms: A[int, Whole(0, 600_000, "milliseconds")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    setup: A[str, Choice(CHOSEN_SETUPS)]
    allow_long: Switch
    allow_short: Switch
    require_cross: Switch
    hold_closes: A[int, Whole(1, 100, "closes")]
    pullback_sigma: A[float, Number(0, 100, "sigmas")]
    pinch_pct: Percent
    pinch_closes: A[int, Whole(1, 100, "closes")]
    price_source: A[str, Choice(PRICE_SOURCES)]
    min_bars: A[int, Whole(1, 100_000, "bars")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchors:
    level: A[str, AnchorWord]
    extra: A[tuple[str, ...], List(AnchorWord, MAX_LINES)]
    swing_k: A[int, Whole(1, 8, "bars")]
    user: A[Mapping[str, tuple[int, ...]], Table(SYMBOL, List(Instant(), MAX_LINES), 20_000)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    open_delay_min: Minutes
    settle_min: Minutes
    last_entry_min: Minutes
    shortest_entry_delay_s: Seconds
    longest_entry_delay_s: Seconds
    confirmation_age_min: Minutes
    cooldown: Switch
    cooldown_min: A[float, Number(0, 43_200, "minutes")]
    entries_per_symbol_day: A[int, Whole(1, 1000, "entries")]
    volume_ratio: A[float, Number(0, 100, "ratio")]
    max_distance_pct: Percent
    min_slope_fraction: A[float, Number(-1, 1, "fraction of the level")]
    slope_bars: A[int, Whole(1, 7, "bars")]
    max_drift_pct: Percent
    max_missing_bars_1m: A[int, Whole(0, 1440, "bars")]
    max_missing_bars: A[int, Whole(0, 1440, "bars")]
    regime_index: A[str, OPTIONAL_SYMBOL]
    regime_fail_open: Switch
    earnings: Switch
    earnings_days: A[int, Whole(0, 60, "calendar days")]
    bad_tickers: Switch


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    allow: A[tuple[str, ...], List(SYMBOL, 20_000)]
    arm_hours: A[float, Number(0, 168, "hours")]
    first_live: Switch
    first_symbol: A[str, OPTIONAL_SYMBOL]
    max_entries_day: A[int, Whole(0, CEILING_ENTRIES_DAY, "entries")]
    max_positions: A[int, Whole(0, 100_000, "positions")]
    max_gross_notional: Money
    max_symbol_notional: Money
    min_position: Money
    first_max_entries_day: A[int, Whole(0, CEILING_ENTRIES_DAY, "entries")]
    first_max_positions: A[int, Whole(0, 100_000, "positions")]
    first_max_gross_notional: Money
    first_max_symbol_notional: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    entry_type: A[str, Choice(ENTRY_TYPES)]
    limit_offset_bps: Bps
    fresh_ms: A[int, Whole(1, 86_400_000, "milliseconds")]
    answer_limit_ms: A[int, Whole(1, 600_000, "milliseconds")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    swing_low_factor: Factor
    avwap_stop_factor: Factor
    percent_stop_factor: Factor
    atr_stop_multiple: A[float, Number(0, 100, "ATRs")]
    buffer_usd: A[float, Number(0, 1e6, "USD")]
    buffer_bps: Bps
    guard_pct: Percent
    guard_min: Minutes
    guard_bars: A[int, Whole(0, 10_000, "bars")]
    open_noise_min: Minutes
    early_trend_min: Minutes
    close_protect_min: Minutes
    structure_bars: A[int, Whole(1, 10_000, "five-minute bars")]
    trail_pct: A[float, Number(0.01, 99, "percent")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    r1_multiple: A[float, Number(0.01, 1000, "R")]
    r2_multiple: A[float, Number(0.01, 1000, "R")]
    r1_fraction: Fraction
    breakeven_after_r1: Switch
    invalidation: Switch
    invalidation_pct: Percent
    time_stop_sessions: A[int, Whole(0, 100_000, "sessions")]
    min_hold_s: Seconds
    flatten_before_close: Switch
    flatten_before_close_min: Minutes


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    method: A[str, Choice(SIZINGS)]
    proxy_fraction: Fraction
    proxy_floor_fraction: Fraction
    proxy_full_pct: A[float, Number(0.01, 1000, "percent")]
    max_position_fraction: A[float, Number(0, CEILING_GROSS_FRACTION, "fraction of equity")]
    risk_fraction: Fraction
    limit_risk_per_share: Switch
    max_risk_per_share_usd: A[float, Number(0.000001, 1e6, "USD")]
    min_position: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    max_positions: A[int, Whole(0, 100_000, "positions")]
    max_gross_fraction: A[float, Number(0, CEILING_GROSS_FRACTION, "fraction of equity")]
    max_symbol_notional: Money
    max_gross_notional: Money
    max_entries_day: A[int, Whole(0, CEILING_ENTRIES_DAY, "entries")]
    drawdown_block_fraction: Fraction
    daily_loss_block_fraction: Fraction
    drawdown_sessions: A[int, Whole(1, 100_000, "sessions")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fills:
    slippage_bps: Bps
    commission_usd: A[float, Number(0, 1e6, "USD")]
    commission_bps: Bps
    volume_share: A[float, Number(0.000001, 1, "fraction of 1")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Equity:
    currency: A[str, Choice(CURRENCIES)]
    start: A[
        Mapping[str, float],
        Table(Text("[A-Z]{2,10}", "a currency like USD"), Number(1e-6, 1e12, "money"), 32),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Queues:
    bars: Bound
    symbols: Bound
    writer: Bound
    router: Bound
    control: Bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    allowed: Switch


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    venue: A[str, VENUE]
    answer_delay_ms: A[int, Whole(0, 60_000, "milliseconds")]
    loss_fraction: A[float, Number(0, 0.99, "fraction of 1")]
    duplication_fraction: Fraction
    refuses_duplicates: Switch
    market_clock: A[str, Choice(("feed", "venue"))]
    settling_ms: A[int, Whole(0, 600_000, "milliseconds")]


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueSettings:
    name: A[str, VENUE_NAME]
    address: A[str, ADDRESS]
    stream_address: A[str, ADDRESS]
    data_address: A[str, ADDRESS]
    data_stream_address: A[str, ADDRESS]
    speed: A[float, Number(0.001, 100_000, "market seconds in a second")]
    settling_ms: A[int, Whole(0, 3_600_000, "milliseconds")]
    threads: A[int, Whole(2, 64, "threads")]
    calls_minute: A[int, Whole(10, 100_000, "calls")]
    reserve_calls: A[int, Whole(0, 10_000, "calls")]
    breaker_failures: A[int, Whole(1, 1000, "failures in a row")]
    breaker_rest_ms: A[int, Whole(100, 3_600_000, "milliseconds")]
    reconnects_minute: A[int, Whole(1, 600, "connections")]
    skew_limit_ms: A[int, Whole(1, 600_000, "milliseconds")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    kind: A[str, Choice(("stream", "rest"))]
    plan: A[str, Choice(("iex", "sip"))]
    stale_bars: A[int, Whole(1, 100, "bars")]
    confirm_silence: Switch
    ask_limit_ms: A[int, Whole(100, 600_000, "milliseconds")]
    min_volume_share: Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconcile:
    every_s: A[float, Number(1, 3600, "seconds")]
    on_foreign: A[str, Choice(FOREIGN)]
    settle_s: A[float, Number(0, 3600, "seconds")]
    naked_limit_s: A[float, Number(0.1, 3600, "seconds")]
    cash_tolerance: A[float, Number(0, 1e9, "in the equity currency")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    level: A[str, Choice(("debug", "info", "warning", "error"))]
    format: A[str, Choice(("auto", "text", "json", "journal"))]
    lines_s: A[int, Whole(1, 100_000, "lines a second")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    interval_ms: A[int, Whole(10, 60_000, "milliseconds")]
    stall_after_ms: A[int, Whole(100, 600_000, "milliseconds")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    warn_lag_s: Seconds
    fail_lag_s: Seconds
    warn_bars: A[int, Whole(1, 1000, "bars")]
    fail_bars: A[int, Whole(1, 1000, "bars")]
    clean_bars: A[int, Whole(1, 1000, "bars")]
    warn_reconcile_s: Seconds
    fail_reconcile_s: Seconds
    warn_wal_mb: A[int, Whole(1, 100_000, "MB")]
    fail_wal_mb: A[int, Whole(1, 100_000, "MB")]
    warn_disk_mb: A[int, Whole(0, 10_000_000, "MB")]
    fail_disk_mb: A[int, Whole(0, 10_000_000, "MB")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    ballast_mb: A[int, Whole(0, 10_000, "MB")]
    beats_days: A[int, Whole(1, 10_000, "days")]
    daily_files_days: A[int, Whole(1, 10_000, "days")]
    notices_days: A[int, Whole(1, 10_000, "days")]
    backups: A[int, Whole(1, 10_000, "backups")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    act_uids: A[tuple[int, ...], List(Whole(0, LARGEST_UID, "a user's number"), 100)]
    read_uids: A[tuple[int, ...], List(Whole(0, LARGEST_UID, "a user's number"), 100)]
    group: A[str, GROUP]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    port: A[int, Whole(0, 65_535, "TCP port")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify:
    events: A[tuple[str, ...], List(Choice(EVENTS), len(EVENTS))]
    per_hour: A[int, Whole(1, 10_000, "messages")]
    limit_s: A[float, Number(0.1, 600, "seconds")]
    give_up_hours: A[float, Number(0.01, 720, "hours")]
    ping_every_s: A[float, Number(1, 86_400, "seconds")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    exchange: A[str, EXCHANGE]
    index: A[str, SYMBOL]
    adjust: A[str, Choice(ADJUSTMENTS)]
    allow_long: Switch
    allow_short: Switch
    window_bars: A[int, Whole(100, 2000, "daily bars")]
    listing_gap_sessions: A[int, Whole(1, 10_000, "sessions")]
    outlier_pct: A[float, Number(1, 10_000, "percent")]
    stale_fraction: Fraction
    bad_tickers: A[tuple[str, ...], List(SYMBOL, 20_000)]
    sector_funds: A[Mapping[str, str], Table(Text(r"[^\0\n]{1,64}", "a sector's name"), SYMBOL, 64)]
    # step 1: universe
    min_price_usd: Money
    min_volume: A[float, Number(0, 1e12, "shares")]
    min_dollar_volume_usd: Money
    volume_days: Days
    top_sectors: A[int, Whole(1, 64, "sectors")]
    max_symbols: A[int, Whole(1, 100_000, "symbols")]
    # steps 2 to 4: regime, earnings, history, weeks
    regime: Switch
    regime_days: Days
    earnings: Switch
    earnings_days: A[int, Whole(0, 60, "calendar days")]
    min_bars: Days
    weekly_min_days: Days
    weekly_fast_weeks: A[int, Whole(1, 400, "weeks")]
    weekly_slow_weeks: A[int, Whole(1, 400, "weeks")]
    # steps 5 and 6: trend and volatility
    fast_days: Days
    slow_days: Days
    trend_slope_days: Days
    atr_days: Days
    adx_days: Days
    min_atr_usd: Money
    max_atr_pct: Percent
    atr_median_days: Days
    atr_median_factor: A[float, Number(0, 100, "factor")]
    score_slope_weight: Weight
    score_adx_weight: Weight
    score_atr_weight: Weight
    # step 7: anchors
    anchors: A[Mapping[str, int], Table(ScanAnchorWord, Whole(0, 1_000_000, "priority"), MAX_SCAN_ANCHORS)]
    anchor_days: Days
    year_days: Days
    gap_pct: Percent
    breakout_volume_factor: A[float, Number(0, 1000, "factor")]
    breakout_volume_days: Days
    breakout_range_fraction: Fraction
    breakout_high_days: Days
    swing_days: Days
    swing_k: A[int, Whole(1, 60, "bars")]
    avwap_slope_bars: Days
    min_slope_fraction: A[float, Number(-1, 1, "fraction of the line")]
    max_short_slope_fraction: A[float, Number(-1, 1, "fraction of the line")]
    max_distance_pct: Percent
    trend_weight: Weight
    near_bonus: Weight
    near_low_pct: Percent
    near_high_pct: Percent
    reclaim_bonus: Weight
    confluence_pct: Percent
    pinch_pct: Percent
    # step 8: levels; the stop's other factors are those of [stop]
    stop_swing_days: Days
    floor_days: Days
    # labels and file
    control_pct: Percent
    acceptance_closes: Days
    balanced_pct: Percent
    extended_pct: Percent
    gap_reset_days: Days
    sector_days: Days
    composite_rank: Switch
    composite_trend_weight: Weight
    composite_distance_weight: Weight
    composite_slope_weight: Weight
    max_rows: A[int, Whole(1, 100_000, "rows")]
    execute_rows: A[int, Whole(0, 100_000, "rows")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Universe:
    url: A[str, Text(r"(?:https?://[^\s]{1,2000})?", "an http or https address, or empty")]
    max_shrink_fraction: Fraction
    class_shares: A[Mapping[str, str], Table(SYMBOL, SYMBOL, 10_000)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watchlist:
    use: Switch
    required: Switch
    execute_only: Switch


@dataclass(frozen=True, slots=True, kw_only=True)
class Portfolio:
    bell_year_sessions: A[int, Whole(1, 366, "sessions")]
    day_year_sessions: A[int, Whole(1, 366, "sessions")]
    risk_free_fraction: A[float, Number(-0.5, 1, "fraction a year")]
    rolling_sessions: A[int, Whole(1, 10_000, "sessions")]
    rolling_step: A[int, Whole(1, 10_000, "sessions")]
    bootstrap_draws: A[int, Whole(1, 100_000, "draws")]
    bootstrap_block: A[float, Number(1, 10_000, "sessions")]
    random_entry_draws: A[int, Whole(0, 10_000, "backtests")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    run: Run
    signal: Signal
    anchors: Anchors
    gates: Gates
    live: Live
    order: Order
    stop: Stop
    exit: Exit
    size: Size
    caps: Caps
    fills: Fills
    equity: Equity
    queues: Queues
    network: Network
    embedded: Embedded
    venue: VenueSettings
    feed: Feed
    reconcile: Reconcile
    log: Log
    heartbeat: Heartbeat
    health: Health
    disk: Disk
    control: Control
    metrics: Metrics
    notify: Notify
    scan: Scan
    universe: Universe
    watchlist: Watchlist
    portfolio: Portfolio
    origins: Mapping[str, str]  # "gates.open_delay_min" -> the layer it came from
