"""The markets that the kills happen in: real bars where they lie beside the checkout, else those that come with us."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from avwapd.config import Config, load
from avwapd.feeds.source import market_of
from avwapd.feeds.world import Setup, build
from avwapd.store.archive import Archive
from avwapd.verbs.bars_import import import_file
from tests.tidy.rules import ROOT

REAL = ROOT.parent / "shared" / "data" / "bars" / "binance"
WHY_NOT = "no real bars in ../shared/data"


@dataclass(frozen=True)
class Play:
    """A market and what is done in it. archive: a state folder's archive to share, where it is not the bundled one."""

    name: str
    words: tuple[str, ...]  # after `avwapd`
    environ: dict[str, str] = field(default_factory=dict)
    archive: Path | None = None

    def config(self, environ: dict[str, str]) -> Config:
        file = ROOT / "etc" / "demo.toml" if self.archive is None else None
        options = {} if self.archive is None else {"run.market": "archive", "run.exchange": "binance"}
        options |= {"run.timeframe": "5m", "run.speed": "max"}
        return load(file, folder=ROOT, environ={**self.environ, **environ}, options=options)

    def setup(self) -> Setup:
        config = self.config({})
        return build(config, market_of(config, self.archive or Path()))


def bundled(window_to: str = "") -> Play:
    """The market of the package: six equities, 25 sessions, intraday trades."""
    environ = {"AVWAPD_RUN__WINDOW_TO": window_to} if window_to else {}
    words = ("run", "--config", str(ROOT / "etc" / "demo.toml"), "--speed", "max", "--once")
    return Play("bundled", words, environ)


def real(folder: Path) -> Play:
    """The seven BASE-BTC pairs, 20 days of 5m bars, under one equity and its caps."""
    archive = Archive(folder / "archive")
    with mock.patch.object(os, "fsync"):  # nothing here is worth waiting for a disk
        for path in sorted(REAL.glob("*-BTC_5m.parquet")):
            symbol = path.stem.partition("_")[0]
            import_file(archive, path, exchange="binance", timeframe="5m", symbol=symbol)
    named = {"RUN__EXCHANGE": "binance", "RUN__TIMEFRAME": "5m", "EQUITY__CURRENCY": "BTC"}
    environ = {f"AVWAPD_{name}": value for name, value in named.items()}
    words = ("run", "--replay", "--exchange", "binance", "--timeframe", "5m", "--speed", "max", "--once")
    return Play("binance BASE-BTC 5m", words, environ, folder / "archive")


def window(play: Play) -> Any:
    """The bars that are decided."""
    from avwapd.feeds.world import in_window

    setup = play.setup()
    return in_window(setup.market.bars, setup.config)[0]
