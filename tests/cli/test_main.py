"""The command line as a script sees it: exit codes, short lines on stderr, options on either side."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from avwapd import cli
from avwapd.config import ConfigError
from tests.cli.process import avwapd, clean_environ

HEAVY = {
    "aiohttp",
    "aiosqlite",
    "anyio",
    "asyncio",
    "ccxt",
    "exchange_calendars",
    "numba",
    "numpy",
    "pandas",
    "pyarrow",
}


def test_help_lists_the_verbs_and_an_example(tmp_path: Path) -> None:
    done = avwapd("--help", folder=tmp_path)
    assert done.returncode == 0
    for verb in cli.present():
        assert f"\n  {verb}" in done.stdout
    assert "example" in done.stdout


@pytest.mark.parametrize("verb", ["init", "ctl", "check", "version"])
def test_a_verbs_help_has_an_example(tmp_path: Path, verb: str) -> None:
    done = avwapd(verb, "--help", folder=tmp_path)
    assert done.returncode == 0
    assert f"avwapd {verb}" in done.stdout.partition("example")[2]


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ((), "name a verb"),
        (("chek",), "'chek' is no verb; the nearest is check"),
        (("--nope", "version"), "unrecognized arguments: --nope"),
        (("version", "--nope"), "unrecognized arguments: --nope"),
        (("version", "extra"), "unrecognized arguments: extra"),
        (("check", "--mode", "nope"), "invalid choice: 'nope'"),
        (("check", "--mode", "nothing"), "invalid choice: 'nothing'"),
        (("ctl",), "required: VERB"),
        (("ctl", "nope"), "invalid choice: 'nope'"),
        (("ctl", "why", "AAPL", "soon"), "TS must be ts_ms"),
        (("ctl", "status", "--limit-s", "0"), "argument --limit-s: must be a number"),
        (("ctl", "status", "--limit-s", "nan"), "argument --limit-s: must be a number"),
        (("--config",), "expected one argument"),
    ],
)
def test_a_usage_error_is_64_and_names_the_next_step(tmp_path: Path, words: tuple[str, ...], what: str) -> None:
    done = avwapd(*words, folder=tmp_path)
    assert done.returncode == 64
    assert done.stdout == ""
    assert what in done.stderr
    assert "\n  next: avwapd" in done.stderr
    assert len(done.stderr.splitlines()) == 2


def test_the_help_of_check_offers_what_there_is(tmp_path: Path) -> None:
    told = avwapd("check", "--help", folder=tmp_path).stdout
    offered = re.search(r"--mode \{([a-z,]+)\}", told)
    assert offered is not None
    wanted = {"all", "config", "execution", "scan", "backtest", "watchlist", "health", "self", "host", "venue"}
    assert set(offered[1].split(",")) == wanted


def test_no_place_for_compiled_code_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def numba_says(argv: list[str]) -> int:
        raise RuntimeError("cannot cache function 'run': no locator available for file 'engine.py'")

    monkeypatch.setattr(cli, "dispatch", numba_says)
    assert cli.main([]) == 78
    assert "next: set AVWAPD_CACHE_DIR" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("--json", "version"), ("version", "--json"), ("--version", "--json")])
def test_common_options_stand_on_either_side(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = avwapd(*words, folder=tmp_path)
    assert set(json.loads(done.stdout)) >= {
        "version",
        "code_hash",
        "lock_hash",
        "schema_version",
        "rules_version",
    }


@pytest.mark.parametrize("before", [True, False])
def test_values_of_common_options_stand_on_either_side(tmp_path: Path, before: bool) -> None:
    (tmp_path / "mine.toml").write_text("[run]\nmode = 'live'")
    options = ("--config", "mine.toml", "--state-dir", "elsewhere", "--json")
    words = (*options, "check") if before else ("check", *options)
    done = avwapd(*words, folder=tmp_path)
    assert done.returncode == 78
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert "must name a venue" in checks["configuration"]["what"]
    assert "elsewhere" in checks["state folder"]["what"]


def test_the_later_value_wins(tmp_path: Path) -> None:
    done = avwapd("--state-dir", "one", "check", "--state-dir=two", folder=tmp_path)
    assert "/two," in done.stdout
    assert "/one," not in done.stdout


def test_a_known_error_is_three_lines_and_its_own_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.tell(ConfigError("what", "where", "step")) == 78
    assert capsys.readouterr().err == "avwapd: what\n  where: where\n  next: step\n"


def test_an_unknown_error_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(argv: list[str]) -> int:
        raise LookupError(argv)

    monkeypatch.setattr(cli, "dispatch", fail)
    with pytest.raises(LookupError):
        cli.main(["version"])


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    code = "import sys; from avwapd import cli; sys.exit(cli.main(['version']))"
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environ(tmp_path),
    )
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.close()
    said = child.stderr.read()
    child.stderr.close()
    assert (child.wait(10), said) == (141, b"")


def test_ctrl_c_is_130(tmp_path: Path) -> None:
    code = (
        "import sys, time; from avwapd import cli\n"
        "def wait(argv): print('here', flush=True); time.sleep(30)\n"
        "cli.dispatch = wait; sys.exit(cli.main([]))"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environ(tmp_path),
    )
    assert child.stdout is not None
    child.stdout.readline()
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=10)
    assert (child.returncode, said) == (130, b"")


def loaded_after(words: list[str], folder: Path) -> set[str]:
    code = f"import sys; from avwapd import cli; cli.main({words!r}); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=clean_environ(folder),
        cwd=folder,
    )
    return set(done.stderr.split())


@pytest.mark.parametrize("words", [["--config-check"], ["ctl", "status"], ["--help"], ["init", "x"]])
def test_nothing_heavy_is_loaded(tmp_path: Path, words: list[str]) -> None:
    loaded = loaded_after(words, tmp_path)
    assert "avwapd.cli" in loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize("words", [["--config-check"], ["ctl", "status"]])
def test_an_answer_within_a_blink(tmp_path: Path, words: list[str]) -> None:
    def took() -> float:
        """Processor time: what a busy machine adds to the wall's is not ours."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        avwapd(*words, folder=tmp_path)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(took() for _ in range(3)) < 0.3


def test_only_present_verbs_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cli.VERBS, "absent", "not there")
    assert "absent" not in cli.present()
    assert "check" in cli.present()


def test_a_closed_stdout_descriptor_is_survived(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as out:
        code = "import sys; from avwapd import cli; sys.exit(cli.main(['--help']))"
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdout=out,
            stderr=subprocess.PIPE,
            check=False,
            env=clean_environ(tmp_path),
        )
    assert (done.returncode, done.stderr) == (141, b"")
