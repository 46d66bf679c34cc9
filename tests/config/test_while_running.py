"""A run is of the configuration it began with: an edit changes nothing until the next start, and no file of it is
ever written by the program."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from avwapd.config import config_hash, load
from avwapd.store.reader import open_reader
from avwapd.verbs.client import ask
from tests.tidy.rules import ROOT

LIMIT_S = 240.0


def own_environ(**more: str) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("AVWAPD_", "APCA_"))}
    cache = {name: os.environ[name] for name in ("AVWAPD_CACHE_DIR",) if name in os.environ}
    return {**kept, **cache, "PYTHONPATH": str(ROOT), **more}


def avwapd(*words: object, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "avwapd", *map(str, words)]
    return subprocess.run(
        command, cwd=cwd, env=own_environ(**more), capture_output=True, text=True, timeout=LIMIT_S, check=False
    )


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder with every configuration file there may be."""
    for path in (ROOT / "etc").glob("*.toml"):
        (tmp_path / "etc").mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / "etc")
    (tmp_path / "etc" / "avwapd.local.toml").write_text('[run]\nstrategy = "mine"\n')
    (tmp_path / ".env").write_text("AVWAPD_LOG__LEVEL=info\n")
    return tmp_path


def marks(folder: Path) -> dict[str, Any]:
    """Of each file and folder: what it says, and when it was last touched; ctime tells of any change, undone or not."""
    found: dict[str, Any] = {}
    for path in [folder / ".env", folder / "etc", *sorted((folder / "etc").iterdir())]:
        seen = path.stat()
        content = (
            hashlib.sha256(path.read_bytes()).hexdigest()
            if path.is_file()
            else sorted(one.name for one in path.iterdir())
        )
        found[path.name] = (content, seen.st_ino, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_mode)
    return found


def test_a_whole_run_writes_no_configuration(desk: Path) -> None:
    """The demo from its first bar to its last, then what one asks afterwards; all files read-only meanwhile."""
    for path in sorted((desk / "etc").iterdir()):
        path.chmod(0o444)
    (desk / ".env").chmod(0o444)
    (desk / "etc").chmod(0o555)
    before = marks(desk)
    try:
        config = ("--config", desk / "etc" / "demo.toml")
        done = avwapd("run", *config, "--state-dir", "state", "--speed", "max", "--once", cwd=desk)
        assert done.returncode == 0, done.stderr[-2000:]
        for words in (
            ("--config-check", *config), ("config", "show", "--origin", *config), ("config", "example"), ("audit",),
            ("export", "trades"), ("verify", *config), ("lists", "show"), ("version",),
        ):  # fmt: skip
            done = avwapd(*words, "--state-dir", "state", cwd=desk, AVWAPD_RUN__SPEED="max")
            assert done.returncode in (0, 1, 2), (words, done.stderr[-500:])
            assert "Traceback" not in done.stderr, (words, done.stderr[-2000:])
        assert marks(desk) == before
    finally:
        (desk / "etc").chmod(0o755)
    with closing(open_reader(desk / "state" / "avwapd.db")) as conn:
        assert conn.execute("SELECT count(*) FROM fills").fetchone()[0] > 50, "the run did little: it proves little"


def test_a_touched_file_would_be_seen(desk: Path) -> None:
    before = marks(desk)
    file = desk / "etc" / "demo.toml"
    times = file.stat()
    text = file.read_bytes()
    file.write_bytes(text + b" ")
    file.write_bytes(text)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert marks(desk) != before


def until(log: Path, *seen: str, after: int = 0) -> int:
    """Wait for one of these in the log beyond `after`; the log's length then."""
    end = time.monotonic() + LIMIT_S
    while not any(word in log.read_text()[after:] for word in seen):
        assert time.monotonic() < end, log.read_text()[-2000:]
        time.sleep(0.05)
    return len(log.read_text())


def test_an_edit_while_it_runs_waits_for_the_next_start(desk: Path) -> None:
    """Rules that would stop every entry, and then no TOML at all: the run goes on as it began, under the same hash."""
    file, log = desk / "etc" / "demo.toml", desk / "log.txt"
    begun = config_hash(load(file, environ={}, options={"run.speed": "7200"}))
    command = [sys.executable, "-m", "avwapd", "run", "--config", str(file), "--speed", "7200", "--state-dir", "state"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=desk, env=own_environ(), stdout=out, stderr=out)
    try:
        at = until(log, "OPEN (filled)")
        assert begun[:12] in log.read_text()
        file.write_text('[run]\naccount = "other"\nmarket = "demo"\ntimeframe = "5m"\n[caps]\nmax_positions = 0\n')
        assert config_hash(load(file, environ={})) != begun
        at = until(log, "OPEN (filled)", after=at)
        file.write_text("[caps\nmax_positions = ")
        until(log, "OPEN (filled)", after=at)
        assert isinstance(ask(desk / "state" / "control.sock", "GET", "/v1/status", None, 10), dict)
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 0, log.read_text()[-2000:]
    finally:
        process.kill()
        process.wait(10)
    with closing(open_reader(desk / "state" / "avwapd.db")) as conn:
        assert conn.execute("SELECT config_hash FROM runs").fetchall() == [(begun,)]
    refused = avwapd("run", "--config", file, "--state-dir", "state", cwd=desk)
    assert (refused.returncode, "is not TOML" in refused.stderr) == (78, True)
    file.write_text('[run]\naccount = "other"\nmarket = "demo"\ntimeframe = "5m"\n')
    refused = avwapd("run", "--config", file, "--state-dir", "state", cwd=desk)
    assert (refused.returncode, "run.account" in refused.stderr) == (78, True)


# ---------------------------------------------------------- fat fingers


FAT = [  # (section, line, what the refusal says)
    ("size", "risk_fraction = 10.0", "size.risk_fraction = 10.0 must be a number from 0 to 1"),
    ("size", "risk_fraction = -0.01", "size.risk_fraction = -0.01 must be a number"),
    ("size", "max_position_fraction = 100.0", "must be a number from 0 to 2 (fraction of equity)"),
    ("size", "min_position = -1_000.0", "size.min_position"),
    ("caps", "max_positions = -10", "caps.max_positions = -10 must be a whole number"),
    ("caps", "max_gross_fraction = 1000.0", "must be a number from 0 to 2"),
    ("caps", "max_entries_day = 10_000_000", "must be a whole number from 0 to 10000"),
    ("caps", "max_positons = 10", "caps.max_positons is no setting; the nearest is caps.max_positions"),
    ("cap", "max_positions = 10", "[cap] is no section; the nearest is caps"),
    ("caps", "drawdown_block_fraction = 20", "must be a number from 0 to 1"),
    ("live", "max_gross_notional = -5_000.0", "live.max_gross_notional"),
    ("live", "max_positions = 5.5", "must be a whole number"),
    ("stop", "percent_stop_factor = 985.0", "must be a number from 0.5 to 1"),
    ("order", "limit_offset_bps = 10_000.0", "must be a number from 0 to 1000 (basis points)"),
    ("equity.start", "USD = 1e17", "must be a number from 1e-06 to 1e+12"),
    ("equity.start", "USD = -100_000.0", "has a bad entry: USD = -100000.0 must be"),
    ("gates", "open_delay_min = nan", "must be a number"),
    ("gates", "cooldown_min = inf", "must be a number"),
]


@pytest.mark.parametrize(("section", "line", "what"), FAT, ids=lambda word: str(word)[:30])
def test_a_fat_finger_is_refused_before_anything_begins(
    section: str,
    line: str,
    what: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from avwapd import cli

    for name in [name for name in os.environ if name.startswith("AVWAPD_")]:
        monkeypatch.delenv(name)
    file = tmp_path / "given.toml"
    file.write_text(f'[run]\nmarket = "demo"\ntimeframe = "5m"\n[{section}]\n{line}\n')
    assert cli.main(["run", "--config", str(file), "--state-dir", str(tmp_path / "state")]) == 78
    assert what in capsys.readouterr().err
    assert not (tmp_path / "state").exists()


def test_what_no_configuration_can_raise(tmp_path: Path) -> None:
    """Every cap as far up as it goes: the engine still has ceilings of its own for order, gross and entries."""
    from avwapd.config.sections import CEILING_ENTRIES_DAY, CEILING_GROSS_FRACTION, CEILING_ORDER_NOTIONAL
    from avwapd.settings import params

    most = {"caps.max_symbol_notional": "1e12", "caps.max_gross_notional": "1e12", "caps.max_gross_fraction": "2",
            "caps.max_entries_day": "10000", "equity.start.USD": "1e12", "size.max_position_fraction": "2"}  # fmt: skip
    options = {key: text for key, text in most.items() if key.count(".") == 1}
    environ = {"AVWAPD_EQUITY__START__USD": "1e12"}
    config = load(folder=tmp_path, environ=environ, options=options)
    found = params(config, currency="USD", timeframe_ms=60_000, bell=True, unattended=True)[0]
    assert found["ceiling_notional"] == CEILING_ORDER_NOTIONAL["USD"]
    assert found["ceiling_gross_fraction"] == CEILING_GROSS_FRACTION
    assert found["ceiling_entries_day"] == CEILING_ENTRIES_DAY
