"""The ledger as its disk sees it: notes each commit and each outbox move, and checks what must hold after every one."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from avwapd.store.audit import CHECKS
from avwapd.store.database import LedgerDatabase
from tests.sim.wire import Lasting

T = TypeVar("T")

# I8 is asked of the venue itself: a replace in doubt says little about what may still be sold.
STEPWISE = tuple(name for name in CHECKS if name.startswith(("i1_", "i4_", "i8_exit", "i10_")))


class Broken(AssertionError):
    """An invariant that a commit left broken."""


class Watch:
    """What one scenario has shown so far, over all its lives."""

    def __init__(self, lasting: Lasting, *, stepwise: bool) -> None:
        self.lasting = lasting
        self.marks: Counter[str] = lasting.marks
        self.moves = 0
        self.happen: Callable[[str], None] = lambda event: None
        self._stepwise = stepwise

    def opened(self, conn: sqlite3.Connection) -> None:
        conn.create_function("sim_moved", 7, self._moved)
        conn.execute(
            "CREATE TEMP TRIGGER sim_watch AFTER UPDATE OF state ON main.outbox BEGIN SELECT "
            "sim_moved(OLD.cid, NEW.kind, OLD.state, NEW.state, NEW.attempts, NEW.note, "
            "(SELECT halted FROM positions WHERE symbol_id = NEW.symbol_id)); END"
        )

    def _moved(
        self, cid: str, kind: str, before: str, after: str, attempts: int, note: str | None, halted: int | None
    ) -> None:
        self.moves += 1
        order = kind != "cancel"
        if before == "SENDING" and after == "UNKNOWN" and note == "process ended while sending":
            self.marks["killed while sending"] += 1
        if note == "found at the venue" and after == "ACKED" and before != "ACKED":
            self.marks["adopted"] += 1
        if before == "UNKNOWN" and after == "SENDING" and order:
            self.marks["posted again"] += 1
        if before == "UNKNOWN" and after == "ACKED" and note != "found at the venue" and order:
            self.marks["heard while in doubt"] += 1
        if before == "PARTIAL" and after == "CANCELED":
            self.marks["canceled in part"] += 1
        if before == "PARTIAL" and after == "FILLED":
            self.marks["filled in parts"] += 1
        if after == "REPLACED":
            self.marks["stop replaced"] += 1
        if before == "NEW" and after in ("STALE", "EXPIRED"):
            self.marks["too old to send"] += 1

    def committed(self, conn: sqlite3.Connection) -> None:
        """Something beside a beat was."""
        self.happen("commit")
        if self._stepwise:
            self.check(conn)

    def check(self, conn: sqlite3.Connection) -> None:
        """I1, I4, I10 over the ledger, I1, I7 and I8 over what the venue has."""
        for name in STEPWISE:
            for row in conn.execute(f"SELECT * FROM ({CHECKS[name]}) LIMIT 1"):
                raise Broken(f"{name}: {row}")
        self.check_venue(conn)
        self.check_exits()

    def check_exits(self) -> None:
        """I8: what rests at the venue to leave a position is no more than the position there."""
        purposes = {request.cid: request.purpose for _, _, request in self.lasting.arrived}
        resting: Counter[str] = Counter()
        for cid, symbol, _, _, qty, _, _, filled, state in self.lasting.exchange.orders_rows():
            if state == "live" and purposes[cid] != "entry":
                resting[symbol] += qty - filled
        held = self.lasting.exchange.positions()
        for symbol, qty in resting.items():
            if qty > abs(held.get(symbol, 0)):
                raise Broken(f"exits of {qty} rest at the venue, held {held.get(symbol, 0)} {symbol}")

    def check_venue(self, conn: sqlite3.Connection) -> None:
        at_venue = Counter(row[0] for row in self.lasting.exchange.orders_rows())
        said = {cid for (cid,) in conn.execute("SELECT cid FROM outbox WHERE attempts > 0")}
        twice = [cid for cid, count in at_venue.items() if count > 1]
        if twice:
            raise Broken(f"two orders at the venue with the id {twice[0]}")
        if at_venue.keys() - said:
            raise Broken(f"an order at the venue that the ledger never sent: {min(at_venue.keys() - said)}")


class WatchedDatabase(LedgerDatabase):
    """The daemon's own database over a simulated connection; after each piece of work the watch looks."""

    def __init__(self, connection: Any, watch: Watch) -> None:
        super().__init__(connection)
        self._watch = watch
        self._seen: tuple[Any, ...] = ()

    async def run(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        self._watch.happen("asked")
        result = await super().run(partial(self._watched, fn))
        self._watch.happen("heard")
        return result

    def _watched(self, fn: Callable[[sqlite3.Connection], T], conn: sqlite3.Connection) -> T:
        result = fn(conn)
        seen = (conn.execute("SELECT max(seq) FROM inputs").fetchone()[0], self._watch.moves)
        if seen != self._seen:
            self._seen = seen
            self._watch.committed(conn)
        return result
