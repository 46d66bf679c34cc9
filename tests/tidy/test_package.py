"""What is installed is what is locked, and what is built carries all it needs."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile

import pytest

from tests.tidy.rules import ROOT, listed

LOCK = (ROOT / "requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", name, maxsplit=1)[0]).lower()


def entries(lock: str) -> dict[str, str]:
    """Each locked package with the text of its entry."""
    found: dict[str, str] = {}
    for entry in re.split(r"^(?=\S)", lock, flags=re.MULTILINE):
        if entry.strip() and not entry.startswith("#"):
            found[plain(entry)] = found.get(plain(entry), "") + entry
    return found


def unhashed(lock: str) -> list[str]:
    good = re.compile(r"[\w.-]+==\S+ .*--hash=sha256:[0-9a-f]{64}\b", re.DOTALL)
    return [
        entry for entry in re.split(r"^(?=\w)", lock, flags=re.MULTILINE) if entry.strip() and not good.match(entry)
    ]


def test_every_locked_package_has_a_hash() -> None:
    assert unhashed(LOCK) == []
    assert unhashed("numpy==2.0.0\nattrs==1.0 \\\n    --hash=sha256:" + "0" * 64) == ["numpy==2.0.0\n"]


def test_the_lock_names_no_place() -> None:
    assert re.findall(r"\S*(?://|@ ?file:|--index|--find-links|--extra-index|-e )\S*", LOCK) == []


def test_the_lock_covers_what_is_declared_and_what_builds_it() -> None:
    project = PROJECT["project"]
    declared = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
        *PROJECT["build-system"]["requires"],
        "editables",
    ]
    assert {plain(name) for name in declared} - set(entries(LOCK)) == set()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names in a wheel built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        return set(archive.namelist())


def test_the_wheel_carries_code_and_data(wheel: set[str]) -> None:
    assert set(listed("avwapd")) - wheel == set()


def test_the_wheel_carries_the_settings(wheel: set[str]) -> None:
    assert {"avwapd/etc/avwapd.toml", "avwapd/etc/demo.toml"} - wheel == set()


def test_the_wheel_carries_nothing_else(wheel: set[str]) -> None:
    assert [name for name in wheel if not name.startswith(("avwapd/", "avwapd-"))] == []
