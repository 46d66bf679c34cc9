"""What the router writes down and tells the machines: outbox moves, refusals, halts, calls for a human."""

from __future__ import annotations

import logging
from functools import partial

from avwapd.actors.mail import Acted, Refused
from avwapd.actors.symbols import Symbols
from avwapd.core.codes import ACT_HALT
from avwapd.core.machine import FROZEN
from avwapd.ports import Clock
from avwapd.store import ledger, notes, rows
from avwapd.store.journal import ALL, Act
from avwapd.store.sql import Connection
from avwapd.store.writer import Receipt, Writer

log = logging.getLogger("avwapd.router")
LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.ERROR}


def said(row: rows.Request, event: str = "order") -> dict[str, dict[str, str]]:
    """The fields of a line about a request."""
    return {"fields": {"EVENT": event, "SYMBOL": row.symbol, "ORDER_ID": row.cid}}


class Desk:
    """Every method that waits returns once what it wrote is on the disk, `refuse` excepted: the machine comes to it."""

    def __init__(self, writer: Writer, symbols: Symbols, clock: Clock) -> None:
        self._writer = writer
        self._symbols = symbols
        self._clock = clock

    async def sending(self, symbol: int, intent: int) -> Receipt:
        """Mark a row SENDING in the next commit; the receipt gives the row."""
        return await self._writer.post(partial(self._mark_sending, symbol, intent))

    async def sending_again(self, row: rows.Request) -> rows.Request | None:
        """Mark a row in doubt SENDING; None where the venue's word has ended the doubt meanwhile."""
        return await self._writer.submit(partial(self._mark_sending_again, row.symbol_id, row.intent))

    def _mark_sending(self, symbol: int, intent: int, conn: Connection) -> rows.Request | None:
        row = ledger.request(conn, symbol, intent)
        if row is not None and row.kind == "cancel" and row.state == "STALE":
            return None  # its order ended before it left
        if row is not None and row.state == "DENIED":
            return row  # by a hard limit, in its own transaction
        ledger.mark_sending(conn, symbol, intent, self._clock.now_ms())
        return ledger.request(conn, symbol, intent)

    def _mark_sending_again(self, symbol: int, intent: int, conn: Connection) -> rows.Request | None:
        row = ledger.request(conn, symbol, intent)
        return self._mark_sending(symbol, intent, conn) if row is not None and row.state == "UNKNOWN" else None

    async def mark(self, row: rows.Request, state: str, note: str) -> str:
        """Tell a row a word; the state it is in now, which a faster word of the venue may have left as it was."""
        return await self._writer.submit(partial(self._mark, row, state, note))

    def _mark(self, row: rows.Request, state: str, note: str, conn: Connection) -> str:
        return ledger.mark(conn, row.symbol_id, row.intent, state, self._clock.now_ms(), note=note)

    async def denied(self, row: rows.Request) -> None:
        """The machine hears of what a hard limit denied."""
        why = await self._writer.submit(partial(ledger.note_of, symbol_id=row.symbol_id, intent=row.intent))
        await self.refuse(row.cid, "rejected", "DENIED", why)

    async def refuse(self, cid: str, word: str, state: str, why: str) -> None:
        """The machine hears that its order will not be at the venue."""
        await self._symbols.put(Refused(cid, word, state, why))

    async def halt_entries(self, reason: str) -> None:
        """Nothing opens until a human says so; what is held can still be left."""
        what = f"entries stopped: {reason}; look at the decisions, then avwapd ctl resume"
        await self.alert("critical", what, event="halt")
        await self._symbols.put(Acted(Act(ACT_HALT, ALL, False, "router", reason)))

    async def freeze(self, row: rows.Request, reason: str) -> None:
        """Nothing leaves for the symbol any more, and a human is called; once."""
        if self.frozen(row.symbol_id):
            return
        await self.alert("critical", f"{row.symbol} halted: {reason} ({row.cid})", event="halt", symbol=row.symbol)
        await self._symbols.put(Acted(Act(ACT_HALT, row.symbol_id, True, "router", reason)))
        await self._symbols.settled()

    def frozen(self, symbol: int) -> bool:
        return bool(self._symbols.journal.world.states[symbol]["halted"] == FROZEN)

    async def alert(self, level: str, what: str, *, event: str = "alert", symbol: str = "") -> None:
        """A row for a person, and a line in the log."""
        fields = {"EVENT": event, **({"SYMBOL": symbol} if symbol else {})}
        log.log(LEVELS[level], "%s", what, extra={"fields": fields})
        await self._writer.submit(partial(notes.alert, ts_ms=self._clock.now_ms(), level=level, what=what, event=event))
