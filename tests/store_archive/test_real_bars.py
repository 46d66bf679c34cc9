"""Real bars of many kinds, where they lie beside the checkout: all go in, all come out."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from avwapd.core.codes import BAR_OUTSIDE
from avwapd.feeds.market import load_matrix
from avwapd.store.archive import Archive
from avwapd.store.instruments import Instruments
from avwapd.verbs.bars_import import import_file
from tests.tidy.rules import ROOT

DATA = ROOT.parent / "shared" / "data" / "bars"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="no real bars in ../shared/data")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Everything there is, imported once."""
    archive = Archive(tmp_path_factory.mktemp("real") / "archive")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda handle: None)  # a busy disk would make this slow, and proves nothing
        for path in files():
            exchange, (symbol, timeframe) = path.parent.name, path.stem.split("_")
            (outcome,) = import_file(archive, path, exchange=exchange, timeframe=timeframe, symbol=symbol)
            assert (outcome.added, outcome.refused) == (pq.read_metadata(path).num_rows, [])
    return archive


def files() -> list[Path]:
    return sorted(DATA.glob("*/*.parquet"))


def test_every_bar_is_there_with_its_bits(filled: Archive) -> None:
    held = {(h.exchange, h.timeframe, h.symbol): h.bars for h in filled.holdings()}
    assert len(held) == len(files()) > 0
    for path in files():
        symbol, timeframe = path.stem.split("_")
        given = pq.read_table(path)
        assert held[path.parent.name, timeframe, symbol] == len(given)
        stored = filled.read(path.parent.name, timeframe, [symbol])
        for name in given.column_names:
            np.testing.assert_array_equal(stored[name].to_numpy(), given[name].to_numpy())


def test_a_second_import_adds_nothing(filled: Archive) -> None:
    path = files()[0]
    symbol, timeframe = path.stem.split("_")
    (again,) = import_file(filled, path, exchange=path.parent.name, timeframe=timeframe, symbol=symbol)
    assert (again.added, again.unchanged, again.note) == (0, again.rows, "")


def test_files_stay_few(filled: Archive) -> None:
    count = Counter(path.parent.name for path in filled.root.glob("*/*/*.parquet"))
    assert count["1h"] <= 12 * 24
    assert count["1d"] <= 2 * 24


def test_instruments_are_what_a_trader_would_say(filled: Archive) -> None:
    table = Instruments(filled.root).load()
    assert table["us", "SPY"].calendar == "XNYS"
    assert (table["binance", "XRP-ETH"].quote, table["binance", "ADA-BTC"].quote) == ("ETH", "BTC")
    assert table["coinbase", "BTC-USD"].tick == "0.01"
    assert all(row.asset == ("equity" if exchange == "us" else "crypto") for (exchange, _), row in table.items())


def test_extended_hours_and_the_half_day_lie_outside(filled: Archive) -> None:
    made = load_matrix(filled.root, "us", "1m", ["GOOG"])
    inside = made.bars["ts_ms"][made.bars["flags"] & BAR_OUTSIDE == 0]
    christmas = inside[(inside > 1_450_915_200_000) & (inside < 1_451_001_600_000)]  # 2015-12-24
    assert christmas.max() == 1_450_980_000_000  # 13:00 New York
    assert len(inside) < len(made.bars)
