"""Tick, lot, currency and calendar: told by the first bars, and then fixed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avwapd.store.archive import Archive, ArchiveError
from avwapd.store.instruments import Instruments, decimals_of, inferred
from tests.store_archive.bars import columns, put, write


@pytest.mark.parametrize(
    ("values", "decimals"),
    [
        ([1.0, 250.0], 0),
        ([0.1 + 0.2], 1),
        ([10.59, 66.25], 2),
        ([66.0625], 4),
        ([4.070000000000001e-05], 7),
        ([3e-05, 0.06119014], 8),
        ([1 / 3], 11),
        ([], 0),
    ],
)
def test_the_fewest_decimals_that_write_every_value(values: list[float], decimals: int) -> None:
    assert decimals_of(np.array(values)) == decimals


@pytest.mark.parametrize(
    ("exchange", "symbol", "asset", "quote", "calendar"),
    [
        ("us", "SPY", "equity", "USD", "XNYS"),
        ("us", "BRK-B", "equity", "USD", "XNYS"),
        ("us", "BRK.B", "equity", "USD", "XNYS"),
        ("binance", "ADA-BTC", "crypto", "BTC", "24/7"),
        ("binance", "XYZ-FOO", "crypto", "FOO", "24/7"),
        ("alpaca", "BTC/USD", "crypto", "USD", "24/7"),
    ],
)
def test_what_a_name_says(exchange: str, symbol: str, asset: str, quote: str, calendar: str) -> None:
    found = inferred(exchange, symbol, np.array([3e-05]), np.array([0.125]))
    assert (found.asset, found.quote, found.calendar) == (asset, quote, calendar)
    assert (found.lot, found.min_qty) == (("1", "1") if asset == "equity" else ("0.001", "0.001"))


def test_ticks() -> None:
    one = np.ones(1)
    assert inferred("us", "A", one, one).tick == "0.01"
    assert inferred("us", "A", np.array([66.0625]), one).tick == "0.0001"
    many = np.ones(100)
    assert inferred("binance", "A-BTC", np.array([4.070000000000001e-05, 3e-05]), many).tick == "0.0000001"
    assert inferred("binance", "A-BTC", np.array([1.5e-10]), np.array([1 / 3])).lot == "0.00000001"


@pytest.mark.parametrize(
    ("bars", "price", "tick"), [(4, 1.0, "0.0001"), (4, 50_000.0, "1"), (4, 3e-5, "0.000000001"), (100, 1.0, "1")]
)
def test_few_bars_of_a_coin_do_not_make_a_coarse_tick(bars: int, price: float, tick: str) -> None:
    assert inferred("binance", "A-BTC", np.full(4 * bars, price), np.ones(bars)).tick == tick


def test_the_first_import_fixes_them_and_later_ones_say_so(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "archive")
    first = put(archive, write(tmp_path / "a.parquet", columns(3)))
    assert "tick 0.01, lot 1, XNYS" in first.note
    before = Instruments(archive.root).path.read_bytes()
    finer = columns(3, start=1_704_220_200_000, price=100.0625)
    later = put(archive, write(tmp_path / "b.parquet", finer))
    assert later.added == 3
    assert "do not fit its tick 0.01, which stays" in later.warning
    assert later.warning.endswith("--tick 0.0001")
    assert later.misfit == 1.0
    assert Instruments(archive.root).path.read_bytes() == before


def test_wishes_hold_at_the_first_import_and_are_refused_later(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "archive")
    path = write(tmp_path / "a.parquet", columns(3))
    put(archive, path, wanted={"tick": "0.05", "lot": "10", "quote": "EUR"})
    made = Instruments(archive.root).load()["us", "SPY"]
    assert (made.tick, made.lot, made.min_qty, made.quote) == ("0.05", "10", "10", "EUR")
    put(archive, path, wanted={"tick": "0.05"})
    with pytest.raises(ArchiveError, match=r"tick is 0\.05 since its first import, not 0\.01"):
        put(archive, path, wanted={"tick": "0.01"})
    assert Instruments(archive.root).load()["us", "SPY"] == made


@pytest.mark.parametrize(
    ("name", "value"),
    [("tick", "0"), ("tick", "nan"), ("lot", "-1"), ("lot", "x"), ("asset", "bond"), ("calendar", "XLON")],
)
def test_a_wish_that_makes_no_sense_is_refused(tmp_path: Path, name: str, value: str) -> None:
    archive = Archive(tmp_path / "archive")
    with pytest.raises(ArchiveError, match=name):
        put(archive, write(tmp_path / "a.parquet", columns(3)), wanted={name: value})
    assert not archive.holdings()


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"instruments": [{"exchange": "us"}]}', b'{"instruments": [{"colour": "red"}]}']
)
def test_a_damaged_table_is_told(tmp_path: Path, content: bytes) -> None:
    archive = Archive(tmp_path / "archive")
    put(archive, write(tmp_path / "a.parquet", columns(3)))
    Instruments(archive.root).path.write_bytes(content)
    with pytest.raises(ArchiveError, match="instruments file is damaged"):
        put(archive, tmp_path / "a.parquet")
    assert Instruments(archive.root).path.read_bytes() == content
