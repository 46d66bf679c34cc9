"""The outer gates: what closes and opens each, journaled like every input, with its reason.

A gate that is closed blocks entries, of all symbols or of one; it never blocks an exit. What a gate of a run at a venue
depends on is looked at every second (gate_judge.py); others turn theirs by `turn`. Whoever turned one, it is told here
once it is committed: to the log, to status, to whoever listens.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

import anyio
from anyio.abc import TaskStatus

from avwapd.actors.mail import Acted
from avwapd.actors.symbols import Symbols
from avwapd.core.codes import (
    ACT_GATE,
    ACT_REARM,
    OUTER_ALERTS,
    OUTER_ALLOW_LIST,
    OUTER_ARMING,
    OUTER_BOOKS,
    OUTER_CLOCK_SKEW,
    OUTER_DATA,
    OUTER_EXIT_ONLY,
    OUTER_FIRST_LIVE,
    OUTER_GATES,
    OUTER_KILL_SWITCH,
    OUTER_LIMITS,
    OUTER_MODE,
    OUTER_VENUE,
    OUTER_VENUE_CLOCK,
    OUTER_WATCHLIST,
)
from avwapd.errors import Told
from avwapd.ports import Clock
from avwapd.settings import limit_words
from avwapd.store.journal import ALL, Act
from avwapd.store.rows import GateRow, StepRows

log = logging.getLogger("avwapd.gates")

EVERY_S = 1.0
WHO = "gates"
SHOWN = 8
# Those that this actor turns, in the order of what they guard; the others are turned by the parts they belong to.
OURS = (
    OUTER_MODE,
    OUTER_ARMING,
    OUTER_ALLOW_LIST,
    OUTER_FIRST_LIVE,
    OUTER_LIMITS,
    OUTER_WATCHLIST,
    OUTER_EXIT_ONLY,
    OUTER_VENUE,
    OUTER_VENUE_CLOCK,
    OUTER_CLOCK_SKEW,
    OUTER_BOOKS,
    OUTER_DATA,
    OUTER_ALERTS,
)
# What an order that is about to leave is held against once more; the others judge decisions alone.
LAST_LOOK = sum(1 << gate for gate in (OUTER_KILL_SWITCH, *OURS))
UNSTEADY = (OUTER_VENUE, OUTER_VENUE_CLOCK, OUTER_BOOKS, OUTER_DATA)  # close at the second look: one may be a hiccup

Place = tuple[int, int]  # gate, symbol


class GateClosed(Told):
    """A start, or an act, that a gate forbids; starting again does not help."""

    exit_code = 75


class Closed(NamedTuple):
    """Since when a gate is closed, and why."""

    since_ms: int
    reason: str


class Judge(Protocol):
    """What the gates of a run depend on."""

    async def start(self) -> None:
        """Once, before anything is judged. Raises GateClosed where the run is not to start."""
        ...

    async def reasons(self) -> Mapping[int, str]:
        """Each gate that is judged, with why it is closed, "" where it is open."""
        ...

    async def by_symbol(self) -> Mapping[int, Mapping[int, str]]:
        """The same of gates that concern single symbols, at the start: gate -> symbol -> why."""
        ...


class NoJudge:
    """Of a run whose venue is inside the process: nothing there can fail that these gates guard."""

    async def start(self) -> None:
        pass

    async def reasons(self) -> Mapping[int, str]:
        return {}

    async def by_symbol(self) -> Mapping[int, Mapping[int, str]]:
        return {}


class Gates:
    """before: what the ledger says is closed, (gate, symbol's name) -> Closed.

    `arm`, `disarm`: of mode live; elsewhere they refuse. `changed`: called with each committed turn of a gate.
    """

    def __init__(
        self,
        symbols: Symbols,
        clock: Clock,
        *,
        mode: str,
        judge: Judge | None = None,
        arming: Any = None,
        limits: Mapping[str, float] | None = None,
        before: Mapping[tuple[str, str], Closed] | None = None,
    ) -> None:
        self.turns = 0
        self.mode = mode
        self.judge = judge
        self.arming = arming
        self._limits = dict(limits or {})
        self.changed: list[Callable[[GateRow], None]] = []
        self.breaches: list[str] = []  # of the hard limits; a human clears them
        self._symbols = symbols
        self._clock = clock
        self._names = symbols.journal.names.symbols
        self._index = {name: at for at, name in enumerate(self._names)}
        self._bell = anyio.Event()
        self._seen: dict[int, int] = {}  # looks in a row that found an unsteady gate closed
        self._asked: dict[Place, bool] = {}
        self._closed: dict[Place, Closed] = {}
        known = before or {}
        for gate, symbol in self._in_force():
            name = "" if symbol == ALL else self._names[symbol]
            self._asked[gate, symbol] = True
            self._closed[gate, symbol] = known.get((OUTER_GATES[gate], name), Closed(0, "closed before this start"))

    def _in_force(self) -> Iterable[Place]:
        """What the engine holds for closed."""
        world = self._symbols.journal.world
        bits = [(ALL, int(world.portfolio[0]["outer_closed"]))]
        bits += [(at, int(closed)) for at, closed in enumerate(world.states["outer_closed"].tolist()) if closed]
        for symbol, closed in bits:
            yield from ((gate, symbol) for gate in range(len(OUTER_GATES)) if closed >> gate & 1)

    # ------------------------------------------------------------------------------------------------- turning

    async def turn(self, gate: int, closed: bool, reason: str, *, symbol: int = ALL, who: str = "daemon") -> None:
        """Close or open a gate; returns once that is durable. Nothing happens where it stands so already."""
        if self._asked.get((gate, symbol), False) != closed:
            await (await self._put(gate, closed, reason, symbol, who)).done.wait()

    async def turn_each(self, gate: int, wanted: Mapping[int, str], *, opened: str, who: str = "daemon") -> None:
        """Of single symbols: closed where there is a reason, open where it is ""; what is not named stays as it is."""
        mails = [
            await self._put(gate, bool(why), why or opened, symbol, who)
            for symbol, why in wanted.items()
            if self._asked.get((gate, symbol), False) != bool(why)
        ]
        for mail in mails:
            await mail.done.wait()
        if mails:
            shut = sum(mail.act.freeze for mail in mails)
            log.info("gate %s: %d symbols closed, %d opened", OUTER_GATES[gate], shut, len(mails) - shut)

    async def _put(self, gate: int, closed: bool, reason: str, symbol: int, who: str) -> Acted:
        self._asked[gate, symbol] = closed
        mail = Acted(Act(ACT_GATE + gate, symbol, closed, who, reason))
        await self._symbols.put(mail)
        return mail

    async def arm(self, hours: float | None, token: str | None, who: str) -> dict[str, Any]:
        """Allow live entries until then. Raises GateClosed with every reason against it."""
        if self.arming is None:
            raise GateClosed(
                f"nothing can be armed in mode {self.mode}", "run.mode", "arming belongs to the mode live alone"
            )
        facts: dict[str, Any] = await self.arming.arm(hours, token, who)
        await self.look()
        return facts

    async def disarm(self, who: str, reason: str = "disarmed by hand") -> dict[str, Any]:
        """No live entry from now on; stops and exits go on. What was not armed stays so."""
        ended = await self.arming.disarm(who, reason) if self.arming is not None else False
        await self.look()
        return {"done": "disarm", "was_armed": ended, "effect": "no new entries; stops and exits go on"}

    async def rearm(self, who: str, reason: str) -> dict[str, Any]:
        """A human has looked: the blocks for drawdown and daily loss end, and the one after a breach of a limit."""
        port = self._symbols.journal.world.portfolio[0]
        ended = [name for name in ("drawdown", "daily") if port[f"{name}_blocked"]]
        mail = Acted(Act(ACT_REARM, ALL, False, who, reason))
        await self._symbols.put(mail)
        await mail.done.wait()
        if self.breaches or self._asked.get((OUTER_LIMITS, ALL)):
            self.breaches.clear()
            ended.append("limits")
            await self.turn(OUTER_LIMITS, False, reason, who=who)
        return {"done": "rearm", "ended": ended, "effect": "entries are allowed as far as the other gates allow them"}

    def denied(self, words: list[str]) -> None:
        """The ledger refused what the engine had decided: nothing opens until a human has looked."""
        self.breaches += words
        self._bell.set()

    # ------------------------------------------------------------------------------------------------- running

    async def first(self) -> None:
        """Before anything is decided: what this configuration closes for good, and what an older one left closed."""
        await self._judge().start()
        judged = dict(await self._judge().reasons())
        dry = self.mode == "dry-run"
        await self.turn(OUTER_MODE, dry, "mode dry-run opens nothing" if dry else f"mode {self.mode}", who=WHO)
        single = await self._judge().by_symbol()
        for gate in OURS[1:]:
            if gate not in judged and gate != OUTER_LIMITS:
                await self.turn(gate, False, f"not asked in mode {self.mode}", who=WHO)
            left = {symbol: "" for at, symbol in self._asked if at == gate and symbol != ALL}
            await self.turn_each(gate, left | dict(single.get(gate, {})), opened="no longer so", who=WHO)
        for gate, reason in judged.items():
            if gate not in UNSTEADY:
                await self._become(gate, reason)
        if self._symbols.journal.limits != self._limits:
            # In force from here on, for every replay too; a gate that a breach has closed stays so.
            shut = self._asked.get((OUTER_LIMITS, ALL), False)
            await (await self._put(OUTER_LIMITS, shut, limit_words(self._limits), ALL, WHO)).done.wait()
        status, words = self.status()
        log.info("%s", line(self.mode, status, words), extra={"fields": {"EVENT": "gate"}})

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Look every second until canceled; where nothing is judged there is nothing to look at."""
        task_status.started()
        while self.judge is not None:
            self.turns += 1
            await self.look()
            with anyio.move_on_after(EVERY_S):
                await self._bell.wait()
            self._bell = anyio.Event()
        await anyio.sleep_forever()

    async def look(self) -> None:
        """Judge now, and turn what has changed."""
        for gate, reason in (await self._judge().reasons()).items():
            self._seen[gate] = self._seen.get(gate, 0) + 1 if reason else 0
            if not reason or gate not in UNSTEADY or self._seen[gate] > 1:
                await self._become(gate, reason)
        if self.breaches:
            await self._become(OUTER_LIMITS, self.breaches[0])

    def _judge(self) -> Judge:
        return self.judge or NoJudge()

    async def _become(self, gate: int, reason: str) -> None:
        if reason and (gate, ALL) in self._closed:  # the newest words, of what is closed anyhow
            self._closed[gate, ALL] = self._closed[gate, ALL]._replace(reason=reason)
        await self.turn(gate, bool(reason), reason or "no longer so", who=WHO)

    # ------------------------------------------------------------------------------------------------- telling

    def tell(self, rows: StepRows) -> None:
        """Committed rows."""
        for row in rows.gates:
            gate = OUTER_GATES.index(row.gate)
            symbol = self._index[row.symbol] if row.symbol else ALL
            self._asked[gate, symbol] = bool(row.closed)
            if row.closed:
                self._closed[gate, symbol] = Closed(row.ts_ms, row.reason)
            else:
                self._closed.pop((gate, symbol), None)
            self._say(row)
            for listener in self.changed:
                listener(row)

    def _say(self, row: GateRow) -> None:
        words = line(self.mode, "closed" if row.closed else "open", f"{row.gate}: {row.reason}")
        fields = {"EVENT": "gate", "GATE": row.gate} | ({"SYMBOL": row.symbol} if row.symbol else {})
        level = logging.DEBUG if row.symbol else logging.WARNING if row.closed else logging.INFO
        log.log(level, "%s%s", words, f" symbol={row.symbol}" if row.symbol else "", extra={"fields": fields})

    def status(self) -> tuple[str, str]:
        """open | closed for everybody, and why in words."""
        every = [(gate, found.reason) for (gate, symbol), found in self._closed.items() if symbol == ALL]
        shut = [f"{OUTER_GATES[gate]}: {reason}" for gate, reason in every]
        return ("closed", "; ".join(shut)) if shut else ("open", "every gate of all symbols is open")

    def blocked(self) -> str:
        """Why no entry may leave now, whoever decided it; "" where it may."""
        closed = int(self._symbols.journal.world.portfolio[0]["outer_closed"]) & LAST_LOOK
        if not closed:
            return ""
        gate = next(gate for gate in range(len(OUTER_GATES)) if closed >> gate & 1)
        found = self._closed.get((gate, ALL))
        return f"the gate {OUTER_GATES[gate]} is closed" + (f": {found.reason}" if found else "")

    def facts(self) -> dict[str, Any]:
        """For status: whether anything may open, and every gate that is closed."""
        status, words = self.status()
        rows = []
        for gate, name in enumerate(OUTER_GATES):
            if (found := self._closed.get((gate, ALL))) is not None:
                rows.append({"gate": name, "closed": 1, "symbols": None, **found._asdict()})
            single = {symbol: found for (at, symbol), found in self._closed.items() if at == gate and symbol != ALL}
            if single:
                which = [self._names[symbol] for symbol in sorted(single)[:SHOWN]]
                first = single[min(single)]
                rows.append({"gate": name, "closed": 1, "symbols": len(single), "which": which, **first._asdict()})
        return {
            "mode": self.mode,
            "status": status,
            "reason": words,
            "closed": rows,
            "limits": self._symbols.journal.limits or None,
            "arming": self.arming.facts() if self.arming is not None else None,
        }


def line(mode: str, status: str, reason: str) -> str:
    """A gate's change as the log has it."""
    quoted = reason.replace('"', "'").replace("\n", " ")
    return f'Gate mode={mode} status={status} reason="{quoted}"'
