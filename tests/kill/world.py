"""A desk on which entries rest: a simulated Alpaca whose market stands still between bars, and a daemon beside it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from avwapd.store.ids import is_ours
from avwapd.verbs.client import ask
from tests.wire.world import Trader, Venue
from tests.wire_faults import market
from tests.wire_faults.play import GRACE, SETTINGS, VENUE_LINES

SPEED = 240.0
MORE = """
[order]
answer_limit_ms = 600
fresh_ms = 1_800_000
[reconcile]
every_s = 60.0
settle_s = 30.0
naked_limit_s = 600.0
"""


class Desk:
    """The two processes, and what a test asks of them."""

    def __init__(self, folder: Path, *, more: str = MORE) -> None:
        state = folder / "s"
        market.archive(state)
        self.venue = Venue(
            folder / "venue",
            state / "archive",
            market.EXCHANGE,
            market.SYMBOLS,
            str(market.OPEN_MS + market.MINUTE_MS),
            options=("--paused",),
            speed=SPEED,
        )
        lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in VENUE_LINES.items())
        self.trader = Trader(state, self.venue, SETTINGS + more, venue_lines=lines, run_lines=GRACE)

    @property
    def switch(self) -> Path:
        return self.trader.state / "KILL_SWITCH"

    def begin(self) -> Desk:
        self.venue.start()
        self.trader.start()
        self.until(lambda: self.status()["reconcile"]["compared"], "the books compared")
        return self

    def end(self) -> None:
        for child in (getattr(self.trader, "child", None), getattr(self.venue, "child", None)):
            if child is not None and child.process.poll() is None:
                os.kill(child.process.pid, signal.SIGCONT)
                child.end(signal.SIGKILL)

    def status(self) -> Any:
        return ask(self.trader.state / "control.sock", "GET", "/v1/status", None, 10.0)

    def post(self, act: str, body: Any) -> Any:
        return ask(self.trader.state / "control.sock", "POST", f"/v1/{act}", body, 10.0)

    def until(self, there: Callable[[], Any], what: str, limit_s: float = 20.0) -> Any:
        end = time.monotonic() + limit_s
        while True:
            found = there()
            if found:
                return found
            assert time.monotonic() < end, f"not within {limit_s} s: {what}\n{self.trader.child.text()[-3000:]}"
            time.sleep(0.02)

    # ------------------------------------------------------------------------------------------------ orders

    def live(self, *purposes: str) -> list[dict[str, Any]]:
        """The venue's live orders of these purposes, by the ledger."""
        wanted = dict(self.trader.rows("SELECT cid, purpose FROM orders"))
        orders = self.venue.book()["orders"]
        alive = [order for order in orders if order["status"] in ("new", "partially_filled", "held")]
        return [order for order in alive if wanted.get(order["client_id"]) in purposes]

    def bar(self) -> None:
        """The market's next minute, at once; the daemon has decided it and said what it wanted."""
        self.venue.ask("/control", {"half": 2})
        closed_ms = self.venue.ask("/control")["closed_ms"]

        def decided() -> bool:
            committed_ms = self.trader.rows("SELECT max(ts_ms) FROM bars")[0][0] or 0  # with what it wanted
            waits = self.trader.rows("SELECT count(*) FROM outbox WHERE state IN ('NEW', 'SENDING')")[0][0]
            return committed_ms >= closed_ms and not waits

        self.until(decided, "a bar decided")

    def bars_until(self, there: Callable[[], Any], most: int = 60) -> Any:
        for _ in range(most):
            self.bar()
            if found := there():
                return found
        raise AssertionError(f"not within {most} bars\n{self.trader.child.text()[-3000:]}")

    def entries_rest(self) -> list[dict[str, Any]]:
        return self.bars_until(lambda: self.live("entry"))

    def numbers(self) -> int:
        """Orders that the venue ever took."""
        return len(self.venue.book()["orders"])

    def opened_after(self, number: int) -> list[dict[str, Any]]:
        """Orders beyond the first `number` that open."""
        wanted = dict(self.trader.rows("SELECT cid, purpose FROM orders"))
        late = self.venue.book()["orders"][number:]
        return [one for one in late if is_ours(one["client_id"]) and wanted.get(one["client_id"], "entry") == "entry"]

    def gone(self, limit_s: float = 5.0) -> float:
        """Seconds until no entry rests at the venue."""
        begun = time.monotonic()
        cids = {one["client_id"] for one in self.live("entry")}

        def none() -> bool:
            return not any(
                one["client_id"] in cids and one["status"] in ("new", "partially_filled", "held")
                for one in self.venue.book()["orders"]
            )

        end = begun + limit_s
        while not none():
            assert time.monotonic() < end, f"entries still rest after {limit_s} s\n{self.trader.child.text()[-3000:]}"
            time.sleep(0.005)
        return time.monotonic() - begun

    def journaled(self) -> bool:
        return bool(self.trader.rows("SELECT 1 FROM gates WHERE gate = 'kill_switch' ORDER BY seq DESC LIMIT 1"))


@contextmanager
def desk_in(folder: Path, **options: Any) -> Iterator[Desk]:
    desk = Desk(folder, **options)
    try:
        yield desk.begin()
    finally:
        desk.end()
