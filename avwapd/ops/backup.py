"""Copies of the ledger: taken while the daemon writes, put back while it does not.

A copy gets its name only when it is whole, checked and on the disk. Putting one back never destroys what was there, and
leaves the mark at the newest that was known, so that the next start does not take an older ledger for the newest.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from avwapd.ops.ballast import MB, free_bytes
from avwapd.store import LedgerMissing, StoreError, copies, mark, migrate
from avwapd.store.copies import Facts, NoRoom
from avwapd.store.database import fold_wal
from avwapd.store.mark import Mark
from avwapd.store.migrate import sync_path
from avwapd.store.reader import open_reader

DATED = re.compile(r"avwapd-\d{8}T\d{6}Z\.db")
TEMPORARY = re.compile(r"\..+\.(\d+)\.tmp")
SPARE_BYTES = 4 * MB
CHUNK = 1 << 20


class BackupRefused(StoreError):
    """Nothing was written, nothing was changed."""


@dataclass(frozen=True, slots=True)
class Copied:
    """A copy that stands. removed: older ones that went for it."""

    path: Path
    size: int
    sha256: str
    facts: Facts
    removed: tuple[Path, ...] = ()


# -------------------------------------------------------------------------------------------------- backup


def backup(source: Path, dest: Path, *, now_ms: int, keep: int = 0) -> Copied:
    """Copy the ledger `source` to `dest`: a file that is not there yet, or a folder, which gets a dated name.

    keep: in a folder, the newest so many dated copies stay (0: all of them).
    """
    if not source.is_file():
        raise LedgerMissing("no ledger here", source, "start avwapd once, or check --state-dir")
    target = _target(dest, now_ms)
    _refuse_narrow(target.parent, copies.bytes_needed(source))
    _sweep(target.parent)
    with _temporary(target) as beside:
        facts = copies.copy_into(source, beside, taken_ms=now_ms)
        sync_path(beside)
        told = beside.stat().st_size, sha256_of(beside)
        _name(beside, target)
    removed = forget(target.parent, keep) if keep and dest.is_dir() else ()
    return Copied(target, *told, facts, removed)


def _target(dest: Path, now_ms: int) -> Path:
    if dest.is_dir():
        named = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("avwapd-%Y%m%dT%H%M%SZ.db")
        dest = dest / named
    if os.path.lexists(dest):
        raise BackupRefused("there is a file already", dest, "name another, or a folder: nothing is overwritten")
    if not dest.parent.is_dir():
        raise BackupRefused("the folder is missing", dest.parent, "make it first: mkdir -p, on another disk if you can")
    if not dest.suffix:
        step = "make the folder first (mkdir -p), or name a file that ends in .db"
        raise BackupRefused("there is no such folder", dest, step)
    if not os.access(dest.parent, os.W_OK | os.X_OK):
        raise BackupRefused("the folder cannot be written", dest.parent, "give this user the right to write there")
    return dest


def _refuse_narrow(folder: Path, needed: int) -> None:
    free = free_bytes(folder)
    if free < needed + SPARE_BYTES:
        what = f"the disk has {free / MB:.1f} MB left, the copy may take {(needed + SPARE_BYTES) / MB:.1f} MB"
        raise NoRoom(what, folder, "make room there, or name another folder")


@contextlib.contextmanager
def _temporary(target: Path) -> Iterator[Path]:
    """An empty file of this process beside the target, readable by nobody else; gone at the end unless renamed."""
    path = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        yield path
    finally:
        for rest in ("", "-wal", "-shm", "-journal"):
            path.with_name(path.name + rest).unlink(missing_ok=True)


def _name(beside: Path, target: Path) -> None:
    """Give it its name unless somebody else has taken that meanwhile."""
    try:
        os.link(beside, target)
    except FileExistsError:
        raise BackupRefused("there is a file already", target, "name another: nothing is overwritten") from None
    except OSError:  # a file system without links
        if target.exists():
            raise BackupRefused("there is a file already", target, "name another: nothing is overwritten") from None
        beside.rename(target)
    sync_path(target.parent)


def _sweep(folder: Path) -> None:
    """Remove what a backup left that was killed."""
    for path in folder.iterdir():
        match = TEMPORARY.fullmatch(path.name)
        if match and not _alive(int(match[1])):
            path.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def forget(folder: Path, keep: int) -> tuple[Path, ...]:
    """Remove all but the newest `keep` dated copies that say of themselves that they are ours."""
    dated = sorted((path for path in folder.iterdir() if DATED.fullmatch(path.name)), reverse=True)
    ours = [path for path in dated if _says_copy(path)]
    for path in ours[keep:]:
        path.unlink()
    if ours[keep:]:
        sync_path(folder)
    return tuple(ours[keep:])


def _says_copy(path: Path) -> bool:
    try:
        return copies.look(path).copy
    except (StoreError, sqlite3.Error):
        return False  # broken or not ours: for a human to look at


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


# ------------------------------------------------------------------------------------------------- restore


@dataclass(frozen=True, slots=True)
class Restored:
    """facts: of what stands now; aside: where the ledger before it lies, None where there was none."""

    facts: Facts
    before: Facts | None
    aside: Path | None


def restore(source: Path, database: Path, marked: Path, *, now_ms: int, force_older: bool) -> Restored:
    """Put a copy in the ledger's place. The caller holds the state folder's lock.

    Refuses what it cannot prove whole, and an older one in place of a newer unless that is said in so many words.
    """
    facts, checks = copies.check(source)
    broken = [words for each in checks for words in each.found]
    if broken:
        next_step = "choose another copy; avwapd db check FILE says what is wrong with each"
        raise BackupRefused(f"the copy is damaged ({broken[0]})", source, next_step)
    if database.exists() and source.samefile(database):
        raise BackupRefused("this is the ledger itself", source, "name a copy of it")
    before, newest = _present(database), mark.read(marked)
    known = _known(before, newest)
    if known is not None and facts.reach < known and not force_older:
        raise BackupRefused(
            f"the copy is older: it ends at input {facts.seq} of start {facts.epoch}, "
            f"here there was input {known.seq} of start {known.epoch}",
            source,
            "what lies between is lost to the ledger, not to the venue; add --force-older if that is meant",
        )
    _refuse_narrow(database.parent, copies.bytes_needed(source))
    _sweep(database.parent)
    with _temporary(database) as beside:
        copies.copy_into(source, beside, taken_ms=now_ms)
        sync_path(beside)
        if known is not None:
            clean = newest is not None and newest.clean and newest.reach == known
            mark.write(marked, Mark(known.epoch, known.seq, now_ms, clean))
        aside = _put_aside(database, now_ms, whole=before is not None)
        beside.replace(database)
        sync_path(database.parent)
    return Restored(facts, before, aside)


def _present(database: Path) -> Facts | None:
    """What the ledger in place says of itself; None where there is none, or it cannot be read."""
    if not database.exists():
        return None
    try:
        return copies.look(database)
    except (StoreError, sqlite3.Error):
        return None


def _known(before: Facts | None, marked: Mark | None) -> mark.Reach | None:
    """The newest of what is known, by the ledger in place and the mark beside it."""
    found = [each.reach for each in (before, marked) if each is not None]
    return max(found) if found else None


def _put_aside(database: Path, now_ms: int, *, whole: bool) -> Path | None:
    """Keep the ledger in place, its WAL with it, under a name of its own; the WAL must not meet another file.

    whole: it can be read; a broken one is kept as it was found.
    """
    wal, shm = (database.with_name(database.name + rest) for rest in ("-wal", "-shm"))
    if whole:
        fold_wal(database)
    if not database.exists() and not wal.exists():
        return None
    day = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    aside = database.with_name(f"{database.name}.before-restore-{day}")
    if os.path.lexists(aside):
        raise BackupRefused("there is a file already", aside, "wait a second, then try again")
    if database.exists():
        _keep(database, aside)
    if wal.exists():
        _keep(wal, aside.with_name(aside.name + "-wal"))
        wal.unlink()
    shm.unlink(missing_ok=True)
    sync_path(database.parent)
    return aside


def _keep(path: Path, name: Path) -> None:
    """A second name for a file, or a copy of it where the file system has no links."""
    try:
        os.link(path, name)
    except OSError:
        shutil.copyfile(path, name)
        sync_path(name)


# ------------------------------------------------------------------------------------------------- migrate


@dataclass(frozen=True, slots=True)
class Migrated:
    """kept: the copies made before each step."""

    before: int
    after: int
    kept: tuple[Path, ...]


def migrated(database: Path, *, dry_run: bool, now_ms: int) -> Migrated:
    """Bring the ledger to this program's schema, or a copy of it that is thrown away. The caller holds the lock."""
    steps = migrate.packaged()
    if not dry_run:
        return _migrate(database, steps)
    _refuse_narrow(database.parent, copies.bytes_needed(database))
    with _temporary(database) as beside:
        copies.copy_into(database, beside, taken_ms=now_ms)
        with closing(sqlite3.connect(beside, isolation_level=None)) as conn:
            before = migrate.version_of(conn)
            migrate.upgrade(conn, beside, steps, keep=False)
            if broken := copies.damage(conn):
                raise StoreError(f"the migrated copy is damaged ({broken[0]})", database, "keep the file, report this")
            return Migrated(before, migrate.version_of(conn), ())


def _migrate(database: Path, steps: migrate.Migrations) -> Migrated:
    from avwapd.store.database import open_sync

    with closing(open_reader(database)) as conn:
        before = migrate.version_of(conn)
    with closing(open_sync(database, create=False, migrations=steps)) as conn:
        after = migrate.version_of(conn)
    kept = [database.with_name(f"{database.name}.v{version}.bak") for version in range(before, after)]
    return Migrated(before, after, tuple(path for path in kept if path.exists()))
