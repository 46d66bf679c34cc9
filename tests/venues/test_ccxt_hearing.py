"""What the account tells, by stream and by question, whole or in parts, once each, over restarts."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from avwapd.config import load
from avwapd.remote.ccxt import access_of, data_access_of
from avwapd.remote.ccxt_client import Unusable
from avwapd.remote.credentials import Credentials, Secret
from avwapd.venues.port import KnownOrder, VenueDoubt, VenueShut
from tests.venue.coins import FIRST_MS, until
from tests.venues.ccxt_kit import (
    EXCHANGES,
    NOW_MS,
    SYMBOL,
    Heard,
    binance_answers,
    cid,
    desk,
    opened,
    recorded,
    recording,
    still,
    submit,
    terms_for,
    told,
)

BOTH = pytest.mark.parametrize("name", EXCHANGES)
TICK = {"binance": 100, "kraken": 10}
KEYS = Credentials(Secret("k"), Secret("s"))


@BOTH
async def test_a_restart_hears_what_happened_meanwhile_and_nothing_twice(tmp_path: Path, name: str) -> None:
    async with desk(tmp_path, name) as here:
        await here.venue.send(submit(1, qty=100_000))
        here.there.half()
        await here.venue.recheck()
        first = await here.words()
        await here.venue.send(submit(2, side=-1, qty=50_000))
        here.there.bar()  # it fills, and nobody listens
        known = [
            KnownOrder(cid(1), SYMBOL, 1, 100_000, 100_000, "FILLED", first[0].venue_id),
            KnownOrder(cid(2), SYMBOL, -1, 50_000, 0, "SENDING", ""),
        ]
        rang: list[int] = []
        here.venue.begin(2, known, frozenset([first[1].exec_id]), lambda: rang.append(1))
        await here.venue.recheck()
        words = await here.words(2)
        assert told(words, "number", "cid", "cum_qty") == [("acked", 3, cid(2), 0), ("filled", 4, cid(2), 50_000)]
        assert rang
        assert await here.venue.words(3) == words[1:]
        await here.venue.recheck()
        assert await here.words(2) == words


@BOTH
async def test_the_same_fact_by_stream_and_question_is_one_word(tmp_path: Path, name: str) -> None:
    async with desk(tmp_path, name, listen=True) as here:
        await until(lambda: here.venue.facts()["stream"] == "up")
        for number in range(1, 6):
            await here.venue.send(submit(number, qty=10_000 * number))
        here.there.half()
        for _ in range(3):
            await here.venue.recheck()
        words = await here.until(10)
        assert len(words) == 10
        fills = {word.cid: word for word in words if word.kind == "filled"}
        assert {fill.last_qty for fill in fills.values()} == {10_000 * number for number in range(1, 6)}
        assert len({fill.exec_id for fill in fills.values()}) == 5
        held = sum(fill.last_qty - fill.fee_lots for fill in fills.values())
        books = await here.venue.books()
        rest = books.holdings[SYMBOL].qty - held
        assert 0 <= rest <= 5  # fees are counted in whole lots, up
        spent = sum(fill.price_ticks * fill.last_qty + fill.fee_units for fill in fills.values())
        unit = Decimal("0.01") * Decimal("0.00001") if name == "binance" else Decimal("0.1") * Decimal("0.00001")
        assert abs(Decimal(books.cash) - (100_000 - spent * unit)) < Decimal("0.005")


@pytest.mark.parametrize("fault", ["dropped_events", "doubled_events", "reordered_events"])
async def test_a_stream_that_drops_doubles_and_disorders(tmp_path: Path, fault: str) -> None:
    async with desk(tmp_path, "binance", listen=True) as here:
        await until(lambda: here.venue.facts()["stream"] == "up")
        here.there.sim.faults.set(fault, {"p": 1.0})
        await here.venue.send(submit(1, qty=100_000))
        here.there.half()
        await here.venue.recheck()
        words = await here.until(2)
        assert told(words, "cum_qty") == [("acked", 0), ("filled", 100_000)]


async def test_a_mute_stream_is_noticed_and_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from avwapd.venues import ccxt_stream

    for setting, value in {"SILENCE_S": 0.3, "SILENCE_LEAST_S": 0.3, "STREAMED_S": 600.0, "IDLE_S": 600.0}.items():
        monkeypatch.setattr(ccxt_stream, setting, value)
    async with desk(tmp_path, "binance", listen=True, venue={"reconnects_minute": 600}) as here:
        await until(lambda: here.venue.facts()["stream"] == "up")
        await here.venue.send(submit(1, qty=100_000))
        await here.until(1)
        here.there.sim.faults.set("mute_stream", {"p": 1.0})
        here.there.half()
        words = await here.until(2)
        assert words[1].kind == "filled"
        here.there.sim.faults.clear()
        await until(lambda: here.venue.facts()["counts"].get("reconnects", 0) >= 1)
        await until(lambda: here.venue.facts()["stream"] == "up")
        assert here.venue.facts()["counts"]["mute_streams"] >= 1


@BOTH
async def test_hand_made_orders_are_shown_and_can_be_canceled(tmp_path: Path, name: str) -> None:
    from avwapd.demo_venue.desk_shapes import NewOrder

    async with desk(tmp_path, name) as here:
        by_hand = NewOrder(
            symbol=SYMBOL, side=1, type="limit", qty=Decimal("0.5"), limit=Decimal(90), client_id="hand-1"
        )
        here.there.sim.desk.submit(by_hand)
        [order] = (await here.venue.books()).orders
        assert not order.ours
        assert (order.symbol, order.side, order.qty, order.filled, order.type) == (SYMBOL, 1, "0.5", "0", "limit")
        await here.venue.cancel_order(order.venue_id, order.symbol)
        assert not (await here.venue.books()).orders
        assert not await here.words()


@BOTH
async def test_clocks_are_compared(tmp_path: Path, name: str) -> None:
    async with desk(tmp_path, name) as here:
        assert abs(await here.venue.skew_ms()) <= (1 if name == "binance" else 1000)
        here.there.sim.faults.set("clock_skew", {"p": 1.0, "value": 7_000})
        assert abs(await here.venue.skew_ms() - 7_000) <= (1 if name == "binance" else 1000)
        assert here.venue.facts()["skew_ms"] >= 6_000


# ----------------------------------------------------------------------------------------------------- partial answers


ACCOUNT = {
    "balances": [
        {"asset": "BTC", "free": "0.50000000", "locked": "0.10000000"},
        {"asset": "ETH", "free": "2", "locked": "0"},
    ]
}
SICK_BOOKS: dict[str, Any] = {
    "no balances": {},
    "null": {"balances": None},
    "a coin without amounts": {"balances": [{"asset": "BTC"}]},
    "no number": {"balances": [{"asset": "BTC", "free": "lots", "locked": "0"}]},
    "NaN in quotes": {"balances": [{"asset": "BTC", "free": "NaN", "locked": "0"}]},
    "Infinity in quotes": {"balances": [{"asset": "BTC", "free": "Infinity", "locked": "0"}]},
    "absurd": {"balances": [{"asset": "BTC", "free": "1e40", "locked": "0"}]},
}


async def test_holdings_of_ours_and_of_others() -> None:
    async with recorded("binance") as (venue, recorder):
        recorder.answers["GET /api/v3/account"] = lambda *_: {
            "balances": [*ACCOUNT["balances"], {"asset": "USD", "free": "90.5", "locked": "9.5"}]
        }
        recorder.answers["GET /api/v3/openOrders"] = lambda *_: []
        books = await venue.books()
        assert (books.holdings[SYMBOL].qty, books.holdings[SYMBOL].rest) == (60_000, "0")
        assert books.foreign == {"ETH": "2"}
        assert (books.cash, books.buying_power, books.equity) == ("100", "90.5", "")
        assert books.read_ms == NOW_MS


@pytest.mark.parametrize("fault", SICK_BOOKS)
async def test_a_balance_that_cannot_be_read_is_no_empty_book(fault: str) -> None:
    async with recorded("binance") as (venue, recorder):
        recorder.answers["GET /api/v3/account"] = lambda *_: SICK_BOOKS[fault]
        recorder.answers["GET /api/v3/openOrders"] = lambda *_: []
        with pytest.raises(VenueDoubt):
            await venue.books()


@pytest.mark.parametrize("part", ["GET /api/v3/account", "GET /api/v3/openOrders"])
async def test_one_part_that_fails_fails_the_whole_reading(part: str) -> None:
    async with recorded("binance") as (venue, recorder):
        recorder.answers["GET /api/v3/account"] = lambda *_: ACCOUNT
        recorder.answers["GET /api/v3/openOrders"] = lambda *_: []
        await venue.books()
        for sick in (lambda *_: web.Response(text="<html>"), lambda *_: {}, lambda *_: web.Response(status=500)):
            recorder.answers[part] = sick
            with pytest.raises(VenueDoubt):
                await venue.books()


@pytest.mark.parametrize("missing", ["result", "open", "closed"])
async def test_kraken_without_its_list_knows_nothing(missing: str) -> None:
    """ccxt reads a missing list as an empty one; the order would count as absent."""
    async with recorded("kraken") as (venue, recorder):
        opened_, closed = {"error": [], "result": {"open": {}}}, {"error": [], "result": {"closed": {}, "count": 0}}
        recorder.answers["POST /0/private/OpenOrders"] = lambda *_: opened_
        recorder.answers["POST /0/private/ClosedOrders"] = lambda *_: closed
        assert await venue.look_up(cid(1)) is None
        for answer in (opened_, closed):
            if missing == "result":
                answer.pop("result")  # type: ignore[misc]
            else:
                answer["result"].pop(missing, None)  # type: ignore[union-attr]
        with pytest.raises(VenueDoubt):
            await venue.look_up(cid(1))


async def test_a_look_up_believes_only_the_order_it_asked_for() -> None:
    order = {
        "symbol": "BTCUSD",
        "orderId": 5,
        "clientOrderId": cid(1),
        "price": "90.00",
        "origQty": "1.00000",
        "executedQty": "0.00000",
        "status": "NEW",
        "type": "LIMIT",
        "side": "BUY",
        "stopPrice": "0.00",
        "time": NOW_MS,
    }
    async with recorded("binance") as (venue, recorder):
        recorder.answers["GET /api/v3/order"] = lambda *_: order
        found = await venue.look_up(cid(1))
        assert found is not None
        assert (found.qty, found.limit_ticks, found.state) == (100_000, 9_000, "live")
        lies = (
            {"clientOrderId": cid(2)},
            {"status": "DREAMING"},
            {"side": "HOLD"},
            {"origQty": "NaN"},
            {"orderId": None},
        )
        for lie in (*lies, {"price": "1e400"}, {"executedQty": "-1"}):
            recorder.answers["GET /api/v3/order"] = lambda *_, lie=lie: order | lie
            with pytest.raises(VenueDoubt):
                await venue.look_up(cid(1))
        for status in (400, 404, 500):
            recorder.answers["GET /api/v3/order"] = lambda *_, s=status: web.Response(status=s)
            with pytest.raises(VenueDoubt):
                await venue.look_up(cid(1))


async def test_every_page_of_trades_is_read() -> None:
    """kraken gives 50 a page, the newest first."""

    def row(number: int) -> dict[str, Any]:
        return {
            "ordertxid": "O1",
            "pair": "XXBTZUSD",
            "time": NOW_MS / 1000 - number,
            "type": "buy",
            "ordertype": "limit",
            "price": "100.0",
            "cost": "1.0",
            "fee": "0.0026",
            "vol": "0.01000000",
            "trade_id": number,
        }

    def history(_: web.Request, heard: Heard) -> Any:
        first = int(heard.form.get("ofs", "0"))
        return {
            "error": [],
            "result": {"trades": {f"T{n}": row(n) for n in range(120)[first : first + 50]}, "count": 120},
        }

    async with recorded("kraken") as (venue, recorder):
        recorder.answers["POST /0/private/AddOrder"] = lambda *_: {"error": [], "result": {"txid": ["O1"], "descr": {}}}
        recorder.answers["POST /0/private/TradesHistory"] = history
        await venue.send(submit(1, qty=200_000, type_="limit", limit=1_000))
        await venue.ears.executions(SYMBOL)
        words = await venue.words(0)
        assert len(words) == 121
        assert words[-1].cum_qty == 120_000
        assert sum(word.fee_units for word in words[1:]) == round(0.0026 * 120 / (0.1 * 0.00001))
        assert len(recorder.of("POST", "/0/private/TradesHistory")) == 3
        order = recorder.of("POST", "/0/private/AddOrder")[0].form
        assert order["oflags"] == "fciq"
        assert order["deadline"] == "2024-01-01T01:00:10.000Z"


async def test_a_fee_in_another_coin_costs_no_quote() -> None:
    trade = {
        "symbol": "BTCUSD",
        "id": 9,
        "orderId": 5,
        "price": "100.00",
        "qty": "1.00000",
        "commission": "0.0004",
        "commissionAsset": "BNB",
        "time": NOW_MS,
        "isBuyer": True,
    }
    async with recorded("binance") as (venue, recorder):
        recorder.answers["POST /api/v3/order"] = lambda _, heard: {
            "symbol": "BTCUSD",
            "orderId": 5,
            "clientOrderId": heard.form["newClientOrderId"],
            "status": "NEW",
        }
        recorder.answers["GET /api/v3/myTrades"] = lambda *_: [trade]
        await venue.send(submit(1))
        await venue.ears.executions(SYMBOL)
        [_, fill] = await venue.words(0)
        assert (fill.fee_units, fill.fee_lots, fill.price_ticks) == (0, 0, 10_000)
        assert venue.facts()["counts"]["fees_in_another_coin"] == 1


# --------------------------------------------------------------------------------------------------------- the start


async def test_an_exchange_that_is_away_at_the_start_is_asked_again() -> None:
    async with recording() as recorder:
        recorder.answers["*"] = lambda *_: web.Response(status=503)
        async with opened(recorder.address, "binance", still(), terms_for("binance")) as venue:
            for _ in range(2):
                with pytest.raises(VenueDoubt):
                    await venue.send(submit(1))
            assert not recorder.of("POST", "/api/v3/order")
            binance_answers(recorder)
            recorder.answers["GET /api/v3/openOrders"] = lambda *_: []
            recorder.answers["GET /api/v3/account"] = lambda *_: ACCOUNT
            assert (await venue.books()).holdings[SYMBOL].qty == 60_000


@pytest.mark.parametrize(
    ("field", "value", "why"), [("lot", "0.000001", "steps of 0.000001"), ("tick", "0.001", "price")]
)
async def test_steps_finer_than_the_exchanges_are_refused(field: str, value: str, why: str) -> None:
    """ccxt would cut them without a word: another quantity than the ledger's."""
    from avwapd.remote.terms import terms_of
    from tests.venues.ccxt_kit import BTC

    async with recording() as recorder:
        binance_answers(recorder)
        with pytest.raises(Unusable, match=why):
            async with opened(recorder.address, "binance", still(), terms_of((SYMBOL,), ({**BTC, field: value},), "/")):
                pass


async def test_a_symbol_it_does_not_trade_is_refused() -> None:
    from avwapd.remote.terms import terms_of
    from tests.venues.ccxt_kit import BTC

    async with recording() as recorder:
        binance_answers(recorder)
        with pytest.raises(Unusable, match="no spot market"):
            async with opened(recorder.address, "binance", still(), terms_of(("ETH-USD",), (BTC,), "/")):
                pass


def test_paper_means_the_test_site_and_live_the_real_one() -> None:
    for mode, address, sandbox in (("paper", "", True), ("live", "", False), ("paper", "http://127.0.0.1:1", False)):
        options = {"run.mode": mode, "venue.name": "binance", "venue.address": address, "network.allowed": "true"}
        config = load(environ={}, options=options)
        assert access_of(config, KEYS).sandbox is sandbox
        assert access_of(config, KEYS).address == address
        assert data_access_of(config).address == address
        assert data_access_of(config).key == ""
        assert "Secret" not in repr(access_of(config, KEYS))


async def test_no_test_site_no_paper() -> None:
    from avwapd.ports import SystemClock
    from avwapd.remote.ccxt import Exchange
    from avwapd.remote.ccxt_client import Access

    with pytest.raises(Unusable, match="no test site"):
        Exchange(Access("kraken", sandbox=True), SystemClock(), limit_s=1)
    exchange = Exchange(Access("binance", sandbox=True), SystemClock(), limit_s=1)
    assert "testnet.binance.vision" in exchange.api.urls["api"]["private"]
    await exchange.close()


async def test_where_nothing_can_be_looked_up_it_says_so() -> None:
    from avwapd.remote.ccxt_table import row_of

    for name in ("coinbase", "alpaca", "bitfinex"):
        assert not row_of(name).can_look_up
    async with recorded("binance") as (venue, _):
        venue.can_look_up = False
        with pytest.raises(VenueDoubt) as caught:
            await venue.look_up(cid(1))
        assert not isinstance(caught.value, VenueShut)
    assert FIRST_MS
