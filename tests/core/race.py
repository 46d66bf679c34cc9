"""A venue whose words are late, doubled or overtaken, and what must hold of a machine whatever it hears when."""

from __future__ import annotations

from typing import Any

import numpy as np

from avwapd.core import codes, engine, machine, match
from avwapd.core.records import BAR, BOOK, REPORT
from tests.core import market
from tests.core.desk import Desk

NOTHING = np.zeros(1, BAR)[0]


class Race:
    """One symbol. Effects wait on their way to the venue, words on their way back."""

    def __init__(self) -> None:
        terms = {"sizing": 1, "allow_short": 1, "volume_share": 0.1, "entries_per_symbol_day": 10_000}
        table = market.bell_sessions()
        instruments = market.equity(0, len(table), commission_units=100, slippage_ppm=250)
        self.desk = Desk(instruments, table, **terms)
        self.world, self.out = self.desk.world, self.desk.out
        self.book, self.room = np.zeros(1, BOOK), np.zeros(64, REPORT)
        self.taken = 0
        self.words: list[Any] = []
        self.heard: list[Any] = []
        self.truth = self.truth_cash = 0  # signed lots and units by the venue's books
        self.venue_stop: tuple[int, int] = (0, 0)  # trade, ticks

    @property
    def st(self) -> Any:
        return self.world.states[0]

    # -------------------------------------------------------------- what may happen

    def bar(self, close: float, reach: float, volume: float) -> None:
        """The venue trades a bar, then the engine sees it close; the words about it may come later."""
        self.desk.last_ms = self.desk.next_ms()
        bar = np.zeros(1, BAR)
        opens = float(self.st["last_close"]) if self.st["bars_seen"] else close
        high, low = max(opens, close) + reach, min(opens, close) - reach
        bar[0] = (self.desk.last_ms, 0, 0, opens, high, low, close, volume)
        self._queue(match.match_bar(self.book[0], bar[0], self.world.instruments[0], 0.1, self.room, 0))
        engine.step_many(self.world, self.out, bar)

    def take_effect(self) -> None:
        """The venue gets the oldest request."""
        if self.taken < self.out.n[machine.EFFECTS]:
            effect = self.out.effects[self.taken].copy()
            self.taken += 1
            inst, ts_ms = self.world.instruments[0], self.desk.last_ms
            self._queue(match.place(self.book[0], effect, False, NOTHING, inst, ts_ms, self.room, 0))

    def hear(self, at: int = 0) -> None:
        """The engine gets the oldest word, or a younger one that overtakes."""
        if self.words:
            word = self.words.pop(at % len(self.words))
            self.heard.append(word)
            engine.report(self.world, self.out, word)

    def hear_again(self, at: int) -> None:
        """A doubled word about an order a slot still knows; older fills are known by their execution ids."""
        slots = {int(self.st[name]["intent"]) for name in ("entry", "protect", "leave", "replaced")}
        known = [word for word in self.heard if int(word["intent"]) in slots]
        if known:
            engine.report(self.world, self.out, known[at % len(known)])

    def hands(self, qty: int, price: int) -> None:
        """Other hands trade at the venue, and the engine is told at once."""
        self.truth += qty
        self.truth_cash -= qty * price
        engine.adjust(self.world, self.out, 0, self.desk.last_ms, qty, price, 0)

    def settle(self) -> None:
        """Every request and every word arrives."""
        for _ in range(300):
            if not self.words and self.taken == self.out.n[machine.EFFECTS]:
                return
            self.take_effect()
            self.hear()
        raise AssertionError("engine and venue talk in circles")

    def _queue(self, count: int) -> None:
        for word in self.room[:count].copy():
            self.words.append(word)
            lots = int(word["side"]) * int(word["last_qty"])
            self.truth += lots
            self.truth_cash -= lots * int(word["price"]) + int(word["fee"])

    # -------------------------------------------------------------- what must hold

    def check_books(self) -> None:
        """Position and cash are the sum of the fills; every move was in the table; nothing failed."""
        assert codes.ERRORS[self.out.n[machine.ERROR]] == ""
        check_sums(self.st, self.out)
        check_moves(self.st, self.out)

    def check_protection(self) -> None:
        """In the venue's own books: what could reduce is never more than what is held, and its stop never loosens."""
        live = [o for o in self.book[0]["orders"] if o["live"] and o["purpose"] != codes.PURPOSE_ENTRY]
        assert sum(int(o["qty"] - o["filled"]) for o in live) <= abs(self.truth)
        assert all(int(o["side"]) * self.truth < 0 for o in live)
        for order in live:
            if order["purpose"] == codes.PURPOSE_STOP:
                trade, before = self.venue_stop
                if trade == int(self.st["trade"]):
                    assert int(order["side"]) * (int(order["stop"]) - before) <= 0
                self.venue_stop = int(self.st["trade"]), int(order["stop"])

    def check_rest(self) -> None:
        """All is said: position and cash are the venue's, and what is kept has exactly one whole stop."""
        assert int(self.st["side"] * self.st["qty"]) == self.truth
        assert int(self.st["cash"]) == self.truth_cash
        orders = [o for o in self.book[0]["orders"] if o["live"]]
        stops = [(int(o["qty"] - o["filled"]), int(o["stop"])) for o in orders if o["purpose"] == codes.PURPOSE_STOP]
        phase = codes.PHASES[self.st["phase"]]
        if phase == "OPEN":
            trims = sum(int(o["qty"] - o["filled"]) for o in orders if o["purpose"] == codes.PURPOSE_TRIM)
            assert stops == [(int(self.st["qty"]) - trims, int(self.st["stop"]))]
        elif phase == "FLAT":
            assert not orders


def check_sums(st: Any, out: Any) -> None:
    """Recomputed in Python's own integers."""
    position = cash = 0
    for row in out.fills[: out.n[machine.FILLS]].tolist():
        fill = dict(zip(out.fills.dtype.names, row, strict=True))
        position += fill["side"] * fill["qty"]
        cash -= fill["side"] * fill["qty"] * fill["price"] + fill["fee"]
        assert fill["held"] == abs(position)
    assert int(st["side"] * st["qty"]) == position
    assert int(st["cash"]) == cash
    assert st["qty"] >= 0


def check_moves(st: Any, out: Any) -> None:
    phase = 0
    for row in out.transitions[: out.n[machine.TRANSITIONS]]:
        if row["symbol"] < 0 or row["before"] == row["after"]:
            continue
        assert row["before"] == phase
        assert machine.LEGAL[row["before"], row["after"]]
        phase = int(row["after"])
    assert phase == st["phase"]
