"""Lines are bounded, counted and never waited for. RELIABILITY row 63: whatever becomes of the log, trading goes on."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from avwapd.ops.logs import Line, Logs, as_json, stamped
from avwapd.ops.secrets import Redactor
from avwapd.store.reader import open_reader
from tests.cli.process import clean_environ
from tests.tidy.rules import ROOT

LIMIT_S = 60.0


class Kept:
    """A sink that remembers; `blocked` holds it up."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.free = threading.Event()
        self.free.set()
        self.works = True

    def write(self, line: Line) -> bool:
        self.free.wait(30)
        if self.works:
            self.lines.append(line)
        return self.works

    @property
    def texts(self) -> list[str]:
        return [line.text for line in self.lines]


@pytest.fixture
def kept() -> Iterator[tuple[Kept, Logs, logging.Logger]]:
    sink = Kept()
    logs = Logs(sink, Redactor(["hunter2!"]), lines_s=10, base={})
    log = logging.getLogger("tests.logs")
    log.handlers, log.propagate = [logs], False
    log.setLevel(logging.DEBUG)
    yield sink, logs, log
    log.handlers = []
    sink.free.set()
    logs.close()


def test_a_flood_is_bounded_and_told_and_never_costs_a_warning(kept: tuple[Kept, Logs, logging.Logger]) -> None:
    sink, logs, log = kept
    for number in range(1000):
        log.info("line %d", number, extra={"fields": {"EVENT": "decision"}})
        if number % 100 == 0:
            log.warning("warning %d", number)
            log.info("fill %d", number, extra={"fields": {"EVENT": "fill"}})
    log.info("ready", extra={"fields": {"EVENT": "ready"}})
    assert logs.flush_within(10)
    told = sink.texts
    assert sum(text.startswith("warning") for text in told) == 10
    assert sum(text.startswith("fill") for text in told) == 10
    assert "ready" in told
    lines = sum(text.startswith("line") for text in told)
    assert 50 <= lines < 120, "five seconds' worth may come at once"
    assert logs.lost["rate"] == 1000 - lines
    log.warning("the next one")
    assert logs.flush_within(10)
    dropped = sum(int(text.split()[0]) for text in sink.texts if "log lines were dropped" in text)
    assert dropped == logs.lost["rate"]


def test_a_sink_that_hangs_costs_room_and_no_time(kept: tuple[Kept, Logs, logging.Logger]) -> None:
    sink, logs, log = kept
    sink.free.clear()
    begun = time.monotonic()
    for number in range(30_000):
        log.warning("warning %d", number)
    assert time.monotonic() - begun < 10
    assert logs.lost["room"] >= 30_000 - 10_001
    assert not logs.flush_within(0.05)
    sink.free.set()
    assert logs.flush_within(10)
    assert len(sink.lines) <= 10_003
    assert any("log lines were dropped" in text for text in sink.texts)


def test_a_sink_that_refuses_is_counted_and_told_when_it_takes_again(kept: tuple[Kept, Logs, logging.Logger]) -> None:
    sink, logs, log = kept
    sink.works = False
    for _ in range(5):
        log.error("lost")
    assert logs.flush_within(10)
    assert logs.lost["sink"] == 5
    sink.works = True
    log.error("seen")
    assert logs.flush_within(10)
    assert "seen" in sink.texts
    assert any(text.startswith("5 log lines") for text in sink.texts)


def test_a_line_that_cannot_be_made_is_lost_alone(kept: tuple[Kept, Logs, logging.Logger]) -> None:
    sink, logs, log = kept
    logs.handle(log.makeRecord(log.name, logging.INFO, "", 0, "%d", ("no number",), None))
    log.error("after")
    assert logs.flush_within(10)
    assert sink.texts == ["after"]
    assert logs.lost["sink"] == 1


def test_secrets_and_control_characters_leave_text_fields_and_tracebacks(
    kept: tuple[Kept, Logs, logging.Logger],
) -> None:
    sink, logs, log = kept
    try:
        raise ValueError("key hunter2! was refused")
    except ValueError:
        log.exception("bad \x1b[31mhunter2!\r", extra={"fields": {"NOTE": "hunter2!", "EVENT": "x"}})
    assert logs.flush_within(10)
    [line] = sink.lines
    assert "hunter2!" not in line.text + line.fields["NOTE"]
    assert "\x1b" not in line.text
    assert "\r" not in line.text
    assert "ValueError: key [hidden] was refused" in line.text


def test_the_shapes_of_a_line() -> None:
    line = Line(logging.WARNING, "avwapd.router", 1_700_000_000.5, "two\nlines", {"EVENT": "doubt", "SYMBOL": "AAPL"})
    assert stamped(line) == "2023-11-14T22:13:20Z WARNING two\nlines"
    told = json.loads(as_json(line))
    assert told == {
        "level": "warning",
        "from": "avwapd.router",
        "message": "two\nlines",
        "logged_ms": 1_700_000_000_500,
        "event": "doubt",
        "symbol": "AAPL",
    }


# ------------------------------------------------------------------------------------------------- whole daemons


def started(state: Path, redirect: str, **streams: Any) -> subprocess.Popen[bytes]:
    """The demo daemon under a shell's redirections, two market hours a second."""
    state.mkdir()
    cache = os.environ.get("AVWAPD_CACHE_DIR", "")
    known = {"AVWAPD_CACHE_DIR": cache} if cache else {"HOME": os.environ.get("HOME", "/")}
    words = [sys.executable, "-m", "avwapd", "run", "--config", str(ROOT / "etc" / "demo.toml"), "--speed", "28800"]
    words += ["--state-dir", str(state)]
    return subprocess.Popen(
        ["sh", "-c", f'exec "$@" {redirect}', "sh", *words], env=clean_environ(state) | known, cwd=ROOT, **streams
    )


def decided(state: Path) -> int:
    try:
        return int(json.loads((state / "heartbeat.json").read_text())["decisions"])
    except (OSError, ValueError):
        return 0


def trades_on(process: subprocess.Popen[bytes], state: Path, *, more: int = 500) -> None:
    """So many decisions more, then an end in order."""
    end = time.monotonic() + LIMIT_S
    begin = 0
    while not begin or decided(state) < begin + more:
        begin = begin or decided(state)
        assert process.poll() is None, f"the daemon ended with {process.returncode}"
        assert time.monotonic() < end, f"no progress: {decided(state)} decisions"
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    conn = open_reader(state / "avwapd.db")
    assert conn.execute("SELECT count(*) FROM decisions").fetchone()[0] >= more
    assert conn.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    conn.close()


@pytest.mark.parametrize(
    "redirect",
    [">/dev/full 2>/dev/full", ">&- 2>&-", "<&- >&- 2>&-", "2>&- >/dev/null"],
    ids=["full disk", "both closed", "all closed", "stderr closed"],
)
def test_no_log_stops_no_trade(tmp_path: Path, redirect: str) -> None:
    state = tmp_path / "state"
    process = started(state, redirect)
    try:
        trades_on(process, state)
    finally:
        process.kill()
        process.wait(10)


def test_a_pipe_that_nobody_reads_stops_no_trade(tmp_path: Path) -> None:
    state = tmp_path / "state"
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    while True:  # full before the daemon's first line
        try:
            os.write(writing, b"x" * 65_536)
        except BlockingIOError:
            break
    os.set_blocking(writing, True)
    process = started(state, "", stdout=writing, stderr=writing)
    os.close(writing)
    try:
        trades_on(process, state)
    finally:
        process.kill()
        process.wait(10)
        os.close(reading)


def test_a_reader_that_went_away_stops_no_trade(tmp_path: Path) -> None:
    state = tmp_path / "state"
    reading, writing = os.pipe()
    process = started(state, "", stdout=writing, stderr=writing)
    os.close(writing)
    os.close(reading)
    try:
        trades_on(process, state)
    finally:
        process.kill()
        process.wait(10)
