"""It runs from a checkout in any folder, and as an installed wheel with nothing of the checkout around; no network.

The packages it needs are this environment's own, seen by a path file: what is proved is that the wheel carries all
that is avwapd's. The engine runs as plain Python there (equal in bits): compiling it anew for a folder takes minutes
and shows nothing more.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tidy.rules import ROOT, listed

BUILD = ("avwapd", "etc", "contrib", "pyproject.toml", ".gitignore")
SHORT = ("--from", "2025-12-15", "--speed", "max", "--once")  # one session of the demo, and what warms it up
LIMIT_S = 120.0


def clean(folder: Path) -> dict[str, str]:
    """No PYTHONPATH, no settings, no home of anybody, no locale."""
    kept = {name: os.environ[name] for name in ("PATH",) if name in os.environ}
    return kept | {"HOME": str(folder), "LC_ALL": "C", "NUMBA_DISABLE_JIT": "1", "PYTHONWARNINGS": "error",
                   "AVWAPD_RUN__WARMUP_SESSIONS": "3"}  # fmt: skip


def called(*words: object, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, env=clean(cwd) | more, capture_output=True, text=True, encoding="utf-8",
        timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A short path: a control socket's is bounded. With all that paths may have."""
    with tempfile.TemporaryDirectory(prefix="a ") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def checkout(folder: Path) -> Path:
    """What git would bring, in a folder with spaces, quotes and letters beyond ASCII."""
    place = folder / "ünï 'code"
    for name in listed(*BUILD):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, place / name)
    return place


@pytest.fixture(scope="module")
def wheel(checkout: Path, folder: Path) -> Path:
    done = called(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder / "dist", cwd=checkout)
    assert done.returncode == 0, done.stderr
    (built,) = (folder / "dist").glob("avwapd-*.whl")
    return built


@pytest.fixture(scope="module")
def program(wheel: Path, folder: Path) -> Path:
    """avwapd of the wheel, installed without an index in a venv of its own."""
    home = folder / "a venv"
    venv.EnvBuilder(symlinks=True).create(home)
    site = next(home.glob("lib/python3*/site-packages"))
    words = ("-m", "pip", "--python", home / "bin" / "python", "install", "--quiet", "--no-index", "--no-deps", wheel)
    quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_CONFIG_FILE": os.devnull, "PYTHONWARNINGS": "ignore"}
    done = called(sys.executable, *words, cwd=folder, **quiet)
    assert done.returncode == 0, done.stderr
    (site / "beside.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    return home / "bin" / "avwapd"


def runs(words: tuple[object, ...], cwd: Path, etc: Path) -> None:
    """The checks, what it says of itself, a session of the demo and its audit, from another folder."""
    state = ("--state-dir", "s")
    done = called(*words, "--config-check", "--json", *state, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(called(*words, "config", "show", "--json", cwd=cwd).stdout)
    assert found["files"] == [str(etc / "avwapd.toml")]
    done = called(*words, "run", "--config", etc / "demo.toml", *SHORT, *state, cwd=cwd)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "fills" in done.stderr + done.stdout
    assert called(*words, "audit", *state, cwd=cwd).returncode == 0


def test_a_checkout_in_any_folder(checkout: Path, folder: Path) -> None:
    cwd = folder / "elsewhere ß"
    cwd.mkdir()
    code = f"import sys; sys.path.insert(0, {str(checkout)!r}); from avwapd.cli import main; sys.exit(main())"
    words = (sys.executable, "-c", code)
    runs(words, cwd, checkout / "etc")
    found = json.loads(called(*words, "version", "--json", cwd=cwd).stdout)
    assert found["wheel_hash"] is None


def test_a_wheel_with_nothing_around(program: Path, folder: Path) -> None:
    cwd = folder / "wheel"
    cwd.mkdir()
    (site,) = program.parent.parent.glob("lib/python3*/site-packages")
    runs((program,), cwd, site / "avwapd" / "etc")
    found = json.loads(called(program, "version", "--json", cwd=cwd).stdout)
    assert len(found["wheel_hash"]) == 64
    assert called(program, "init", cwd=cwd).returncode == 0
    assert called(program, "--config-check", "--state-dir", "s", cwd=cwd).returncode == 0
    example = called(program, "config", "example", cwd=cwd).stdout
    assert example == (ROOT / ".env.example").read_text(encoding="utf-8")


def test_what_an_install_needs_travels_in_the_wheel(program: Path) -> None:
    (site,) = program.parent.parent.glob("lib/python3*/site-packages")
    for name in listed("contrib/systemd"):
        assert (site / "avwapd" / name).read_bytes() == (ROOT / name).read_bytes()
