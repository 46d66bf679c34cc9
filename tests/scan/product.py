"""The product's scan in the oracle's words: one symbol, one day, one side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from avwapd import config
from avwapd.scan.run import Row, scan
from tests.scan.market import PRICES, Bars, defaults, inputs, sessions


def bars_of(frame: pd.DataFrame) -> Bars:
    dates = frame["date"].dt.strftime("%Y%m%d").astype(np.int64).to_numpy()
    session = np.searchsorted(sessions()["date"], dates).astype(np.int32)
    assert (sessions()["date"][session] == dates).all()
    ones = np.ones(len(frame))
    columns = [np.ascontiguousarray(frame[name].to_numpy(np.float64)) for name in PRICES]
    return Bars(session, *columns, ones, ones)


def settings(*, short: bool) -> config.Config:
    if not short:
        return defaults()
    options = {"scan.allow_short": "true", "scan.allow_long": "false"}
    return config.load(folder=defaults_folder(), environ={}, options=options)


def defaults_folder() -> Any:
    from pathlib import Path

    return Path("/nonexistent")


def candidates(symbol: str, frame: pd.DataFrame, date: Any, short: bool = False) -> dict[str, Any] | None:
    """The row of STRATEGY's steps 4 to 8 and its labels; None where the symbol falls."""
    day = int(pd.Timestamp(date).strftime("%Y%m%d"))
    result = scan(inputs({symbol: bars_of(frame)}, day), settings(short=short), rules_only=True)
    assert result.scan_date == day
    return in_words(result.rows[0]) if result.rows else None


def in_words(row: Row) -> dict[str, Any]:
    happened = "bearish" if row.direction == "Short" else "bullish"
    return {
        "ScanDate": shown(row.scan_date),
        "Symbol": row.symbol,
        "Direction": row.direction,
        "TrendTier": row.trend_tier,
        "Price": row.price,
        "Entry_Level": row.entry_level,
        "Entry_DistPct": row.entry_dist_pct,
        "Stop_Loss": row.stop_loss,
        "Target_R1": row.target_r1,
        "Target_R2": row.target_r2,
        "TrendScore": row.trend_score,
        "Anchor": row.anchor,
        "Anchor_Date": shown(row.anchor_date),
        "AVWAP_Slope": row.avwap_slope,
        "AVWAP_Confluence": row.avwap_confluence,
        "Setup_VWAP_Control": row.setup_vwap_control,
        "Setup_VWAP_Reclaim": row.setup_vwap_reclaim == happened,
        "Setup_VWAP_Acceptance": row.setup_vwap_acceptance == happened,
        "Setup_VWAP_DistPct": row.setup_vwap_dist_pct,
        "Setup_AVWAP_Control": row.setup_avwap_control,
        "Setup_AVWAP_Reclaim": row.setup_avwap_reclaim == happened,
        "Setup_AVWAP_Acceptance": row.setup_avwap_acceptance == happened,
        "Setup_AVWAP_DistPct": row.setup_avwap_dist_pct,
        "Setup_Extension_State": row.setup_extension_state,
        "Setup_Gap_Reset": row.setup_gap_reset,
        "Setup_Structure_State": row.setup_structure_state,
    }


def shown(day: int) -> str:
    return f"{day // 10_000:04}-{day // 100 % 100:02}-{day % 100:02}"
