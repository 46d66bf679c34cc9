"""Live bars into a real ledger: warm-up, catch-up after a stop, outages, corrections, splits, names, small volume."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from avwapd.core.codes import BAR_LATE, BAR_MISSING, BAR_SILENT, BAR_WARMUP
from avwapd.feeds.alpaca_facts import ActionRow, Change, SessionDifference
from avwapd.feeds.standing import Bad, Known
from tests.actors.live_desk import MINUTE_MS, SYMBOLS, Tape, desk
from tests.venue.simulators import market

pytestmark = pytest.mark.anyio

BARS = market(3, "1m", SYMBOLS).bars
TIMES = np.unique(BARS["ts_ms"])  # three sessions of 390 minutes
SECOND_OPEN = int(TIMES[390]) - MINUTE_MS


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def day(ts_ms: int) -> int:
    return int(f"{datetime.fromtimestamp(ts_ms / 1000, UTC):%Y%m%d}")


def counted(rows: list[tuple[int, int, int]], flag: int) -> list[tuple[int, int]]:
    return [(ts_ms, symbol) for ts_ms, symbol, flags in rows if flags & flag]


async def test_first_start_warms_up_from_archive_and_venue_then_goes_on(tmp_path: Path) -> None:
    async with desk(tmp_path) as found:
        await found.until(lambda: "release" in found.door.said)
        assert found.door.said == ["hold", "settle", "release"]
        start_ms = found.clock.ms - 3_000
        found.minute(3)
        await found.folded()
        rows = found.flags()
        warm = counted(rows, BAR_WARMUP)
        assert [ts_ms for ts_ms, symbol in warm if symbol == 0] == TIMES[start_ms >= TIMES].tolist()
        assert [row for row in rows if row[0] > start_ms] == [
            (start_ms + i * MINUTE_MS, s, 0) for i in (1, 2, 3) for s in (0, 1)
        ]
        assert found.ask("SELECT count(*) FROM decisions") == [(6,)]
        wanted = BARS[BARS["ts_ms"] <= found.clock.ms][["ts_ms", "symbol", "close"]].tolist()
        assert found.ask("SELECT ts_ms, symbol_id, close FROM bars ORDER BY ts_ms, symbol_id") == wanted


async def test_the_warm_up_is_as_long_as_asked(tmp_path: Path) -> None:
    async with desk(tmp_path, warmup_sessions=0) as found:
        await found.until(lambda: "release" in found.door.said)
        await found.symbols.settled()
        assert {day(ts_ms) for ts_ms, _, _ in found.flags()} == {day(found.clock.ms)}


async def test_after_a_stop_missed_bars_come_late_and_then_it_is_caught_up(tmp_path: Path) -> None:
    async with desk(tmp_path) as found:
        await found.until(lambda: "release" in found.door.said)
        found.minute(2)
        await found.folded()
        stopped_ms = found.clock.ms
    async with desk(tmp_path, now_ms=stopped_ms + 5 * MINUTE_MS + 2_000) as found:
        await found.until(lambda: "release" in found.door.said)
        found.minute(1)
        await found.folded()
        rows = [row for row in found.flags() if row[0] > stopped_ms]
        late = [(stopped_ms + i * MINUTE_MS, s, BAR_LATE) for i in range(1, 6) for s in (0, 1)]
        assert rows == [*late, (stopped_ms + 6 * MINUTE_MS, 0, 0), (stopped_ms + 6 * MINUTE_MS, 1, 0)]
        assert found.ask("SELECT count(*) FROM inputs WHERE kind = 'caught_up'") == [(1,)]
        assert found.door.said[0] == "hold"


async def test_a_process_that_stood_still_ends_its_lateness_before_the_first_bar_on_time(tmp_path: Path) -> None:
    """The newest bars are not late, so that the last late one is never the newest there is."""
    async with desk(tmp_path) as found:
        await found.until(lambda: "release" in found.door.said)
        found.minute(2)
        await found.folded()
        stood_ms = found.clock.ms
        found.clock.ms = int(TIMES[785])  # the next session is on: what closed in this one is late, the newest is not
        found.minute(1)
        await found.folded()
        rows = [row for row in found.flags() if row[0] > stood_ms]
        late = sorted({ts_ms for ts_ms, _ in counted(rows, BAR_LATE)})
        assert late == TIMES[(stood_ms < TIMES) & (TIMES[780] > TIMES)].tolist()
        ends = "SELECT (SELECT max(ts_ms) FROM bars b WHERE b.seq < i.seq) FROM inputs i WHERE kind = 'caught_up'"
        assert found.ask(ends) == [(late[-1],)]


async def test_a_stop_while_the_start_waits_for_the_venue_ends_it_in_order(tmp_path: Path) -> None:
    async with desk(tmp_path) as found:
        await found.until(lambda: "release" in found.door.said)
        found.minute(2)
        await found.folded()
        stopped_ms = found.clock.ms

    def down(tape: Tape) -> None:
        tape.down = True

    async with desk(tmp_path, now_ms=stopped_ms + 5 * MINUTE_MS, prepare=down) as found:
        await found.until(lambda: found.bars.waiting_for not in ("", "venue"))
        found.bars.stop()
        await found.until(lambda: found.bars.waiting_for == "end")


async def test_an_outage_blocks_by_rows_calls_once_and_its_bars_follow(tmp_path: Path) -> None:
    async with desk(tmp_path) as found:
        await found.until(lambda: "release" in found.door.said)
        begun_ms = found.clock.ms - 3_000
        found.tape.down = found.tape.dead = True
        for _ in range(3):
            found.minute()
            found.clock.ms += 2_500
            await found.folded(found.clock.ms - 2_500)
            found.clock.ms -= 2_500
        assert found.feed.down_since_ms is not None
        found.tape.down = found.tape.dead = False
        found.minute()
        found.clock.ms += 30_000
        await found.folded(begun_ms + 4 * MINUTE_MS)
        rows = [row for row in found.flags() if row[0] > begun_ms]
        gone = [(begun_ms + i * MINUTE_MS, s) for i in (1, 2, 3) for s in (0, 1)]
        assert counted(rows, BAR_MISSING) == gone
        assert counted(rows, BAR_SILENT) == gone
        assert [row[:2] for row in rows[-2:]] == [(begun_ms + 4 * MINUTE_MS, s) for s in (0, 1)]
        skips = dict(found.ask("SELECT skip, count(*) FROM decision_words GROUP BY skip"))
        assert skips["fetch_failed"] == 6
        await found.until(lambda: len(found.alerts()) >= 2)
        told = [what for what in found.alerts() if "feed" in what]
        assert len(told) == 2
        assert "neither stream nor REST" in told[0]
        assert "is back" in told[1]


async def test_killed_in_an_outage_the_missing_bars_follow_after_the_start(tmp_path: Path) -> None:
    async with desk(tmp_path) as found:
        await found.until(lambda: "release" in found.door.said)
        begun_ms = found.clock.ms - 3_000
        found.tape.down = found.tape.dead = True
        found.minute()
        found.clock.ms += 2_500
        await found.folded(begun_ms + MINUTE_MS)
    async with desk(tmp_path, now_ms=begun_ms + 3 * MINUTE_MS + 2_000) as found:
        await found.until(lambda: "release" in found.door.said)
        await found.symbols.settled()
        rows = [row for row in found.flags() if row[0] > begun_ms]
        at = begun_ms + MINUTE_MS
        assert rows[:4] == [(at, s, BAR_MISSING) for s in (0, 1)] + [(at, s, BAR_SILENT | BAR_LATE) for s in (0, 1)]
        assert counted(rows[4:], BAR_LATE) == [(begun_ms + i * MINUTE_MS, s) for i in (2, 3) for s in (0, 1)]


async def test_a_restart_without_rest_goes_on_and_the_gap_says_so(tmp_path: Path) -> None:
    async with desk(tmp_path) as found:
        await found.until(lambda: "release" in found.door.said)
        begun_ms = found.clock.ms - 3_000
        found.minute()
        await found.folded()

    def down(tape: Tape) -> None:
        tape.down = True

    async with desk(tmp_path, now_ms=begun_ms + 4 * MINUTE_MS + 3_000, prepare=down, patience=0.1) as found:
        await found.until(lambda: "release" in found.door.said)
        await found.folded(begun_ms + 4 * MINUTE_MS)
        rows = [row for row in found.flags() if row[0] > begun_ms + MINUTE_MS]
        assert counted(rows, BAR_MISSING) == [(begun_ms + i * MINUTE_MS, s) for i in (2, 3, 4) for s in (0, 1)]
        assert any("going on without" in what for what in found.alerts())


async def test_corrections_and_late_bars_are_rows_of_their_own(tmp_path: Path) -> None:
    async with desk(tmp_path) as found:
        await found.until(lambda: "release" in found.door.said)
        silent = (found.clock.ms - 3_000 + MINUTE_MS, 1)
        found.tape.silent.add(silent)
        found.minute()
        found.clock.ms += 2_500
        await found.folded(silent[0])
        assert found.tape.put is not None
        found.tape.put(silent[0], 0, 1.0, 2.0, 0.5, 1.5, 10.0, True)
        found.tape.put(*silent, 3.0, 4.0, 2.5, 3.5, 20.0)
        await found.until(lambda: len(found.ask("SELECT 1 FROM revisions")) == 2)
        told = found.ask("SELECT ts_ms, symbol_id, kind, close FROM revisions ORDER BY symbol_id")
        assert told == [(silent[0], 0, "revised", 1.5), (*silent, "late", 3.5)]
        assert found.bars.facts()["revisions"] == 2
        assert [row for row in found.flags() if row[0] == silent[0]] == [(silent[0], 0, 0)]


async def test_a_split_is_folded_before_the_first_bar_of_its_session(tmp_path: Path) -> None:
    split = ActionRow(day(int(TIMES[780])), "ALFA", 0.25, 0.25)

    def prepare(tape: Tape) -> None:
        tape.bars = tape.bars.copy()
        rows = (tape.bars["symbol"] == 0) & (tape.bars["ts_ms"] >= TIMES[780])
        for name in ("open", "high", "low", "close"):
            tape.bars[name][rows] *= 0.25

    async with desk(tmp_path, now_ms=int(TIMES[777]) + 3_000, prepare=prepare) as found:
        await found.until(lambda: "release" in found.door.said)
        found.minute(2)
        await found.folded()
        found.tape.actions.append(split)  # told between two sessions
        before = float(found.states[0]["day_close"]), float(found.states[0]["last_close"])
        found.minute(1)
        await found.folded()
        inputs = found.ask("SELECT seq, kind, ts_ms FROM inputs ORDER BY seq DESC LIMIT 2")
        assert [kind for _, kind, _ in inputs] == ["bars", "restate"]
        assert inputs[1][2] == int(TIMES[780]) - MINUTE_MS
        assert before[1] * 0.2 < float(found.states[0]["last_close"]) < before[1] * 0.3
        assert not found.states["halted"].any()
        assert len(found.tape.asked_actions) == 2, "once at the start, once for the new day"


async def test_what_stands_about_a_session_is_asked_before_it_and_survives_a_restart(tmp_path: Path) -> None:
    first, second = day(int(TIMES[389])), day(int(TIMES[390]))
    asked = []

    async def known() -> Known:
        asked.append(len(asked))
        return Known(bad=[Bad("ALFA", "told so", first, first), Bad("BRAVO", "told so too", second, second)])

    gates = "SELECT symbol, closed, reason FROM gates ORDER BY id"
    async with desk(tmp_path, now_ms=int(TIMES[387]) + 3_000, known=known) as found:
        await found.until(lambda: "release" in found.door.said)
        assert not asked, "the warm-up decides nothing"
        found.minute(2)
        await found.folded()
        assert found.ask(gates) == [("ALFA", 1, "told so")]
        assert len(asked) == 1
    async with desk(tmp_path, now_ms=int(TIMES[389]) + 3_000, known=known) as found:
        await found.until(lambda: "release" in found.door.said)
        found.minute(2)
        await found.folded()
        assert found.ask(gates) == [("ALFA", 1, "told so"), ("ALFA", 0, "over"), ("BRAVO", 1, "told so too")]
        last = found.ask("SELECT kind FROM inputs ORDER BY seq DESC LIMIT 4")
        assert [kind for (kind,) in last] == ["bars", "bars", "act", "act"], "before the first bar of the session"


async def test_bars_of_a_failed_commit_get_their_rows_at_the_next_start(tmp_path: Path) -> None:
    async with desk(tmp_path, now_ms=int(TIMES[500]) + 3_000) as found:
        await found.until(lambda: "release" in found.door.said)
        found.minute(1)
        await found.folded()
    async with desk(tmp_path, now_ms=int(TIMES[504]) + 3_000, lost_ms=int(TIMES[503])) as found:
        await found.until(lambda: "release" in found.door.said)
        found.minute(1)
        await found.folded()
        words = "SELECT ts_ms, skip = 'persist_failed', late FROM decision_words WHERE symbol = 'ALFA' ORDER BY ts_ms"
        last = [(ts_ms, failed, late) for ts_ms, failed, late in found.ask(words)][-5:]
        wanted = [(501, 0, 0), (502, 1, 1), (503, 1, 1), (504, 0, 1), (505, 0, 0)]
        assert last == [(int(TIMES[at]), failed, late) for at, failed, late in wanted]


async def test_a_split_heard_of_too_late_halts_its_symbol(tmp_path: Path) -> None:
    async with desk(tmp_path, now_ms=int(TIMES[500])) as found:
        await found.until(lambda: "release" in found.door.said)
        found.tape.actions.append(ActionRow(day(int(TIMES[500])), "BRAVO", 0.5, 0.5))
        found.bars.session._day = -1
        found.minute()
        await found.until(lambda: found.states[1]["halted"])
        assert not found.states[0]["halted"]
        assert found.ask("SELECT count(*) FROM inputs WHERE kind = 'restate'") == [(0,)]
        await found.until(lambda: any("BRAVO: a split" in what for what in found.alerts()))


async def test_another_name_halts_its_symbol_with_the_reason(tmp_path: Path) -> None:
    def prepare(tape: Tape) -> None:
        tape.changes.append(Change(day(int(TIMES[400])), "ALFA", "is called OMEGA from then on"))
        tape.changes.append(Change(20200101, "BRAVO", "is called GAMMA from then on"))

    async with desk(tmp_path, prepare=prepare) as found:
        await found.until(lambda: "release" in found.door.said)
        await found.until(lambda: found.states[0]["halted"])
        assert not found.states[1]["halted"], "that was years ago"
        ((body,),) = found.ask("SELECT body FROM inputs WHERE kind = 'act'")
        assert "OMEGA" in body
        assert '"who":"feed"' in body
        assert '"freeze":false' in body


async def test_a_plan_that_sees_too_little_opens_nothing(tmp_path: Path) -> None:
    def prepare(tape: Tape) -> None:
        tape.share = {"ALFA": 0.021}

    async with desk(tmp_path, min_share=0.02, prepare=prepare) as found:
        await found.until(lambda: "release" in found.door.said)
        await found.until(lambda: found.states[1]["halted"])
        assert found.states["halted"].tolist() == [0, 1]
        ((body,),) = found.ask("SELECT body FROM inputs WHERE kind = 'act'")
        assert "nobody knows which share" in body
        assert found.bars.facts()["volume_share"] == {"least": 0.021, "symbol": "ALFA"}


async def test_the_venues_hours_win_and_are_told(tmp_path: Path) -> None:
    today, close_ms = day(int(TIMES[400])), int(TIMES[410])

    def prepare(tape: Tape) -> None:
        tape.differences = [SessionDifference(today, SECOND_OPEN, close_ms, SECOND_OPEN, int(TIMES[779]))]

    async with desk(tmp_path, prepare=prepare) as found:
        await found.until(lambda: "release" in found.door.said)
        assert found.feed.schedule.inside(close_ms)[0]
        assert not found.feed.schedule.inside(close_ms + MINUTE_MS)[0]
        await found.until(lambda: any("the venue's hours" in what for what in found.alerts()))
        assert found.bars.facts()["session_differences"][0]["close_ms"] == close_ms


async def test_unknown_splits_are_told_once_and_asked_again(tmp_path: Path) -> None:
    async with desk(tmp_path, now_ms=int(TIMES[779]) + 3_000) as found:
        await found.until(lambda: "release" in found.door.said)
        found.tape.down = True
        found.minute(3)
        await found.folded()
        assert not found.bars.facts()["actions_known"]
        found.tape.down = False
        found.minute(6)
        await found.folded()
        assert found.bars.facts()["actions_known"]
        await found.until(lambda: any("unknown" in what for what in found.alerts()))
        assert sum("unknown" in what for what in found.alerts()) == 1
