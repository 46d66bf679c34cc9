"""From a configuration and a market to the engine's World: the same for daemon, backtest and verify."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avwapd.config import Config, is_remote
from avwapd.core import codes, engine
from avwapd.core.records import ACTION, ANCHOR_RULE, BAR, MAX_ANCHORS, REPORT, WATCH
from avwapd.feeds import FeedError
from avwapd.feeds.calendar import whole_calendar
from avwapd.feeds.market import Market, instrument_records
from avwapd.settings import anchor_rules, params


@dataclass(frozen=True)
class Setup:
    """What a run is made of. `fresh()` gives its World before the first bar."""

    config: Config
    market: Market
    instruments: NDArray[np.void]
    sessions: NDArray[np.void]
    rules: NDArray[np.void]  # ANCHOR_RULE [symbols, MAX_ANCHORS]
    params: NDArray[np.void]
    slots: int  # bars of the longest session

    def fresh(self) -> engine.World:
        return engine.new_world(self.instruments, self.sessions, self.rules, self.params.copy(), self.slots)

    @property
    def fingerprint(self) -> str:
        """Hex digest of everything that decides besides bars and inputs: instruments, sessions, rules, parameters."""
        digest = hashlib.sha256()
        for part in (self.instruments, self.sessions, self.rules, self.params):
            digest.update(part.tobytes())
        return digest.hexdigest()


def build(config: Config, market: Market) -> Setup:
    """Raises FeedError where the market is empty or its anchors do not fit.

    A run at a venue goes on past the newest bar: its sessions are the whole calendar, so that the same rules have the
    same fingerprint at every start; and its loss blocks end by a human's hand.
    """
    currency = config.equity.currency
    first_ms, last_ms = whole_calendar() if at_venue(config) else (None, None)
    instruments, sessions = instrument_records(
        market,
        commission_usd=config.fills.commission_usd,
        commission_bps=config.fills.commission_bps,
        slippage_bps=config.fills.slippage_bps,
        seed=config.run.seed,
        equity_currency=currency,
        first_ms=first_ms,
        last_ms=last_ms,
    )
    bell = bool(instruments["bell"].any())
    wanted = params(
        config, currency=currency, timeframe_ms=market.timeframe_ms, bell=bell, unattended=not at_venue(config)
    )
    lines = anchor_rules(config, market.symbols)
    if not engine.anchor_count_fits(lines.shape[1]):
        raise FeedError(
            f"{lines.shape[1]} anchored lines a symbol, at most {MAX_ANCHORS} fit",
            "[anchors] in the configuration",
            "name fewer anchors",
        )
    rules = np.zeros((len(market.symbols), MAX_ANCHORS), ANCHOR_RULE)
    rules[:, : lines.shape[1]] = lines
    return Setup(config, market, instruments, sessions, rules, wanted, longest_session(market, instruments, sessions))


def at_venue(config: Config) -> bool:
    """Orders go to a venue across a network, and bars come from there."""
    return is_remote(config)


def longest_session(market: Market, instruments: Any, sessions: Any) -> int:
    """Bars of the longest session; 1 on daily bars."""
    if market.daily:
        return 1
    longest = int((sessions["close_ms"] - sessions["open_ms"]).max())
    return -(-longest // market.timeframe_ms)


def in_window(bars: Any, config: Config) -> Any:
    """The bars up to the window's end, and where in them the window begins (everything before is warm-up)."""
    last = config.run.window_to
    end = len(bars) if last is None else int(np.searchsorted(bars["ts_ms"], last, side="right"))
    first = config.run.window_from
    begin = 0 if first is None else int(np.searchsorted(bars["ts_ms"][:end], first, side="left"))
    return bars[:end], begin


def warm(setup: Setup) -> None:
    """Compile, or load from the cache, everything a daemon calls: nothing is compiled after READY."""
    world = setup.fresh()
    out = engine.new_output(4, 64)
    engine.step_many(world, out, np.zeros(0, BAR))
    engine.caught_up(world, out)
    engine.watch(world, np.zeros(0, WATCH))
    engine.restate(world, out, 0, np.zeros(0, ACTION))
    engine.act(world, out, 0, codes.ACT_REARM, False)
    engine.adjust(world, out, 0, 0, 0, 0, 0)
    row = np.zeros(1, REPORT)[0]
    row["kind"] = codes.ACKED
    engine.report(world, out, row)
