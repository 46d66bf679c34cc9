"""Spells without a stop, row by row: stamps across a night, spells over before they were told, exits that hang."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import anyio
import numpy as np

from avwapd.actors.at_venue import trading
from avwapd.actors.naked import Naked
from avwapd.core.codes import PURPOSE_EXIT, PURPOSE_STOP, PURPOSE_TRIM, SLOT_EMPTY, SLOT_LIVE, SLOT_PENDING
from avwapd.core.records import STATE
from avwapd.feeds.world import build
from avwapd.ports import SystemClock
from avwapd.store.journal import Journal
from avwapd.store.rows import StepRows
from tests.actors_router.bench import PLAN, config_of

LIMIT_S = 120.0
BAR_MS = 60_000
NONE = {"now_s": {}, "hangs_s": {}, "worst_s": 0, "total_s": {}, "spells": 0}
NIGHT_MS = 62_987_000
OPEN_MS = 1_704_292_200_000  # New York opens
BAY = 0


class Stands(SystemClock):
    """It shows what a test sets it to; waits are the machine's own."""

    ms = OPEN_MS

    def now_ms(self) -> int:
        return self.ms


class Held:
    """One symbol's machine, set by hand, and what is said of it. shut: its market is closed."""

    def __init__(self, *, bar_ms: int = 0) -> None:
        self.clock, self.told, self.shut = Stands(), list[str](), False
        self.opened_ms = self.seq = 0
        self.committed: list[StepRows] = []
        states = np.zeros(1, STATE)
        self.row = states[BAY]
        self.row["side"] = 1
        self.journal = SimpleNamespace(
            last_ms=OPEN_MS,
            world=SimpleNamespace(states=states),
            names=SimpleNamespace(symbols=("BAY",)),
            symbol_name=lambda symbol: "BAY",
        )
        self.naked = Naked(
            cast(Journal, self.journal),
            self.clock,
            limit_s=LIMIT_S,
            speed=1.0,
            alert=self.alert,
            opened=lambda symbol, ms: None if self.shut else self.opened_ms,
            bar_ms=bar_ms,
        )

    async def alert(self, what: str) -> None:
        self.told.append(what)

    def heard(
        self,
        after_s: float,
        qty: int,
        *,
        kind: str = "report",
        behind: bool = False,
        **slots: tuple[int, int, int, int],
    ) -> None:
        """A row, stamped so many seconds after the opening; slots: (status, qty, filled, purpose).

        behind: it is folded, and not committed yet.
        """
        self.row["qty"] = qty
        for name in ("protect", "leave"):
            status, lots, filled, purpose = slots.get(name, (SLOT_EMPTY, 0, 0, 0))
            slot = self.row[name]
            slot["status"], slot["qty"], slot["filled"], slot["purpose"] = status, lots, filled, purpose
        self.seq += 1
        self.committed.append(StepRows(self.seq, kind, OPEN_MS + round(after_s * 1000), BAY))
        self.naked.fold(self.committed[-1])
        if not behind:
            self.commit()

    def last_bar(self, after_s: float) -> None:
        """The newest bar closed then."""
        self.journal.last_ms = OPEN_MS + round(after_s * 1000)

    def commit(self) -> None:
        """Everything that was folded, in order."""
        for rows in self.committed:
            self.naked.tell(rows)
        self.committed.clear()

    async def look(self, after_s: float) -> list[str]:
        """What a look says, so many seconds after the opening."""
        self.clock.ms, before = OPEN_MS + round(after_s * 1000), len(self.told)
        await self.naked.check()
        return self.told[before:]


def stop(qty: int) -> tuple[int, int, int, int]:
    return SLOT_LIVE, qty, 0, PURPOSE_STOP


def exits(qty: int, filled: int = 0, status: int = SLOT_LIVE) -> tuple[int, int, int, int]:
    return status, qty, filled, PURPOSE_EXIT


# ------------------------------------------------------------------------------------------------------- stamps


async def test_a_clock_that_stands_in_the_evening_does_not_make_a_spell_of_the_night() -> None:
    """The market left the night out, and our clock has not heard of it when the first fill of the morning comes."""
    there = Held(bar_ms=BAR_MS)
    there.clock.ms = OPEN_MS - NIGHT_MS
    there.heard(60, 10)
    assert there.naked.facts()["now_s"] == {"BAY": 0}
    assert await there.look(-NIGHT_MS / 1000) == []
    assert await there.look(65) == []
    assert there.naked.facts()["now_s"] == {"BAY": 5}
    there.heard(65, 10, protect=stop(10))
    assert there.naked.facts() == {"now_s": {}, "hangs_s": {}, "worst_s": 5, "total_s": {"BAY": 5}, "spells": 1}
    assert there.told == []


async def test_a_row_is_told_by_what_was_then_however_far_the_machine_has_gone_on() -> None:
    """An ack, the fill five minutes later and the stop's own are folded before the first of them is committed."""
    there = Held()
    there.clock.ms = OPEN_MS + 600_000
    there.heard(0, 0, behind=True)
    there.heard(300, 10, behind=True)
    there.heard(390, 10, behind=True, protect=stop(10))
    assert there.naked.facts()["spells"] == 0, "nothing of it is on the disk"
    there.commit()
    assert there.naked.facts() == {"now_s": {}, "hangs_s": {}, "worst_s": 90, "total_s": {"BAY": 90}, "spells": 1}


async def test_a_spell_begins_and_ends_in_the_evening_of_our_clock() -> None:
    there = Held(bar_ms=BAR_MS)
    there.clock.ms = OPEN_MS - NIGHT_MS
    there.heard(60, 10)
    there.heard(67, 10, protect=stop(10))
    assert there.naked.facts()["worst_s"] == 7


async def test_a_split_at_the_open_is_no_spell_of_the_night() -> None:
    """Its row has the stamp of the session's open."""
    there = Held(bar_ms=BAR_MS)
    there.clock.ms = OPEN_MS - NIGHT_MS
    there.heard(0, 10, kind="restate", protect=stop(5))
    there.clock.ms = OPEN_MS + 3_000
    there.heard(3, 10, protect=stop(10))
    assert there.naked.facts()["worst_s"] == 3


async def test_a_stamp_ahead_of_the_machines_clock_does_not_put_an_alert_off() -> None:
    """At a real venue nothing is left out: a clock that is behind counts from its own time."""
    there = Held()
    there.heard(600, 10)
    assert await there.look(121) == ["BAY is held without a stop at the venue for 121.0 s"]


# ---------------------------------------------------------------------------------------- over before it is told


async def test_a_spell_that_was_over_before_a_look_is_told_once() -> None:
    there = Held()
    there.clock.ms = OPEN_MS + 748_060
    there.heard(0, 10)  # it filled while no process lived
    there.heard(748, 10, protect=stop(10))
    expected = "BAY is held without a stop at the venue no longer: it was for 748.0 s, until its stop was there"
    assert await there.look(748.1) == [expected]
    assert await there.look(900) == []
    assert there.naked.facts()["worst_s"] == 748


async def test_a_spell_that_ends_with_the_position_says_so() -> None:
    there = Held()
    there.clock.ms = OPEN_MS + 300_000
    there.heard(0, 10)
    there.heard(300, 0)
    [told] = await there.look(300)
    assert told.endswith("no longer: it was for 300.0 s, until nothing was held any more")


async def test_a_spell_within_the_limit_is_not_told_at_its_end() -> None:
    there = Held()
    there.heard(0, 10)
    there.clock.ms = OPEN_MS + 120_000
    there.heard(120, 10, protect=stop(10))
    assert await there.look(121) == []
    assert there.naked.facts()["worst_s"] == 120


async def test_a_spell_that_was_told_is_not_told_again_at_its_end() -> None:
    there = Held()
    there.heard(0, 10)
    assert len(await there.look(121)) == 1
    there.clock.ms = OPEN_MS + 200_000
    there.heard(200, 10, protect=stop(10))
    assert await there.look(201) == []
    there.heard(201, 10)  # another one
    assert len(await there.look(322)) == 1


async def test_what_was_over_is_said_at_once() -> None:
    """Not with the next look, half a minute later: the process may not live so long."""
    there = Held()
    async with anyio.create_task_group() as group:
        await group.start(there.naked.run)
        there.clock.ms = OPEN_MS + 748_060
        there.heard(0, 10)
        there.heard(748, 10, protect=stop(10))
        with anyio.fail_after(5):
            while not there.told:  # noqa: ASYNC110 - it looks at what has no event of its own
                await anyio.sleep(0.01)
        group.cancel_scope.cancel()


# ------------------------------------------------------------------------------------------- exits that hang


async def test_an_exit_that_fills_in_time_is_no_spell() -> None:
    there = Held()
    there.heard(-60, 10, protect=stop(10))
    there.heard(0, 10, leave=exits(10))
    assert await there.look(120) == []
    there.heard(120, 0)
    assert there.naked.facts() == NONE
    assert there.told == []


async def test_an_exit_that_hangs_leaves_its_shares_without_a_stop() -> None:
    """From the end of the protection on; a half that fills does not begin it anew."""
    there = Held()
    there.heard(-60, 10, protect=stop(10))
    there.heard(0, 10, leave=exits(10))
    there.clock.ms = OPEN_MS + 100_000
    there.heard(100, 5, leave=exits(10, 5))
    assert await there.look(120) == []
    what = "BAY is held without a stop at the venue for 121.0 s: the order that leaves it is not filled"
    assert await there.look(121) == [what]
    assert await there.look(300) == []
    assert there.naked.facts()["hangs_s"] == {"BAY": 300}
    there.clock.ms = OPEN_MS + 360_000
    there.heard(360, 0)
    assert there.naked.facts() == NONE, "an order covered it all the while: the figures are of those without any"
    assert await there.look(361) == []


async def test_an_exit_that_hung_while_nobody_looked_is_told_at_its_end() -> None:
    there = Held()
    there.heard(0, 10, leave=exits(10))
    there.clock.ms = OPEN_MS + 360_000
    there.heard(360, 0)
    [told] = await there.look(361)
    assert told.startswith("BAY is held without a stop at the venue no longer: it was for 360.0 s")


async def test_an_exit_that_is_tried_again_and_again_is_one_spell() -> None:
    """Each try is short: together they are too long, told once; counted is what no try covered."""
    there = Held()
    for second in range(0, 200, 20):
        there.clock.ms = OPEN_MS + second * 1000
        there.heard(second, 10, leave=exits(10, status=SLOT_PENDING))
        await there.look(second)
        there.clock.ms += 5_000
        there.heard(second + 5, 10, leave=exits(10))
        await there.look(second + 5)
    assert [told.split(":")[0] for told in there.told] == ["BAY is held without a stop at the venue for 125.0 s"]
    assert there.naked.facts()["hangs_s"] == {"BAY": 185}
    there.clock.ms = OPEN_MS + 200_000
    there.heard(200, 0)
    assert there.naked.facts()["worst_s"] == 5
    assert there.naked.facts()["total_s"] == {"BAY": 50}
    assert len(there.told) == 1


async def test_a_trim_that_hangs_is_told_too() -> None:
    there = Held()
    there.heard(0, 10, protect=stop(5), leave=(SLOT_LIVE, 5, 0, PURPOSE_TRIM))
    assert await there.look(120) == []
    assert len(await there.look(121)) == 1
    there.heard(121, 5, protect=stop(5))
    assert there.naked.facts()["hangs_s"] == {}


async def test_an_exit_waits_for_the_bell_without_an_alert() -> None:
    """No stop would be executed at night either; its time begins with the session."""
    there = Held()
    there.shut = True
    there.heard(-3600, 10, leave=exits(10))
    assert await there.look(-1) == []
    there.shut, there.opened_ms = False, OPEN_MS
    assert await there.look(120) == []
    [told] = await there.look(121)
    assert told == "BAY is held without a stop at the venue for 121.0 s: the order that leaves it is not filled"


async def test_no_order_at_all_is_told_at_night_too() -> None:
    there = Held()
    there.shut = True
    there.heard(0, 10)
    assert len(await there.look(121)) == 1


async def test_a_simulated_venue_fills_an_exit_with_the_next_bar() -> None:
    there = Held(bar_ms=BAR_MS)
    there.heard(0, 10, leave=exits(10))
    there.last_bar(180)
    assert await there.look(180) == []
    assert len(await there.look(181)) == 1


async def test_a_simulated_venue_fills_nothing_when_its_market_is_over() -> None:
    """Its clock goes on; the time of an exit runs with the bars."""
    there = Held(bar_ms=BAR_MS)
    there.heard(0, 10, leave=exits(10))
    there.last_bar(120)
    assert await there.look(3600) == []
    assert there.naked.facts()["worst_s"] == 0
    there.last_bar(180)
    assert len(await there.look(3600)) == 1


async def test_a_start_goes_on_with_an_exit_that_hangs() -> None:
    there = Held()
    there.row["qty"] = 5
    there.row["leave"]["status"], there.row["leave"]["qty"], there.row["leave"]["filled"] = SLOT_LIVE, 10, 5
    there.row["leave"]["purpose"] = PURPOSE_EXIT
    assert there.naked.held() == [BAY]
    there.naked.start({BAY: OPEN_MS - 300_000})
    assert await there.look(60) == []  # it may hear first that it is filled
    [told] = await there.look(61)
    assert told.startswith("BAY is held without a stop at the venue for 361.0 s")


# ---------------------------------------------------------------------------------------------------- sessions


def test_when_the_running_session_began() -> None:
    setup = build(config_of("http://127.0.0.1:1", {}), PLAN.setup.market)
    opened = trading(setup)
    first = int(setup.instruments[0]["session_first"])
    one, two = setup.sessions[first], setup.sessions[first + 1]
    assert [opened(0, int(ms)) for ms in (one["open_ms"], one["close_ms"])] == [int(one["open_ms"])] * 2
    assert opened(0, int(one["close_ms"]) + 1) is None
    assert opened(0, int(two["open_ms"]) - 1) is None
    assert opened(0, int(two["open_ms"])) == int(two["open_ms"])
