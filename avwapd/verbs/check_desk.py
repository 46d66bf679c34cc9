"""What `check --mode venue` works with: the daemon's own adapters on the configured account, without a ledger."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from avwapd.config import Config, ConfigError
from avwapd.config.kinds import TIMEFRAME_MS
from avwapd.paths import Paths
from avwapd.ports import ScaledClock
from avwapd.remote.terms import terms_of
from avwapd.store import LockHeld
from avwapd.store.ids import client_id, is_ours
from avwapd.store.instruments import Instruments
from avwapd.store.lock import hold
from avwapd.venues.choose import open_remote
from avwapd.verbs.check_venue import LOOKS_ONLY, Desk
from avwapd.verbs.fetch_source import opened

if TYPE_CHECKING:
    from avwapd.verbs.fetch_source import Source

USUAL = {"alpaca": "SPY"}  # the symbol where none is configured
OTHERWISE = "BTC-USD"
BESIDE = "a daemon runs on this state folder: an order beside its own would look like a stranger's"
BLIND = "orders cannot be found by their id at this exchange"
REMEDY = {
    BESIDE: "avwapd ctl stop, then again; or see avwapd ctl status",
    BLIND: "place and cancel one by hand there; see docs/venues.md",
}


async def desk_for(config: Config, mode: str, paths: Paths, args: argparse.Namespace, stack: AsyncExitStack) -> Desk:
    """Everything opened; `stack` closes it. Raises ConfigError, FeedDoubt and what opening the venue raises."""
    symbol = args.symbol or next(iter(config.run.symbols), USUAL.get(config.venue.name, OTHERWISE))
    reason = why_none(mode, paths, args, stack)
    source, clock = await stack.enter_async_context(opened(config, config.run.timeframe, (symbol,)))
    row = await instrument_for(config, paths, symbol, source)
    plain = Plain(OneSymbol((symbol,), (row,)))
    venue = await open_remote(config, plain, clock, ours=is_ours, chance=lambda: 0.5)
    stack.push_async_callback(venue.close)
    simulated = isinstance(clock, ScaledClock)
    if not reason and not venue.can_look_up:
        reason = BLIND

    def cid(purpose: str) -> str:
        return client_id(config.run.account, config.run.strategy, symbol, clock.now_ms(), purpose, 0)

    return Desk(
        venue=venue,
        source=source,
        clock=clock,
        terms=terms_of((symbol,), (row,), "/")[symbol],
        cid=cid,
        timeframe_ms=TIMEFRAME_MS[config.run.timeframe],
        skew_limit_ms=round(config.venue.skew_limit_ms * (config.venue.speed if simulated else 1.0)),
        symbols=config.run.symbols,
        least=least_equity(config, paths, simulated=simulated),
        simulated=simulated,
        reason=reason,
        remedy=REMEDY.get(reason, ""),
    )


def least_equity(config: Config, paths: Paths, *, simulated: bool) -> tuple[float, str, str] | None:
    """What the first start of a ledger asks of the account; later ones do not."""
    if paths.database.exists():
        return None
    currency = config.equity.currency
    remedy = f"set equity.start.{currency} to what the account holds, or fund it"
    if simulated:
        remedy += " (avwapd demo-venue --fresh opens a new one)"
    return config.equity.start[currency], currency, remedy


def why_none(mode: str, paths: Paths, args: argparse.Namespace, stack: AsyncExitStack) -> str:
    """Why no order is to be placed, "" where one is; then the state folder's lock is held meanwhile."""
    if mode == "live" and not args.order:
        return LOOKS_ONLY
    if paths.lock.exists():
        try:
            stack.enter_context(hold(paths.state))
        except LockHeld:
            return BESIDE
    return ""


async def instrument_for(config: Config, paths: Paths, symbol: str, source: Source) -> Mapping[str, Any]:
    """As the archive has it, so as the daemon would; else as the venue says."""
    exchange = config.run.exchange or config.venue.name
    known = Instruments(paths.archive).load().get((exchange, symbol))
    row = (await source.instruments((symbol,))).get(symbol) if known is None else vars(known)
    if row is None:
        what = f"{config.venue.name} has no {symbol}"
        raise ConfigError(what, "--symbol, or run.symbols", "name one that it has: --symbol S")
    return row


@dataclass(frozen=True)
class OneSymbol:
    """As much of a market as opening a venue takes."""

    symbols: tuple[str, ...]
    instruments: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Plain:
    """As much of a setup."""

    market: OneSymbol
