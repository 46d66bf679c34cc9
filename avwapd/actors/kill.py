"""The kill switch: nothing that opens risk leaves, what waits to open is canceled; stops and exits go on.

The switch is closed while its file exists, its variable is set, or the operator's word holds. Whoever sends looks at
`on` itself: the gate in the journal, which blocks decisions and cancels entries, follows within a tick of the clock.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from anyio.abc import TaskStatus

from avwapd.actors.mail import Acted
from avwapd.actors.symbols import Symbols
from avwapd.core.codes import ACT_FLATTEN, ACT_GATE, OUTER_KILL_SWITCH
from avwapd.ports import Clock
from avwapd.store import StoreError
from avwapd.store.journal import ALL, Act
from avwapd.store.kill_note import KillNote, Sale

log = logging.getLogger("avwapd.kill")

BIT = 1 << OUTER_KILL_SWITCH
VARIABLE = "AVWAPD_KILL_SWITCH"
FILE = "the file KILL_SWITCH exists"
HOLD_S = 120.0  # a flatten of the kill program that never ended holds stops and exits back no longer


class KillStays(StoreError):
    """The switch cannot be opened from here."""

    exit_code = 75


async def unkept(on: bool, reason: str, who: str) -> bool:
    """Nowhere to keep the switch over a restart."""
    return False


class Switch:
    """Whether anything that opens may leave, as whoever sends asks it: no await, no memory but an operator's word.

    present: the file is there; forced: why it is closed whatever the file, "" where it is not; read: the file's words.
    """

    def __init__(
        self,
        present: Callable[[], bool],
        clock: Clock,
        *,
        forced: str = "",
        read: Callable[[], KillNote | None] = lambda: None,
    ) -> None:
        self.held = ""  # why an operator closed it, where no file could be written
        self.forced = forced
        self._present = present
        self._clock = clock
        self._read = read
        self._flattening_since: float | None = None

    def on(self) -> bool:
        return bool(self.held or self.forced) or self._present()

    def why(self) -> str:
        """Which of the triggers closed it, "" where it is open."""
        note = self._read()
        return self.held or self.forced or (note.reason if note else "") or (FILE if self._present() else "")

    def sales(self) -> tuple[Sale, ...]:
        """What the kill program sold in the daemon's stead."""
        note = self._read()
        return note.sales if note is not None else ()

    def leaves(self, symbol: str) -> bool:
        """The kill program leaves, or left, this position: nothing but cancels may go out for it."""
        note = self._read()
        if note is None:
            self._flattening_since = None
            return False
        if any(sale.symbol == symbol for sale in note.sales):
            return True
        if not note.flatten or note.whole:
            self._flattening_since = None
            return False
        now = self._clock.monotonic()
        if self._flattening_since is None:
            self._flattening_since = now
        return now - self._flattening_since < HOLD_S


class Kill:
    """keep: writes or removes the file, durably; True where it did."""

    def __init__(
        self,
        switch: Switch,
        symbols: Symbols,
        alert: Callable[[str, str], Awaitable[None]],
        *,
        keep: Callable[[bool, str, str], Awaitable[bool]] = unkept,
    ) -> None:
        self.turns = 0
        self._switch = switch
        self._symbols = symbols
        self._alert = alert
        self._keep = keep
        self._lock = anyio.Lock()
        self._bell = anyio.Event()

    @property
    def closed(self) -> bool:
        """As the journal has it."""
        return bool(self._symbols.journal.world.portfolio[0]["outer_closed"] & BIT)

    def facts(self) -> dict[str, Any]:
        return {"on": self._switch.on(), "journaled": self.closed, "why": self._switch.why()}

    # ---------------------------------------------------------------------------------------------- operators

    async def kill(self, reason: str, who: str, *, flatten: bool = False) -> dict[str, Any]:
        """Close at once; the file, the gate and (flatten) the exits are committed when this returns."""
        self._switch.held = reason or "operator"
        kept = False
        try:
            kept = await self._keep(True, self._switch.held, who)
        except OSError as error:
            log.error("KILL_SWITCH cannot be written (%s): the switch stays closed until this process ends", error)
        await self.follow(who)
        if kept:
            self._switch.held = ""  # from here on the file alone decides, so that removing it opens
        if flatten:
            await self._do(Act(ACT_FLATTEN, ALL, False, who, reason or "kill"))
        return {"closed": self.closed, "kept": kept, "flatten": flatten}

    async def unkill(self, who: str) -> dict[str, Any]:
        """Open it. Raises KillStays where something else keeps it closed."""
        if self._switch.forced:
            raise KillStays(
                f"the kill switch stays closed: {self._switch.forced}", VARIABLE, "start without the variable"
            )
        self._switch.held = ""
        try:
            await self._keep(False, "", who)
        except OSError as error:
            raise KillStays(f"KILL_SWITCH cannot be removed ({error.strerror})", "KILL_SWITCH", "remove it") from error
        await self.follow(who)
        return {"closed": self.closed}

    # ------------------------------------------------------------------------------------------------ running

    def noticed(self, on: bool) -> None:
        """The clock's look at the switch."""
        if on != self.closed:
            self._bell.set()

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """The gate as the switch stands at the start, then whenever it turns."""
        await self.follow("daemon")
        task_status.started()
        while True:
            await self._bell.wait()
            self._bell = anyio.Event()
            self.turns += 1
            await self.follow("daemon")

    async def follow(self, who: str) -> None:
        """Journal what the switch says now, where the journal says otherwise."""
        async with self._lock:
            on = self._switch.on()
            if on == self.closed:
                return
            reason = self._switch.why() if on else "released"
            await self._do(Act(ACT_GATE + OUTER_KILL_SWITCH, ALL, on, who, reason))
            if on:
                what = f"kill switch closed ({reason}): nothing opens, entries are canceled; stops and exits go on"
                await self._alert("critical", what)
            else:
                await self._alert("warning", "kill switch released: entries are allowed again")

    async def _do(self, act: Act) -> None:
        mail = Acted(act)
        await self._symbols.put(mail)
        await mail.done.wait()
