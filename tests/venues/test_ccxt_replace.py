"""A replacement in two steps, with a fault in between each: never two stops, never a lost fill, told in an order that
the machine can fold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import web

from avwapd.venues.port import KnownOrder, VenueDoubt, VenueRefused, VenueShut
from tests.venue.coins import until
from tests.venues.ccxt_kit import EXCHANGES, SYMBOL, Desk, Heard, cid, desk, recorded, replace, submit, told

BOTH = pytest.mark.parametrize("name", EXCHANGES)
TICK = {"binance": 100, "kraken": 10}


async def with_stop(here: Desk, name: str) -> int:
    """One coin held, a stop of 0.9 at 80 resting; the number of words so far."""
    await here.venue.send(submit(1, qty=100_000))
    here.there.half()
    await here.venue.recheck()
    await here.venue.send(submit(2, side=-1, type_="stop", qty=90_000, stop=80 * TICK[name]))
    return len(await here.words())


def stops(here: Desk) -> list[tuple[str, str]]:
    return [(order.client_id, str(order.qty)) for order in here.there.sim.desk.orders(open_only=True)]


@BOTH
@pytest.mark.parametrize("fault", ["lose_request", "lose_answer", "gateway_504_taken", "cut_answer"])
async def test_the_new_stop_in_doubt(tmp_path: Path, name: str, fault: str) -> None:
    """Found by a look-up, or sent again: one stop in the end, and the old one's end is never told alone."""
    async with desk(tmp_path, name, venue={"limit_s": 0.5}) as here:
        before = await with_stop(here, name)
        here.there.sim.faults.set(fault, {"on": "submit", "count": 1})
        request = replace(3, 2, qty=50_000, stop=85 * TICK[name])
        with pytest.raises(VenueDoubt):
            await here.venue.send(request)
        await here.venue.recheck()
        assert ("canceled", cid(2)) not in told((await here.words())[before:], "cid")
        if await here.venue.look_up(cid(3)) is None:
            await here.venue.send(request)
        await here.venue.recheck()
        assert told((await here.words())[before:], "cid") == [("replaced", cid(3))]
        assert stops(here) == [(here.venue.row.to_venue(cid(3)), "0.50000")] or len(stops(here)) == 1


@BOTH
@pytest.mark.parametrize("fault", ["lose_request", "lose_answer", "cut_answer"])
async def test_the_cancel_in_doubt(tmp_path: Path, name: str, fault: str) -> None:
    async with desk(tmp_path, name, venue={"limit_s": 0.5}) as here:
        before = await with_stop(here, name)
        here.there.sim.faults.set(fault, {"on": "cancel", "count": 1})
        request = replace(3, 2, qty=50_000, stop=85 * TICK[name])
        with pytest.raises(VenueDoubt):
            await here.venue.send(request)
        await here.venue.recheck()
        assert told((await here.words())[before:], "cid") == []
        assert await here.venue.look_up(cid(3)) is None
        await here.venue.send(request)
        await here.venue.recheck()
        assert told((await here.words())[before:], "cid") == [("replaced", cid(3))]
        assert len(stops(here)) == 1


@BOTH
async def test_a_stop_that_filled_first_is_not_replaced(tmp_path: Path, name: str) -> None:
    closes = [100.0] * 7 + [70.0] * 5
    async with desk(tmp_path, name, closes) as here:
        before = await with_stop(here, name)
        for _ in range(3):
            here.there.bar()
        assert not stops(here)
        await here.venue.send(replace(3, 2, qty=50_000, stop=85 * TICK[name]))
        await here.venue.recheck()
        words = (await here.words())[before:]
        assert told(words, "cid") == [("rejected", cid(3)), ("filled", cid(2))]
        assert words[-1].final
        assert not stops(here)


@BOTH
async def test_after_a_restart_the_old_ones_end_and_the_new_one_are_both_told(tmp_path: Path, name: str) -> None:
    """Killed between the cancel and the new order; recheck comes before the request is sent again."""
    async with desk(tmp_path, name) as here:
        await with_stop(here, name)
        here.there.sim.desk.cancel(here.there.sim.desk.orders(open_only=True)[0].id)
        known = [
            KnownOrder(cid(2), SYMBOL, -1, 90_000, 0, "ACKED", ""),
            KnownOrder(cid(3), SYMBOL, -1, 50_000, 0, "UNKNOWN", ""),
        ]
        here.venue.begin(40, known, frozenset(), lambda: None)
        await here.venue.recheck()
        assert told(await here.words(40))[-1] == ("canceled",)
        await here.venue.send(replace(3, 2, qty=50_000, stop=85 * TICK[name]))
        words = await here.words(40)
        assert (words[-1].kind, words[-1].cid) in (("acked", cid(3)), ("replaced", cid(3)))
        assert [word.number for word in words] == list(range(41, 41 + len(words)))
        assert len(stops(here)) == 1


@BOTH
async def test_an_order_nobody_knows_cannot_be_replaced(tmp_path: Path, name: str) -> None:
    async with desk(tmp_path, name) as here:
        with pytest.raises(VenueRefused, match="does not know"):
            await here.venue.send(replace(3, 2, qty=50_000, stop=85 * TICK[name]))
        assert not stops(here)


async def test_shut_after_the_cancel_goes_on_later(tmp_path: Path) -> None:
    """A rate limit hits the second step: nothing of the new order was taken, and it is sent again."""
    async with desk(tmp_path, "binance") as here:
        before = await with_stop(here, "binance")
        here.there.sim.faults.set("limit_429_no_header", {"on": "submit", "count": 1})
        request = replace(3, 2, qty=50_000, stop=8_500)
        with pytest.raises(VenueShut):
            await here.venue.send(request)
        assert not stops(here)
        here.venue.exchange.budget.banned_until = 0.0
        await here.venue.send(request)
        await here.venue.recheck()
        assert told((await here.words())[before:], "cid") == [("replaced", cid(3))]
        assert len(stops(here)) == 1


async def test_the_stream_tells_the_cancel_before_the_new_one_is_there(tmp_path: Path) -> None:
    """The canceled report overtakes everything; a refusal of the new order behind it would read as a lost stop."""
    async with desk(tmp_path, "binance", listen=True) as here:
        await until(lambda: here.venue.facts()["stream"] == "up")
        before = await with_stop(here, "binance")
        for number in range(3, 9):
            await here.venue.send(replace(number, number - 1, qty=50_000 + number, stop=8_000 + number))
        await here.venue.send(replace(9, 8, qty=900_000, stop=8_500))  # more than is held
        await until(lambda: here.venue.ears.hearing.last >= before + 8)
        await anyio.sleep(0.1)
        expected = [("replaced", cid(number)) for number in range(3, 9)]
        assert told((await here.words())[before:], "cid") == [*expected, ("rejected", cid(9)), ("canceled", cid(8))]


async def test_a_partly_filled_stop_is_not_made_again_in_a_stale_size() -> None:
    """0.3 of 0.9 were sold before the cancel came: the machine hears it and asks for what is left."""

    def row(status: str, filled: str, **more: Any) -> dict[str, Any]:
        return {
            "symbol": "BTCUSD",
            "orderId": 5,
            "clientOrderId": cid(2),
            "price": "0.00",
            "origQty": "0.90000",
            "executedQty": filled,
            "cummulativeQuoteQty": "0",
            "status": status,
            "type": "STOP_LOSS",
            "side": "SELL",
            "stopPrice": "80.00",
            "time": 1_704_070_000_000,
            "updateTime": 1_704_070_000_000,
        } | more

    trade = {
        "symbol": "BTCUSD",
        "id": 77,
        "orderId": 5,
        "price": "79.95",
        "qty": "0.30000",
        "commission": "0.0239850",
        "commissionAsset": "USD",
        "time": 1_704_070_000_500,
        "isBuyer": False,
        "isMaker": False,
    }
    async with recorded("binance") as (venue, recorder):
        recorder.answers["POST /api/v3/order"] = lambda *_: row("NEW", "0.00000")
        recorder.answers["DELETE /api/v3/order"] = lambda *_: row(
            "CANCELED", "0.30000", clientOrderId="other", origClientOrderId=cid(2)
        )
        recorder.answers["GET /api/v3/openOrders"] = lambda *_: []
        recorder.answers["GET /api/v3/order"] = lambda *_: row("CANCELED", "0.30000")
        recorder.answers["GET /api/v3/myTrades"] = lambda *_: [trade]
        await venue.send(submit(2, side=-1, type_="stop", qty=90_000, stop=8_000))
        await venue.send(replace(3, 2, qty=90_000, stop=8_500))
        await venue.recheck()
        words = await venue.words(0)
        assert told(words, "cid") == [
            ("acked", cid(2)),
            ("rejected", cid(3)),
            ("filled", cid(2)),
            ("canceled", cid(2)),
        ]
        fill = words[2]
        assert (fill.last_qty, fill.cum_qty, fill.final, fill.price_ticks) == (30_000, 30_000, False, 7_995)
        # side * ticks * lots + fee is the notional plus the fee, to one unit of tick x lot
        assert -7_995 * 30_000 + fill.fee_units == round((-79.95 * 0.3 + 0.023985) / (0.01 * 0.00001))
        assert len(recorder.of("POST", "/api/v3/order")) == 1


async def test_a_replacement_that_never_comes_frees_the_old_ones_end() -> None:
    """The router gave it up: after a while the machine hears that its stop is gone."""
    now = [1_704_070_800_000]
    from tests.venues.ccxt_kit import MarketClock, binance_answers, opened, recording, terms_for

    def order(_: web.Request, heard: Heard) -> Any:
        if heard.query.get("origClientOrderId") == cid(3):
            return web.json_response({"code": -2013, "msg": "Order does not exist."}, status=400)
        return made | {"status": "CANCELED"}

    made = {
        "symbol": "BTCUSD",
        "orderId": 5,
        "clientOrderId": cid(2),
        "price": "0.00",
        "origQty": "0.90000",
        "executedQty": "0.00000",
        "cummulativeQuoteQty": "0",
        "status": "NEW",
        "type": "STOP_LOSS",
        "side": "SELL",
        "stopPrice": "80.00",
        "time": now[0],
        "updateTime": now[0],
    }
    async with recording() as recorder:
        binance_answers(recorder)
        async with opened(recorder.address, "binance", MarketClock(lambda: now[0]), terms_for("binance")) as venue:
            recorder.answers["POST /api/v3/order"] = lambda *_: made
            recorder.answers["GET /api/v3/openOrders"] = lambda *_: []
            recorder.answers["GET /api/v3/myTrades"] = lambda *_: []
            recorder.answers["GET /api/v3/order"] = order
            await venue.send(submit(2, side=-1, type_="stop", qty=90_000, stop=8_000))
            recorder.answers["DELETE /api/v3/order"] = lambda *_: made | {"status": "CANCELED"}
            recorder.answers["POST /api/v3/order"] = lambda *_: web.Response(status=502)
            with pytest.raises(VenueDoubt):
                await venue.send(replace(3, 2, qty=90_000, stop=8_500))
            await venue.recheck()
            assert told(await venue.words(0)) == [("acked",)]
            now[0] += 61_000
            await venue.recheck()
            assert told(await venue.words(0), "cid") == [("acked", cid(2)), ("canceled", cid(2))]
