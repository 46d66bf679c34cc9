"""Arming: a human says, for a while, that this account may open positions with real money."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from avwapd.actors.gates import GateClosed
from avwapd.ports import Clock
from avwapd.store import armings
from avwapd.store.armings import Arming, Outlook
from avwapd.store.writer import Writer

log = logging.getLogger("avwapd.gates")

MOST_HOURS = 168.0
HOUR_MS = 3_600_000


class Armory:
    """keys: what is wrong with the two keys, given what an operator typed; integrity: with the ledger's file.

    unfit: what else speaks against it now (books, a restored ledger); ends: the close of the session.
    """

    def __init__(
        self,
        writer: Writer,
        clock: Clock,
        *,
        account: str,
        hours: float,
        ends: Callable[[int], int],
        keys: Callable[[str | None], list[str]],
        integrity: Callable[[], Awaitable[str]],
        unfit: Callable[[], list[str]],
    ) -> None:
        self._writer = writer
        self._clock = clock
        self._account = account
        self._hours = hours
        self._ends = ends
        self._keys = keys
        self._integrity = integrity
        self._unfit = unfit
        self._standing: Arming | None = None

    async def recall(self) -> None:
        """At the start: an arming of this session is still good."""
        self._standing = await self._writer.submit(partial(armings.standing, account=self._account))
        if self._standing is not None and self._clock.now_ms() < self._standing.until_ms:
            log.warning("still armed by %s, %.1f hours left", self._standing.who, self._left_ms() / HOUR_MS)

    def _left_ms(self) -> int:
        return self._standing.until_ms - self._clock.now_ms() if self._standing is not None else 0

    async def why_closed(self) -> str:
        """Why nothing may be opened for want of arming; "" while it is armed and both keys are there."""
        if self._standing is None:
            return "nobody armed it: avwapd ctl arm"
        if self._left_ms() <= 0:
            await self._end("its time was over")
            return "the arming has run out: avwapd ctl arm"
        lacking = self._keys(None)
        return f"armed, but {lacking[0]}" if lacking else ""

    async def arm(self, hours: float | None, token: str | None, who: str) -> dict[str, Any]:
        """Until so many hours from now; None: as configured. Raises GateClosed with every reason against it."""
        wanted = self._hours if hours is None else hours
        against = [] if 0 <= wanted <= MOST_HOURS else [f"{wanted:g} hours are not within 0 to {MOST_HOURS:g}"]
        against += self._keys(token)
        outlook: Outlook = await self._writer.submit(armings.outlook)
        if outlook.unread:
            against.append(f"{outlook.unread} critical alerts are unread: avwapd ctl alerts, then avwapd ctl ack")
        against += self._unfit()
        if broken := await self._integrity():
            against.append(f"the ledger is damaged: {broken}")
        if against:
            log.error("arming was refused: %s", "; ".join(against))
            raise GateClosed(
                f"not armed: {'; '.join(against)}", "arming", "put that right, then avwapd ctl arm; see docs/gates.md"
            )
        now_ms = self._clock.now_ms()
        until_ms = now_ms + round(wanted * HOUR_MS) if wanted else self._ends(now_ms)
        put = partial(armings.put, ts_ms=now_ms, who=who, account=self._account, until_ms=until_ms)
        self._standing = await self._writer.submit(put)
        log.warning("armed by %s for %.1f hours", who, (until_ms - now_ms) / HOUR_MS)
        return {"done": "arm", **self.facts()}

    async def disarm(self, who: str, reason: str) -> bool:
        """False where it was not armed."""
        armed = self._standing is not None and self._left_ms() > 0
        await self._end(f"{reason} ({who})")
        if armed:
            log.warning("disarmed by %s: %s", who, reason)
        return armed

    async def _end(self, reason: str) -> None:
        self._standing = None
        end = partial(armings.end, account=self._account, ts_ms=self._clock.now_ms(), reason=reason)
        await self._writer.submit(end)

    def facts(self) -> dict[str, Any]:
        """For status; nothing of the keys."""
        if self._standing is None:
            return {"armed": False}
        left_ms = self._left_ms()
        return {
            "armed": left_ms > 0,
            "who": self._standing.who,
            "until_ms": self._standing.until_ms,
            "hours_left": round(max(0, left_ms) / HOUR_MS, 2),
        }
