"""What the client makes of kraken's refusals, which come with HTTP 200, and of answers that are none."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import ccxt.async_support as ccxt_errors
import pytest

from tests.venue.coins import client, running

SYMBOL = "BTC/USD"
FLAT = [100.0] * 40
CID = "ab" * 16


async def buy(ccxt: Any, cid: str = CID, qty: float = 1, price: float | None = 90.0) -> Any:
    kind = "limit" if price else "market"
    return await ccxt.create_order(SYMBOL, kind, "buy", qty, price, {"clientOrderId": cid})


TAKEN = [  # fault, the client's class, whether that counts as a network error
    ("lose_answer", "RequestTimeout", True),
    ("gateway_504_taken", "ExchangeError", False),  # EService:Timeout, with HTTP 200
    ("reset", "ExchangeNotAvailable", True),
    ("cut_answer", "ExchangeError", False),
]


@pytest.mark.parametrize(("fault", "name", "network"), TAKEN)
async def test_an_order_that_was_taken_though_the_client_raises(
    tmp_path: Path, fault: str, name: str, network: bool
) -> None:
    async with running(tmp_path, FLAT, "kraken") as venue, client(venue, "kraken", timeout=300) as ccxt:
        await ccxt.load_markets()
        venue.sim.faults.set(fault, {"count": 1})
        with pytest.raises(ccxt_errors.BaseError) as caught:
            await buy(ccxt)
        assert type(caught.value).__name__ == name
        assert isinstance(caught.value, ccxt_errors.NetworkError) is network
        assert venue.sim.faults.fired[fault] == 1
        assert len(await ccxt.fetch_open_orders(SYMBOL, params={"clientOrderId": CID})) == 1


NOT_TAKEN = [
    ("lose_request", "RequestTimeout"),
    ("refuse_connection", "ExchangeNotAvailable"),
    ("limit_429", "DDoSProtection"),
    ("limit_429_no_header", "DDoSProtection"),
    ("down_500", "ExchangeNotAvailable"),
    ("revoked_401", "AuthenticationError"),
    ("blocked_403", "PermissionDenied"),
]


@pytest.mark.parametrize(("fault", "name"), NOT_TAKEN)
async def test_an_order_that_was_never_looked_at(tmp_path: Path, fault: str, name: str) -> None:
    async with running(tmp_path, FLAT, "kraken") as venue, client(venue, "kraken", timeout=300) as ccxt:
        await ccxt.load_markets()
        venue.sim.faults.set(fault, {"count": 1, "on": "submit"})
        with pytest.raises(ccxt_errors.BaseError) as caught:
            await buy(ccxt)
        assert type(caught.value).__name__ == name
        assert await ccxt.fetch_open_orders(SYMBOL) == []
        assert venue.sim.desk.all_orders() == []


async def test_a_refusal_of_the_venue_s_own(tmp_path: Path) -> None:
    async with running(tmp_path, FLAT, "kraken") as venue, client(venue, "kraken") as ccxt:
        await ccxt.load_markets()

        async def refused(call: Any, name: str, words: str) -> None:
            with pytest.raises(ccxt_errors.BaseError, match=re.escape(words)) as caught:
                await call
            assert type(caught.value).__name__ == name

        place = ccxt.private_post_addorder
        raw = {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "price": "90", "volume": "1"}
        await refused(buy(ccxt, qty=2000), "InsufficientFunds", "EOrder:Insufficient funds")
        sell = ccxt.create_order(SYMBOL, "limit", "sell", 1, 200)
        await refused(sell, "InsufficientFunds", "EOrder:Insufficient funds")
        await refused(place({**raw, "price": "90.01"}), "InvalidOrder", "EOrder:Invalid price")
        await refused(place({**raw, "volume": "0.000001"}), "InvalidOrder", "EGeneral:Invalid arguments:volume")
        await refused(place({**raw, "volume": "0.01"}), "InvalidOrder", "volume minimum not met")
        await refused(place({**raw, "volume": "NaN"}), "InvalidOrder", "EGeneral:Invalid arguments:volume")
        await refused(place({**raw, "pair": "XBTEUR"}), "ExchangeError", "EQuery:Unknown asset pair")
        await refused(place({**raw, "ordertype": "iceberg"}), "ExchangeError", "EGeneral:Invalid arguments:ordertype")
        await refused(ccxt.cancel_order("OABCDE-FGHIJ-KLMNOP", SYMBOL), "OrderNotFound", "EOrder:Unknown order")
        await refused(ccxt.fetch_order("OABCDE-FGHIJ-KLMNOP", SYMBOL), "OrderNotFound", "could not find order")
        assert venue.sim.desk.all_orders() == []


@pytest.mark.parametrize(
    ("cid", "taken"),
    [
        ("0123456789abcdef0123456789ABCDEF", True),
        ("6d1b345e-2821-40e2-ad83-4ecb18a06876", True),
        ("dca-2024-01-15-001", True),
        ("av-" + "a" * 26, False),
        ("Upper", False),
        ("a" * 19, False),
    ],
)
async def test_client_ids_are_uuids_or_short(tmp_path: Path, cid: str, taken: bool) -> None:
    async with running(tmp_path, FLAT, "kraken") as venue, client(venue, "kraken") as ccxt:
        if taken:
            await buy(ccxt, cid)
            assert [one["clientOrderId"] for one in await ccxt.fetch_open_orders(SYMBOL)] == [cid]
        else:
            with pytest.raises(ccxt_errors.ExchangeError, match="EGeneral:Invalid arguments:cl_ord_id"):
                await buy(ccxt, cid)
            assert venue.sim.desk.all_orders() == []


@pytest.mark.parametrize(("profile", "resting"), [("strict", 1), ("lenient", 2)])
async def test_a_client_id_is_unique_among_resting_orders_only(tmp_path: Path, profile: str, resting: int) -> None:
    async with running(tmp_path, FLAT, "kraken", profile=profile) as venue, client(venue, "kraken") as ccxt:
        await buy(ccxt)
        if profile == "strict":
            with pytest.raises(ccxt_errors.ExchangeError, match="cl_ord_id not unique"):
                await buy(ccxt)
        else:
            await buy(ccxt)
        assert len(await ccxt.fetch_open_orders(SYMBOL)) == resting
        await ccxt.cancel_order(None, SYMBOL, {"clientOrderId": CID})
        assert await ccxt.fetch_open_orders(SYMBOL) == []  # all that carry it
        await buy(ccxt)
        assert len(venue.sim.desk.all_orders()) == resting + 1


async def test_nonces_grow_and_signatures_fit(tmp_path: Path) -> None:
    async with running(tmp_path, FLAT, "kraken") as venue, client(venue, "kraken") as ccxt:
        await ccxt.fetch_balance()
        async with client(venue, "kraken") as second:  # the same key in another process, its clock behind
            second.milliseconds = lambda: 1000
            with pytest.raises(ccxt_errors.InvalidNonce):
                await second.fetch_balance()
        async with client(venue, "kraken", apiKey="another") as stranger:
            with pytest.raises(ccxt_errors.AuthenticationError, match="EAPI:Invalid key"):
                await stranger.fetch_balance()
        async with client(venue, "kraken", secret="bm90aGluZw==") as forger:
            with pytest.raises(ccxt_errors.ExchangeError, match="EAPI:Invalid signature"):
                await buy(forger)
        assert venue.sim.desk.all_orders() == []
        await ccxt.fetch_balance()


async def test_an_answer_that_is_no_account(tmp_path: Path) -> None:
    async with running(tmp_path, FLAT, "kraken") as venue, client(venue, "kraken") as ccxt:
        await ccxt.load_markets()
        venue.sim.faults.set("html_200", {"count": 1, "on": "account"})
        assert (await ccxt.fetch_balance())["total"] == {}  # looks like an empty account
        venue.sim.faults.set("bad_json", {"count": 1, "on": "account"})
        assert (await ccxt.fetch_balance())["total"] == {}


async def test_a_slow_venue_shows_its_orders_late(tmp_path: Path) -> None:
    async with running(tmp_path, FLAT, "kraken", profile="slow") as venue, client(venue, "kraken") as ccxt:
        made = await buy(ccxt)
        with pytest.raises(ccxt_errors.OrderNotFound):
            await ccxt.fetch_order(made["id"], SYMBOL)
        with pytest.raises(ccxt_errors.OrderNotFound):
            await ccxt.cancel_order(made["id"], SYMBOL)
        venue.bar()
        assert (await ccxt.fetch_order(made["id"], SYMBOL))["status"] == "open"
