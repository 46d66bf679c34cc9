"""What the gates of a run at a venue depend on, each in one function: why it is closed now, "" where it is open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from avwapd.actors.at_venue import AtVenue
from avwapd.actors.gate_arm import Armory
from avwapd.actors.gate_hours import Hours
from avwapd.actors.gates import GateClosed
from avwapd.actors.lists import Lists
from avwapd.config import Config
from avwapd.core.codes import (
    FLAT,
    OUTER_ALERTS,
    OUTER_ALLOW_LIST,
    OUTER_ARMING,
    OUTER_BOOKS,
    OUTER_CLOCK_SKEW,
    OUTER_DATA,
    OUTER_EXIT_ONLY,
    OUTER_FIRST_LIVE,
    OUTER_VENUE,
    OUTER_VENUE_CLOCK,
    OUTER_WATCHLIST,
)
from avwapd.ports import Clock
from avwapd.store import armings
from avwapd.store.armings import Outlook
from avwapd.store.writer import Writer

CLOCK_MARGIN_MS = 60_000  # around the bell, where venue and calendar need not agree to the second
CLOCK_SILENT_S = 120.0  # by the wall: four questions without an answer
BEHIND_S = 10.0  # by the wall, besides feed.stale_bars
UNREAD_S = 300.0  # a critical alert that nobody was told of
ASK_EVERY = 5  # looks between two questions to the ledger


class VenueJudge:
    """armory: of mode live. venue: its facts() say what it is like."""

    def __init__(
        self,
        config: Config,
        hours: Hours,
        at_venue: AtVenue,
        venue: Any,
        lists: Lists,
        states: Any,
        names: tuple[str, ...],
        writer: Writer,
        clock: Clock,
        *,
        timeframe_ms: int,
        armory: Armory | None,
    ) -> None:
        self.exit_only = ""
        self._config = config
        self._live = config.live if armory is not None else None
        self._hours = hours
        self._at_venue = at_venue
        self._venue = venue
        self._lists = lists
        self._states = states
        self._names = names
        self._writer = writer
        self._clock = clock
        self._timeframe_ms = timeframe_ms
        self._armory = armory
        self._looks = 0
        self._begun = clock.monotonic()
        self._outlook = Outlook(0, 0, None)

    async def start(self) -> None:
        """Before READY, the list being read: an arming that still stands is taken up; a stale list that the run needs
        stops the start, or all but its exits.

        Raises GateClosed where nothing is held and no order is live: then nothing is lost by not starting.
        """
        if self._armory is not None:
            await self._armory.recall()
        mode, listing = self._config.run.mode, self._config.watchlist
        stale = self.watchlist() if listing.use and listing.required and mode in ("paper", "live") else ""
        if not stale:
            return
        if bool((self._states["phase"] == FLAT).all()):
            raise GateClosed(
                f"{stale}, and nothing is held",
                "watchlist.json in the state folder",
                "run avwapd scan, then start again",
            )
        self.exit_only = f"{stale} at the start"
        what = f"{self.exit_only}, with positions or live orders: exits only until the list is fresh"
        await self._at_venue.alert(what)

    async def by_symbol(self) -> Mapping[int, Mapping[int, str]]:
        """Of mode live: what is not on the allow-list, and what is not the first live symbol."""
        live = self._live
        if live is None:
            return {}
        allowed = {at: "" if name in live.allow else "not in live.allow" for at, name in enumerate(self._names)}
        first = {
            at: "" if not live.first_live or name == live.first_symbol else "first live: live.first_symbol alone"
            for at, name in enumerate(self._names)
        }
        return {OUTER_ALLOW_LIST: allowed, OUTER_FIRST_LIVE: first}

    async def reasons(self) -> Mapping[int, str]:
        """Of every gate that this run has."""
        found = {
            OUTER_WATCHLIST: self.watchlist(),
            OUTER_EXIT_ONLY: self._exit_only(),
            OUTER_VENUE: self.venue(),
            OUTER_VENUE_CLOCK: self.venue_clock(),
            OUTER_DATA: self.data(),
            OUTER_CLOCK_SKEW: self._at_venue.reconciler.skewed(),
            OUTER_BOOKS: self.books(),
        }
        if self._armory is not None:
            if self._looks % ASK_EVERY == 0:
                self._outlook = await self._writer.submit(armings.outlook)
            found[OUTER_ARMING] = await self._armory.why_closed()
            found[OUTER_FIRST_LIVE] = self.first_live()
            found[OUTER_ALERTS] = self.alerts()
        self._looks += 1
        return found

    def watchlist(self) -> str:
        """By the date of the list and of the New York session; a run that neither has nor needs one is not asked."""
        if not self._config.watchlist.use:
            return ""
        facts = self._lists.facts()
        if facts is None:
            why = f": {self._lists.refusal}" if self._lists.refusal else ""
            return f"there is no watchlist{why}" if self._config.watchlist.required else ""
        return "" if facts["fresh"] else f"the watchlist of {facts['scan_date']} is {facts['state']}"

    def _exit_only(self) -> str:
        if self.exit_only and not self.watchlist():
            self.exit_only = ""
        return self.exit_only

    def venue(self) -> str:
        facts = self._venue.facts()
        if facts.get("state") == "shut" or facts.get("breaker") == "open":
            return f"the venue is shut: {facts.get('why') or 'its breaker is open'}"
        return ""

    def venue_clock(self) -> str:
        """What the venue's own clock said last, beside our calendar at that moment."""
        facts = self._venue.facts()
        if "is_open" not in facts or not self._hours.bell:
            return ""
        asked_s = facts.get("clock_age_s")
        if asked_s is None:
            asked_s = self._clock.monotonic() - self._begun
        if asked_s > CLOCK_SILENT_S:
            return f"the venue's clock could not be asked for {asked_s:.0f} s"
        if facts["is_open"] is False and self._hours.surely_open(facts["clock_ms"], CLOCK_MARGIN_MS):
            return "the venue says that the market is closed, the calendar that it is open"
        return ""

    def books(self) -> str:
        reconciler = self._at_venue.reconciler
        waiting_s = self._clock.monotonic() - self._begun
        if not reconciler.compared:  # nothing leaves before; a start is no news
            return "the venue's books were not compared yet" if waiting_s > BEHIND_S else ""
        return reconciler.unread()

    def data(self) -> str:
        """Neither stream nor REST has bars, or what is due is not decided."""
        feed = self._at_venue.bars.feed
        if feed.down_since_ms is not None:
            return "the feed is down: neither stream nor REST has bars"
        next_ms = feed.facts()["next_ms"]
        if next_ms is None:
            return ""
        late_ms = self._clock.now_ms() - next_ms
        patience_ms = self._config.feed.stale_bars * self._timeframe_ms + BEHIND_S * 1000 * self._config.venue.speed
        return f"bars are {late_ms / 1000:.0f} s behind" if late_ms > patience_ms else ""

    def first_live(self) -> str:
        """The one day is that of the first entry that filled."""
        day = self._outlook.first_day
        wanted = self._live is not None and self._live.first_live
        if not wanted or day is None or self._hours.date(self._clock.now_ms()) <= day:
            return ""
        return f"the first live day was {day}: look at it, then set live.first_live = false"

    def alerts(self) -> str:
        unread = self._outlook
        age_s = (self._clock.now_ms() - unread.unread_ms) / 1000
        if not unread.unread or age_s <= UNREAD_S:
            return ""
        return f"{unread.unread} critical alerts reached nobody, the oldest {age_s:.0f} s ago: avwapd ctl ack"
