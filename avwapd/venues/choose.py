"""The venue that a configuration means: inside the process, or a process of its own on loopback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from avwapd.config import Config
from avwapd.venues.book import Exchange
from avwapd.venues.client import HttpVenue
from avwapd.venues.embedded import EmbeddedVenue
from avwapd.venues.faults import FaultPlan, FaultyVenue


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
