"""From settings as people write them to the numbers the core computes with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from avwapd.config.modes import LIVE
from avwapd.config.sections import (
    ADJUSTMENTS,
    CEILING_ENTRIES_DAY,
    CEILING_GROSS_FRACTION,
    CEILING_ORDER_NOTIONAL,
    CEILING_ORDERS_MINUTE,
    ENTRY_TYPES,
    PRICE_SOURCES,
    SIZINGS,
    Config,
)
from avwapd.core.codes import (
    ANCHOR_SWING_HIGH,
    ANCHOR_SWING_LOW,
    ANCHOR_USER,
    ANCHORS,
    DAILY_ANCHORS,
    GATE_BAD_TICKER,
    GATE_EARNINGS,
    GATE_REGIME,
    LIMIT,
    MARKET,
    SETUPS,
)
from avwapd.core.daily import ADJUST_ALL, ADJUST_NONE, ADJUST_SPLITS, MAX_SCAN_ANCHORS, SCAN_PARAMS
from avwapd.core.records import ANCHOR_RULE, PARAMS

__all__ = [
    "CEILING_ENTRIES_DAY",
    "CEILING_GROSS_FRACTION",
    "CEILING_ORDERS_MINUTE",
    "CEILING_ORDER_NOTIONAL",
    "anchor_rules",
    "bind",
    "limit_words",
    "limits_in",
    "live_limits",
    "params",
    "scan_params",
]

MINUTE_MS, DAY_MS = 60_000, 86_400_000
NEVER_MS = 2**53
ORDER_CODES = {"limit": LIMIT, "market": MARKET}
assert set(ORDER_CODES) == set(ENTRY_TYPES)
ADJUST_CODES = {"splits_and_dividends": ADJUST_ALL, "splits": ADJUST_SPLITS, "none": ADJUST_NONE}
assert set(ADJUST_CODES) == set(ADJUSTMENTS)


def params(
    config: Config, *, currency: str, timeframe_ms: int, bell: bool, unattended: bool
) -> np.ndarray[Any, np.dtype[np.void]]:
    """One PARAMS record (shape (1,)) for a run in `currency` on bars of `timeframe_ms`.

    Where no market of the run has a `bell`, or bars are days, whatever goes by the clock of a session is off.
    """
    found = {
        **_signal(config, timeframe_ms),
        **_watchlist(config),
        **(_clock(config) if bell and timeframe_ms < DAY_MS else CLOCKLESS),
        **_gates(config),
        **_stop(config),
        **_exit(config),
        **_size(config),
        **_caps(config, currency),
        "unattended": int(unattended),
    }
    return _filled(PARAMS, found)


def scan_params(config: Config, *, rules_only: bool = False) -> np.ndarray[Any, np.dtype[np.void]]:
    """One SCAN_PARAMS record (shape (1,)); `rules_only`: without liquidity, on raw prices."""
    scan, stop = config.scan, config.stop
    # The highest priority first; of equal ones the anchor whose code is lower.
    kinds = sorted((-priority, DAILY_ANCHORS.index(word)) for word, priority in scan.anchors.items())
    found = {name: getattr(scan, name) for name in SCAN_PARAMS.names or () if hasattr(scan, name)}
    found |= {
        "adjust": ADJUST_NONE if rules_only else ADJUST_CODES[scan.adjust],
        "liquidity": int(not rules_only),
        "min_price": scan.min_price_usd,
        "min_dollar_volume": scan.min_dollar_volume_usd,
        "min_atr": scan.min_atr_usd,
        "anchor_count": len(kinds),
        "anchor_kinds": _padded([kind for _, kind in kinds]),
        "anchor_priorities": _padded([-priority for priority, _ in kinds]),
        "min_slope": scan.min_slope_fraction,
        "max_short_slope": scan.max_short_slope_fraction,
        "swing_low_factor": stop.swing_low_factor,
        "avwap_stop_factor": stop.avwap_stop_factor,
        "atr_stop_multiple": stop.atr_stop_multiple,
        "percent_stop_factor": stop.percent_stop_factor,
    }
    return _filled(SCAN_PARAMS, found)


def _padded(values: list[int]) -> list[int]:
    return values + [0] * (MAX_SCAN_ANCHORS - len(values))


def _filled(dtype: np.dtype[np.void], found: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.void]]:
    record = np.zeros(1, dtype)
    if set(found) != set(dtype.names or ()):
        raise AssertionError(f"parameters that do not fit: {sorted(set(found) ^ set(dtype.names or ()))}")
    for name, value in found.items():
        record[name] = value
    return record


def anchor_rules(config: Config, symbols: Sequence[str]) -> np.ndarray[Any, np.dtype[np.void]]:
    """ANCHOR_RULE records of shape (symbols, lines). Line 0 is the level that entries look at.

    A user's anchor takes as many lines as the symbol with most of them needs; a line without one never
    begins. The core begins a user's line with the first bar that closes after `from_ms`; the user names that
    bar by its close.
    """
    lines = lines_of(config)
    rules = np.zeros((len(symbols), len(lines)), ANCHOR_RULE)
    for row, symbol in enumerate(symbols):
        moments = config.anchors.user.get(symbol, ())
        for slot, (kind, position) in enumerate(lines):
            named = kind == ANCHOR_USER and position < len(moments)
            start = moments[position] - 1 if named else NEVER_MS if kind == ANCHOR_USER else 0
            rules[row, slot] = (kind, row, start, config.anchors.swing_k, slot)
    return rules


def lines_of(config: Config) -> list[tuple[int, int]]:
    """Every line a symbol has: its anchor's kind, and which of the user's moments it begins at."""
    anchors = config.anchors
    longest = max((len(moments) for moments in anchors.user.values()), default=0)
    return [
        (kind, position)
        for kind in map(ANCHORS.index, (anchors.level, *anchors.extra))
        for position in range(longest if kind == ANCHOR_USER else 1)
    ]


def minutes(count: float) -> int:
    return round(count * MINUTE_MS)


def seconds(count: float) -> int:
    return round(count * 1000)


# --------------------------------------------------------------- by section


def _signal(config: Config, timeframe_ms: int) -> dict[str, Any]:
    signal, gates = config.signal, config.gates
    kinds = [kind for kind, _ in lines_of(config)]
    return {
        "setup": SETUPS.index(signal.setup),
        "allow_long": int(signal.allow_long),
        "allow_short": int(signal.allow_short),
        "require_cross": int(signal.require_cross),
        "hold_closes": signal.hold_closes,
        "pullback_sigma": signal.pullback_sigma,
        "pinch_pct": signal.pinch_pct,
        "pinch_closes": signal.pinch_closes,
        "pinch_anchor": 1 if signal.setup == "pinch" else -1,
        "level_anchor": 0,
        "anchor_count": len(kinds),
        "uses_ring": int(ANCHOR_SWING_LOW in kinds or ANCHOR_SWING_HIGH in kinds),
        "price_source": PRICE_SOURCES.index(signal.price_source),
        "min_bars": signal.min_bars,
        "max_missing_bars": gates.max_missing_bars_1m if timeframe_ms == MINUTE_MS else gates.max_missing_bars,
        "entry_type": ORDER_CODES[config.order.entry_type],
        "limit_offset_bps": config.order.limit_offset_bps,
    }


def _watchlist(config: Config) -> dict[str, int]:
    watchlist = config.watchlist
    return {
        "watch_use": int(watchlist.use),
        "watch_required": int(watchlist.required),
        "watch_execute_only": int(watchlist.execute_only),
    }


CLOCKLESS = {
    "open_delay_ms": 0,
    "settle_ms": 0,
    "last_entry_ms": 0,
    "entry_delay_min_ms": 0,
    "entry_delay_max_ms": 0,
    "confirmation_age_ms": NEVER_MS,
    "open_noise_ms": 0,
    "early_trend_ms": 0,
    "close_protect_ms": 0,
    "flatten_before_close_ms": 0,
}


def _clock(config: Config) -> dict[str, int]:
    gates, stop = config.gates, config.stop
    flatten_min = config.exit.flatten_before_close_min if config.exit.flatten_before_close else 0
    return {
        "open_delay_ms": minutes(gates.open_delay_min),
        "settle_ms": minutes(gates.settle_min),
        "last_entry_ms": minutes(gates.last_entry_min),
        "entry_delay_min_ms": seconds(gates.shortest_entry_delay_s),
        "entry_delay_max_ms": seconds(gates.longest_entry_delay_s),
        "confirmation_age_ms": minutes(gates.confirmation_age_min),
        "open_noise_ms": minutes(stop.open_noise_min),
        "early_trend_ms": minutes(stop.early_trend_min),
        "close_protect_ms": minutes(stop.close_protect_min),
        "flatten_before_close_ms": minutes(flatten_min),
    }


def _gates(config: Config) -> dict[str, Any]:
    gates = config.gates
    return {
        "cooldown_ms": minutes(gates.cooldown_min) if gates.cooldown else 0,
        "entries_per_symbol_day": gates.entries_per_symbol_day,
        "volume_ratio": gates.volume_ratio,
        "max_distance_pct": gates.max_distance_pct,
        "min_slope": gates.min_slope_fraction,
        "slope_bars": gates.slope_bars,
        "max_drift_pct": gates.max_drift_pct,
        "gates_asked": asked(config),
    }


def asked(config: Config) -> int:
    """Bits of the verdicts that only some configurations have."""
    gates = config.gates
    wanted = {GATE_REGIME: gates.regime_index, GATE_EARNINGS: gates.earnings, GATE_BAD_TICKER: gates.bad_tickers}
    return sum(1 << gate for gate, on in wanted.items() if on)


def _stop(config: Config) -> dict[str, Any]:
    stop = config.stop
    return {
        "swing_low_factor": stop.swing_low_factor,
        "avwap_stop_factor": stop.avwap_stop_factor,
        "atr_stop_multiple": stop.atr_stop_multiple,
        "percent_stop_factor": stop.percent_stop_factor,
        "stop_buffer_usd": stop.buffer_usd,
        "stop_buffer_bps": stop.buffer_bps,
        "guard_pct": stop.guard_pct,
        "guard_ms": minutes(stop.guard_min),
        "guard_bars": stop.guard_bars,
        "structure_bars": stop.structure_bars,
        "trail_pct": stop.trail_pct,
    }


def _exit(config: Config) -> dict[str, Any]:
    leave = config.exit
    return {
        "r1_multiple": leave.r1_multiple,
        "r2_multiple": leave.r2_multiple,
        "r1_fraction": leave.r1_fraction,
        "breakeven_after_r1": int(leave.breakeven_after_r1),
        "invalidation_pct": leave.invalidation_pct if leave.invalidation else -1.0,
        "time_stop_sessions": leave.time_stop_sessions,
        "min_hold_ms": seconds(leave.min_hold_s),
    }


def _size(config: Config) -> dict[str, Any]:
    size = config.size
    return {
        "sizing": SIZINGS.index(size.method),
        "proxy_fraction": size.proxy_fraction,
        "proxy_floor": size.proxy_floor_fraction,
        "proxy_full_pct": size.proxy_full_pct,
        "max_position_fraction": size.max_position_fraction,
        "risk_fraction": size.risk_fraction,
        "max_risk_per_share": size.max_risk_per_share_usd if size.limit_risk_per_share else 0.0,
        "min_position": size.min_position,
    }


def _caps(config: Config, currency: str) -> dict[str, Any]:
    caps = config.caps
    return {
        "start_equity": config.equity.start[currency],
        "max_positions": caps.max_positions,
        "max_gross_fraction": caps.max_gross_fraction,
        "max_symbol_notional": caps.max_symbol_notional,
        "max_gross_notional": caps.max_gross_notional,
        "max_entries_day": caps.max_entries_day,
        "drawdown_block": caps.drawdown_block_fraction,
        "daily_loss_block": caps.daily_loss_block_fraction,
        "drawdown_sessions": caps.drawdown_sessions,
        "volume_share": config.fills.volume_share,
        "ceiling_notional": CEILING_ORDER_NOTIONAL[currency],
        "ceiling_gross_fraction": CEILING_GROSS_FRACTION,
        "ceiling_entries_day": CEILING_ENTRIES_DAY,
    }


# ----------------------------------------------------------------------------------------------- limits of mode live

LIMITED = ("max_positions", "max_entries_day", "max_gross_notional", "max_symbol_notional")
UNLIMITED_AT_0 = ("max_gross_notional", "max_symbol_notional")  # as [caps] has it
IN_FORCE = "in force: "


def live_limits(config: Config) -> dict[str, float] | None:
    """The [live] limits as they hold now; None in another mode. The first day's never allow more than the others."""
    live = config.live
    if config.run.mode != LIVE:
        return None
    found: dict[str, float] = {name: getattr(live, name) for name in LIMITED}
    if live.first_live:
        found = {name: min(value, getattr(live, f"first_{name}")) for name, value in found.items()}
    return found | {"min_position": live.min_position}


def limit_words(limits: Mapping[str, float]) -> str:
    """Limits as the journal keeps them: in the reason of the act that says they are in force."""
    return IN_FORCE + json.dumps(dict(limits), sort_keys=True)


def limits_in(reason: str) -> dict[str, float] | None:
    """What `limit_words` said; None for another reason. Empty: the configuration's own caps again."""
    if not reason.startswith(IN_FORCE):
        return None
    found: dict[str, float] = json.loads(reason.removeprefix(IN_FORCE))
    return found


def bind(
    params: np.ndarray[Any, np.dtype[np.void]],
    base: np.ndarray[Any, np.dtype[np.void]],
    limits: Mapping[str, float],
) -> None:
    """Set `params` to `base` with the tighter of caps and limits; without limits to `base` alone."""
    params[...] = base
    for name in LIMITED if limits else ():
        cap, limit = float(base[name][0]), limits[name]
        params[name] = limit if name in UNLIMITED_AT_0 and cap == 0.0 else min(cap, limit)
    if limits:
        params["min_position"] = limits["min_position"]
