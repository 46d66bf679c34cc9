"""Kraken's REST wire, driven by the unmodified ccxt client."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import ccxt.async_support as ccxt_errors
import pytest

from tests.venue.coins import FIRST_MS, MINUTE, client, running

SYMBOL = "BTC/USD"
FLAT = [100.0] * 40
IDS = [f"{number:032x}" for number in range(100)]


def named(number: int, **more: Any) -> dict[str, Any]:
    return {"clientOrderId": IDS[number], **more}


async def test_what_the_market_is(tmp_path: Path) -> None:
    async with (
        running(tmp_path, FLAT, "kraken", symbols=("BTC-USD", "ETH-USD", "SOL-USD")) as venue,
        client(venue, "kraken") as ccxt,
    ):
        await ccxt.load_markets()
        market = ccxt.market(SYMBOL)
        assert (market["id"], market["info"]["altname"], market["info"]["wsname"]) == ("XXBTZUSD", "XBTUSD", "XBT/USD")
        assert [ccxt.market(name)["id"] for name in ("ETH/USD", "SOL/USD")] == ["XETHZUSD", "SOLUSD"]
        assert market["active"]
        assert (market["precision"]["price"], market["precision"]["amount"]) == (0.1, 0.00001)
        assert (market["limits"]["amount"]["min"], market["limits"]["cost"]["min"]) == (0.0001, 5)
        assert market["taker"] == 0.0026
        assert await ccxt.fetch_time() == venue.sim.market.now_ms() // 1000 * 1000
        assert (await ccxt.fetch_ticker(SYMBOL))["last"] == 100.0
        assert (await ccxt.fetch_status())["status"] == "ok"


async def test_candles_with_the_forming_one_last_and_no_deeper_than_720(tmp_path: Path) -> None:
    closes = [100.0 + number / 2 for number in range(760)]
    async with running(tmp_path, closes, "kraken", history=750) as venue, client(venue, "kraken") as ccxt:
        venue.bar()
        rows = await ccxt.fetch_ohlcv(SYMBOL, "1m")
        assert len(rows) == 720
        assert rows[-1] == [FIRST_MS + 751 * MINUTE, *[closes[750]] * 4, 0.0]
        assert rows[-2] == [FIRST_MS + 750 * MINUTE, closes[749], closes[750] + 1, closes[749] - 1, closes[750], 10.5]
        since = await ccxt.fetch_ohlcv(SYMBOL, "1m", FIRST_MS + 749 * MINUTE)
        assert [row[0] for row in since] == [FIRST_MS + number * MINUTE for number in (749, 750, 751)]
        assert (await ccxt.fetch_ohlcv(SYMBOL, "1m", FIRST_MS))[0][0] == FIRST_MS + 32 * MINUTE
        raw = await ccxt.public_get_ohlc({"pair": "XBTUSD", "interval": 1})
        assert raw["result"]["last"] == (FIRST_MS + 750 * MINUTE) // 1000
        five = await ccxt.fetch_ohlcv(SYMBOL, "5m")
        assert five[-2][0] == FIRST_MS + 745 * MINUTE
        assert five[-2][5] == 52.5


async def test_buy_and_sell_at_market_with_the_fee_in_quote(tmp_path: Path) -> None:
    async with running(tmp_path, FLAT, "kraken") as venue, client(venue, "kraken") as ccxt:
        made = await ccxt.create_order(SYMBOL, "market", "buy", 2, None, named(1))
        assert made["id"].startswith("O")
        assert made["clientOrderId"] is None  # the answer does not carry it
        venue.half()
        done = await ccxt.fetch_order(made["id"], SYMBOL)
        assert (done["status"], done["filled"], done["average"], done["clientOrderId"]) == (
            "closed",
            2.0,
            100.0,
            IDS[1],
        )
        assert done["fee"] == {"cost": "0.52000", "currency": "USD", "rate": None}
        (trade,) = await ccxt.fetch_my_trades(SYMBOL)
        assert [one["id"] for one in done["trades"]] == [trade["id"]]
        assert (trade["order"], trade["amount"], trade["price"]) == (made["id"], 2.0, 100.0)
        assert trade["fee"] == {"cost": 0.52, "currency": "USD"}
        balance = await ccxt.fetch_balance()
        assert balance["BTC"] == {"free": 2.0, "used": 0.0, "total": 2.0}
        assert Decimal(str(balance["USD"]["total"])) == venue.sim.desk.cash == Decimal("99799.48")
        await ccxt.create_order(SYMBOL, "market", "sell", 2, None, named(2))
        assert (await ccxt.fetch_balance())["USD"]["total"] == 99_998.96
        assert venue.sim.desk.true_positions() == {}


async def test_looked_up_by_our_id_among_open_then_closed(tmp_path: Path) -> None:
    async with running(tmp_path, FLAT, "kraken") as venue, client(venue, "kraken") as ccxt:
        low = await ccxt.create_order(SYMBOL, "limit", "buy", 1, 90, named(1))
        await ccxt.create_order(SYMBOL, "market", "buy", 1, None, named(2))
        venue.half()
        (resting,) = await ccxt.fetch_open_orders(SYMBOL, params=named(1))
        assert (resting["id"], resting["clientOrderId"], resting["price"]) == (low["id"], IDS[1], 90.0)
        assert await ccxt.fetch_open_orders(SYMBOL, params=named(2)) == []
        (done,) = await ccxt.fetch_closed_orders(SYMBOL, params=named(2))
        assert (done["status"], done["filled"]) == ("closed", 1.0)
        assert (await ccxt.fetch_balance())["USD"]["used"] == 90.0
        with pytest.raises(TypeError):
            await ccxt.fetch_order(None, SYMBOL, named(1))  # it sends txid=None and userref, and finds nothing
        assert (await ccxt.cancel_order(None, SYMBOL, named(1)))["info"]["result"]["count"] == 1
        assert await ccxt.fetch_open_orders(SYMBOL) == []
        (gone,) = await ccxt.fetch_closed_orders(SYMBOL, params=named(1))
        assert (gone["status"], gone["info"]["reason"]) == ("canceled", "User requested")
        with pytest.raises(ccxt_errors.OrderNotFound):
            await ccxt.cancel_order(None, SYMBOL, named(1))
        with pytest.raises(ccxt_errors.OrderNotFound):
            await ccxt.cancel_order(low["id"], SYMBOL)


async def test_a_stop_sells_when_touched_and_a_stop_limit_works_from_then(tmp_path: Path) -> None:
    closes = [100.0] * 8 + [94.0, 97.0, 97.0]
    async with running(tmp_path, closes, "kraken") as venue, client(venue, "kraken") as ccxt:
        await ccxt.create_order(SYMBOL, "market", "buy", 2, None, named(1))
        venue.half()
        stop = await ccxt.create_order(SYMBOL, "market", "sell", 1, None, named(2, stopLossPrice=95.0))
        limited = await ccxt.create_order(SYMBOL, "limit", "sell", 1, 95.5, named(3, stopLossPrice=95.0))
        resting = {one["clientOrderId"]: one for one in await ccxt.fetch_open_orders(SYMBOL)}
        assert resting[IDS[2]]["stopLossPrice"] == 95.0
        assert resting[IDS[2]]["info"]["descr"]["ordertype"] == "stop-loss"
        assert resting[IDS[3]]["info"]["descr"]["order"] == "sell 1.00000000 XBTUSD @ stop loss 95.0 -> limit 95.5"
        assert (await ccxt.fetch_balance())["BTC"]["free"] == 0.0
        for _ in range(7):
            venue.half()
        assert (await ccxt.fetch_order(stop["id"], SYMBOL))["average"] == 95.0
        assert (await ccxt.fetch_order(limited["id"], SYMBOL))["status"] == "open"
        venue.half()
        venue.half()
        assert (await ccxt.fetch_order(limited["id"], SYMBOL))["average"] == 95.5


async def test_an_amended_order_stays_the_same_order(tmp_path: Path) -> None:
    faults = {"partial_then_nothing": {"count": 1, "value": 3}}
    async with running(tmp_path, FLAT, "kraken", faults=faults) as venue, client(venue, "kraken") as ccxt:
        await ccxt.create_order(SYMBOL, "market", "buy", 2, None, named(1))
        for _ in range(12):
            venue.half()
        assert venue.sim.desk.held("BTC-USD") == 2
        stop = await ccxt.create_order(SYMBOL, "market", "sell", 1, None, named(2, stopLossPrice=95.0))
        change = {"clientOrderId": IDS[2], "stopLossPrice": 96.0}
        amended = await ccxt.edit_order(None, SYMBOL, "market", "sell", 2, None, change)
        assert amended["info"]["amend_id"]
        (resting,) = await ccxt.fetch_open_orders(SYMBOL)
        assert (resting["id"], resting["clientOrderId"]) == (stop["id"], IDS[2])
        assert (resting["amount"], resting["stopLossPrice"]) == (2.0, 96.0)
        assert len(await ccxt.fetch_closed_orders(SYMBOL)) == 1
        await ccxt.cancel_order(stop["id"], SYMBOL)
        assert (await ccxt.fetch_order(stop["id"], SYMBOL))["status"] == "canceled"


async def test_an_amendment_counts_what_has_filled(tmp_path: Path) -> None:
    async with running(tmp_path, FLAT, "kraken") as venue, client(venue, "kraken") as ccxt:
        made = await ccxt.create_order(SYMBOL, "limit", "buy", 20, 99.5, named(1))
        venue.half()  # a bar trades 10.5
        assert (await ccxt.fetch_order(made["id"], SYMBOL))["filled"] == 10.5
        await ccxt.edit_order(made["id"], SYMBOL, "limit", "buy", 12, 99.4)
        order = await ccxt.fetch_order(made["id"], SYMBOL)
        assert (order["amount"], order["filled"], order["remaining"], order["price"]) == (12.0, 10.5, 1.5, 99.4)
        assert len(order["trades"]) == 1
        venue.half(2)
        order = await ccxt.fetch_order(made["id"], SYMBOL)
        assert (order["status"], order["filled"], len(order["trades"])) == ("closed", 12.0, 2)
        assert {one["order"] for one in await ccxt.fetch_my_trades(SYMBOL)} == {made["id"]}
        with pytest.raises(ccxt_errors.BaseError, match="EOrder:Unknown order"):
            await ccxt.edit_order(made["id"], SYMBOL, "limit", "buy", 13, 99.4)


async def test_trades_come_in_pages_of_fifty_the_newest_first(tmp_path: Path) -> None:
    async with running(tmp_path, FLAT, "kraken", cash=10_000_000) as venue, client(venue, "kraken") as ccxt:
        venue.half()
        await ccxt.load_markets()
        for number in range(60):
            venue.sim.desk.submit(order(number))
        first = (await ccxt.private_post_tradeshistory())["result"]
        assert first["count"] == 60
        numbers = [row["trade_id"] for row in first["trades"].values()]
        assert numbers == list(range(60, 10, -1))
        rest = (await ccxt.private_post_tradeshistory({"ofs": 50}))["result"]["trades"]
        assert [row["trade_id"] for row in rest.values()] == list(range(10, 0, -1))
        at_s = next(iter(rest.values()))["time"]
        assert (await ccxt.private_post_tradeshistory({"start": at_s}))["result"]["count"] == 0  # exclusive
        assert (await ccxt.private_post_tradeshistory({"start": at_s - 1, "end": at_s}))["result"]["count"] == 60
        closed = (await ccxt.private_post_closedorders({"ofs": 50}))["result"]
        assert (closed["count"], len(closed["closed"])) == (60, 10)


def order(number: int) -> Any:
    from avwapd.demo_venue.desk_shapes import NewOrder

    return NewOrder(
        symbol="BTC-USD",
        side=1,
        type="market",
        qty=Decimal("0.1"),
        client_id=IDS[number],
        extra={"cl_ord_id": IDS[number]},
    )


async def test_a_restarted_venue_knows_its_orders(tmp_path: Path) -> None:
    async with running(tmp_path, FLAT, "kraken") as venue, client(venue, "kraken") as ccxt:
        made = await ccxt.create_order(SYMBOL, "limit", "buy", 1, 90, named(1))
        await ccxt.edit_order(made["id"], SYMBOL, "limit", "buy", 2, 91)
        venue.bar()
    async with running(tmp_path, FLAT, "kraken") as venue, client(venue, "kraken") as ccxt:
        (resting,) = await ccxt.fetch_open_orders(SYMBOL, params=named(1))
        assert (resting["id"], resting["amount"], resting["price"]) == (made["id"], 2.0, 91.0)
        assert (await ccxt.cancel_order(made["id"], SYMBOL))["info"]["result"]["count"] == 1
