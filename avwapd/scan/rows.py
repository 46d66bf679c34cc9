"""From the core's records to candidate rows: rounded, labelled, ranked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from avwapd.config import Config
from avwapd.core.codes import DAILY_ANCHORS
from avwapd.core.daily import TIERS
from avwapd.scan.day import Day
from avwapd.scan.rank import percentiles, zscores
from avwapd.scan.result import ANCHOR_RULE_VERSION, SCHEMA_VERSION, AnchorRow, Records, Row

PRICE, SLOPE, SCORE, RATIO, PERCENTILE = 2, 4, 6, 4, 2  # decimals
SIDE_WORDS = ("Long", "Short")
LEANING = {1: "bullish", -1: "bearish", 0: "neutral"}
HAPPENED = {1: "bullish", -1: "bearish", 0: "none"}


@dataclass(frozen=True)
class Ranked:
    """(symbol, side) of every candidate by tier, TrendScore falling, symbol and side, with figures in that order.

    Z-scores and percentiles compare all of them, also those that the file has no room for, by exact values.
    """

    order: list[tuple[int, int]]
    trend_z: list[float]
    distance_z: list[float]
    slope_z: list[float]
    percentile: list[float]

    @classmethod
    def of(cls, day: Day, picks: Records, found: Sequence[tuple[int, int]]) -> Ranked:
        order = sorted(found, key=lambda at: (picks[at]["tier"], -picks[at]["trend_score"], day.names[at[0]], at[1]))
        chosen = [picks[at] for at in order]
        scores, distances, slopes = (
            [float(pick[name]) for pick in chosen] for name in ("trend_score", "distance_pct", "slope")
        )
        return cls(order, zscores(scores), zscores(distances), zscores(slopes), percentiles(scores))


def candidate_rows(
    day: Day, picks: Records, ranked: Ranked, strength: Mapping[str, float], most: int
) -> tuple[Row, ...]:
    """The first `most` candidates; strength: sector -> its strength against the index."""
    scan, made = day.config.scan, []
    kinds = kinds_of(scan.anchors)
    for k, (i, j) in enumerate(ranked.order[:most]):
        sector = day.sector(day.names[i])
        composite = (
            scan.composite_trend_weight * ranked.trend_z[k]
            + scan.composite_distance_weight * ranked.distance_z[k]
            + scan.composite_slope_weight * ranked.slope_z[k]
        )
        made.append(
            Row(
                schema_version=SCHEMA_VERSION,
                scan_date=day.date,
                symbol=day.names[i],
                direction=SIDE_WORDS[j],
                sector=sector,
                sector_rs=rounded(strength[sector], RATIO),
                trend_score_zscore=rounded(ranked.trend_z[k], SCORE),
                trend_score_pctile=rounded(ranked.percentile[k], PERCENTILE),
                dist_pct_zscore=rounded(ranked.distance_z[k], SCORE),
                composite_rank=rounded(composite, SCORE) if scan.composite_rank else None,
                rank=k + 1,
                execute=k < scan.execute_rows,
                **_levels(day, kinds, day.rows[i], picks[i, j]),
                **_labels(day.rows[i], picks[i, j], day.config),
            )
        )
    return tuple(made)


def rounded(value: float, decimals: int) -> float:
    """Half to even on the exact float; never a negative zero."""
    return round(float(value), decimals) + 0.0


def kinds_of(anchors: Mapping[str, int]) -> list[str]:
    """Anchor words in the order of SCAN_PARAMS: the highest priority first, then by code."""
    return sorted(anchors, key=lambda word: (-anchors[word], DAILY_ANCHORS.index(word)))


def _levels(day: Day, kinds: Sequence[str], row: Any, pick: Any) -> dict[str, Any]:
    slot = int(pick["anchor"])
    return {
        "trend_tier": TIERS[pick["tier"]],
        "price": rounded(row["close"], PRICE),
        "entry_level": rounded(pick["line"], PRICE),
        "entry_dist_pct": rounded(pick["distance_pct"], PRICE),
        "stop_loss": rounded(pick["stop"], PRICE),
        "target_r1": rounded(pick["target1"], PRICE),
        "target_r2": rounded(pick["target2"], PRICE),
        "trend_score": rounded(pick["trend_score"], SCORE),
        "anchor": kinds[row["anchor_kind"][slot]],
        "anchor_date": day.date_of(row["anchor_row"][slot]),
        "avwap_slope": rounded(pick["slope"], SLOPE),
        "avwap_confluence": int(pick["confluence"]),
        "atr": float(row["atr"]),
        "swing_low": float(row["swing_low"]),
        "swing_high": float(row["swing_high"]),
    }


def _labels(row: Any, pick: Any, config: Config) -> dict[str, Any]:
    scan = config.scan
    close, vwap, line, away = (float(x) for x in (row["close"], row["vwap"], pick["line"], pick["distance_pct"]))
    age = int(row["gap_age"])
    return {
        "setup_vwap_control": LEANING[int(row["vwap_control"])],
        "setup_vwap_reclaim": HAPPENED[int(row["vwap_reclaim"])],
        "setup_vwap_acceptance": HAPPENED[int(row["vwap_acceptance"])],
        "setup_vwap_dist_pct": rounded((close - vwap) / vwap * 100.0, PRICE) if vwap > 0.0 else None,
        "setup_avwap_control": LEANING[int(pick["control"])],
        "setup_avwap_reclaim": HAPPENED[int(pick["reclaim"])],
        "setup_avwap_acceptance": HAPPENED[int(pick["acceptance"])],
        "setup_avwap_dist_pct": rounded((close - line) / line * 100.0, PRICE),
        "setup_extension_state": (
            "balanced" if away <= scan.balanced_pct else "extended" if away >= scan.extended_pct else "moderate"
        ),
        "setup_gap_reset": "none" if age < 0 else "recent" if age < scan.gap_reset_days else "stale",
        "setup_structure_state": LEANING[int(row["structure"])],
    }


def anchor_rows(day: Day, chosen: Sequence[int]) -> tuple[AnchorRow, ...]:
    """Every known anchor of the chosen symbols, also those whose line did not fit."""
    kinds, found = kinds_of(day.config.scan.anchors), []
    for i in chosen:
        row = day.rows[i]
        for slot in range(int(row["anchor_count"])):
            begin, known = (day.date_of(row[name][slot]) for name in ("anchor_row", "known_row"))
            kind = kinds[row["anchor_kind"][slot]]
            found.append(AnchorRow(day.names[i], kind, begin, known, ANCHOR_RULE_VERSION))
    return tuple(found)
