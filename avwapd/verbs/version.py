"""What code, rules and database layout this is."""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
from pathlib import Path

import avwapd

EXAMPLE = """\
example:
  avwapd version --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    del parser  # nothing beyond the common options


def run(args: argparse.Namespace) -> int:
    facts = {
        "version": avwapd.__version__,
        "code_hash": code_hash(),
        "wheel_hash": wheel_hash(),
        "lock_hash": lock_hash(),
        "schema_version": avwapd.SCHEMA_VERSION,
        "rules_version": avwapd.RULES_VERSION,
        "python": platform.python_version(),
    }
    if args.json:
        print(json.dumps(facts))
    else:
        for name, value in facts.items():
            print(f"{name.replace('_', ' '):<15} {'-' if value is None else value}")
    return 0


def _package() -> Path:
    return Path(avwapd.__file__).resolve().parent


def code_hash() -> str:
    """SHA-256 over every source file of the package, by name."""
    digest = hashlib.sha256()
    package = _package()
    for path in sorted(package.rglob("*")):
        if path.suffix in (".py", ".sql"):
            content = path.read_bytes()
            digest.update(f"{path.relative_to(package)}\0{len(content)}\0".encode())
            digest.update(content)
    return digest.hexdigest()


def wheel_hash() -> str | None:
    """SHA-256 of the installed wheel's list of files and their hashes; None in a checkout."""
    records = sorted(_package().parent.glob("avwapd-*.dist-info/RECORD"))
    return hashlib.sha256(records[0].read_bytes()).hexdigest() if records else None


def lock_hash() -> str | None:
    """SHA-256 of the lock, where it lies beside the package or in it."""
    for folder in (_package().parent, _package()):
        lock = folder / "requirements.lock"
        if lock.is_file():
            return hashlib.sha256(lock.read_bytes()).hexdigest()
    return None
