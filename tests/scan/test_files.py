"""The scan's files: the golden list of columns, bytes that depend on the result alone, the machine's watchlist."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from avwapd.scan.files import COLUMNS, csv_bytes, tradingview_bytes
from avwapd.scan.result import Row, ScanResult
from avwapd.scan.run import scan
from avwapd.scan.watchlist import version_of, watchlist
from tests.scan.generated import walk
from tests.scan.market import defaults, inputs

ROOT = Path(__file__).parents[2]
GOLDEN = (
    "SchemaVersion,ScanDate,Symbol,Direction,TrendTier,Price,Entry_Level,Entry_DistPct,Stop_Loss,Target_R1,Target_R2,"
    "TrendScore,Sector,Anchor,Anchor_Date,AVWAP_Slope,AVWAP_Confluence,Sector_RS,Setup_VWAP_Control,"
    "Setup_VWAP_Reclaim,Setup_VWAP_Acceptance,Setup_VWAP_DistPct,Setup_AVWAP_Control,Setup_AVWAP_Reclaim,"
    "Setup_AVWAP_Acceptance,Setup_AVWAP_DistPct,Setup_Extension_State,Setup_Gap_Reset,Setup_Structure_State,"
    "TrendScore_Zscore,TrendScore_Pctile,DistPct_Zscore,Composite_Rank"
)
ROW = Row(
    schema_version=1,
    scan_date=20_190_612,
    symbol="BRK.B",
    direction="Long",
    trend_tier="A",
    price=222.3,
    entry_level=219.35,
    entry_dist_pct=1.34,
    stop_loss=215.75,
    target_r1=224.59,
    target_r2=226.88,
    trend_score=15.177522,
    sector='Food, "Drink" & Café',
    anchor="MTD",
    anchor_date=20_190_603,
    avwap_slope=0.0083,
    avwap_confluence=2,
    sector_rs=1.0123,
    setup_vwap_control="bullish",
    setup_vwap_reclaim="none",
    setup_vwap_acceptance="bullish",
    setup_vwap_dist_pct=2.5,
    setup_avwap_control="bullish",
    setup_avwap_reclaim="bullish",
    setup_avwap_acceptance="none",
    setup_avwap_dist_pct=1.34,
    setup_extension_state="moderate",
    setup_gap_reset="recent",
    setup_structure_state="neutral",
    trend_score_zscore=0.0,
    trend_score_pctile=100.0,
    dist_pct_zscore=-0.5,
    composite_rank=None,
    atr=3.123456789,
    swing_low=float("nan"),
    swing_high=225.0,
    rank=1,
    execute=True,
)
LINE = (
    '1,2019-06-12,BRK.B,Long,A,222.3,219.35,1.34,215.75,224.59,226.88,15.177522,"Food, ""Drink"" & Café",MTD,'
    "2019-06-03,0.0083,2,1.0123,bullish,none,bullish,2.5,bullish,bullish,none,1.34,moderate,recent,neutral,"
    "0.0,100.0,-0.5,"
)


def result(*rows: Row) -> ScanResult:
    return ScanResult(20_190_612, 5_000, "", rows, (), (), {}, ())


def test_the_columns_are_these_in_this_order() -> None:
    assert ",".join(COLUMNS) == GOLDEN


def test_bytes_of_the_candidate_file() -> None:
    assert csv_bytes(result()) == (GOLDEN + "\n").encode()
    content = csv_bytes(result(ROW, replace(ROW, composite_rank=0.25)))
    assert content == f"{GOLDEN}\n{LINE}\n{LINE}0.25\n".encode()
    assert list(csv.reader(io.StringIO(content.decode())))[1][12] == ROW.sector


def test_the_chart_site_list() -> None:
    rows = [replace(ROW, symbol=symbol) for symbol in ("MSFT", "BRK.B", "MSFT", "X")]
    listing = {"MSFT": "NASDAQ", "BRK.B": "NYSE", "X": ""}
    assert tradingview_bytes(result(*rows), listing) == b"NASDAQ:MSFT,NYSE:BRK.B,X\n"
    assert tradingview_bytes(result(), listing) == b""


def made(*rows: Row, **changes: str) -> dict[str, Any]:
    hashes = {"rules_version": "1", "data_hash": "d", "config_hash": "c"} | changes
    return watchlist(result(*rows), **hashes)


def test_the_machine_gets_rounded_levels_and_exact_ranges() -> None:
    row = made(ROW)["rows"][0]
    assert (row["side"], row["level"], row["stop"], row["r1"], row["r2"]) == (1, 219.35, 215.75, 224.59, 226.88)
    assert (row["atr"], row["swing_low"], row["swing_high"]) == (3.123456789, None, 225.0)
    assert made(replace(ROW, direction="Short"))["rows"][0]["side"] == -1
    assert json.loads(json.dumps(made(ROW), allow_nan=False)) == made(ROW)


@pytest.mark.parametrize("change", [{"stop_loss": 215.76}, {"execute": False}, {"atr": 3.1234567891}, {"rank": 2}])
def test_a_watchlist_version_names_its_rows(change: dict[str, Any]) -> None:
    first, other = made(ROW), made(replace(ROW, **change))
    assert first["version"] != other["version"]
    assert first["version"] == made(ROW, data_hash="e")["version"] == version_of(first)
    assert len(first["version"]) == 64


PROBE = """
import hashlib, locale
locale.setlocale(locale.LC_ALL, "")
from tests.scan.test_files import printed
print(hashlib.sha256(printed()).hexdigest())
"""


def printed() -> bytes:
    bars = {f"S{i:02}": walk(i, 400, drift=0.0015) for i in range(20)} | {"SPY": walk(1000, 400, drift=0.001)}
    found = scan(inputs(bars), defaults())
    assert found.rows
    made = watchlist(found, rules_version="1", data_hash="d", config_hash="c")
    return csv_bytes(found) + tradingview_bytes(found, {}) + json.dumps(made).encode()


def test_neither_locale_nor_time_zone_nor_hash_seed_changes_a_byte() -> None:
    places = [("C", "UTC", "0"), ("C.UTF-8", "Pacific/Kiritimati", "1"), ("POSIX", "America/New_York", "77")]
    digests = set()
    for name, zone, seed in places:
        env = {**os.environ, "LC_ALL": name, "TZ": zone, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", PROBE], cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=True
        )
        digests.add(done.stdout)
    assert len(digests) == 1
