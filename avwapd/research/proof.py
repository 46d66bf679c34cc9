"""Proofs that anyone can run: no decision and no candidate knows the future, and how long each figure's memory is.

Everything is recomputed on made-up markets from a seed; nothing is read but the package.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avwapd.config import Config, load
from avwapd.core.daily import SCAN, Days, work_space
from avwapd.core.daily_scan import measure_many
from avwapd.feeds.calendar import BELL, all_sessions, session_index
from avwapd.feeds.demo import generate
from avwapd.feeds.market import Market, hash_of
from avwapd.feeds.world import build
from avwapd.research.backtest import replay
from avwapd.scan.day import frozen
from avwapd.scan.run import ScanInputs, ScanResult, scan
from avwapd.settings import scan_params

SEED = 20
EQUAL = 1e-9  # relative: figures of two starts that differ by less are the same
SECTORS = ("Energy", "Financials", "Health Care", "Information Technology")
MARKET: Mapping[str, Any] = {"symbols": ("ASH", "ELM", "OAK", "YEW"), "session_count": 14, "timeframe": "15m"}
DAILY_SYMBOLS, DAILY_SESSIONS, DAILY_CHECKED = 24, 640, 60
# What trades often and uses every part: the first of each pair is a setup, the second how its level is anchored.
STYLES = (("breakout_hold", "session"), ("reclaim", "week"), ("breakout_hold", "swing_low"))
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
    prices = {name: np.ascontiguousarray(bars[name]) for name in ("open", "high", "low", "close", "volume")}
    ones = {name: np.ones(len(bars)) for name in ("price_ratio", "split_ratio")}
    return Days(offsets=offsets, session=session, **prices, **ones), table


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
    columns = {name: getattr(days, name)[kept] for name in days._fields[1:]}
    return Days(offsets=counts[days.offsets].astype(np.int64), **columns)


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


# ---------------------------------------------------------------------------------------------------- warm-up

FIGURES = ("sma_fast", "sma_slow", "slow_slope_pct", "atr", "atr_pct", "atr_median", "adx", "trend_score")
LENGTHS = (60, 80, 100, 120, 134, 150, 200, 250, 300, 350, 400, 450)


def newest_bars(days: Days, count: int) -> Days:
    """Every symbol from its last `count` bars on."""
    ends = days.offsets[1:]
    begins = np.maximum(days.offsets[:-1], ends - count)
    kept = np.concatenate([np.arange(begin, end) for begin, end in zip(begins, ends, strict=True)])
    columns = {name: getattr(days, name)[kept] for name in days._fields[1:]}
    return Days(offsets=np.concatenate([[0], np.cumsum(ends - begins)]).astype(np.int64), **columns)


def scan_warm_up(loading: Loading) -> Proof:
    """From how many bars on is each figure of the scan what the whole window makes it?"""
    config, made = loading({"scan.regime": "false"}), made_market()
    session = made.last_sessions(1)[0]
    whole = measured(made, config, session, config.scan.window_bars)
    needs = dict.fromkeys(FIGURES, config.scan.window_bars)
    agreed = dict.fromkeys(FIGURES, True)
    for length in sorted(LENGTHS, reverse=True):
        some = measured(made, config, session, length)
        for name in FIGURES:
            agreed[name] = agreed[name] and bool(np.allclose(some[name], whole[name], rtol=EQUAL, atol=0.0))
            if agreed[name]:
                needs[name] = length
    what = ", ".join(f"{name} {bars}" for name, bars in needs.items())
    ok = max(needs.values()) < config.scan.window_bars
    return Proof("scan warm-up", ok, f"bars until a figure agrees with {config.scan.window_bars}: {what}")


def measured(made: Made, config: Config, session: int, length: int) -> NDArray[np.void]:
    """SCAN records of every symbol, from its newest `length` bars alone."""
    days = Days(*map(frozen, newest_bars(made.days, length)))
    rows = np.zeros(len(made.symbols), SCAN)
    params = scan_params(config, rules_only=False)
    work = work_space(config.scan.window_bars)
    measure_many(days, np.arange(len(rows)), session, params[0], work, rows)
    return rows


def anchors_stay(loading: Loading) -> Proof:
    """Fewer bars give the same anchors or none: never one that lies on the first bar loaded."""
    config, made = loading({"scan.regime": "false"}), made_market()
    compared = 0
    for session in made.last_sessions(DAILY_CHECKED):
        day = int(made.sessions["date"][session])
        whole = {(row.symbol, row.kind): row for row in made.scanned(config, day).anchors}
        for length in (DAILY_CHECKED + 140, DAILY_CHECKED + 300):
            for row in made.scanned(config, day, newest_bars(made.days, length)).anchors:
                known = whole.get((row.symbol, row.kind))
                if known is not None and known != row:
                    where = f"{row.anchor_date} of {length} bars, {known.anchor_date} of all"
                    return Proof("anchors", False, f"{row.symbol} {row.kind} on {day}: {where}")
                compared += known is not None
    return Proof("anchors", compared > 0, f"{compared:,} anchors with fewer bars loaded, all where they lay")


PROOFS = (decisions_know_no_future, candidates_know_no_future, anchors_stay, engine_warm_up, scan_warm_up)

# ---------------------------------------------------------------------------------------- determinism, no network

# Three processes that have nothing in common but the package and the configuration.
WORLDS = (
    {"PYTHONHASHSEED": "1", "TZ": "America/New_York", "LC_ALL": "C"},
    {"PYTHONHASHSEED": "77", "TZ": "Asia/Kathmandu", "LC_ALL": "C.UTF-8"},
)
CHILD_LIMIT_S = 60


def same_everywhere(config_file: str | None) -> Proof:
    """The same backtest and scan in processes of other hash seed, time zone and locale, all without a socket."""
    command = [sys.executable, "-m", "avwapd.research.proof", *([config_file] if config_file else [])]
    digests = []
    for world in WORLDS:
        done = subprocess.run(
            command, env={**os.environ, **world}, capture_output=True, text=True, timeout=CHILD_LIMIT_S, check=False
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no word"])[-1]
            return Proof("determinism", False, f"a run under {world} failed: {last}")
        digests.append(done.stdout.strip())
    if len(set(digests)) > 1:
        return Proof("determinism", False, f"runs of the same inputs differ: {digests}")
    return Proof("determinism", True, f"{len(WORLDS)} processes, no socket opened, same bytes ({digests[0][:12]})")


def digest(loading: Loading) -> str:
    """sha256 over the decisions of a backtest and the words of scans."""
    market = generate(**MARKET, seed=SEED)
    made, found = made_market(), hashlib.sha256()
    found.update(replay(build(loading(BUSY), market), market.bars, 0).decisions.tobytes())
    for session in made.last_sessions(5):
        found.update(repr(made.scanned(loading({}), int(made.sessions["date"][session]))).encode())
    return found.hexdigest()


def forbid_sockets() -> None:
    """From here on opening a socket ends this process with an error."""

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event.startswith("socket."):
            raise RuntimeError(f"a socket was asked for: {event}")

    sys.addaudithook(hook)


def under(config_file: str | None) -> Loading:
    """The configuration of this file, or of where it lies by itself, with options above it."""
    return lambda options: load(Path(config_file) if config_file else None, options=options)


if __name__ == "__main__":
    forbid_sockets()
    sys.stdout.write(digest(under(sys.argv[1] if len(sys.argv) > 1 else None)))
