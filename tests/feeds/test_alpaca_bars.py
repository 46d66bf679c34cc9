"""Alpaca's history and facts through its own client, before the simulator and before servers that misbehave."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from aiohttp import web

from avwapd.feeds import FeedError
from avwapd.feeds.alpaca_bars import AlpacaBars, daily_close
from avwapd.feeds.alpaca_facts import ActionRow, SessionDifference
from avwapd.feeds.live import FeedDoubt
from avwapd.ports import SystemClock
from tests.feeds.live_kit import KEYS, MINUTE_MS, VenueClock, addresses, source_of
from tests.venue.simulators import Running, market, running

pytestmark = pytest.mark.anyio

SYMBOLS = ("ALFA", "BRAVO")
NOW_MS = int(datetime(2026, 3, 9, 18, tzinfo=UTC).timestamp() * 1000)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def before_the_simulator(folder: Path, **options: Any) -> AsyncIterator[tuple[Running, AlpacaBars]]:
    made = options.pop("market", None) or market(3, "1m", SYMBOLS)
    async with running(folder, market=made, **options) as venue:
        source = source_of(venue.url, made, VenueClock(venue.sim.market.now_ms))
        try:
            yield venue, source
        finally:
            source.close()


@asynccontextmanager
async def before(
    answers: dict[str, Callable[[web.Request], Any]], *, timeframe: str = "1m", limit_s: float = 2.0
) -> AsyncIterator[tuple[list[web.Request], AlpacaBars]]:
    """A server of the test's own: what is returned for a path goes out as JSON, text or bytes as they are."""
    asked: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request)
        found = answers[request.path](request)
        if isinstance(found, web.Response):
            return found
        text = found if isinstance(found, str) else json.dumps(found)
        return web.Response(text=text, content_type="application/json")

    app = web.Application()
    app.router.add_route("GET", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    source = AlpacaBars(addresses(url), KEYS, SYMBOLS, timeframe, VenueClock(lambda: NOW_MS), limit_s=limit_s)
    try:
        yield asked, source
    finally:
        source.close()
        await runner.cleanup()


def bar(t: str = "2026-03-09T14:30:00Z", **more: Any) -> dict[str, Any]:
    return {"t": t, "o": 10.0, "h": 11, "l": 9.5, "c": 10.5, "v": 100, "n": 3, "vw": 10.2, **more}


# ------------------------------------------------------------------------------------------------------ history


async def test_history_is_the_archives_bars_over_many_pages(tmp_path: Path) -> None:
    made = market(3, "1m", SYMBOLS)
    async with before_the_simulator(tmp_path, market=made) as (venue, source):
        venue.bar(100)
        closed = made.bars[made.bars["ts_ms"] <= venue.sim.market.closed_ms]
        first, last = int(closed["ts_ms"][0]), int(closed["ts_ms"][-1])
        rows = await source.history(SYMBOLS, first, last + 10 * MINUTE_MS)
        assert rows.tolist() == closed.tolist()
        part = await source.history(SYMBOLS[1:], first + 5 * MINUTE_MS, first + 7 * MINUTE_MS)
        assert part.tolist() == [
            row for row in closed.tolist() if row[1] == 1 and 5 * MINUTE_MS <= row[0] - first <= 7 * MINUTE_MS
        ]
        assert len(await source.history(SYMBOLS, last + 1, last + MINUTE_MS)) == 0
        assert len(await source.history(("UNKNOWN",), first, last)) == 0


async def test_daily_bars_close_at_four_in_new_york(tmp_path: Path) -> None:
    made = market(3, "1m", SYMBOLS)
    async with running(tmp_path, market=made) as venue:
        clock = VenueClock(lambda: venue.sim.market.now_ms() + 86_400_000)
        source = AlpacaBars(addresses(venue.url), KEYS, SYMBOLS, "1d", clock)
        rows = await source.history(SYMBOLS, 0, clock.now_ms())
        source.close()
    stamps = sorted(set(rows["ts_ms"].tolist()))
    assert [datetime.fromtimestamp(at / 1000, UTC).isoformat() for at in stamps] == ["2025-03-03T21:00:00+00:00"]
    first = made.bars[(made.bars["ts_ms"] <= stamps[0]) & (made.bars["symbol"] == 0)]
    assert rows[0]["volume"] == first["volume"].sum()
    assert not source.streamed


@pytest.mark.parametrize(
    ("start", "close"),
    [
        ("2026-03-06T05:00:00+00:00", "2026-03-06T21:00:00+00:00"),  # before the clocks change
        ("2026-03-09T04:00:00+00:00", "2026-03-09T20:00:00+00:00"),
        ("2026-11-27T05:00:00+00:00", "2026-11-27T21:00:00+00:00"),  # a half day
    ],
)
def test_a_daily_bar_is_stamped_as_the_archive_does(start: str, close: str) -> None:
    at, wanted = (int(datetime.fromisoformat(text).timestamp() * 1000) for text in (start, close))
    assert daily_close(at) == wanted


def test_no_bar_where_there_is_no_session() -> None:
    assert daily_close(int(datetime(2026, 3, 7, 5, tzinfo=UTC).timestamp() * 1000)) == 0


async def test_forming_and_future_bars_are_left_out() -> None:
    bars = [bar("2026-03-09T17:58:00Z"), bar("2026-03-09T17:59:00Z"), bar("2026-03-09T18:00:00Z")]
    async with before({"/v2/stocks/bars": lambda _: {"bars": {"ALFA": bars}, "next_page_token": None}}) as (_, source):
        rows = await source.history(SYMBOLS, NOW_MS - 10 * MINUTE_MS, NOW_MS + 10 * MINUTE_MS)
    assert rows["ts_ms"].tolist() == [NOW_MS - MINUTE_MS, NOW_MS]


async def test_what_is_asked_of_the_service() -> None:
    async with before({"/v2/stocks/bars": lambda _: {"bars": {}, "next_page_token": None}}) as (asked, source):
        await source.history(SYMBOLS, NOW_MS - MINUTE_MS, NOW_MS)
    wanted = asked[0].query
    assert (wanted["symbols"], wanted["timeframe"]) == ("ALFA,BRAVO", "1Min")
    assert (wanted["feed"], wanted["adjustment"]) == ("iex", "raw")
    assert (wanted["start"], wanted["end"]) == ("2026-03-09T17:58:00+00:00", "2026-03-09T17:59:00+00:00")


async def test_every_page_is_asked_for() -> None:
    def answer(request: web.Request) -> Any:
        page = int(request.query.get("page_token", 0))
        bars = [bar(f"2026-03-09T15:{page * 10 + i:02}:00Z") for i in range(10)]
        return {"bars": {"ALFA": bars}, "next_page_token": str(page + 1) if page < 4 else None}

    async with before({"/v2/stocks/bars": answer}) as (asked, source):
        rows = await source.history(SYMBOLS, NOW_MS - 600 * MINUTE_MS, NOW_MS)
    assert len(asked) == 5
    assert np.diff(rows["ts_ms"]).tolist() == [MINUTE_MS] * 49


async def test_a_page_that_comes_again_and_again_ends() -> None:
    answer = {"bars": {"ALFA": [bar()]}, "next_page_token": "again"}
    async with before({"/v2/stocks/bars": lambda _: answer}) as (asked, source):
        with anyio.fail_after(5), pytest.raises(FeedDoubt, match="repeats"):
            await source.history(SYMBOLS, NOW_MS - 600 * MINUTE_MS, NOW_MS)
        assert len(asked) == 2


@pytest.mark.parametrize(
    "answer",
    [
        "<html>",
        "",
        "[]",
        "{}",
        {"bars": []},
        {"bars": {"ALFA": {}}},
        {"bars": {"OTHER": []}},
        {"bars": {"ALFA": [{}]}},
        {"bars": {"ALFA": [bar(t="yesterday")]}},
        {"bars": {"ALFA": [bar(t="2026-03-09T14:30:00")]}},
        {"bars": {"ALFA": [bar(o="10")]}},
        {"bars": {"ALFA": [bar(c=None)]}},
        {"bars": {"ALFA": [bar(v=True)]}},
        '{"bars": {"ALFA": [{"t": "2026-03-09T14:30:00Z", "o": NaN, "h": 1, "l": 1, "c": 1, "v": 1}]}}',
        '{"bars": {"ALFA": [{"t": "2026-03-09T14:30:00Z", "o": 1e400, "h": 1, "l": 1, "c": 1, "v": 1}]}}',
        '{"bars": {}, "bars": {"ALFA": []}}',
    ],
)
async def test_an_answer_that_cannot_be_read_is_no_empty_one(answer: Any) -> None:
    async with before({"/v2/stocks/bars": lambda _: answer}) as (_, source):
        with pytest.raises(FeedDoubt):
            await source.history(SYMBOLS, NOW_MS - 600 * MINUTE_MS, NOW_MS)


async def test_a_rate_limit_says_when_to_come_back() -> None:
    def limited(_: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "7"}, text="{}")

    async with before({"/v2/stocks/bars": limited}) as (asked, source):
        with pytest.raises(FeedDoubt) as caught:
            await source.history(SYMBOLS, NOW_MS - MINUTE_MS, NOW_MS)
        assert caught.value.retry_s == 7.0
        assert len(asked) == 1, "the client's own retries are off"


async def test_a_service_that_never_answers_is_given_up_in_time() -> None:
    async def hang(request: web.Request) -> web.Response:
        await anyio.sleep(30)
        return web.Response()

    app = web.Application()
    app.router.add_route("GET", "/{path:.*}", hang)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    source = AlpacaBars(addresses(url), KEYS, SYMBOLS, "1m", SystemClock(), limit_s=0.3)
    try:
        with anyio.fail_after(2), pytest.raises(FeedDoubt, match=r"within 0\.3 s"):
            await source.history(SYMBOLS, NOW_MS - MINUTE_MS, NOW_MS)
    finally:
        source.close()
        await runner.cleanup()


async def test_many_symbols_are_asked_in_pieces_at_once() -> None:
    names = tuple(f"S{i:03}" for i in range(450))

    def answer(request: web.Request) -> Any:
        return {"bars": {name: [bar()] for name in request.query["symbols"].split(",")}, "next_page_token": None}

    async with before({"/v2/stocks/bars": answer}) as (asked, source):
        source = AlpacaBars(source._where, KEYS, names, "1m", VenueClock(lambda: NOW_MS))
        rows = await source.history(names, NOW_MS - 600 * MINUTE_MS, NOW_MS)
        source.close()
    assert rows["symbol"].tolist() == list(range(450))
    assert len(asked) == 3


def test_a_timeframe_that_alpaca_lacks_is_refused() -> None:
    with pytest.raises(FeedError, match="no 8h bars"):
        AlpacaBars(addresses("http://127.0.0.1:1"), KEYS, SYMBOLS, "8h", SystemClock())


# -------------------------------------------------------------------------------------------------------- facts


async def test_instruments_are_whole_shares_unless_parts_are_wanted(tmp_path: Path) -> None:
    async with before_the_simulator(tmp_path) as (_, source):
        found = await source.instruments(("ALFA", "NOSUCH"))
        assert found == {
            "ALFA": {
                "asset": "equity",
                "quote": "USD",
                "tick": "0.01",
                "lot": "1",
                "min_qty": "1",
                "min_notional": "0",
                "calendar": "XNYS",
            }
        }
        parts = await source.instruments(("ALFA",), whole=False)
        assert parts["ALFA"]["lot"] in ("1", "0.0001")
    many = tuple(f"S{i}" for i in range(30))
    rows = [{"symbol": name, "fractionable": True} for name in (*many, "ELSE")]
    async with before({"/v2/assets": lambda _: rows}) as (asked, source):
        assert set(await source.instruments(many, whole=False)) == set(many)
        assert len(asked) == 1


async def test_the_calendars_agree_and_where_not_it_is_said(tmp_path: Path) -> None:
    async with before_the_simulator(tmp_path) as (_, source):
        assert await source.session_differences(date(2025, 3, 3), date(2025, 3, 14)) == []
        assert len(await source.calendar(date(2025, 3, 3), date(2025, 3, 14))) == 10
    rows = [
        {"date": "2026-03-09", "open": "09:30", "close": "13:00"},
        {"date": "2026-03-10", "open": "09:30", "close": "16:00"},
    ]
    async with before({"/v2/calendar": lambda _: rows}) as (_, source):
        found = await source.session_differences(date(2026, 3, 9), date(2026, 3, 11))
    hour = 3_600_000
    opened = int(datetime(2026, 3, 9, 13, 30, tzinfo=UTC).timestamp() * 1000)
    day = 24 * hour
    assert found == [
        SessionDifference(20260309, opened, opened + 7 * hour // 2, opened, opened + 13 * hour // 2),
        SessionDifference(20260311, 0, 0, opened + 2 * day, opened + 2 * day + 13 * hour // 2),
    ]


async def test_splits_dividends_and_what_no_ratio_tells() -> None:
    actions = {
        "forward_splits": [{"symbol": "ALFA", "ex_date": "2026-03-10", "new_rate": 4, "old_rate": 1}],
        "reverse_splits": [{"symbol": "BRAVO", "ex_date": "2026-03-11", "new_rate": 1, "old_rate": 10}],
        "cash_dividends": [
            {"symbol": "ALFA", "ex_date": "2026-03-10", "rate": 0.5},
            {"symbol": "OTHER", "ex_date": "2026-03-10", "rate": 0.5},
        ],
        "stock_dividends": [{"symbol": "ALFA", "ex_date": "2026-03-12", "rate": 0.25}],
        "name_changes": [{"old_symbol": "BRAVO", "new_symbol": "CODA", "process_date": "2026-03-12"}],
        "something_new": [{"symbol": "ALFA"}],
    }
    days = {"bars": {"ALFA": [bar("2026-03-06T05:00:00Z", c=50.0), bar("2026-03-10T04:00:00Z", c=12.0)]}}
    answers: dict[str, Callable[[web.Request], Any]] = {
        "/v1/corporate-actions": lambda _: {"corporate_actions": actions, "next_page_token": None},
        "/v2/stocks/bars": lambda _: {**days, "next_page_token": None},
    }
    async with before(answers) as (_, source):
        rows, changes = await source.corporate_actions(SYMBOLS, date(2026, 3, 9), date(2026, 3, 13))
    assert rows == [
        ActionRow(20260310, "ALFA", 0.25 * (1 - 0.5 / 50.0), 0.25),
        ActionRow(20260311, "BRAVO", 10.0, 10.0),
        ActionRow(20260312, "ALFA", 0.8, 0.8),
    ]
    assert [(day, symbol) for day, symbol, _ in changes] == [(20260312, "BRAVO")]
    assert changes[0].what == "is called CODA from then on"


async def test_an_action_that_cannot_be_read_is_a_doubt() -> None:
    for rows in ({"forward_splits": [{"symbol": "ALFA", "ex_date": "2026-03-10", "new_rate": 0, "old_rate": 1}]},
                 {"reverse_splits": [{"symbol": "ALFA", "new_rate": 1, "old_rate": 2}]},
                 {"forward_splits": {"symbol": "ALFA"}}):  # fmt: skip
        answers = {"/v1/corporate-actions": lambda _, rows=rows: {"corporate_actions": rows}}
        async with before(answers) as (_, source):
            with pytest.raises(FeedDoubt):
                await source.corporate_actions(SYMBOLS, date(2026, 3, 9), date(2026, 3, 13))


async def test_the_share_of_the_volume() -> None:
    def answer(request: web.Request) -> Any:
        volume = {"iex": 30, "sip": 1000}[request.query["feed"]]
        days = [bar(f"2026-03-0{day}T05:00:00Z", v=volume) for day in (5, 6)]
        return {"bars": {"ALFA": days if volume > 30 else days[1:]}, "next_page_token": None}

    async with before({"/v2/stocks/bars": answer}) as (_, source):
        assert await source.volume_share(SYMBOLS, NOW_MS) == {"ALFA": 0.015}
        source.plan = "sip"
        assert await source.volume_share(SYMBOLS, NOW_MS) == {"ALFA": 1.0, "BRAVO": 1.0}


# ------------------------------------------------------------------------------------------------------- stream


async def test_messages_that_can_be_no_bar_are_counted() -> None:
    source = AlpacaBars(addresses("http://127.0.0.1:1"), KEYS, SYMBOLS, "1m", SystemClock())
    got: list[Any] = []
    source._put = lambda *row: got.append(row)
    for message in ({"S": "ALFA"}, {"S": "ALFA", **bar(t=12)}, {"S": "ALFA", **bar(o="1")}, {"S": ["ELSE"], **bar()}):
        await source._on_bar(message)
    await source._on_correction({"S": "BRAVO", **bar()})
    source.close()
    assert source.facts()["unreadable"] == 3
    assert got == [(NOW_MS - 209 * MINUTE_MS, 1, 10.0, 11.0, 9.5, 10.5, 100.0, True)]
    assert np.isfinite(got[0][2:7]).all()
