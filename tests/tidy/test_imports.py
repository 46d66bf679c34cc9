"""Rooms import downwards only, and the command line answers before anything heavy is loaded."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tidy.rules import ROOT

HEAVY = ("aiohttp", "alpaca", "ccxt", "exchange_calendars", "numba", "numpy", "pandas", "pyarrow")


def loaded_by(module: str, heavy: tuple[str, ...], path: Path) -> set[str]:
    """Which of `heavy` a fresh process has loaded after importing `module` from `path`."""
    code = f"import sys; sys.path.insert(0, {str(path)!r}); import {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True, cwd=path)
    return set(heavy) & set(done.stdout.split())


def test_the_command_line_loads_nothing_heavy() -> None:
    assert loaded_by("avwapd.cli", HEAVY, ROOT) == set()


def test_the_daemon_loads_no_pandas() -> None:
    """The import contracts see our own files; this sees what a library brings along as well."""
    assert importlib.util.find_spec("avwapd.daemon"), "there is no daemon"
    assert loaded_by("avwapd.daemon", ("pandas", "pyarrow"), ROOT) == set()


def test_a_heavy_import_is_seen_through_another_module(tmp_path: Path) -> None:
    (tmp_path / "front.py").write_text("import behind")
    (tmp_path / "behind.py").write_text("import numba")
    (tmp_path / "numba.py").write_text("")
    assert loaded_by("front", HEAVY, tmp_path) == {"numba"}


# ------------------------------------------------------------------ floors

ROOMS = ("actors", "cli", "config", "core", "daemon", "feeds", "ports", "research", "scan", "store", "venues")


def kept(house: Path) -> bool:
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"]
    done = subprocess.run(command, cwd=house, capture_output=True, text=True, check=False)
    assert "Contracts:" in done.stdout, done.stdout + done.stderr
    return done.returncode == 0


@pytest.fixture
def model_house(tmp_path: Path) -> Path:
    """Our contracts over a package with every room and almost nothing in it."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for room in ("", *ROOMS):
        (tmp_path / "avwapd" / room).mkdir()
        (tmp_path / "avwapd" / room / "__init__.py").touch()
    (tmp_path / "avwapd/compiled.py").write_text("import os")
    (tmp_path / "avwapd/core/step.py").write_text("from avwapd.compiled import compiled")
    (tmp_path / "avwapd/venues/book.py").touch()
    (tmp_path / "avwapd/store/archive.py").write_text("def f():\n    import pyarrow")
    return tmp_path


def test_this_house_keeps_its_floors() -> None:
    assert kept(ROOT)


def test_a_model_house_keeps_its_floors(model_house: Path) -> None:
    assert kept(model_house)


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("core", "import time"),
        ("core", "def f():\n    from datetime import datetime"),
        ("core", "from avwapd import ports"),
        ("core", "import avwapd.config"),
        ("core", "import socket, avwapd.compiled"),
        ("store", "from avwapd.venues import book"),
        ("venues", "import avwapd.actors"),
        ("actors", "from avwapd import daemon"),
        ("daemon", "from avwapd import cli"),
        ("feeds", "import pandas"),
        ("actors", "import avwapd.store\nimport avwapd.store.archive"),
    ],
)
def test_a_crooked_import_breaks_a_contract(model_house: Path, room: str, line: str) -> None:
    (model_house / "avwapd" / room / "planted.py").write_text(line)
    assert not kept(model_house)


def test_a_room_without_a_floor_breaks_a_contract(model_house: Path) -> None:
    (model_house / "avwapd/attic.py").touch()
    assert not kept(model_house)
