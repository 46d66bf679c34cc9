"""The unmodified alpaca-py clients against the simulator's REST, on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import anyio
import pytest
from alpaca.common.exceptions import APIError
from alpaca.data.enums import Adjustment
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.historical.corporate_actions import CorporateActionsClient
from alpaca.data.requests import (
    CorporateActionsRequest,
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockSnapshotRequest,
)
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, OrderStatus, OrderType, PositionSide, QueryOrderStatus, TimeInForce
from alpaca.trading.requests import (
    ClosePositionRequest,
    GetCalendarRequest,
    GetOrdersRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
    StopLimitOrderRequest,
    StopOrderRequest,
)

from tests.venue.simulators import Running, running

T = TypeVar("T")
FIVE = TimeFrame(5, TimeFrameUnit.Minute)


@pytest.fixture
async def venue(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path / "venue") as there:
        yield there


@pytest.fixture
def trading(venue: Running) -> TradingClient:
    return TradingClient("key", "secret", url_override=venue.url)


async def ask(call: Callable[..., T], *words: Any, **options: Any) -> T:
    with anyio.fail_after(10):
        return await anyio.to_thread.run_sync(lambda: call(*words, **options))


def buy(qty: float = 10, cid: str | None = None, symbol: str = "ALFA") -> MarketOrderRequest:
    return MarketOrderRequest(
        symbol=symbol, qty=qty, side=OrderSide.BUY, time_in_force=TimeInForce.DAY, client_order_id=cid
    )


async def refused(call: Callable[..., Any], *words: Any, **options: Any) -> APIError:
    with pytest.raises(APIError) as caught:
        await ask(call, *words, **options)
    return caught.value


async def test_an_order_lives_from_pending_to_filled(venue: Running, trading: TradingClient) -> None:
    venue.bar()
    order = await ask(trading.submit_order, buy(cid="one"))
    assert order.status is OrderStatus.PENDING_NEW
    assert (order.filled_qty, order.client_order_id) == ("0", "one")
    assert (await ask(trading.get_order_by_id, order.id)).status is OrderStatus.NEW
    venue.bar()
    done = await ask(trading.get_order_by_client_id, "one")
    opened = venue.sim.market.history(0, 0, 1 << 60)[-1]["open"]
    assert done.status is OrderStatus.FILLED
    assert (done.filled_qty, done.filled_avg_price) == ("10", str(opened))
    account = await ask(trading.get_account)
    assert float(account.cash) == pytest.approx(100_000 - 10 * opened)
    assert float(account.equity) == pytest.approx(float(account.cash) + 10 * float(venue.sim.desk.marks["ALFA"]))
    position = await ask(trading.get_open_position, "ALFA")
    assert (position.qty, position.side, position.qty_available) == ("10", PositionSide.LONG, "10")
    assert [one.symbol for one in await ask(trading.get_all_positions)] == ["ALFA"]


async def test_a_replacement_is_a_new_order_and_the_old_one_replaced(venue: Running, trading: TradingClient) -> None:
    venue.bar()
    old = await ask(
        trading.submit_order,
        LimitOrderRequest(symbol="ALFA", qty=4, side=OrderSide.BUY, time_in_force=TimeInForce.GTC, limit_price=1.25),
    )
    new = await ask(trading.replace_order_by_id, old.id, ReplaceOrderRequest(qty=7, limit_price=1.5))
    assert new.id != old.id
    assert (new.replaces, new.qty, new.limit_price) == (old.id, "7", "1.5")
    before = await ask(trading.get_order_by_id, old.id)
    assert (before.status, before.replaced_by) == (OrderStatus.REPLACED, new.id)
    error = await refused(trading.replace_order_by_id, old.id, ReplaceOrderRequest(qty=3))
    assert (error.status_code, error.code) == (422, 42210000)


async def test_what_is_canceled_cannot_be_canceled_again(venue: Running, trading: TradingClient) -> None:
    venue.bar()
    order = await ask(trading.submit_order, buy())
    await ask(trading.cancel_order_by_id, order.id)
    assert (await ask(trading.get_order_by_id, order.id)).status is OrderStatus.CANCELED
    error = await refused(trading.cancel_order_by_id, order.id)
    assert (error.status_code, error.code) == (422, 42210000)
    error = await refused(trading.cancel_order_by_id, UUID(int=5))
    assert (error.status_code, error.code) == (404, 40410000)
    first, second = [await ask(trading.submit_order, buy(qty)) for qty in (1, 2)]
    answers = await ask(trading.cancel_orders)
    assert {answer.id for answer in answers} == {first.id, second.id}


async def test_a_known_client_id_is_refused_even_after_its_end(venue: Running, trading: TradingClient) -> None:
    venue.bar()
    order = await ask(trading.submit_order, buy(cid="again"))
    await ask(trading.cancel_order_by_id, order.id)
    error = await refused(trading.submit_order, buy(cid="again"))
    assert (error.status_code, error.code, error.message) == (422, 40010001, "client_order_id must be unique")


async def test_the_lenient_profile_takes_an_id_twice(tmp_path: Path) -> None:
    from avwapd.demo_venue.desk_shapes import PROFILES

    async with running(tmp_path / "v", profile=PROFILES["lenient"]) as venue:
        trading = TradingClient("key", "secret", url_override=venue.url)
        venue.bar()
        first, second = [await ask(trading.submit_order, buy(cid="twice")) for _ in range(2)]
        assert first.id != second.id
        assert (await ask(trading.get_order_by_client_id, "twice")).id == second.id


async def test_refusals_carry_the_recorded_bodies(venue: Running, trading: TradingClient) -> None:
    venue.bar()
    error = await refused(trading.submit_order, buy(1_000_000))
    assert (error.status_code, error.code, error.message) == (403, 40310000, "insufficient buying power")
    assert '"cost_basis"' in str(error)
    await ask(trading.submit_order, buy(10))
    venue.bar()
    stop = StopOrderRequest(symbol="ALFA", qty=10, side=OrderSide.SELL, time_in_force=TimeInForce.GTC, stop_price=1.0)
    await ask(trading.submit_order, stop)
    sell = MarketOrderRequest(symbol="ALFA", qty=4, side=OrderSide.SELL, time_in_force=TimeInForce.DAY)
    error = await refused(trading.submit_order, sell)
    assert (error.status_code, error.code) == (403, 40310000)
    assert error.message == "insufficient qty available for order (requested: 4, available: 0)"
    assert '"held_for_orders":"10"' in str(error)
    limit = LimitOrderRequest(
        symbol="ALFA", qty=1, side=OrderSide.BUY, time_in_force=TimeInForce.DAY, limit_price=20.125
    )
    error = await refused(trading.submit_order, limit)
    assert error.status_code == 422
    assert "sub-penny" in error.message
    for call, words in ((trading.get_order_by_client_id, ("nobody",)), (trading.get_open_position, ("BRAVO",))):
        error = await refused(call, *words)
        assert (error.status_code, error.code) == (404, 40410000)
    assert (await refused(trading.submit_order, buy(symbol="NOBODY"))).status_code == 422


async def test_without_keys_nobody_comes_in(tmp_path: Path) -> None:
    async with running(tmp_path / "v", key="right", secret="word") as venue:
        wrong = TradingClient("wrong", "word", url_override=venue.url)
        assert (await refused(wrong.get_account)).status_code == 401
        right = TradingClient("right", "word", url_override=venue.url)
        assert (await ask(right.get_account)).currency == "USD"


async def test_a_stop_limit_rests_until_its_stop_is_touched(venue: Running, trading: TradingClient) -> None:
    venue.bar()
    last = float(venue.sim.desk.marks["ALFA"])
    order = await ask(
        trading.submit_order,
        StopLimitOrderRequest(
            symbol="ALFA",
            qty=3,
            side=OrderSide.BUY,
            time_in_force=TimeInForce.GTC,
            stop_price=round(last * 0.9, 2),
            limit_price=round(last * 1.1, 2),
        ),
    )
    assert order.type is OrderType.STOP_LIMIT
    venue.bar()  # its stop is touched: the limit works from the next bar on
    assert (await ask(trading.get_order_by_id, order.id)).status is OrderStatus.NEW
    venue.bar()
    assert (await ask(trading.get_order_by_id, order.id)).status is OrderStatus.FILLED


async def test_day_orders_expire_at_the_bell(venue: Running, trading: TradingClient) -> None:
    venue.bar()
    day, gtc = [
        await ask(
            trading.submit_order,
            LimitOrderRequest(symbol="ALFA", qty=1, side=OrderSide.BUY, time_in_force=tif, limit_price=1.0),
        )
        for tif in (TimeInForce.DAY, TimeInForce.GTC)
    ]
    assert day.expires_at == datetime(2025, 3, 4, 21, tzinfo=UTC)
    venue.bar(76)
    assert (await ask(trading.get_order_by_id, day.id)).status is OrderStatus.NEW
    venue.bar(1)
    assert (await ask(trading.get_order_by_id, day.id)).status is OrderStatus.EXPIRED
    assert (await ask(trading.get_order_by_id, gtc.id)).status is OrderStatus.NEW


async def test_lists_of_orders_are_filtered_and_cut(venue: Running, trading: TradingClient) -> None:
    venue.bar()
    for number in range(5):
        await ask(trading.submit_order, buy(1, cid=f"n{number}", symbol=("ALFA", "BRAVO")[number % 2]))
    await ask(trading.cancel_order_by_id, (await ask(trading.get_order_by_client_id, "n0")).id)
    found = await ask(trading.get_orders, GetOrdersRequest(status=QueryOrderStatus.ALL, limit=3))
    assert [order.client_order_id for order in found] == ["n4", "n3", "n2"]
    found = await ask(trading.get_orders, GetOrdersRequest(symbols=["ALFA"]))
    assert [order.client_order_id for order in found] == ["n4", "n2"]
    found = await ask(trading.get_orders, GetOrdersRequest(status=QueryOrderStatus.CLOSED))
    assert [order.client_order_id for order in found] == ["n0"]
    later = datetime.now(UTC) + timedelta(days=9000)
    assert await ask(trading.get_orders, GetOrdersRequest(status=QueryOrderStatus.ALL, after=later)) == []


async def test_positions_are_closed_by_the_venue(venue: Running, trading: TradingClient) -> None:
    venue.bar()
    await ask(trading.submit_order, buy(10))
    short = MarketOrderRequest(symbol="BRAVO", qty=5, side=OrderSide.SELL, time_in_force=TimeInForce.DAY)
    await ask(trading.submit_order, short)
    venue.bar()
    position = await ask(trading.get_open_position, "BRAVO")
    assert (position.qty, position.side) == ("-5", PositionSide.SHORT)
    await ask(trading.close_position, "ALFA", ClosePositionRequest(qty="4"))
    venue.bar()
    assert (await ask(trading.get_open_position, "ALFA")).qty == "6"
    answers = await ask(trading.close_all_positions, cancel_orders=True)
    assert {answer.symbol for answer in answers} == {"ALFA", "BRAVO"}
    venue.bar()
    assert await ask(trading.get_all_positions) == []


async def test_activities_come_in_pages_by_order(venue: Running, trading: TradingClient) -> None:
    venue.bar()
    for _ in range(5):
        await ask(trading.submit_order, buy(1))
    venue.bar()
    got: list[dict[str, Any]] = []
    token = None
    while page := await ask(
        trading.get, "/account/activities/FILL", {"page_size": 2, "direction": "asc", "page_token": token}
    ):
        assert len(page) <= 2
        got += page
        token = page[-1]["id"]
    assert [row["order_id"] for row in got] == [order.id for order in venue.sim.desk.orders()]
    assert {row["id"].split("::")[1] for row in got} == {one.id for one in venue.sim.desk.executions()}
    at = got[0]["transaction_time"]
    assert await ask(trading.get, "/account/activities/FILL", {"after": at}) == []


async def test_clock_calendar_and_assets(venue: Running, trading: TradingClient) -> None:
    clock = await ask(trading.get_clock)
    assert clock.timestamp.timestamp() * 1000 == venue.sim.market.now_ms()
    assert not clock.is_open
    venue.bar()
    clock = await ask(trading.get_clock)
    assert clock.is_open
    assert clock.next_close == datetime(2025, 3, 4, 21, tzinfo=UTC)
    days = await ask(trading.get_calendar, GetCalendarRequest(start=date(2025, 7, 3), end=date(2025, 7, 7)))
    assert [(str(day.date), day.close.hour) for day in days] == [("2025-07-03", 13), ("2025-07-07", 16)]
    assert [asset.symbol for asset in await ask(trading.get_all_assets)] == ["ALFA", "BRAVO"]
    asset = await ask(trading.get_asset, "ALFA")
    assert (asset.tradable, asset.shortable, asset.fractionable) == (True, True, False)


# --------------------------------------------------------------------------------------------------------- data


@pytest.fixture
def data(venue: Running) -> StockHistoricalDataClient:
    return StockHistoricalDataClient("key", "secret", url_override=venue.url)


async def test_history_is_served_in_pages_and_ends_at_the_market_clock(
    venue: Running, data: StockHistoricalDataClient
) -> None:
    venue.bar(3)
    wanted = StockBarsRequest(
        symbol_or_symbols=["BRAVO", "ALFA"],
        timeframe=FIVE,
        start=datetime(2025, 3, 3, tzinfo=UTC),
        adjustment=Adjustment.RAW,
    )
    data._session.params = {"limit": "37"}  # the client asks for 10,000 a page
    found = await ask(data.get_stock_bars, wanted)
    for index, name in enumerate(("ALFA", "BRAVO")):
        truth = venue.sim.market.history(index, 0, 1 << 60)
        got = found.data[name]
        assert len(got) == len(truth) == 78 + 3
        assert [int(bar.timestamp.timestamp() * 1000) + 300_000 for bar in got] == truth["ts_ms"].tolist()
        assert [bar.close for bar in got] == truth["close"].tolist()


async def test_limit_is_a_total_over_all_symbols(venue: Running, data: StockHistoricalDataClient) -> None:
    wanted = StockBarsRequest(
        symbol_or_symbols=["ALFA", "BRAVO"], timeframe=FIVE, start=datetime(2025, 3, 3, tzinfo=UTC), limit=80
    )
    found = await ask(data.get_stock_bars, wanted)
    assert (len(found.data["ALFA"]), len(found.data["BRAVO"])) == (78, 2)


async def test_longer_bars_are_folded_from_the_market_s(venue: Running, data: StockHistoricalDataClient) -> None:
    venue.bar(12)
    truth = venue.sim.market.history(0, 0, 1 << 60)
    start = datetime(2025, 3, 3, tzinfo=UTC)
    days = await ask(
        data.get_stock_bars, StockBarsRequest(symbol_or_symbols="ALFA", timeframe=TimeFrame.Day, start=start)
    )
    first, second = days.data["ALFA"]
    assert first.timestamp == datetime(2025, 3, 3, 5, tzinfo=UTC)  # midnight in New York
    assert (first.open, first.high) == (truth["open"][0], truth["high"][:78].max())
    assert second.volume == truth["volume"][78:].sum()
    hours = await ask(
        data.get_stock_bars, StockBarsRequest(symbol_or_symbols="ALFA", timeframe=TimeFrame.Hour, start=start)
    )
    assert hours.data["ALFA"][0].timestamp == datetime(2025, 3, 3, 14, tzinfo=UTC)
    assert hours.data["ALFA"][0].volume == truth["volume"][:6].sum()


async def test_latest_values_and_snapshots(venue: Running, data: StockHistoricalDataClient) -> None:
    venue.bar(2)
    row = venue.sim.market.last_bar(0)
    bar = (await ask(data.get_stock_latest_bar, StockLatestBarRequest(symbol_or_symbols="ALFA")))["ALFA"]
    assert (bar.close, bar.timestamp.timestamp() * 1000) == (row["close"], row["ts_ms"] - 300_000)
    quote = (await ask(data.get_stock_latest_quote, StockLatestQuoteRequest(symbol_or_symbols="ALFA")))["ALFA"]
    assert quote.ask_price == pytest.approx(row["close"] + 0.01)
    trade = (await ask(data.get_stock_latest_trade, StockLatestTradeRequest(symbol_or_symbols="ALFA")))["ALFA"]
    assert trade.price == row["close"]
    shot = (await ask(data.get_stock_snapshot, StockSnapshotRequest(symbol_or_symbols="ALFA")))["ALFA"]
    assert shot.minute_bar.close == row["close"]
    assert shot.previous_daily_bar.timestamp == datetime(2025, 3, 3, 5, tzinfo=UTC)


async def test_corporate_actions_of_the_archive(tmp_path: Path) -> None:
    from dataclasses import replace

    from avwapd.feeds.market import action_records
    from tests.venue.simulators import market

    source = replace(market(), actions=action_records([(20250305, 0, 0.25, 0.25), (20250304, 1, 0.99, 1.0)]))
    async with running(tmp_path / "v", market=source) as venue:
        client = CorporateActionsClient("key", "secret", url_override=venue.url)
        wanted = CorporateActionsRequest(symbols=["ALFA", "BRAVO"], start=date(2025, 3, 1), end=date(2025, 3, 9))
        found = (await ask(client.get_corporate_actions, wanted)).data
        assert [paid.symbol for paid in found["cash_dividends"]] == ["BRAVO"]
        (split,) = found["forward_splits"]
        assert (split.symbol, split.new_rate, split.old_rate, split.ex_date) == ("ALFA", 4, 1, date(2025, 3, 5))
