"""Which market a configuration means: the archive's bars, or those that come with the package."""

from __future__ import annotations

from pathlib import Path

from avwapd.config import Config
from avwapd.feeds import FeedError
from avwapd.feeds.demo import bundled_market
from avwapd.feeds.market import Market, load_matrix


def market_of(config: Config, archive: Path) -> Market:
    """Raises FeedError where the bars cannot be had. Warm-up needs what lies before the window: all of it is loaded."""
    if config.run.market == "demo":
        return bundled_market()
    exchange = config.run.exchange or only_exchange(archive)
    market = load_matrix(archive, exchange, config.run.timeframe, config.run.symbols, end_ms=config.run.window_to)
    if not len(market.bars):
        raise FeedError(
            f"no {config.run.timeframe} bars of {exchange} {', '.join(config.run.symbols)}".rstrip(),
            archive,
            "see `avwapd bars list`, or import some: avwapd bars import FILE --exchange … --symbol … --timeframe …",
        )
    return market


def only_exchange(archive: Path) -> str:
    """The archive's exchange where it has just one."""
    found = sorted(path.name for path in archive.glob("[A-Za-z0-9]*") if path.is_dir())
    if len(found) != 1:
        what = "the archive is empty" if not found else f"the archive has {', '.join(found)}"
        raise FeedError(f"no exchange was named and {what}", archive, "name one: --exchange, or [run] exchange")
    return found[0]
