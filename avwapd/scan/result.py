"""What a scan takes and what it gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from avwapd.core.daily import Days

SCHEMA_VERSION = 1
ANCHOR_RULE_VERSION = 1  # moves when an anchor kind's rule does


class Member(Protocol):
    """What the scan wants to know of a symbol of the universe; "" for an unknown sector."""

    @property
    def sector(self) -> str: ...


class Earning(Protocol):
    """One report: dates yyyymmdd; known_date: from when on `date` was known; when: bmo, amc or "" (unknown)."""

    @property
    def date(self) -> int: ...
    @property
    def known_date(self) -> int: ...
    @property
    def when(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class ScanInputs:
    """All that a scan may look at.

    symbols: of `days`, in its order; sessions: SESSION records of the exchange; as_of: yyyymmdd, None for the newest
    session; members: the universe; earnings: None where there is no file; bad: symbol -> reason; user: dates
    yyyymmdd that the user anchors a symbol at; listed: first day of a symbol's listing, yyyymmdd, where known;
    stand_in: the members are of a later day than the scan's.
    """

    symbols: tuple[str, ...]
    days: Days
    sessions: NDArray[np.void]
    as_of: int | None
    members: Mapping[str, Member]
    earnings: Mapping[str, tuple[Earning, ...]] | None
    bad: Mapping[str, str]
    listing: Mapping[str, str] = field(default_factory=dict)
    user: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    listed: Mapping[str, int] = field(default_factory=dict)
    stand_in: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One candidate: an attribute a column of the file, rounded as it is there, then what only the machine needs.

    Dates are yyyymmdd. atr, swing_low and swing_high are exact, NaN where unknown; rank counts from 1.
    """

    schema_version: int
    scan_date: int
    symbol: str
    direction: str
    trend_tier: str
    price: float
    entry_level: float
    entry_dist_pct: float
    stop_loss: float
    target_r1: float
    target_r2: float
    trend_score: float
    sector: str
    anchor: str
    anchor_date: int
    avwap_slope: float
    avwap_confluence: int
    sector_rs: float
    setup_vwap_control: str
    setup_vwap_reclaim: str
    setup_vwap_acceptance: str
    setup_vwap_dist_pct: float | None
    setup_avwap_control: str
    setup_avwap_reclaim: str
    setup_avwap_acceptance: str
    setup_avwap_dist_pct: float
    setup_extension_state: str
    setup_gap_reset: str
    setup_structure_state: str
    trend_score_zscore: float
    trend_score_pctile: float
    dist_pct_zscore: float
    composite_rank: float | None
    atr: float
    swing_low: float
    swing_high: float
    rank: int
    execute: bool


@dataclass(frozen=True, slots=True)
class Fallen:
    """A symbol that fell out: at which step of the rules, why, and the value that missed the limit (None for none)."""

    symbol: str
    step: int
    reason: str
    value: float | None
    limit: float | None


@dataclass(frozen=True, slots=True)
class AnchorRow:
    """An anchor of a candidate. Dates yyyymmdd: the bar it lies on and the bar at whose close it was known."""

    symbol: str
    kind: str
    anchor_date: int
    known_date: int
    rule_version: int


@dataclass(frozen=True)
class ScanResult:
    """scan_date: yyyymmdd; session: index into the sessions; reason: why there are no rows, "" where rules say so."""

    scan_date: int
    session: int
    reason: str
    rows: tuple[Row, ...]
    out: tuple[Fallen, ...]
    anchors: tuple[AnchorRow, ...]
    counts: Mapping[str, int]
    warnings: tuple[str, ...]


Records = np.ndarray[Any, np.dtype[np.void]]
