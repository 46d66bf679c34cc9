"""The venue that a configuration means: inside the process, a process of its own on loopback, or across a network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from avwapd.config import Config, account_mode
from avwapd.ports import Clock
from avwapd.remote.terms import terms_of
from avwapd.venues.book import Exchange
from avwapd.venues.client import HttpVenue
from avwapd.venues.embedded import EmbeddedVenue
from avwapd.venues.faults import FaultPlan, FaultyVenue
from avwapd.venues.port import RemoteVenue


async def open_venue(config: Config, setup: Any, state: Path) -> Any:
    """A Venue that is also a Market. setup: feeds.world.Setup."""
    wanted = config.embedded
    if wanted.venue != "inline":
        return await HttpVenue.open(
            wanted.venue, refuses_duplicates=wanted.refuses_duplicates, limit_s=config.order.answer_limit_ms / 1000
        )
    exchange = Exchange(
        state / "venue.db",
        setup.instruments,
        setup.market.symbols,
        volume_share=config.fills.volume_share,
        refuses_duplicates=wanted.refuses_duplicates,
    )
    venue = EmbeddedVenue(exchange)
    if not (wanted.answer_delay_ms or wanted.loss_fraction or wanted.duplication_fraction):
        return venue
    plan = FaultPlan(
        delay_ms=wanted.answer_delay_ms,
        lose_request=wanted.loss_fraction / 2,
        lose_answer=wanted.loss_fraction / 2,
        double_request=wanted.duplication_fraction,
        seed=config.run.seed,
        deadline_ms=config.order.answer_limit_ms,
    )
    return FaultyVenue(venue, plan)


async def open_remote(
    config: Config, setup: Any, clock: Clock, *, ours: Callable[[str], bool], chance: Callable[[], float]
) -> RemoteVenue:
    """The account of the modes paper and live; nothing is sent yet. ours: whether an order id is of this program.

    Raises ConfigError where address, mode and credentials do not fit.
    """
    from avwapd.remote import credentials

    keys = credentials.load(config)
    market = setup.market
    if config.venue.name == "alpaca":
        from avwapd.remote.addresses import alpaca_addresses
        from avwapd.venues.alpaca import AlpacaVenue

        where = alpaca_addresses(account_mode(config), config.venue, config.feed.plan, keys.address)
        terms = terms_of(market.symbols, market.instruments, "/")
        return AlpacaVenue(config, where, keys, terms, clock, ours=ours, chance=chance)
    from avwapd.venues.ccxt import open_ccxt

    terms = terms_of(market.symbols, market.instruments, "/")
    return await open_ccxt(config, keys, terms, clock, ours=ours, jitter=chance)
