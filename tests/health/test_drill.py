"""A fault on purpose: the rows it leaves, the colours it shows, how both clear, and that the run still verifies."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from avwapd import cli
from avwapd.actors.drill import MOST, Drill, DrillRefused
from avwapd.core.codes import BAR_LATE, BAR_MISSING, BAR_RETRY, BAR_SILENT
from avwapd.core.records import BAR
from avwapd.daemon import Daemon
from avwapd.ops.finding import FAIL, OK, WARN
from avwapd.ops.health import cadence
from tests.actors.live_desk import MINUTE_MS
from tests.actors.live_desk import desk as live_desk
from tests.health.desk import DEMO, asked, configured, played


def verified(state: Path, capsys: pytest.CaptureFixture[str], speed: str = "max") -> dict[str, object]:
    """What verify says of the run, whose speed was an option of the command line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVWAPD_RUN__SPEED", speed)
        capsys.readouterr()
        assert cli.main(["verify", "--json", "--config", str(DEMO), "--state-dir", str(state)]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def set_drill(fault: str, times: int) -> Callable[[Daemon], None]:
    return lambda daemon: (daemon.drill.set(fault, times), None)[1]


def test_rows_colours_and_how_they_clear(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    colours: list[tuple[str, str]] = []

    def look(daemon: Daemon) -> None:
        found = cadence(daemon.health())
        colours.append((found.verdict, found.what))

    moves: dict[int, Callable[[Daemon], None]] = dict.fromkeys(range(690, 1400), look)
    moves[700] = set_drill("fetch", 3)
    moves[900] = set_drill("persist", 2)
    daemon = played(tmp_path / "state", moves)
    state = tmp_path / "state"
    assert daemon.drill.facts() == {
        "left": {"fetch": 0, "persist": 0},
        "played": {"fetch": 3, "persist": 2},
        "held": 0,
    }
    words = dict(asked(state, "SELECT skip, count(*) FROM decision_words GROUP BY skip"))
    assert (words["fetch_failed"], words["persist_failed"]) == (18, 12)
    marked = "SELECT count(*) FROM bars WHERE flags & {}"
    assert [asked(state, marked.format(flag))[0][0] for flag in (BAR_MISSING, BAR_SILENT, BAR_RETRY)] == [18, 18, 12]

    steps = [colours[0][0]]
    for verdict, _ in colours:
        if verdict != steps[-1]:
            steps.append(verdict)
    assert steps == [OK, FAIL, WARN, OK, FAIL, WARN, OK]
    assert sum(verdict == WARN for verdict, _ in colours) >= 2 * (configured().health.clean_bars - 1)
    assert any("fetch_failed" in what for _, what in colours)
    assert any("persist_failed" in what for _, what in colours)

    report = verified(state, capsys)
    assert report["result"] == "PASS"
    assert report["taken"] == {"other marks": 12, "failed intervals": 18, "barriers": asked_barriers(state)}


def asked_barriers(state: Path) -> int:
    return int(asked(state, "SELECT count(*) FROM inputs WHERE kind = 'bars'")[0][0])


def test_what_a_kill_left_held_back_follows_after_the_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Stopped in the middle of a drill: the held bars come with the next start, and nothing is drilled any more."""
    state = tmp_path / "state"
    paced = configured(run__speed="20000")
    first = played(state, {100: set_drill("fetch", MOST), 170: lambda daemon: daemon.stop("the test")}, config=paced)
    held = first.drill.facts()["held"]
    assert held
    gone = asked(state, "SELECT ts_ms FROM inputs WHERE body = 'drill fetch' ORDER BY seq")
    assert len(gone) == held
    moves = {120: lambda daemon: daemon.stop("the test")}
    second = played(state, moves, config=paced)
    assert second.drill.facts()["played"] == {"fetch": 0, "persist": 0}
    silent = asked(state, "SELECT DISTINCT ts_ms FROM bars WHERE flags & 64 ORDER BY seq")
    assert silent == gone
    assert verified(state, capsys, "20000")["result"] == "PASS"


def test_a_run_without_a_drill_takes_over_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = configured(run__window_to="2025-11-14")
    played(tmp_path / "state", {}, config=config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVWAPD_RUN__WINDOW_TO", "2025-11-14")
        assert verified(tmp_path / "state", capsys)["taken"] == {}


@pytest.mark.parametrize("mode", ["live", "dry-run", ""])
def test_it_is_refused_where_it_could_hurt(mode: str) -> None:
    drill = Drill(mode)
    with pytest.raises(DrillRefused) as told:
        drill.set("fetch", 1)
    assert told.value.next_step
    assert drill.left["fetch"] == 0


@pytest.mark.parametrize(
    ("fault", "times"),
    [("venue", 1), ("fetch", -1), ("fetch", MOST + 1), ("fetch", True), ("fetch", 1.5), ("fetch", "1")],
)
def test_what_it_is_asked_must_make_sense(fault: str, times: object) -> None:
    with pytest.raises(DrillRefused):
        Drill("sim").set(fault, times)


def test_a_drill_can_be_called_off_and_leaves_other_barriers_alone() -> None:
    drill = Drill("sim")
    bars = np.ones(2, BAR)
    bars["flags"] = 0
    late = bars.copy()
    late["flags"] = BAR_LATE
    drill.set("fetch", 2)
    assert [flags(rows) for rows, _ in drill.play(late)] == [[BAR_LATE] * 2], "what is late has its own story"
    assert [flags(rows) for rows, _ in drill.play(bars)] == [[BAR_MISSING] * 2]
    drill.set("fetch", 0)
    assert [flags(rows) for rows, _ in drill.play(bars)] == [[BAR_SILENT] * 2, [0, 0]]
    assert [flags(rows) for rows, _ in drill.play(bars)] == [[0, 0]]


def flags(rows: np.ndarray) -> list[int]:
    return list(rows["flags"].tolist())


@pytest.mark.anyio
async def test_live_bars_play_it_too_and_rest_has_the_bars_after_a_kill(tmp_path: Path) -> None:
    async with live_desk(tmp_path) as found:
        await found.until(lambda: "release" in found.door.said)
        found.bars._drill = drill = Drill("paper")
        begun_ms = found.clock.ms - 3_000
        drill.set("fetch", 2)
        found.minute()
        await found.folded()
        found.minute()
        await found.folded()
        found.minute()
        await found.folded()
        drill.set("persist", 1)
        found.minute()
        await found.folded()
        drill.set("fetch", 5)
        found.minute()
        await found.folded()
        at = [begun_ms + i * MINUTE_MS for i in range(1, 6)]
        rows = [row for row in found.flags() if row[0] > begun_ms and row[1] == 0]
        assert rows == [
            *[(at[0], 0, BAR_MISSING), (at[1], 0, BAR_MISSING), (at[0], 0, BAR_SILENT), (at[1], 0, BAR_SILENT)],
            *[(at[2], 0, 0), (at[3], 0, BAR_RETRY), (at[4], 0, BAR_MISSING)],
        ]
        stopped_ms = found.clock.ms
    async with live_desk(tmp_path, now_ms=stopped_ms + 2_000) as found:
        await found.until(lambda: "release" in found.door.said)
        found.minute()
        await found.folded()
        newest = [row for row in found.flags() if row[1] == 0][-2:]
        assert newest == [(at[4], 0, BAR_LATE | BAR_SILENT), (at[4] + MINUTE_MS, 0, 0)]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
