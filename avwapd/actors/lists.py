"""The scan's list on its way into the engine: at the start as it lies there, later when an operator asks for it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np

from avwapd.actors.mail import Listed
from avwapd.actors.symbols import Symbols
from avwapd.core.session import DAILY_LOOKBACK_MS
from avwapd.feeds.world import Setup
from avwapd.store import StoreError
from avwapd.store.watchlist import Watchlist

log = logging.getLogger("avwapd.lists")


class Lists:
    """read: the list as it lies in the state folder, None where there is none; raises WatchlistRefused.

    decides_ms: close of the feed's first bar behind the warm-up; until then a list is judged by that bar.
    """

    def __init__(
        self,
        setup: Setup,
        symbols: Symbols,
        read: Callable[[], Watchlist | None],
        decides_ms: Callable[[], int | None],
    ) -> None:
        self._setup = setup
        self._symbols = symbols
        self._read = read
        self._decides_ms = decides_ms
        self.refusal = ""  # why the list that lies there is not taken

    async def first(self) -> None:
        """At the start: a list that cannot be believed leaves the last one in force."""
        if not self._setup.config.watchlist.use:
            return
        try:
            await self._take(self._read())
        except StoreError as error:
            self.refusal = str(error)
            log.error("%s", error)

    async def reload(self) -> dict[str, Any]:
        """Take the newest list between two barriers; the same one again changes nothing. What it says of itself.

        Raises StoreError where there is none, it is older than the one in force or cannot be believed, or the settings
        leave it alone; the old one stays.
        """
        if not self._setup.config.watchlist.use:
            raise StoreError("the watchlist is not used", "watchlist.use = false", "set it, then start the daemon anew")
        found = self._read()
        if found is None:
            raise StoreError("there is no watchlist", "watchlist.json in the state folder", "run avwapd scan first")
        changed = await self._take(found)
        return {"changed": changed, **(self.facts() or {})}

    async def _take(self, found: Watchlist | None) -> bool:
        """Put a list that differs from the one in force; True where it did."""
        listed = self._symbols.journal.listed
        if found is None or (listed and (listed.scan_date, listed.version) == (found.scan_date, found.version)):
            return False
        if listed and found.scan_date < listed.scan_date:
            what = f"the watchlist is of {found.scan_date}, older than the one in force, of {listed.scan_date}"
            raise StoreError(what, "watchlist.json in the state folder", "run avwapd scan, then avwapd ctl reload")
        self.refusal = ""
        mail = Listed(found)
        await self._symbols.put(mail)
        await mail.done.wait()
        facts = self.facts() or {}
        told = {"fields": {"EVENT": "watchlist"}}
        log.info("watchlist of %s: %d rows, %s", found.scan_date, len(found.rows), facts.get("state"), extra=told)
        return True

    def facts(self) -> dict[str, Any] | None:
        """The list in force, None while there is none. missing: symbols of it that this run does not have.

        Fresh is the list of the session before the coming or running one; on daily bars, where a list confirms its own
        session's close, that of the coming one. Market time decides, never the wall clock.
        """
        journal = self._symbols.journal
        listed = journal.listed
        if listed is None:
            return None
        first_ms = self._decides_ms() or 0
        last_ms = journal.last_ms if journal.last_ms >= first_ms else 0
        wanted = scan_date_wanted(self._setup, last_ms, first_ms)
        fresh = listed.scan_date == wanted
        return {
            "scan_date": listed.scan_date,
            "version": listed.version,
            "rows": listed.rows,
            "missing": list(listed.missing),
            "fresh": fresh,
            "state": "fresh" if fresh else f"stale, wanted is that of {wanted}",
        }


def scan_date_wanted(setup: Setup, last_ms: int, next_ms: int) -> int | None:
    """The date (yyyymmdd) of a fresh list; last_ms: the newest bar's close, 0 before the first, which is at next_ms."""
    inst = next((row for row in setup.instruments if row["bell"]), setup.instruments[0])
    first = int(inst["session_first"])
    table = setup.sessions[first : first + int(inst["session_count"])]
    daily = bool(inst["daily"])
    key = (last_ms or next_ms) - (DAILY_LOOKBACK_MS if daily else 0)
    coming = int(np.searchsorted(table["close_ms"], key, side="left"))
    if last_ms and (daily or (coming < len(table) and table["close_ms"][coming] == key)):
        coming += 1
    at = coming if daily else coming - 1
    return int(table["date"][at]) if 0 <= at < len(table) else None
