"""A scan's levels as the machine takes them."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

from avwapd.scan.result import Row, ScanResult

FORMAT = 1
SIDES = {"Long": 1, "Short": -1}


def watchlist(result: ScanResult, *, rules_version: str, data_hash: str, config_hash: str) -> dict[str, Any]:
    """The watchlist of a scan; plain JSON values.

    Prices are the rounded ones of the candidate file; atr and swings are exact, null where unknown. `version` is the
    sha256 of rows and anchors in canonical JSON: equal content has equal versions, whatever else made it.
    """
    rows = [row_of(row) for row in result.rows]
    anchors = [
        {
            "symbol": anchor.symbol,
            "kind": anchor.kind,
            "anchor_date": anchor.anchor_date,
            "known_date": anchor.known_date,
            "rule_version": anchor.rule_version,
        }
        for anchor in result.anchors
    ]
    content = {"scan_date": result.scan_date, "rows": rows, "anchors": anchors}
    return {
        "format": FORMAT,
        "scan_date": result.scan_date,
        "rules_version": rules_version,
        "data_hash": data_hash,
        "config_hash": config_hash,
        "version": version_of(content),
        "rows": rows,
        "anchors": anchors,
    }


def version_of(content: dict[str, Any]) -> str:
    """sha256 (hex) of scan_date, rows and anchors as JSON with sorted keys, no spaces, ASCII only."""
    kept = {name: content[name] for name in ("scan_date", "rows", "anchors")}
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def row_of(row: Row) -> dict[str, Any]:
    """One candidate as the watchlist has it; plain JSON values."""
    return {
        "symbol": row.symbol,
        "side": SIDES[row.direction],
        "tier": row.trend_tier,
        "price": row.price,
        "level": row.entry_level,
        "stop": row.stop_loss,
        "r1": row.target_r1,
        "r2": row.target_r2,
        "trend_score": row.trend_score,
        "dist_pct": row.entry_dist_pct,
        "sector": row.sector,
        "anchor": row.anchor,
        "anchor_date": row.anchor_date,
        "slope": row.avwap_slope,
        "confluence": row.avwap_confluence,
        "atr": _known(row.atr),
        "swing_low": _known(row.swing_low),
        "swing_high": _known(row.swing_high),
        "rank": row.rank,
        "execute": row.execute,
    }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
