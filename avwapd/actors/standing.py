"""Regime, earnings and bad tickers on their way into the engine: acts before the first bar of a session."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

from avwapd.actors.mail import Acted
from avwapd.actors.symbols import Symbols
from avwapd.core.codes import ACT_GATE
from avwapd.feeds.calendar import BELL, all_sessions
from avwapd.feeds.standing import ALL, GATES, WHO, Known, Place, Turn, changes, closed_by, standing, unknown_regime
from avwapd.store.journal import Act

log = logging.getLogger("avwapd.gates")


class Standing:
    """turns: of a replay, whose sessions are all known; known: asked anew for each session of a live feed."""

    def __init__(
        self,
        symbols: Symbols,
        *,
        turns: Sequence[Turn] = (),
        known: Callable[[], Awaitable[Known]] | None = None,
    ) -> None:
        self._symbols = symbols
        self._turns = turns
        self._known = known
        self._at: int | None = None
        self._sessions = all_sessions(BELL)
        self._session = -1

    async def before(self, ts_ms: int) -> None:
        """Turn what the session of the bar closing at `ts_ms` finds closed or open."""
        if self._known is not None:
            await self._live(ts_ms)
            return
        if self._at is None:
            self._at = sum(1 for turn in self._turns if turn.ts_ms < ts_ms)
            await self._become(closed_by(self._turns, ts_ms), ts_ms)
        while self._at < len(self._turns) and self._turns[self._at].ts_ms < ts_ms:
            await self._turn(self._turns[self._at])
            self._at += 1

    async def _live(self, ts_ms: int) -> None:
        session = int(self._sessions["close_ms"].searchsorted(ts_ms, side="left"))
        if session == self._session or session >= len(self._sessions) or self._known is None:
            return
        known = await self._known()
        if why := unknown_regime(known, session):
            log.warning("the regime is unknown: %s; entries are %s", why, "open" if known.fail_open else "closed")
        date = int(self._sessions[session]["date"])
        await self._become(standing(known, self._symbols.journal.names.symbols, session, date), ts_ms)
        self._session = session

    async def _become(self, wanted: Mapping[Place, str], ts_ms: int) -> None:
        for turn in changes(self._closed(), wanted, ts_ms):
            await self._turn(turn)

    def _closed(self) -> dict[Place, str]:
        """What the engine holds for closed now."""
        world = self._symbols.journal.world
        bits = {ALL: int(world.portfolio[0]["outer_closed"])}
        bits |= {at: int(closed) for at, closed in enumerate(world.states["outer_closed"]) if closed}
        return {(symbol, gate): "" for symbol, closed in bits.items() for gate in GATES if closed >> gate & 1}

    async def _turn(self, turn: Turn) -> None:
        if ((turn.symbol, turn.gate) in self._closed()) == turn.closed:
            return
        mail = Acted(Act(ACT_GATE + turn.gate, turn.symbol, turn.closed, WHO, turn.reason))
        await self._symbols.put(mail)
        await mail.done.wait()
