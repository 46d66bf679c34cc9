"""Whether a configuration is the one a run was made with, and the market and World that both mean."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from avwapd.config import Config, config_hash, mode_of
from avwapd.feeds import FeedError
from avwapd.feeds.demo import EXCHANGE as DEMO
from avwapd.feeds.source import market_of
from avwapd.feeds.world import Setup, build
from avwapd.research.standing import with_standing
from avwapd.store.rows import RunRow


@dataclass(frozen=True)
class Chosen:
    """The run's configuration, with what its options made of it, and the world it means."""

    config: Config
    setup: Setup
    notes: tuple[str, ...]


def choose(config: Config, row: RunRow, archive: Path) -> Chosen | None:
    """None where the run was made with another configuration; raises FeedError where the archive lacks the bars."""
    known = next((found for found in told(config, row) if config_hash(found) == row.config_hash), None)
    meant = as_run(known or config, row, known=known is not None)
    try:
        setup = build(meant, with_standing(meant, market_of(meant, archive), archive))
    except FeedError:
        if known is None:
            return None
        raise
    same_world = setup.fingerprint == row.params_hash
    if known is None and not same_world:
        return None
    notes = []
    if known is None:
        notes.append("the configuration differs from the run's only in what decides nothing")
    elif not same_world:
        notes.append("instruments or sessions are not those of the run: the archive has grown or changed since")
    return Chosen(meant, setup, tuple(notes))


def as_run(config: Config, row: RunRow, *, known: bool) -> Config:
    """With the exchange, symbols and window of the run; known: its hash is the run's, so its mode is."""
    first, last = json.loads(row.window)
    run = replace(
        config.run,
        mode=config.run.mode if known else mode_of(row.mode),
        market="demo" if config.run.market == "demo" and row.exchange == DEMO else "archive",
        exchange=row.exchange,
        timeframe=row.timeframe,
        symbols=tuple(json.loads(row.symbols)),
        window_from=first,
        window_to=last,
    )
    return replace(config, run=run)


def told(config: Config, row: RunRow) -> Iterator[Config]:
    """The configurations that `run`'s options make of this one."""
    run = config.run
    first, last = json.loads(row.window)
    symbols = tuple(json.loads(row.symbols))
    for mode, market, exchange, timeframe, names, speed in product(
        dict.fromkeys((run.mode, mode_of(row.mode))),
        dict.fromkeys((run.market, "archive")),
        dict.fromkeys((run.exchange, row.exchange)),
        dict.fromkeys((run.timeframe, row.timeframe)),
        dict.fromkeys((run.symbols, symbols)),
        dict.fromkeys((run.speed, math.inf)),
    ):
        changed = replace(
            run,
            mode=mode,
            market=market,
            exchange=exchange,
            timeframe=timeframe,
            symbols=names,
            speed=speed,
            window_from=first,
            window_to=last,
        )
        yield replace(config, run=changed)
