"""What may have been taken is in doubt, whatever class ccxt gives it; only what an exchange says no to is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anyio
import pytest
from aiohttp import web

from avwapd.remote.calls import Shut
from avwapd.venues.port import VenueDoubt, VenueRefused, VenueShut
from tests.venues.ccxt_kit import NOW_MS, PLACE, Heard, cancel, cid, recorded, submit

Answer = Callable[[web.Request, Heard], Any]


def says(body: Any, status: int = 200, **headers: str) -> Answer:
    return lambda *_: web.json_response(body, status=status, headers=headers)


def text(body: str, status: int = 200, kind: str = "text/html") -> Answer:
    return lambda *_: web.Response(text=body, status=status, content_type=kind)


async def mute(request: web.Request, heard: Heard) -> web.Response:
    await anyio.sleep(5)
    return web.Response()


async def drop(request: web.Request, heard: Heard) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def cut(request: web.Request, heard: Heard) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "500", "Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(b'{"symbol": "BTCUSD", "orderId": 1')
    assert request.transport is not None
    request.transport.close()
    return response


async def drip(request: web.Request, heard: Heard) -> web.StreamResponse:
    """A byte now and then: each read is in time, the whole never is."""
    response = web.StreamResponse(headers={"Content-Length": "500"})
    await response.prepare(request)
    for _ in range(50):
        await response.write(b" ")
        await anyio.sleep(0.1)
    return response


async def flood(request: web.Request, heard: Heard) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(40):
        await response.write(b" " * (1 << 20))
    whole = {"symbol": "BTCUSD", "orderId": 1, "clientOrderId": heard.form["newClientOrderId"], "status": "NEW"}
    await response.write(json.dumps(whole).encode())
    return response


DOUBTS: dict[str, Answer] = {
    # the order was taken in these
    "no answer": mute,
    "504 status unknown": says({"code": -1007, "msg": "Timeout waiting for response."}, 504),
    "503 overloaded": says({"code": -1008, "msg": "Server is currently overloaded."}, 503),
    "connection dropped": drop,
    "answer cut": cut,
    # and here nobody can tell
    "a byte a second": drip,
    "an endless answer": flood,
    "execution status unknown": says({"code": -1006, "msg": "An unexpected response."}, 400),
    "an internal error": says({"code": -1000, "msg": "An unknown error occured."}, 400),
    "disconnected": says({"code": -1001, "msg": "Internal error; unable to process your request."}, 400),
    "a code without a class": says({"code": -1999, "msg": "What is this?"}, 400),
    "500 with a refusal's code": says({"code": -2010, "msg": "Account has insufficient balance."}, 500),
    **{f"bare {status}": text("<html>no</html>", status) for status in (400, 403, 404, 405, 409, 410, 451, 502, 520)},
    "200 with HTML": text("<html>hello</html>"),
    "200 and empty": text(""),
    "200 with bad JSON": text('{"orderId": ', kind="application/json"),
    "200 with NaN": text('{"symbol":"BTCUSD","orderId":1,"price":NaN}', kind="application/json"),
    "200 with a number beyond numbers": text('{"symbol":"BTCUSD","orderId":1e400}', kind="application/json"),
    "200 with doubled keys": text('{"orderId":1,"orderId":2}', kind="application/json"),
    "200 about nothing": says({}),
    "200 with a list": says([]),
    "200 with an error inside": says({"code": -2010, "msg": "Account has insufficient balance."}),
    "200 about another order": says({"symbol": "BTCUSD", "orderId": 7, "clientOrderId": "av-other", "status": "NEW"}),
    "a redirect": lambda *_: web.Response(status=307, headers={"Location": "/api/v3/elsewhere"}),
}


@pytest.mark.parametrize("fault", DOUBTS)
async def test_in_doubt_at_binance(fault: str) -> None:
    async with recorded("binance", limit_s=0.4) as (venue, recorder):
        recorder.answers[PLACE["binance"]] = DOUBTS[fault]
        with pytest.raises(VenueDoubt) as caught:
            await venue.send(submit(1))
        assert not isinstance(caught.value, VenueShut)
        assert len(recorder.of("POST", "/api/v3/order")) == 1, "nothing is tried twice"
        assert not [heard for heard in recorder.heard if heard.path.endswith("elsewhere")]


REFUSALS = {
    "no funds": ({"code": -2010, "msg": "Account has insufficient balance for requested action."}, "buying_power"),
    "a filter": ({"code": -1013, "msg": "Filter failure: NOTIONAL"}, "min_notional"),
    "a price": ({"code": -1013, "msg": "Filter failure: PRICE_FILTER"}, "price_increment"),
    "a stop": ({"code": -2010, "msg": "Stop price would trigger immediately."}, "bad_order"),
    "a symbol": ({"code": -1121, "msg": "Invalid symbol."}, "not_tradable"),
    "a parameter": ({"code": -1102, "msg": "Mandatory parameter 'side' was not sent."}, "bad_order"),
}


@pytest.mark.parametrize("fault", REFUSALS)
async def test_refused_at_binance(fault: str) -> None:
    body, reason = REFUSALS[fault]
    async with recorded("binance") as (venue, recorder):
        recorder.answers[PLACE["binance"]] = says(body, 400)
        with pytest.raises(VenueRefused, match=f"^{reason}: ") as caught:
            await venue.send(submit(1))
        assert not caught.value.duplicate
        assert len(str(caught.value)) <= 200


async def test_a_duplicate_means_taken() -> None:
    async with recorded("binance") as (venue, recorder):
        recorder.answers[PLACE["binance"]] = says({"code": -2010, "msg": "Duplicate order sent."}, 400)
        with pytest.raises(VenueRefused) as caught:
            await venue.send(submit(1))
        assert caught.value.duplicate


SHUT = {
    "418 with the ban's end": (
        says({"code": -1003, "msg": f"Way too much request weight used; IP banned until {NOW_MS + 90_000}."}, 418),
        90.0,
    ),
    "429 with a header": (
        says({"code": -1003, "msg": "Too much request weight used."}, 429, **{"Retry-After": "7"}),
        7.0,
    ),
    "429 without": (says({"code": -1003, "msg": "Too much request weight used."}, 429), 10.0),
    "429 of a gateway": (text("slow down", 429), 10.0),
    "a revoked key": (says({"code": -2014, "msg": "API-key format invalid."}, 401), 5.0),
    "a key without the right": (says({"code": -2015, "msg": "Invalid API-key, IP, or permissions."}, 401), 5.0),
    "a bad signature": (says({"code": -1022, "msg": "Signature for this request is not valid."}, 400), 5.0),
    "a wrong clock": (
        says({"code": -1021, "msg": "Timestamp for this request is outside of the recvWindow."}, 400),
        0.2,
    ),
}


@pytest.mark.parametrize("fault", SHUT)
async def test_shut_at_binance(fault: str) -> None:
    answer, retry_s = SHUT[fault]
    async with recorded("binance") as (venue, recorder):
        recorder.answers[PLACE["binance"]] = answer
        with pytest.raises(VenueShut) as caught:
            await venue.send(submit(1))
        assert caught.value.retry_s == pytest.approx(retry_s, abs=0.5)
        before = len(recorder.heard)
        if retry_s >= 1:
            assert venue.admit("cancel", "stop") == pytest.approx(retry_s, abs=0.5)
            with pytest.raises(VenueShut):
                await venue.send(submit(2))
            with pytest.raises(VenueShut):
                await venue.look_up(cid(1))
            with pytest.raises(VenueShut):
                await venue.books()
            assert len(recorder.heard) == before, "nothing was asked while shut"
            assert venue.facts()["state"] == "shut"


async def test_a_wrong_clock_is_looked_at_before_the_next_call() -> None:
    async with recorded("binance") as (venue, recorder):
        recorder.answers[PLACE["binance"]] = SHUT["a wrong clock"][0]
        with pytest.raises(VenueShut):
            await venue.send(submit(1))
        recorder.answers["GET /api/v3/time"] = lambda *_: {"serverTime": NOW_MS + 3_000}
        recorder.answers[PLACE["binance"]] = lambda _, heard: {
            "symbol": "BTCUSD",
            "orderId": 1,
            "clientOrderId": heard.form["newClientOrderId"],
            "status": "NEW",
        }
        await venue.send(submit(1))
        assert int(recorder.of("POST", "/api/v3/order")[-1].form["timestamp"]) == NOW_MS + 3_000


KRAKEN = {
    "EService:Timeout": VenueDoubt,
    "EService:Unavailable": VenueDoubt,
    "EService:Busy": VenueDoubt,
    "EGeneral:Internal error": VenueDoubt,
    "EWhat:Never heard of": VenueDoubt,
    "EAPI:Rate limit exceeded": VenueShut,
    "EOrder:Rate limit exceeded": VenueShut,
    "EGeneral:Temporary lockout": VenueShut,
    "EAPI:Invalid nonce": VenueShut,
    "EAPI:Invalid key": VenueShut,
    "EGeneral:Permission denied": VenueShut,
    "EOrder:Insufficient funds": VenueRefused,
    "EOrder:Order minimum not met": VenueRefused,
    "EGeneral:Invalid arguments:volume": VenueRefused,
    "EService:Market in cancel_only mode": VenueRefused,
    "EQuery:Unknown asset pair": VenueRefused,
}


@pytest.mark.parametrize("error", KRAKEN)
async def test_krakens_words(error: str) -> None:
    async with recorded("kraken") as (venue, recorder):
        recorder.answers[PLACE["kraken"]] = says({"error": [error]})
        with pytest.raises(KRAKEN[error]) as caught:
            await venue.send(submit(1))
        assert type(caught.value) is KRAKEN[error]


@pytest.mark.parametrize(
    "fault", ["no answer", "connection dropped", "answer cut", "200 with HTML", "200 about nothing"]
)
async def test_in_doubt_at_kraken(fault: str) -> None:
    async with recorded("kraken", limit_s=0.4) as (venue, recorder):
        recorder.answers[PLACE["kraken"]] = DOUBTS[fault]
        with pytest.raises(VenueDoubt) as caught:
            await venue.send(submit(1))
        assert not isinstance(caught.value, VenueShut)


@pytest.mark.parametrize("error", ["EOrder:Insufficient funds", "EAPI:Rate limit exceeded", "EAPI:Invalid key"])
async def test_a_gateways_5xx_is_believed_in_nothing(error: str) -> None:
    async with recorded("kraken") as (venue, recorder):
        recorder.answers[PLACE["kraken"]] = says({"error": [error]}, 502)
        with pytest.raises(VenueDoubt) as caught:
            await venue.send(submit(1))
        assert type(caught.value) is VenueDoubt


@pytest.mark.parametrize("fault", ["200 with HTML", "200 and empty", "no answer", "connection dropped", "bare 404"])
async def test_a_cancel_in_doubt(fault: str) -> None:
    async with recorded("binance", limit_s=0.4) as (venue, recorder):
        recorder.answers["DELETE /api/v3/order"] = DOUBTS[fault]
        with pytest.raises(VenueDoubt) as caught:
            await venue.send(cancel(2, 1))
        assert type(caught.value) is VenueDoubt
        assert len(recorder.of("DELETE", "/api/v3/order")) == 1


async def test_a_nonce_that_is_behind_is_overtaken() -> None:
    """A clock that was set back: the key's last nonce lies ahead."""
    nonces: list[int] = []

    def answer(_: web.Request, heard: Heard) -> Any:
        nonces.append(int(heard.form["nonce"]))
        return (
            {"error": ["EAPI:Invalid nonce"]} if nonces[-1] < NOW_MS + 60_000 else {"error": [], "result": {"open": {}}}
        )

    async with recorded("kraken") as (venue, recorder):
        recorder.answers["POST /0/private/OpenOrders"] = answer
        for _ in range(20):
            with suppress(Shut):
                await venue.account.open_orders()
                break
        assert nonces[-1] > NOW_MS + 60_000
        assert nonces == sorted(set(nonces))


async def test_a_cancel_is_not_taken_for_what_another_call_was_told() -> None:
    """ccxt's kraken reads the answer to whatever was asked last when a cancel fails."""
    async with recorded("kraken") as (venue, recorder):
        recorder.answers["POST /0/private/CancelOrder"] = says({"error": ["EOrder:Unknown order"]})
        with pytest.raises(VenueRefused):
            await venue.cancel_order("OABC", "BTC-USD")
        recorder.answers["POST /0/private/CancelOrder"] = drop
        with pytest.raises(VenueDoubt):
            await venue.cancel_order("ODEF", "BTC-USD")


async def test_failures_in_a_row_open_the_breaker() -> None:
    async with recorded("binance", breaker_failures=3, breaker_rest_ms=60_000) as (venue, recorder):
        recorder.answers["*"] = text("down", 500)
        for number in range(3):
            assert venue.admit("submit", "entry") == 0.0
            with pytest.raises(VenueDoubt):
                await venue.send(submit(number))
        assert 0 < venue.admit("submit", "entry") <= 60
        assert venue.facts()["breaker"] == "open"
        before = len(recorder.heard)
        with pytest.raises(VenueDoubt):
            await venue.look_up(cid(1))
        assert len(recorder.heard) == before + 1, "questions pass"


async def test_the_budget_keeps_a_reserve_for_what_lowers_risk() -> None:
    async with recorded("binance", calls_minute=20, reserve_calls=10) as (venue, _):
        while venue.admit("submit", "entry") == 0.0:
            pass
        assert venue.admit("cancel", "stop") == 0.0
        assert venue.admit("submit", "stop") == 0.0
        with pytest.raises(VenueShut):
            await venue.look_up(cid(1))


async def test_a_budget_used_up_is_no_failure_of_the_venue() -> None:
    async with recorded("binance", calls_minute=20, reserve_calls=10, breaker_failures=2, speed=1) as (venue, recorder):
        while venue.admit("submit", "entry") == 0.0:
            pass
        before = len(recorder.heard)
        for _ in range(5):
            with pytest.raises(VenueShut):
                await venue.look_up(cid(1))
        assert len(recorder.heard) == before
        assert venue.facts()["breaker"] == "closed"
        assert venue.exchange.shut_for("exit") == 0.0
        assert venue.admit("cancel", "stop") == 0.0


async def test_waiting_for_a_call_of_ones_own_is_no_silence_of_the_venue() -> None:
    async with recorded("binance", calls_minute=20, reserve_calls=1, breaker_failures=1, limit_s=0.2) as (venue, _):
        while venue.admit("cancel", "exit") == 0.0:
            pass
        with pytest.raises(Shut):
            await venue.exchange.ask("exit", "fetch_balance")
        assert venue.facts()["breaker"] == "closed"
        assert venue.exchange.shut_for("exit") == 0.0
