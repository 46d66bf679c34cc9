"""The matrix is what the archive holds, made once, made anew when the archive or its own bytes have changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avwapd.core.codes import BAR_OUTSIDE
from avwapd.core.records import BAR
from avwapd.feeds import FeedError, market
from avwapd.feeds.market import MatrixRequest, load_matrix
from avwapd.store import matrix
from avwapd.store.archive import Archive
from tests.store_archive.bars import START, STEP, columns, put, write


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """SPY and IBM on one New York day from before the open to after the close, and a pair."""
    archive = Archive(tmp_path / "archive")
    early = START - 60 * STEP
    for symbol, price in (("SPY", 400.0), ("IBM", 100.0)):
        put(archive, write(tmp_path / "a.parquet", columns(180, early, price=price)), symbol=symbol)
    put(archive, write(tmp_path / "a.parquet", columns(180, early)), exchange="binance", symbol="ADA-BTC")
    return archive


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Builds in this process instead of a child, for speed, and counts."""
    count: list[int] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        count.append(1)
        try:
            matrix.main(command[3:])
        except SystemExit as leaving:
            return subprocess.CompletedProcess(command, 1, "", str(leaving.code))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(market.subprocess, "run", run)
    return count


def test_a_child_process_makes_it_and_this_one_maps_it(archive: Archive) -> None:
    made = load_matrix(archive.root, "us", "5m")
    assert made.symbols == ("IBM", "SPY")
    assert isinstance(made.bars, np.memmap)
    assert not made.bars.flags.writeable
    assert made.bars.dtype == BAR
    assert len(made.bars) == 360
    assert (np.diff(made.bars["ts_ms"] * 2 + made.bars["symbol"]) > 0).all()
    stored = archive.read("us", "5m", ["SPY"])
    mine = made.bars[made.bars["symbol"] == 1]
    for name in ("ts_ms", "open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(mine[name], stored[name].to_numpy())
    inside = mine["ts_ms"][mine["flags"] == 0]
    assert (inside[0], inside[-1], len(inside)) == (1_704_206_100_000, 1_704_229_200_000, 78)
    assert set(mine["flags"].tolist()) == {0, BAR_OUTSIDE}
    assert made.instruments[1]["tick"] == "0.01"
    assert (made.timeframe_ms, made.daily, made.calendars) == (STEP, False, ("XNYS", "XNYS"))


def test_the_daemon_side_loads_no_parquet_library(archive: Archive) -> None:
    code = (
        "import sys; from pathlib import Path; from avwapd.feeds import market, demo, check\n"
        "made = market.load_matrix(Path(sys.argv[1]), 'us', '5m'); demo.bundled_market()\n"
        "print(len(made.bars), *({'pandas', 'pyarrow', 'exchange_calendars'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(archive.root)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["360"]


def test_it_is_made_once_and_anew_when_a_source_changes(archive: Archive, children: list[int], tmp_path: Path) -> None:
    first = load_matrix(archive.root, "us", "5m", ["SPY"])
    assert load_matrix(archive.root, "us", "5m", ["SPY"]).data_hash == first.data_hash
    assert len(children) == 1
    more = write(tmp_path / "b.parquet", columns(3, START + 200 * STEP, price=400.0))
    put(archive, more)
    second = load_matrix(archive.root, "us", "5m", ["SPY"])
    assert (len(second.bars), len(children)) == (183, 2)
    assert second.data_hash != first.data_hash
    assert len(first.bars) == 180  # whoever mapped the old one keeps it
    load_matrix(archive.root, "us", "5m", ["IBM"])
    assert len(children) == 3


@pytest.mark.parametrize("damage", ["bytes", "short", "empty", "facts", "gone", "other"])
def test_it_is_made_anew_when_its_own_bytes_differ(archive: Archive, children: list[int], damage: str) -> None:
    first = load_matrix(archive.root, "us", "5m")
    good = first.bars.tobytes()
    request = MatrixRequest(archive.root, "us", "5m")
    array, facts = (request.out / f"{request.key}{end}" for end in (".npy", ".json"))
    content = bytearray(array.read_bytes())
    if damage == "facts":
        facts.write_text("{")
    elif damage == "gone":
        array.unlink()
    elif damage == "other":
        np.save(array, np.zeros(360))
    else:
        content[-30] ^= 1
        kept = {"bytes": len(content), "short": len(content) - 100, "empty": 0}[damage]
        beside = array.with_suffix(".new")
        beside.write_bytes(content[:kept])
        os.replace(beside, array)  # noqa: PTH105
    again = load_matrix(archive.root, "us", "5m")
    assert len(children) == 2
    assert again.bars.tobytes() == good


def test_a_window_holds_both_its_ends_and_may_be_empty(archive: Archive, children: list[int]) -> None:
    made = load_matrix(archive.root, "us", "5m", ["SPY"], start_ms=START, end_ms=START + 3 * STEP)
    assert made.bars["ts_ms"].tolist() == [START + n * STEP for n in range(4)]
    empty = load_matrix(archive.root, "us", "5m", ["SPY"], start_ms=START + 9999 * STEP)
    assert len(empty.bars) == 0
    assert load_matrix(archive.root, "us", "5m", ["SPY"], start_ms=START + 9999 * STEP).symbols == ("SPY",)
    assert len(children) == 2


def test_crypto_has_no_outside(archive: Archive, children: list[int]) -> None:
    made = load_matrix(archive.root, "binance", "5m")
    assert not made.bars["flags"].any()


@pytest.mark.parametrize(("exchange", "symbols"), [("us", ["NONE"]), ("nowhere", []), ("us", ["SPY", "NONE"])])
def test_what_is_not_there_is_told(archive: Archive, children: list[int], exchange: str, symbols: list[str]) -> None:
    with pytest.raises(FeedError, match="no bars of") as caught:
        load_matrix(archive.root, exchange, "5m", symbols)
    assert "bars import" in str(caught.value)


def test_a_damaged_source_is_told_by_name(archive: Archive, children: list[int]) -> None:
    path = archive.files("us", "5m")[-1]
    path.write_bytes(b"")
    with pytest.raises(FeedError, match="archive file is damaged") as caught:
        load_matrix(archive.root, "us", "5m")
    assert path.name in str(caught.value)


def test_a_child_that_hangs_is_given_up(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(market, "CHILD_LIMIT_S", 0.01)
    with pytest.raises(FeedError, match="took too long"):
        load_matrix(archive.root, "us", "5m")


def test_old_matrices_go(tmp_path: Path) -> None:
    for number in range(5):
        for end in (".npy", ".json"):
            (tmp_path / f"k{number}{end}").write_text("")
        os.utime(tmp_path / f"k{number}.json", (number, number))
    matrix.prune(tmp_path, kept=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["k3.json", "k3.npy", "k4.json", "k4.npy"]


def test_by_hand_it_needs_the_sessions(archive: Archive, tmp_path: Path) -> None:
    words = ["--archive", str(archive.root), "--exchange", "us", "--timeframe", "5m", "--symbols", "SPY"]
    words += ["--out", str(tmp_path / "out"), "--name", "mine"]
    with pytest.raises(SystemExit, match="no sessions were given for XNYS"):
        matrix.main(words)
    (tmp_path / "binance").mkdir()
    words[3], words[7] = "binance", "ADA-BTC"
    matrix.main(words)
    assert json.loads((tmp_path / "out/mine.json").read_text())["bars"] == 180
    assert len(np.load(tmp_path / "out/mine.npy")) == 180
