"""What the machine gets: a wheel of this checkout, a broken one beside it, compiled code, a certificate."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from avwapd.compiled import CORE, cache_folder
from avwapd.ops.carry import subfolder
from avwapd.ops.release import Release, identify, wheel_of
from tests.systemd.machine import ROOT

PREFIX = Path("/opt/avwapd")


def good_wheel(folder: Path) -> Path:
    with wheel_of(ROOT, Path(sys.executable)) as wheel:
        return Path(shutil.copy(wheel, folder))


def other_wheel(wheel: Path, folder: Path, name: str, add: str) -> Path:
    """The same with a line more in one file."""
    folder.mkdir()
    path = folder / wheel.name
    with zipfile.ZipFile(wheel) as given, zipfile.ZipFile(path, "w") as made:
        for item in given.infolist():
            content = given.read(item)
            made.writestr(item, content + add.encode() if item.filename == name else content)
    return path


def machine_code(release: Release, folder: Path) -> None:
    """This environment's compiled engine, filed as the release would have filed it: compiling takes half a minute."""
    mine = cache_folder() / subfolder(CORE)
    if not mine.is_dir():
        subprocess.run([sys.executable, "-m", "avwapd.research.precompile"], check=True, cwd=ROOT)
    minor = f"python{sys.version_info.major}.{sys.version_info.minor}"
    core = release.folder / "venv" / "lib" / minor / "site-packages" / "avwapd" / "core"
    shutil.copytree(mine, folder / cache_folder().name / subfolder(core))


def certificate(folder: Path) -> None:
    """Key and certificate of 127.0.0.1."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run(command, check=True, capture_output=True)


__all__ = ["PREFIX", "certificate", "good_wheel", "identify", "machine_code", "other_wheel"]
