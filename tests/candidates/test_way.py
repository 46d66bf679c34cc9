"""The watchlist's way: `avwapd scan` leaves it, the daemon takes it, the ledger keeps it, a kill does not lose it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from avwapd.compiled import cache_folder
from avwapd.store.watchlist import version_of
from tests.candidates import market
from tests.candidates.files import avwapd, listed
from tests.candidates.market import Place, iso
from tests.cli.process import clean_environ

WAIT_S = 25.0
PACE, FASTER = "7200", "18000"  # an hourly bar in half a second, in a fifth of one

Capture = pytest.CaptureFixture[str]


class Desk:
    """A state folder whose days end at `day`, the scan's command line and the daemon beside it."""

    def __init__(self, folder: Path, day: int, capsys: Capture) -> None:
        self.state = market.furnish(folder / "state", market.fill(folder / "archive", days_until=day))
        self.folder, self.day, self.capsys = folder, day, capsys
        self.later = [date for date in market.dates() if date > day]
        self.runtime = Path(tempfile.mkdtemp(prefix="avwapd-"))  # a socket's path has to be short
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, verb: str, *words: object) -> tuple[int, str, str]:
        self.capsys.readouterr()
        code = avwapd(self.state, verb, *words)
        seen = self.capsys.readouterr()
        return code, seen.out, seen.err

    def scan(self) -> Any:
        """The newest scan; the watchlist it left."""
        code, _, err = self.command("scan", "--json")
        assert code == 0, err
        return json.loads((self.state / "watchlist.json").read_bytes())

    def run_words(self, speed: str) -> list[str]:
        window = ("--from", iso(self.later[0]), "--to", iso(self.later[1]))
        words = ("--config", self.state / "avwapd.toml", "--replay", "--exchange", "us", "--timeframe", "1h", *window)
        return [*map(str, ("--state-dir", self.state, "run", *words, "--speed", speed))]

    def spawn(self, speed: str, *words: str) -> subprocess.Popen[bytes]:
        cache = os.environ.get("AVWAPD_CACHE_DIR") or str(cache_folder().parent.parent)
        environ = clean_environ(self.folder) | {"AVWAPD_CACHE_DIR": cache, "RUNTIME_DIRECTORY": str(self.runtime)}
        with (self.folder / "daemon.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "avwapd", *self.run_words(speed), *words],
                env=environ,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self.process

    @property
    def log(self) -> str:
        return (self.folder / "daemon.log").read_text()

    def ctl(self, act: str) -> tuple[int, Any]:
        """(exit code, the answer or the error's lines)."""
        code, out, err = self.command("ctl", act, "--json")
        return code, json.loads(out) if code == 0 else err.splitlines()

    def until(self, wanted: Callable[[Any], bool]) -> Any:
        """The list in the daemon's status, once it is as wanted."""
        end, seen = time.monotonic() + WAIT_S, None
        while time.monotonic() < end:
            assert self.process is not None
            assert self.process.poll() is None, self.log
            code, answer = self.ctl("status")
            if code == 0:
                seen = answer
                if answer["watchlist"] is not None and wanted(answer):
                    return answer["watchlist"]
            time.sleep(0.02)
        raise AssertionError(f"not within {WAIT_S:g} s: {seen}\n{self.log}")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)

    def asked(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{self.state / 'avwapd.db'}?mode=ro", uri=True)) as conn:
            return conn.execute(sql).fetchall()

    def proved(self) -> str:
        """What verify says where it and the audit find nothing."""
        run = self.run_words("max")
        window = {"AVWAPD_RUN__MARKET": "archive", "AVWAPD_RUN__EXCHANGE": "us", "AVWAPD_RUN__TIMEFRAME": "1h"}
        window |= {"AVWAPD_RUN__WINDOW_FROM": run[run.index("--from") + 1]}
        window |= {"AVWAPD_RUN__WINDOW_TO": run[run.index("--to") + 1]}
        with pytest.MonkeyPatch.context() as patch:
            for name, value in window.items():
                patch.setenv(name, value)
            code, out, err = self.command("verify")
            assert (code, "Result: PASS" in out) == (0, True), out + err
            code, said, err = self.command("audit")
            assert code == 0, said + err
        return out


@pytest.fixture
def desk(place: Place, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """On the last evening after which two sessions follow, each but the last with candidates of its own."""
    scanned = {day for _, day in listed(place.candidates)}
    dates = market.dates()
    day = next(d for d, e in reversed([*pairwise(dates[:-1])]) if {d, e} <= scanned)
    found = Desk(tmp_path, day, capsys)
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(found.runtime))
    try:
        yield found
    finally:
        found.kill()
        shutil.rmtree(found.runtime)


LISTS = "SELECT DISTINCT seq, scan_date, version FROM watchlist ORDER BY seq"
ROWS = (
    "SELECT rank, symbol, side, tier, execute, level, stop, r1, r2, anchor, anchor_date "
    "FROM watchlist WHERE scan_date = {} ORDER BY rank"
)
ANCHORS = "SELECT symbol, kind, anchor_date, known_date, CAST(rule_version AS TEXT) FROM scan_anchors"


def rows_of(found: Any) -> list[tuple[Any, ...]]:
    """The list's rows as the ledger has them."""
    names = ("level", "stop", "r1", "r2", "anchor", "anchor_date")
    sides = {1: "long", -1: "short"}
    return [
        (row["rank"], row["symbol"], sides[row["side"]], row["tier"], row["execute"], *(row[name] for name in names))
        for row in found["rows"]
    ]


def anchors_of(found: Any) -> set[tuple[Any, ...]]:
    names = ("symbol", "kind", "anchor_date", "known_date")
    return {(*(row[name] for name in names), str(row["rule_version"])) for row in found["anchors"]}


def test_a_run_takes_the_scans_list_at_its_start(desk: Desk, place: Place) -> None:
    found = desk.scan()
    assert found["scan_date"] == desk.day
    assert found["version"] == version_of(desk.day, found["rows"], found["anchors"])
    wanted = {symbol: row for (symbol, day), row in listed(place.candidates).items() if day == desk.day}
    assert {row["symbol"]: row["level"] for row in found["rows"]} == {
        symbol: row["entry_level"] for symbol, row in wanted.items()
    }
    assert desk.spawn("max", "--once").wait(WAIT_S) == 0, desk.log
    assert f"watchlist of {desk.day}: {len(found['rows'])} rows, fresh" in desk.log
    assert [row[1:] for row in desk.asked(LISTS)] == [(desk.day, found["version"])]
    assert desk.asked(ROWS.format(desk.day)) == rows_of(found)
    assert set(desk.asked(ANCHORS)) == anchors_of(found)
    levels = {row["level"] for row in found["rows"]}
    seen = {level for (level,) in desk.asked("SELECT DISTINCT level FROM decisions WHERE level IS NOT NULL")}
    assert levels <= seen
    assert "taken from the record: 1 watchlist version" in desk.proved()
    # The same state once more: nothing new, and the list is not taken twice.
    assert desk.spawn("max", "--once").wait(WAIT_S) == 0, desk.log
    assert len(desk.asked(LISTS)) == 1


def test_reload_kill_and_restart(desk: Desk) -> None:
    first = desk.scan()
    path = desk.state / "watchlist.json"
    desk.spawn(PACE)
    facts = desk.until(lambda answer: True)
    assert (facts["scan_date"], facts["version"], facts["rows"]) == (desk.day, first["version"], len(first["rows"]))
    assert (facts["fresh"], facts["state"]) == (True, "fresh")
    code, answer = desk.ctl("reload")
    assert (code, answer["changed"], answer["version"]) == (0, False, first["version"])

    market.fill_days((desk.state / "archive").resolve(), desk.later[0], desk.later[0])
    second = desk.scan()
    assert (second["scan_date"], second["version"] == first["version"]) == (desk.later[0], False)
    code, answer = desk.ctl("reload")
    assert (code, answer["changed"], answer["scan_date"]) == (0, True, desk.later[0])
    assert answer["rows"] == len(second["rows"])

    content = path.read_text()
    changed = json.loads(content)
    changed["rows"][0]["level"] += 0.01
    for text, what in (
        (content[:-40], "it is no JSON"),
        (json.dumps(changed), "its version is not the hash of its content"),
        (json.dumps(first), f"the watchlist is of {desk.day}, older than the one in force"),
    ):
        path.write_text(text)
        code, lines = desk.ctl("reload")
        assert (code, len(lines)) == (1, 3), lines
        assert what in lines[0]
        assert "avwapd ctl reload" in lines[2]
        assert desk.until(lambda answer: True)["version"] == second["version"]

    assert desk.process is not None
    desk.process.send_signal(signal.SIGKILL)
    assert desk.process.wait(10) == -signal.SIGKILL
    # What lies there is the older list: the one that the ledger has stays in force, and becomes fresh in its time.
    desk.spawn(FASTER)
    facts = desk.until(lambda answer: bool(answer["watchlist"]["fresh"]))
    assert (facts["scan_date"], facts["version"]) == (desk.later[0], second["version"])
    facts = desk.until(lambda answer: answer["bars_left"] == 0 and not answer["watchlist"]["fresh"])
    assert facts["state"] == f"stale, wanted is that of {desk.later[1]}"
    assert f"older than the one in force, of {desk.later[0]}" in desk.log
    assert desk.ctl("stop")[0] == 0
    assert desk.process.wait(WAIT_S) == 0, desk.log
    assert [row[1:] for row in desk.asked(LISTS)] == [(desk.day, first["version"]), (desk.later[0], second["version"])]
    assert desk.asked(ROWS.format(desk.later[0])) == rows_of(second)
    assert set(desk.asked(ANCHORS)) == anchors_of(first) | anchors_of(second)
    standing = set(desk.asked(ANCHORS + " WHERE superseded_by IS NULL"))
    assert anchors_of(second) <= standing
    assert "taken from the record: 2 watchlist versions" in desk.proved()


def test_an_older_scan_leaves_the_newer_list(desk: Desk) -> None:
    desk.scan()
    live = (desk.state / "watchlist.json").read_bytes()
    before = market.dates()[market.dates().index(desk.day) - 1]
    code, out, _ = desk.command("scan", "--as-of", iso(before), "--json")
    facts = json.loads(out)
    assert (code, facts["scan_date"], facts["watchlist"]) == (0, iso(before), None)
    assert (desk.state / "watchlist.json").read_bytes() == live
    # An archive that lost its last day: its newest scan is older than the list there.
    own = desk.folder / "shorter"
    market.fill(own, days_until=before)
    (desk.state / "archive").unlink()
    (desk.state / "archive").symlink_to(own)
    code, out, _ = desk.command("scan", "--json")
    facts = json.loads(out)
    assert (code, facts["scan_date"], facts["watchlist"]) == (0, iso(before), None)
    assert facts["watchlist_kept"] == f"the one there is of {iso(desk.day)}, newer than this scan"
    assert (desk.state / "watchlist.json").read_bytes() == live
