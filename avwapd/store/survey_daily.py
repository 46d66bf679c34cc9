"""What is odd about archived daily bars of a market with a closing bell, corporate actions considered.

Beside the gaps and disorder of `survey`: moves that no action explains, actions that the prices do not show,
symbols whose last bar is old, and bars that no scan could use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avwapd.store.actions import Event
from avwapd.store.survey import OUTLIER, SPLIT_FIT, SPLIT_RATIOS, Finding, disorder

SPLIT_FROM = 1.4  # a smaller ratio overnight is a day's move
WHOLE = {1.5: "3:2"}
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Market(NamedTuple):
    """What the bars of every symbol are held against."""

    stamps: Ints  # the daily bar's ts_ms of every session
    dates: Ints  # yyyymmdd of each
    newest_ms: int  # of any symbol's bars
    listing_gap: int  # a hole of more sessions means that the ticker changed hands
    outlier_pct: float  # a larger move from close to close is reported


def survey_daily(columns: Mapping[str, NDArray[Any]], events: Sequence[Event], market: Market) -> list[Finding]:
    """Oddities in bars of one symbol as stored: columns ts_ms and VALUES, shape (n,). events: the symbol's."""
    ts_ms = columns["ts_ms"]
    place = np.searchsorted(market.stamps, ts_ms, side="right")
    on_session = market.stamps[np.maximum(place - 1, 0)] == ts_ms
    fit = usable(columns)
    found = [
        *disorder(ts_ms),
        *(Finding("no_session", int(t), int(t), "no session closes then") for t in ts_ms[~on_session]),
        *(Finding("unfit", int(t), int(t), "a price or the volume is impossible") for t in ts_ms[~fit]),
    ]
    missing = np.diff(place) - 1
    for row in np.flatnonzero(missing > 0):
        kind, words = "gap", f"{missing[row]} missing"
        if missing[row] > market.listing_gap:
            kind, words = "new_listing", f"{missing[row]} missing: the ticker changed hands"
        found.append(Finding(kind, int(ts_ms[row]), int(ts_ms[row + 1]), words))
    same_company = fit[:-1] & fit[1:] & (missing <= market.listing_gap) & (np.diff(ts_ms) > 0)
    found += _jumps(columns, ratios_at(ts_ms, events, market), same_company, market.outlier_pct)
    behind = int(np.searchsorted(market.stamps, market.newest_ms, side="right") - place[-1]) if len(place) else 0
    if behind > 0:
        words = f"the last bar is {behind} session{'s' * (behind > 1)} behind the newest in the archive"
        found.append(Finding("stale", int(ts_ms[-1]), market.newest_ms, words))
    return found


def usable(columns: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """True for bars whose prices and volume can be."""
    opened, high, low, close, volume = (columns[name] for name in ("open", "high", "low", "close", "volume"))
    with np.errstate(invalid="ignore"):
        fit = np.isfinite(opened + high + low + close + volume) & (low > 0) & (volume >= 0)
        fit &= (low <= np.minimum(opened, close)) & (np.maximum(opened, close) <= high)
    return np.asarray(fit)


def ratios_at(ts_ms: Ints, events: Sequence[Event], market: Market) -> Floats:
    """By what the actions of each bar's session multiply the prices before it; 1 nearly always."""
    ratio = np.ones(len(ts_ms))
    if events:
        session = np.searchsorted(market.dates, [event.ex_date for event in events])
        known = session < len(market.stamps)
        row = np.searchsorted(ts_ms, market.stamps[session[known]])
        acts = (row > 0) & (row < len(ts_ms))
        factors = np.array([event.price_ratio for event in events])[known]
        np.multiply.at(ratio, row[acts], factors[acts])
    return ratio


def _jumps(
    columns: Mapping[str, NDArray[Any]], ratio: Floats, wanted: NDArray[np.bool_], outlier_pct: float
) -> Iterator[Finding]:
    """Nights and days whose move is none of the market's."""
    rows = np.flatnonzero(wanted)
    ts_ms, opened, close = columns["ts_ms"], columns["open"][rows + 1], columns["close"][rows + 1]
    before = columns["close"][rows] * ratio[rows + 1]
    night, day, both = opened / before, close / opened, close / before
    fit = np.min(np.abs(_up(night)[:, None] / np.array(SPLIT_RATIOS) - 1.0), axis=1) if len(rows) else night
    split = (fit < SPLIT_FIT) & (_up(night) > SPLIT_FROM)
    moved = np.abs(both - 1.0) * 100.0 > outlier_pct
    for at in np.flatnonzero(split | moved | (_up(night) > OUTLIER) | (_up(day) > OUTLIER)):
        row = int(rows[at])
        guess = split_words(float(night[at] if split[at] else both[at])) if split[at] or moved[at] else ""
        told = f"closes {100.0 * (both[at] - 1.0):+.1f}% from the close before, opens {100.0 * (night[at] - 1.0):+.1f}%"
        applied = float(ratio[row + 1])
        if applied != 1.0:
            told += f"; after the action of that day (x{applied:.6g}), which does not explain it"
        elif guess:
            told += f"; looks like a split {guess} that no action explains"
        kind = "split" if split[at] and applied == 1.0 else "outlier"
        yield Finding(kind, int(ts_ms[row]), int(ts_ms[row + 1]), told)


def split_words(ratio: float) -> str:
    """7:1 for a price that fell to a seventh, 1:10 for one that rose tenfold; "" where it fits no usual split."""
    up = max(ratio, 1.0 / ratio)
    near = min(SPLIT_RATIOS, key=lambda known: abs(up / known - 1.0))
    if abs(up / near - 1.0) > SPLIT_FIT:
        return ""
    words = WHOLE.get(near, f"{near:g}:1")
    return words if ratio < 1 else ":".join(reversed(words.split(":")))


def _up(ratio: Floats) -> Floats:
    return np.maximum(ratio, 1.0 / ratio)
