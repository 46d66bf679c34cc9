"""The scan's files as bytes: the same result gives the same bytes in every locale and time zone."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from avwapd.scan.day import shown
from avwapd.scan.result import Row, ScanResult

# Column -> attribute of Row. The order is the file's.
ATTRIBUTES = {
    "SchemaVersion": "schema_version",
    "ScanDate": "scan_date",
    "Symbol": "symbol",
    "Direction": "direction",
    "TrendTier": "trend_tier",
    "Price": "price",
    "Entry_Level": "entry_level",
    "Entry_DistPct": "entry_dist_pct",
    "Stop_Loss": "stop_loss",
    "Target_R1": "target_r1",
    "Target_R2": "target_r2",
    "TrendScore": "trend_score",
    "Sector": "sector",
    "Anchor": "anchor",
    "Anchor_Date": "anchor_date",
    "AVWAP_Slope": "avwap_slope",
    "AVWAP_Confluence": "avwap_confluence",
    "Sector_RS": "sector_rs",
    "Setup_VWAP_Control": "setup_vwap_control",
    "Setup_VWAP_Reclaim": "setup_vwap_reclaim",
    "Setup_VWAP_Acceptance": "setup_vwap_acceptance",
    "Setup_VWAP_DistPct": "setup_vwap_dist_pct",
    "Setup_AVWAP_Control": "setup_avwap_control",
    "Setup_AVWAP_Reclaim": "setup_avwap_reclaim",
    "Setup_AVWAP_Acceptance": "setup_avwap_acceptance",
    "Setup_AVWAP_DistPct": "setup_avwap_dist_pct",
    "Setup_Extension_State": "setup_extension_state",
    "Setup_Gap_Reset": "setup_gap_reset",
    "Setup_Structure_State": "setup_structure_state",
    "TrendScore_Zscore": "trend_score_zscore",
    "TrendScore_Pctile": "trend_score_pctile",
    "DistPct_Zscore": "dist_pct_zscore",
    "Composite_Rank": "composite_rank",
}
COLUMNS = tuple(ATTRIBUTES)
DATES = ("scan_date", "anchor_date")


def cells(row: Row) -> list[str]:
    """One row's fields. A float is its shortest decimal (7.4, not 7.40), nothing stands for an unknown one."""
    return [_cell(name, getattr(row, name)) for name in ATTRIBUTES.values()]


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    return shown(value) if name in DATES else str(value)


def csv_bytes(result: ScanResult) -> bytes:
    """`daily_candidates.csv`: the header, then a line a candidate; UTF-8, lines end with a newline alone."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(cells(row) for row in result.rows)
    return text.getvalue().encode()


def tradingview_bytes(result: ScanResult, listing: Mapping[str, str]) -> bytes:
    """`tradingview_watchlist.txt`: EXCHANGE:SYMBOL, or SYMBOL where the exchange is unknown, each once."""
    symbols = dict.fromkeys(row.symbol for row in result.rows)
    words = [f"{listing[symbol]}:{symbol}" if listing.get(symbol) else symbol for symbol in symbols]
    return (",".join(words) + "\n" if words else "").encode()
