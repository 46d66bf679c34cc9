"""The demo market: the same bits from the same seed, and believable enough to trade on."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from avwapd.config.kinds import TIMEFRAME_MS
from avwapd.feeds import FeedError, calendar, check, demo
from avwapd.feeds.market import Market, hash_of

SOME = ("AAA", "BBB", "CCC")


def one(market: Market, index: int) -> np.ndarray:  # type: ignore[type-arg]
    return market.bars[market.bars["symbol"] == index]


def test_the_bundled_market_comes_from_its_seed_bit_for_bit() -> None:
    bundled, made = demo.bundled_market(), demo.generate(**demo.BUNDLED)
    assert bundled.bars.tobytes() == made.bars.tobytes()
    assert bundled.data_hash == made.data_hash == hash_of(bundled.bars)
    assert (bundled.symbols, bundled.instruments) == (made.symbols, made.instruments)
    assert (bundled.exchange, bundled.timeframe) == (made.exchange, made.timeframe)


def test_the_bundled_market_is_small_and_has_a_half_day() -> None:
    assert sum(path.stat().st_size for path in demo.FOLDER.iterdir()) < 300_000
    first = one(demo.bundled_market(), 0)
    lengths = np.unique(first["ts_ms"] // 86_400_000, return_counts=True)[1]
    assert sorted(set(lengths.tolist())) == [42, 78]
    assert len(lengths) == demo.BUNDLED["session_count"]


def test_a_damaged_bundle_is_told(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "hash_of", lambda bars: "0")
    with pytest.raises(FeedError, match="install avwapd again"):
        demo.bundled_market()


@pytest.mark.parametrize("timeframe", ["1m", "5m", "1h", "1d"])
@pytest.mark.parametrize("kind", ["equity", "crypto"])
def test_every_bar_passes_the_door_and_lies_in_a_session(kind: str, timeframe: str) -> None:
    market = demo.generate(SOME, 12, timeframe, 3, kind)
    bars = market.bars
    table = calendar.sessions(market.calendars[0], int(bars["ts_ms"][0]), int(bars["ts_ms"][-1]))
    inside = calendar.in_session(bars["ts_ms"], table, daily=market.daily)
    assert inside.all()
    stamps = calendar.stamps_of("XNYS", table) if market.daily and kind == "equity" else None
    for index in range(3):
        mine = one(market, index)
        assert not check.check_bars(mine, timeframe_ms=TIMEFRAME_MS[timeframe], stamps=stamps).refused
        assert (mine["volume"] > 0).all()
    assert len(np.unique(calendar.session_index(bars["ts_ms"], table, daily=market.daily))) == 12


def test_seeds_differ_and_symbols_differ() -> None:
    first, second = demo.generate(SOME, 5, "5m", 1), demo.generate(SOME, 5, "5m", 2)
    assert first.data_hash != second.data_hash
    assert first.data_hash == demo.generate(SOME, 5, "5m", 1).data_hash
    assert not np.array_equal(one(first, 0)["close"], one(first, 1)["close"])


def test_a_mixed_market_is_sorted_and_knows_its_pairs() -> None:
    market = demo.generate(("BTC-USD", "AAA"), 4, "5m", 1, "mixed")
    assert market.symbols == ("AAA", "BTC-USD")
    assert market.calendars == ("XNYS", "24/7")
    assert market.instruments[1]["quote"] == "USD"
    keys = market.bars["ts_ms"] * 2 + market.bars["symbol"]
    assert (np.diff(keys) > 0).all()


def test_it_looks_like_a_market() -> None:
    market = demo.bundled_market()
    edges, middle, gaps, moves, crossings = [], [], [], [], 0
    for index in range(len(market.symbols)):
        mine = one(market, index)
        days = [mine[mine["ts_ms"] // 86_400_000 == day] for day in np.unique(mine["ts_ms"] // 86_400_000)]
        for day in days:
            edges.append((day["volume"][:6].sum() + day["volume"][-6:].sum()) / 12)
            middle.append(day["volume"][len(day) // 2 - 6 : len(day) // 2 + 6].sum() / 12)
            typical = (day["high"] + day["low"] + day["close"]) / 3
            line = np.cumsum(typical * day["volume"]) / np.cumsum(day["volume"])
            above = day["close"] > line
            crossings += int((~above[:-2] & above[1:-1] & above[2:]).sum())
        gaps += [abs(b["open"][0] / a["close"][-1] - 1) for a, b in pairwise(days)]
        moves += np.abs(np.diff(np.log(mine["close"]))).tolist()
    assert np.mean(edges) > 2 * np.mean(middle)
    assert np.mean(gaps) > np.mean(moves)
    assert crossings > 100  # breaks of the session's line that hold for a second close


@pytest.mark.parametrize(("symbols", "kind"), [((), "equity"), (("A", "A"), "equity"), (("A",), "bond")])
def test_nonsense_is_refused(symbols: tuple[str, ...], kind: str) -> None:
    with pytest.raises(ValueError, match=r"symbols|kind"):
        demo.generate(symbols, 2, "5m", 1, kind)
