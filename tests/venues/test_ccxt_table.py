"""Each row of the capability table, held against what the real ccxt client puts on the wire."""

from __future__ import annotations

import base64
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avwapd.ports import SystemClock
from avwapd.remote.calls import NoAnswer, Rejected, Shut
from avwapd.remote.ccxt import Exchange
from avwapd.remote.ccxt_client import Access, Unusable
from avwapd.remote.ccxt_errors import Refused
from avwapd.remote.ccxt_table import ROWS, row_of
from avwapd.remote.terms import terms_of
from avwapd.store.ids import client_id
from avwapd.venues.ccxt_account import Account
from avwapd.venues.port import Request
from tests.venues.ccxt_kit import BTC, Recorder, cid, recording

EVERY = pytest.mark.parametrize("name", ROWS)
SYMBOL, WIRE = "BTC-USDT", "BTC/USDT"
SECRET = base64.b64encode(b"secret" * 8).decode()
MET = (NoAnswer, Shut, Rejected)
# What of a stop order on the wire says that it is one, by exchange.
STOPS = {
    "binance": "type=STOP_LOSS&",
    "kraken": "ordertype=stop-loss&",
    "okx": '"ordType":"trigger"',
    "kucoin": '"stop":"loss"',
    "bitget": '"planType":"amount"',
    "bybit": '"orderFilter":"StopOrder"',
    "cryptocom": '"type":"STOP_LOSS"',
    "bitvavo": '"orderType":"stopLoss"',
}


def market() -> dict[str, Any]:
    none = {"min": None, "max": None}
    return {
        "id": "BTCUSDT",
        "lowercaseId": "btcusdt",
        "symbol": WIRE,
        "base": "BTC",
        "quote": "USDT",
        "baseId": "BTC",
        "quoteId": "USDT",
        "type": "spot",
        "spot": True,
        "margin": False,
        "swap": False,
        "future": False,
        "option": False,
        "contract": False,
        "active": True,
        "precision": {"amount": "0.00001", "price": "0.01"},
        "limits": {"amount": none, "price": none, "cost": none, "leverage": none},
        "info": {"orderTypes": ["LIMIT", "MARKET", "STOP_LOSS"], "altname": "BTCUSDT"},
    }


@asynccontextmanager
async def account(name: str) -> AsyncIterator[tuple[Account, Recorder]]:
    async with recording() as recorder:
        key = "account-key" if name == "gemini" else "key"
        access = Access(name, recorder.address, key=key, secret=SECRET, password="word")
        exchange = Exchange(access, SystemClock(), limit_s=3)
        exchange.api.set_markets(
            [market()], {"BTC": {"id": "BTC", "code": "BTC"}, "USDT": {"id": "USDT", "code": "USDT"}}
        )
        if name == "htx":  # it would ask for its accounts first
            exchange.api.accounts = [{"id": "7", "type": "spot", "code": None, "info": {}}]
            exchange.api.options["accountsById"] = {"spot": "spot"}
        terms = terms_of((SYMBOL,), ({**BTC, "quote": "USDT"},), "/")
        try:
            yield Account(exchange, terms, SystemClock(), settling_ms=10_000), recorder
        finally:
            await exchange.close()


def wanted(type_: str, side: int = -1) -> Request:
    prices = {"market": (0, 0), "limit": (10_050, 0), "stop": (0, 9_050)}[type_]
    return Request("submit", cid(1), "", SYMBOL, "entry", side, type_, 30_000, *prices)


@EVERY
async def test_our_id_and_exact_amounts_go_out(name: str) -> None:
    async with account(name) as (asked, recorder):
        with suppress(*MET):
            await asked.create(wanted("limit", 1))
        sent = [heard for heard in recorder.heard if asked.row.to_venue(cid(1)) in heard.text]
        assert len(sent) == 1, [heard.text for heard in recorder.heard]
        [order] = sent
        assert order.method == "POST"
        for exact in ("0.3", "100.5"):
            assert (
                f"={exact}&" in f"{order.body}&{order.text}&"
                or f'"{exact}"' in order.body
                or f"'{exact}'" in order.text
            )


@EVERY
async def test_a_stop_goes_out_as_one_or_not_at_all(name: str) -> None:
    async with account(name) as (asked, recorder):
        if not asked.row.stop:
            with pytest.raises(Refused, match="no native stop"):
                await asked.create(wanted("stop"))
            assert not recorder.heard
            assert name not in STOPS
            return
        with suppress(*MET):
            await asked.create(wanted("stop"))
        [order] = [heard for heard in recorder.heard if asked.row.to_venue(cid(1)) in heard.text]
        assert STOPS[name] in order.body, order.body
        assert "90.5" in order.body


@EVERY
async def test_market_orders_are_of_the_base_coin_or_refused(name: str) -> None:
    async with account(name) as (asked, recorder):
        for side, may in ((1, asked.row.market_buys and asked.row.market_orders), (-1, asked.row.market_orders)):
            recorder.heard.clear()
            if not may:
                with pytest.raises(Refused, match="no market orders"):
                    await asked.create(wanted("market", side))
                assert not recorder.heard
                continue
            with suppress(*MET):
                await asked.create(wanted("market", side))
            [order] = [heard for heard in recorder.heard if asked.row.to_venue(cid(1)) in heard.text]
            assert "0.3" in order.text
            for word in ("quoteOrderQty", "quote_size", "quoteQty", "viqc", "notional", "amountQuote"):
                assert word not in order.text


@EVERY
async def test_the_look_up_sends_the_id_or_the_row_says_none(name: str) -> None:
    async with account(name) as (asked, recorder):
        row = asked.row
        there = row.to_venue(cid(1))
        for stop in (False, True):
            recorder.heard.clear()
            if row.look == "none" or (stop and row.stop_look == "none"):
                with pytest.raises(NoAnswer, match="cannot be asked"):
                    await asked.find(cid(1), SYMBOL, stop=stop)
                assert not recorder.heard
                assert not row.can_look_up
                continue
            with suppress(*MET):
                await asked.find(cid(1), SYMBOL, stop=stop)
            assert any(there in heard.text for heard in recorder.heard), [heard.text for heard in recorder.heard]
            assert "None" not in recorder.heard[0].text
            if stop and row.apart:
                assert any(word in recorder.heard[0].path for word in ("algo", "stop", "plan"))


@EVERY
async def test_a_cancel_names_the_order(name: str) -> None:
    async with account(name) as (asked, recorder):
        row = asked.row
        with suppress(*MET):
            await asked.cancel("sending", SYMBOL, cid(1), "" if row.cancel_id else "V-77", stop=False)
        assert any((row.to_venue(cid(1)) if row.cancel_id else "V-77") in heard.text for heard in recorder.heard)
        if not row.cancel_id:
            recorder.heard.clear()
            with pytest.raises(NoAnswer):
                await asked.cancel("sending", SYMBOL, cid(1), "", stop=False)
            assert not recorder.heard


@EVERY
async def test_an_answer_without_its_list_is_no_empty_account(name: str) -> None:
    async with account(name) as (asked, recorder):
        recorder.answers["*"] = lambda *_: {}
        for question in (asked.balances(), asked.open_orders(), asked.trades(SYMBOL, 0)):
            with pytest.raises(NoAnswer):
                await question


@EVERY
def test_ids_fit_and_come_back(name: str) -> None:
    row = row_of(name)
    longest, letters = {
        "plain": (36, "abcdefghijklmnopqrstuvwxyz0123456789-"),
        "alnum": (32, "abcdefghijklmnopqrstuvwxyz0123456789"),
        "hex": (32, "0123456789abcdef"),
        "uuid": (36, "0123456789abcdef-"),
    }[row.ids]
    ours = [client_id("paper", "avwap", "BTC-USD", 1_704_067_200_000 + n, "entry", n) for n in range(200)]
    theirs = [row.to_venue(text) for text in ours]
    assert len(set(theirs)) == len(ours)
    assert [row.from_venue(text) for text in theirs] == ours
    assert all(len(text) <= longest and set(text) <= set(letters) for text in theirs)
    if row.ids == "uuid":
        assert [str(uuid.UUID(text)) for text in theirs] == theirs


@given(st.text(max_size=40))
def test_foreign_ids_pass_unharmed(text: str) -> None:
    for row in ROWS.values():
        back = row.from_venue(text)
        assert back == text or row.to_venue(back).replace("-", "") == text.lower().replace("-", "").strip(
            "{}"
        ).removeprefix("urn:uuid:")


def test_an_exchange_without_a_row_is_trusted_with_nothing() -> None:
    row = row_of("bitfinex")
    assert not row.can_look_up
    assert row.refuses == "never"
    assert not row.stop
    assert not row.login


async def test_what_ccxt_does_not_know_is_said() -> None:
    with pytest.raises(Unusable, match="no such exchange"):
        Exchange(Access("nasdaq", "http://127.0.0.1:1"), SystemClock(), limit_s=1)


async def test_floats_never_reach_the_wire() -> None:
    """0.1 + 0.2 lots of 0.00001, prices of many ticks: the text is the exact decimal."""
    async with account("binance") as (asked, recorder):
        for qty, ticks in ((30_000, 30), (10_000_001, 7), (1, 123_456_789), (123_456_789_012, 1)):
            recorder.heard.clear()
            with suppress(*MET):
                await asked.create(Request("submit", cid(1), "", SYMBOL, "entry", 1, "limit", qty, ticks, 0))
            form = recorder.heard[0].form
            assert form["quantity"] == asked.terms[SYMBOL].qty_text(qty)
            assert form["price"] == asked.terms[SYMBOL].price_text(ticks)
