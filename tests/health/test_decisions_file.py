"""Files of decisions: exactly the material inputs of the ledger, whatever happens to process and disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from avwapd.actors.decision_record import Recorder
from avwapd.actors.decisions_file import DecisionsFile, last_line
from avwapd.core import codes
from avwapd.feeds.demo import bundled_market
from avwapd.paths import resolve
from avwapd.ports import SystemClock
from avwapd.store import cycles
from avwapd.store.rows import StepRows
from avwapd.verbs.beside import beside
from tests.health.desk import DEMO, ROOT, configured, played

LIMIT_S = 60.0
MARKET = bundled_market()


def recorder() -> Recorder:
    ticks, lots = ([float(row[name]) for row in MARKET.instruments] for name in ("tick", "lot"))
    return Recorder(MARKET.symbols, ticks, lots)


def lines_of(state: Path) -> list[dict[str, Any]]:
    files = sorted((state / "decisions").glob("*.jsonl"))
    return [json.loads(line) for path in files for line in path.read_bytes().splitlines()]


def wanted_of(state: Path, first_seq: int = 0) -> list[int]:
    """The inputs that are material, by the ledger alone."""
    own, found, seq = recorder(), [], 0
    while rows := cycles.since(state / "avwapd.db", seq, 500):
        seq = rows[-1].seq
        found += [each.seq for each in rows if own.record(each) is not None]
    return [seq for seq in found if seq > first_seq]


def test_every_material_input_once_in_the_file_of_its_session(tmp_path: Path) -> None:
    state = tmp_path / "state"
    config = configured(run__window_to="2025-11-18")
    played(state, {100: lambda daemon: (daemon.drill.set("fetch", 2), None)[1]}, config=config, more=beside)
    lines = lines_of(state)
    assert [line["seq"] for line in lines] == wanted_of(state)
    assert len(lines) > 50
    seen = {word for line in lines for word in line["why"]}
    assert seen >= {"decisions", "fills", "transitions", "failed"}
    for path in (state / "decisions").glob("*.jsonl"):
        told = [json.loads(line) for line in path.read_bytes().splitlines()]
        assert {line["session"] for line in told} == {path.stem}
        assert all(line["database"]["path"] == str(state / "avwapd.db") for line in told)
        assert all(line["database"]["bytes"] and line["database"]["mtime_ms"] for line in told)
    latest = json.loads((state / "portfolio_decision_latest.json").read_bytes())
    assert latest["seq"] == lines[-1]["seq"]
    assert set(latest["portfolio"]) == {"equity", "positions", "session_date"}


def test_read_back_from_the_ledger_a_line_is_what_it_was_when_it_was_told(tmp_path: Path) -> None:
    """The way back from the ledger and the way through memory give the same words."""
    state = tmp_path / "state"
    played(state, {}, config=configured(run__window_to="2025-11-14"), more=beside)
    told = {line["seq"]: line for line in lines_of(state)}
    for path in (state / "decisions").glob("*.jsonl"):
        path.unlink()
    file = alone(state)
    anyio.run(once, file)
    again = {line["seq"]: line for line in lines_of(state)}
    assert again.keys() == told.keys()
    for seq, line in again.items():
        assert {k: v for k, v in line.items() if k != "database"} == {
            k: v for k, v in told[seq].items() if k != "database"
        }


def test_after_kills_nothing_is_missing_and_nothing_is_there_twice(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    for _ in range(3):
        process = started(state)
        try:
            begun = len(lines_of(state))
            until(lambda begun=begun: len(lines_of_torn(state)) > begun + 25, process)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(10)
    process = started(state)
    try:
        until(lambda: (state / "control.sock").exists() and "ready" in (state / "log.txt").read_text(), process)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert [line["seq"] for line in lines_of(state)] == wanted_of(state)


def started(state: Path) -> subprocess.Popen[bytes]:
    env = {key: value for key, value in os.environ.items() if not key.startswith("AVWAPD_")}
    command = [sys.executable, "-m", "avwapd", "run", "--config", str(DEMO), "--speed", "36000"]
    with (state / "log.txt").open("wb") as log:
        return subprocess.Popen(
            [*command, "--state-dir", str(state)], env=env, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT
        )


def until(holds: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + LIMIT_S
    while not holds():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)


def lines_of_torn(state: Path) -> list[bytes]:
    return [line for path in (state / "decisions").glob("*.jsonl") for line in path.read_bytes().splitlines()]


def alone(state: Path, room: int = 1000) -> DecisionsFile:
    """The actor over a ledger at rest."""
    paths = resolve(state)
    return DecisionsFile(
        paths.daily_decisions,
        paths.decision_latest,
        paths.database,
        recorder,
        SystemClock(),
        session=lambda ts_ms: session_of(ts_ms),
        portfolio=dict,
        measure=dict,
        room=room,
    )


def session_of(ts_ms: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(ts_ms / 1000 - 5 * 3600, UTC).date().isoformat()


async def until_so(holds: Callable[[], bool]) -> None:
    with anyio.fail_after(LIMIT_S):
        while not holds():  # noqa: ASYNC110 - nobody rings for a test
            await anyio.sleep(0.01)


async def once(file: DecisionsFile) -> None:
    """Start, write what is there, end."""
    async with anyio.create_task_group() as group:
        with anyio.fail_after(LIMIT_S):
            await group.start(file.run)
        group.cancel_scope.cancel()


@pytest.fixture(scope="module")
def played_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = tmp_path_factory.mktemp("told") / "state"
    played(state, {}, config=configured(run__window_to="2025-11-13"))
    return state


@pytest.fixture
def ledger(played_state: Path, tmp_path: Path) -> Path:
    """A folder of its own with that ledger and no files of decisions."""
    (tmp_path / "avwapd.db").write_bytes((played_state / "avwapd.db").read_bytes())
    return tmp_path


@pytest.mark.parametrize("torn", [b'{"seq": 12, "ts', b"\0\0\0\0\n\0", b"half a line\nand another"])
def test_a_torn_end_is_cut_off_and_written_again(ledger: Path, torn: bytes) -> None:
    anyio.run(once, alone(ledger))
    newest = max((ledger / "decisions").glob("*.jsonl"))
    whole = newest.read_bytes()
    newest.write_bytes(whole[: whole.rstrip(b"\n").rfind(b"\n") + 1] + torn)
    anyio.run(once, alone(ledger))
    assert newest.read_bytes() == whole
    assert [line["seq"] for line in lines_of(ledger)] == wanted_of(ledger)


def test_a_disk_that_refuses_is_counted_and_made_up_for(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder cannot be made: a file lies in its place. Trading's side of it returns at once all the while."""
    monkeypatch.setattr("avwapd.actors.decisions_file.AGAIN_S", 0.02)
    (ledger / "decisions").write_text("in the way")
    file = alone(ledger)

    async def live() -> None:
        async with anyio.create_task_group() as group:
            await group.start(file.run)
            await until_so(lambda: file.failed >= 3)
            assert file.facts()["behind"]
            (ledger / "decisions").unlink()
            await until_so(lambda: not file.facts()["behind"])
            group.cancel_scope.cancel()

    anyio.run(live)
    assert [line["seq"] for line in lines_of(ledger)] == wanted_of(ledger)


def test_what_finds_no_room_is_read_back(ledger: Path) -> None:
    """Every input told at once to a queue of two."""
    (ledger / "decisions").mkdir()
    anyio.run(once, alone(ledger))
    newest = max((ledger / "decisions").glob("*.jsonl"))
    kept = newest.read_bytes().splitlines(keepends=True)
    file = alone(ledger, room=2)

    async def live() -> None:
        async with anyio.create_task_group() as group:
            await group.start(file.run)
            newest.write_bytes(b"".join(kept[: len(kept) // 2]))  # as if the rest had not been told yet
            file.last_seq = json.loads(kept[len(kept) // 2 - 1])["seq"]
            for rows in cycles.since(ledger / "avwapd.db", file.last_seq, 100_000):
                file.tell(rows)
            assert file.dropped > 10
            assert len(file._lines) <= 2
            await until_so(lambda: not (file.facts()["behind"] or file.facts()["waiting"]))
            group.cancel_scope.cancel()

    anyio.run(live)
    assert newest.read_bytes() == b"".join(kept)


def test_a_gate_that_turns_for_everybody_is_one_entry() -> None:
    own = recorder()
    symbols = len(MARKET.symbols)

    def bars(seq: int, blocked: int) -> StepRows:
        row = (1_700_000_000_000 + seq, 0, 0, blocked, 0, codes.SKIP_NO_SIGNAL, 0, 0, 0, 0, 0, 0, 100.0, 0, 0, 0, 0, 0)
        rows = [(row[0], symbol, *row[1:]) for symbol in range(symbols)]
        return StepRows(seq=seq, kind="bars", ts_ms=row[0], decisions=rows)

    regime = 1 << codes.GATE_REGIME
    assert own.record(bars(1, 0)) is None
    assert own.record(bars(2, 1 << codes.GATE_VOLUME)) is None, "a gate that only a setup asks is no change"
    line = own.record(bars(3, regime))
    assert line is not None
    assert line["gate_changes"] == [
        {"gate": "regime", "blocks": True, "count": symbols, "symbols": list(MARKET.symbols)}
    ]
    assert own.record(bars(4, regime)) is None
    opened = own.record(bars(5, 0))
    assert opened is not None
    assert opened["gate_changes"][0]["blocks"] is False


def test_the_last_line_of_nothing(tmp_path: Path) -> None:
    path = tmp_path / "2025-01-02.jsonl"
    path.write_bytes(b"no newline at all")
    assert last_line(path) is None
    assert path.read_bytes() == b""


def test_what_was_read_back_and_is_told_as_well_is_written_once(ledger: Path) -> None:
    """Inputs that commit while the ledger is read come both ways."""
    file = alone(ledger)

    async def live() -> None:
        async with anyio.create_task_group() as group:
            await group.start(file.run)
            before = file.written
            for rows in cycles.since(ledger / "avwapd.db", 0, 400):
                file.tell(rows)
            assert file.facts()["waiting"] > 10
            await until_so(lambda: not file.facts()["waiting"])
            assert file.written == before > 10
            group.cancel_scope.cancel()

    anyio.run(live)
    assert [line["seq"] for line in lines_of(ledger)] == wanted_of(ledger)
