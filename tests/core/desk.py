"""A desk: one small World with a simulated book, moved bar by bar."""

from __future__ import annotations

from typing import Any

import numpy as np

from avwapd.core import codes, engine, machine
from avwapd.core.records import BAR
from tests.core import market


def words(names: tuple[str, ...], bits: int) -> set[str]:
    """The names of the bits that are set."""
    return {name for n, name in enumerate(names) if int(bits) >> n & 1}


class Row:
    """A decision row with its codes as words."""

    def __init__(self, record: Any) -> None:
        self.record = record.copy()
        self.skip = codes.SKIPS[record["skip"]]
        self.signal = codes.SIGNALS[record["signal"]]
        self.exit = codes.EXITS[record["exit"]]
        self.before = codes.PHASES[record["phase_before"]]
        self.after = codes.PHASES[record["phase_after"]]
        self.asked = words(codes.GATES, record["gates_asked"])
        self.blocked = words(codes.GATES, record["gates_blocked"])
        self.level = float(record["level"])
        self.qty, self.side = int(record["qty"]), int(record["side"])
        self.limit, self.stop = record["limit"] / 100, record["stop"] / 100
        self.r1, self.r2 = record["r1"] / 100, record["r2"] / 100

    def __repr__(self) -> str:
        return f"{self.before}>{self.after} {self.signal} {self.skip} {self.exit} {sorted(self.blocked)}"


class Desk:
    """Symbols on one session table; `bar` moves symbol 0, `barrier` several at once. Prices are in cents."""

    def __init__(
        self,
        instruments: Any = None,
        table: Any = None,
        anchors: tuple[str, ...] = ("session",),
        timeframe_ms: int = 5 * market.MINUTE_MS,
        k: int = 2,
        from_ms: int = 0,
        **changes: float,
    ) -> None:
        self.table = market.bell_sessions() if table is None else table
        self.timeframe_ms = timeframe_ms
        if instruments is None:
            instruments = market.equity(0, len(self.table), timeframe_ms)
        bell = bool(instruments["bell"].any())
        terms = {**market.PLAIN, "anchor_count": len(anchors), **changes}
        terms["uses_ring"] = int(any(kind.startswith("swing") for kind in anchors))
        self.params = market.params(timeframe_ms, bell, **terms)
        count = len(instruments)
        lines = market.rules(count, *anchors, k=k, from_ms=from_ms)
        slots = int((self.table["close_ms"] - self.table["open_ms"]).max() // timeframe_ms) + 1
        self.world = engine.new_world(instruments, self.table, lines, self.params, slots)
        self.out = engine.new_output(4_096, 4_096)
        self.books = engine.new_books(count)
        self.reports = engine.reports_room()
        self.row_of = np.full(count, -1, np.int64)
        self.stamps = market.grid(self.table, timeframe_ms).tolist()
        self.last_ms = 0

    # ------------------------------------------------------------ what is there

    @property
    def state(self) -> Any:
        return self.world.states[0]

    @property
    def portfolio(self) -> Any:
        return self.world.portfolio[0]

    @property
    def phase(self) -> str:
        return codes.PHASES[self.state["phase"]]

    @property
    def fills(self) -> list[tuple[str, int, float]]:
        """(purpose, quantity, price) of every fill so far."""
        rows = self.out.fills[: self.out.n[machine.FILLS]]
        return [(codes.PURPOSES[row["purpose"]], int(row["qty"]), row["price"] / 100) for row in rows]

    @property
    def effects(self) -> list[tuple[str, str, int]]:
        """(kind, purpose, quantity) of every effect so far."""
        rows = self.out.effects[: self.out.n[machine.EFFECTS]]
        return [(codes.EFFECTS[r["kind"]], codes.PURPOSES[r["purpose"]], int(r["qty"])) for r in rows]

    @property
    def causes(self) -> list[str]:
        rows = self.out.transitions[: self.out.n[machine.TRANSITIONS]]
        return [codes.CAUSES[row["cause"]] for row in rows]

    def level(self, slot: int = 0) -> float:
        line = self.state["avwap"][slot]
        return float(line["shift"] + line["mean"]) if line["anchor_ms"] and line["weight"] > 0 else float("nan")

    # ------------------------------------------------------------ what happens

    def next_ms(self) -> int:
        return next(ts for ts in self.stamps if ts > self.last_ms)

    def skip_to(self, session: int, bar: int = 0) -> None:
        """The next bar is bar number `bar` of that session."""
        first = int(self.table[session]["open_ms"])
        self.last_ms = first + bar * self.timeframe_ms

    def bar(
        self,
        close: float,
        volume: float = 0.0,
        *,
        open: float | None = None,
        high: float | None = None,
        low: float | None = None,
        flags: int = 0,
        ts_ms: int | None = None,
    ) -> Row:
        """The next bar of symbol 0; open is the close unless given, high and low what is needed."""
        return self.barrier([(0, close, volume, open, high, low)], flags=flags, ts_ms=ts_ms)[0]

    def bars(self, *closes: float) -> Row:
        """Several bars without volume (they leave the level where it is); the last one's row."""
        return [self.bar(close) for close in closes][-1]

    def barrier(self, rows: list[tuple[Any, ...]], flags: int = 0, ts_ms: int | None = None) -> list[Row]:
        """One bar for each (symbol, close, volume, open, high, low); what comes last may be left out."""
        self.last_ms = self.next_ms() if ts_ms is None else ts_ms
        bars = np.zeros(len(rows), BAR)
        for at, (symbol, close, *more) in enumerate(rows):
            volume, open_, high, low = (*more, *(0.0, None, None, None)[len(more) :])
            open_ = close if open_ is None else open_
            high = max(open_, close) if high is None else high
            low = min(open_, close) if low is None else low
            bars[at] = (self.last_ms, symbol, flags, open_, high, low, close, volume)
        first = int(self.out.n[machine.DECISIONS])
        done = engine.run(self.world, self.out, self.books, self.reports, bars, self.row_of, 0)
        assert (done, int(self.out.n[machine.ERROR])) == (len(bars), 0)
        return [Row(row) for row in self.out.decisions[first : self.out.n[machine.DECISIONS]]]

    # ------------------------------------------------------------ usual beginnings

    def ordered(self, side: int = 1) -> Row:
        """Level 100.00 by the session's first bar, a cross to 101 and a hold at 102 (short: 99, 98): an entry order."""
        self.bar(100.0, 1_000.0)
        self.bar(100.0 + side)
        return self.bar(100.0 + 2 * side)

    def entered(self, side: int = 1, **bar: float) -> Row:
        """`ordered`, and filled whole at the next bar's open, 102.00 (short: 98.00)."""
        self.ordered(side)
        return self.bar(100.0 + 2 * side, 1_000.0, **bar)
