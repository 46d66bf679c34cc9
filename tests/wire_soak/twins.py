"""Two daemons before the same market, side by side: one venue is sound, the other has a fault every few minutes."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from avwapd.demo_venue.desk_shapes import LIVE
from avwapd.store.ids import is_ours
from avwapd.verbs.client import DaemonError, ask
from tests.wire.world import KEYS, Trader, Venue
from tests.wire_faults.play import SETTINGS, asked, end, toml
from tests.wire_soak import history, market
from tests.wire_soak.explain import MINUTE_MS
from tests.wire_soak.schedule import Event

START = Decimal(100_000)
VENUE = {
    "skew_limit_ms": 600_000, "settling_ms": 120_000, "calls_minute": 100_000, "reserve_calls": 1_000,
    "breaker_failures": 5, "breaker_rest_ms": 1_000, "reconnects_minute": 60, "threads": 16,
}  # fmt: skip
# A size that the account's ups and downs hardly move.
OWN = SETTINGS.replace("entries_per_symbol_day = 20", "entries_per_symbol_day = 1000").replace(
    "[size]\n", "[size]\nmax_position_fraction = 0.01\nmin_position = 100.0\n"
)
ORDER = {"answer_limit_ms": 600, "fresh_ms": 1_800_000}
FEED = {"ask_limit_ms": 500}
RECONCILE = {"every_s": 120.0, "settle_s": 60.0, "naked_limit_s": 120.0}
LOOK_S = 0.04
CLEAN, FAULTED = "clean", "faulted"


@dataclass
class Side:
    """One venue and its daemon."""

    name: str
    venue: Venue
    trader: Trader
    rss: list[tuple[int, int]] = field(default_factory=list)  # (market ms, KiB)
    resumed: Counter[str] = field(default_factory=Counter)
    log: list[dict[str, Any]] = field(default_factory=list)
    fired: Counter[str] = field(default_factory=Counter)
    book: dict[str, Any] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=dict)

    def ask(self, target: str, body: Any = None) -> Any:
        """The daemon, by its socket; None where it does not answer."""
        method = "GET" if body is None else "POST"
        try:
            return ask(self.trader.state / "control.sock", method, target, body, 5.0)
        except DaemonError:
            return None

    def weigh(self, now_ms: int) -> None:
        """Resident memory."""
        text = Path(f"/proc/{self.trader.child.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", text)
        if found:
            self.rss.append((now_ms, int(found[1])))

    def control(self) -> Any:
        """The market's state; a venue that is gone is told with its last words."""
        try:
            return self.venue.ask("/control")
        except OSError as error:
            time.sleep(1.0)  # for its last words
            raise AssertionError(f"{self.name}'s venue is gone: {error}\n{self.venue.child.text()[-4000:]}") from error

    def alive(self) -> None:
        code = self.trader.child.process.poll()
        assert code is None, f"{self.name} ended with {code}:\n{self.trader.child.text()[-4000:]}"

    def halted(self) -> dict[str, str]:
        rows = self.trader.rows(
            "SELECT i.symbol, p.halt_reason FROM positions p JOIN instruments i USING (symbol_id) WHERE p.halted"
        )
        return dict(rows)

    def tend(self) -> None:
        """What an operator does: others' orders are canceled at the venue; who is halted and agrees goes on."""
        halted = self.halted()
        if not halted:
            return
        for order in self.venue.book()["orders"]:
            if not is_ours(order["client_id"]) and order["status"] in LIVE:
                self._cancel(order["id"])
        facts = self.ask("/v1/status")
        if facts is None or facts["in_doubt"]:
            return
        differing = facts["reconcile"]["differences"]
        for symbol in halted:
            if symbol not in differing and self.ask("/v1/resume", {"symbol": symbol, "reason": "soak"}) is not None:
                self.resumed[symbol] += 1

    def _cancel(self, venue_id: str) -> None:
        import urllib.error
        import urllib.request

        headers = {"APCA-API-KEY-ID": KEYS["APCA_API_KEY_ID"], "APCA-API-SECRET-KEY": KEYS["APCA_API_SECRET_KEY"]}
        request = urllib.request.Request(f"{self.venue.address}/v2/orders/{venue_id}", method="DELETE", headers=headers)
        try:
            urllib.request.urlopen(request, timeout=5).close()
        except (urllib.error.URLError, OSError):
            return  # a fault hit the operator too: next time


def side(name: str, folder: Path, archive: Path, speed: float, first_ms: int, last_ms: int, grace_ms: int) -> Side:
    """Not started."""
    state = folder / name / "state"
    state.mkdir(parents=True)
    (state / "archive").symlink_to(archive / "archive")
    stamp = "%Y-%m-%dT%H:%M:%SZ"
    first, last = (time.strftime(stamp, time.gmtime(ms // 1000)) for ms in (first_ms, last_ms))
    costs = folder / name / "costs.toml"
    costs.write_text("[fills]\nslippage_bps = 0.0\n")
    venue = Venue(folder / name / "venue", state / "archive", market.EXCHANGE, market.SYMBOLS, first, last, speed=speed,
                  options=("--config", str(costs), "--paused", "--seed", "7"))  # fmt: skip
    lines = "".join(f"{key} = {value}\n" for key, value in VENUE.items())
    settings = OWN + toml("order", ORDER) + toml("reconcile", RECONCILE) + toml("feed", FEED)
    return Side(name, venue, Trader(state, venue, settings, venue_lines=lines, run_lines=f"grace_ms = {grace_ms}"))


def play(sides: Sequence[Side], events: Sequence[Event], stack: ExitStack, *, limit_s: float, every_min: int) -> None:
    """Both to the end of the market and into the quiet after it; the last of `sides` gets the faults."""
    for each in sides:
        stack.callback(end, each.venue, each.trader)
    with ThreadPoolExecutor() as pool:
        list(pool.map(begin, sides))
    for each in sides:
        each.venue.go()
    faulted, waiting = sides[-1], list(events)
    weighed, tended, until = dict.fromkeys((each.name for each in sides), 0), 0, time.monotonic() + limit_s
    while True:
        told = [each.control() for each in sides]
        now_ms = told[-1]["now_ms"]
        while waiting and waiting[0].at_ms <= now_ms:
            faulted.venue.faults(**waiting.pop(0).settings)
        for each, facts in zip(sides, told, strict=True):
            if facts["now_ms"] - weighed[each.name] >= every_min * MINUTE_MS:
                weighed[each.name] = facts["now_ms"]
                each.weigh(facts["now_ms"])
                each.alive()
        if now_ms - tended >= 4 * MINUTE_MS:
            tended = now_ms
            faulted.tend()
        if all(facts["over"] for facts in told):
            break
        assert time.monotonic() < until, told
        time.sleep(LOOK_S)
    faulted.venue.ask("/control/faults", {"clear": "all"})
    for each in sides:
        settle(each)
        each.fired = Counter(each.venue.ask("/control/faults")["fired"])
        each.log = each.venue.ask("/control/log")["log"]
        each.status = each.ask("/v1/status")
        each.book = each.venue.book()


def begin(each: Side, limit_s: float = 60.0) -> None:
    """Both processes, until the warm-up is over: the market begins for both sides at the same bar."""
    each.venue.start()
    each.trader.start()
    until = time.monotonic() + limit_s
    while not ((each.ask("/v1/status") or {}).get("feed") or {}).get("decided_ms"):
        each.alive()
        assert time.monotonic() < until, "no warm-up within the limit"
        time.sleep(0.05)


def settle(each: Side, limit_s: float = 20.0) -> None:
    """Faults are off: until the last bar is decided and nothing is in doubt, and two more readings of the books."""
    closed_ms = each.venue.ask("/control")["closed_ms"]
    until = time.monotonic() + limit_s
    for pause_s in (0.0, 1.5, 1.5) if each.name == FAULTED else (0.0,):
        time.sleep(pause_s)
        each.tend()
        while time.monotonic() < until:
            each.alive()
            decided = each.trader.rows("SELECT max(ts_ms) FROM bars")[0][0] or 0
            waiting = each.trader.rows("SELECT count(*) FROM outbox WHERE state IN ('NEW', 'SENDING', 'UNKNOWN')")[0][0]
            if decided >= closed_ms and not waiting:
                break
            time.sleep(0.1)


def books(each: Side, apart: set[str] = frozenset()) -> str:
    """Orders, positions and cash of both sides; of symbols set apart the alert that names the difference."""
    made = Counter(order["client_id"] for order in each.book["orders"] if is_ours(order["client_id"]))
    assert [cid for cid, count in made.items() if count > 1] == []
    known = {cid for (cid,) in each.trader.rows("SELECT cid FROM orders")}
    assert set(made) <= known
    held = each.trader.held()
    there = {name: Decimal(qty) for name, qty in each.book["positions"].items() if Decimal(qty)}
    differing = {name for name in held.keys() | there.keys() if held.get(name) != there.get(name)}
    alerts = [what for (what,) in each.trader.rows("SELECT what FROM alerts")]
    halted = each.halted()
    unnamed = {
        name for name in differing - {"NEWNAME"}
        if name not in apart or name not in halted or not any(name in what for what in alerts)
    }  # fmt: skip
    assert not unnamed, f"{unnamed}: {held} in the ledger, {there} at the venue; halted {halted}"
    theirs = {order["id"] for order in each.book["orders"] if not is_ours(order["client_id"])}
    foreign = sum(
        (Decimal(-one["side"]) * Decimal(one["qty"]) * Decimal(one["price"]) for one in each.book["executions"]
         if one["order_id"] in theirs),
        Decimal(0),
    )  # fmt: skip
    beside = Decimal(each.book["cash"]) - START - foreign - each.trader.cash()
    if not differing:
        assert abs(beside) < Decimal("0.01"), f"cash differs by {beside}"
    return f"differing {sorted(differing) or 'none'}, cash differs by {beside:.2f}"


def proven(each: Side) -> str:
    """`verify` (the replay is equal in bits) and `audit`, after an end in order; beside the bars that the venue has.

    Returns what verify says it took from the record.
    """
    renamed = {one["symbol"]: int(one["ts_ms"]) for one in each.log if one["fault"] == "symbol_change"}
    archive = each.trader.state / "archive"
    own = history.of_venue(each.venue, archive.resolve().parent / "bars.csv", each.trader.state.parent / "own", renamed)
    assert each.trader.child.end() == 0, each.trader.child.text()[-4000:]
    archive.unlink()
    archive.symlink_to(own / "archive")
    told = {verb: asked(each.trader, verb) for verb in ("verify", "audit")}
    for verb, (code, text) in told.items():
        assert code == 0, f"{each.name} {verb}: {text[-4000:]}"
    return "; ".join(line for line in told["verify"][1].splitlines() if line.startswith(("replay", "taken", "with")))
