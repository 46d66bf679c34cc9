"""Driven from outside, barrier by barrier and word by word, the engine gives the bits of a backtest."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import Any

import numpy as np
import pytest

from avwapd.core import engine, machine, match
from avwapd.core.codes import BAR_MISSING
from avwapd.core.records import BAR, BOOK, REPORT
from avwapd.core.session import inside, session_at
from tests.core import bits_probe


class Venue:
    """A stranger's book a symbol, and the way its words travel."""

    def __init__(self, world: Any, out: Any, symbols: int) -> None:
        self.world, self.out = world, out
        self.books = [np.zeros(1, BOOK) for _ in range(symbols)]
        self.told = 0
        self.room = np.zeros(64, REPORT)

    def say(self, count: int) -> None:
        for word in self.room[:count].copy():
            engine.report(self.world, self.out, word)

    def orders(self, running: Any = None) -> None:
        """Take what the engine asked for, in order; `running` is the bar under way, None after the close."""
        nothing = np.zeros(1, BAR)[0]
        while self.told < self.out.n[machine.EFFECTS]:
            effect = self.out.effects[self.told].copy()
            self.told += 1
            symbol = int(effect["symbol"])
            live = running is not None and int(running["symbol"]) == symbol
            bar, ts_ms = (running, running["ts_ms"]) if live else (nothing, effect["ts_ms"])
            inst = self.world.instruments[symbol]
            self.say(match.place(self.books[symbol][0], effect, live, bar, inst, ts_ms, self.room, 0))

    def bar(self, bar: Any) -> None:
        """Match a session bar that was traded."""
        symbol = int(bar["symbol"])
        inst, book = self.world.instruments[symbol], self.books[symbol][0]
        index = session_at(self.world.sessions, inst, self.world.states[symbol]["session"], bar["ts_ms"])
        if not book["count"] or not inside(self.world.sessions, inst, index, bar["ts_ms"]):
            return
        self.say(match.match_bar(book, bar, inst, self.world.params[0]["volume_share"], self.room, 0))
        self.orders(bar)


@pytest.mark.parametrize("make", [bits_probe.five_minutes, bits_probe.listed, bits_probe.days])
def test_the_live_way_equals_the_backtest(make: Callable[[], bits_probe.Case]) -> None:
    case = make()
    expected = bits_probe.digests(*bits_probe.run(case))
    world, count = bits_probe.world_of(case)
    out = engine.new_output(len(case.bars), len(case.bars) + 1_000)
    venue = Venue(world, out, count)
    lists = dict(case.lists)
    for _, grouped in groupby(range(len(case.bars)), key=lambda i: case.bars["ts_ms"][i]):
        rows = list(grouped)
        if rows[0] in lists:
            engine.watch(world, lists[rows[0]])
        barrier = case.bars[rows]
        for bar in barrier:
            if not bar["flags"] & BAR_MISSING:
                venue.bar(bar)
        engine.step_many(world, out, barrier)
        venue.orders()
    assert not out.n[machine.ERROR]
    found = bits_probe.digests(world, out, np.concatenate(venue.books))
    assert found == expected
    assert world.states["trade"].sum() >= 20


def test_a_run_drained_in_small_portions_equals_one_run() -> None:
    case = bits_probe.five_minutes()
    expected = bits_probe.run(case)
    world, count = bits_probe.world_of(case)
    out, books = engine.new_output(1_000, 1_000), engine.new_books(count)
    row_of, kept, start = np.full(count, -1, np.int64), [], 0
    while start < len(case.bars):
        start = engine.run(world, out, books, engine.reports_room(), case.bars, row_of, start)
        assert not out.n[machine.ERROR]
        kept.append(out.decisions[: out.n[machine.DECISIONS]].copy())
        out.n[:] = 0
    assert len(kept) > 5
    decisions = expected[1].decisions[: expected[1].n[machine.DECISIONS]]
    assert np.concatenate(kept).tobytes() == decisions.tobytes()
    assert world.states.tobytes() == expected[0].states.tobytes()
