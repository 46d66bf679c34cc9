"""Bring an older ledger to this program's version, a verified copy of it beside it before each step.

Version 1 is schema.sql, for ever; what changes later is a numbered file in `migrations`. A new ledger takes
the same road, so there is one schema and not two that ought to be equal.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from avwapd.store import LedgerDamaged, LedgerNewer, MigrationFailed
from avwapd.store.sql import statements, transact

_FILE = re.compile(r"(\d{4})_\w+\.sql")

Migrations = dict[int, str]


def packaged() -> Migrations:
    """The migrations of this program: target version -> SQL."""
    return from_folder(files("avwapd.store").joinpath("migrations"))


def from_folder(folder: Path | Traversable) -> Migrations:
    """Read numbered files; a gap or a doubled number is a mistake in the program, not in the ledger."""
    found: Migrations = {}
    for entry in folder.iterdir():
        match = _FILE.fullmatch(entry.name)
        if match:
            version = int(match[1])
            if version in found:
                raise ValueError(f"two migrations to version {version}")
            found[version] = entry.read_text(encoding="utf-8")
    if sorted(found) != list(range(2, len(found) + 2)):
        raise ValueError(f"migrations are not numbered 2, 3, …: {sorted(found)}")
    return found


def version_of(conn: sqlite3.Connection) -> int:
    """The ledger's schema version."""
    return int(conn.execute("PRAGMA user_version").fetchone()[0])


def newest(migrations: Migrations) -> int:
    """The version this program writes."""
    return 1 + len(migrations)


def damaged(path: Path, verdict: str) -> LedgerDamaged:
    """One wording for every broken ledger, whoever finds it."""
    next_step = "put a copy back: avwapd db restore COPY (the damaged file is kept aside); avwapd db check says more"
    return LedgerDamaged(f"the ledger is damaged ({verdict})", path, next_step)


def refuse_newer(version: int, path: Path, migrations: Migrations) -> None:
    """A later program's ledger is not touched, nor one whose version no program ever wrote."""
    if version < 1:
        raise damaged(path, f"it says version {version}; versions begin with 1")
    if version > newest(migrations):
        raise LedgerNewer(
            f"the ledger has version {version}, this program knows {newest(migrations)}",
            path,
            "install the newer program, or restore the backup made before its migration",
        )


def upgrade(conn: sqlite3.Connection, path: Path, migrations: Migrations, *, keep: bool = True) -> list[Path]:
    """Take every missing step; returns the backups made (keep=False: none, the ledger was just created)."""
    backups: list[Path] = []
    version = version_of(conn)
    refuse_newer(version, path, migrations)
    for target in range(version + 1, newest(migrations) + 1):
        if keep:
            backups.append(backup(conn, path.with_name(f"{path.name}.v{target - 1}.bak")))
        with _foreign_keys_off(conn):
            try:
                _step(conn, target, migrations[target])
            except sqlite3.Error as error:
                raise MigrationFailed(
                    f"step to version {target} failed ({error}); the ledger still has version {target - 1}",
                    path,
                    "keep the file and its .bak, and run the version that wrote it",
                ) from error
    return backups


def _step(conn: sqlite3.Connection, target: int, script: str) -> None:
    """One migration and its version number, together or not at all."""

    def step(conn: sqlite3.Connection) -> None:
        for statement in statements(script):
            conn.execute(statement)
        orphans = conn.execute("PRAGMA foreign_key_check").fetchall()
        if orphans:
            raise sqlite3.IntegrityError(f"{len(orphans)} rows point nowhere, first in {orphans[0][0]}")
        conn.execute(f"PRAGMA user_version = {target}")

    transact(step)(conn)


@contextlib.contextmanager
def _foreign_keys_off(conn: sqlite3.Connection) -> Iterator[None]:
    """A table may be rebuilt under its children; the check inside the step makes up for it."""
    conn.execute("PRAGMA foreign_keys = OFF")
    try:
        yield
    finally:
        conn.execute("PRAGMA foreign_keys = ON")


def backup(conn: sqlite3.Connection, target: Path, *, pages: int = 1024) -> Path:
    """A whole, checked, durable copy under its final name, or none."""
    temporary = target.with_name(target.name + ".tmp")
    temporary.unlink(missing_ok=True)
    try:
        copy = sqlite3.connect(temporary, isolation_level=None)
        try:
            conn.backup(copy, pages=pages)
            (verdict,) = copy.execute("PRAGMA quick_check(1)").fetchone()
        finally:
            copy.close()
        if verdict != "ok":
            raise LedgerDamaged(f"the copy is damaged ({verdict})", temporary, "check the disk, then try again")
        sync_path(temporary)
        temporary.replace(target)
        sync_path(target.parent)
    finally:
        temporary.unlink(missing_ok=True)
    return target


def sync_path(path: Path) -> None:
    """Make a file, or a folder's names, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
