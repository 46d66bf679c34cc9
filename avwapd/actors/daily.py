"""The day in one message, when the market of the run has closed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import numpy as np

from avwapd.actors.notices import Body
from avwapd.feeds.calendar import ALWAYS, BELL, all_sessions
from avwapd.store import notices
from avwapd.store.journal import Journal
from avwapd.store.rows import StepRows
from avwapd.store.sql import Connection

DAY_MS = 86_400_000
MOST_NAMES = 20

Say = Callable[[str, str, str, Body], None]


class Daily:
    """Told of committed rows; says one notice at the first decisions at or behind a close."""

    def __init__(self, journal: Journal, calendars: tuple[str, ...], currency: str, say: Say) -> None:
        self._journal = journal
        self._currency = currency
        self._say = say
        bell = any(name != ALWAYS for name in calendars)
        self._closes = all_sessions(BELL)["close_ms"].astype(np.int64) if bell else None
        self._next_ms = 0  # the close that is waited for; 0: not known before the first decision
        self._since_ms = 0

    def tell(self, rows: StepRows) -> None:
        if rows.kind != "bars" or not rows.decisions:
            return
        if not self._next_ms:
            self._since_ms, self._next_ms = rows.ts_ms - 1, self._close_after(rows.ts_ms - 1)
        if rows.ts_ms < self._next_ms:
            return
        closed_ms, since_ms = self._next_ms, self._since_ms
        while self._next_ms <= rows.ts_ms:
            closed_ms, self._next_ms = self._next_ms, self._close_after(self._next_ms)
        self._since_ms = closed_ms
        date = f"{datetime.fromtimestamp((closed_ms - 1) / 1000, UTC):%Y-%m-%d}"
        self._say("daily", "info", f"the day {date}", partial(self._words, since_ms, rows.ts_ms, self._standing()))

    def _close_after(self, ts_ms: int) -> int:
        if self._closes is None:
            return (ts_ms // DAY_MS + 1) * DAY_MS
        at = int(np.searchsorted(self._closes, ts_ms, side="right"))
        return int(self._closes[at]) if at < len(self._closes) else (ts_ms // DAY_MS + 1) * DAY_MS

    def _standing(self) -> list[str]:
        """As of now: the notice is written a little later."""
        world = self._journal.world
        portfolio = world.portfolio[0]
        equity, start = float(portfolio["equity"]), float(portfolio["day_start"])
        change = f" ({equity - start:+,.2f} today)" if start else ""
        held = [
            f"{self._journal.symbol_name(i)} {state['side'] * state['qty'] * row['lot']:.8g}"
            for i, (state, row) in enumerate(zip(world.states, world.instruments, strict=True))
            if state["qty"]
        ]
        more = f" and {len(held) - MOST_NAMES} more" if len(held) > MOST_NAMES else ""
        return [
            f"equity {equity:,.2f} {self._currency}{change}",
            f"holds {', '.join(held[:MOST_NAMES]) or 'nothing'}{more}",
        ]

    def _words(self, since_ms: int, until_ms: int, standing: list[str], conn: Connection) -> str:
        fills, trades = notices.traded(conn, since_ms, until_ms)
        lines = [f"{trades} trades ended, {fills} fills", *standing, f"{notices.untold(conn)} alerts not told"]
        return "\n".join(lines)
