"""`avwapd check` in all its modes, with a daemon that runs and without one."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from avwapd import cli
from avwapd.feeds.calendar import BELL, all_sessions
from avwapd.ports import SystemClock
from avwapd.store.watchlist import Watchlist, version_of
from avwapd.verbs import check_host, check_watchlist
from tests.daemon.test_starts import LIMIT_S, Demo
from tests.health.desk import DEMO

Checked = tuple[int, dict[str, Any]]
Check = Callable[..., Checked]


@pytest.fixture
def checked(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Check:
    """The exit code, and each finding by its name."""

    def call(mode: str, *words: str, state: Path | None = None, **environ: str) -> Checked:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        given = ["--config", str(DEMO), "--state-dir", str(state or tmp_path / "state"), *words]
        capsys.readouterr()
        code = cli.main(["check", "--mode", mode, "--json", *given])
        facts = json.loads(capsys.readouterr().out)
        assert (facts["mode"], facts["total"]) == (mode, len(facts["checks"]))
        assert facts["passed"] == sum(found["verdict"] != "fail" for found in facts["checks"])
        return code, {found["name"]: found for found in facts["checks"]}

    return call


# ------------------------------------------------------------------------------------------------------ health


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Demo, subprocess.Popen[bytes]]]:
    demo = Demo(tmp_path_factory.mktemp("running") / "state")
    process = demo.start(AVWAPD_HEALTH__CLEAN_BARS="40", AVWAPD_HEARTBEAT__INTERVAL_MS="100")
    try:
        demo.until("ready")
        yield demo, process
    finally:
        process.kill()
        process.wait(10)


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_drill_turns_the_health_red_then_yellow_then_green(
    running: tuple[Demo, subprocess.Popen[bytes]], checked: Check
) -> None:
    demo, _ = running

    def cadence() -> tuple[int, str]:
        code, found = checked("health", state=demo.state)
        return code, found["cadence"]["verdict"]

    until(lambda: cadence() == (0, "ok"))
    demo.post("/v1/drill", {"fault": "fetch", "times": 100})
    until(lambda: cadence() == (1, "fail"))
    demo.post("/v1/drill", {"fault": "fetch", "times": 0})
    until(lambda: cadence() == (2, "warn"))
    until(lambda: cadence() == (0, "ok"))
    demo.post("/v1/drill", {"fault": "persist", "times": 100})
    until(lambda: cadence()[1] == "fail")
    code, _ = checked("health", "--strict", state=demo.state)
    assert code == 1
    until(lambda: cadence() == (0, "ok"))


def test_the_heartbeat_file_says_what_an_operator_needs(running: tuple[Demo, subprocess.Popen[bytes]]) -> None:
    demo, process = running
    beat = json.loads((demo.state / "heartbeat.json").read_bytes())
    assert (beat["pid"], beat["mode"], beat["epoch"]) == (process.pid, "sim", 1)
    assert beat["database"]["path"] == str(demo.state / "avwapd.db")
    assert all(beat["database"][name] > 0 for name in ("bytes", "mtime_ms", "wal_bytes", "disk_free_bytes"))
    assert set(beat["queues"]) == {"symbols", "writer", "router"}
    assert all(name in beat for name in ("run", "version", "lag_ms", "last_ts_ms", "gates_closed", "pulse"))
    assert abs(SystemClock().monotonic() - beat["monotonic_s"]) < LIMIT_S
    until(lambda: json.loads((demo.state / "heartbeat.json").read_bytes())["beat"] > beat["beat"])


def test_without_a_daemon_it_is_69(checked: Check, tmp_path: Path) -> None:
    code, found = checked("health")
    assert (code, found["process"]["verdict"]) == (69, "fail")
    assert found["process"]["next_step"]
    assert list(tmp_path.iterdir()) == []


# --------------------------------------------------------------------------------------------------- execution


def test_execution_in_the_simulated_mode(checked: Check) -> None:
    code, found = checked("execution")
    assert code == 0
    assert {name: row["verdict"] for name, row in found.items()} == dict.fromkeys(
        ("mode", "kill switch", "database", "arming", "limits", "gates"), "ok"
    )


@pytest.mark.parametrize("how", ["file", "variable"])
def test_a_closed_kill_switch_is_told(checked: Check, tmp_path: Path, how: str) -> None:
    (tmp_path / "state").mkdir()
    if how == "file":
        (tmp_path / "state" / "KILL_SWITCH").touch()
    code, found = checked("execution", **({"AVWAPD_KILL_SWITCH": "1"} if how == "variable" else {}))
    assert (code, found["kill switch"]["verdict"]) == (1, "fail")


def test_limits_that_let_nothing_through_are_told(checked: Check) -> None:
    code, found = checked("execution", AVWAPD_CAPS__MAX_POSITIONS="0")
    assert (code, found["limits"]["verdict"]) == (1, "fail")
    assert "positions" in found["limits"]["what"]


# --------------------------------------------------------------------------------------------------- watchlist


def listed(state: Path, scan_date: int) -> None:
    """A list without rows, whole and of that date."""
    found = Watchlist(scan_date, version_of(scan_date, (), ()), "1", "", "", (), ())
    state.mkdir(exist_ok=True)
    (state / "watchlist.json").write_text(found.body)


def test_no_list_is_well_unless_one_is_required(checked: Check) -> None:
    assert checked("watchlist")[0] == 0
    code, found = checked("watchlist", AVWAPD_WATCHLIST__REQUIRED="true")
    assert (code, found["watchlist"]["verdict"]) == (1, "fail")


def test_a_list_of_another_session_is_stale_and_one_that_is_damaged_is_told(checked: Check, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "watchlist.json").write_text("{")
    assert checked("watchlist")[1]["watchlist"]["verdict"] == "fail"
    listed(state, 20200102)
    code, found = checked("watchlist")
    assert (code, found["watchlist"]["verdict"]) == (1, "fail")
    assert "2020-01-02" in found["watchlist"]["what"]
    wanted = check_watchlist.date_wanted(SystemClock().now_ms(), daily=False)
    listed(state, wanted)
    code, found = checked("watchlist")
    assert (found["watchlist"]["verdict"], found["rows"]["verdict"], code) == ("ok", "warn", 2)


@pytest.mark.parametrize(
    ("now", "wanted"),
    [
        ("2026-11-25T13:40", 20261124),  # 08:40 in New York, Wednesday: the list of Tuesday's close
        ("2026-11-25T20:59", 20261124),
        ("2026-11-25T21:01", 20261125),  # after the close: tonight's scan is due
        ("2026-11-26T15:00", 20261125),  # a holiday
        ("2026-11-27T17:59", 20261125),  # a half day, before its close at 13:00
        ("2026-11-27T18:01", 20261127),
        ("2026-11-29T12:00", 20261127),  # Sunday
    ],
)
def test_fresh_is_by_new_yorks_sessions(now: str, wanted: int) -> None:
    ts_ms = int(datetime.fromisoformat(now).replace(tzinfo=UTC).timestamp() * 1000)
    assert check_watchlist.date_wanted(ts_ms, daily=False) == wanted
    table = all_sessions(BELL)
    assert wanted in table["date"]


# ------------------------------------------------------------------------------------------ scan, backtest, host


def test_a_scan_that_was_never_used_is_a_warning_and_one_without_data_a_failure(checked: Check) -> None:
    code, found = checked("scan")
    assert (code, list(found)) == (2, ["scan"])
    code, found = checked("scan", AVWAPD_WATCHLIST__REQUIRED="true")
    assert (code, found["daily bars"]["verdict"], found["universe"]["verdict"]) == (1, "fail", "fail")


def test_a_backtest_twice_is_the_same(checked: Check, tmp_path: Path) -> None:
    code, found = checked("backtest")
    assert code == 0
    assert found["repeated"]["what"] == "4 files, equal in bytes"
    assert not (tmp_path / "state").exists()


def test_the_host_says_in_words_what_is_missing(
    checked: Check, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(check_host, "MANAGER", tmp_path / "no such folder")
    code, found = checked("host")
    assert (found["systemd"]["verdict"], found["files"]["verdict"]) == ("warn", "ok")
    assert code in (1, 2)


def test_units_and_timers_as_systemd_tells_them(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {
        "avwapd.service": "LoadState=loaded\nUnitFileState=enabled\nActiveState=active\nSubState=running\n",
        "avwapd-scan.timer": "LoadState=loaded\nActiveState=active\nNextElapseUSecRealtime=Mon 08:30\n",
        "avwapd-scan.service": "Result=exit-code\nExecMainStatus=1\n",
        "avwapd-backup.timer": "LoadState=loaded\nActiveState=inactive\n",
        "gone.timer": "LoadState=not-found\n",
    }

    def ask(words: tuple[str, ...], **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(words, 0, said.get(words[2], ""), "")

    monkeypatch.setattr(check_host.subprocess, "run", ask)
    assert check_host.of_unit().verdict == "ok"
    scan = check_host.of_timer("avwapd-scan")
    assert (scan.verdict, "Mon 08:30" in scan.what, "exit-code 1" in scan.what) == ("warn", True, True)
    assert "inactive" in check_host.of_timer("avwapd-backup").what
    assert check_host.of_timer("gone").verdict == "warn"
    said["avwapd.service"] = "LoadState=loaded\nActiveState=failed\nResult=watchdog\n"
    assert check_host.of_unit().verdict == "fail"


def test_a_file_that_is_not_the_wheels_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Wheel:
        version = "1"

        def read_text(self, name: str) -> str | None:
            digest = "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"  # of nothing
            return f"a.py,{digest},0\nb.py,{digest},0\nRECORD,,\n" if name == "RECORD" else None

        def locate_file(self, name: str) -> Path:
            return tmp_path / name

    monkeypatch.setattr(check_host, "distribution", lambda name: Wheel())
    (tmp_path / "a.py").touch()
    (tmp_path / "b.py").touch()
    assert check_host.of_files().verdict == "ok"
    (tmp_path / "b.py").write_text("edited")
    found = check_host.of_files()
    assert (found.verdict, "b.py" in found.what, "a.py" in found.what) == ("fail", True, False)
    (tmp_path / "b.py").unlink()
    assert check_host.of_files().verdict == "fail"


# --------------------------------------------------------------------------------------------------------- all


@pytest.mark.slow
def test_all_is_every_mode_but_the_venue(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avwapd.research.proof.PROOFS", ())
    given = ["--config", str(DEMO), "--state-dir", str(tmp_path / "state")]
    code = cli.main(["check", "--mode", "all", "--json", *given])
    facts = json.loads(capsys.readouterr().out)
    assert {row["mode"] for row in facts["checks"]} == {
        *("config", "execution", "watchlist", "scan", "host", "health", "backtest", "self")
    }
    assert code == (1 if any(row["verdict"] == "fail" for row in facts["checks"]) else 2)
    cli.main(["check", "--mode", "all", *given])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"{facts['passed']} of {facts['total']}"
    assert "-- health" in lines
    assert list(tmp_path.iterdir()) == []


def test_all_with_a_broken_configuration_is_78_and_the_rest_is_still_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVWAPD_RUN__NOPE", "1")
    code = cli.main(["check", "--mode", "all", "--json", "--config", str(DEMO), "--state-dir", str(tmp_path / "state")])
    facts = json.loads(capsys.readouterr().out)
    assert (code, facts["config_hash"]) == (78, None)
    modes = {row["mode"]: row["verdict"] for row in facts["checks"]}
    assert (modes["health"], modes["backtest"]) == ("warn", "fail")
