"""What may go wrong on Alpaca's wire: nothing is refused that was taken, nothing is counted twice, nothing is lost."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest

from avwapd.demo_venue.desk_shapes import NewOrder
from avwapd.ports import SystemClock
from avwapd.remote.terms import terms_of
from avwapd.venues.alpaca import alpaca_venue
from avwapd.venues.port import VenueDoubt, VenueRefused, VenueShut
from tests.remote.raw import http, raw
from tests.venues.alpaca_kit import SYMBOL, Desk, cancel, desk, entry, market, settings, stop

SOON = {"order.answer_limit_ms": "1200"}  # where the limit itself is waited for


async def bought(at: Desk, qty: int = 10) -> int:
    """An entry that has filled; its price in ticks."""
    await at.venue.send(entry(qty=qty))
    at.bar()
    return (await at.words(2))[1].price_ticks


@pytest.mark.parametrize(
    ("fault", "taken"),
    [
        ("lose_request", False),
        ("refuse_connection", False),
        ("down_500", False),
        ("lose_answer", True),
        ("reset", True),
        ("cut_answer", True),
        ("wrong_length", True),
        ("gateway_504_taken", True),
        ("slow_drip", True),
        ("html_200", True),
        ("empty_200", True),
        ("bad_json", True),
        ("nan_value", True),
        ("huge_number", True),
        ("duplicate_keys", True),
    ],
)
async def test_an_ambiguous_send_is_a_doubt_and_one_order(tmp_path: Path, fault: str, taken: bool) -> None:
    waits = fault in ("lose_request", "lose_answer", "slow_drip")
    async with desk(tmp_path, listening=False, options=SOON if waits else None) as at:
        at.faults.set(fault, {"on": "submit", "count": 1})
        request = entry("av-e", 10, type="limit", limit_ticks=100)
        with pytest.raises(VenueDoubt) as caught:
            await at.venue.send(request)
        assert not isinstance(caught.value, VenueShut)
        assert at.faults.fired[fault] == 1
        found = await at.venue.look_up("av-e")
        assert (found is not None) == taken
        if taken:
            with pytest.raises(VenueRefused) as refused:
                await at.venue.send(request)
            assert refused.value.duplicate
        else:
            await at.venue.send(request)
        assert len(at.truth.all_orders()) == 1
        assert [(word.kind, word.cid) for word in await at.venue.words(0)] == [("acked", "av-e")]


@pytest.mark.parametrize(
    ("fault", "value", "low", "high"),
    [
        ("limit_429", 7, 6.5, 7.0),
        ("limit_429_no_header", None, 2.5, 3.0),
        ("revoked_401", None, 29, 30),
        ("blocked_403", None, 29, 30),
    ],
)
async def test_a_shut_venue_took_nothing_and_says_how_long(
    tmp_path: Path, fault: str, value: Any, low: float, high: float
) -> None:
    async with desk(tmp_path, listening=False) as at:
        at.faults.set(fault, {"count": 1, "value": value})
        with pytest.raises(VenueShut) as caught:
            await at.venue.send(entry())
        assert low <= caught.value.retry_s <= high
        assert low <= at.venue.admit("submit", "exit") <= high
        assert at.venue.facts()["state"] == "shut"
        assert at.truth.all_orders() == []


async def test_an_answer_about_another_order_and_a_404_are_doubts(tmp_path: Path) -> None:
    """Before a server of bytes: the first answers the wrong question, the second denies knowing the address."""
    order = {"id": "v1", "client_order_id": "av-other", "symbol": SYMBOL, "side": "buy", "type": "market", "qty": "10"}
    order |= {"filled_qty": "0", "status": "new", "submitted_at": "2026-01-02T15:00:00Z"}
    said = http(json.dumps(order).encode())
    no = http(b'{"code":40410000,"message":"order not found"}', status="404 N")
    for answer, what in ((said, "another order"), (no, "status 404")):
        async with raw(any=answer) as server:
            config = settings(server.port)
            terms = terms_of(market().symbols, market().instruments, "/")
            venue = alpaca_venue(config, terms, SystemClock(), ours=bool, chance=lambda: 0.5, environment={})
            venue.begin(0, (), frozenset(), lambda: None)
            with pytest.raises(VenueDoubt, match=what):
                await venue.send(entry("av-e", 10))
            assert await venue.words(0) == []
            await venue.close()


async def test_a_right_to_trade_comes_back_with_the_first_question_that_works(tmp_path: Path) -> None:
    async with desk(tmp_path, listening=False) as at:
        at.faults.set("revoked_401", {"count": 2})
        with pytest.raises(VenueShut):
            await at.venue.send(entry())
        with pytest.raises(VenueShut, match="unauthorized"):
            await at.venue.books()
        assert at.venue.admit("submit", "entry") > 0
        await at.venue.books()
        assert at.venue.admit("submit", "entry") == 0
        assert at.venue.facts()["state"] == "degraded"  # only the stream is not up


async def test_a_ban_holds_questions_too(tmp_path: Path) -> None:
    async with desk(tmp_path, listening=False) as at:
        at.faults.set("limit_429", {"count": 1, "value": 5})
        with pytest.raises(VenueShut):
            await at.venue.send(entry())
        with pytest.raises(VenueShut):
            await at.venue.look_up("av-entry")
        assert at.faults.fired["limit_429"] == 1


async def test_the_breaker_opens_and_a_question_closes_it(tmp_path: Path) -> None:
    async with desk(tmp_path, listening=False, options={"venue.breaker_failures": "3"}) as at:
        at.faults.set("down_500", {"on": "submit"})
        for number in range(3):
            assert at.venue.admit("submit", "entry") == 0
            with pytest.raises(VenueDoubt):
                await at.venue.send(entry(f"av-{number}"))
        assert 14 < at.venue.admit("submit", "entry") <= 15
        assert 14 < at.venue.admit("cancel", "entry") <= 15
        assert at.venue.facts()["breaker"] == "open"
        await at.venue.books()
        assert at.venue.admit("submit", "entry") == 0


async def test_questions_never_use_the_reserve(tmp_path: Path) -> None:
    options = {"venue.calls_minute": "20", "venue.reserve_calls": "15"}
    async with desk(tmp_path, listening=False, options=options) as at:
        for _ in range(5):
            await at.venue.look_up("av-x")
        with pytest.raises(VenueShut, match="no call is left"):
            await at.venue.look_up("av-x")
        assert at.venue.admit("submit", "entry") > 0
        assert at.venue.admit("replace", "stop") == 0
        assert at.venue.facts()["budget"] == {"left": 14, "room": 20, "reserve": 15}


@pytest.mark.parametrize(
    ("on", "fault"),
    [
        (on, fault)
        for on in ("account", "positions", "orders")
        for fault in (
            "html_200",
            "empty_200",
            "bad_json",
            "nan_value",
            "huge_number",
            "duplicate_keys",
            "down_500",
            "cut_answer",
        )
    ],
)
async def test_a_damaged_reading_is_no_book(tmp_path: Path, on: str, fault: str) -> None:
    async with desk(tmp_path, listening=False) as at:
        await at.venue.send(entry())
        at.bar()
        await at.venue.send(stop(ticks=100))
        at.faults.set(fault, {"on": on, "count": 1})
        with pytest.raises(VenueDoubt):
            await at.venue.books()
        assert at.faults.fired[fault] == 1
        assert (await at.venue.books()).holdings[SYMBOL].qty == 10


async def test_a_status_nobody_knows_is_no_answer_to_a_look_up(tmp_path: Path) -> None:
    async with desk(tmp_path, listening=False) as at:
        await at.venue.send(entry())
        at.faults.set("unknown_enum", {"on": "order", "count": 1})
        with pytest.raises(VenueDoubt, match="quantum"):
            await at.venue.look_up("av-entry")


async def test_a_lie_about_a_stop_is_not_believed(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        price = await bought(at)
        await at.venue.send(stop(ticks=price - 5_000))
        at.faults.set("not_found_lie", {"on": ["cancel", "replace", "order"], "count": 4})
        with pytest.raises(VenueDoubt, match="lost sight"):
            await at.venue.send(cancel("av-stop"))
        with pytest.raises(VenueDoubt, match="lost sight"):
            await at.venue.send(stop("av-s2", ticks=price - 4_000, kind="replace", ref_cid="av-stop"))
        await at.venue.send(cancel("av-stop"))
        assert (await at.words(4))[-1].kind == "canceled"


@pytest.mark.parametrize(
    "fault",
    [
        "doubled_events",
        "reordered_events",
        "dropped_events",
        "drop_stream",
        "mute_stream",
        "bad_frame",
        "bad_utf8",
        "giant_frame",
        "stream_storm",
    ],
)
async def test_whatever_the_stream_does_the_words_are_whole(tmp_path: Path, fault: str) -> None:
    async with desk(tmp_path) as at:
        at.faults.set(fault, {"on": "stream", "p": 0.5 if "ed_" in fault else 1.0, "count": 4})
        at.faults.set("one_lot_fills", {"value": 10})
        await at.venue.send(entry(qty=10))
        at.bar()
        words = await at.words(11, limit_s=10)
        assert [word.number for word in words] == list(range(1, 12))
        assert [word.kind for word in words] == ["acked"] + ["filled"] * 10
        assert sum(word.last_qty for word in words) == 10
        assert len({word.exec_id for word in words[1:]}) == 10
        assert words[-1].final or fault == "reordered_events"
        paid = sum(word.price_ticks * word.last_qty + word.fee_units for word in words)
        assert at.truth.start_cash - at.truth.cash == paid * at.terms[SYMBOL].tick


async def test_what_happened_while_the_stream_was_away_is_asked_for(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        price = await bought(at)
        await at.venue.send(stop(ticks=price + 5_000))
        at.faults.set("drop_stream", {"on": "stream", "count": 1})
        at.bar()
        words = await at.words(4)
        assert [(word.kind, word.cid) for word in words[2:]] == [("acked", "av-stop"), ("filled", "av-stop")]
        assert at.faults.fired["drop_stream"] == 1
        assert at.venue.watch.counts["looks"] == 0


async def test_a_stream_gone_mute_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avwapd.venues.alpaca_watch.MUTE_UP_S", 0.0)
    async with desk(tmp_path) as at:
        at.faults.set("mute_stream", {"on": "stream", "count": 1})
        for number in range(2):
            await at.venue.send(entry(f"av-{number}", 1))
            at.bar()
            await at.venue.recheck()
        assert at.venue.watch.counts["streams_mute"] == 1
        await at.until(lambda: at.venue.facts()["counts"]["connects"] == 2 and at.venue.facts()["stream"] == "up")
        await at.venue.send(entry("av-2", 1))
        at.bar()
        await at.words(6)


async def test_a_fill_after_the_cancel(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        at.faults.set("fill_after_cancel", {"count": 1})
        await at.venue.send(entry("av-e", 10, type="limit", limit_ticks=100))
        await at.venue.send(cancel("av-e"))
        for _ in range(3):
            at.bar()
        # A recheck may hear of the fill first: then it is the last word.
        words = await at.words(3 if (await at.words(2))[1].kind == "canceled" else 2)
        assert [word.kind for word in words] in (["acked", "canceled", "filled"], ["acked", "filled"])
        assert sum(word.last_qty for word in words) == at.truth.held(SYMBOL) == 10


async def test_a_partial_fill_and_then_the_end(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        at.faults.set("partial_then_cancel", {"count": 1})
        await at.venue.send(entry(qty=10))
        at.bar()
        words = await at.words(3)
        assert [(word.kind, word.cum_qty, word.final) for word in words] == [
            ("acked", 0, False),
            ("filled", 5, False),
            ("canceled", 5, True),
        ]


@pytest.mark.parametrize("told_on_the_stream", [True, False])
async def test_a_cancel_that_finds_the_order_filled(tmp_path: Path, told_on_the_stream: bool) -> None:
    async with desk(tmp_path) as at:
        price = await bought(at)
        await at.venue.send(stop(ticks=price - 5_000))
        if not told_on_the_stream:
            at.faults.set("dropped_events", {"on": "stream"})
        at.faults.set("cancel_races_fill", {"count": 1})
        await at.venue.send(cancel("av-stop"))
        await at.until(lambda: at.truth.held(SYMBOL) == 0 or at.bar())
        with anyio.fail_after(5):
            while True:
                words = await at.venue.words(3)
                if any(word.kind == "filled" for word in words):
                    break
                await anyio.sleep(0.01)
        assert sum(word.last_qty for word in words) == 10


async def test_a_replacement_refused_after_it_was_taken(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        price = await bought(at)
        await at.venue.send(stop(ticks=price - 5_000))
        at.faults.set("replace_rejected", {"count": 1})
        request = stop("av-s2", ticks=price - 4_000, kind="replace", ref_cid="av-stop")
        try:
            await at.venue.send(request)
        except VenueRefused:
            assert (await at.venue.look_up("av-stop")).state == "live"  # type: ignore[union-attr]
            return
        words = await at.words(4)
        assert [(word.kind, word.cid, word.ref_cid) for word in words[3:]] == [("rejected", "av-s2", "av-stop")]


async def test_a_stop_that_is_rejected_or_expires_later(tmp_path: Path) -> None:
    for number, (fault, kind) in enumerate((("stop_rejected", "rejected"), ("stop_expires", "expired"))):
        async with desk(tmp_path / str(number)) as at:
            price = await bought(at)
            at.faults.set(fault, {"count": 1})
            await at.venue.send(stop(ticks=price - 5_000))
            for _ in range(3):
                at.bar()
            assert [(word.kind, word.cid) for word in (await at.words(4))[2:]] == [
                ("acked", "av-stop"),
                (kind, "av-stop"),
            ]


async def test_a_trade_taken_back_is_told_and_is_no_word(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        told: list[Any] = []
        at.venue.on_bust = told.append
        at.faults.set("trade_bust", {"count": 1, "value": 1})
        await bought(at)
        for _ in range(3):
            at.bar()
        await at.until(lambda: told)
        assert (told[0].symbol, told[0].side, told[0].qty, told[0].cid) == (SYMBOL, 1, "10", "av-entry")
        assert list(at.venue.busts) == told
        assert len(await at.venue.words(0)) == 2


async def test_a_trade_taken_back_while_the_stream_was_away(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        told: list[Any] = []
        at.venue.on_bust = told.append
        price = await bought(at)
        await at.words(2)
        at.bar()
        [execution] = at.truth.executions()
        at.faults.set("drop_stream", {"on": "stream", "count": 1})
        at.truth.bust(execution.id)  # cut instead of told; the order is over: no list of open ones has it
        await at.until(lambda: told)
        await at.venue.look_back([SYMBOL])
        assert [(bust.cid, bust.qty, bust.side) for bust in told] == [("av-entry", "10", 1)]
        assert at.terms[SYMBOL].ticks(told[0].price) == price


async def test_an_eventually_consistent_venue(tmp_path: Path) -> None:
    async with desk(tmp_path, profile="slow") as at:
        await at.venue.send(entry(qty=10))
        at.bar(1)
        await at.words(2)
        assert SYMBOL not in (await at.venue.books()).holdings  # positions lag
        await at.venue.send(stop(ticks=100))
        assert await at.venue.look_up("av-stop") is None  # and so do orders
        await at.venue.recheck()
        at.bar(3)
        assert (await at.venue.look_up("av-stop")).state == "live"  # type: ignore[union-attr]
        assert (await at.venue.books()).holdings[SYMBOL].qty == 10


async def test_somebody_else_replaces_our_stop(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        price = await bought(at)
        await at.venue.send(stop(ticks=price - 5_000))
        order = at.truth.by_client_id("av-stop")
        await anyio.to_thread.run_sync(
            lambda: at.venue._client.patch(f"/orders/{order.id}", {"stop_price": "1", "client_order_id": "by-hand"})
        )
        words = await at.words(4)
        assert [(word.kind, word.cid) for word in words[2:]] == [("acked", "av-stop"), ("canceled", "av-stop")]


async def test_somebody_elses_orders_say_nothing(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        for name in ("zz-theirs", "av-from-another-life"):
            at.truth.submit(NewOrder(symbol=SYMBOL, side=1, type="market", qty=Decimal(3), client_id=name))
        at.bar()
        await at.until(
            lambda: (
                at.venue.facts()["counts"].get("foreign_events", 0) >= 2
                and at.venue.facts()["counts"].get("strangers", 0) >= 2
            )
        )
        await at.venue.recheck()
        assert await at.venue.words(0) == []
        assert at.venue.facts()["behind"] == []
