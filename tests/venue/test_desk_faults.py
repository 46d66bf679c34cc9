"""The faults of the book and of the feed, each seen in the desk's events, in its books, on the published bars."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avwapd.demo_venue.desk_shapes import Change, DeskRefused, NewOrder, Order
from avwapd.demo_venue.faults import FAULTS
from tests.venue.simulators import Running, running


class Scene:
    """A simulator whose events and published bars are kept."""

    def __init__(self, venue: Running) -> None:
        self.venue, self.sim, self.desk = venue, venue.sim, venue.sim.desk
        self.events: list[Any] = []
        self.bars: list[tuple[int, Any, str]] = []
        self.desk.on_event.append(self.events.append)
        self.sim.published.on_bars.append(lambda ts_ms, rows, kind: self.bars.append((ts_ms, np.array(rows), kind)))

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    def fault(self, name: str, **setting: Any) -> None:
        self.sim.faults.set(name, {"symbol": "ALFA", "count": 1, **setting})

    def order(self, side: int, qty: int, type: str = "market", **prices: float) -> Order:
        wanted = {name: round(Decimal(str(price)), 2) for name, price in prices.items()}
        return self.desk.submit(NewOrder(symbol="ALFA", side=side, type=type, qty=Decimal(qty), **wanted))

    def enter(self, qty: int = 10) -> None:
        self.order(1, qty)
        self.venue.bar()

    def stop(self, qty: int = 10, share: float = 0.5) -> Order:
        return self.order(-1, qty, "stop", stop=float(self.desk.marks["ALFA"]) * share)

    def fired(self) -> dict[str, int]:
        return dict(self.sim.faults.fired)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with running(tmp_path / "venue") as venue:
        venue.bar()
        yield Scene(venue)


async def test_half_fills_and_then_nothing(scene: Scene) -> None:
    scene.fault("partial_then_nothing", value=3)
    order = scene.order(1, 10)
    for filled in (5, 5, 5, 5, 10):
        scene.venue.bar()
        assert order.filled == filled
    assert scene.fired() == {"partial_then_nothing": 1}


async def test_half_fills_and_the_rest_is_canceled(scene: Scene) -> None:
    scene.fault("partial_then_cancel")
    order = scene.order(1, 10)
    scene.venue.bar()
    assert (scene.kinds, order.filled) == (["new", "partial_fill", "canceled"], 5)


async def test_a_fill_in_many_pieces_survives_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path / "venue", faults={"one_lot_fills": 1.0}) as venue:
        venue.bar()
        scene = Scene(venue)
        scene.enter(250)
        before = scene.desk.executions()
        assert len(before) == 100
        assert sum(one.qty for one in before) == 250
        assert [one.type for one in before] == ["partial_fill"] * 99 + ["fill"]
    async with running(tmp_path / "venue") as venue:
        assert venue.sim.desk.executions() == before


async def test_a_trade_is_busted_a_bar_later(scene: Scene) -> None:
    scene.fault("trade_bust")
    scene.enter()
    assert scene.desk.held("ALFA") == 10
    scene.venue.bar(2)
    assert (scene.kinds[-1], scene.desk.held("ALFA"), scene.desk.cash) == ("trade_bust", 0, 100_000)


async def test_the_cancel_finds_the_order_filled(scene: Scene) -> None:
    scene.enter()
    stop = scene.stop()
    scene.fault("cancel_races_fill")
    scene.desk.cancel(stop.id)
    assert (scene.kinds[-1], stop.status, scene.desk.held("ALFA")) == ("fill", "filled", 0)
    assert scene.desk.executions()[-1].price == stop.stop


async def test_a_fill_after_the_cancel_and_after_the_rejection(scene: Scene) -> None:
    scene.fault("fill_after_cancel")
    order = scene.order(1, 4)
    scene.desk.cancel(order.id)
    scene.venue.bar()
    scene.fault("fill_after_reject")
    scene.order(1, 4)
    scene.venue.bar()
    assert scene.kinds == ["new", "canceled", "fill", "new", "rejected", "fill"]
    assert scene.desk.held("ALFA") == 8


async def test_replacements_that_fail(scene: Scene) -> None:
    scene.enter()
    stop = scene.stop()
    scene.fault("replace_rejected")
    with pytest.raises(DeskRefused):
        scene.desk.replace(stop.id, Change(qty=Decimal(5)))
    assert stop.status == "new"
    scene.fault("replace_races_fill")
    with pytest.raises(DeskRefused):
        scene.desk.replace(stop.id, Change(qty=Decimal(5)))
    assert (stop.status, scene.desk.held("ALFA")) == ("filled", 0)


@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [
        ("stop_vanishes", "canceled", "new"),
        ("stop_held", "held", "held"),
        ("stop_rejected", "rejected", "rejected"),
        ("stop_expires", "expired", "expired"),
    ],
)
async def test_a_stop_that_does_not_protect(scene: Scene, fault: str, status: str, kind: str) -> None:
    scene.enter()
    scene.fault(fault)
    stop = scene.stop()
    scene.venue.bar(2)
    assert scene.desk.exchange.look_up(f"o{stop.number}").state == "canceled"  # the book has it no more
    assert (stop.status, scene.kinds[-1], scene.desk.held("ALFA")) == (status, kind, 10)
    assert scene.fired() == {fault: 1}


async def test_a_halt_and_the_gap_through_the_stop(scene: Scene) -> None:
    scene.enter()
    stop = scene.stop(share=0.9)
    scene.fault("halt_reopen_gap", value=3)
    first = scene.sim.market.next_ms
    scene.venue.bar(4)
    silent = [(ts_ms - first) // 300_000 for ts_ms, rows, _ in scene.bars if 0 not in rows["symbol"]]
    assert silent == [0, 1, 2]
    assert stop.status == "filled"
    assert stop.average < stop.stop
    reopened = scene.bars[-1][1]
    assert reopened["open"][reopened["symbol"] == 0] == float(stop.average)


async def test_somebody_else_in_the_account(scene: Scene) -> None:
    scene.enter()
    scene.stop()
    scene.fault("foreign_order")
    scene.venue.bar()
    assert scene.desk.live_orders()[-1].client_id.startswith("web-")
    scene.fault("manual_close")
    scene.venue.bar(2)
    assert scene.desk.held("ALFA") == 0
    assert [order.type for order in scene.desk.live_orders()] == []


async def test_a_split_and_a_new_name_overnight(tmp_path: Path) -> None:
    async with running(tmp_path / "venue") as venue:
        scene = Scene(venue)
        venue.bar()
        scene.enter()
        scene.stop()
        before = float(scene.desk.marks["ALFA"])
        scene.fault("split", value=4)
        scene.fault("symbol_change", value="OMEGA")
        venue.bar(76)
        assert (scene.desk.held("ALFA"), scene.desk.live_orders()) == (40, [])
        close = float(scene.desk.marks["ALFA"])
        assert 0.1 * before < close < 0.4 * before
        venue.bar()
        assert float(scene.desk.marks["ALFA"]) == pytest.approx(close, rel=0.1)
        assert venue.sim.splits == [{"symbol": "ALFA", "ex_date": "2025-03-05", "new": 4.0, "old": 1.0}]
        assert venue.sim.by_wire["OMEGA"] == "ALFA"
        assert scene.fired() == {"split": 1, "symbol_change": 1}
        days = venue.sim.market.history(0, 0, 1 << 60)
        assert days["close"][-1] == pytest.approx(days["close"][-3] / 4, rel=0.1)


# --------------------------------------------------------------------------------------------------------- bars


def alfa(scene: Scene) -> list[tuple[int, Any, str]]:
    return [(ts_ms, row, kind) for ts_ms, rows, kind in scene.bars for row in rows if row["symbol"] == 0]


def known(scene: Scene) -> list[int]:
    return scene.sim.market.history(0, scene.bars[0][0], 1 << 60)["ts_ms"].tolist()


async def test_missing_and_silent_bars(scene: Scene) -> None:
    scene.fault("missing_bar")
    scene.venue.bar(2)
    assert (len(alfa(scene)), len(known(scene))) == (1, 2)
    scene.fault("silent_bar")
    scene.venue.bar()
    assert (len(alfa(scene)), len(known(scene))) == (1, 2)


async def test_late_doubled_and_corrected_bars(scene: Scene) -> None:
    scene.fault("late_bar")
    scene.venue.bar(2)
    first, second = known(scene)
    assert [ts_ms for ts_ms, _, _ in alfa(scene)] == [second, first]
    scene.fault("doubled_bar")
    scene.fault("corrected_bar", value=0)
    scene.venue.bar()
    bar, again, corrected = alfa(scene)[-3:]
    assert bar[0] == again[0] == corrected[0]
    assert again[1]["high"] > bar[1]["high"]
    assert (again[2], corrected[2]) == ("bar", "revision")
    assert scene.sim.market.history(0, 0, 1 << 60)[-1]["high"] == corrected[1]["high"]


async def test_bars_that_cannot_be_or_are_not_over(scene: Scene) -> None:
    for name in ("nan_bar", "future_bar", "forming_bar"):
        scene.fault(name)
    scene.venue.bar()
    ahead, forming, bad = alfa(scene)
    assert ahead[0] > scene.sim.market.now_ms()
    assert forming[2] == "forming"
    assert np.isnan(bad[1]["close"]) or bad[1]["high"] < bad[1]["low"]


async def test_a_feed_frozen_at_the_last_price(scene: Scene) -> None:
    scene.fault("frozen_feed", count=None)
    scene.venue.bar(5)
    assert len({float(row[name]) for _, row, _ in alfa(scene) for name in ("open", "high", "low", "close")}) == 1


def test_every_fault_of_book_and_feed_is_tested_here() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    wanted = [fault.name for fault in FAULTS.values() if fault.layer in ("book", "data")]
    assert [name for name in wanted if f'"{name}"' not in source and name != "fill_before_ack"] == []
