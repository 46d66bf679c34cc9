"""Which market a configuration means: the archive's bars, or those that come with the package."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from avwapd.config import Config, account_mode, is_remote
from avwapd.feeds import FeedError
from avwapd.feeds.demo import bundled_market
from avwapd.feeds.live import LiveFeed, Manners
from avwapd.feeds.live_schedule import Schedule
from avwapd.feeds.market import Market, load_matrix
from avwapd.feeds.world import Setup
from avwapd.ports import Clock, ScaledClock


def market_of(config: Config, archive: Path) -> Market:
    """Raises FeedError where the bars cannot be had. Warm-up needs what lies before the window: all of it is loaded."""
    if config.run.market == "demo":
        return bundled_market()
    remote = is_remote(config)
    if remote and not config.run.exchange and not any(archive.glob("[A-Za-z0-9]*/*")):
        raise FeedError(f"no {config.run.timeframe} bars for the warm-up", archive, fetch_words(config, ""))
    exchange = config.run.exchange or only_exchange(archive)
    try:
        market = load_matrix(archive, exchange, config.run.timeframe, config.run.symbols, end_ms=config.run.window_to)
    except FeedError as error:
        if remote and error.what.startswith("no bars of"):
            what = error.what.partition(f": {archive}")[0]
            raise FeedError(what, archive, fetch_words(config, exchange)) from None
        raise
    if not len(market.bars):
        get = "see `avwapd bars list`, or get some: avwapd bars import FILE --exchange … --symbol … --timeframe …"
        raise FeedError(
            f"no {config.run.timeframe} bars of {exchange} {', '.join(config.run.symbols)}".rstrip(),
            archive,
            fetch_words(config, exchange) if remote else get,
        )
    return market


def fetch_words(config: Config, exchange: str) -> str:
    """The one command that gets what a run at a venue begins with."""
    words = "avwapd bars fetch"
    if exchange not in ("", config.venue.name):
        words += f" --exchange {exchange}"
    if not config.run.symbols:
        words += " --symbols A,B"
    return f"{words}, with the same --config; then again"


def live_feed(config: Config, setup: Setup, clock: Clock, *, chance: Callable[[], float]) -> LiveFeed:
    """Live bars of the configured venue. chance: a number in [0, 1), for jitter.

    Raises ConfigError where address, mode and credentials do not fit; FeedError where the venue has no such bars.
    """
    wanted = config.feed
    market = setup.market
    manners = Manners(
        grace_ms=config.run.grace_ms,
        confirm=wanted.confirm_silence,
        stale_bars=wanted.stale_bars,
        ask_limit_ms=wanted.ask_limit_ms,
        reconnects_minute=config.venue.reconnects_minute,
        room=config.queues.bars,
        speed=config.venue.speed,
        streamed=wanted.kind == "stream",
    )
    source = bar_source(config, market, clock, chance)
    manners = replace(manners, streamed=bool(getattr(source, "streamed", manners.streamed)))
    schedule = Schedule(market.calendars, market.timeframe_ms, daily=market.daily)
    ahead = clock.set if isinstance(clock, ScaledClock) else None
    return LiveFeed(source, market.symbols, schedule, clock, manners, draw=chance, on_ahead=ahead)


def bar_source(config: Config, market: Market, clock: Clock, chance: Callable[[], float]) -> Any:
    """Where the venue's bars come from."""
    from avwapd.remote import credentials

    keys = credentials.load(config)
    limit_s = config.feed.ask_limit_ms / 1000
    if config.venue.name == "alpaca":
        from avwapd.feeds.alpaca_bars import AlpacaBars
        from avwapd.remote.addresses import alpaca_addresses

        return AlpacaBars(
            alpaca_addresses(account_mode(config), config.venue, config.feed.plan, keys.address),
            keys,
            market.symbols,
            market.timeframe,
            clock,
            plan=config.feed.plan,
            kind=config.feed.kind,
            threads=max(2, config.venue.threads // 2),
            limit_s=limit_s,
            reconnects_minute=config.venue.reconnects_minute,
            draw=chance,
            paper=account_mode(config) == "paper",
        )
    from avwapd.feeds.ccxt_bars import open_bars

    return open_bars(config, keys, market, clock, chance=chance)


def only_exchange(archive: Path) -> str:
    """The archive's exchange where it has just one."""
    found = sorted(path.name for path in archive.glob("[A-Za-z0-9]*") if path.is_dir())
    if len(found) != 1:
        what = "the archive is empty" if not found else f"the archive has {', '.join(found)}"
        raise FeedError(f"no exchange was named and {what}", archive, "name one: --exchange, or [run] exchange")
    return found[0]
