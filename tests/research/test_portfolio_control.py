"""What a strategy is measured against."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avwapd.core.daily import Days
from avwapd.research import ResearchError
from avwapd.research.control import Lists, against, buy_and_hold, moved, random_lists, ranked, total_return
from avwapd.research.portfolio import Missing, measures
from tests.research.test_portfolio import DATES, YEAR

NAN = math.nan
SESSIONS = 40
SYMBOLS = ("AAA", "BBB", "CCC")
DAYS = np.array(DATES[:SESSIONS], np.int64)


# ----------------------------------------------------------------- holding


def test_equal_parts_held_to_the_end() -> None:
    closes = np.array([[10.0, NAN, NAN], [20.0, 8.0, NAN], [30.0, NAN, NAN], [20.0, 4.0, NAN]])
    got = buy_and_hold(closes, DAYS[:4], 1000.0)
    assert got.equity.tolist() == [1000.0, 500 * 2 + 500, 500 * 3 + 500, 500 * 2 + 250]
    assert measures(got, YEAR)["total_return"] == 0.25
    assert got.base == 1000.0


def test_nothing_to_hold_is_refused() -> None:
    with pytest.raises(ResearchError, match="no close lies in that window"):
        buy_and_hold(np.full((3, 2), NAN), DAYS[:3], 1000.0)


def test_a_split_and_a_dividend_are_no_loss() -> None:
    """Close 100; a 2:1 split, then 50; a dividend of 1 at 50, so 0.98 of earlier prices; session 3 has no bar."""
    close = np.array([7.0, 100.0, 50.0, 49.0, 53.9])
    days = Days(
        offsets=np.array([0, 1, 5]),
        session=np.array([1, 1, 2, 4, 5], np.int32),
        open=close,
        high=close,
        low=close,
        close=close,
        volume=close,
        price_ratio=np.array([1.0, 1.0, 0.5, 0.98, 1.0]),
        split_ratio=np.array([1.0, 1.0, 0.5, 1.0, 1.0]),
    )
    got = total_return(days, 1, np.arange(7))
    assert math.isnan(got[0])
    assert got[1:] == pytest.approx([100.0, 100.0, 100.0, 100.0, 110.0, 110.0], rel=1e-12)
    assert np.isnan(total_return(days._replace(offsets=np.array([0, 0, 5])), 0, np.arange(3))).all()


# ------------------------------------------------------------ random entry


def row(
    symbol: str, price: float, *, side: int = 1, tier: str = "A", score: float = 1.0, **more: Any
) -> dict[str, Any]:
    """A candidate whose distances depend on its score."""
    away = 1 - side * score / 100
    return {
        "symbol": symbol,
        "side": side,
        "tier": tier,
        "price": price,
        "level": round(price * away, 2),
        "stop": round(price * away * (1 - side * 0.03), 2),
        "r1": round(price * (1 + side * 0.02), 2),
        "r2": round(price * (1 + side * 0.04), 2),
        "trend_score": score,
        "dist_pct": score,
        "sector": f"sector of {symbol}",
        "anchor": "YTD",
        "anchor_date": 20200101,
        "slope": 0.1,
        "confluence": 1,
        "atr": price * 0.02,
        "swing_low": price * 0.9,
        "swing_high": None,
        "rank": 1,
        "execute": score < 2,
    }


def market(seed: int = 2) -> np.ndarray:
    """float64 [sessions, symbols]; CCC is listed late."""
    closes = 100.0 * np.cumprod(1.0 + (np.random.default_rng(seed).random((SESSIONS, 3)) - 0.5) / 10, axis=0)
    closes[:30, 2] = NAN
    return closes


def candidates() -> Lists:
    closes = market()
    return {
        DATES[t]: [
            row("AAA", closes[t, 0], score=1 + t / 10),
            row("BBB", closes[t, 1], score=1.5 + t / 10, side=-1 if t == 33 else 1, tier="B"),
            row("CCC", closes[t, 2], score=0.5 + t / 10),
        ]
        for t in (31, 33, 35)
    }


def flat(lists: Lists) -> list[tuple[int, dict[str, Any]]]:
    return [(date, dict(one)) for date, rows in lists.items() for one in rows]


def near(got: float, expected: float) -> bool:
    return abs(got - expected) <= 0.005 + 1e-9  # half a cent


@settings(max_examples=50)
@given(seed=st.integers(0, 2**31 - 1), draw=st.integers(0, 1000))
def test_random_lists_keep_all_but_the_session(seed: int, draw: int) -> None:
    real, closes = candidates(), market()
    made = random_lists(real, closes, DAYS, SYMBOLS, seed, draw)
    before, after = flat(real), flat(made)
    for key in (
        lambda r: (r["symbol"], r["sector"], r["side"]),
        lambda r: (r["side"], r["trend_score"], r["execute"], r["tier"]),
    ):
        assert Counter(key(r) for _, r in before) == Counter(key(r) for _, r in after)
    assert len({(date, r["symbol"]) for date, r in after}) == len(before)
    shapes = {r["trend_score"]: r for _, r in before}
    for date, r in after:
        t = DATES.index(date)
        close = closes[t, SYMBOLS.index(r["symbol"])]
        shape = shapes[r["trend_score"]]
        assert t < SESSIONS - 1
        assert r["price"] == close
        assert r["anchor_date"] == date
        for name in ("level", "stop", "r1", "r2"):
            assert near(r[name], close * shape[name] / shape["price"]), name
            assert r[name] == round(r[name], 2)
        assert r["atr"] / close == pytest.approx(shape["atr"] / shape["price"], rel=1e-12)
        assert r["swing_high"] is None
    assert list(made) == sorted(made)


def test_every_draw_is_another_and_can_be_made_again() -> None:
    texts = [json.dumps(random_lists(candidates(), market(), DAYS, SYMBOLS, 7, draw)) for draw in (0, 0, 1)]
    assert texts[0] == texts[1] != texts[2]
    turned = {date: rows[::-1] for date, rows in reversed(candidates().items())}
    assert json.dumps(random_lists(turned, market(), DAYS, SYMBOLS, 7, 0)) == texts[0]


def test_every_session_and_every_shape_is_reached_alike() -> None:
    places: Counter[int] = Counter()
    pairs: Counter[tuple[str, float]] = Counter()
    for draw in range(1000):
        for date, r in flat(random_lists(candidates(), market(), DAYS, SYMBOLS, 7, draw)):
            if r["symbol"] == "AAA":
                places[DATES.index(date)] += 1
            if r["side"] == 1:
                pairs[r["symbol"], r["trend_score"]] += 1
    assert set(places) == set(range(SESSIONS - 1))
    assert all(abs(seen - 3000 / 39) < 4.5 * math.sqrt(3000 / 39) for seen in places.values())
    assert len(pairs) == 3 * 8  # a long shape on each symbol's rows, BBB's third row is short
    assert 1.5 * min(pairs[s, x] for s, x in pairs if s == "AAA") > max(pairs[s, x] for s, x in pairs if s == "AAA")


def test_a_list_is_ranked_like_a_scan() -> None:
    rows = [
        row("B", 9.0, score=1.0),
        row("A", 9.0, score=1.0),
        row("C", 9.0, score=3.0),
        row("D", 9.0, tier="B", score=9),
    ]
    got = [(r["symbol"], r["rank"]) for r in ranked(rows)]
    assert got == [("C", 1), ("A", 2), ("B", 3), ("D", 4)]


@pytest.mark.parametrize(
    ("lists", "what"),
    [
        ({DATES[3]: [row("ZZZ", 10.0)]}, "a candidate without bars: ZZZ"),
        ({date: [row("CCC", 10.0)] for date in DATES[:10]}, "10 candidates but 9 sessions to draw from: CCC"),
        ({DATES[3]: [row("AAA", 0.0)]}, "a candidate's price is 0.0: AAA"),
    ],
)
def test_what_cannot_be_drawn_is_refused(lists: Lists, what: str) -> None:
    with pytest.raises(ResearchError, match=what):
        random_lists(lists, market(), DAYS, SYMBOLS, 1, 0)


def test_no_candidate_gives_no_list() -> None:
    assert random_lists({}, market(), DAYS, SYMBOLS, 1, 0) == {}
    assert moved(row("AAA", 10.0), row("BBB", 20.0), 30.0, 20200102)["symbol"] == "BBB"


# --------------------------------------------------------------- compared


def test_the_place_among_random_entries() -> None:
    got = against(0.25, [0.0, 0.1, 0.25, 0.3, Missing("no trade")])
    assert (got["draws"], got["left_out"]) == (5, 1)
    assert (got["percentile"], got["p_value"]) == (62.5, 3 / 5)
    assert got["mean"] == pytest.approx(0.1625)
    assert got["p50"] == pytest.approx(0.175)


def test_what_cannot_be_compared_says_why() -> None:
    assert against(Missing("no trade"), [0.1])["undefined"]["percentile"] == "no trade"
    got = against(0.1, [Missing("no trade")])
    assert (got["p_value"], got["undefined"]["p_value"]) == (None, "no draw made a trade")


@given(real=st.floats(-5, 5), drawn=st.lists(st.floats(-5, 5), min_size=1, max_size=30))
def test_a_better_result_never_has_a_lower_place(real: float, drawn: list[float]) -> None:
    one, better = against(real, drawn), against(real + 0.5, drawn)
    assert 0 <= one["percentile"] <= better["percentile"] <= 100
    assert 0 < better["p_value"] <= one["p_value"] <= 1
