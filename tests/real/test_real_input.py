"""Real recorded markets, end to end: imported, traded by the daemon, verified against a fresh backtest."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.real.runs import RUNS, Desk, need

DEFAULT_EXITS = {"stop", "r1", "r2", "invalidation", "time_stop"}
TRIPS = "SELECT count(*) FROM (SELECT symbol_id, trade FROM fills GROUP BY 1, 2 HAVING min(held) = 0)"
# Small ones in every test run; the two long ones in the campaign as well.
ALWAYS = ("b", "d", "e")


def shown(name: str, folder: Path) -> tuple[Desk, set[str]]:
    """Run one market and hold it to what must be seen; returns its exit reasons."""
    run = RUNS[name]
    need(run)
    desk = Desk(run, folder)
    desk.replay()
    bars = sum(pq.ParquetFile(path).metadata.num_rows for path in run.files.values())
    [(decisions,)] = desk.rows("SELECT count(*) FROM decisions")
    assert decisions == bars, "one decision a closed bar"
    [(silent,)] = desk.rows(
        "SELECT count(*) FROM decision_words WHERE skip = '' AND exit = '' AND signal <> 'entry' AND intent = 0"
    )
    assert silent == 0, "every skip has a reason"
    [(unordered,)] = desk.rows(
        "SELECT count(*) FROM (SELECT ts_ms, lag(ts_ms) OVER (PARTITION BY symbol_id ORDER BY seq) AS before FROM bars)"
        " WHERE before >= ts_ms"
    )
    assert unordered == 0, "strictly increasing"
    [(trips,)] = desk.rows(TRIPS)
    assert int(str(trips)) >= run.trips
    told = desk.call("verify").stdout
    assert "Result: PASS" in told
    assert desk.call("audit").returncode == 0
    return desk, {str(reason) for (reason,) in desk.rows("SELECT DISTINCT reason FROM fills WHERE reason <> ''")}


@pytest.mark.parametrize("name", ALWAYS)
def test_a_recorded_market_trades_and_verifies(name: str, tmp_path: Path) -> None:
    _, reasons = shown(name, tmp_path / name)
    assert reasons


@pytest.mark.campaign
def test_all_recorded_markets_show_every_default_exit(tmp_path: Path) -> None:
    seen: set[str] = set()
    for name in RUNS:
        desk, reasons = shown(name, tmp_path / name)
        [(trips,)] = desk.rows(TRIPS)
        print(f"run ({name}): {trips} round trips, exits {sorted(reasons)}")
        seen |= reasons
    assert seen >= DEFAULT_EXITS


def test_one_tick_in_one_recorded_bar_is_found(tmp_path: Path) -> None:
    """After the run the archive's copy of one bar moves by one tick: verify names that bar and field."""
    desk, _ = shown("b", tmp_path / "b")
    [path] = sorted((tmp_path / "b" / "archive" / "binance" / "5m").glob("*.parquet"))[1:2]
    table = pq.read_table(path)
    at = len(table) // 2
    closes = table["close"].to_pylist()
    ts_ms = table["ts_ms"][at].as_py()
    closes[at] += 1e-8
    highs = [max(high, close) for high, close in zip(table["high"].to_pylist(), closes, strict=True)]
    for name, values in (("close", closes), ("high", highs)):
        index = table.schema.get_field_index(name)
        table = table.set_column(index, table.schema.field(name), [values])
    pq.write_table(table, path)
    told = desk.call("verify", expect=1).stdout
    assert "Result: FAIL" in told
    first = next(line for line in told.splitlines() if line.startswith("First mismatch"))
    assert str(ts_ms) in first
