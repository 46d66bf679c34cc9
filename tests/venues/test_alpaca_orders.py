"""Orders over Alpaca's wire: the real client against the simulator, from the first byte to the last word."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from avwapd.venues.port import KnownOrder, VenueRefused
from tests.venues.alpaca_kit import SYMBOL, cancel, desk, entry, stop


async def test_an_entry_its_stop_a_move_of_it_and_the_stops_fill(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        await at.venue.send(entry(qty=10))
        at.bar()
        words = await at.words(2)
        assert [(word.kind, word.cid, word.cum_qty, word.final) for word in words] == [
            ("acked", "av-entry", 0, False),
            ("filled", "av-entry", 10, True),
        ]
        price = words[1].price_ticks
        await at.venue.send(stop(ticks=price - 5_000))
        await at.venue.send(stop("av-stop-2", ticks=price + 5_000, kind="replace", ref_cid="av-stop"))
        at.bar()
        words = await at.words(5)
        assert [(word.kind, word.cid, word.ref_cid, word.last_qty, word.final) for word in words[2:]] == [
            ("acked", "av-stop", "", 0, False),
            ("replaced", "av-stop-2", "av-stop", 0, False),
            ("filled", "av-stop-2", "", 10, True),
        ]
        assert [word.number for word in words] == [1, 2, 3, 4, 5]
        assert at.rings
        books = await at.venue.books()
        assert (books.holdings, books.orders, books.foreign) == ({}, [], {})
        cash = at.truth.start_cash - sum(
            (
                Decimal(w.price_ticks * w.last_qty * side + w.fee_units) / 100
                for w, side in ((words[1], 1), (words[4], -1))
            ),
            start=Decimal(0),
        )
        assert Decimal(books.cash) == at.truth.cash == cash


async def test_what_goes_over_the_wire(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        await at.venue.send(entry("av-e", 7, type="limit", limit_ticks=1234))
        await at.venue.send(entry("av-h", 3))
        at.bar()
        await at.venue.send(stop("av-s", 3, ticks=99))
        by_cid = {order.client_id: order for order in at.truth.all_orders()}
        assert (by_cid["av-e"].qty, by_cid["av-e"].limit, by_cid["av-e"].tif) == (7, Decimal("12.34"), "day")
        assert (by_cid["av-s"].qty, by_cid["av-s"].stop, by_cid["av-s"].tif) == (3, Decimal("0.99"), "gtc")
        found = await at.venue.look_up("av-s")
        assert found is not None
        assert (found.cid, found.symbol, found.side, found.type, found.qty) == ("av-s", SYMBOL, -1, "stop", 3)
        assert (found.stop_ticks, found.limit_ticks, found.state, found.filled_qty) == (99, 0, "live", 0)
        assert await at.venue.look_up("av-unknown") is None


async def test_a_cancel_is_final_only_by_the_venues_word(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        await at.venue.send(entry("av-e", 7, type="limit", limit_ticks=100))
        await at.venue.send(cancel("av-e"))
        words = await at.words(2)
        assert [(word.kind, word.cid) for word in words] == [("acked", "av-e"), ("canceled", "av-e")]
        await at.venue.send(cancel("av-e", "av-c2"))
        assert at.venue.counts["cancels_refused"] == 1
        assert (await at.venue.look_up("av-e")).state == "canceled"  # type: ignore[union-attr]


async def test_a_cancel_of_what_is_filled_is_a_refused_cancel_after_the_fill(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        await at.venue.send(entry("av-e", 7))
        at.faults.set("dropped_events", {"on": "stream"})
        at.bar()
        await at.venue.send(cancel("av-e"))
        words = await at.words(3)
        assert [(word.kind, word.cid, word.cum_qty) for word in words] == [
            ("acked", "av-e", 0),
            ("cancel_refused", "av-e", 0),
            ("filled", "av-e", 7),
        ]


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (entry("av-big", 10_000_000), "buying_power: "),
        (entry("av-odd", 10, side=-1, purpose="exit", type="stop"), "bad_order: "),
        (entry("av-what", 10, symbol="NOBODY"), "bad_order: "),
    ],
)
async def test_refusals_have_words(tmp_path: Path, request_: object, reason: str) -> None:
    async with desk(tmp_path) as at:
        with pytest.raises(VenueRefused, match=reason) as caught:
            await at.venue.send(request_)  # type: ignore[arg-type]
        assert not caught.value.duplicate


async def test_two_sellers_of_one_holding_are_a_held_quantity(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        await at.venue.send(entry("av-e", 10))
        at.bar()
        await at.words(2)
        await at.venue.send(stop("av-s", 10))
        with pytest.raises(VenueRefused, match="held_quantity: insufficient qty"):
            await at.venue.send(entry("av-x", 10, side=-1, purpose="exit"))


async def test_a_known_id_is_a_duplicate_and_no_second_order(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        await at.venue.send(entry("av-e", 10, type="limit", limit_ticks=100))
        with pytest.raises(VenueRefused, match="unique") as caught:
            await at.venue.send(entry("av-e", 10, type="limit", limit_ticks=100))
        assert caught.value.duplicate
        assert len(at.truth.all_orders()) == 1


async def test_a_replacement_that_comes_too_late_is_refused_and_the_fill_is_heard(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        await at.venue.send(entry("av-e", 10))
        at.bar()
        price = (await at.words(2))[1].price_ticks
        await at.venue.send(stop("av-s", 10, ticks=price + 5_000))
        at.bar()
        with pytest.raises(VenueRefused, match="bad_order: cannot replace order in filled"):
            await at.venue.send(stop("av-s2", 10, ticks=price, kind="replace", ref_cid="av-s"))
        assert [(word.kind, word.cid) for word in (await at.words(4))[2:]] == [("acked", "av-s"), ("filled", "av-s")]


async def test_books_tell_whats_held_what_rests_and_what_is_not_ours(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        await at.venue.send(entry("av-e", 10))
        await at.venue.send(entry("av-short", 4, symbol="CEDAR", side=-1))
        at.bar()
        await at.words(4)
        await at.venue.send(stop("av-s", 10, ticks=100))
        await at.venue.send(entry("zz-theirs", 2, type="limit", limit_ticks=100))
        books = await at.venue.books()
        assert {symbol: (held.qty, held.rest) for symbol, held in books.holdings.items()} == {
            SYMBOL: (10, "0"),
            "CEDAR": (-4, "0"),
        }
        assert books.holdings[SYMBOL].entry_price > 0
        assert {(o.cid, o.symbol, o.side, o.qty, o.filled, o.type, o.ours) for o in books.orders} == {
            ("av-s", SYMBOL, -1, "10", "0", "stop", True),
            ("zz-theirs", SYMBOL, 1, "2", "0", "limit", False),
        }
        assert Decimal(books.cash) == at.truth.cash
        assert Decimal(books.equity) == at.truth.equity()
        theirs = next(order for order in books.orders if not order.ours)
        await at.venue.cancel_order(theirs.venue_id, theirs.symbol)
        assert [order.cid for order in (await at.venue.books()).orders] == ["av-s"]


async def test_a_restart_hears_what_was_missed_and_nothing_twice(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        await at.venue.send(entry("av-e", 10))
        at.bar()
        first = await at.words(2)
        await at.venue.send(stop("av-s", 10, ticks=first[1].price_ticks + 5_000))
        held = at.venue
        assert held.facts()["stream"] == "up"
    # The same account, another process: what happened in between is asked for.
    async with desk(tmp_path, begin=False, listening=False) as at:
        at.bar()
        at.begin(
            cursor=3,
            known=(
                KnownOrder("av-e", SYMBOL, 1, 10, 10, "FILLED", first[1].venue_id),
                KnownOrder("av-s", SYMBOL, -1, 10, 0, "SENDING", ""),
            ),
            booked=frozenset({first[1].exec_id}),
        )
        assert (await at.venue.look_up("av-s")).state == "filled"  # type: ignore[union-attr]
        await at.venue.recheck()
        words = await at.venue.words(3)
        assert [(word.number, word.kind, word.cid, word.cum_qty) for word in words] == [
            (4, "acked", "av-s", 0),
            (5, "filled", "av-s", 10),
        ]
        assert await at.venue.words(5) == []


async def test_the_clock_of_the_venue(tmp_path: Path) -> None:
    async with desk(tmp_path, listening=False) as at:
        assert abs(await at.venue.skew_ms()) <= 2
        at.faults.set("clock_skew", {"value": 5_000})
        assert 4_990 <= await at.venue.skew_ms() <= 5_010
