"""Proofs that anyone can run: no decision and no candidate knows the future, and how long each figure's memory is.

Everything is recomputed on made-up markets from a seed; nothing is read but the package.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avwapd.config import Config
from avwapd.core.daily import Days
from avwapd.core.records import STATE
from avwapd.feeds.calendar import BELL, all_sessions, session_index
from avwapd.feeds.demo import generate
from avwapd.feeds.market import Market, hash_of
from avwapd.feeds.world import Setup, build
from avwapd.research.backtest import replay
from avwapd.scan.run import ScanInputs, ScanResult, scan

SEED = 20
EQUAL = 1e-9  # relative: figures of two starts that differ by less are the same
SECTORS = ("Energy", "Financials", "Health Care", "Information Technology")
MARKET: Mapping[str, Any] = {"symbols": ("ASH", "ELM", "OAK", "YEW"), "session_count": 14, "timeframe": "15m"}
DAILY_SYMBOLS, DAILY_SESSIONS, DAILY_CHECKED = 24, 640, 60
# What trades often and uses every part: the first of each pair is a setup, the second how its level is anchored.
STYLES = (("breakout_hold", "session"), ("reclaim", "week"))
BUSY = {"gates.entries_per_symbol_day": "20", "size.method": "risk_per_trade", "gates.volume_ratio": "0"}

Loading = Callable[[Mapping[str, str]], Config]  # the configuration under these options


@dataclass(frozen=True)
class Proof:
    """One claim, checked. what: in words, with its figures."""

    name: str
    ok: bool
    what: str


# ---------------------------------------------------------------------------------------------------- decisions


def decisions_know_no_future(loading: Loading) -> Proof:
    """Every decision again, on bars that end with its own: equal rows, or the first that differs."""
    checked = 0
    for setup_word, anchor in STYLES:
        config = loading({**BUSY, "signal.setup": setup_word, "anchors.level": anchor})
        setup = build(config, generate(**MARKET, seed=SEED))
        bars = setup.market.bars
        whole = replay(setup, bars, 0).decisions
        ends = np.flatnonzero(np.diff(bars["ts_ms"], append=-1)) + 1
        for end in ends.tolist():
            last = int(bars["ts_ms"][end - 1])
            again = replay(setup, bars[:end], 0).decisions
            mine, then = (rows[rows["ts_ms"] == last] for rows in (again, whole))
            if mine.tobytes() != then.tobytes():
                return Proof("decisions", False, f"{setup_word}: the decisions at {last} change once later bars exist")
            checked += len(then)
    return Proof("decisions", True, f"{checked:,} recomputed on bars cut at their own time, all equal in bits")


def engine_warm_up(loading: Loading) -> Proof:
    """Start the engine ever earlier: from how many sessions on is the last session decided alike?"""
    config = loading({**BUSY, "gates.volume_ratio": "0.8"})
    market = generate(MARKET["symbols"], 60, MARKET["timeframe"], SEED)
    table = all_sessions(BELL)
    of_bar = session_index(market.bars["ts_ms"], table)
    last = int(of_bar[-1])
    first = int(of_bar[0])

    def decided(sessions: int) -> bytes:
        bars = market.bars[of_bar >= last - sessions]
        cut = replace(market, bars=bars, data_hash=hash_of(bars))
        setup = build(config, cut)
        begin = int(np.searchsorted(bars["ts_ms"], table["open_ms"][last], side="right"))
        return bytes(replay(setup, bars, begin).decisions.tobytes())

    whole = decided(last - first)
    given = config.run.warmup_sessions
    wanted = next((n for n in range(given + 1) if all(decided(k) == whole for k in range(n, given + 1))), None)
    if wanted is None:
        return Proof("engine warm-up", False, f"more than run.warmup_sessions = {given} sessions are needed")
    return Proof("engine warm-up", True, f"{wanted} sessions suffice, run.warmup_sessions is {given}")


# --------------------------------------------------------------------------------------------------- candidates


def days_of(market: Market) -> tuple[Days, NDArray[np.void]]:
    """A market of daily bars as the scan sees it, without corporate actions; and its session table."""
    table = all_sessions(BELL)
    bars = market.bars[np.lexsort((market.bars["ts_ms"], market.bars["symbol"]))]
    offsets = np.searchsorted(bars["symbol"], np.arange(len(market.symbols) + 1)).astype(np.int64)
    session = session_index(bars["ts_ms"], table, daily=True).astype(np.int32)
    prices = [np.ascontiguousarray(bars[name]) for name in ("open", "high", "low", "close", "volume")]
    return Days(offsets, session, *prices, np.ones(len(bars)), np.ones(len(bars))), table


def with_actions(days: Days) -> Days:
    """Every third symbol splits 2:1 once, every fourth pays a dividend, inside the window that is scanned."""
    raw = {name: getattr(days, name).copy() for name in days._fields}
    for symbol in range(len(days.offsets) - 1):
        end = int(days.offsets[symbol + 1])
        if symbol % 3 == 0:
            row = end - DAILY_CHECKED // 2 - symbol
            raw["price_ratio"][row] = raw["split_ratio"][row] = 0.5
            for name in ("open", "high", "low", "close"):
                raw[name][row:end] *= 0.5
            raw["volume"][row:end] *= 2.0
        if symbol % 4 == 0:
            raw["price_ratio"][end - DAILY_CHECKED // 3 - symbol] *= 0.99
    return Days(**raw)


def spoiled(days: Days, session: int) -> Days:
    """The same days with nonsense in every row after `session`."""
    later = days.session > session
    raw = {name: getattr(days, name).copy() for name in days._fields}
    for name in ("open", "high", "low", "close", "volume"):
        raw[name][later] = raw[name][later] * 3.0 + 7.0
    raw["price_ratio"][later] = 0.25
    raw["split_ratio"][later] = 0.25
    return Days(**raw)


def cut(days: Days, session: int) -> Days:
    """Only the rows up to `session`."""
    kept = days.session <= session
    counts = np.concatenate([[0], np.cumsum(kept)])
    columns = [getattr(days, name)[kept] for name in days._fields[1:]]
    return Days(counts[days.offsets].astype(np.int64), *columns)


@dataclass(frozen=True)
class InSector:
    sector: str


@dataclass(frozen=True)
class Made:
    """A made-up stock market for the scan."""

    symbols: tuple[str, ...]
    days: Days
    sessions: NDArray[np.void]

    def scanned(self, config: Config, day: int, days: Days | None = None) -> ScanResult:
        """The scan of a date, yyyymmdd."""
        members = {symbol: InSector(SECTORS[i % len(SECTORS)]) for i, symbol in enumerate(self.symbols)}
        inputs = ScanInputs(
            symbols=self.symbols,
            days=self.days if days is None else days,
            sessions=self.sessions,
            as_of=day,
            members=members,
            earnings={},
            bad={},
        )
        return scan(inputs, config)

    def last_sessions(self, count: int) -> list[int]:
        return [int(session) for session in np.unique(self.days.session)[-count:]]


def made_market() -> Made:
    symbols = tuple(f"S{i:02}" for i in range(DAILY_SYMBOLS))
    market = generate(symbols, DAILY_SESSIONS, "1d", SEED, start="2021-01-04")
    days, table = days_of(market)
    return Made(market.symbols, with_actions(days), table)


def candidates_know_no_future(loading: Loading) -> Proof:
    """Every candidate and every reason again, on days cut at the scan's and on days with nonsense after it."""
    config, made = loading({"scan.allow_short": "true", "scan.regime": "false"}), made_market()
    candidates = fallen = 0
    for session in made.last_sessions(DAILY_CHECKED):
        day = int(made.sessions["date"][session])
        whole = made.scanned(config, day)
        for other in (cut(made.days, session), spoiled(made.days, session)):
            if repr(made.scanned(config, day, other)) != repr(whole):  # NaN equals NaN in words
                return Proof("candidates", False, f"the scan of {day} changes with what comes after it")
        candidates, fallen = candidates + len(whole.rows), fallen + len(whole.out)
    what = f"{candidates:,} candidates and {fallen:,} reasons of {DAILY_CHECKED} sessions recomputed, all equal"
    return Proof("candidates", candidates > 0, what)
