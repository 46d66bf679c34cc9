"""A simulated venue's process that goes on, and a daemon's process beside it that is killed and started again."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

from avwapd.store.ids import is_ours
from tests.wire.world import Trader, Venue, books_agree
from tests.wire_faults import market
from tests.wire_faults.play import GRACE, SETTINGS, asked
from tests.wire_kill.launch import Crash

START = Decimal(100_000)
SPEED = 240.0
LIFE_S = 60.0
NAKED_S = 120.0  # market seconds
VENUE_LINES = """
skew_limit_ms = 600_000
settling_ms = 60_000
calls_minute = 100_000
reserve_calls = 1_000
breaker_failures = 1_000
reconnects_minute = 120
threads = 16
"""
MORE = f"""
[order]
answer_limit_ms = 500
fresh_ms = 600_000
[reconcile]
every_s = 120.0
settle_s = 60.0
naked_limit_s = {NAKED_S}
"""
MOMENTS = {
    "NEW": "a row is NEW",
    "SENDING, not there": "a row is SENDING, and the venue does not have it",
    "SENDING, taken": "a row is SENDING, and the venue has it",
    "UNKNOWN": "a row is in doubt",
    "ACKED": "an order rests",
    "PARTIAL": "an order is filled in part",
    "FILLED, not heard": "the venue has filled more than the ledger knows",
    "ENDED, not heard": "an order is over at the venue and rests in the ledger",
    "REPLACE": "a replace is under way or in doubt",
    "CANCEL": "a cancel is under way or in doubt",
}
ENDS = ("filled_ms", "canceled_ms", "expired_ms", "replaced_ms", "failed_ms")
OVER = ("canceled", "expired", "rejected", "replaced")


class Mortal(Trader):
    """A daemon that dies as it is told to."""

    crash: Crash = Crash()

    def command(self, *words: str) -> list[str]:
        made = super().command(*words)
        return [made[0], "-m", "tests.wire_kill.launch", self.crash.word(), *made[3:]] if words[0] == "run" else made


@dataclass
class World:
    """dead: market times (from, to) in which no daemon was ready; seen: what kills found; points: where they fell."""

    venue: Venue
    trader: Mortal
    points: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    dead: list[tuple[int, int]] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    plant: str = ""
    died_ms: int = 0
    was_ready: bool = False

    @property
    def kills(self) -> int:
        """Of daemons and of the venue."""
        return self.points.total() - self.points["before it was ready"]

    # ------------------------------------------------------------------------------------------------ one life

    def life(
        self,
        kill: str = "",
        nth: int = 1,
        *,
        faults: Mapping[str, Any] | None = None,
        after_s: float = 15.0,
        ready: bool = True,
    ) -> bool:
        """Start a daemon and see it die; True where it died at the point, else it was killed after `after_s`.

        faults: on while it lives; ready: the seconds count from then on, else from the start. The market goes on.
        """
        self.venue.ask("/control/faults", {"clear": "all", "set": dict(faults or {})})
        died = self._live(Crash(kill, nth, self.plant), after_s, ready)
        self.points["before it was ready"] += not self.was_ready
        self.died_ms = self.venue.ask("/control")["now_ms"]
        self.points[kill if died else "random"] += 1
        if kill and not died:
            self.missed.append(kill)
        self.seen.update(self.moments())
        return died

    def _live(self, crash: Crash, after_s: float, ready: bool) -> bool:
        self.trader.crash = crash
        at = len(self.text())
        self.trader.start(ready=False)
        process, self.was_ready = self.trader.child.process, False
        until = time.monotonic() + (LIFE_S if ready else after_s)
        while time.monotonic() < until and process.poll() is None:
            if not self.was_ready and "ready:" in self.text()[at:]:
                self.was_ready = True
                self.dead.append((self.died_ms, self.venue.ask("/control")["now_ms"]))
                until = min(until, time.monotonic() + after_s) if ready else until
            time.sleep(0.02)
        died = process.poll() is not None
        if not died:
            process.kill()
        code = process.wait(10)
        assert code == -signal.SIGKILL, f"ended with {code}:\n{self.text()[at:][-3000:]}"
        return died

    def text(self) -> str:
        log = self.trader.state.parent / f"{self.trader.state.name}.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def venue_dies(self) -> None:
        """The simulator is killed and comes back with what it wrote."""
        self.venue.child.end(signal.SIGKILL)
        self.venue.start()
        self.points["venue"] += 1

    # ------------------------------------------------------------------------------------------------- looking

    def moments(self) -> set[str]:
        """What a kill found: words of MOMENTS."""
        if not (self.trader.state / "avwapd.db").exists():
            return set()
        rows = self.trader.rows(
            "SELECT x.state, x.kind, x.cid, coalesce(o.filled_qty, 0) FROM outbox x LEFT JOIN orders o USING (cid)"
        )
        book = {order["client_id"]: order for order in self.venue.book()["orders"]}
        found = set()
        for state, kind, cid, filled in rows:
            there = book.get(cid)
            if state in ("NEW", "UNKNOWN"):
                found.add(state)
            if state == "SENDING" and kind != "cancel":
                found.add("SENDING, taken" if there else "SENDING, not there")
            if kind != "submit" and state in ("SENDING", "UNKNOWN"):
                found.add(kind.upper())
            if kind != "cancel" and state in ("ACKED", "PARTIAL"):
                found.add(state)
                if there and there["status"] in OVER:
                    found.add("ENDED, not heard")
            if there and Decimal(there["filled"]) > filled:
                found.add("FILLED, not heard")
        return found

    # ------------------------------------------------------------------------------------------------- the end

    def last_life(self, bars: int = 8, limit_s: float = 30.0) -> None:
        """A perfect line, some bars more, until all is known; the daemon ends in order."""
        self.venue.ask("/control/faults", {"clear": "all"})
        self.trader.crash = Crash(plant=self.plant)
        self.trader.start()
        self.dead.append((self.died_ms, self.venue.ask("/control")["now_ms"]))
        self.venue.ask("/control", {"go": bars})
        until = time.monotonic() + limit_s
        while time.monotonic() < until:
            facts = self.venue.ask("/control")
            open_rows = self.trader.rows("SELECT count(*) FROM outbox WHERE state IN ('NEW', 'SENDING', 'UNKNOWN')")
            decided_ms = self.trader.rows("SELECT max(ts_ms) FROM bars")[0][0] or 0
            if (facts["paused"] or facts["over"]) and decided_ms >= facts["closed_ms"] and not open_rows[0][0]:
                break
            time.sleep(0.1)
            if self.trader.rows("SELECT count(*) FROM positions WHERE halted = 2")[0][0]:
                break  # nothing more will happen to it
        time.sleep(1.5)  # two more readings of the books

    def judge(self) -> None:
        """AssertionError where the two sides differ or a promise is broken."""
        waiting = self.trader.rows("SELECT cid, state FROM outbox WHERE state IN ('NEW', 'SENDING', 'UNKNOWN')")
        assert waiting == [], f"{waiting}\n{self.text()[-3000:]}"
        halted = self.trader.rows("SELECT symbol_id, halt_reason FROM positions WHERE halted")
        assert halted == []
        books_agree(self.trader, self.venue, START)
        self.same_orders()
        self.covered()
        assert self.trader.child.end() == 0, self.text()[-3000:]
        for verb in ("audit", "verify"):
            code, words = asked(self.trader, verb)
            assert code == 0, f"{verb}: {words[-3000:]}"

    def same_orders(self) -> None:
        """Order by order: what is filled, and whether it rests."""
        lots = dict(self.trader.rows("SELECT symbol, lot FROM instruments"))
        book = {order["client_id"]: order for order in self.venue.book()["orders"] if is_ours(order["client_id"])}
        rows = self.trader.rows(
            "SELECT o.cid, i.symbol, x.state, o.filled_qty FROM orders o JOIN outbox x USING (cid)"
            " JOIN instruments i ON i.symbol_id = o.symbol_id"
        )
        wrong = []
        for cid, symbol, state, filled in rows:
            there = book.get(cid)
            if there is None:
                wrong += (
                    [f"{cid} is {state}, the venue never had it"] if state in ("ACKED", "PARTIAL", "FILLED") else []
                )
            elif Decimal(there["filled"]) != filled * Decimal(lots[symbol]):
                wrong.append(f"{cid}: {filled} lots filled, the venue says {there['filled']}")
            elif (state in ("ACKED", "PARTIAL")) != (there["status"] in ("new", "partially_filled", "accepted")):
                wrong.append(f"{cid} is {state}, the venue says {there['status']}")
        assert wrong == []

    def covered(self) -> None:
        """Whatever was held without a stop for longer than the limit, while a daemon was there, has its alert."""
        alerts = [what for (what,) in self.trader.rows("SELECT what FROM alerts")]
        for symbol, spells in naked(self.venue.book()).items():
            for begin, end in spells:
                alone = sum(max(0, min(end, to) - max(begin, since)) for since, to in self.dead)
                if (end - begin - alone) / 1000 > 2 * NAKED_S + 60:
                    said = any(what.startswith(f"{symbol} is held without a stop") for what in alerts)
                    assert said, (
                        f"{symbol} naked {begin}..{end} ({(end - begin - alone) / 1000:.0f} s), alerts {alerts}"
                    )


def naked(book: Mapping[str, Any]) -> dict[str, list[tuple[int, int]]]:
    """By symbol the spells (market ms) in which the venue had a position and no stop for it."""
    found: dict[str, list[tuple[int, int]]] = {}
    for symbol in {execution["symbol"] for execution in book["executions"]}:
        fills = sorted((e["ts_ms"], e["side"] * Decimal(e["qty"])) for e in book["executions"] if e["symbol"] == symbol)
        stops = [
            (order["created_ms"], min((order[name] for name in ENDS if order[name]), default=book["now_ms"]))
            for order in book["orders"]
            if order["symbol"] == symbol and order["type"] in ("stop", "stop_limit")
        ]
        times = sorted({at for at, _ in fills} | {at for pair in stops for at in pair} | {book["now_ms"]})
        spells: list[tuple[int, int]] = []
        for begin, end in pairwise(times):
            held = sum((qty for at, qty in fills if at <= begin), Decimal(0))
            if held and not any(since <= begin < to for since, to in stops):
                if spells and spells[-1][1] == begin:
                    spells[-1] = (spells[-1][0], end)
                else:
                    spells.append((begin, end))
        found[symbol] = spells
    return found


@contextmanager
def opened(
    folder: Path, archive: Path, *, plant: str = "", seed: int = 1, volume_share: float = 0.1
) -> Iterator[World]:
    """The market runs from the opening of the session on; no daemon yet."""
    state = folder / "state"
    shutil.copytree(archive, state / "archive")
    costs = folder / "costs.toml"
    costs.write_text(f"[fills]\nslippage_bps = 0.0\nvolume_share = {volume_share}\n")
    first = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(market.OPEN_MS // 1000 + 60))
    venue = Venue(
        folder / "venue", state / "archive", market.EXCHANGE, market.SYMBOLS, first, speed=SPEED,
        options=("--config", str(costs), "--seed", str(seed)),
    )  # fmt: skip
    trader = Mortal(state, venue, SETTINGS + MORE, venue_lines=VENUE_LINES, run_lines=GRACE)
    world = World(venue, trader, plant=plant)
    venue.start()
    try:
        yield world
    finally:
        for child in (getattr(trader, "child", None), venue.child):
            if child is not None:
                child.end(signal.SIGKILL)


def figures(worlds: list[World], wall_s: float) -> list[str]:
    points: Counter[str] = sum((world.points for world in worlds), Counter())
    seen: Counter[str] = sum((world.seen for world in worlds), Counter())
    missed = Counter(name for world in worlds for name in world.missed)
    orders = sum(
        len(world.venue.book()["orders"]) if world.venue.child.process.poll() is None else 0 for world in worlds
    )
    lines = [f"kill -9 over the wire: {sum(world.kills for world in worlds)} in {len(worlds)} worlds, {wall_s:.0f} s"]
    lines.append("  at: " + json.dumps(points).strip("{}").replace('"', ""))
    lines.append("  found: " + json.dumps(seen).strip("{}").replace('"', "") + (f"; orders {orders}" if orders else ""))
    return lines + ([f"  points that did not come about: {dict(missed)}"] if missed else [])
