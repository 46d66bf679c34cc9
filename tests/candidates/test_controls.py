"""What the candidates' backtest is held against: the symbols held over a split, and entries at random."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from avwapd.config import load
from avwapd.feeds.source import market_of
from avwapd.feeds.world import Setup, build, in_window
from avwapd.research import controls
from avwapd.research.control import random_lists
from avwapd.research.historical import as_date, read_candidates
from avwapd.research.portfolio import calendar_of
from tests.candidates import market
from tests.candidates.files import portfolio, trade
from tests.candidates.market import DAILY, HOURLY, Place

TIMEFRAMES = (DAILY, HOURLY)


def setup_of(place: Place, timeframe: str) -> Setup:
    options = {
        "run.exchange": "us",
        "run.timeframe": timeframe,
        "run.symbols": ",".join(market.STOCKS),
        "run.window_from": market.iso(market.traded()[0]),
    }
    config = load(place.state / "avwapd.toml", environ={}, options=options)
    return build(config, market_of(config, place.state / "archive"))


def held(bars: Any) -> list[float]:
    """Equal parts of every stock, from its first close in the window on; by session, of 1."""
    total = [0.0] * market.TRADED
    for symbol in market.STOCKS:
        closes = bars[bars["symbol"] == market.SYMBOLS.index(symbol)]["close"][-market.TRADED :].tolist()
        for at, close in enumerate(closes):
            total[at] += close / closes[0] / len(market.STOCKS)
    return total


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
def test_holding_over_a_split_does_not_jump(place: Place, split_place: Place, timeframe: str) -> None:
    wanted = held(market.daily_bars())
    jump = max(abs(now / then - 1) for then, now in zip(held(market.daily_bars(split=True)), wanted, strict=True))
    assert jump > 0.03, "the raw prices would show"
    for where in (place, split_place):
        setup = setup_of(where, timeframe)
        curve = controls.holds(setup, *in_window(setup.market.bars, setup.config))["buy_and_hold"]
        assert curve.equity.tolist() == pytest.approx([100_000.0 * value for value in wanted], rel=1e-12)
    assert len(setup.market.actions) == 1


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
def test_the_report_holds_the_same_with_and_without_the_split(
    place: Place, split_place: Place, daily: Path, hourly: Path, tmp_path: Path, timeframe: str
) -> None:
    folder = trade(split_place.state, split_place.candidates, tmp_path / "bt", timeframe)
    mine, plain = (
        portfolio(at)["controls"]["buy_and_hold"] for at in (folder, daily if timeframe == DAILY else hourly)
    )
    assert set(mine) == set(plain)
    for name in ("total_return", "max_drawdown", "volatility", "best_session", "worst_session"):
        assert mine[name] == pytest.approx(plain[name], rel=1e-9), name
    assert plain["total_return"] == pytest.approx(held(market.daily_bars())[-1] - 1.0, rel=1e-9)
    assert abs(portfolio(folder)["returns"]["worst_session"]) < 0.05


def drawn(place: Place, seed: int, draw: int) -> tuple[Any, Any]:
    """(the rows that a draw stands for, the draw) on daily bars."""
    setup = setup_of(place, DAILY)
    bars, begin = in_window(setup.market.bars, setup.config)
    calendar = calendar_of(setup, bars, begin)
    closes = controls.session_closes(setup, bars, calendar)
    names = setup.market.symbols
    real = controls.drawable(read_candidates(place.candidates), closes, calendar.dates, names)
    return real, random_lists(real, closes, calendar.dates, names, seed, draw)


def counted(lists: Any) -> Counter[tuple[str, int]]:
    return Counter((row["symbol"], row["side"]) for rows in lists.values() for row in rows)


def test_a_draw_has_as_many_rows_as_the_scans_on_other_days(place: Place) -> None:
    real, made = drawn(place, 1, 0)
    assert counted(made) == counted(real)
    assert sum(counted(real).values()) > 200
    last = market.dates()[-1]
    assert last not in made
    assert last not in real
    assert {day: {row["symbol"] for row in rows} for day, rows in made.items()} != {
        day: {row["symbol"] for row in rows} for day, rows in real.items()
    }
    for rows in made.values():
        assert len({row["symbol"] for row in rows}) == len(rows)
        for row in rows:
            assert row["side"] * (row["price"] - row["stop"]) > 0


def test_the_same_seed_draws_the_same(place: Place) -> None:
    _, first = drawn(place, 1, 0)
    assert drawn(place, 1, 0)[1] == first
    assert drawn(place, 2, 0)[1] != first
    assert drawn(place, 1, 1)[1] != first


@pytest.mark.parametrize("draws", [1, 6])
def test_as_many_draws_as_the_setting_says(
    place: Place, tmp_path: Path, draws: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVWAPD_PORTFOLIO__RANDOM_ENTRY_DRAWS", str(draws))
    found = portfolio(trade(place.state, place.candidates, tmp_path / "bt", DAILY))["controls"]["random_entry"]
    assert (found["draws"], found["left_out"]) == (draws, 0)


def test_the_seed_decides_the_comparison_alone(
    place: Place, daily: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVWAPD_RUN__SEED", "2")
    other, plain = portfolio(trade(place.state, place.candidates, tmp_path / "bt", DAILY)), portfolio(daily)
    mine, usual = (content["controls"]["random_entry"] for content in (other, plain))
    assert mine["draws"] == usual["draws"] == 4
    assert mine["real"] == usual["real"] == plain["trades"]["expectancy_r"]
    assert mine["mean"] != usual["mean"]
    assert other["returns"] == plain["returns"]


def test_a_symbol_that_is_listed_on_every_session_can_be_drawn(place: Place, tmp_path: Path) -> None:
    """The last session's row has no session to trade in, and none to stand for."""
    found = pyarrow.parquet.read_table(place.candidates)
    row = next(row for row in found.to_pylist() if row["symbol"] == "OAK")
    rows = [{**row, "scan_date": as_date(day), "rank": 1} for day in market.traded()]
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows, schema=found.schema), tmp_path / "every.parquet")
    for timeframe in TIMEFRAMES:
        folder = trade(place.state, tmp_path / "every.parquet", tmp_path / timeframe, timeframe)
        assert portfolio(folder)["controls"]["random_entry"]["draws"] == 4


def test_rows_of_sessions_without_a_bar_are_not_drawn() -> None:
    lists = {20240102: [{"symbol": "A"}, {"symbol": "B"}], 20240103: [{"symbol": "A"}, {"symbol": "C"}], 20240104: []}
    closes = np.array([[1.0, np.nan], [2.0, 3.0], [2.0, 3.0]])
    dates = np.array([20240102, 20240103, 20240104])
    found = controls.drawable({**lists, 20240105: [{"symbol": "A"}]}, closes, dates, ("A", "B"))
    assert found == {20240102: [{"symbol": "A"}], 20240103: [{"symbol": "A"}]}
