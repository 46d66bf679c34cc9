"""Binance's REST wire, driven by the unmodified ccxt client."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.venue.coins import FIRST_MS, MINUTE, client, running

SYMBOL = "BTC/USD"
FLAT = [100.0] * 40


def placed(cid: str, **more: Any) -> dict[str, Any]:
    return {"clientOrderId": cid, **more}


async def test_what_the_market_is(tmp_path: Path) -> None:
    async with running(tmp_path, FLAT, "binance") as venue, client(venue, "binance") as ccxt:
        await ccxt.load_markets()
        market = ccxt.market(SYMBOL)
        assert market["id"] == "BTCUSD"
        assert market["spot"]
        assert market["active"]
        assert market["precision"]["price"] == 0.01
        assert market["precision"]["amount"] == 0.00001
        assert market["limits"]["amount"]["min"] == 0.0001
        assert market["limits"]["cost"]["min"] == 5
        assert await ccxt.fetch_time() == venue.sim.market.now_ms()
        assert (await ccxt.fetch_ticker(SYMBOL))["last"] == 100.0
        assert (await ccxt.fetch_order_book(SYMBOL))["bids"] == [[100.0, 1.0]]


async def test_candles_with_the_forming_one_last(tmp_path: Path) -> None:
    closes = [100.0 + number for number in range(12)]
    async with running(tmp_path, closes, "binance", history=5) as venue, client(venue, "binance") as ccxt:
        venue.bar()  # the sixth closes
        rows = await ccxt.fetch_ohlcv(SYMBOL, "1m")
        assert [row[0] for row in rows] == [FIRST_MS + number * MINUTE for number in range(7)]
        assert rows[5] == [FIRST_MS + 5 * MINUTE, 104.0, 106.0, 103.0, 105.0, 10.5]
        assert rows[6][1:] == [105.0, 105.0, 105.0, 105.0, 0.0]  # it has begun, and knows one price
        since = await ccxt.fetch_ohlcv(SYMBOL, "1m", FIRST_MS + 2 * MINUTE, 2)
        assert [row[0] for row in since] == [FIRST_MS + 2 * MINUTE, FIRST_MS + 3 * MINUTE]
        until = await ccxt.fetch_ohlcv(SYMBOL, "1m", FIRST_MS, None, {"until": FIRST_MS + MINUTE})
        assert len(until) == 2
        newest = await ccxt.fetch_ohlcv(SYMBOL, "1m", None, 2)
        assert [row[0] for row in newest] == [row[0] for row in rows[-2:]]
        five = await ccxt.fetch_ohlcv(SYMBOL, "5m")
        assert five == [
            [FIRST_MS, 100.0, 105.0, 99.0, 104.0, 52.5],
            [FIRST_MS + 5 * MINUTE, 104.0, 106.0, 103.0, 105.0, 10.5],
        ]


async def test_a_forming_candle_gives_no_price_away_that_the_book_has_not_met(tmp_path: Path) -> None:
    async with running(tmp_path, FLAT, "binance", gap=3.0) as venue, client(venue, "binance") as ccxt:
        venue.bar()
        assert (await ccxt.fetch_ohlcv(SYMBOL, "1m"))[-1][1:] == [100.0] * 4 + [0.0]
        venue.half()
        assert (await ccxt.fetch_ohlcv(SYMBOL, "1m"))[-1][1:] == [103.0] * 4 + [0.0]
        assert (await ccxt.fetch_ticker(SYMBOL))["last"] == 103.0
        venue.half()
        assert (await ccxt.fetch_ohlcv(SYMBOL, "1m"))[-2][1:] == [103.0, 104.0, 99.0, 100.0, 10.5]


async def test_orders_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    async with running(tmp_path, FLAT, "binance") as venue, client(venue, "binance") as ccxt:
        for number in range(4):
            await ccxt.create_order(SYMBOL, "limit", "buy", 1, 90, placed(f"av-{number}"))
        newest = await ccxt.fetch_orders(SYMBOL, None, 2)
        assert [one["clientOrderId"] for one in newest] == ["av-2", "av-3"]
        since = await ccxt.fetch_orders(SYMBOL, FIRST_MS, 2)
        assert [one["clientOrderId"] for one in since] == ["av-0", "av-1"]
        after = await ccxt.fetch_orders(SYMBOL, None, None, {"orderId": newest[1]["id"]})
        assert [one["clientOrderId"] for one in after] == ["av-3"]


async def test_prices_arrive_as_the_very_floats(tmp_path: Path) -> None:
    odd = 0.1 + 0.2
    async with running(tmp_path, [100 + odd, 100 * odd, 7 * odd], "binance", history=3) as venue:
        bars = venue.sim.market.source.bars
        async with client(venue, "binance") as ccxt:
            rows = await ccxt.fetch_ohlcv(SYMBOL, "1m")
        assert [row[4] for row in rows] == bars["close"].tolist()
        assert [row[2] for row in rows] == bars["high"].tolist()


async def test_buy_and_sell_at_market_with_the_fee_in_what_is_received(tmp_path: Path) -> None:
    async with running(tmp_path, FLAT, "binance") as venue, client(venue, "binance") as ccxt:
        order = await ccxt.create_order(SYMBOL, "market", "buy", 2, None, placed("av-buy"))
        assert order["status"] == "open"
        assert order["clientOrderId"] == "av-buy"
        venue.half()  # the next bar opens
        done = await ccxt.fetch_order(None, SYMBOL, {"clientOrderId": "av-buy"})
        assert (done["id"], done["status"], done["filled"], done["average"]) == (order["id"], "closed", 2.0, 100.0)
        assert (await ccxt.fetch_order(order["id"], SYMBOL))["clientOrderId"] == "av-buy"
        balance = await ccxt.fetch_balance()
        assert balance["BTC"] == {"free": 1.998, "used": 0.0, "total": 1.998}
        assert balance["USD"]["total"] == 99_800.0
        venue.half()
        await ccxt.create_order(SYMBOL, "market", "sell", 1.998, None, placed("av-sell"))
        venue.half()
        bought, sold = await ccxt.fetch_my_trades(SYMBOL, FIRST_MS)
        assert (bought["order"], bought["side"], bought["fee"]) == (
            order["id"],
            "buy",
            {"cost": 0.002, "currency": "BTC"},
        )
        assert (sold["amount"], sold["price"], sold["fee"]) == (1.998, 100.0, {"cost": 0.1998, "currency": "USD"})
        assert bought["id"] != sold["id"]
        assert await ccxt.fetch_my_trades(SYMBOL, None, None, {"fromId": int(sold["id"])}) == [sold]
        assert await ccxt.fetch_my_trades(SYMBOL, None, 1) == [sold]
        balance = await ccxt.fetch_balance()
        assert balance["BTC"]["total"] == 0.0
        assert Decimal(str(balance["USD"]["total"])) == venue.sim.desk.cash == Decimal("99999.6002")


async def test_a_running_bar_fills_a_market_order_within_the_answer(tmp_path: Path) -> None:
    async with running(tmp_path, FLAT, "binance") as venue, client(venue, "binance") as ccxt:
        venue.half()
        order = await ccxt.create_order(SYMBOL, "market", "buy", 1, None, placed("av-now"))
        assert order["status"] == "closed"
        assert order["average"] == 100.0
        assert [fee["currency"] for fee in order["fees"]] == ["BTC"]
        assert order["fees"][0]["cost"] == 0.001


async def test_a_limit_order_rests_holds_funds_and_is_canceled_by_our_id(tmp_path: Path) -> None:
    async with running(tmp_path, FLAT, "binance") as venue, client(venue, "binance") as ccxt:
        order = await ccxt.create_order(SYMBOL, "limit", "buy", 3, 90.5, placed("av-low"))
        venue.bar()
        assert (await ccxt.fetch_balance())["USD"] == {"free": 99_728.5, "used": 271.5, "total": 100_000.0}
        (resting,) = await ccxt.fetch_open_orders(SYMBOL)
        assert (resting["id"], resting["clientOrderId"], resting["price"]) == (order["id"], "av-low", 90.5)
        canceled = await ccxt.cancel_order(None, SYMBOL, {"clientOrderId": "av-low"})
        assert canceled["status"] == "canceled"
        assert canceled["info"]["origClientOrderId"] == "av-low"
        assert canceled["clientOrderId"] != "av-low"  # it is the cancel's own
        assert await ccxt.fetch_open_orders(SYMBOL) == []
        assert (await ccxt.fetch_order(order["id"], SYMBOL))["status"] == "canceled"
        assert [one["status"] for one in await ccxt.fetch_orders(SYMBOL)] == ["canceled"]


async def test_a_stop_rests_holds_the_coin_and_sells_when_touched(tmp_path: Path) -> None:
    closes = [100.0] * 8 + [97.0, 92.0, 90.0]
    async with running(tmp_path, closes, "binance") as venue, client(venue, "binance") as ccxt:
        await ccxt.create_order(SYMBOL, "market", "buy", 1, None, placed("av-in"))
        venue.half()
        stop = await ccxt.create_order(SYMBOL, "market", "sell", 0.999, None, placed("av-stop", stopLossPrice=95.0))
        (resting,) = await ccxt.fetch_open_orders(SYMBOL)
        assert resting["info"]["type"] == "STOP_LOSS"
        assert resting["triggerPrice"] == 95.0
        assert (await ccxt.fetch_balance())["BTC"] == {"free": 0.0, "used": 0.999, "total": 0.999}
        for _ in range(9):
            venue.half()
        done = await ccxt.fetch_order(stop["id"], SYMBOL)
        assert (done["status"], done["average"]) == ("closed", 95.0)
        assert (await ccxt.fetch_balance())["BTC"]["total"] == 0.0


async def test_a_stop_limit_works_once_it_was_touched(tmp_path: Path) -> None:
    closes = [100.0] * 8 + [94.0, 96.0, 97.0]
    async with running(tmp_path, closes, "binance") as venue, client(venue, "binance") as ccxt:
        await ccxt.create_order(SYMBOL, "market", "buy", 1, None, placed("av-in"))
        venue.half()
        made = await ccxt.create_order(SYMBOL, "limit", "sell", 0.9, 95.5, placed("av-sl", stopLossPrice=95.0))
        for _ in range(7):
            venue.half()
        assert (await ccxt.fetch_order(made["id"], SYMBOL))["status"] == "open"
        for _ in range(2):
            venue.half()
        done = await ccxt.fetch_order(made["id"], SYMBOL)
        assert (done["status"], done["info"]["type"], done["average"]) == ("closed", "STOP_LOSS_LIMIT", 95.5)


async def test_a_stop_moves_by_cancel_replace(tmp_path: Path) -> None:
    async with running(tmp_path, FLAT, "binance") as venue, client(venue, "binance") as ccxt:
        await ccxt.create_order(SYMBOL, "market", "buy", 1, None, placed("av-in"))
        venue.half()
        old = await ccxt.create_order(SYMBOL, "market", "sell", 0.9, None, placed("av-s1", stopLossPrice=95.0))
        words = {"clientOrderId": "av-s2", "stopPrice": "96.0", "cancelReplaceMode": "STOP_ON_FAILURE"}
        await ccxt.edit_order(old["id"], SYMBOL, "STOP_LOSS", "sell", 0.9, None, words)
        (new,) = await ccxt.fetch_open_orders(SYMBOL)
        assert new["triggerPrice"] == 96.0
        assert (await ccxt.fetch_order(old["id"], SYMBOL))["status"] == "canceled"
        with pytest.raises(Exception, match="-2022"):  # nothing to cancel: nothing is placed
            await ccxt.edit_order(old["id"], SYMBOL, "STOP_LOSS", "sell", 0.9, None, words)
        assert len(await ccxt.fetch_open_orders(SYMBOL)) == 1
        with pytest.raises(Exception, match="-2021"):  # canceled, and the new one is refused: naked
            await ccxt.edit_order(new["id"], SYMBOL, "STOP_LOSS", "sell", 9, None, words)
        assert await ccxt.fetch_open_orders(SYMBOL) == []


async def test_a_restarted_venue_knows_its_orders_and_its_fees(tmp_path: Path) -> None:
    async with running(tmp_path, FLAT, "binance") as venue, client(venue, "binance") as ccxt:
        await ccxt.create_order(SYMBOL, "market", "buy", 0.12345, None, placed("av-in"))
        venue.half()
        stop = await ccxt.create_order(SYMBOL, "market", "sell", 0.1, None, placed("av-s", stopLossPrice=95.0))
        venue.bar()
        before = venue.sim.desk.true_positions(), venue.sim.desk.cash
    async with running(tmp_path, FLAT, "binance") as venue, client(venue, "binance") as ccxt:
        assert (venue.sim.desk.true_positions(), venue.sim.desk.cash) == before
        assert (await ccxt.fetch_balance())["BTC"] == {"free": 0.02332655, "used": 0.1, "total": 0.12332655}
        assert (await ccxt.fetch_order(stop["id"], SYMBOL))["clientOrderId"] == "av-s"
        await ccxt.cancel_order(stop["id"], SYMBOL)
        assert await ccxt.fetch_open_orders(SYMBOL) == []
