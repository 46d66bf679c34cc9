"""A case: one simulator with faults switched on, one daemon beside it, and what both know at the end."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

from avwapd import cli
from avwapd.store.ids import is_ours
from tests.wire.world import Trader, Venue, books_agree
from tests.wire_faults import market

START = Decimal(100_000)
SPEED = 240.0
SETTINGS = """
[signal]
min_bars = 3
[gates]
volume_ratio = 0
entries_per_symbol_day = 20
open_delay_min = 0
last_entry_min = 0
shortest_entry_delay_s = 0
longest_entry_delay_s = 0
[stop]
percent_stop_factor = 0.9965
avwap_stop_factor = 0.9965
swing_low_factor = 0.999
atr_stop_multiple = 0.0
[exit]
invalidation = false
min_hold_s = 60
[size]
method = "risk_per_trade"
[caps]
drawdown_block_fraction = 0.9
daily_loss_block_fraction = 0.9
[fills]
commission_usd = 0.0
slippage_bps = 0.0
"""
VENUE_LINES = {
    "skew_limit_ms": 600_000,
    "settling_ms": 120_000,
    "calls_minute": 100_000,
    "reserve_calls": 1_000,
    "breaker_failures": 1_000,
    "reconnects_minute": 60,
    "threads": 16,
}
GRACE = "grace_ms = 24_000"  # 0.1 s of the wall
ORDER = {"answer_limit_ms": 600, "fresh_ms": 1_800_000}
RECONCILE = {"every_s": 120.0, "settle_s": 60.0, "naked_limit_s": 120.0}


def toml(section: str, values: Mapping[str, Any]) -> str:
    return f"[{section}]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())


@dataclass(frozen=True, kw_only=True)
class Case:
    """faults: switched on from the first bar of the session; opening: plays the market's begin and switches them on, by
    its third argument; minutes: bars of it; eve: bars of the day before; plants: the planted fault by which each row's
    control is made. Settings by section are laid over the common ones.
    """

    name: str
    faults: Mapping[str, Mapping[str, Any]]
    expects: Mapping[int, Callable[[Outcome], str]]
    plants: Mapping[int, str]
    together: bool = False  # one broken daemon with all the planted faults, instead of one for each
    minutes: int = 60
    eve: int = 1
    speed: float = SPEED
    venue: Mapping[str, Any] = field(default_factory=dict)
    order: Mapping[str, Any] = field(default_factory=dict)
    reconcile: Mapping[str, Any] = field(default_factory=dict)
    feed: Mapping[str, Any] = field(default_factory=dict)
    more: str = ""
    options: tuple[str, ...] = ()
    opening: Callable[[Venue, Planted, Callable[[], None]], None] | None = None
    same_books: bool = True
    own_difference: str = ""  # why the books may differ
    compared: str = ""  # why `verify` has nothing to compare with


class Planted(Trader):
    """A daemon with faults of its own."""

    plant: str = ""

    def command(self, *words: str) -> list[str]:
        made = super().command(*words)
        return [made[0], "-m", "tests.wire_faults.launch", self.plant, *made[3:]] if words[0] == "run" else made


@dataclass
class Outcome:
    """Both sides after a case, their processes still there."""

    case: Case
    venue: Venue
    trader: Planted
    book: dict[str, Any]
    fired: Counter[str]
    log: list[dict[str, Any]]
    status: dict[str, Any]
    ended: int | None  # the daemon's exit code, where it ended by itself

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.trader.rows(sql, *values)

    @cached_property
    def said(self) -> str:
        return self.trader.child.text()

    @cached_property
    def alerts(self) -> list[tuple[int, str, str]]:
        return self.rows("SELECT ts_ms, level, what FROM alerts ORDER BY id")

    def alert(self, words: str) -> tuple[int, str, str]:
        found = next((row for row in self.alerts if words in row[2]), None)
        assert found is not None, f"no alert says {words!r}: {self.alerts}"
        return found

    def count(self, *names: str) -> int:
        """How often faults fired; each of them at least once."""
        for name in names:
            assert self.fired[name] > 0, f"{name} never fired: {dict(self.fired)}"
        return sum(self.fired[name] for name in names)

    def firings(self, name: str) -> list[dict[str, Any]]:
        return [one for one in self.log if one["fault"] == name]

    @cached_property
    def ours(self) -> list[dict[str, Any]]:
        """The venue's orders with ids of ours."""
        return [order for order in self.book["orders"] if is_ours(order["client_id"])]

    @cached_property
    def outbox(self) -> dict[str, tuple[str, str, int]]:
        """(state, kind, filled lots) of every request for an order, by id."""
        found = self.rows(
            "SELECT b.cid, b.state, b.kind, o.filled_qty FROM outbox b JOIN orders o USING (symbol_id, intent)"
        )
        return {cid: (state, kind, filled) for cid, state, kind, filled in found}

    @cached_property
    def doubts(self) -> set[str]:
        """Ids of the requests that were in doubt at any time."""
        return set(re.findall(r"(\S+) is in doubt:", self.said))

    def note(self, cid: str) -> str:
        """What the ledger has noted about a request."""
        return str(self.rows("SELECT ifnull(note, '') FROM outbox WHERE cid = ?", cid)[0][0])

    def moves(self, symbol: str = "") -> list[tuple[Any, ...]]:
        return self.rows(
            "SELECT t.ts_ms, i.symbol, t.before, t.after, t.cause FROM transitions t JOIN instruments i"
            " USING (symbol_id) WHERE ? IN ('', i.symbol) ORDER BY t.seq, t.n",
            symbol,
        )

    def halted(self) -> dict[str, str]:
        return dict(
            self.rows("SELECT i.symbol, p.halt_reason FROM positions p JOIN instruments i USING (symbol_id)"
                      " WHERE p.halted")
        )  # fmt: skip


def play(case: Case, archive: Path, folder: Path, stack: ExitStack, plant: str = "") -> Outcome:
    """Play the case's market to its end. The caller's stack ends the processes."""
    state = folder / "state"
    shutil.copytree(archive, state / "archive")
    stamp = "%Y-%m-%dT%H:%M:%SZ"
    last_ms = market.OPEN_MS + case.minutes * market.MINUTE_MS
    first_ms = market.WARM_UP_MS + (market.BARS + 1 - case.eve) * market.MINUTE_MS
    first = time.strftime(stamp, time.gmtime(first_ms // 1000))
    last = time.strftime(stamp, time.gmtime(last_ms // 1000))
    costs = folder / "costs.toml"
    costs.write_text("[fills]\nslippage_bps = 0.0\n")
    options = ("--config", str(costs), "--paused", *case.options)
    venue = Venue(folder / "venue", state / "archive", market.EXCHANGE, market.SYMBOLS, first, last,
                  speed=case.speed, options=options)  # fmt: skip
    lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in {**VENUE_LINES, **case.venue}.items())
    settings = SETTINGS + toml("order", {**ORDER, **case.order}) + toml("reconcile", {**RECONCILE, **case.reconcile})
    settings += (toml("feed", case.feed) if case.feed else "") + case.more
    trader = Planted(state, venue, settings, venue_lines=lines, run_lines=GRACE)
    trader.plant = plant
    stack.callback(end, venue, trader)
    venue.start()
    trader.start()
    since_ms = market.OPEN_MS if case.eve == 1 else 0
    armed = {name: {"from_ms": since_ms, **wanted} for name, wanted in case.faults.items()}
    if case.opening is None:
        venue.faults(**armed)
    else:
        case.opening(venue, trader, lambda: venue.faults(**armed))
    venue.go()
    ended = None
    try:
        venue.wait_over(120)
        venue.ask("/control/faults", {"clear": "all"})
        ended = wait_quiet(venue, trader)
        status = trader.status() if ended is None else {}
    except AssertionError:
        ended = trader.child.process.poll()
        status = trader.status() if ended is None else {}
    fired = Counter(venue.ask("/control/faults")["fired"])
    log = venue.ask("/control/log")["log"]
    return Outcome(case, venue, trader, venue.book(), fired, log, status, ended)


def end(venue: Venue, trader: Trader) -> None:
    for child in (getattr(trader, "child", None), getattr(venue, "child", None)):
        if child is not None:
            child.end(signal.SIGKILL)


def wait_quiet(venue: Venue, trader: Trader, limit_s: float = 12.0) -> int | None:
    """Until the last bar is decided, nothing is in doubt, and the books were read after that; the exit code of a
    daemon that ends instead."""
    closed_ms = venue.ask("/control")["closed_ms"]
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        code = trader.child.process.poll()
        if code is not None:
            return code
        decided = trader.rows("SELECT max(ts_ms) FROM bars")[0][0] or 0
        open_rows = trader.rows("SELECT count(*) FROM outbox WHERE state IN ('NEW', 'SENDING', 'UNKNOWN')")[0][0]
        if decided >= closed_ms and not open_rows:
            break
        time.sleep(0.1)
    time.sleep(2.0)  # two more readings of the books
    return trader.child.process.poll()


def invariants(outcome: Outcome) -> str:
    """Books, audit, verify: what was held against what; AssertionError where one is broken."""
    assert outcome.ended is None, f"the daemon ended with {outcome.ended}:\n{outcome.said[-3000:]}"
    no_order_twice(outcome)
    if outcome.case.same_books:
        books_agree(outcome.trader, outcome.venue, START)
    assert outcome.trader.child.end() == 0, outcome.said[-3000:]
    verbs = ("audit",) if outcome.case.compared else ("audit", "verify")
    told = {verb: asked(outcome.trader, verb) for verb in verbs}
    for verb, (code, text) in told.items():
        assert code == 0, f"{verb}: {text[-3000:]}"
    books = "books equal" if outcome.case.same_books else outcome.case.own_difference
    return f"{books}; {' and '.join(verbs)} pass" + (f" ({outcome.case.compared})" if outcome.case.compared else "")


def no_order_twice(outcome: Outcome) -> None:
    """I1: at most one order of the venue for each of ours."""
    made = Counter(order["client_id"] for order in outcome.ours)
    assert [cid for cid, count in made.items() if count > 1] == []
    assert set(made) <= set(outcome.outbox)


def asked(trader: Trader, verb: str) -> tuple[int, str]:
    """A verb, in this process: the compiled code is loaded once."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = cli.main([verb, "--config", str(trader.config), "--state-dir", str(trader.state)])
    return code, out.getvalue()


@contextlib.contextmanager
def played(case: Case, archive: Path, folder: Path, plant: str = "") -> Iterator[Outcome]:
    with ExitStack() as stack:
        folder.mkdir(parents=True, exist_ok=True)
        yield play(case, archive, folder, stack, plant)
