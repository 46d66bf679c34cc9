"""One day's scan: who is looked at, who falls at which step, who is left. Pure; the numbers come from the core."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from avwapd.config import Config
from avwapd.core.daily import (
    FELL_BAD_TICKER,
    FELL_CAP,
    FELL_EARNINGS,
    FELL_NONE,
    FELL_REGIME,
    FELL_ROWS,
    FELL_SECTOR,
    PICK,
    SIDES,
    work_space,
)
from avwapd.core.daily_scan import judge_many, measure_many, present_many
from avwapd.scan.day import RETURN, Day, begin, shown
from avwapd.scan.errors import ScanError
from avwapd.scan.rank import sector_ranks
from avwapd.scan.result import AnchorRow, Earning, Fallen, Member, Records, Row, ScanInputs, ScanResult
from avwapd.scan.rows import Ranked, anchor_rows, candidate_rows

__all__ = ["AnchorRow", "Earning", "Fallen", "Member", "Row", "ScanError", "ScanInputs", "ScanResult", "scan"]

SHOWN = 5  # symbols that an error names
PRESENT, STALE, ABSENT, GONE = 1, 0, -1, -2


def scan(inputs: ScanInputs, config: Config, *, rules_only: bool = False) -> ScanResult:
    """The candidates of the newest session at or before `inputs.as_of`.

    rules_only: steps 4 to 8 on raw prices, for the members or, without any, for every symbol; no liquidity, regime,
    earnings, caps. Raises ScanError where no bar lies so early, or where more than `stale_fraction` of the universe
    (bad tickers left out) has no bar of that session.
    """
    day = begin(inputs, config, rules_only)
    reason = ""
    if not rules_only:
        for symbol in day.names:
            if symbol in inputs.bad or symbol in config.scan.bad_tickers:
                day.fall(symbol, FELL_BAD_TICKER)
        _refuse_stale(day)
    work = work_space(config.scan.window_bars)
    measure_many(day.days, day.chosen, day.session, day.params[0], work, day.rows)
    _take_falls(day, day.rows["reason"], day.rows["value"], day.rows["limit"])
    if not rules_only:
        _cap(day)
        reason = _regime(day)
        _earnings(day)
    _mark_listings(day)
    picks = np.zeros((len(day.names), SIDES), PICK)
    picks["reason"] = -1
    alive = np.array([symbol not in day.why for symbol in day.names], np.uint8)
    judge_many(day.days, day.sessions, day.chosen, alive, _given(day), day.params[0], work, day.rows, picks)
    return _result(day, picks, reason, rules_only)


# --------------------------------------------------------------- before the rules


def _refuse_stale(day: Day) -> None:
    """Too many without the last session's bar: the data is not there yet, or the wrong data is.

    A symbol without any bars lacks it too, but where the universe is of a later day: it may not have been listed. One
    whose listing has ended is nobody's fault.
    """
    config = day.config.scan
    present = np.zeros(len(day.names), np.int8)
    present_many(day.days, day.chosen, day.session, config.listing_gap_sessions, present)
    good = np.array([symbol not in day.why for symbol in day.names], np.bool_) & (present != GONE)
    if day.inputs.stand_in:
        good &= present != ABSENT
    stale, absent = int(np.sum(good & (present == STALE))), int(np.sum(good & (present == ABSENT)))
    lacking, count = stale + absent, int(np.sum(good))
    if lacking > config.stale_fraction * count:
        which = [day.names[i] for i in np.flatnonzero(good & (present != PRESENT))[:SHOWN]]
        what = (
            f"{lacking:,} of {count:,} symbols have no bar of {shown(day.date)}: {stale:,} end earlier, "
            f"{absent:,} have no daily bars ({', '.join(which)}{', …' if lacking > SHOWN else ''})"
        )
        limit = f"scan.stale_fraction allows {config.stale_fraction:.0%}"
        next_step = "fetch or import the missing daily bars, scan an earlier day, or take a smaller universe"
        raise ScanError(what, limit, next_step)


# ------------------------------------------------------------------ steps 1 to 3


def _take_falls(day: Day, reasons: NDArray[np.int64], values: NDArray[np.float64], limits: NDArray[np.float64]) -> None:
    for i in np.flatnonzero(reasons != FELL_NONE).tolist():
        if day.names[i] not in day.why:
            day.fall(day.names[i], int(reasons[i]), _known(values[i]), _known(limits[i]))


def _known(value: float) -> float | None:
    return float(value) if value == value else None


def _cap(day: Day) -> None:
    """The top sectors by mean TrendScore, then the most dollar volume.

    A symbol without a sector belongs to none that could be ranked: it stays only where every sector does.
    """
    scan_ = day.config.scan
    left = day.left()
    sectors = [day.sector(day.names[i]) for i in left]
    ranks = sector_ranks(sectors, day.rows["trend_score"][left])
    for i, sector in zip(left, sectors, strict=True):
        rank = ranks.get(sector, len(ranks))
        if rank > scan_.top_sectors:
            day.fall(day.names[i], FELL_SECTOR, rank, scan_.top_sectors)
    dollars = day.rows["dollar_volume"].tolist()
    order = sorted(day.left(), key=lambda i: (-dollars[i], day.names[i]))
    for rank, i in enumerate(order[scan_.max_symbols :], scan_.max_symbols + 1):
        day.fall(day.names[i], FELL_CAP, rank, scan_.max_symbols)


def _regime(day: Day) -> str:
    """Why no symbol may be a candidate, "" where the market allows them; without data it does, with a warning."""
    scan_ = day.config.scan
    if not scan_.regime:
        return ""
    close, mean, _ = day.glance(scan_.index)
    if close != close or mean != mean:
        missing = "no bar" if close != close else f"fewer than {scan_.regime_days} bars"
        day.warnings.append(f"regime: {scan_.index} has {missing} of {shown(day.date)}; candidates are let through")
        return ""
    if close > mean:
        return ""
    for i in day.left():
        day.fall(day.names[i], FELL_REGIME, close, mean)
    return f"regime: {scan_.index} at {close:.2f} is not above its {scan_.regime_days}-day mean of {mean:.2f}"


def _earnings(day: Day) -> None:
    """Calendar days count from the scan's session; a report whose date was not known yet does not."""
    scan_ = day.config.scan
    if not scan_.earnings:
        return
    if day.inputs.earnings is None:
        day.warnings.append("earnings: no list was imported; symbols with earnings ahead are let through")
        return
    today = _ordinal(day.date)
    for symbol in [day.names[i] for i in day.left()]:
        for report in day.inputs.earnings.get(symbol, ()):
            ahead = _ordinal(report.date) - today
            if report.known_date <= day.date and 0 <= ahead <= scan_.earnings_days:
                day.fall(symbol, FELL_EARNINGS, ahead, scan_.earnings_days)
                break


def _ordinal(date: int) -> int:
    return datetime.date(date // 10_000, date // 100 % 100, date % 100).toordinal()


# ------------------------------------------------------------------- steps 4 to 9


def _mark_listings(day: Day) -> None:
    """Where the caller knows a symbol's first day and its window begins there, the whole listing is in sight."""
    for i, symbol in enumerate(day.names) if day.inputs.listed else ():
        if symbol in day.inputs.listed and day.rows[i]["end"] > 0:
            first = np.searchsorted(day.sessions["date"], day.inputs.listed[symbol])
            if day.days.session[day.rows[i]["first"]] == first:
                day.rows[i]["begins"] = 1


def _given(day: Day) -> NDArray[np.int64]:
    """Session of each symbol's newest earnings reaction and of the newest date the user names; -1 for none."""
    given = np.full((len(day.names), 2), -1, np.int64)
    dates = day.sessions["date"]
    anchors = day.config.scan.anchors
    for i, symbol in enumerate(day.names):
        if "Earnings" in anchors and day.inputs.earnings is not None:
            given[i, 0] = _reaction(day, day.inputs.earnings.get(symbol, ()))
        if "User" in anchors:
            past = [date for date in day.inputs.user.get(symbol, ()) if date <= day.date]
            given[i, 1] = np.searchsorted(dates, max(past)) if past else -1
    return given


def _reaction(day: Day, reports: Sequence[Earning]) -> int:
    """The first session that trades on the newest report: its own day's before the open, else the one after it."""
    found = -1
    for report in reports:
        if report.known_date > day.date:
            continue
        side: Literal["left", "right"] = "left" if report.when == "bmo" else "right"
        session = int(np.searchsorted(day.sessions["date"], report.date, side))
        if session <= day.session:
            found = max(found, session)
    return found


def _strength(day: Day, sectors: Sequence[str]) -> dict[str, float]:
    """Sector -> (1 + its fund's return) / (1 + the index's), 1 where unknown."""
    funds: Mapping[str, str] = day.config.scan.sector_funds
    index = 1.0 + day.glance(day.config.scan.index)[RETURN]
    found = {}
    for sector in sorted(set(sectors)):
        fund = 1.0 + day.glance(funds[sector])[RETURN] if sector in funds else float("nan")
        ratio = fund / index if index > 0.0 else float("nan")
        found[sector] = ratio if ratio == ratio else 1.0
    return found


def _result(day: Day, picks: Records, reason: str, rules_only: bool) -> ScanResult:
    best = picks["reason"].argmax(axis=1)  # the side that came furthest where none is a candidate
    found = [(int(i), int(j)) for i, j in np.argwhere(picks["reason"] == FELL_NONE)]
    passed = {i for i, _ in found}
    for i in day.left():
        if i not in passed:
            pick = picks[i, best[i]]
            day.fall(day.names[i], int(pick["reason"]), _known(pick["value"]), _known(pick["limit"]))
    ranked = Ranked.of(day, picks, found)
    most = len(found) if rules_only else day.config.scan.max_rows
    strength = _strength(day, [day.sector(day.names[i]) for i, _ in ranked.order[:most]])
    rows = candidate_rows(day, picks, ranked, strength, most)
    held = {i for i, _ in ranked.order[:most]}
    for rank, (i, _) in enumerate(ranked.order[most:], most + 1):
        if i not in held and day.names[i] not in day.why:
            day.fall(day.names[i], FELL_ROWS, rank, most)
    out = tuple(day.why[symbol] for symbol in day.names if symbol in day.why)
    fell = Counter(f"{fallen.step} {fallen.reason}" for fallen in out)
    counts = {"universe": len(day.names), **dict(sorted(fell.items())), "candidates": len(rows)}
    anchors = anchor_rows(day, sorted(held))
    return ScanResult(day.date, day.session, reason, rows, out, anchors, counts, tuple(day.warnings))
