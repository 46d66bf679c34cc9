"""What the client makes of binance's refusals and of answers that are none: each row reproduced."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import aiohttp
import ccxt.async_support as ccxt_errors
import pytest

from avwapd.demo_venue.binance_limits import WEIGHT_LIMIT
from tests.venue.coins import client, running

SYMBOL = "BTC/USD"
FLAT = [100.0] * 40


async def buy(ccxt: Any, cid: str, qty: float = 1, price: float | None = 90.0, symbol: str = SYMBOL) -> Any:
    kind = "limit" if price else "market"
    return await ccxt.create_order(symbol, kind, "buy", qty, price, {"clientOrderId": cid})


TAKEN = [  # fault, its setting, the client's class, whether that counts as a network error
    ("lose_answer", {}, "RequestTimeout", True),
    ("gateway_504_taken", {}, "RequestTimeout", True),
    ("gateway_504_taken", {"value": 503}, "ExchangeError", False),
    ("reset", {}, "ExchangeNotAvailable", True),
    ("cut_answer", {}, "ExchangeError", False),
]


@pytest.mark.parametrize(("fault", "setting", "name", "network"), TAKEN)
async def test_an_order_that_was_taken_though_the_client_raises(
    tmp_path: Path, fault: str, setting: dict[str, Any], name: str, network: bool
) -> None:
    async with running(tmp_path, FLAT, "binance") as venue, client(venue, "binance", timeout=300) as ccxt:
        await ccxt.load_markets()
        venue.sim.faults.set(fault, {"count": 1, **setting})
        with pytest.raises(ccxt_errors.BaseError) as caught:
            await buy(ccxt, "av-lost")
        assert type(caught.value).__name__ == name
        assert isinstance(caught.value, ccxt_errors.NetworkError) is network
        assert venue.sim.faults.fired[fault] == 1
        found = await ccxt.fetch_order(None, SYMBOL, {"clientOrderId": "av-lost"})
        assert found["status"] == "open"


NOT_TAKEN = [
    ("lose_request", {}, "RequestTimeout"),
    ("refuse_connection", {}, "ExchangeNotAvailable"),
    ("limit_429", {"value": 2}, "DDoSProtection"),
    ("limit_429_no_header", {}, "DDoSProtection"),
    ("limit_429", {"value": 120}, "DDoSProtection"),
    ("down_500", {}, "ExchangeNotAvailable"),
    ("revoked_401", {}, "DDoSProtection"),  # it takes a key that worked before for a ban
    ("blocked_403", {}, "PermissionDenied"),
]


@pytest.mark.parametrize(("fault", "setting", "name"), NOT_TAKEN)
async def test_an_order_that_was_never_looked_at(
    tmp_path: Path, fault: str, setting: dict[str, Any], name: str
) -> None:
    async with running(tmp_path, FLAT, "binance") as venue, client(venue, "binance", timeout=300) as ccxt:
        await ccxt.load_markets()
        await ccxt.fetch_balance()
        venue.sim.faults.set(fault, {"count": 1, "on": "submit", **setting})
        with pytest.raises(ccxt_errors.BaseError) as caught:
            await buy(ccxt, "av-none")
        assert type(caught.value).__name__ == name
        if setting.get("value") == 120:
            until_ms = int(re.search(r"banned until (\d{13})", str(caught.value))[1])  # type: ignore[index]
            assert "418" in str(caught.value)
            assert until_ms == venue.sim.market.now_ms() + 120_000
            assert ccxt.last_response_headers["Retry-After"] == "120"
        with pytest.raises(ccxt_errors.OrderNotFound):
            await ccxt.fetch_order(None, SYMBOL, {"clientOrderId": "av-none"})


async def test_a_refusal_of_the_venue_s_own(tmp_path: Path) -> None:
    async with running(tmp_path, FLAT, "binance") as venue, client(venue, "binance") as ccxt:
        await ccxt.load_markets()

        async def refused(call: Any, name: str, words: str) -> None:
            with pytest.raises(ccxt_errors.BaseError, match=re.escape(words)) as caught:
                await call
            assert type(caught.value).__name__ == name

        raw = {"symbol": "BTCUSD", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": "90", "quantity": "1"}
        place = ccxt.private_post_order
        await refused(buy(ccxt, "a", qty=2000), "InsufficientFunds", "insufficient balance")
        sell = ccxt.create_order(SYMBOL, "limit", "sell", 1, 200, {"clientOrderId": "b"})
        await refused(sell, "InsufficientFunds", "insufficient balance")
        await refused(place({**raw, "quantity": "0.000123"}), "InvalidOrder", "LOT_SIZE")
        await refused(place({**raw, "quantity": "0.00001"}), "InvalidOrder", "LOT_SIZE")
        await refused(place({**raw, "price": "90.001"}), "InvalidOrder", "PRICE_FILTER")
        await refused(buy(ccxt, "c", qty=0.01), "BadRequest", "NOTIONAL")
        await refused(place({**raw, "symbol": "BTCEUR"}), "BadSymbol", "-1121")
        await refused(place({**raw, "type": "OCO"}), "BadRequest", "-1116")
        await refused(place({**raw, "side": "LONG"}), "BadRequest", "-1117")
        await refused(place({**raw, "quantity": "NaN"}), "BadRequest", "-1100")
        await refused(place({"symbol": "BTCUSD", "side": "BUY"}), "BadRequest", "-1102")
        await refused(place({**raw, "newClientOrderId": "ä" * 3}), "BadRequest", "-1100")
        stop = ccxt.create_order(SYMBOL, "market", "buy", 1, None, {"clientOrderId": "d", "stopLossPrice": 99.0})
        await refused(stop, "OrderImmediatelyFillable", "would trigger immediately")
        await refused(ccxt.cancel_order("77", SYMBOL), "OrderNotFound", "-2011")
        await refused(ccxt.fetch_order("77", SYMBOL), "OrderNotFound", "-2013")
        await refused(ccxt.fetch_ohlcv(SYMBOL, "7m"), "BadRequest", "-1120")
        wide = {"startTime": 0, "endTime": 2 * 86_400_000}
        await refused(ccxt.fetch_my_trades(SYMBOL, None, None, wide), "BadRequest", "-1127")
        await refused(ccxt.public_get_uiklines({"symbol": "BTCUSD"}), "ExchangeNotAvailable", "404")
        assert venue.sim.desk.all_orders() == []


@pytest.mark.parametrize(("profile", "resting"), [("strict", 1), ("lenient", 2)])
async def test_a_client_id_is_unique_among_resting_orders_only(tmp_path: Path, profile: str, resting: int) -> None:
    async with (
        running(tmp_path, FLAT, "binance", profile=profile) as venue,
        client(venue, "binance") as ccxt,
    ):
        await buy(ccxt, "av-one")
        if profile == "strict":
            with pytest.raises(ccxt_errors.InvalidOrder, match=r"Duplicate order sent\.") as caught:
                await buy(ccxt, "av-one")
            assert not isinstance(caught.value, ccxt_errors.DuplicateOrderId)
        else:
            await buy(ccxt, "av-one")
        assert len(await ccxt.fetch_open_orders(SYMBOL)) == resting
        await buy(ccxt, "av-two", price=None)
        venue.half()  # it has filled, and its id is free again
        await buy(ccxt, "av-two")
        assert len(venue.sim.desk.all_orders()) == resting + 2


async def test_a_clock_outside_the_window(tmp_path: Path) -> None:
    async with running(tmp_path, FLAT, "binance") as venue, client(venue, "binance") as ccxt:
        await ccxt.load_markets()
        now = venue.sim.market.now_ms
        for skew_ms, words in ((-10_001, "outside of the recvWindow"), (1_001, "ahead of the server's time")):
            ccxt.milliseconds = lambda skew_ms=skew_ms: now() + skew_ms
            with pytest.raises(ccxt_errors.InvalidNonce, match=words):
                await ccxt.fetch_balance()
            await ccxt.load_time_difference()
            assert ccxt.options["timeDifference"] == skew_ms
            await ccxt.fetch_balance()
            ccxt.options["timeDifference"] = 0
        for skew_ms in (-10_000, 1_000):
            ccxt.milliseconds = lambda skew_ms=skew_ms: now() + skew_ms
            await ccxt.fetch_balance()
        ccxt.milliseconds = now
        venue.sim.faults.set("clock_skew", {"value": 20_000})
        with pytest.raises(ccxt_errors.InvalidNonce):
            await ccxt.fetch_balance()
        assert await ccxt.fetch_time() == now() + 20_000


async def test_a_fast_market_leaves_half_a_second_of_the_wall(tmp_path: Path) -> None:
    async with running(tmp_path, FLAT, "binance", speed=60.0) as venue, client(venue, "binance") as ccxt:
        now = venue.sim.market.now_ms
        for skew_ms, fits in ((-30_000, True), (-30_001, False), (60_000, True), (60_001, False)):
            ccxt.milliseconds = lambda skew_ms=skew_ms: now() + skew_ms
            if fits:
                await ccxt.fetch_balance()
            else:
                with pytest.raises(ccxt_errors.InvalidNonce):
                    await ccxt.fetch_balance()


async def test_keys_and_signatures_are_checked(tmp_path: Path) -> None:
    async with running(tmp_path, FLAT, "binance") as venue:
        async with client(venue, "binance", apiKey="another") as ccxt:
            with pytest.raises(ccxt_errors.AuthenticationError, match="-2015"):
                await ccxt.fetch_balance()
        async with client(venue, "binance", secret="another") as ccxt:
            with pytest.raises(ccxt_errors.AuthenticationError, match="-1022"):
                await ccxt.fetch_balance()
            with pytest.raises(ccxt_errors.AuthenticationError, match="-1022"):
                await buy(ccxt, "av-x")
        assert venue.sim.desk.all_orders() == []


async def test_an_answer_that_is_no_account(tmp_path: Path) -> None:
    async with running(tmp_path, FLAT, "binance") as venue, client(venue, "binance") as ccxt:
        await ccxt.load_markets()
        venue.sim.faults.set("html_200", {"count": 2, "on": ["account", "orders"]})
        assert (await ccxt.fetch_balance())["total"] == {}  # looks like an empty account
        with pytest.raises(AttributeError):
            await ccxt.fetch_open_orders(SYMBOL)


async def test_weight_runs_out_and_going_on_brings_a_ban(tmp_path: Path) -> None:
    async with running(tmp_path, FLAT, "binance") as venue, aiohttp.ClientSession() as http:
        address = venue.address + "/api/v3/exchangeInfo"
        statuses: list[int] = []
        while 418 not in statuses and len(statuses) < WEIGHT_LIMIT:
            async with http.get(address) as answer:
                statuses.append(answer.status)
                body, headers = await answer.json(), answer.headers
        # A minute may begin in between: then there are more calls before the first refusal.
        first = statuses.index(429)
        assert first >= WEIGHT_LIMIT // 20
        assert set(statuses[:first]) == {200}
        assert statuses[-1] == 418
        assert body["code"] == -1003
        assert "banned until" in body["msg"]
        assert int(headers["Retry-After"]) > 60
        assert int(headers["X-MBX-USED-WEIGHT-1M"]) > WEIGHT_LIMIT
