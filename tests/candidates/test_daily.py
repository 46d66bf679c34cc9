"""Candidates of a historical scan, traded on daily bars: their own close confirms, the order works at the next open."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pyarrow.parquet
import pytest

from tests.candidates import market
from tests.candidates.files import (
    avwapd,
    bar_of,
    entries,
    figures,
    listed,
    portfolio,
    round_trips,
    same_order,
    scan_history,
    session_of,
    table,
    trade,
)
from tests.candidates.market import DAILY, HOURLY, Place

OUTPUTS = ["decisions.parquet", "decisions.csv", "trades.csv", "equity.csv", "portfolio.json"]


def test_every_entry_is_its_rows(place: Place, daily: Path) -> None:
    rows, seen = listed(place.candidates), entries(daily)
    assert len(seen) >= 40
    for entry in seen:
        day = market.dates()[session_of(int(entry["ts_ms"]), DAILY)]
        row = rows[entry["symbol"], day]  # of the close that confirms it, no other
        assert row["execute"]
        assert entry["side"] == row["direction"].lower()
        assert entry["reason"] == "scan"
        for name, found, wanted in same_order(entry, row):
            assert found == wanted, (name, entry)


def test_every_row_that_nothing_blocks_is_ordered(place: Place, daily: Path) -> None:
    days = market.dates()
    decisions = {
        (row["symbol"], days[session_of(int(row["ts_ms"]), DAILY)]): row for row in table(daily / "decisions.csv")
    }
    free = {
        key: decisions[key]
        for key, row in listed(place.candidates).items()
        if row["execute"] and decisions[key]["phase_before"] == "FLAT" and not decisions[key]["blocked_by"]
    }
    assert len(free) >= 40
    assert {row["signal"] for row in free.values()} == {"entry"}
    # What is not free says why.
    for key, row in listed(place.candidates).items():
        if key not in free:
            assert decisions[key]["blocked_by"] or decisions[key]["phase_before"] != "FLAT" or not row["execute"]


def test_orders_work_at_the_next_open(daily: Path) -> None:
    bars, trips = market.daily_bars(), round_trips(daily)
    stamps = sorted(set(bars["ts_ms"].tolist()))
    filled = set()
    for entry in entries(daily):
        at = stamps.index(int(entry["ts_ms"])) + 1
        if at == len(stamps):
            continue
        bar = bar_of(entry["symbol"], stamps[at], bars)
        side = 1 if entry["side"] == "long" else -1
        limit, opened = float(entry["entry"]), float(bar["open"])
        reached = float(bar["low"]) <= limit if side > 0 else float(bar["high"]) >= limit
        trip = trips.get((entry["symbol"], stamps[at]))
        if trip is not None:
            assert reached
            assert float(trip["entry_price"]) == (opened if side * (opened - limit) <= 0 else limit)
            filled.add((entry["symbol"], stamps[at]))
    assert len(filled) >= 20
    assert filled == set(trips), "a trade began in another session than the one after its row's"


def test_the_portfolio_follows_from_the_files(daily: Path, hourly: Path) -> None:
    for folder, timeframe in ((daily, DAILY), (hourly, HOURLY)):
        content = portfolio(folder)
        wanted = figures(folder, timeframe, market.traded()[0])
        assert content["returns"]["total_return"] == pytest.approx(wanted["total_return"], abs=1e-12)
        assert content["returns"]["max_drawdown"] == pytest.approx(wanted["max_drawdown"], abs=1e-12)
        assert content["returns"]["sessions"] == market.TRADED
        assert content["trades"]["trades"] == wanted["trades"] > 20
        assert content["trades"]["net_profit"] == pytest.approx(wanted["net_profit"], abs=1e-6)
        assert content["trades"]["fees"] == pytest.approx(wanted["fees"], abs=1e-6)


def test_the_manifest_names_candidates_and_files(place: Place, daily: Path) -> None:
    manifest = json.loads((daily / "backtest_run_manifest.json").read_bytes())
    assert manifest["candidates"] == hashlib.sha256(place.candidates.read_bytes()).hexdigest()
    assert list(manifest["outputs"]) == OUTPUTS
    for name, facts in manifest["outputs"].items():
        assert facts["sha256"] == hashlib.sha256((daily / name).read_bytes()).hexdigest()
    assert set(manifest["symbols"]) == {symbol for symbol, _ in listed(place.candidates)}
    assert sorted(path.name for path in daily.iterdir()) == sorted([*OUTPUTS, "backtest_run_manifest.json"])


def test_two_runs_same_bytes(place: Place, daily: Path, tmp_path: Path) -> None:
    again = trade(place.state, place.candidates, tmp_path / "again", DAILY)
    for path in daily.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes(), path.name


def test_other_candidates_are_another_run(place: Place, daily: Path, tmp_path: Path) -> None:
    rows = pyarrow.parquet.read_table(place.candidates)
    pyarrow.parquet.write_table(rows.slice(1), tmp_path / "less.parquet")
    other = trade(place.state, tmp_path / "less.parquet", tmp_path / "bt", DAILY)
    ids = [json.loads((f / "backtest_run_manifest.json").read_bytes())["run_id"] for f in (daily, other)]
    assert ids[0] != ids[1]


def test_symbols_restrict(place: Place, tmp_path: Path) -> None:
    folder = trade(place.state, place.candidates, tmp_path / "two", DAILY, "--symbols", "OAK,PINE,SPY")
    assert json.loads((folder / "backtest_run_manifest.json").read_bytes())["symbols"] == ["OAK", "PINE"]
    assert {row["symbol"] for row in entries(folder)} == {"OAK", "PINE"}


def test_shorts_where_they_are_allowed(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVWAPD_SCAN__ALLOW_SHORT", "true")
    candidates = scan_history(place.state, tmp_path / "scan")
    rows = listed(candidates)
    assert {row["direction"] for row in rows.values()} == {"Long", "Short"}
    refused = trade(place.state, candidates, tmp_path / "long", DAILY)
    assert {row["side"] for row in entries(refused)} == {"long"}
    monkeypatch.setenv("AVWAPD_SIGNAL__ALLOW_SHORT", "true")
    folder = trade(place.state, candidates, tmp_path / "both", DAILY)
    shorts = [row for row in entries(folder) if row["side"] == "short"]
    assert len(shorts) >= 10
    for entry in shorts:
        row = rows[entry["symbol"], market.dates()[session_of(int(entry["ts_ms"]), DAILY)]]
        assert row["direction"] == "Short"
        assert all(found == wanted for _, found, wanted in same_order(entry, row))
        assert float(entry["stop"]) > float(entry["avwap"]) >= float(entry["target_1"]) >= float(entry["target_2"])
    assert {row["side"] for row in table(folder / "trades.csv")} == {"long", "short"}


def test_without_candidates_the_manifest_names_none(place: Place, tmp_path: Path) -> None:
    words = ("--exchange", "us", "--timeframe", DAILY, "--start", market.iso(market.traded()[-5]), "--out", tmp_path)
    assert avwapd(place.state, "backtest", *words) == 0
    assert json.loads((tmp_path / "backtest_run_manifest.json").read_bytes())["candidates"] is None
    assert "random_entry" not in portfolio(tmp_path)["controls"]
