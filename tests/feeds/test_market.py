"""What the core is told of each instrument."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from avwapd.core.codes import CRYPTO, EQUITY
from avwapd.core.records import INSTRUMENT, SESSION
from avwapd.feeds import FeedError, demo
from avwapd.feeds.calendar import in_session
from avwapd.feeds.market import Market, instrument_hash, instrument_records

FEES: dict[str, Any] = {"commission_usd": 1.0, "commission_bps": 10.0, "slippage_bps": 2.5, "seed": 3}


@pytest.fixture(scope="module")
def mixed() -> Market:
    return demo.generate(("AAA", "BTC-USD", "ETH-BTC", "XYZ-GBP", "ZZZ"), 5, "5m", 1, "mixed")


def test_every_field_of_an_equity_and_of_a_pair(mixed: Market) -> None:
    records, table = instrument_records(mixed, **FEES)
    assert (records.dtype, table.dtype) == (INSTRUMENT, SESSION)
    share, coin = records[0], records[1]
    assert (share["tick"], share["lot"], share["unit_value"]) == (0.01, 1.0, 0.01)
    assert (share["commission_units"], share["commission_ppm"], share["slippage_ppm"]) == (100, 0, 250)
    assert (share["asset"], share["bell"], share["shortable"], share["daily"], share["tradable"]) == (
        EQUITY,
        1,
        1,
        0,
        1,
    )
    assert (coin["tick"], coin["lot"], coin["unit_value"]) == (0.01, 0.0001, 1e-06)
    assert (coin["commission_units"], coin["commission_ppm"], coin["min_qty"]) == (0, 1000, 1)
    assert (coin["asset"], coin["bell"], coin["shortable"]) == (CRYPTO, 0, 0)
    assert set(records["timeframe_ms"].tolist()) == {300_000}
    assert records["profile_row"].tolist() == [0, -1, -1, -1, 1]
    assert len(set(records["hash"].tolist())) == 5
    assert all(0 <= value < 2**31 for value in records["hash"].tolist())


def test_sessions_lie_one_calendar_after_the_other_and_cover_every_bar(mixed: Market) -> None:
    records, table = instrument_records(mixed, **FEES)
    for index, record in enumerate(records):
        mine = table[record["session_first"] :][: record["session_count"]]
        assert (np.diff(mine["open_ms"]) > 0).all()
        times = mixed.bars["ts_ms"][mixed.bars["symbol"] == index]
        assert in_session(times, mine).all()
        assert (mine["close_ms"] <= times[0]).sum() >= 10
        assert (mine["open_ms"] >= times[-1]).sum() >= 30
    assert records["session_first"].tolist()[1:4] == [0, 0, 0]
    assert len(table) == sum({int(r["session_first"]): int(r["session_count"]) for r in records}.values())


def test_sessions_reach_as_far_as_asked(mixed: Market) -> None:
    last = int(mixed.bars["ts_ms"][-1])
    _, table = instrument_records(mixed, **FEES, last_ms=last + 365 * 86_400_000)
    assert table["open_ms"].max() > last + 365 * 86_400_000


def test_conversion_pairs_either_way_round(mixed: Market) -> None:
    in_usd, _ = instrument_records(mixed, **FEES)
    assert in_usd["convert_symbol"].tolist() == [-1, -1, 1, -2, -1]
    assert in_usd["convert_inverse"].tolist() == [0] * 5
    in_btc, _ = instrument_records(mixed, **FEES, equity_currency="BTC", read_only={"BTC-USD"})
    assert in_btc["convert_symbol"].tolist() == [1, 1, -1, -2, 1]
    assert in_btc["convert_inverse"].tolist() == [1, 1, 0, 0, 1]
    assert in_btc["tradable"].tolist() == [1, 0, 1, 1, 1]


def test_daily_bars_and_odd_lots() -> None:
    market = demo.generate(("AAA",), 5, "1d", 1)
    row = {**market.instruments[0], "tick": "0.0001", "lot": "10", "min_qty": "15", "min_notional": "2.5"}
    records, _ = instrument_records(replace(market, instruments=(row,)), **FEES)
    assert (records[0]["daily"], records[0]["timeframe_ms"]) == (1, 86_400_000)
    assert (records[0]["unit_value"], records[0]["commission_units"]) == (0.001, 1000)
    assert (records[0]["min_qty"], records[0]["min_notional"]) == (2, 2.5)


def test_the_hash_is_the_same_everywhere_and_depends_on_all_three() -> None:
    assert instrument_hash("us", "SPY", 1) == 1_374_120_120
    others = {instrument_hash(*key) for key in (("us", "SPY", 1), ("us", "SPY", 2), ("x", "SPY", 1), ("us", "IBM", 1))}
    assert len(others) == 4


def test_without_bars_a_time_must_be_given(mixed: Market) -> None:
    empty = replace(mixed, bars=mixed.bars[:0])
    with pytest.raises(FeedError, match="no bars in that time"):
        instrument_records(empty, **FEES)
    assert len(instrument_records(empty, **FEES, first_ms=1_704_207_000_000)[0]) == 5
