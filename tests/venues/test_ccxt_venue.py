"""Our venue at the simulated binance and kraken, through the real ccxt clients."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from avwapd.venues.port import KnownOrder, VenueRefused
from tests.venue.coins import until
from tests.venues.ccxt_kit import EXCHANGES, SYMBOL, cancel, cid, desk, replace, submit, told

BOTH = pytest.mark.parametrize("name", EXCHANGES)
TICK = {"binance": 100, "kraken": 10}  # ticks of one dollar


@BOTH
async def test_a_market_order_is_taken_filled_and_found(tmp_path: Path, name: str) -> None:
    async with desk(tmp_path, name) as here:
        await here.venue.send(submit(1, qty=200_000))
        assert told(await here.words(), "cid") == [("acked", cid(1))]
        here.there.half()
        await here.venue.recheck()
        words = await here.words()
        assert told(words) == [("acked",), ("filled",)]
        fill = words[1]
        fee_lots = 200 if name == "binance" else 0
        assert (fill.cum_qty, fill.last_qty, fill.final, fill.fee_lots) == (200_000, 200_000, True, fee_lots)
        assert fill.price_ticks == 100 * TICK[name]
        found = await here.venue.look_up(cid(1))
        assert found is not None
        assert (found.cid, found.symbol, found.side, found.type, found.qty) == (cid(1), SYMBOL, 1, "market", 200_000)
        assert (found.filled_qty, found.state, found.limit_ticks, found.stop_ticks) == (200_000, "filled", 0, 0)
        assert await here.venue.look_up(cid(9)) is None
        await here.venue.recheck()
        assert await here.words() == words  # heard again, counted once
        books = await here.venue.books()
        assert books.holdings[SYMBOL].qty == 200_000 - fee_lots
        assert Decimal(books.cash) == here.there.sim.desk.cash


@BOTH
async def test_limit_and_stop_rest_as_asked_and_are_canceled(tmp_path: Path, name: str) -> None:
    async with desk(tmp_path, name) as here:
        await here.venue.send(submit(1, qty=100_000))
        here.there.half()
        await here.venue.recheck()
        await here.venue.send(submit(2, type_="limit", limit=90 * TICK[name]))
        await here.venue.send(submit(3, side=-1, type_="stop", qty=50_000, stop=80 * TICK[name]))
        for number, type_, limit, stop in ((2, "limit", 90, 0), (3, "stop", 0, 80)):
            found = await here.venue.look_up(cid(number))
            assert found is not None
            assert (found.type, found.state) == (type_, "live")
            assert (found.limit_ticks, found.stop_ticks) == (limit * TICK[name], stop * TICK[name])
        books = await here.venue.books()
        assert sorted((o.cid, o.type, o.ours, o.symbol) for o in books.orders) == sorted(
            [(cid(2), "limit", True, SYMBOL), (cid(3), "stop", True, SYMBOL)]
        )
        before = len(await here.words())
        await here.venue.send(cancel(4, 3))
        await here.venue.recheck()
        assert told((await here.words())[before:], "cid") == [("canceled", cid(3))]
        with pytest.raises(VenueRefused, match="not_found"):
            await here.venue.send(cancel(5, 3))
        assert told((await here.words())[before:], "cid") == [("canceled", cid(3))]
        with pytest.raises(VenueRefused, match="not_found"):
            await here.venue.send(cancel(6, 7))  # nobody ever heard of it
        assert [order.cid for order in (await here.venue.books()).orders] == [cid(2)]


@BOTH
async def test_a_replacement_is_told_once_and_whole(tmp_path: Path, name: str) -> None:
    async with desk(tmp_path, name) as here:
        await here.venue.send(submit(1, qty=100_000))
        here.there.half()
        await here.venue.recheck()
        await here.venue.send(submit(2, side=-1, type_="stop", qty=90_000, stop=80 * TICK[name]))
        before = len(await here.words())
        await here.venue.send(replace(3, 2, qty=50_000, stop=85 * TICK[name]))
        await here.venue.recheck()
        words = (await here.words())[before:]
        assert told(words, "cid", "ref_cid") == [("replaced", cid(3), cid(2))]
        live = (await here.venue.books()).orders
        assert [(order.cid, order.qty) for order in live] == [(cid(3), "0.5")]


@BOTH
async def test_a_replacement_sent_again_after_a_crash_goes_on_where_it_stopped(tmp_path: Path, name: str) -> None:
    """The process died after the cancel: the old stop is gone, the new one was never made."""
    async with desk(tmp_path, name) as here:
        await here.venue.send(submit(1, qty=100_000))
        here.there.half()
        await here.venue.send(submit(2, side=-1, type_="stop", qty=90_000, stop=80 * TICK[name]))
        here.there.sim.desk.cancel(next(o.id for o in here.there.sim.desk.orders(open_only=True)))
        known = [
            KnownOrder(cid(1), SYMBOL, 1, 100_000, 100_000, "FILLED", ""),
            KnownOrder(cid(2), SYMBOL, -1, 90_000, 0, "ACKED", ""),
            KnownOrder(cid(3), SYMBOL, -1, 90_000, 0, "UNKNOWN", ""),
        ]
        here.venue.begin(7, known, frozenset(), lambda: None)
        assert await here.venue.look_up(cid(3)) is None
        await here.venue.send(replace(3, 2, qty=90_000, stop=85 * TICK[name]))
        await here.venue.recheck()
        words = await here.words(7)
        assert [word.number for word in words] == [8, 9, 10][: len(words)]
        assert words[-1].cid == cid(3)
        assert words[-1].kind in ("acked", "replaced")
        assert [order.cid for order in (await here.venue.books()).orders] == [cid(3)]


@BOTH
async def test_a_refused_new_stop_is_told_before_the_old_ones_end(tmp_path: Path, name: str) -> None:
    async with desk(tmp_path, name) as here:
        await here.venue.send(submit(1, qty=100_000))
        here.there.half()
        await here.venue.recheck()
        await here.venue.send(submit(2, side=-1, type_="stop", qty=90_000, stop=80 * TICK[name]))
        before = len(await here.words())
        await here.venue.send(replace(3, 2, qty=900_000, stop=85 * TICK[name]))  # more than is held
        await here.venue.recheck()
        words = (await here.words())[before:]
        assert told(words, "cid") == [("rejected", cid(3)), ("canceled", cid(2))]
        assert not (await here.venue.books()).orders


@BOTH
async def test_what_the_account_cannot_pay_is_refused(tmp_path: Path, name: str) -> None:
    async with desk(tmp_path, name) as here:
        with pytest.raises(VenueRefused, match="buying_power") as caught:
            await here.venue.send(submit(1, qty=10_000_000_000))
        assert not caught.value.duplicate
        with pytest.raises(VenueRefused):
            await here.venue.send(submit(2, type_="limit", qty=1, limit=100))


@BOTH
async def test_a_known_id_is_a_duplicate_and_no_refusal(tmp_path: Path, name: str) -> None:
    async with desk(tmp_path, name) as here:
        await here.venue.send(submit(1, type_="limit", limit=90 * TICK[name]))
        with pytest.raises(VenueRefused) as caught:
            await here.venue.send(submit(1, type_="limit", limit=90 * TICK[name]))
        assert caught.value.duplicate
        assert len(here.there.sim.desk.orders(open_only=True)) == 1


@BOTH
async def test_the_listener_hears_fills_by_itself(tmp_path: Path, name: str) -> None:
    async with desk(tmp_path, name, listen=True) as here:
        await until(lambda: here.venue.facts()["stream"] == "up")
        await here.venue.send(submit(1, qty=100_000))
        here.there.half()
        words = await here.until(2)
        assert told(words) == [("acked",), ("filled",)]
        assert here.venue.facts()["counts"].get("reconnects", 0) == 0
