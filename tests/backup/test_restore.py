"""Putting a copy back: proved first, nothing destroyed, and the mark keeps the newest that was known."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from avwapd.cli import main
from avwapd.ops import backup as ops
from avwapd.ops.backup import BackupRefused, backup, migrated, restore
from avwapd.store import LockHeld, copies, ledger, mark, migrate
from avwapd.store.database import open_sync
from avwapd.store.lock import hold
from avwapd.store.mark import Mark, Reach
from avwapd.store.sql import transact
from tests.store import story

NOW_MS = 1_767_323_045_000
MORE = 13


class Place:
    """A state folder whose ledger went on after it was copied."""

    def __init__(self, folder: Path) -> None:
        self.state, shelf = folder / "state", folder / "shelf"
        self.state.mkdir()
        shelf.mkdir()
        self.ledger, self.mark = self.state / "avwapd.db", self.state / "avwapd.mark"
        story.tell(self.ledger, 7).close()
        self.copy = backup(self.ledger, shelf, now_ms=NOW_MS).path
        self.ledger.unlink()
        story.tell(self.ledger, MORE).close()

    def restore(self, source: Path | None = None, *, force_older: bool = True) -> ops.Restored:
        return restore(source or self.copy, self.ledger, self.mark, now_ms=NOW_MS, force_older=force_older)

    def behind(self) -> str:
        facts = copies.look(self.ledger)
        return mark.behind(mark.read(self.mark), facts.reach, copy=facts.copy)

    def bytes(self) -> dict[str, str]:
        found = [p for p in self.state.iterdir() if not p.name.endswith(("-shm", "-wal"))]  # a reader leaves empty ones
        return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in found}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_an_older_copy_is_put_back_only_where_that_is_said(place: Place) -> None:
    before = place.bytes()
    with pytest.raises(BackupRefused, match=r"the copy is older: it ends at input 7 .* input 13"):
        place.restore(force_older=False)
    assert place.bytes() == before
    done = place.restore()
    assert done.facts.seq == 7
    assert done.aside is not None
    assert copies.look(done.aside).seq == MORE, "what was there is kept"
    assert copies.look(place.ledger).reach == Reach(1, 7)
    assert mark.read(place.mark) == Mark(1, MORE, NOW_MS)
    assert "the mark says input 13" in place.behind()


def test_the_mark_alone_is_enough_to_know_a_newer_one(place: Place) -> None:
    place.ledger.unlink()
    mark.write(place.mark, Mark(5, 400, NOW_MS))
    with pytest.raises(BackupRefused, match="input 400 of start 5"):
        place.restore(force_older=False)
    done = place.restore()
    assert done.aside is None
    assert "input 400 of start 5" in place.behind()


def test_a_copy_of_what_ended_cleanly_is_no_older_ledger(place: Place) -> None:
    mark.write(place.mark, Mark(1, MORE, NOW_MS, clean=True))
    newest = backup(place.ledger, place.copy.parent, now_ms=NOW_MS + 5_000).path
    place.restore(newest, force_older=False)
    assert place.behind() == ""
    mark.write(place.mark, Mark(1, MORE, NOW_MS))
    assert "a restored copy" in place.behind(), "what went on after the copy is not known"


def test_rows_that_lie_in_the_wal_are_kept_with_what_is_put_aside(place: Place) -> None:
    conn = open_sync(place.ledger)
    transact(lambda c: c.execute("INSERT INTO beats VALUES (7, 'in the WAL')"))(conn)
    files = {p.name: p.read_bytes() for p in place.state.iterdir()}
    conn.close()
    for name, content in files.items():  # as a kill leaves them
        (place.state / name).write_bytes(content)
    done = place.restore()
    assert done.aside is not None
    with closing(sqlite3.connect(done.aside)) as aside, closing(sqlite3.connect(place.ledger)) as now:
        assert aside.execute("SELECT body FROM beats").fetchall() == [("in the WAL",)]
        assert now.execute("SELECT body FROM beats").fetchall() == []


def test_a_damaged_ledger_is_replaced_and_kept_as_it_was(place: Place) -> None:
    with place.ledger.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(place.ledger.stat().st_size - 4096))
    broken, wal = place.ledger.read_bytes(), place.ledger.with_name("avwapd.db-wal")
    wal.write_bytes(b"frames of the broken one")
    done = place.restore(force_older=False)
    assert done.aside is not None
    assert done.aside.read_bytes() == broken
    assert done.aside.with_name(f"{done.aside.name}-wal").read_bytes() == b"frames of the broken one"
    assert not wal.exists(), "it must not meet another file"
    assert copies.look(place.ledger).seq == 7


@pytest.mark.parametrize("fault", ["bytes", "text", "newer", "orphan"])
def test_what_cannot_be_proved_is_not_put_back(fault: str, place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    if fault == "bytes":
        with place.copy.open("r+b") as file:
            file.seek(4096 * 3)
            file.write(os.urandom(4096 * 4))
    elif fault == "text":
        place.copy.write_text("no database at all, but longer than a header " * 9)
    else:
        with closing(sqlite3.connect(place.copy)) as conn:
            said = {"newer": "PRAGMA user_version = 99", "orphan": "UPDATE positions SET symbol_id = 77"}
            conn.execute(said[fault])
            conn.commit()
    before = place.bytes()
    assert main(["db", "restore", str(place.copy), "--force-older", "--state-dir", str(place.state)]) in (1, 78)
    assert "next: " in capsys.readouterr().err
    after = place.bytes()
    after.pop("avwapd.lock", None)
    assert after == before


def test_never_beside_a_running_daemon_nor_in_place_of_itself(place: Place) -> None:
    with hold(place.state):
        with pytest.raises(LockHeld), hold(place.state):
            pass
        assert main(["db", "restore", str(place.copy), "--force-older", "--state-dir", str(place.state)]) == 1
        assert main(["db", "migrate", "--state-dir", str(place.state)]) == 1
    with pytest.raises(BackupRefused, match="the ledger itself"):
        place.restore(place.ledger)
    assert copies.look(place.ledger).seq == MORE


@pytest.mark.parametrize("step", ["copy_into", "sync_path", "_put_aside", "mark"])
def test_a_restore_cut_short_leaves_the_ledger_or_the_copy(
    step: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever breaks, one of the two stands there whole, and the newest that was known is still known."""

    def broken(*given: object, **named: object) -> None:
        raise OSError(5, "the disk says no")

    owner = {"copy_into": copies, "mark": mark}.get(step, ops)
    monkeypatch.setattr(owner, "write" if step == "mark" else step, broken)
    with pytest.raises(OSError, match="says no"):
        place.restore()
    assert copies.look(place.ledger).seq == MORE
    monkeypatch.undo()
    assert place.restore(force_older=True).facts.seq == 7 or place.behind()


def test_a_mark_is_whole_or_unsaid(tmp_path: Path) -> None:
    path = tmp_path / "avwapd.mark"
    assert mark.read(path) is None
    for content in ("", "{", "[]", '{"epoch": 1}', '{"epoch": "x", "seq": 1, "ts_ms": 1, "clean": false}'):
        path.write_text(content)
        assert mark.read(path) is None
    mark.write(path, Mark(3, 9, NOW_MS, clean=True))
    assert mark.read(path) == Mark(3, 9, NOW_MS, clean=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["avwapd.mark"]


@pytest.mark.parametrize(
    ("marked", "copy", "older"),
    [
        (None, False, False),
        (None, True, True),
        (Mark(2, 10, 0), False, False),
        (Mark(2, 11, 0), False, True),
        (Mark(3, 1, 0), False, True),
        (Mark(1, 99, 0), False, False),
        (Mark(2, 10, 0, clean=True), True, False),
        (Mark(2, 10, 0, clean=False), True, True),
        (Mark(2, 9, 0, clean=True), True, True),
    ],
)
def test_what_makes_a_ledger_older(marked: Mark | None, copy: bool, older: bool) -> None:
    assert bool(mark.behind(marked, Reach(2, 10), copy=copy)) is older


# ------------------------------------------------------------------------------------------------- migrate


def older_schema(path: Path) -> None:
    """A ledger as a program before this one left it."""
    steps = {version: text for version, text in migrate.packaged().items() if version < 4}
    conn = open_sync(path, migrations=steps)
    transact(lambda c: ledger.begin_epoch(c, 1, 2, "h", "b"))(conn)
    conn.close()


def test_migrate_is_tried_on_a_copy_and_keeps_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "avwapd.db"
    older_schema(path)
    before = path.read_bytes()
    assert main(["db", "migrate", "--dry-run", "--state-dir", str(tmp_path)]) == 0
    assert "a copy went from schema 3 to 4" in capsys.readouterr().out
    assert path.read_bytes() == before
    assert migrated(path, dry_run=False, now_ms=NOW_MS) == ops.Migrated(3, 4, (tmp_path / "avwapd.db.v3.bak",))
    assert copies.look(path).schema == 4
    assert copies.look(tmp_path / "avwapd.db.v3.bak").schema == 3
    assert main(["db", "migrate", "--state-dir", str(tmp_path)]) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_an_older_layout_is_backed_up_and_restored_too(tmp_path: Path) -> None:
    path = tmp_path / "avwapd.db"
    older_schema(path)
    done = backup(path, tmp_path / "copy.db", now_ms=NOW_MS)
    assert (done.facts.schema, done.facts.copy) == (3, False)
    restore(done.path, path, tmp_path / "avwapd.mark", now_ms=NOW_MS, force_older=False)
    assert copies.look(path).schema == 3
