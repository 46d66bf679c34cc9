"""The same candidates on hourly bars: in force in the session after the scan, at the row's level, stop and targets."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet
import pytest

from tests.candidates import market
from tests.candidates.files import entries, listed, round_trips, same_order, session_of, table, trade
from tests.candidates.market import HOURLY, Place


def days_of(rows: list[dict[str, str]]) -> list[tuple[dict[str, str], int]]:
    """Each row with the place of its session."""
    place = {ts_ms: session_of(int(ts_ms), HOURLY) for ts_ms in {row["ts_ms"] for row in rows}}
    return [(row, place[row["ts_ms"]]) for row in rows]


def test_both_timeframes_tell_the_same_market() -> None:
    days, hours = market.daily_bars(), market.hourly_bars()
    assert days["volume"].sum() == hours["volume"].sum()
    assert days["high"].max() == hours["high"].max()
    last = hours[hours["ts_ms"] == hours["ts_ms"][-1]]
    assert days[-len(last) :]["close"].tolist() == last["close"].tolist()


def test_a_row_trades_in_the_session_after_its_scan_only(place: Place, tmp_path: Path) -> None:
    """The gate passes there, blocks where the row is older, and is not asked where a list has none of the symbol.

    Every third scan was not made.
    """
    table_of = pyarrow.parquet.read_table(place.candidates)
    days = sorted(set(table_of["scan_date"].to_pylist()))
    made = pyarrow.compute.is_in(table_of["scan_date"], pa.array(set(days) - set(days[::3]), pa.date32()))
    pyarrow.parquet.write_table(table_of.filter(made), tmp_path / "some.parquet")
    hourly = trade(place.state, tmp_path / "some.parquet", tmp_path / "bt", HOURLY)
    rows = listed(tmp_path / "some.parquet")
    scanned = sorted({day for _, day in rows})
    seen = set()
    for row, at in days_of(table(hourly / "decisions.csv")):
        before = [day for day in scanned if day < market.dates()[at]]
        if not before:
            assert row["gate_watchlist_stale"] == "-"
            continue
        candidate = rows.get((row["symbol"], before[-1]))
        fresh = before[-1] == market.dates()[at - 1]
        wanted = "-" if candidate is None else ("pass" if fresh else "block")
        assert row["gate_watchlist_stale"] == wanted, row
        seen.add(wanted)
    assert seen == {"-", "pass", "block"}


def test_entries_on_rows_have_their_level_stop_and_targets(place: Place, hourly: Path) -> None:
    rows, trips = listed(place.candidates), round_trips(hourly)
    checked = 0
    for entry, at in days_of(entries(hourly)):
        candidate = rows[entry["symbol"], market.dates()[at - 1]]
        for name, found, wanted in same_order(entry, candidate):
            assert found == wanted, (name, entry)
        assert float(entry["close"]) > float(entry["avwap"])
        checked += 1
    assert checked >= 40
    assert len(trips) >= checked // 2


def test_targets_behind_the_fill_become_multiples_of_its_risk(place: Place, hourly: Path) -> None:
    decisions = table(hourly / "decisions.csv")
    orders = {(row["symbol"], int(row["ts_ms"])): row for row in entries(hourly)}
    times: dict[str, list[int]] = {}
    for row in decisions:
        times.setdefault(row["symbol"], []).append(int(row["ts_ms"]))
    after = {(row["symbol"], int(row["ts_ms"])): row for row in decisions}
    kept = moved = 0
    for (symbol, filled_ms), trip in round_trips(hourly).items():
        mine = times[symbol]
        order = orders[symbol, mine[mine.index(filled_ms) - 1]]
        held = after[symbol, filled_ms]
        if held["phase_before"] == "FLAT" or not held["target_1"]:
            continue  # the bar that filled it ended it too
        price, stop, first = float(trip["entry_price"]), float(order["stop"]), float(order["target_1"])
        wanted = first if first > price else price + (price - stop)
        assert float(held["target_1"]) == pytest.approx(wanted, abs=1e-9), trip
        kept, moved = kept + (first > price), moved + (first <= price)
        if trip["r_multiple"] and trip["leg"] == "1":
            risk = (price - stop) * float(trip["qty"])
            assert float(trip["r_multiple"]) == pytest.approx(float(trip["pnl"]) / risk, abs=1e-5)
    assert kept >= 20
    assert moved >= 3


def test_what_is_not_on_the_list_opens_nothing(place: Place, hourly: Path) -> None:
    folder = hourly
    assert entries(folder)
    rows = listed(place.candidates)
    for entry, at in days_of(entries(folder)):
        assert (entry["symbol"], market.dates()[at - 1]) in rows
    off = [row for row in table(folder / "decisions.csv") if row["gate_not_on_watchlist"] == "block"]
    assert len(off) > 100
    assert {row["gate_watchlist_stale"] for row in off} == {"-"}
    assert "not_on_watchlist" in {row["blocked_by"] for row in off}
    assert not {row["signal"] for row in off} & {"entry"}


def test_two_runs_same_bytes(place: Place, hourly: Path, tmp_path: Path) -> None:
    again = trade(place.state, place.candidates, tmp_path / "again", HOURLY)
    for path in hourly.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes(), path.name
