"""A release: a folder with an environment of its own, beside the one in use.

    PREFIX/releases/VERSION-HASH/   venv/  units/  release.json (written last: a folder without it is half built)
    PREFIX/current  -> the one in use          PREFIX/previous -> the one before

Runs under any Python 3.11, before anything is installed: nothing but the standard library.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from avwapd.errors import Told

NOTE = "release.json"
KEPT = 3
BUILD_LIMIT_S = 1800.0


class DeployRefused(Told):
    """Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Release:
    """folder: where it lies; schema: the layout of the ledger that its code writes."""

    folder: Path
    name: str
    version: str
    schema: int
    wheel: str  # SHA-256

    @property
    def program(self) -> Path:
        return self.folder / "venv" / "bin" / "avwapd"

    @property
    def python(self) -> Path:
        return self.folder / "venv" / "bin" / "python"


def identify(wheel: Path, prefix: Path) -> Release:
    """What this wheel would be, from the file alone."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            text = archive.read("avwapd/__init__.py").decode()
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise DeployRefused(f"this is no wheel of avwapd ({error})", wheel, "name one: --wheel FILE") from None
    found = re.search(r'^__version__ = "([\w.+]+)"', text, re.M), re.search(r"^SCHEMA_VERSION = (\d+)", text, re.M)
    if found[0] is None or found[1] is None:
        raise DeployRefused("the wheel names no version or no schema", wheel, "name another: --wheel FILE")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    name = f"{found[0][1]}-{digest[:12]}"
    return Release(prefix / "releases" / name, name, found[0][1], int(found[1][1]), digest)


def linked(prefix: Path, link: str) -> Release | None:
    """The release behind `current` or `previous`; None where there is none, or it is half built."""
    try:
        folder = (prefix / link).resolve(strict=True)
        facts = json.loads((folder / NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return Release(folder, facts["name"], facts["version"], int(facts["schema"]), facts["wheel"])


def point(prefix: Path, link: str, release: Release) -> None:
    """Turn the link in one step; a power cut leaves the old or the new, never none."""
    beside = prefix / f".{link}.new"
    beside.unlink(missing_ok=True)
    beside.symlink_to(Path("releases") / release.name)
    beside.replace(prefix / link)
    _sync(prefix)


@contextmanager
def wheel_of(checkout: Path, builder: Path) -> Iterator[Path]:
    """The checkout as a wheel, in a folder that goes away."""
    with tempfile.TemporaryDirectory(prefix="avwapd-wheel-") as name:
        _must(
            [str(builder), "-m", "hatchling", "build", "-t", "wheel", "-d", name], "the wheel cannot be built", checkout
        )
        (wheel,) = Path(name).glob("*.whl")
        yield wheel


def build(release: Release, wheel: Path, python: str, packages: Sequence[str], site: Path | None) -> None:
    """The release's environment. packages: what pip is told of the dependencies; site: a folder that has them all."""
    if (release.folder / NOTE).is_file():
        return
    shutil.rmtree(release.folder, ignore_errors=True)
    release.folder.mkdir(parents=True)
    release.folder.chmod(0o755)
    venv = release.folder / "venv"
    bare = ["--without-pip"] if site else []
    _must([python, "-m", "venv", *bare, str(venv)], "the environment cannot be made")
    if site is not None:
        _packages(release).joinpath("linked-site.pth").write_text(f"{site}\n", encoding="utf-8")
    pip = [str(release.python), "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-cache-dir", "install"]
    if packages:
        _must([*pip, "--require-hashes", "--no-deps", *packages], "the dependencies cannot be installed")
    _must([*pip, "--no-index", "--no-deps", "--ignore-installed", str(wheel)], "the wheel cannot be installed")


def finish(release: Release) -> None:
    """From here on it counts as built."""
    facts = asdict(release) | {"folder": str(release.folder)}
    beside = release.folder / f".{NOTE}.new"
    beside.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    beside.chmod(0o644)
    beside.replace(release.folder / NOTE)
    _sync(release.folder)


def prune(prefix: Path) -> list[str]:
    """Take away all but the newest few, never the two that are linked."""
    kept = {release.folder for link in ("current", "previous") if (release := linked(prefix, link)) is not None}
    folders = sorted((prefix / "releases").iterdir(), key=lambda folder: folder.stat().st_mtime, reverse=True)
    gone = [folder for folder in folders[KEPT:] if folder.resolve() not in kept]
    for folder in gone:
        shutil.rmtree(folder, ignore_errors=True)
    return [folder.name for folder in gone]


def _packages(release: Release) -> Path:
    (found,) = (release.folder / "venv" / "lib").glob("python3*/site-packages")
    return found


def _must(command: Sequence[str], what: str, folder: Path | None = None) -> None:
    """Run it; a DeployRefused with its last words where it fails."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    try:
        done = subprocess.run(
            command, cwd=folder, env=clean, capture_output=True, text=True, timeout=BUILD_LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DeployRefused(what, " ".join(command), str(error)) from None
    if done.returncode:
        words = " ".join((done.stderr or done.stdout).split())[-600:]
        raise DeployRefused(f"{what}: {words}", " ".join(command), "mend it and deploy again; nothing was switched")


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
