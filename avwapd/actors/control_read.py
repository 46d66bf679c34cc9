"""What the control socket tells: facts from memory, and rows of the ledger over connections that can only read."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
from aiohttp import web

from avwapd.actors.control_answer import Refusal, answer
from avwapd.actors.control_desk import Desk, absent
from avwapd.core import codes
from avwapd.core.codes import OUTER_GATES
from avwapd.store import StoreError, acts, questions
from avwapd.store.journal import Journal

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

ANSWER_S = 10.0
READERS = 4  # threads that ask the ledger at once
NAMED = 8
GATES_SHOWN = 500


class Reads:
    """Handlers of GET."""

    def __init__(self, database: Path, journal: Journal, facts: Callable[[], dict[str, Any]], desk: Desk) -> None:
        self._database = database
        self._journal = journal
        self._facts = facts
        self._desk = desk
        self._room = anyio.CapacityLimiter(READERS)
        self._threads = threading.BoundedSemaphore(4 * READERS)  # also those that nobody waits for any more

    def add_to(self, router: web.UrlDispatcher) -> None:
        for name in ("status", "gates", "why", "health", "metrics", "acts", "alerts"):
            router.add_get(f"/v1/{name}", getattr(self, name))
        for name in ("positions", "orders"):
            router.add_get(f"/v1/{name}", self._table(name))

    async def status(self, request: web.Request) -> web.Response:
        return answer(self._facts())

    async def health(self, request: web.Request) -> web.Response:
        """What `check --mode health` judges."""
        return answer(self._facts() if self._desk.health is None else self._desk.health())

    async def metrics(self, request: web.Request) -> web.Response:
        if self._desk.metrics is None:
            raise absent("metrics")
        return web.Response(text=self._desk.metrics(), content_type="text/plain", charset="utf-8")

    async def acts(self, request: web.Request) -> web.Response:
        rows = await self._read(lambda: acts.newest(self._database))
        return answer(rows, note=newest(rows))

    async def alerts(self, request: web.Request) -> web.Response:
        unread = request.query.get("unread", "0") not in ("", "0", "false")
        rows = await self._read(lambda: acts.alerts(self._database, unread=unread))
        return answer(rows, note=newest(rows))

    def _table(self, name: str) -> Handler:
        async def handler(request: web.Request) -> web.Response:
            rows, cut = await self._read(lambda: questions.table(self._database, name))
            return answer(rows, note=f"the newest {len(rows)}; avwapd export has all" if cut else "")

        return handler

    async def why(self, request: web.Request) -> web.Response:
        symbol, ts_ms = request.query.get("symbol", ""), request.query.get("ts_ms", "")
        names = self._journal.names.symbols
        if symbol not in names:
            raise unknown_symbol(symbol, names)
        if not (ts_ms.isascii() and ts_ms.isdecimal() and len(ts_ms) <= 15):
            raise Refusal(400, f"{ts_ms[:40]!r} is no time", "ts_ms", "give the bar's close in milliseconds UTC")
        row = await self._read(lambda: questions.decision(self._database, symbol, int(ts_ms)))
        if row is None:
            raise Refusal(404, f"no decision on {symbol} at {ts_ms}", "decisions", "the bar may not have closed yet")
        return answer(row)

    async def gates(self, request: web.Request) -> web.Response:
        """Every gate of the outside, closed or open, and what else blocks entries now; closed ones first."""
        turned = await self._read(lambda: acts.turns(self._database))
        rows = self._outer({(row["gate"], row["symbol"]): row for row in turned}) + self._own()
        shown = sorted(rows, key=lambda row: -row["closed"])[:GATES_SHOWN]
        note = f"{len(shown)} of {len(rows)}" if len(rows) > len(shown) else ""
        return answer(shown, note=note)

    def _outer(self, turned: dict[tuple[str, str], dict[str, Any]]) -> list[dict[str, Any]]:
        """From memory, which decides; reason and time from the ledger."""
        world, names = self._journal.world, self._journal.names.symbols
        of_all = int(world.portfolio[0]["outer_closed"])
        closed = [("", of_all), *zip(names, world.states["outer_closed"].tolist(), strict=True)]
        rows = []
        for bit, gate in enumerate(OUTER_GATES):
            for symbol, bits in closed:
                shut = bits >> bit & 1
                if shut or not symbol:
                    row = turned.get((gate, symbol), {})
                    said = {"reason": row.get("reason", ""), "since_ms": row.get("ts_ms")}
                    rows.append({"gate": gate, "symbol": symbol, "closed": shut, **said})
        return rows

    def _own(self) -> list[dict[str, Any]]:
        """What the engine blocks by itself, and what the facts say before a gate has turned."""
        facts, port = self._facts(), self._journal.world.portfolio[0]
        outer = int(port["outer_closed"])
        listed: dict[str, Any] | None = facts.get("watchlist")
        stale = listed is not None and not listed["fresh"] and not outer >> codes.OUTER_WATCHLIST & 1
        killed = facts.get("kill_switch") and not outer >> codes.OUTER_KILL_SWITCH & 1
        list_date = listed["scan_date"] if listed is not None else ""
        found = {
            "kill_switch_file": (killed, "the file KILL_SWITCH exists"),
            "watchlist_stale": (stale, f"the list of {list_date}: run avwapd scan, then avwapd ctl reload"),
            "drain": (facts.get("draining"), "until resume or the next start"),
            "drawdown": (port["drawdown_blocked"], "equity fell too far from its peak: avwapd ctl rearm"),
            "daily_loss": (port["daily_blocked"], "equity fell too far today: avwapd ctl rearm"),
        }
        rows = [row(gate, "", why) for gate, (shut, why) in found.items() if shut]
        return rows + [row("halted", symbol, "avwapd ctl resume lifts it") for symbol in facts.get("halted", ())]

    async def _read(self, question: Callable[[], Any]) -> Any:
        """In a thread; the reader's own bound of steps ends it where nobody waits any more."""

        def bounded() -> Any:
            if not self._threads.acquire(blocking=False):
                raise questions.Unanswered("too many questions are stuck", "database", "see the disk")
            try:
                return question()
            finally:
                self._threads.release()

        try:
            with anyio.fail_after(ANSWER_S):
                return await anyio.to_thread.run_sync(bounded, limiter=self._room, abandon_on_cancel=True)
        except TimeoutError:
            raise Refusal(503, "the ledger did not answer in time", "database", "ask again") from None
        except questions.Unanswered as error:
            raise Refusal(503, error.what, error.where, error.next_step) from None
        except StoreError as error:
            raise Refusal(500, error.what, error.where, error.next_step) from None


def row(gate: str, symbol: str, reason: str) -> dict[str, Any]:
    return {"gate": gate, "symbol": symbol, "closed": 1, "reason": reason, "since_ms": None}


def newest(rows: list[Any]) -> str:
    return f"the newest {acts.SHOWN}; the ledger has all" if len(rows) == acts.SHOWN else ""


def unknown_symbol(name: object, names: tuple[str, ...] | list[str]) -> Refusal:
    shown = name[:40] if isinstance(name, str) else name
    return Refusal(404, f"no symbol {shown!r} in this run"[:200], "symbol", f"one of {', '.join(names[:NAMED])}")
